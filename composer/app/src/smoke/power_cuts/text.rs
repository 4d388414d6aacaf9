//! A report of power cuts as lines for people.

use goni_model::number::to_u64;
use goni_model::report::PowerCutReport;

/// How many faults of a part are shown.
const SHOWN: usize = 20;

/// The table, then what was wrong.
#[must_use]
pub fn write(report: &PowerCutReport) -> String {
    let row = |cells: [String; 9]| {
        let [name, numbers @ ..] = cells;
        let numbers: String = numbers.iter().map(|cell| format!(" {cell:>8}")).collect();
        format!("{name:<10}{numbers}\n")
    };
    let mut text =
        row(["", "writes", "flushes", "cuts", "judged", "equal", "lossy", "promises", "boots"]
            .map(str::to_owned));
    for part in &report.parts {
        let boots = to_u64(part.boots.len());
        let numbers =
            [part.writes, part.flushes, part.cuts, part.judged, part.equal, part.lossy, part.promises, boots];
        let [a, b, c, d, e, f, g, h] = numbers.map(|number| number.to_string());
        let line = row([part.name.clone(), a, b, c, d, e, f, g, h]);
        let outcome = if part.faults.is_empty() { "all recover" } else { "FAILED" };
        text.push_str(&format!("{}  {outcome}, {} s\n", line.trim_end(), part.milliseconds / 1000));
    }
    for part in report.parts.iter().filter(|part| !part.boots.is_empty()) {
        text.push_str(&format!("\n{}: booted after {}\n", part.name, part.boots.join(", ")));
    }
    for part in report.parts.iter().filter(|part| !part.faults.is_empty()) {
        text.push_str(&format!("\n{}: {} faults\n", part.name, part.faults.len()));
        for fault in part.faults.iter().take(SHOWN) {
            let what: String = fault.what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            text.push_str(&format!("  {:<8} {what}\n", fault.point));
        }
        if part.faults.len() > SHOWN {
            text.push_str(&format!("  and {} more\n", part.faults.len() - SHOWN));
        }
    }
    if let Some(why) = &report.broken_off {
        let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("\nbroken off: {why}\n"));
    }
    if let Some(log) = &report.log {
        text.push_str(&format!(
            "\nthe writes are kept in `{log}`: `--power-cut-at POINT` makes the disk of a cut\n"
        ));
    }
    text.push_str(&format!(
        "\n{} s; seed {}; {}\n",
        report.milliseconds / 1000,
        report.seed,
        report.accelerator
    ));
    text
}

#[cfg(test)]
mod tests {
    use goni_model::report::{PowerCutFault, PowerCutPart};

    use super::*;

    #[test]
    fn a_report_reads_like_this() {
        let part = |name: &str, boots: &[&str], faults| PowerCutPart {
            name: name.into(),
            writes: 600,
            flushes: 150,
            cuts: 751,
            judged: 500,
            equal: 251,
            lossy: 120,
            promises: 48,
            boots: boots.iter().map(|&point| point.into()).collect(),
            faults,
            milliseconds: 61_900,
        };
        let fault = PowerCutFault { point: "17:9".into(), what: "it is\ntorn".into() };
        let report = PowerCutReport {
            image: "a.raw".into(),
            accelerator: "tcg: because".into(),
            seed: 9,
            parts: vec![part("first-boot", &["3", "9"], vec![]), part("reboot", &[], vec![fault; 21])],
            broken_off: Some("the guest flooded its port".into()),
            log: Some("a.writes.log".into()),
            milliseconds: 120_000,
        };
        let text = write(&report);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "             writes  flushes     cuts   judged    equal    lossy promises    boots",
                "first-boot      600      150      751      500      251      120       48        2  all recover, 61 s",
                "reboot          600      150      751      500      251      120       48        0  FAILED, 61 s",
                "",
            ]
        );
        assert_eq!(
            lines[4..8],
            ["first-boot: booted after 3, 9", "", "reboot: 21 faults", "  17:9     it is torn"]
        );
        assert!(text.contains("\n  and 1 more\n\nbroken off: the guest flooded its port\n"), "{text}");
        assert!(text.ends_with("\n120 s; seed 9; tcg: because\n"), "{text}");
        assert!(!report.passed());
    }
}
