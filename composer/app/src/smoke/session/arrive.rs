//! The way of a boot until its checks may run; or, of one that is to stay down, until that is certain.

use goni_model::report::{BootReport, Outcome};

use crate::host::qemu::Event;
use crate::smoke::protocol::{self, Said};
use crate::smoke::scenario::{Boot, Expect, RECOVERY_KEY, Typed};
use crate::smoke::session::{
    Broken, GRACE, Guest, QUIET, START, Session, broken, deaf, milliseconds, recovery, silent, start_after,
};

/// What a boot was to say on its console, and did not yet; what is yet to be typed there.
struct Dialogue<'b> {
    unsaid: Vec<&'b str>,
    untyped: &'b [Typed],
}

impl<'b> Dialogue<'b> {
    fn begin(boot: &'b Boot) -> Self {
        Self { unsaid: boot.console.iter().map(String::as_str).collect(), untyped: &boot.typed }
    }

    /// Words appeared: they are no longer missing, and may ask for something to be typed.
    fn hear(&mut self, words: &str) -> Option<&'b Typed> {
        self.unsaid.retain(|unsaid| *unsaid != words);
        let (next, rest) = self.untyped.split_first().filter(|(next, _)| next.after == words)?;
        self.untyped = rest;
        Some(next)
    }

    fn is_over(&self) -> bool {
        self.unsaid.is_empty() && self.untyped.is_empty()
    }

    /// What is missing, if anything is.
    fn missing(&self) -> Option<String> {
        let typed = self.untyped.first().map(|typed| typed.after.as_str());
        let words: Vec<String> = self.unsaid.iter().copied().chain(typed).map(|w| format!("`{w}`")).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Passed if nothing is missing.
    fn outcome(&self, observed: &str) -> Outcome {
        match self.missing() {
            None => Outcome::Passed,
            Some(words) => Outcome::Failed {
                expected: format!("on the console: {words}"),
                observed: observed.to_owned(),
            },
        }
    }
}

impl Session<'_> {
    /// Types what is to be typed.
    fn answer(&self, typed: Option<&Typed>, guest: &dyn Guest) -> Result<(), Broken> {
        let Some(typed) = typed else { return Ok(()) };
        let line = match typed.send.contains(RECOVERY_KEY) {
            true => {
                let shown = (self.console)();
                let key = recovery::find_last(&shown).ok_or(Broken::NoRecoveryKey)?;
                typed.send.replace(RECOVERY_KEY, key)
            }
            false => typed.send.clone(),
        };
        guest.type_text(&format!("{line}\r")).map_err(|error| deaf(&error))
    }

    /// Waits for a boot that is expected to be healthy. What comes of it are the words on its console.
    pub(super) fn wait_for_boot(&mut self, guest: &dyn Guest, boot: &Boot) -> Result<Outcome, Broken> {
        let mut report = blank(boot);
        let ended = self.follow_boot(guest, boot, &mut report);
        self.boots.push(report);
        ended
    }

    fn follow_boot(
        &mut self,
        guest: &dyn Guest,
        boot: &Boot,
        report: &mut BootReport,
    ) -> Result<Outcome, Broken> {
        let mut dialogue = Dialogue::begin(boot);
        let began = guest.elapsed();
        let since = || guest.elapsed().saturating_sub(began);
        let mut limit = START;
        let mut may_restart = boot.expect == Expect::HealthyRestarting;
        let mut waited_for = "the guest's side of the checks starts";
        loop {
            let left = limit.saturating_sub(since());
            let line = match guest.next(left)?.ok_or_else(|| silent(waited_for, limit))? {
                Event::Line(line) => line,
                Event::Words(words) => {
                    self.answer(dialogue.hear(&words), guest)?;
                    continue;
                }
                Event::Kernel if report.kernel_milliseconds.is_none() => {
                    report.kernel_milliseconds = Some(milliseconds(since()));
                    limit = limit.max(start_after(since()));
                    continue;
                }
                // Only once the console said why.
                Event::Kernel
                    if may_restart && dialogue.is_over() && report.started_milliseconds.is_none() =>
                {
                    may_restart = false;
                    // It takes as long once more.
                    limit = limit.saturating_add(since());
                    continue;
                }
                other => return Err(broken(other)),
            };
            let Ok(message) = protocol::parse(&line, self.nonce) else {
                self.ignore()?;
                continue;
            };
            match message.said {
                Said::Started if report.started_milliseconds.is_none() => {
                    if self.numbers.contains(&message.boot) {
                        return Err(Broken::Off("the guest started twice in one boot".into()));
                    }
                    self.numbers.push(message.boot);
                    report.started_milliseconds = Some(milliseconds(since()));
                    limit = since() + self.settle + GRACE;
                    waited_for = "the boot ends";
                }
                Said::Settled { time, .. } if self.numbers.last() == Some(&message.boot) => {
                    report.settled_milliseconds = Some(milliseconds(since()));
                    report.told = time.trim().to_owned();
                    return Ok(dialogue.outcome("the boot ended without"));
                }
                Said::Started => return Err(Broken::Restarted),
                _ => self.ignore()?,
            }
        }
    }

    /// Waits until it is certain that the guest stays down: the console said what it was to say, and
    /// for a while nothing more happened; or, where it is to say nothing, a boot would be long over.
    pub(super) fn wait_down(&mut self, guest: &dyn Guest, boot: &Boot) -> Result<Outcome, Broken> {
        let mut report = blank(boot);
        let ended = self.follow_down(guest, boot, &mut report);
        self.boots.push(report);
        ended
    }

    fn follow_down(
        &mut self,
        guest: &dyn Guest,
        boot: &Boot,
        report: &mut BootReport,
    ) -> Result<Outcome, Broken> {
        let mut dialogue = Dialogue::begin(boot);
        let speaks = !dialogue.is_over();
        let began = guest.elapsed();
        let since = || guest.elapsed().saturating_sub(began);
        let mut limit = START;
        loop {
            let left = limit.saturating_sub(since());
            let Some(event) = guest.next(left)? else {
                return Ok(dialogue.outcome(&format!("nothing of the kind in {} s", limit.as_secs())));
            };
            match event {
                Event::Words(words) => {
                    self.answer(dialogue.hear(&words), guest)?;
                    if speaks && dialogue.is_over() {
                        limit = limit.min(since() + QUIET);
                    }
                }
                // One that is down may try again and again; only the time is limited.
                Event::Kernel if report.kernel_milliseconds.is_none() => {
                    report.kernel_milliseconds = Some(milliseconds(since()));
                    limit = limit.max(start_after(since()));
                }
                Event::Kernel => {}
                Event::Panic(_) => {}
                Event::Off(words) => return Ok(dialogue.outcome(&words)),
                Event::Flood(place) => return Err(Broken::Flood(place)),
                Event::Line(line) => match protocol::parse(&line, self.nonce) {
                    Ok(message) if message.said == Said::Started && !self.numbers.contains(&message.boot) => {
                        self.numbers.push(message.boot);
                        report.started_milliseconds = Some(milliseconds(since()));
                        return Ok(Outcome::Failed {
                            expected: "a guest that stays down".into(),
                            observed: "it came up".into(),
                        });
                    }
                    Ok(_) | Err(_) => self.ignore()?,
                },
            }
        }
    }
}

fn blank(boot: &Boot) -> BootReport {
    BootReport {
        boot: boot.name.clone(),
        kernel_milliseconds: None,
        started_milliseconds: None,
        settled_milliseconds: None,
        told: String::new(),
    }
}
