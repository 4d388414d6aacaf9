//! `verify`: reads a finished image back and checks it.

use std::path::{Path, PathBuf};

use clap::Args;
use goni_model::report::{Finding, Outcome};
use serde::Serialize;

use crate::cli::arguments::{Global, Report};
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::host::image::Image;
use crate::verify::{Facts, Findings, verify};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The image, raw or qcow2
    pub image: PathBuf,
    /// How to show the findings
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

/// An image that failed checks. The findings were shown before.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} checks failed: {names}")]
struct Refused {
    failed: usize,
    all: usize,
    names: String,
}

impl Classify for Refused {
    fn class(&self) -> Class {
        Class::Check
    }
}

/// The findings as one JSON value.
#[derive(Debug, Serialize)]
struct Document<'a> {
    image: String,
    passed: bool,
    facts: &'a Facts,
    findings: &'a [Finding],
}

/// Checks an image, shows a line a check, and fails if one failed.
///
/// # Errors
/// Class `Check`, exit code 7, if a check failed, which is also how damaged, cut and empty images
/// fail; `Environment` if the file cannot be read; `Recipe` if it is an image of another format, or a qcow2
/// image that needs another file; `Content` if it is a damaged qcow2 image.
pub fn run(arguments: &VerifyArguments, _: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let path = &arguments.image;
    let intent = || format!("verifying `{}`", path.display());
    let image = Image::open(path).map_err(|error| Failure::from(error).during(intent()))?;
    let findings =
        verify(&image, terminal.progress()).map_err(|error| Failure::from(error).during(intent()))?;
    terminal.show(match arguments.report {
        Report::Text => text(&findings.findings),
        Report::Json => json(path, &findings),
    })?;
    let failed: Vec<&str> = findings.failures().map(|finding| finding.check.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let refused = Refused { failed: failed.len(), all: findings.findings.len(), names: failed.join(", ") };
    Err(Failure::from(refused).during(intent()))
}

/// A line a check; below those that failed, what was expected and observed.
fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.as_str().len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { check, outcome, milliseconds, .. } in findings {
        let check = check.as_str();
        text.push_str(&match outcome {
            Outcome::Passed => format!("passed   {check:width$}  {milliseconds:>5} ms\n"),
            Outcome::Skipped { reason } => format!("skipped  {check:width$}  {reason}\n"),
            Outcome::Failed { expected, observed } => {
                format!(
                    "FAILED   {check}\n           expected: {expected}\n           observed: {observed}\n"
                )
            }
        });
    }
    text
}

fn json(image: &Path, findings: &Findings) -> String {
    let document = Document {
        image: image.display().to_string(),
        passed: findings.passed(),
        facts: &findings.facts,
        findings: &findings.findings,
    };
    let mut text =
        serde_json::to_string_pretty(&document).expect("names, texts and numbers have a form in JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_shown_with_what_was_expected() {
        let finding = |check: &str, outcome| Finding {
            check: check.parse().unwrap(),
            scenario: None,
            boot: None,
            outcome,
            milliseconds: 7,
        };
        let failed = Outcome::Failed { expected: "zeros".to_owned(), observed: "a one".to_owned() };
        let findings = [
            finding("esp", Outcome::Passed),
            finding("swap-empty", failed),
            finding("verity", Outcome::Skipped { reason: "there is none".to_owned() }),
        ];
        let expected = "passed   esp             7 ms\n\
            FAILED   swap-empty\n           expected: zeros\n           observed: a one\n\
            skipped  verity      there is none\n";
        assert_eq!(text(&findings), expected);
    }
}
