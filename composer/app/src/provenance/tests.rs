//! A statement has the shape that the specifications give it; broken in any one way, it has not.

use std::path::Path;

use goni_model::arch::Arch;
use goni_model::layout::{Layout, Role};
use goni_model::plan::{PlannedStage, StageId, StageKind};
use goni_model::size::{ByteCount, SectorSize};
use serde_json::{Value, json};

use super::*;
use crate::bill::{judge, sample};
use crate::host::project::ProjectFiles;
use crate::project;

fn written() -> Value {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/qemu-x86_64.toml");
    let project = project::load(&ProjectFiles, &recipe).unwrap();
    let text = files::read_text(&recipe.with_extension("lock"), 1 << 20).unwrap();
    let lock: Lock = text.parse().unwrap();
    let bill = sample::bill();
    let plan = Plan {
        name: bill.name.clone(),
        version: bill.version.clone(),
        arch: Arch::Arm64,
        source_date: 7,
        stages: vec![PlannedStage {
            kind: StageKind::Fetch,
            id: StageId::of(StageKind::Fetch, "1", "", None, 7),
            note: String::new(),
        }],
        layout: Layout::place(SectorSize::B512, &[(Role::Root, ByteCount::from_mib(1))]).unwrap(),
        further_layouts: Vec::new(),
        partitions: BTreeMap::new(),
    };
    let twins = &lock.packages[..1];
    let ground = Ground { project: &project, lock: &lock, twins, plan: &plan, bill: &bill };
    let text = write(&ground, &sources(&project, &lock).unwrap(), &sample::outputs()).unwrap();
    assert_eq!(text, write(&ground, &sources(&project, &lock).unwrap(), &sample::outputs()).unwrap());
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_statement_has_the_shape_of_the_specifications() {
    let statement = written();
    assert_eq!(judge::provenance(&statement), Vec::<String>::new());
    // A lock is told as it is written, to the byte.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/qemu-x86_64.lock");
    let lock = Sha256Digest::of(&files::read_capped(&file, 1 << 20).unwrap()).to_string();
    let first = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!(first["digest"]["sha256"], lock.as_str());
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["payloads"], json!({"goni-http": null}));
    assert_eq!(definition["externalParameters"]["recipe"]["name"], "recipes/qemu-x86_64.toml");
    let names: Vec<&str> = definition["resolvedDependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    for name in [
        "recipes/qemu-x86_64.lock",
        "recipes/_base/appliance.toml",
        "debian trixie Release",
        "libstdc++6_1:14.2.0-19_arm64",
        "foo-dkms_1_all",
        "overlay goni",
    ] {
        assert!(names.contains(&name), "{name} in {names:#?}");
    }
}

/// What is broken, and what the judge says of it.
type Breakage = (fn(&mut Value), &'static str);

#[test]
fn a_broken_statement_is_told_from_a_good_one() {
    let breakages: &[Breakage] = &[
        (|it| it["_type"] = "https://in-toto.io/Statement/v0.1".into(), "_type"),
        (|it| it["predicateType"] = "https://slsa.dev/provenance/v0.2".into(), "predicateType"),
        (|it| it["subject"] = json!([]), "no subject"),
        (|it| it["subject"][0]["digest"]["sha256"] = "abc".into(), "`abc` is no SHA-256"),
        (|it| it["predicate"]["buildDefinition"]["buildtype"] = "x".into(), "unknown field `buildtype`"),
        (
            |it| {
                it["predicate"]["buildDefinition"].as_object_mut().unwrap().remove("externalParameters");
            },
            "externalParameters",
        ),
        (|it| it["predicate"]["runDetails"]["builder"]["id"] = "goni".into(), "`goni` is no URI"),
        (
            |it| it["predicate"]["runDetails"]["metadata"]["startedOn"] = "2026-11-23T00:00:00Z".into(),
            "a clock was asked",
        ),
    ];
    for (breakage, expected) in breakages {
        let mut statement = written();
        breakage(&mut statement);
        let faults = judge::provenance(&statement);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:#?}");
    }
}
