//! The test of the checks: each is run on images that were broken in one way, and must see it.
//!
//! Boots are what this costs, so mutations share an image as far as their files allow it: never two of
//! one check, none with a check that it disturbs, and each is seen by its own check in its own words.
//! Four of them run where nothing else is asked for; `GONI_COMPOSE_MUTATIONS=all` runs them all,
//! `GONI_COMPOSE_MUTATIONS=plain-swap,open-data` these, each on an image of its own.

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
#[derive(Clone)]
struct Mutation {
    check: String,
    name: String,
    /// Words of what the check says where it sees it.
    says: String,
    /// Checks that may fail with it.
    disturbs: BTreeSet<String>,
    /// A recipe instead of an overlay.
    recipe: Option<String>,
    scenario: String,
    /// The boot of the scenario by whose end the check has noticed.
    until: usize,
    /// What check and scenario need of the recipe.
    needs: BTreeSet<String>,
}

impl Mutation {
    fn needs_tpm2(&self) -> bool {
        self.needs.contains("tpm2")
    }

    /// Whether one image can have both.
    fn goes_with(&self, other: &Self) -> bool {
        self.recipe.is_none()
            && other.recipe.is_none()
            && self.scenario == other.scenario
            && self.needs_tpm2() == other.needs_tpm2()
            && self.check != other.check
            && !self.disturbs.contains(&other.check)
            && !other.disturbs.contains(&self.check)
    }
}

/// Mutations that one image has.
type Image = Vec<Mutation>;

/// As few images as come of taking one mutation after the other; those of many boots first.
fn images(mut mutations: Vec<Mutation>) -> Vec<Image> {
    mutations.sort_by_key(|mutation| std::cmp::Reverse(mutation.until));
    let mut images: Vec<Image> = Vec::new();
    for mutation in mutations {
        match images.iter_mut().find(|image| image.iter().all(|other| other.goes_with(&mutation))) {
            Some(image) => image.push(mutation),
            None => images.push(vec![mutation]),
        }
    }
    images
}

/// What came of an image.
struct Course {
    /// What checks expected and observed, where that was not the same: by check.
    objections: BTreeMap<String, Vec<Value>>,
    /// Why the scenario ended before its time.
    broken_off: Vec<String>,
}

/// A recipe that keeps what the checks need, and has the overlays of the mutations.
fn recipe(image: &Image) -> String {
    let extended = if image[0].needs_tpm2() { TPM2_RECIPE } else { RECIPE };
    let overlays: String = image.iter().map(|mutation| format!(", \"{}\"", mutation.name)).collect();
    let mut text = format!("schema = 1\nextends = \"{extended}.toml\"\noverlays = [\"...\"{overlays}]\n");
    let needed = |need| image.iter().any(|mutation| mutation.needs.contains(need));
    for (_, promise) in PROMISES.iter().filter(|(need, _)| needed(*need)) {
        text.push_str(promise);
    }
    text
}

fn folder(mutation: &str) -> PathBuf {
    Path::new(PROJECT).join("qemu/checks/mutations").join(mutation)
}

/// A project with one recipe more: the mutation's own, or one with the overlays of the mutations.
fn mutated(root: &Path, image: &Image) -> PathBuf {
    copying::project(root);
    for mutation in image.iter().filter(|mutation| mutation.recipe.is_none()) {
        copying::copy(&folder(&mutation.name), &root.join("overlays").join(&mutation.name));
    }
    let text = image[0].recipe.clone().unwrap_or_else(|| recipe(image));
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
        assert!(output.status.success(), "{}: {errors}", names(image));
    }
    recipe
}

/// Builds the image, and runs the checks of its mutations alone, as far as they must.
fn run(image: &Image) -> Course {
    let project = tempfile::tempdir().unwrap();
    let recipe = mutated(project.path(), image);
    let until = image.iter().map(|mutation| mutation.until).max().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_goni-compose"));
    command.args(["smoke", "--strict", "--report", "json", "--until", &boots(&image[0].scenario)[until]]);
    for mutation in image {
        command.args(["--only", &mutation.check]);
    }
    let output = command.arg(&recipe).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let names = names(image);
    assert!(matches!(output.status.code(), Some(0 | 7)), "{names}: {errors}");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{names}: {error}: {errors}"));
    let mut objections: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        if let Some(objection) = finding["outcome"].get("failed") {
            let check = finding["check"].as_str().unwrap().to_owned();
            objections.entry(check).or_default().push(objection.clone());
        }
    }
    let scenarios = report["scenarios"].as_array().unwrap().iter();
    Course {
        objections,
        broken_off: scenarios.filter_map(|s| s["broken_off"].as_str()).map(str::to_owned).collect(),
    }
}

fn names(image: &Image) -> String {
    image.iter().map(|mutation| mutation.name.as_str()).collect::<Vec<_>>().join(", ")
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
            [&check, &scenario_table(scenario)].into_iter().flat_map(|table| words(table, "needs")).collect();
        let boots = boots(scenario);
        let listed = words(&check, "boots");
        let first = || boots.iter().find(|boot| listed.contains(*boot)).unwrap().as_str();
        for mutation in check["mutation"].as_array().unwrap() {
            let mutation = mutation.as_table().unwrap();
            let text = |key: &str| mutation[key].as_str().unwrap().to_owned();
            let until = mutation.get("until").map_or_else(first, |until| until.as_str().unwrap());
            mutations.push(Mutation {
                check: name.clone(),
                name: text("name"),
                says: text("says"),
                disturbs: words(mutation, "disturbs").into_iter().collect(),
                recipe: fs::read_to_string(folder(&text("name")).join("recipe.toml")).ok(),
                scenario: scenario.to_owned(),
                until: boots.iter().position(|boot| boot == until).unwrap(),
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

/// The boots of a scenario, in their order.
fn boots(scenario: &str) -> Vec<String> {
    let scenario = scenario_table(scenario);
    scenario["boot"]
        .as_array()
        .unwrap()
        .iter()
        .map(|boot| boot["name"].as_str().unwrap().to_owned())
        .collect()
}

/// A list of words, empty where there is none.
fn words(table: &toml::Table, key: &str) -> Vec<String> {
    let list = table.get(key).and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// Runs an image and prints a line of the table for each of its mutations; what is wrong about them.
fn faults(number: usize, image: &Image) -> Vec<String> {
    let began = Instant::now();
    let course = run(image);
    let seconds = began.elapsed().as_secs();
    let mut wrong = Vec::new();
    let mut lines = String::new();
    for Mutation { check, name, scenario, says, .. } in image {
        let objections = course.objections.get(check).map(Vec::as_slice).unwrap_or_default();
        let said = |objection: &&Value| {
            ["expected", "observed"]
                .iter()
                .any(|key| objection[key].as_str().unwrap().contains(says.as_str()))
        };
        let seen = objections.iter().find(said);
        let outcome = if seen.is_some() { "failed" } else { "passed" };
        lines.push_str(&format!(
            "{check:<18} {name:<20} {scenario:<14} {outcome:<7} {number:>5} {seconds:>7}\n"
        ));
        for objection in seen.into_iter().chain(objections.iter().filter(|_| seen.is_none())) {
            lines.push_str(&format!("    {objection}\n"));
        }
        if seen.is_none() {
            wrong.push(format!("`{check}` does not see `{name}` and say `{says}`: {objections:?}"));
        }
    }
    for why in &course.broken_off {
        lines.push_str(&format!("    broken off: {why}\n"));
        // Only a machine that is broken for good is red because it does not come up.
        if image.iter().any(|mutation| !mutation.needs_tpm2() && mutation.scenario == "life") {
            wrong.push(format!("one of {} breaks more than its check is about: {why}", names(image)));
        }
    }
    print!("{lines}");
    wrong
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
    let images = match asked.as_str() {
        "" | "all" => images(
            mutations.into_iter().filter(|m| asked == "all" || wanted.contains(&m.name.as_str())).collect(),
        ),
        _ => mutations.into_iter().filter(|m| wanted.contains(&m.name.as_str())).map(|m| vec![m]).collect(),
    };
    let (left, wrong) = (Mutex::new(images.iter().enumerate()), Mutex::new(Vec::new()));
    println!(
        "{:<18} {:<20} {:<14} {:<7} {:>5} {:>7}",
        "check", "mutation", "scenario", "outcome", "image", "seconds"
    );
    let work = || {
        loop {
            // Each lock is in a statement of its own, and not held while an image boots.
            let next = left.lock().unwrap().next();
            let Some((number, image)) = next else { break };
            let faults = faults(number + 1, image);
            wrong.lock().unwrap().extend(faults);
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
