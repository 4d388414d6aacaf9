//! The test of the checks: each is run on images that were broken in one way, and must see it.
//!
//! A build and a boot or more for each mutation, two at once. Four of them run where nothing else is
//! asked for; `GONI_COMPOSE_MUTATIONS=all` runs them all, `GONI_COMPOSE_MUTATIONS=plain-swap,open-data`
//! these alone.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test of the program runs the program on a copy of the project, and shows a table"
)]
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

#[path = "../copying.rs"]
mod copying;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use serde_json::Value;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
/// How many images boot at once: much of a boot is waiting.
const AT_ONCE: usize = 2;
/// What is run where nothing is asked for: one of each kind of promise.
const USUAL: [&str; 4] = ["plain-swap", "forgetful-models", "open-data", "no-goni-http"];
/// The recipe that a mutation breaks, where it does not bring its own.
const RECIPE: &str = "qemu-x86_64";
/// The recipe where the check needs a state that a TPM opens.
const TPM2_RECIPE: &str = "qemu-x86_64-tpm2";
/// What the recipe must promise besides, by what the check needs.
const PROMISES: [(&str, &str); 4] = [
    ("sectors-4096", "[output]\nsector-size = [512, 4096]\n"),
    ("open-ports", "[network]\nopen = [\"7000/tcp\"]\n"),
    ("kernel-modules", "[kernel.modules]\nload = [\"dummy\"]\n"),
    ("persist", "[state]\npersist = [\"/var/lib/mutation\"]\n"),
];

/// One mutation, as the file of its check tells it.
struct Mutation {
    check: String,
    scenario: String,
    name: String,
    until: String,
    /// What check and scenario need of the recipe.
    needs: BTreeSet<String>,
}

/// What came of an image with a mutation.
struct Course {
    /// What the check expected and observed, where that was not the same.
    objections: Vec<Value>,
    /// Why the scenario ended before its time.
    broken_off: Vec<String>,
}

/// A recipe that keeps what the check needs, and has the mutation's overlay.
fn recipe(mutation: &Mutation) -> String {
    let extended = if mutation.needs.contains("tpm2") { TPM2_RECIPE } else { RECIPE };
    let name = &mutation.name;
    let mut text = format!("schema = 1\nextends = \"{extended}.toml\"\noverlays = [\"...\", \"{name}\"]\n");
    for (_, promise) in PROMISES.iter().filter(|(need, _)| mutation.needs.contains(*need)) {
        text.push_str(promise);
    }
    text
}

/// A project with one recipe more: the mutation's own, or one with the mutation's overlay.
fn mutated(root: &Path, mutation: &Mutation) -> PathBuf {
    copying::project(root);
    let folder = Path::new(PROJECT).join("qemu/checks/mutations").join(&mutation.name);
    if folder.join("overlay.toml").is_file() {
        copying::copy(&folder, &root.join("overlays").join(&mutation.name));
    }
    let own = folder.join("recipe.toml");
    let text = match own.is_file() {
        true => fs::read_to_string(own).unwrap(),
        false => recipe(mutation),
    };
    let recipe = root.join("recipes/mutated.toml");
    fs::write(&recipe, &text).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let extended = Path::new(table["extends"].as_str().unwrap()).with_extension("lock");
    // One that is made for the recipe it extends; where there is none, the build makes one.
    let lock = root.join("recipes").join(extended);
    if lock.is_file() {
        fs::copy(lock, recipe.with_extension("lock")).unwrap();
        // It takes the mutation in; nothing is fetched for that, and no version moves.
        let mut command = Command::new(env!("CARGO_BIN_EXE_goni-compose"));
        let output = command.args(["lock", "--quiet"]).arg(&recipe).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", mutation.name);
    }
    recipe
}

/// Builds the image with a mutation, and runs its check alone, as far as it must.
fn run(mutation: &Mutation) -> Course {
    let project = tempfile::tempdir().unwrap();
    let recipe = mutated(project.path(), mutation);
    let output = Command::new(env!("CARGO_BIN_EXE_goni-compose"))
        .args(["smoke", "--strict", "--report", "json"])
        .args(["--only", &mutation.check, "--until", &mutation.until])
        .arg(&recipe)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 7)), "{}: {errors}", mutation.name);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {errors}", mutation.name));
    let findings = report["findings"].as_array().unwrap();
    let objections = findings.iter().filter_map(|finding| finding["outcome"].get("failed"));
    let scenarios = report["scenarios"].as_array().unwrap().iter();
    Course {
        objections: objections.cloned().collect(),
        broken_off: scenarios.filter_map(|s| s["broken_off"].as_str()).map(str::to_owned).collect(),
    }
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
        let needs: BTreeSet<String> =
            [&check, &scenario_table(scenario)].into_iter().flat_map(needs).collect();
        for mutation in check["mutation"].as_array().unwrap() {
            let until = mutation
                .get("until")
                .map_or_else(|| first(scenario, &check), |until| until.as_str().unwrap().to_owned());
            mutations.push(Mutation {
                check: name.clone(),
                scenario: scenario.to_owned(),
                name: mutation["name"].as_str().unwrap().to_owned(),
                until,
                needs: needs.clone(),
            });
        }
    }
    mutations
}

fn scenario_table(scenario: &str) -> toml::Table {
    let path = Path::new(PROJECT).join(format!("qemu/scenarios/{scenario}.toml"));
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// What a check or a scenario needs.
fn needs(table: &toml::Table) -> Vec<String> {
    let needs = table.get("needs").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    needs.iter().map(|need| need.as_str().unwrap().to_owned()).collect()
}

/// The first boot of its scenario that a check runs in.
fn first(scenario: &str, check: &toml::Table) -> String {
    let scenario = scenario_table(scenario);
    let boots = scenario["boot"].as_array().unwrap().iter().map(|boot| boot["name"].as_str().unwrap());
    let listed = check["boots"].as_array().unwrap();
    let mut own = boots.filter(|boot| listed.iter().any(|listed| listed.as_str() == Some(boot)));
    own.next().unwrap().to_owned()
}

/// Runs a mutation and prints its line of the table; what is wrong about it.
fn fault(mutation: &Mutation) -> Option<String> {
    let began = Instant::now();
    let Course { objections, broken_off } = run(mutation);
    let Mutation { check, scenario, name, .. } = mutation;
    let outcome = if objections.is_empty() { "passed" } else { "failed" };
    let seconds = began.elapsed().as_secs();
    let mut lines = format!("{check:<18} {name:<20} {scenario:<14} {outcome:<7} {seconds:>7}");
    let objections = objections.iter().map(|objection| format!("\n    {objection}"));
    lines.extend(objections.chain(broken_off.iter().map(|why| format!("\n    broken off: {why}"))));
    println!("{lines}");
    if outcome == "passed" {
        return Some(format!("`{check}` does not see `{name}`"));
    }
    // Only a machine that is broken for good is red because it does not come up.
    let down = mutation.needs.contains("tpm2") || scenario != "life";
    (!broken_off.is_empty() && !down)
        .then(|| format!("`{name}` breaks more than `{check}` is about: {lines}"))
}

#[test]
fn every_check_sees_its_mutations() {
    let asked = std::env::var("GONI_COMPOSE_MUTATIONS").unwrap_or_default();
    let wanted: Vec<&str> = match asked.as_str() {
        "" => USUAL.to_vec(),
        names => names.split(',').collect(),
    };
    let mutations = mutations();
    for name in wanted.iter().filter(|name| **name != "all") {
        assert!(mutations.iter().any(|mutation| mutation.name == *name), "no mutation is called `{name}`");
    }
    let asked_for = mutations.iter().filter(|m| asked == "all" || wanted.contains(&m.name.as_str()));
    let (left, wrong) = (Mutex::new(asked_for), Mutex::new(Vec::new()));
    println!("{:<18} {:<20} {:<14} {:<7} {:>7}", "check", "mutation", "scenario", "outcome", "seconds");
    let work = || {
        loop {
            // Each lock is in a statement of its own, and not held while an image boots.
            let next = left.lock().unwrap().next();
            let Some(mutation) = next else { break };
            let fault = fault(mutation);
            wrong.lock().unwrap().extend(fault);
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
