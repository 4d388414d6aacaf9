//! The test of the checks: each is run on images that were broken in one way, and must see it; and on
//! none of them may another check of the same scenario fail.
//!
//! A build and a boot or more for each mutation, about a minute each where there is no hardware
//! virtualisation. Four of them run where nothing else is asked for; `GONI_COMPOSE_MUTATIONS=all` runs
//! them all, `GONI_COMPOSE_MUTATIONS=plain-swap,open-data` these alone.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of the program runs the program on a copy of the project"
)]
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
/// What is run where nothing is asked for: one of each kind of promise.
const USUAL: [&str; 4] = ["plain-swap", "forgetful-models", "open-data", "no-goni-http"];
/// The recipe that a mutation breaks, where it does not bring its own.
const RECIPE: &str = "qemu-x86_64";

/// One mutation, as the file of its check tells it.
struct Mutation {
    check: String,
    scenario: String,
    name: String,
    until: String,
}

/// What came of an image with a mutation.
struct Course {
    red: BTreeSet<String>,
    broken_off: Vec<String>,
}

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

/// A project with one recipe more: the mutation's own, or the usual one with the mutation's overlay.
fn mutated(root: &Path, mutation: &str) -> PathBuf {
    for folder in ["firmware", "overlays", "qemu", "recipes"] {
        copy(&Path::new(PROJECT).join(folder), &root.join(folder));
    }
    let folder = Path::new(PROJECT).join("qemu/checks/mutations").join(mutation);
    if folder.join("overlay.toml").is_file() {
        copy(&folder, &root.join("overlays").join(mutation));
    }
    let own = folder.join("recipe.toml");
    let text = match own.is_file() {
        true => fs::read_to_string(own).unwrap(),
        false => {
            format!("schema = 1\nextends = \"{RECIPE}.toml\"\noverlays = [\"...\", \"{mutation}\"]\n")
        }
    };
    let recipe = root.join("recipes/mutated.toml");
    fs::write(&recipe, &text).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let extended = Path::new(table["extends"].as_str().unwrap()).with_extension("lock");
    // One that is made for the recipe it extends; where there is none, the build makes one.
    let lock = root.join("recipes").join(extended);
    if lock.is_file() {
        fs::copy(lock, recipe.with_extension("lock")).unwrap();
    }
    recipe
}

/// Builds the image with a mutation, and goes through the scenario of its check as far as it must.
fn run(mutation: &Mutation) -> Course {
    let project = tempfile::tempdir().unwrap();
    let recipe = mutated(project.path(), &mutation.name);
    let output = Command::new(env!("CARGO_BIN_EXE_goni-compose"))
        .args(["smoke", "--strict", "--report", "json"])
        .args(["--scenario", &mutation.scenario, "--until", &mutation.until])
        .arg(&recipe)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 7)), "{}: {errors}", mutation.name);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {errors}", mutation.name));
    let findings = report["findings"].as_array().unwrap();
    let failed = findings.iter().filter(|finding| finding["outcome"].get("failed").is_some());
    let red = failed.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect();
    let scenarios = report["scenarios"].as_array().unwrap().iter();
    let broken_off = scenarios.filter_map(|scenario| scenario["broken_off"].as_str()).map(str::to_owned);
    Course { red, broken_off: broken_off.collect() }
}

/// The mutations of all checks, by check.
fn mutations() -> Vec<Mutation> {
    let mut checks = BTreeMap::new();
    for entry in fs::read_dir(Path::new(PROJECT).join("qemu/checks")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let check: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
            checks.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), check);
        }
    }
    let mut mutations = Vec::new();
    for (name, check) in checks {
        let scenario = check.get("scenario").map_or("life", |scenario| scenario.as_str().unwrap());
        for mutation in check["mutation"].as_array().unwrap() {
            let until = mutation
                .get("until")
                .map_or_else(|| first(scenario, &check), |until| until.as_str().unwrap().to_owned());
            mutations.push(Mutation {
                check: name.clone(),
                scenario: scenario.to_owned(),
                name: mutation["name"].as_str().unwrap().to_owned(),
                until,
            });
        }
    }
    mutations
}

/// The first boot of its scenario that a check runs in.
fn first(scenario: &str, check: &toml::Table) -> String {
    let path = Path::new(PROJECT).join(format!("qemu/scenarios/{scenario}.toml"));
    let scenario: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let boots = scenario["boot"].as_array().unwrap().iter().map(|boot| boot["name"].as_str().unwrap());
    let listed = check["boots"].as_array().unwrap();
    let mut own = boots.filter(|boot| listed.iter().any(|listed| listed.as_str() == Some(boot)));
    own.next().unwrap().to_owned()
}

#[test]
fn every_check_sees_its_mutations_and_no_others() {
    let asked = std::env::var("GONI_COMPOSE_MUTATIONS").unwrap_or_default();
    let wanted: Vec<&str> = match asked.as_str() {
        "" => USUAL.to_vec(),
        names => names.split(',').collect(),
    };
    let mutations = mutations();
    for name in wanted.iter().filter(|name| **name != "all") {
        assert!(mutations.iter().any(|mutation| mutation.name == *name), "no mutation is called `{name}`");
    }
    let mut wrong = Vec::new();
    println!("{:<22} {:<26} {:<14} {:<28} {:>8}", "check", "mutation", "scenario", "red", "seconds");
    for mutation in mutations.iter().filter(|m| asked == "all" || wanted.contains(&m.name.as_str())) {
        let began = Instant::now();
        let Course { red, broken_off } = run(mutation);
        let Mutation { check, scenario, name, .. } = mutation;
        let names = red.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        println!("{check:<22} {name:<26} {scenario:<14} {names:<28} {:>8}", began.elapsed().as_secs());
        if red != BTreeSet::from([check.clone()]) || !broken_off.is_empty() {
            wrong.push(format!(
                "`{name}` is for `{check}`, but turned red: {red:?} {}",
                broken_off.join("; ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
