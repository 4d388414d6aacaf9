use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::*;
use crate::progress::Silent;

const NONCE: &str = "n0";

/// A guest that plays a part, and refuses what is not in it.
#[derive(Default)]
struct Actor {
    part: RefCell<VecDeque<Step>>,
    clock: Cell<Duration>,
}

enum Step {
    /// It says or does something.
    Does(Event),
    /// It waits to be told exactly this.
    Hears(&'static str),
}

impl Guest for Actor {
    fn next(&self, within: Duration) -> Result<Option<Event>, Interrupted> {
        let mut part = self.part.borrow_mut();
        match part.pop_front() {
            Some(Step::Does(event)) => {
                self.clock.set(self.clock.get() + Duration::from_secs(1));
                Ok(Some(event))
            }
            Some(step @ Step::Hears(_)) => {
                part.push_front(step);
                panic!("the host waits, but was to speak");
            }
            None => {
                self.clock.set(self.clock.get() + within);
                Ok(None)
            }
        }
    }

    fn say(&self, line: &str) -> io::Result<()> {
        match self.part.borrow_mut().pop_front() {
            Some(Step::Hears(expected)) => assert_eq!(line, expected),
            _ => panic!("the host said `{line}` out of turn"),
        }
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.clock.get()
    }
}

fn line(boot: &str, rest: &str) -> Step {
    Step::Does(Event::Line(format!("{{\"nonce\":\"{NONCE}\",\"boot\":\"{boot}\",{rest}}}").into_bytes()))
}

fn started(boot: &str) -> Step {
    line(boot, r#""event":"started""#)
}

fn settled(boot: &str) -> Step {
    line(boot, r#""event":"settled","state":"running","time":"5s""#)
}

fn verdict(boot: &str, check: &str, outcome: &str) -> Step {
    line(
        boot,
        &format!(r#""check":"{check}","outcome":"{outcome}","expected":"e","observed":"o","kept":"id=7 ""#),
    )
}

fn check(name: &str, boots: &[Boot]) -> Check {
    Check {
        name: name.parse().unwrap(),
        summary: String::new(),
        asserts: String::new(),
        boots: boots.iter().copied().collect(),
        needs: Vec::new(),
        within: Duration::from_secs(60),
        script: String::new(),
        mutations: Vec::new(),
    }
}

/// Goes through boots as `smoke` does, and gives back how it ended and every finding in short.
fn play(checks: &[Check], boots: &[Boot], part: Vec<Step>) -> (Result<(), Broken>, Vec<String>, u64) {
    let checks: Vec<&Check> = checks.iter().collect();
    let mut session = Session::new(NONCE, &checks, Duration::from_secs(240), &Silent);
    let actor = Actor { part: RefCell::new(part.into()), clock: Cell::default() };
    let mut ended = Ok(());
    for (index, boot) in boots.iter().enumerate() {
        if ended.is_ok() && index > 0 {
            ended = session.reboot(&actor);
        }
        if ended.is_ok() {
            ended = session.boot(&actor, *boot);
        }
    }
    if ended.is_err() {
        session.leave_out(&boots.iter().copied().collect());
    }
    let findings = session.findings.iter().map(|finding| {
        let word = match &finding.outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed { expected, observed } => format!("{expected} / {observed}"),
            Outcome::Skipped { .. } => "skipped".to_owned(),
        };
        format!("{} {}: {word}", finding.check, finding.boot.unwrap().name())
    });
    (ended, findings.collect(), session.ignored)
}

#[test]
fn what_a_check_remembers_is_told_to_later_boots() {
    let checks = [check("id", &[Boot::First, Boot::Rebooted])];
    let part = vec![
        Step::Does(Event::Kernel),
        started("b1"),
        settled("b1"),
        Step::Hears("check id first 60"),
        verdict("b1", "id", "passed"),
        Step::Hears("reboot"),
        line("b1", r#""event":"rebooting""#),
        Step::Does(Event::Kernel),
        started("b2"),
        settled("b2"),
        Step::Hears("check id rebooted 60 id=7"),
        verdict("b2", "id", "passed"),
    ];
    let (ended, findings, ignored) = play(&checks, &[Boot::First, Boot::Rebooted], part);
    assert_eq!((ended, ignored), (Ok(()), 0));
    assert_eq!(findings, ["id first: passed", "id rebooted: passed"]);
}

#[test]
fn a_verdict_that_was_not_asked_for_changes_nothing() {
    let checks = [check("x", &[Boot::First])];
    let part = vec![
        started("b1"),
        verdict("b1", "x", "passed"),
        settled("b1"),
        Step::Hears("check x first 60"),
        Step::Does(Event::Line(br#"{"nonce":"guess","boot":"b1","check":"x","outcome":"passed"}"#.to_vec())),
        Step::Does(Event::Line(b"PASS".to_vec())),
        verdict("b1", "y", "passed"),
        verdict("b0", "x", "passed"),
        verdict("b1", "x", "failed"),
        Step::Hears("diagnose"),
        line("b1", r#""event":"diagnosis","text":"t""#),
    ];
    let (ended, findings, ignored) = play(&checks, &[Boot::First], part);
    assert_eq!((ended, findings, ignored), (Ok(()), vec!["x first: e / o".to_owned()], 5));
}

#[test]
fn a_guest_that_never_starts_or_never_settles_is_given_up() {
    let checks = [check("x", &[Boot::First])];
    for (part, words) in [
        (
            vec![Step::Does(Event::Kernel)],
            "the guest was silent for 300 s: waited until the guest's side of the checks starts",
        ),
        (vec![started("b1")], "the guest was silent for 271 s: waited until the boot ends"),
    ] {
        let (ended, findings, _) = play(&checks, &[Boot::First], part);
        assert_eq!(ended.unwrap_err().to_string(), words);
        assert_eq!(findings, ["x first: skipped"]);
    }
}

#[test]
fn a_guest_that_breaks_down_in_a_check_fails_that_check_and_ends_the_run() {
    let checks = [check("x", &[Boot::First]), check("y", &[Boot::First])];
    for (step, words) in [
        (Some(Step::Does(Event::Panic("Kernel panic".into()))), "the guest's kernel gave up: Kernel panic"),
        (Some(Step::Does(Event::Flood("its console"))), "the guest flooded its console"),
        (Some(Step::Does(Event::Kernel)), "the guest restarted by itself"),
        (Some(started("b2")), "the guest restarted by itself"),
        (Some(Step::Does(Event::Off("off".into()))), "off"),
        (None, "the guest was silent for 90 s: waited until an answer to `x`"),
    ] {
        let mut part = vec![started("b1"), settled("b1"), Step::Hears("check x first 60")];
        part.extend(step);
        let (ended, findings, _) = play(&checks, &[Boot::First], part);
        assert_eq!(ended.unwrap_err().to_string(), words);
        assert_eq!(findings, [format!("x first: an answer / {words}"), "y first: skipped".into()]);
    }
}

#[test]
fn a_guest_that_boots_over_and_over_is_noticed_at_its_second_kernel() {
    let checks = [check("x", &[Boot::First])];
    let part = vec![Step::Does(Event::Kernel), Step::Does(Event::Kernel)];
    assert_eq!(play(&checks, &[Boot::First], part).0, Err(Broken::Restarted));
}
