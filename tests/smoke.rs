//! The newcomer's command: the recipe is built, and the very bytes boot and keep their promises.
//!
//! Three boots, two to three minutes where there is no hardware virtualisation.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the program runs the program and reads what it wrote"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_image_that_is_built_boots_and_keeps_its_promises() {
    let out = tempfile::tempdir().unwrap();
    let junit = out.path().join("junit.xml");
    let output = Command::new(env!("CARGO_BIN_EXE_goni-compose"))
        .args(["smoke", "--report", "json", "--out"])
        .arg(out.path())
        .arg("--junit")
        .arg(&junit)
        .arg(Path::new(PROJECT).join("recipes/qemu-x86_64.toml"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}\n{}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    for finding in findings {
        // What does not apply does not because of what the recipe says, never because of what was found.
        let reason = finding["outcome"]["skipped"]["reason"].as_str();
        let good =
            finding["outcome"] == "passed" || reason.is_some_and(|words| words.starts_with("the recipe "));
        assert!(good, "{finding:#}");
    }
    assert_eq!(report["scenarios"].as_array().unwrap().len(), 1, "{report:#}");
    let boots: BTreeSet<&str> = findings.iter().filter_map(|finding| finding["boot"].as_str()).collect();
    assert_eq!(boots, BTreeSet::from(["first", "rebooted", "after-power-cut"]), "{report:#}");
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(junit.contains("failures=\"0\""), "{junit}");
    assert!(errors.contains("payload `goni-http` is a stand-in"), "{errors}");
    for ending in ["raw", "qcow2", "manifest.json", "life.console.log"] {
        let name = format!("goni-qemu_0.1.0_amd64.{ending}");
        assert!(out.path().join(&name).is_file(), "{name}");
    }
}
