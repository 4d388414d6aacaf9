//! A smoke report as lines for people.

use goni_model::name::Name;
use goni_model::report::{BootReport, Finding, Outcome, ScenarioReport, ShadowReport, SmokeReport};

/// How many came out how, in a few words.
#[must_use]
pub fn tally(report: &SmokeReport) -> String {
    let (mut passed, mut failed, mut skipped) = (0_u32, 0_u32, 0_u32);
    for finding in &report.findings {
        match finding.outcome {
            Outcome::Passed => passed += 1,
            Outcome::Failed { .. } => failed += 1,
            Outcome::Skipped { .. } => skipped += 1,
        }
    }
    let warnings = match report.warnings.len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        count => format!(", {count} warnings"),
    };
    format!("{passed} passed, {failed} failed, {skipped} skipped{warnings}")
}

/// The report: scenarios with their boots, one line a check, then what failed.
#[must_use]
pub fn write(report: &SmokeReport) -> String {
    let mut text = report.shadow.as_ref().map(shadow).unwrap_or_default();
    for scenario in &report.scenarios {
        text.push_str(&format!(
            "scenario {:<18} {}\n",
            scenario.scenario.as_str(),
            seconds(scenario.milliseconds)
        ));
        scenario.boots.iter().for_each(|boot| text.push_str(&boot_line(boot)));
    }
    for finding in &report.findings {
        let (word, note) = match &finding.outcome {
            Outcome::Passed => ("passed", String::new()),
            Outcome::Failed { .. } => ("FAILED", String::new()),
            Outcome::Skipped { reason } => ("skipped", format!("  {}", escaped(reason))),
        };
        text.push_str(&format!(
            "{word:<8} {:<22} {:<24} {:>7}{note}\n",
            finding.check.as_str(),
            place(finding),
            seconds(finding.milliseconds),
        ));
    }
    for finding in &report.findings {
        let warnings: Vec<&str> = report.warnings_of(finding).collect();
        if !warnings.is_empty() && finding.outcome == Outcome::Passed {
            text.push_str(&format!("\n{} ({})\n", finding.check, place(finding)));
            text.push_str(&indented("  warning   ", &warnings.join("\n")));
        }
    }
    for finding in report.failures() {
        let Outcome::Failed { expected, observed } = &finding.outcome else { continue };
        text.push_str(&format!("\n{} ({})\n", finding.check, place(finding)));
        text.push_str(&indented("  expected  ", expected));
        text.push_str(&indented("  observed  ", observed));
    }
    for scenario in &report.scenarios {
        text.push_str(&trouble(scenario));
    }
    text.push_str(&format!(
        "\n{} in {}; {}\n",
        tally(report),
        seconds(report.milliseconds),
        escaped(&report.accelerator)
    ));
    text
}

/// What stood in for the board, and what therefore was not exercised.
fn shadow(report: &ShadowReport) -> String {
    let ShadowReport { target, shadow, kernel, unexercised } = report;
    let mut text = format!(
        "SHADOW BOOT: `{shadow}` stood in for `{target}`, with kernel {}. Not exercised:\n",
        escaped(kernel)
    );
    for left_out in unexercised {
        text.push_str(&format!("  {:<14} {}\n", left_out.part.name(), escaped(&left_out.what)));
    }
    text.push('\n');
    text
}

/// Where a check ran: `life/first`; `life` if it was in no boot of it.
#[must_use]
pub fn place(finding: &Finding) -> String {
    let parts: Vec<&str> = finding.scenario.iter().chain(&finding.boot).map(Name::as_str).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join("/") }
}

fn boot_line(boot: &BootReport) -> String {
    let stage = |name: &str, at: Option<u64>| at.map(|at| format!("{name} at {}", seconds(at)));
    let stages: Vec<String> = [
        stage("kernel", boot.kernel_milliseconds),
        stage("checks' side", boot.started_milliseconds),
        stage("settled", boot.settled_milliseconds),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("  boot {:<20} {}\n", boot.boot.as_str(), stages.join(", "))
}

/// What was wrong with a scenario as a whole, and the end of its console.
fn trouble(scenario: &ScenarioReport) -> String {
    let mut text = String::new();
    if let Some(why) = &scenario.broken_off {
        text.push_str(&format!("\n{} was broken off: {}\n", scenario.scenario, escaped(why)));
    }
    if let Some(end) = &scenario.console_end {
        text.push_str(&format!("\nthe last lines of {}:\n", escaped(&scenario.console)));
        for line in end.lines() {
            text.push_str(&format!("  | {}\n", escaped(line)));
        }
    }
    if scenario.ignored_lines > 0 {
        text.push_str(&format!(
            "\n{} lines on the guest's port were not of this run\n",
            scenario.ignored_lines
        ));
    }
    text
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// Lines below one another, behind a label.
fn indented(label: &str, value: &str) -> String {
    let width = label.len();
    let mut text = String::new();
    let value = if value.is_empty() { "(nothing)" } else { value };
    for (index, line) in value.lines().enumerate() {
        let label = if index == 0 { label } else { "" };
        text.push_str(&format!("{label:width$}{}\n", escaped(line)));
    }
    text
}

/// Keeps what a guest said from moving the cursor.
fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::testing::report;

    #[test]
    fn a_shadow_boot_says_first_what_it_is_not() {
        let mut report = report();
        report.shadow = Some(crate::smoke::testing::shadow());
        let expected = "\
SHADOW BOOT: `qemu-aarch64` stood in for `jetson`, with kernel 6.12. Not exercised:
  kernel         kernel 6.8; 6.12 ran in its place
  boot-path      extlinux

scenario life";
        let text = write(&report);
        assert!(text.starts_with(expected), "{text}");
        assert!(!write(&crate::smoke::testing::report()).contains("SHADOW"));
    }

    #[test]
    fn a_report_reads_like_this() {
        let expected = "\
scenario life               60.0 s
  boot first                kernel at 5.6 s, checks' side at 40.0 s, settled at 41.0 s
passed   isolation              life/first                 1.5 s
FAILED   durability             life/rebooted              0.0 s
skipped  swap-encrypted         life                       0.0 s  the image has no swap

isolation (life/first)
  warning   a <door> is ajar

durability (life/rebooted)
  expected  <nonce>
  observed  nothing
            at all
            \\u{1b}[31m

life was broken off: the guest flooded its console

the last lines of a.life.console.log:
  | x\\u{1b}y

2 lines on the guest's port were not of this run

1 passed, 1 failed, 1 skipped, 1 warning in 61.0 s; tcg: because
";
        assert_eq!(write(&report()), expected);
    }
}
