use std::path::Path;

use goni_disk::gpt::{Attributes, Partition};
use goni_model::document::source::Sources;
use goni_model::overlay;
use goni_model::size::{Lba, SectorSize};
use goni_model::target::QemuFirmware;

use super::*;
use crate::host::project::ProjectFiles;
use crate::project::Files as _;

fn qemus() -> Qemus {
    load(&ProjectFiles, Path::new(env!("CARGO_MANIFEST_DIR")), QemuFirmware::Ovmf).unwrap()
}

#[test]
fn the_projects_checks_are_these_and_fit_the_firmwares_table() {
    let qemus = qemus();
    let names: Vec<&str> = qemus.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "durability",
            "goni-http",
            "isolation",
            "machine-id",
            "read-only-root",
            "swap-encrypted",
            "system-running"
        ]
    );
    let all: Vec<&Check> = qemus.checks.iter().collect();
    let expectations = Expectations { root_hash: None, state: None, swap: true, goni_http: true };
    assert_eq!(handover::strings(&qemus.guest, &all, &expectations, "n", 240).unwrap().len(), 12);
}

#[test]
fn a_check_that_is_not_there_is_answered_with_the_nearest() {
    let checks = qemus().checks;
    let only = |names: &[&str]| {
        let names: Vec<Name> = names.iter().map(|name| name.parse().unwrap()).collect();
        select(&checks, &names).map(|found| found.iter().map(|c| c.name.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(only(&["isolation", "durability"]).unwrap(), ["durability", "isolation"]);
    assert_eq!(only(&[]).unwrap().len(), checks.len());
    let error = only(&["durablity"]).unwrap_err();
    assert_eq!(error.to_string(), "no check is called `durablity`");
    assert_eq!((error.class(), error.hint()), (Class::Recipe, Some("did you mean `durability`?".into())));
}

#[test]
fn the_partition_table_tells_what_to_expect() {
    let partition = |role: Role, guid: u128| Partition {
        name: role.label().into(),
        type_guid: role.type_guid(Arch::Amd64),
        guid: Uuid::from_u128(guid),
        first: Lba::new(0),
        last: Lba::new(0),
        attributes: Attributes::default(),
    };
    let mut table = Table {
        disk_guid: Uuid::nil(),
        sector_size: SectorSize::B512,
        partitions: vec![
            partition(Role::Root, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            partition(Role::RootVerity, 0xfedc_ba98_7654_3210_fedc_ba98_7654_3210),
            partition(Role::Swap, 4),
            partition(Role::State, 5),
        ],
    };
    let found = Expectations::of_table(&table, Arch::Amd64, true);
    assert_eq!(
        found.root_hash.unwrap().to_string(),
        "0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210"
    );
    assert_eq!((found.state, found.swap), (Some(Uuid::from_u128(5)), true));
    table.partitions.clear();
    let found = Expectations::of_table(&table, Arch::Amd64, false);
    assert!(Feature::ALL.into_iter().all(|feature| !found.has(feature)));
}

#[test]
fn no_more_boots_than_the_checks_ask_for() {
    let checks = qemus().checks;
    let boots_for = |name: &str, limit| {
        let check = checks.iter().find(|check| check.name.as_str() == name).unwrap();
        boots(&[check], limit).into_iter().map(Boot::name).collect::<Vec<_>>()
    };
    assert_eq!(boots_for("isolation", Boot::AfterPowerCut), ["first"]);
    assert_eq!(boots_for("durability", Boot::AfterPowerCut), ["first", "rebooted", "after-power-cut"]);
    assert_eq!(boots_for("durability", Boot::First), ["first"]);
    assert!(boots(&[], Boot::AfterPowerCut).is_empty());
}

#[test]
fn every_mutation_is_an_overlay_and_every_such_overlay_belongs_to_a_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("qemu/checks/mutations");
    let known: BTreeSet<String> = ["base", "goni"].map(str::to_owned).into();
    let mut named = BTreeSet::new();
    for mutation in qemus().checks.iter().flat_map(|check| &check.mutations) {
        let path = folder.join(mutation.name.as_str()).join("overlay.toml");
        let text = ProjectFiles.read(&path, 1 << 16).unwrap();
        let mut sources = Sources::new();
        let (file, _) = sources.add(mutation.name.as_str(), &text);
        let overlay = overlay::check(&sources, file, mutation.name.clone(), &known).unwrap();
        assert!(overlay.summary.starts_with("Mutation: "), "{}", overlay.name);
        assert!(named.insert(mutation.name.to_string()), "{} breaks two checks", mutation.name);
    }
    assert_eq!(ProjectFiles.names(&folder).unwrap(), named);
}
