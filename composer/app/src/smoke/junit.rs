//! A smoke report as JUnit XML, for the machines that collect such things.
//! Source: the schema of the Jenkins xunit plugin, `junit-10.xsd`.

use goni_model::name::Name;
use goni_model::report::{Finding, Outcome, SmokeReport};

/// The report as a document of one suite.
#[must_use]
pub fn write(report: &SmokeReport) -> String {
    let count = |test: fn(&Finding) -> bool| report.findings.iter().filter(|finding| test(finding)).count();
    let failures = count(|finding| finding.outcome.is_failure());
    let skipped = count(|finding| matches!(finding.outcome, Outcome::Skipped { .. }));
    let errors = report.broken_off().count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" \
         errors=\"{errors}\" skipped=\"{skipped}\" time=\"{}\">\n",
        escaped(&report.image),
        report.findings.len() + errors,
        seconds(report.milliseconds),
    );
    if let Some(shadow) = &report.shadow {
        let values = [("target", shadow.target.as_str()), ("shadow", shadow.shadow.as_str())];
        let values = values.into_iter().chain([("shadow-kernel", shadow.kernel.as_str())]);
        let lines = values
            .map(|(name, value)| format!("    <property name=\"{name}\" value=\"{}\"/>\n", escaped(value)));
        text.push_str(&format!("  <properties>\n{}  </properties>\n", lines.collect::<String>()));
    }
    for finding in &report.findings {
        let boot = finding.boot.as_ref().map(|boot| format!(" ({boot})")).unwrap_or_default();
        text.push_str(&format!(
            "  <testcase classname=\"{}\" name=\"{}{boot}\" time=\"{}\"",
            finding.scenario.as_ref().map_or("smoke", Name::as_str),
            finding.check,
            seconds(finding.milliseconds)
        ));
        let outcome = match &finding.outcome {
            Outcome::Passed => String::new(),
            Outcome::Failed { expected, observed } => format!(
                "    <failure message=\"expected {}\">{}</failure>\n",
                escaped(expected),
                escaped(observed)
            ),
            Outcome::Skipped { reason } => format!("    <skipped message=\"{}\"/>\n", escaped(reason)),
        };
        let warnings = report.warnings_of(finding);
        let warnings: String = warnings
            .map(|text| format!("    <system-out>warning: {}</system-out>\n", escaped(text)))
            .collect();
        let inside = outcome + &warnings;
        text.push_str(&match inside.as_str() {
            "" => "/>\n".to_owned(),
            _ => format!(">\n{inside}  </testcase>\n"),
        });
    }
    for (scenario, why) in report.broken_off() {
        text.push_str(&format!(
            "  <testcase classname=\"{}\" name=\"run\">\n    <error message=\"{}\"/>\n  </testcase>\n",
            scenario.scenario,
            escaped(why)
        ));
    }
    text.push_str("</testsuite>\n");
    text
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// Text as XML; what XML 1.0 §2.2 has no place for becomes a replacement character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_ascii_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::testing::report;

    #[test]
    fn what_a_shadow_boot_left_out_is_skipped_and_said() {
        let mut report = report();
        let shadow = crate::smoke::testing::shadow();
        report.findings = shadow.findings().collect();
        report.shadow = Some(shadow);
        let text = write(&report);
        for line in [
            "tests=\"3\" failures=\"0\" errors=\"1\" skipped=\"2\"",
            "    <property name=\"shadow-kernel\" value=\"6.12\"/>\n",
            "  <testcase classname=\"smoke\" name=\"kernel\" time=\"0.000\">\n    <skipped message=\"not exercised: \
             kernel 6.8; 6.12 ran in its place\"/>\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn a_report_becomes_this_document() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="a&amp;b.raw" tests="4" failures="1" errors="1" skipped="1" time="61.005">
  <testcase classname="life" name="isolation (first)" time="1.500">
    <system-out>warning: a &lt;door&gt; is ajar</system-out>
  </testcase>
  <testcase classname="life" name="durability (rebooted)" time="0.020">
    <failure message="expected &lt;nonce&gt;">nothing&#10;at all&#10;�[31m</failure>
  </testcase>
  <testcase classname="life" name="swap-encrypted" time="0.000">
    <skipped message="the image has no swap"/>
  </testcase>
  <testcase classname="life" name="run">
    <error message="the guest flooded its console"/>
  </testcase>
</testsuite>
"#;
        assert_eq!(write(&report()), expected);
    }
}
