//! The test of the checks: each is run on images that were broken in one way, and must see it; and on
//! none of them may another check fail.
//!
//! A build and a boot for each mutation, about a minute each where there is no hardware
//! virtualisation. `GONI_COMPOSE_MUTATIONS=plain-swap,open-data` runs these alone.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of the program runs the program on a copy of the project"
)]
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// Copies a folder of text files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A project whose one recipe is the real one with an overlay more.
fn mutated(root: &Path, mutation: &str) -> PathBuf {
    for folder in ["firmware", "overlays", "qemu", "recipes"] {
        copy(&Path::new(PROJECT).join(folder), &root.join(folder));
    }
    copy(
        &Path::new(PROJECT).join("qemu/checks/mutations").join(mutation),
        &root.join("overlays").join(mutation),
    );
    let recipe = root.join("recipes/qemu-x86_64.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    let text = format!("overlays = [\"base\", \"goni\", \"{mutation}\"]\n{text}");
    fs::write(&recipe, text).unwrap();
    recipe
}

/// The checks that failed on an image with this mutation.
fn red(mutation: &str) -> BTreeSet<String> {
    let project = tempfile::tempdir().unwrap();
    let recipe = mutated(project.path(), mutation);
    let output = Command::new(env!("CARGO_BIN_EXE_goni-compose"))
        .args(["smoke", "--first-boot", "--strict", "--report", "json"])
        .arg(&recipe)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{mutation}: {errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["broken_off"], Value::Null, "{mutation}: {report:#}");
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), checks().len(), "{report:#}");
    let failed = findings.iter().filter(|finding| finding["outcome"].get("failed").is_some());
    failed.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect()
}

/// The checks with the names of their mutations.
fn checks() -> BTreeMap<String, Vec<String>> {
    let mut checks = BTreeMap::new();
    for entry in fs::read_dir(Path::new(PROJECT).join("qemu/checks")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let check: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let mutations = check["mutation"].as_array().unwrap().iter();
        let names = mutations.map(|mutation| mutation["name"].as_str().unwrap().to_owned()).collect();
        checks.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), names);
    }
    checks
}

#[test]
fn every_check_sees_its_mutations_and_no_others() {
    let only = std::env::var("GONI_COMPOSE_MUTATIONS").unwrap_or_default();
    let wanted = |name: &String| only.is_empty() || only.split(',').any(|only| only == name);
    let mut wrong = Vec::new();
    for (check, mutations) in checks() {
        for mutation in mutations.iter().filter(|name| wanted(name)) {
            let red = red(mutation);
            if red != BTreeSet::from([check.clone()]) {
                wrong.push(format!("`{mutation}` is for `{check}`, but turned red: {red:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
