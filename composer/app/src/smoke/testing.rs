//! Reports for the tests of those that write them.

use goni_model::report::{Boot, BootReport, Finding, Outcome, SmokeReport};

/// A report with one of everything.
pub(crate) fn report() -> SmokeReport {
    let finding = |check: &str, boot, outcome, milliseconds| Finding {
        check: check.parse().unwrap(),
        boot,
        outcome,
        milliseconds,
    };
    let failed =
        Outcome::Failed { expected: "<nonce>".into(), observed: "nothing\nat all\n\u{1b}[31m".into() };
    let skipped = Outcome::Skipped { reason: "the image has no swap".into() };
    SmokeReport {
        image: "a&b.raw".into(),
        accelerator: "tcg: because".into(),
        boots: vec![BootReport {
            boot: Boot::First,
            kernel_milliseconds: Some(5_600),
            started_milliseconds: Some(40_000),
            settled_milliseconds: Some(41_000),
            told: "Startup finished".into(),
        }],
        findings: vec![
            finding("isolation", Some(Boot::First), Outcome::Passed, 1_500),
            finding("durability", Some(Boot::Rebooted), failed, 20),
            finding("swap-encrypted", None, skipped, 0),
        ],
        broken_off: Some("the guest flooded its console".into()),
        ignored_lines: 2,
        console_end: Some("x\u{1b}y".into()),
        milliseconds: 61_005,
    }
}
