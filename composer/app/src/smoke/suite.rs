//! Several scenarios, one after another, and the report of them all.

use goni_model::number::to_u64;
use goni_model::report::{Finding, Outcome, SmokeReport};

use crate::host::qemu::{self, QemuError, StopWatch, probe};
use crate::progress::Unit;
use crate::smoke::check::Check;
use crate::smoke::run::Common;
use crate::smoke::select::Trial;
use crate::smoke::{Bench, STAGE, SmokeError, Subject, text};

/// What comes of a trial before anything is booted.
struct Plan<'a> {
    trial: &'a Trial<'a>,
    /// The checks that apply.
    checks: Vec<&'a Check>,
    /// How many of the scenario's boots they need.
    boots: usize,
    /// The checks that do not apply, and why not.
    skipped: Vec<(&'a Check, &'static str)>,
}

impl<'a> Plan<'a> {
    fn new(trial: &'a Trial<'a>, subject: &Subject<'_>) -> Self {
        let lacking = |needs| subject.expectations.lacking(needs);
        let no_image = || {
            let mut sizes = trial.scenario.sector_sizes();
            sizes
                .any(|size| subject.image(Some(size)).is_none())
                .then_some("no image has sectors of this size")
        };
        let whole = lacking(&trial.scenario.needs).or_else(no_image);
        let mut plan = Self { trial, checks: Vec::new(), boots: 0, skipped: Vec::new() };
        for check in &trial.checks {
            match whole.or_else(|| lacking(&check.needs)) {
                None => plan.checks.push(check),
                Some(reason) => plan.skipped.push((check, reason)),
            }
        }
        plan.boots = trial.boots(&plan.checks, subject.until);
        plan
    }

    /// How many times a check is run.
    fn runs(&self) -> usize {
        let boots = self.trial.scenario.boots.iter().take(self.boots);
        boots.map(|boot| self.checks.iter().filter(|check| check.runs_in(&boot.name)).count()).sum()
    }

    fn skips(&self) -> impl Iterator<Item = Finding> {
        self.skipped.iter().map(|(check, reason)| Finding {
            check: check.name.clone(),
            scenario: Some(self.trial.scenario.name.clone()),
            boot: None,
            outcome: Outcome::Skipped { reason: (*reason).to_owned() },
            milliseconds: 0,
        })
    }
}

/// Boots an image as often as the checks ask for, and runs them.
///
/// # Errors
/// [`SmokeError`]: it could not be tried, or somebody put an end to it.
pub fn smoke(subject: &Subject<'_>, bench: &Bench<'_>) -> Result<SmokeReport, SmokeError> {
    let watch = StopWatch::start();
    let plans: Vec<Plan<'_>> = subject.trials.iter().map(|trial| Plan::new(trial, subject)).collect();
    bench.progress.begin(STAGE, Some(to_u64(plans.iter().map(Plan::runs).sum())), Unit::Checks);
    let nonce = qemu::nonce().map_err(QemuError::Socket)?;
    let (accelerator, why) = probe::choose(subject.arch, bench.toolbox, bench.system);
    let common = Common { subject, bench, nonce: &nonce, accelerator };
    let mut report = SmokeReport {
        image: subject.name(),
        accelerator: why,
        shadow: None,
        scenarios: Vec::new(),
        findings: Vec::new(),
        warnings: Vec::new(),
        milliseconds: 0,
    };
    for plan in plans.iter().filter(|plan| plan.boots > 0) {
        let (scenario, findings, warnings) = common.run(plan.trial.scenario, &plan.checks, plan.boots)?;
        report.scenarios.push(scenario);
        report.findings.extend(findings);
        report.warnings.extend(warnings);
    }
    report.findings.extend(plans.iter().flat_map(Plan::skips));
    report.milliseconds = watch.milliseconds();
    bench.progress.end(STAGE, &text::tally(&report));
    Ok(report)
}
