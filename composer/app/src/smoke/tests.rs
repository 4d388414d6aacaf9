use std::collections::BTreeSet;
use std::path::Path;

use goni_model::document::source::Sources;
use goni_model::overlay;
use goni_model::target::QemuFirmware;

use super::*;
use crate::host::project::ProjectFiles;
use crate::project::Files as _;
use crate::smoke::check::Check;
use crate::smoke::select::{Wish, known_boot, select};

fn qemus() -> Qemus {
    load(&ProjectFiles, Path::new(env!("CARGO_MANIFEST_DIR")), QemuFirmware::Ovmf).unwrap()
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn every_scenario_has_checks_that_fit_the_firmwares_table() {
    let qemus = qemus();
    let promises = testing::promises();
    let expectations = Expectations { root_hash: None, state: None, promises };
    for scenario in &qemus.scenarios {
        let own: Vec<&Check> = qemus.checks.iter().filter(|check| check.scenario == scenario.name).collect();
        assert!(!own.is_empty(), "{}", scenario.name);
        assert!(
            handover::strings(&qemus.guest, &own, &expectations, "n", 240).is_some(),
            "{}",
            scenario.name
        );
    }
}

#[test]
fn what_runs_by_default_is_the_life_of_a_node_in_three_boots() {
    let qemus = qemus();
    let defaults: Vec<&str> =
        qemus.scenarios.iter().filter(|scenario| scenario.default).map(|s| s.name.as_str()).collect();
    assert_eq!(defaults, [scenario::USUAL]);
    let boots: Vec<&str> = qemus.scenarios[0].boots.iter().map(|boot| boot.name.as_str()).collect();
    assert_eq!(boots, ["first", "rebooted", "after-power-cut"]);
}

#[test]
fn what_was_asked_for_is_run_and_what_is_not_there_is_answered_with_the_nearest() {
    let qemus = qemus();
    let run = |wish: Wish<'_>| {
        select(&qemus.scenarios, &qemus.checks, wish).map(|trials| {
            let of = |trial: &Trial<'_>| trial.checks.iter().map(|check| check.name.to_string()).collect();
            trials
                .iter()
                .map(|trial| (trial.scenario.name.to_string(), of(trial)))
                .collect::<Vec<(_, Vec<_>)>>()
        })
    };
    let only = |checks: &[&str]| run(Wish::Checks(&names(checks)));
    let life = |checks: &[&str]| {
        vec![("life".to_owned(), checks.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())]
    };
    assert_eq!(only(&["isolation", "durability"]).unwrap(), life(&["durability", "isolation"]));
    assert_eq!(run(Wish::Scenarios(&names(&["life"]))).unwrap(), run(Wish::Default).unwrap());
    let all: usize = run(Wish::All).unwrap().iter().map(|(_, checks)| checks.len()).sum();
    assert_eq!(all, qemus.checks.len());
    let error = only(&["durablity"]).unwrap_err();
    assert_eq!(error.to_string(), "no check is called `durablity`");
    assert_eq!((error.class(), error.hint()), (Class::Recipe, Some("did you mean `durability`?".into())));
    let error = run(Wish::Scenarios(&names(&["lief"]))).unwrap_err();
    assert_eq!(error.to_string(), "no scenario is called `lief`");
    assert_eq!(error.hint(), Some("did you mean `life`?".into()));
}

#[test]
fn no_more_boots_than_the_checks_ask_for() {
    let qemus = qemus();
    let boots_for = |name: &str, until| {
        let trials = select(&qemus.scenarios, &qemus.checks, Wish::Checks(&names(&[name]))).unwrap();
        trials[0].boots(&trials[0].checks, until)
    };
    assert_eq!(boots_for("isolation", Until::Whole), 1);
    assert_eq!(boots_for("durability", Until::Whole), 3);
    assert_eq!(boots_for("durability", Until::First), 1);
    assert_eq!(boots_for("durability", Until::Boot(&"rebooted".parse().unwrap())), 2);
    let trials = select(&qemus.scenarios, &qemus.checks, Wish::Default).unwrap();
    let error = known_boot(&trials, &"reboted".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "no boot is called `reboted`");
    assert_eq!(error.hint(), Some("did you mean `rebooted`?".into()));
}

#[test]
fn every_mutation_is_an_overlay_or_a_recipe_and_belongs_to_a_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("qemu/checks/mutations");
    let known: BTreeSet<String> = ["base", "goni"].map(str::to_owned).into();
    let mut named = BTreeSet::new();
    let mut broken = BTreeSet::new();
    let qemus = qemus();
    let all = qemus.checks.iter().flat_map(|check| check.mutations.iter().map(move |m| (&check.scenario, m)));
    for (scenario, mutation) in all {
        assert!(broken.insert((scenario, &mutation.name)), "{} breaks two checks", mutation.name);
        named.insert(mutation.name.to_string());
        for other in &mutation.disturbs {
            assert!(qemus.checks.iter().any(|check| check.name == *other), "{}: `{other}`", mutation.name);
        }
        let path = folder.join(mutation.name.as_str()).join("overlay.toml");
        if ProjectFiles.is_file(&path.with_file_name("recipe.toml")) && !ProjectFiles.is_file(&path) {
            continue;
        }
        let text = ProjectFiles.read(&path, 1 << 16).unwrap();
        let mut sources = Sources::new();
        let (file, _) = sources.add(mutation.name.as_str(), &text);
        let overlay = overlay::check(&sources, file, mutation.name.clone(), &known).unwrap();
        assert!(overlay.summary.starts_with("Mutation: "), "{}", overlay.name);
    }
    assert_eq!(ProjectFiles.names(&folder).unwrap(), named);
}
