//! The conversation with a machine through its boots: what is asked, what is waited for and how
//! long, and what comes of a guest that does not answer.

mod arrive;
mod recovery;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use goni_model::name::Name;
use goni_model::report::{BootReport, Finding, Outcome, Warning};

use crate::host::interrupt::Interrupted;
use crate::host::qemu::{Event, Powered};
use crate::progress::Progress;
use crate::smoke::STAGE;
use crate::smoke::assertion::Assertion;
use crate::smoke::check::Check;
use crate::smoke::protocol::{self, Said};
use crate::smoke::scenario::{Arrival, Boot, Ending, Expect, Machine, Restart, Scenario};

/// From power on to the first word of the guest's side. An idle machine under TCG needs a quarter.
pub const START: Duration = Duration::from_secs(300);
/// On a host that is slow or busy it is as many times what the firmware took until the kernel spoke, for
/// that is always the same work: an idle machine needs about eight times as long.
const START_PER_FIRMWARE: u32 = 40;
/// But no longer than this.
const LONGEST_START: Duration = Duration::from_secs(900);
/// How much longer the host waits than the guest was told.
const GRACE: Duration = Duration::from_secs(30);
/// How long a guest that is down must stay so after its console said why. Long enough for a boot to
/// go on where it can: nothing it waits for on the way takes longer.
const QUIET: Duration = Duration::from_secs(60);
/// How long the guest may take to shut down.
const POWER_OFF: Duration = Duration::from_secs(180);
/// How long the guest may take to say what is wrong with it.
const DIAGNOSIS: Duration = Duration::from_secs(60);
/// More foreign lines than this are a flood.
const MOST_IGNORED: u64 = 10_000;

/// A machine, as far as the conversation knows it.
pub trait Guest {
    /// What happens next; `None`: nothing in that time.
    ///
    /// # Errors
    /// Somebody asked us to stop.
    fn next(&self, within: Duration) -> Result<Option<Event>, Interrupted>;

    /// Says a line to the guest's side.
    ///
    /// # Errors
    /// It cannot be said.
    fn say(&self, line: &str) -> io::Result<()>;

    /// Types at the console, where `\r` is the return key.
    ///
    /// # Errors
    /// It cannot be typed.
    fn type_text(&self, text: &str) -> io::Result<()>;

    /// Resets the machine: it starts again, and nothing that was in its memory is left.
    ///
    /// # Errors
    /// It cannot be reset.
    fn reset(&self) -> io::Result<()>;

    /// Since the machine was switched on.
    fn elapsed(&self) -> Duration;
}

impl Guest for Powered {
    fn next(&self, within: Duration) -> Result<Option<Event>, Interrupted> {
        Self::next(self, within)
    }

    fn say(&self, line: &str) -> io::Result<()> {
        Self::say(self, line)
    }

    fn type_text(&self, text: &str) -> io::Result<()> {
        Self::type_text(self, text)
    }

    fn reset(&self) -> io::Result<()> {
        Self::reset(self).map_err(io::Error::other)
    }

    fn elapsed(&self) -> Duration {
        Self::elapsed(self)
    }
}

/// Why the conversation is over before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Somebody asked us to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Nothing came.
    #[error("the guest was silent for {seconds} s: {waited_for}")]
    Silent {
        /// What was waited for.
        waited_for: String,
        /// For how long.
        seconds: u64,
    },
    /// Its kernel gave up.
    #[error("the guest's kernel gave up: {0}")]
    Panic(String),
    /// It started again without having been asked to.
    #[error("the guest restarted by itself")]
    Restarted,
    /// It said more than any guest in order would.
    #[error("the guest flooded {0}")]
    Flood(&'static str),
    /// The machine is off.
    #[error("{0}")]
    Off(String),
    /// A boot went otherwise than its scenario says, and no check is there to say so.
    #[error("the boot `{boot}` went otherwise: expected {expected}, observed {observed}")]
    Unexpected {
        /// The boot.
        boot: String,
        /// What the scenario says.
        expected: String,
        /// What happened.
        observed: String,
    },
    /// The console did not show the recovery key that is to be typed.
    #[error("no recovery key was shown on the console")]
    NoRecoveryKey,
    /// The guest or its machine could not be spoken to.
    #[error("the machine takes nothing: {0}")]
    Deaf(String),
}

/// All that was said in a run through a scenario.
pub struct Session<'a> {
    nonce: &'a str,
    scenario: &'a Scenario,
    checks: &'a [&'a Check],
    settle: Duration,
    progress: &'a dyn Progress,
    /// What is on the console so far.
    console: &'a dyn Fn() -> String,
    /// The guest's numbers of the boots so far; the last is the present one.
    numbers: Vec<String>,
    kept: BTreeMap<String, String>,
    /// How the boots went.
    pub boots: Vec<BootReport>,
    /// How the checks came out.
    pub findings: Vec<Finding>,
    /// What they found besides.
    pub warnings: Vec<Warning>,
    /// What the guest said was wrong with it, by boot.
    pub diagnoses: Vec<(Name, String)>,
    /// Lines that were not of this run.
    pub ignored: u64,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("findings", &self.findings).finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// Before the first boot.
    #[must_use]
    pub fn new(
        nonce: &'a str,
        scenario: &'a Scenario,
        checks: &'a [&'a Check],
        settle: Duration,
        progress: &'a dyn Progress,
        console: &'a dyn Fn() -> String,
    ) -> Self {
        Self {
            nonce,
            scenario,
            checks,
            settle,
            progress,
            console,
            numbers: Vec::new(),
            kept: BTreeMap::new(),
            boots: Vec::new(),
            findings: Vec::new(),
            warnings: Vec::new(),
            diagnoses: Vec::new(),
            ignored: 0,
        }
    }

    /// Goes through the boots of a machine, up to its end if the guest has a part in it.
    ///
    /// # Errors
    /// [`Broken`]; the check it happened in has failed, those behind it are not in the findings.
    pub fn machine(&mut self, guest: &dyn Guest, machine: &Machine<'_>) -> Result<(), Broken> {
        for boot in machine.boots {
            match boot.arrival {
                Arrival::Restart(Restart::Reboot) => self.reboot(guest)?,
                Arrival::Restart(Restart::Reset) => guest.reset().map_err(|error| deaf(&error))?,
                Arrival::PowerOn { .. } => {}
            }
            self.boot(guest, boot)?;
        }
        match machine.ending {
            Ending::PowerOff => self.power_off(guest),
            Ending::PowerCut | Ending::Nothing => Ok(()),
        }
    }

    /// Goes through one boot: waits for what is expected of it, runs its checks.
    fn boot(&mut self, guest: &dyn Guest, boot: &Boot) -> Result<(), Broken> {
        let began = guest.elapsed();
        let arrived = match boot.expect {
            Expect::Healthy | Expect::HealthyRestarting => self.wait_for_boot(guest, boot),
            Expect::Down => self.wait_down(guest, boot),
        };
        let asserting = self.asserting(boot);
        let outcome = match &arrived {
            Ok(outcome) => outcome.clone(),
            Err(broken) => {
                Outcome::Failed { expected: "a boot as expected".into(), observed: broken.to_string() }
            }
        };
        // A script runs where its boot is up and went as expected; else that it did not is the finding.
        for check in &asserting {
            if check.script.is_none() || boot.expect == Expect::Down || outcome.is_failure() {
                self.find(check, boot, outcome.clone(), guest.elapsed().saturating_sub(began));
            }
        }
        arrived?;
        if let (Outcome::Failed { expected, observed }, true) = (&outcome, asserting.is_empty()) {
            let (expected, observed) = (expected.clone(), observed.clone());
            return Err(Broken::Unexpected { boot: boot.name.to_string(), expected, observed });
        }
        if boot.expect == Expect::Down {
            return Ok(());
        }
        let mut failed = outcome.is_failure();
        for check in self.checks.iter().filter(|check| check.runs_in(&boot.name) && check.script.is_some()) {
            if outcome.is_failure() && asserting.iter().any(|asserting| asserting.name == check.name) {
                continue;
            }
            let began = guest.elapsed();
            let answer = self.ask(guest, check, boot);
            let outcome = match &answer {
                Ok(outcome) => outcome.clone(),
                Err(broken) => Outcome::Failed { expected: "an answer".into(), observed: broken.to_string() },
            };
            failed |= outcome.is_failure();
            self.find(check, boot, outcome, guest.elapsed().saturating_sub(began));
            answer?;
        }
        if failed {
            say(guest, "diagnose")?;
            let text = self.wait(guest, DIAGNOSIS, "what is wrong with it", |said| match said {
                Said::Diagnosis(text) => Some(text),
                _ => None,
            })?;
            self.diagnoses.push((boot.name.clone(), text));
        }
        Ok(())
    }

    /// The checks that assert that a boot goes as its scenario says, where it says anything: those
    /// without a script, or all if each has one.
    fn asserting(&self, boot: &Boot) -> Vec<&'a Check> {
        if !boot.asserts() {
            return Vec::new();
        }
        let of_boot = || self.checks.iter().copied().filter(|check| check.runs_in(&boot.name));
        let alone: Vec<&Check> = of_boot().filter(|check| check.script.is_none()).collect();
        if alone.is_empty() { of_boot().collect() } else { alone }
    }

    fn find(&mut self, check: &Check, boot: &Boot, outcome: Outcome, took: Duration) {
        self.findings.push(Finding {
            check: check.name.clone(),
            scenario: Some(self.scenario.name.clone()),
            boot: Some(boot.name.clone()),
            outcome,
            milliseconds: milliseconds(took),
        });
        self.progress.advance(STAGE, 1);
    }

    /// Asks for a clean reboot.
    fn reboot(&mut self, guest: &dyn Guest) -> Result<(), Broken> {
        say(guest, "reboot")?;
        self.wait(guest, GRACE, "that it is about to reboot", |said| {
            matches!(said, Said::Leaving).then_some(())
        })
    }

    /// Has the guest switch its machine off, and waits until it is.
    fn power_off(&mut self, guest: &dyn Guest) -> Result<(), Broken> {
        say(guest, "poweroff")?;
        self.wait(guest, GRACE, "that it is about to switch off", |said| {
            matches!(said, Said::Leaving).then_some(())
        })?;
        let began = guest.elapsed();
        loop {
            let left = POWER_OFF.saturating_sub(guest.elapsed().saturating_sub(began));
            match guest.next(left)?.ok_or_else(|| silent("the machine is off", POWER_OFF))? {
                Event::Off(_) => return Ok(()),
                Event::Line(_) => self.ignore()?,
                Event::Words(_) => {}
                other => return Err(broken(other)),
            }
        }
    }

    fn ask(&mut self, guest: &dyn Guest, check: &Check, boot: &Boot) -> Result<Outcome, Broken> {
        let mut line = format!("check {} {} {}", check.name, boot.name, check.within.as_secs());
        if check.host.contains(&Assertion::Canary) {
            line.push_str(&format!(" canary={}", protocol::canary(self.nonce, &check.name)));
        }
        for (key, value) in &self.kept {
            line.push_str(&format!(" {key}={value}"));
        }
        say(guest, &line)?;
        let waited_for = format!("an answer to `{}`", check.name);
        let (outcome, kept, warnings) =
            self.wait(guest, check.within + GRACE, &waited_for, |said| match said {
                Said::Verdict { check: name, outcome, kept, warnings } if name == check.name.as_str() => {
                    Some((outcome, kept, warnings))
                }
                _ => None,
            })?;
        self.kept.extend(kept);
        self.warnings.extend(warnings.into_iter().map(|text| Warning {
            check: check.name.clone(),
            scenario: self.scenario.name.clone(),
            boot: boot.name.clone(),
            text,
        }));
        Ok(outcome)
    }

    /// Waits for one thing to be said in the present boot; everything else said meanwhile is ignored.
    fn wait<T>(
        &mut self,
        guest: &dyn Guest,
        limit: Duration,
        waited_for: &str,
        wanted: impl Fn(Said) -> Option<T>,
    ) -> Result<T, Broken> {
        let began = guest.elapsed();
        loop {
            let left = limit.saturating_sub(guest.elapsed().saturating_sub(began));
            let line = match guest.next(left)?.ok_or_else(|| silent(waited_for, limit))? {
                Event::Line(line) => line,
                Event::Words(_) => continue,
                other => return Err(broken(other)),
            };
            match protocol::parse(&line, self.nonce) {
                Ok(message) if self.numbers.last() == Some(&message.boot) => match wanted(message.said) {
                    Some(found) => return Ok(found),
                    None => self.ignore()?,
                },
                Ok(message) if message.said == Said::Started => return Err(Broken::Restarted),
                Ok(_) | Err(_) => self.ignore()?,
            }
        }
    }

    fn ignore(&mut self) -> Result<(), Broken> {
        self.ignored += 1;
        if self.ignored > MOST_IGNORED { Err(Broken::Flood("its port")) } else { Ok(()) }
    }

    /// The checks of these boots that did not come to run, because the run was broken off.
    pub fn leave_out(&mut self, boots: &[Boot]) {
        for boot in boots {
            for check in self.checks.iter().filter(|check| check.runs_in(&boot.name)) {
                let ran = |finding: &Finding| {
                    finding.check == check.name && finding.boot.as_ref() == Some(&boot.name)
                };
                if !self.findings.iter().any(ran) {
                    self.findings.push(Finding {
                        check: check.name.clone(),
                        scenario: Some(self.scenario.name.clone()),
                        boot: Some(boot.name.clone()),
                        outcome: Outcome::Skipped { reason: "the run was broken off before".into() },
                        milliseconds: 0,
                    });
                }
            }
        }
    }
}

/// How long the guest's side may take to start where its kernel spoke after so long.
fn start_after(firmware: Duration) -> Duration {
    firmware.saturating_mul(START_PER_FIRMWARE).clamp(START, LONGEST_START)
}

fn silent(waited_for: &str, limit: Duration) -> Broken {
    Broken::Silent { waited_for: format!("waited until {waited_for}"), seconds: limit.as_secs() }
}

/// What an event that nobody waits for means.
fn broken(event: Event) -> Broken {
    match event {
        Event::Kernel | Event::Line(_) | Event::Words(_) => Broken::Restarted,
        Event::Panic(words) => Broken::Panic(words),
        Event::Flood(place) => Broken::Flood(place),
        Event::Off(words) => Broken::Off(words),
    }
}

fn say(guest: &dyn Guest, line: &str) -> Result<(), Broken> {
    guest.say(line).map_err(|error| deaf(&error))
}

fn deaf(error: &io::Error) -> Broken {
    Broken::Deaf(error.to_string())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
