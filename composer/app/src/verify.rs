//! The finished bytes, read back: may this image bear its name?
//!
//! The readers are not the writers: `gpt` and `mbrman` read the partition table, `fatfs` the EFI
//! system partition, `erofs-rs` the root, `ext4-view` the state. Only the hash tree is read by code of
//! our own, which shares nothing but the hash with what wrote it.
//!
//! A check is a function of the `Evidence`: one file here and one line of `CHECKS`. It passes,
//! fails with what was expected and what was observed, or is skipped because what it looks at is not
//! there; a part that cannot be read fails the one check whose object it is. What is read is metadata
//! and the few files that checks ask for: the hash tree vouches for every other byte.

mod accounts;
mod board;
mod boot_units;
mod command_line;
mod esp;
mod evidence;
mod extlinux;
mod facts;
mod identity;
mod leaks;
mod meant;
mod modules;
mod mounts;
mod no_login;
mod no_secrets;
mod objection;
mod owners;
mod packages;
mod partition_table;
mod raspberry_pi;
pub mod reading;
mod root;
mod state;
mod swap;
mod uki;
mod verity;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use goni_model::report::{Finding, Outcome};
use rayon::prelude::*;
use serde::Serialize;

use crate::failure::{Class, Classify};
use crate::host::clock::Stopwatch;
use crate::host::environment::node_name;
use crate::host::image::{Image, ImageError};
use crate::progress::{Progress, Unit};
pub use board::Fit;
use evidence::Evidence;
pub use facts::{Expectations, Facts, PartitionFact, ProfileFact};
pub use meant::Meant;
use objection::{Objection, Verdict};

/// What progress calls this.
const STAGE: &str = "verify";

/// A static check.
struct Check {
    /// Its name in reports.
    name: &'static str,
    /// The check.
    inspect: fn(&Evidence<'_>) -> Verdict,
}

const fn check(name: &'static str, inspect: fn(&Evidence<'_>) -> Verdict) -> Check {
    Check { name, inspect }
}

/// Every check, sorted by name.
const CHECKS: &[Check] = &[
    check("accounts", accounts::inspect),
    check("board", board::inspect),
    check("boot-units", boot_units::inspect),
    check("builder-paths", leaks::builder_paths),
    check("esp", esp::inspect),
    check("extlinux", extlinux::inspect),
    check("identity", identity::inspect),
    check("modules", modules::inspect),
    check("mounts", mounts::inspect),
    check("no-login", no_login::inspect),
    check("no-secrets", no_secrets::inspect),
    check("no-tokens", leaks::no_tokens),
    check("owned", meant::owned),
    check("packages", packages::inspect),
    check("partition-table", partition_table::inspect),
    check("raspberrypi", raspberry_pi::inspect),
    check("root", root::inspect),
    check("root-owners-and-modes", owners::inspect),
    check("state", state::inspect),
    check("swap-empty", swap::inspect),
    check("uki", uki::inspect),
    check("verity", verity::inspect),
];

/// The check that [`Findings::compare`] adds.
const PLAN: &str = "plan";

/// Why an image could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read at all.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What it says of its board cannot be read.
    #[error("what the image says of its board: {reason}")]
    Board {
        /// Why.
        reason: String,
    },
}

impl Classify for VerifyError {
    fn class(&self) -> Class {
        match self {
            Self::Image(error) => error.class(),
            Self::Board { .. } => Class::Check,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Board { .. } => None,
        }
    }
}

/// What reading an image back found.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// What the image says of itself.
    pub facts: Facts,
    /// How the checks came out, sorted by name.
    pub findings: Vec<Finding>,
}

impl Findings {
    /// Whether the image may bear its name: no check failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The findings that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome.is_failure())
    }

    /// Compares the facts with what was meant, and adds how that came out as the finding `plan`.
    pub fn compare(&mut self, expectations: &Expectations) {
        let watch = Stopwatch::start();
        let verdict = self.facts.compare(expectations);
        self.findings.push(finding(PLAN, verdict, &watch));
        self.findings.sort_by(|one, other| one.check.cmp(&other.check));
    }
}

/// Reads an image back and runs every check on it.
///
/// An image that is damaged, cut short or empty is no error: it is what the findings are about.
///
/// # Errors
/// The file cannot be read at all.
pub fn verify(image: &Image, progress: &dyn Progress) -> Result<Findings, VerifyError> {
    inspect(image, &node_name(), None, progress)
}

/// As [`verify`], of an image that was just built: with what the build knows of it.
///
/// # Errors
/// As [`verify`].
pub fn verify_built(
    image: &Image,
    meant: &Meant<'_>,
    progress: &dyn Progress,
) -> Result<Findings, VerifyError> {
    inspect(image, &node_name(), Some(meant), progress)
}

/// How each device that the image's board is expected to have fares in it.
///
/// # Errors
/// The file cannot be read at all; it does not say which board it is for.
pub fn board_fit(image: &Image) -> Result<Vec<Fit>, VerifyError> {
    let builder = node_name();
    let evidence = Evidence::gather(image, &builder)?;
    board::examine(&evidence).map(|(_, _, fits)| fits).map_err(|objection| VerifyError::Board {
        reason: match objection {
            Objection::Differs { expected, observed } => format!("not {expected}: {observed}"),
            Objection::Unseen { reason } => reason,
        },
    })
}

/// As [`verify`], on a machine of a name.
fn inspect(
    image: &Image,
    builder: &str,
    meant: Option<&Meant<'_>>,
    progress: &dyn Progress,
) -> Result<Findings, VerifyError> {
    progress.begin(STAGE, Some(goni_model::number::to_u64(CHECKS.len())), Unit::Checks);
    let mut evidence = Evidence::gather(image, builder)?;
    evidence.meant = meant;
    evidence.leaks = leaks::look(&evidence);
    let findings: Vec<Finding> = CHECKS
        .par_iter()
        .with_max_len(1)
        .map(|check| {
            let watch = Stopwatch::start();
            let finding = finding(check.name, (check.inspect)(&evidence), &watch);
            progress.advance(STAGE, 1);
            finding
        })
        .collect();
    let findings = Findings { facts: Facts::of(&evidence), findings };
    let note = match findings.failures().count() {
        0 => format!("{} checks, none failed", CHECKS.len()),
        failed => format!("{failed} of {} checks failed", CHECKS.len()),
    };
    progress.end(STAGE, &note);
    Ok(findings)
}

fn finding(name: &str, verdict: Verdict, watch: &Stopwatch) -> Finding {
    let outcome = match verdict {
        Ok(()) => Outcome::Passed,
        Err(Objection::Differs { expected, observed }) => Outcome::Failed { expected, observed },
        Err(Objection::Unseen { reason }) => Outcome::Skipped { reason },
    };
    Finding {
        check: name.parse().expect("names of checks are names"),
        scenario: None,
        boot: None,
        outcome,
        milliseconds: watch.milliseconds(),
    }
}
