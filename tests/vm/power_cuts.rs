//! The power is cut after every write of a first boot and of a reboot under load; and what does not
//! hold under that is seen: a writer that does not wait for fsync, a kernel that does not flush the disk.
//!
//! About six minutes where there is no hardware virtualisation: of the image that ships, the first boot alone,
//! and one of its disks is booted. With `GONI_COMPOSE_POWER_CUTS` the reboot too, and as many disks of each.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test of the program runs the program on a copy of the project, and shows a table"
)]
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

#[path = "../copying.rs"]
mod copying;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const RECIPE: &str = "recipes/qemu-x86_64.toml";
/// One at a time: each run takes every processor for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// A unit that has the kernel keep its flushes to itself, before anything is acknowledged.
const NO_BARRIERS: &str = "[Unit]
Description=Mutation: the state is mounted without barriers
RequiresMountsFor=/var/lib/goni
Before=goni-load.service goni-http.service
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/usr/bin/mount -o remount,nobarrier /var/lib/goni

[Install]
WantedBy=sysinit.target
";

/// A project that can be broken.
fn project() -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    copying::project(project.path());
    project
}

/// Cuts the power of a recipe's machine, and returns exit code and report.
fn cut(recipe: &Path, arguments: &[&str]) -> (i32, Value) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_goni-compose"))
        .args(["smoke", "--report", "json", "--out"])
        .arg(out.path())
        .arg(recipe)
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).expect(&errors);
    assert_eq!(report["broken_off"], Value::Null, "{errors}");
    println!("{report:#}");
    let kept = out.path().join("goni-qemu_0.1.0_amd64.writes.log");
    assert_eq!(kept.is_file(), !faults(&report).is_empty(), "the writes are kept where something is wrong");
    (output.status.code().unwrap(), report)
}

fn faults(report: &Value) -> Vec<(String, String)> {
    let parts = report["parts"].as_array().unwrap().iter();
    let faults = parts.flat_map(|part| part["faults"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    faults.map(|fault| (text(&fault["point"]), text(&fault["what"]))).collect()
}

#[test]
fn the_power_may_fail_after_every_write() {
    let asked = std::env::var("GONI_COMPOSE_POWER_CUTS").ok();
    let boots = asked.clone().unwrap_or_else(|| "1".into());
    let (arguments, parts): (&[&str], &[&str]) = match asked {
        Some(_) => (&["--power-cuts", &boots], &["first", "rebooted"]),
        None => (&["--power-cuts", &boots, "--first-boot"], &["first"]),
    };
    let (code, report) = cut(&Path::new(PROJECT).join(RECIPE), arguments);
    assert_eq!(faults(&report), []);
    assert_eq!(code, 0);
    let names: Vec<&str> =
        report["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, parts);
    for part in report["parts"].as_array().unwrap() {
        let number = |key: &str| part[key].as_u64().unwrap();
        assert_eq!(number("judged") + number("equal"), number("cuts"));
        // Each of the six files was promised eight times at least, each with a flush.
        assert!(number("promises") >= 48 && number("flushes") >= 48, "{part:#}");
        assert!(number("writes") >= 100 && number("lossy") >= 10, "{part:#}");
        assert_eq!(part["boots"].as_array().unwrap().len().to_string(), boots);
    }
}

#[test]
fn a_writer_that_does_not_wait_for_fsync_is_seen() {
    let project = project();
    let writer = project.path().join("qemu/guest/load.pl");
    let text = fs::read_to_string(&writer).unwrap();
    let hasty: String = text.split_inclusive('\n').filter(|line| !line.contains("->sync")).collect();
    assert_ne!(text, hasty);
    fs::write(&writer, hasty).unwrap();
    let (code, report) = cut(&project.path().join(RECIPE), &["--power-cuts", "0", "--first-boot"]);
    let faults = faults(&report);
    assert_eq!(code, 7);
    assert!(faults.iter().any(|(_, what)| what.contains("was acknowledged")), "{faults:?}");
    // What the judges of file systems see is in order: the guest lied to itself, not to its disk.
    assert!(faults.iter().all(|(_, what)| what.contains("/.goni-load-")), "{faults:?}");
}

#[test]
fn a_kernel_that_does_not_flush_the_disk_is_seen() {
    let project = project();
    let overlay: PathBuf = project.path().join("overlays/no-barriers");
    let unit = "usr/lib/systemd/system/mutation-no-barriers.service";
    fs::create_dir_all(overlay.join("tree").join(unit).parent().unwrap()).unwrap();
    fs::write(overlay.join("tree").join(unit), NO_BARRIERS).unwrap();
    let text = "summary = \"Mutation: the state is mounted without barriers\"\n\
                enable = [\"mutation-no-barriers.service\"]\n";
    fs::write(overlay.join("overlay.toml"), text).unwrap();
    let recipe = project.path().join("recipes/mutated.toml");
    let text = "schema = 1\nextends = \"qemu-x86_64.toml\"\noverlays = [\"...\", \"no-barriers\"]\n";
    fs::write(&recipe, text).unwrap();
    fs::copy(project.path().join("recipes/qemu-x86_64.lock"), recipe.with_extension("lock")).unwrap();
    let mut lock = Command::new(env!("CARGO_BIN_EXE_goni-compose"));
    assert!(lock.args(["lock", "--quiet"]).arg(&recipe).status().unwrap().success());
    let (code, report) = cut(&recipe, &["--power-cuts", "0", "--first-boot"]);
    let faults = faults(&report);
    assert_eq!(code, 7);
    // A disk that lost nothing has nothing to lose by it: only the lossy ones see it.
    assert!(!faults.is_empty() && faults.iter().all(|(point, _)| point.contains(':')), "{faults:?}");
    assert!(faults.iter().any(|(_, what)| what.contains("was acknowledged")), "{faults:?}");
}
