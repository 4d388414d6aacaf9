//! The conversation with a machine through its boots: what is asked, what is waited for and how
//! long, and what comes of a guest that does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use goni_model::report::{Boot, BootReport, Finding, Outcome};

use crate::host::interrupt::Interrupted;
use crate::host::qemu::{Event, Powered};
use crate::progress::Progress;
use crate::smoke::STAGE;
use crate::smoke::check::Check;
use crate::smoke::protocol::{self, Said};

/// From power on to the first word of the guest's side. An idle machine under TCG needs a quarter.
pub const START: Duration = Duration::from_secs(300);
/// How much longer the host waits than the guest was told.
const GRACE: Duration = Duration::from_secs(30);
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
    /// The guest could not be spoken to.
    #[error("the guest's port takes nothing: {0}")]
    Deaf(String),
}

/// All that was said in a run.
pub struct Session<'a> {
    nonce: &'a str,
    checks: &'a [&'a Check],
    settle: Duration,
    progress: &'a dyn Progress,
    /// The guest's numbers of the boots so far; the last is the present one.
    numbers: Vec<String>,
    kept: BTreeMap<String, String>,
    /// How the boots went.
    pub boots: Vec<BootReport>,
    /// How the checks came out.
    pub findings: Vec<Finding>,
    /// What the guest said was wrong with it, by boot.
    pub diagnoses: Vec<(Boot, String)>,
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
        checks: &'a [&'a Check],
        settle: Duration,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            nonce,
            checks,
            settle,
            progress,
            numbers: Vec::new(),
            kept: BTreeMap::new(),
            boots: Vec::new(),
            findings: Vec::new(),
            diagnoses: Vec::new(),
            ignored: 0,
        }
    }

    /// Goes through one boot: waits for it, runs its checks.
    ///
    /// # Errors
    /// [`Broken`]; the check it happened in has failed, those behind it are not in the findings.
    pub fn boot(&mut self, guest: &dyn Guest, boot: Boot) -> Result<(), Broken> {
        self.wait_for_boot(guest, boot)?;
        let mut failed = false;
        for check in self.checks.iter().filter(|check| check.boots.contains(&boot)) {
            let began = guest.elapsed();
            let answer = self.ask(guest, check, boot);
            let outcome = match &answer {
                Ok(outcome) => outcome.clone(),
                Err(broken) => Outcome::Failed { expected: "an answer".into(), observed: broken.to_string() },
            };
            failed |= outcome.is_failure();
            self.findings.push(Finding {
                check: check.name.clone(),
                boot: Some(boot),
                outcome,
                milliseconds: milliseconds(guest.elapsed().saturating_sub(began)),
            });
            self.progress.advance(STAGE, 1);
            answer?;
        }
        if failed {
            say(guest, "diagnose")?;
            let text = self.wait(guest, DIAGNOSIS, "what is wrong with it", |said| match said {
                Said::Diagnosis(text) => Some(text),
                _ => None,
            })?;
            self.diagnoses.push((boot, text));
        }
        Ok(())
    }

    /// Asks for a clean reboot.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn reboot(&mut self, guest: &dyn Guest) -> Result<(), Broken> {
        say(guest, "reboot")?;
        self.wait(guest, GRACE, "that it is about to reboot", |said| {
            matches!(said, Said::Rebooting).then_some(())
        })
    }

    fn wait_for_boot(&mut self, guest: &dyn Guest, boot: Boot) -> Result<(), Broken> {
        let began = guest.elapsed();
        let since = || Some(milliseconds(guest.elapsed().saturating_sub(began)));
        let mut report = BootReport {
            boot,
            kernel_milliseconds: None,
            started_milliseconds: None,
            settled_milliseconds: None,
            told: String::new(),
        };
        let mut limit = START;
        let mut waited_for = "the guest's side of the checks starts";
        let ended = loop {
            let left = limit.saturating_sub(guest.elapsed().saturating_sub(began));
            let event = match guest.next(left) {
                Ok(Some(event)) => event,
                Ok(None) => break Err(silent(waited_for, limit)),
                Err(interrupted) => break Err(interrupted.into()),
            };
            let line = match event {
                Event::Line(line) => line,
                Event::Kernel if report.kernel_milliseconds.is_none() => {
                    report.kernel_milliseconds = since();
                    continue;
                }
                Event::Words(_) => continue,
                other => break Err(broken(other)),
            };
            let message = match protocol::parse(&line, self.nonce) {
                Ok(message) => message,
                Err(_) => match self.ignore() {
                    Ok(()) => continue,
                    Err(flood) => break Err(flood),
                },
            };
            match message.said {
                Said::Started if report.started_milliseconds.is_none() => {
                    if self.numbers.contains(&message.boot) {
                        break Err(Broken::Off("the guest started twice in one boot".into()));
                    }
                    self.numbers.push(message.boot);
                    report.started_milliseconds = since();
                    limit = guest.elapsed().saturating_sub(began) + self.settle + GRACE;
                    waited_for = "the boot ends";
                }
                Said::Settled { time, .. } if self.numbers.last() == Some(&message.boot) => {
                    report.settled_milliseconds = since();
                    report.told = time.trim().to_owned();
                    break Ok(());
                }
                Said::Started => break Err(Broken::Restarted),
                _ => {
                    if let Err(flood) = self.ignore() {
                        break Err(flood);
                    }
                }
            }
        };
        self.boots.push(report);
        ended
    }

    fn ask(&mut self, guest: &dyn Guest, check: &Check, boot: Boot) -> Result<Outcome, Broken> {
        let mut line = format!("check {} {} {}", check.name, boot.name(), check.within.as_secs());
        for (key, value) in &self.kept {
            line.push_str(&format!(" {key}={value}"));
        }
        say(guest, &line)?;
        let waited_for = format!("an answer to `{}`", check.name);
        let (outcome, kept) = self.wait(guest, check.within + GRACE, &waited_for, |said| match said {
            Said::Verdict { check: name, outcome, kept } if name == check.name.as_str() => {
                Some((outcome, kept))
            }
            _ => None,
        })?;
        self.kept.extend(kept);
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

    /// The checks that did not come to run, because the run was broken off.
    pub fn leave_out(&mut self, boots: &BTreeSet<Boot>) {
        for boot in boots {
            for check in self.checks.iter().filter(|check| check.boots.contains(boot)) {
                let ran = |finding: &Finding| finding.check == check.name && finding.boot == Some(*boot);
                if !self.findings.iter().any(ran) {
                    self.findings.push(Finding {
                        check: check.name.clone(),
                        boot: Some(*boot),
                        outcome: Outcome::Skipped { reason: "the run was broken off before".into() },
                        milliseconds: 0,
                    });
                }
            }
        }
    }
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
    guest.say(line).map_err(|error| Broken::Deaf(error.to_string()))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
