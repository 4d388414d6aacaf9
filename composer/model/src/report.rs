//! Reports: what was checked, and how it came out. Skips are told, too; nothing is a bare yes or no.

mod power_cuts;
mod shadow;

use serde::Serialize;

use crate::digest::Sha256Digest;
use crate::name::Name;

pub use power_cuts::{PowerCutFault, PowerCutPart, PowerCutReport};
pub use shadow::{Part, ShadowReport, Unexercised};

impl std::fmt::Display for Finding {
    /// The check and, where it failed, what was expected and what was there.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.check.as_str())?;
        match &self.outcome {
            Outcome::Passed => Ok(()),
            Outcome::Failed { expected, observed } => write!(f, ": expected {expected}, observed {observed}"),
            Outcome::Skipped { reason } => write!(f, ": skipped, {reason}"),
        }
    }
}

/// How a check came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What was expected was observed.
    Passed,
    /// Something else was observed.
    Failed {
        /// What was expected, in words and values.
        expected: String,
        /// What was observed instead.
        observed: String,
    },
    /// The check did not run.
    Skipped {
        /// Why not.
        reason: String,
    },
}

impl Outcome {
    /// Whether it failed.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// One run of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: Name,
    /// The scenario it belongs to; `None`: it needs none, for nothing is booted.
    pub scenario: Option<Name>,
    /// The boot of the scenario it ran in; `None`: it ran in none.
    pub boot: Option<Name>,
    /// How it came out.
    pub outcome: Outcome,
    /// How long it took.
    pub milliseconds: u64,
}

/// How one boot went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootReport {
    /// Its name in the scenario.
    pub boot: Name,
    /// From power on, or from the request to start again, to the first words of the kernel, if it said any.
    pub kernel_milliseconds: Option<u64>,
    /// To the first word of the guest's side.
    pub started_milliseconds: Option<u64>,
    /// To the end of the boot: no job left.
    pub settled_milliseconds: Option<u64>,
    /// What the guest says of its own time.
    pub told: String,
}

/// How one scenario went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScenarioReport {
    /// Which.
    pub scenario: Name,
    /// The boots, in order.
    pub boots: Vec<BootReport>,
    /// What put an end to it before its time: a guest that hung, panicked, flooded.
    pub broken_off: Option<String>,
    /// Lines on the guest's port that were not of this run.
    pub ignored_lines: u64,
    /// The file its console is kept in.
    pub console: String,
    /// The end of the console, where something failed.
    pub console_end: Option<String>,
    /// All of it.
    pub milliseconds: u64,
}

/// Something that a check found and that fails nothing, unless warnings are to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The check.
    pub check: Name,
    /// The scenario it ran in.
    pub scenario: Name,
    /// The boot it ran in.
    pub boot: Name,
    /// What it found, in a line.
    pub text: String,
}

/// How an image came through its smoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SmokeReport {
    /// The file name of the image.
    pub image: String,
    /// What ran the processor: `tcg` or `kvm`, and why.
    pub accelerator: String,
    /// What stood in for the board, and what therefore was not exercised; `None`: the target's own machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowReport>,
    /// The scenarios it went through, in order.
    pub scenarios: Vec<ScenarioReport>,
    /// The checks, in the order they ran.
    pub findings: Vec<Finding>,
    /// What they found and did not fail for.
    pub warnings: Vec<Warning>,
    /// All of it.
    pub milliseconds: u64,
}

impl SmokeReport {
    /// What a check warned of in the run that a finding tells of.
    pub fn warnings_of(&self, finding: &Finding) -> impl Iterator<Item = &str> {
        let of = |warning: &&Warning| {
            warning.check == finding.check
                && Some(&warning.scenario) == finding.scenario.as_ref()
                && Some(&warning.boot) == finding.boot.as_ref()
        };
        self.warnings.iter().filter(of).map(|warning| warning.text.as_str())
    }

    /// Makes failures of warnings: what passed with some has failed.
    pub fn be_strict(&mut self) {
        for index in 0..self.findings.len() {
            let texts: Vec<&str> = self.warnings_of(&self.findings[index]).collect();
            if self.findings[index].outcome == Outcome::Passed && !texts.is_empty() {
                let observed = texts.join("\n");
                self.findings[index].outcome =
                    Outcome::Failed { expected: "no warning".to_owned(), observed };
            }
        }
    }

    /// Whether all is well: every scenario ran to its end and no check failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.broken_off().next().is_none() && self.failures().next().is_none()
    }

    /// The findings that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome.is_failure())
    }

    /// The scenarios that ended before their time, and why.
    pub fn broken_off(&self) -> impl Iterator<Item = (&ScenarioReport, &str)> {
        self.scenarios.iter().filter_map(|report| Some((report, report.broken_off.as_deref()?)))
    }
}

/// What came of a build: the image, and everything that was checked about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// The image's file name.
    pub image: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// What reading it back found.
    pub verify: Vec<Finding>,
    /// What booting it found; `None`: it was not booted.
    pub smoke: Option<SmokeReport>,
}
