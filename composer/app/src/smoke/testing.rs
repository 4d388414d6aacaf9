//! Values for the tests of several modules.

use goni_model::arch::Arch;
use goni_model::modules::Modules;
use goni_model::recipe::{Iommu, LockMemory, StateEncryption};
use goni_model::report::{
    BootReport, Finding, Outcome, Part, ScenarioReport, ShadowReport, SmokeReport, Unexercised, Warning,
};
use goni_model::size::SectorSize;

use crate::smoke::expectations::Promises;

/// Promises of a recipe that promises next to nothing.
pub(crate) fn promises() -> Promises {
    Promises {
        arch: Arch::Amd64,
        swap: false,
        goni_http: false,
        iommu: Iommu::Lazy,
        listens: Vec::new(),
        devices: Vec::new(),
        open: Vec::new(),
        volatile: Vec::new(),
        lock_memory: LockMemory::Unlimited,
        persist: Vec::new(),
        modules: Modules::default(),
        encryption: StateEncryption::None,
        sector_sizes: vec![SectorSize::B512],
        shadow: false,
    }
}

/// What a shadow boot left out.
pub(crate) fn shadow() -> ShadowReport {
    let left_out = |part, what: &str| Unexercised { part, what: what.to_owned() };
    ShadowReport {
        target: "jetson".parse().unwrap(),
        shadow: "qemu-aarch64".parse().unwrap(),
        kernel: "6.12".to_owned(),
        unexercised: vec![
            left_out(Part::Kernel, "kernel 6.8; 6.12 ran in its place"),
            left_out(Part::BootPath, "extlinux"),
        ],
    }
}

/// A report with one of everything.
pub(crate) fn report() -> SmokeReport {
    let finding = |check: &str, boot: Option<&str>, outcome, milliseconds| Finding {
        check: check.parse().unwrap(),
        scenario: Some("life".parse().unwrap()),
        boot: boot.map(|boot| boot.parse().unwrap()),
        outcome,
        milliseconds,
    };
    let failed =
        Outcome::Failed { expected: "<nonce>".into(), observed: "nothing\nat all\n\u{1b}[31m".into() };
    let skipped = Outcome::Skipped { reason: "the image has no swap".into() };
    SmokeReport {
        image: "a&b.raw".into(),
        accelerator: "tcg: because".into(),
        shadow: None,
        scenarios: vec![ScenarioReport {
            scenario: "life".parse().unwrap(),
            boots: vec![BootReport {
                boot: "first".parse().unwrap(),
                kernel_milliseconds: Some(5_600),
                started_milliseconds: Some(40_000),
                settled_milliseconds: Some(41_000),
                told: "Startup finished".into(),
            }],
            broken_off: Some("the guest flooded its console".into()),
            ignored_lines: 2,
            console: "a.life.console.log".into(),
            console_end: Some("x\u{1b}y".into()),
            milliseconds: 60_000,
        }],
        findings: vec![
            finding("isolation", Some("first"), Outcome::Passed, 1_500),
            finding("durability", Some("rebooted"), failed, 20),
            finding("swap-encrypted", None, skipped, 0),
        ],
        warnings: vec![Warning {
            check: "isolation".parse().unwrap(),
            scenario: "life".parse().unwrap(),
            boot: "first".parse().unwrap(),
            text: "a <door> is ajar".into(),
        }],
        milliseconds: 61_005,
    }
}
