//! What the host asserts when a scenario is over and its machines are off: devices, captures and what
//! was planted are looked at once for all checks.

use std::path::PathBuf;

use goni_model::arch::Arch;
use goni_model::name::Name;
use goni_model::report::{Finding, Outcome};
use goni_model::size::SectorSize;

use crate::host::qemu::{Afterwards, QemuError, RunDirectory, StopWatch};
use crate::smoke::assertion::Assertion;
use crate::smoke::check::Check;
use crate::smoke::evidence::canary::Canary;
use crate::smoke::preparation::Planted;
use crate::smoke::{Bench, protocol};

/// What a scenario leaves behind for the host to look at.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// The sectors of each device's disk.
    pub(super) devices: Vec<SectorSize>,
    /// What each machine with a network sent, as it saw the files.
    pub(super) captures: Vec<PathBuf>,
    /// What was put on the disks of devices before, each with the number of its device.
    pub(super) planted: Vec<(usize, Planted)>,
}

impl Remains {
    /// The findings of the host, one for each check that asks for any.
    ///
    /// # Errors
    /// The run's own files cannot be read.
    pub(super) fn judge(
        &self,
        run: &RunDirectory,
        scenario: &Name,
        checks: &[&Check],
        nonce: &str,
        arch: Arch,
        bench: &Bench<'_>,
    ) -> Result<Vec<Finding>, QemuError> {
        let watch = StopWatch::start();
        let asks = |assertion| checks.iter().any(|check| check.host.contains(&assertion));
        let with_canary = || checks.iter().filter(|check| check.host.contains(&Assertion::Canary));
        let canaries: Vec<Canary> = with_canary()
            .map(|check| Canary::new(*protocol::canary(nonce, &check.name).as_bytes()))
            .collect();
        let disks = match [Assertion::Canary, Assertion::Filesystems, Assertion::Untouched].map(asks) {
            [false, false, false] => Vec::new(),
            _ => self.disks(run, arch, bench)?,
        };
        let mut found: Vec<Vec<Outcome>> = vec![Vec::new(); canaries.len()];
        for disk in disks.iter().filter(|_| !canaries.is_empty()) {
            let outcomes = disk.canaries(&canaries)?;
            for (index, outcome) in outcomes.disk.into_iter().enumerate() {
                found[index].push(outcome);
            }
            for (index, outcome) in outcomes.files.into_iter().enumerate() {
                found[index].push(outcome);
            }
        }
        let mut captures = Vec::new();
        if asks(Assertion::Capture) {
            for capture in &self.captures {
                captures.push(run.judge_capture(capture)?);
            }
        }
        let mut filesystems = Vec::new();
        if asks(Assertion::Filesystems) {
            for disk in &disks {
                filesystems.push(disk.filesystems(bench.toolbox, bench.system)?);
            }
        }
        let mut untouched = Vec::new();
        if asks(Assertion::Untouched) {
            for (device, planted) in &self.planted {
                untouched.extend(disks.get(*device).map(|disk| disk.judge_planted(planted)).transpose()?);
            }
        }
        let mut found = found.into_iter();
        let mut findings = Vec::new();
        for check in checks.iter().filter(|check| !check.host.is_empty()) {
            let outcomes = check.host.iter().flat_map(|assertion| match assertion {
                Assertion::Canary => found.next().unwrap_or_default(),
                Assertion::Capture => captures.clone(),
                Assertion::Filesystems => filesystems.clone(),
                Assertion::Untouched => untouched.clone(),
            });
            findings.push(finding(scenario, check, together(outcomes), watch.milliseconds()));
        }
        Ok(findings)
    }

    fn disks<'r>(
        &self,
        run: &'r RunDirectory,
        arch: Arch,
        bench: &Bench<'_>,
    ) -> Result<Vec<Afterwards<'r>>, QemuError> {
        let look = |(device, sectors): (usize, &SectorSize)| {
            run.afterwards(device, *sectors, arch, bench.toolbox, bench.system)
        };
        self.devices.iter().enumerate().map(look).collect()
    }
}

/// The findings of the host where the scenario was broken off: none was looked for.
pub(super) fn left_out(scenario: &Name, checks: &[&Check]) -> Vec<Finding> {
    let reason = || Outcome::Skipped { reason: "the run was broken off before".into() };
    let asking = checks.iter().filter(|check| !check.host.is_empty());
    asking.map(|check| finding(scenario, check, reason(), 0)).collect()
}

fn finding(scenario: &Name, check: &Check, outcome: Outcome, milliseconds: u64) -> Finding {
    Finding { check: check.name.clone(), scenario: Some(scenario.clone()), boot: None, outcome, milliseconds }
}

/// Several outcomes as one: failed if one failed, passed if one passed, else skipped.
fn together(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let (mut failed, mut passed, mut skipped) = (Vec::new(), false, Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Failed { expected, observed } => failed.push((expected, observed)),
            Outcome::Passed => passed = true,
            Outcome::Skipped { reason } => skipped.push(reason),
        }
    }
    if !failed.is_empty() {
        let (expected, observed): (Vec<String>, Vec<String>) = failed.into_iter().unzip();
        return Outcome::Failed { expected: expected.join("\n"), observed: observed.join("\n") };
    }
    match passed {
        true => Outcome::Passed,
        false if skipped.is_empty() => {
            Outcome::Skipped { reason: "the scenario left nothing to look at".into() }
        }
        false => Outcome::Skipped { reason: skipped.join("; ") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_a_failure_and_a_skip_alone_is_no_pass() {
        let failed = |words: &str| Outcome::Failed { expected: "none".into(), observed: words.into() };
        let skipped = || Outcome::Skipped { reason: "encrypted".into() };
        let of = |outcomes: Vec<Outcome>| together(outcomes.into_iter());
        assert_eq!(of(vec![Outcome::Passed, skipped()]), Outcome::Passed);
        assert_eq!(of(vec![skipped()]), skipped());
        let both = Outcome::Failed { expected: "none\nnone".into(), observed: "a\nb".into() };
        assert_eq!(of(vec![failed("a"), Outcome::Passed, failed("b")]), both);
        assert_eq!(
            of(Vec::new()),
            Outcome::Skipped { reason: "the scenario left nothing to look at".into() }
        );
    }
}
