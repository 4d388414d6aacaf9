use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use goni_model::document::source::Sources;

use super::*;
use crate::progress::Silent;
use crate::smoke::scenario;

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
    /// It does nothing for as long as the host waits.
    Nothing,
    /// It waits to be told exactly this.
    Hears(&'static str),
    /// Somebody types exactly this at its console.
    Reads(String),
    /// It is reset.
    Reset,
}

impl Guest for Actor {
    fn next(&self, within: Duration) -> Result<Option<Event>, Interrupted> {
        let mut part = self.part.borrow_mut();
        match part.pop_front() {
            Some(Step::Does(event)) => {
                self.clock.set(self.clock.get() + Duration::from_secs(1));
                Ok(Some(event))
            }
            Some(Step::Nothing) => {
                self.clock.set(self.clock.get() + within);
                Ok(None)
            }
            Some(step) => {
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

    fn type_text(&self, text: &str) -> io::Result<()> {
        match self.part.borrow_mut().pop_front() {
            Some(Step::Reads(expected)) => assert_eq!(text, expected),
            _ => panic!("the host typed `{text}` out of turn"),
        }
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        assert!(matches!(self.part.borrow_mut().pop_front(), Some(Step::Reset)), "a reset out of turn");
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

fn words(words: &str) -> Step {
    Step::Does(Event::Words(words.to_owned()))
}

fn leaving(boot: &str) -> Step {
    line(boot, r#""event":"leaving""#)
}

/// A check of these boots; with a script, if they are not to be asserted by themselves.
fn check(name: &str, boots: &[&str]) -> Check {
    Check {
        name: name.parse().unwrap(),
        summary: String::new(),
        asserts: String::new(),
        scenario: "x".parse().unwrap(),
        boots: boots.iter().map(|boot| boot.parse().unwrap()).collect(),
        needs: Vec::new(),
        within: Duration::from_secs(60),
        witness: false,
        script: Some("true".to_owned()),
        host: Vec::new(),
        mutations: Vec::new(),
    }
}

fn scenario(boots: &str) -> Scenario {
    let mut sources = Sources::new();
    let (file, _) = sources.add("x.toml", format!("summary = 's'\n{boots}").as_bytes());
    scenario::check(&sources, file, "x".parse().unwrap()).unwrap()
}

const FIRST: &str = "[[boot]]\nname = 'first'\n";

/// Goes through the one machine of a scenario, and gives back how it ended and every finding in short.
fn play(checks: &[Check], boots: &str, part: Vec<Step>) -> (Result<(), Broken>, Vec<String>, u64) {
    let checks: Vec<&Check> = checks.iter().collect();
    let scenario = scenario(boots);
    let shown = || format!("the key is {}\r\n", ["cbdefghi"; 8].join("-"));
    let mut session = Session::new(NONCE, &scenario, &checks, Duration::from_secs(240), &Silent, &shown);
    let actor = Actor { part: RefCell::new(part.into()), clock: Cell::default() };
    let machine = &scenario.machines(scenario.boots.len())[0];
    let ended = session.machine(&actor, machine);
    assert!(ended.is_err() || actor.part.borrow().is_empty(), "the guest was not done");
    if ended.is_err() {
        session.leave_out(machine.boots);
    }
    let findings = session.findings.iter().map(|finding| {
        let word = match &finding.outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed { expected, observed } => format!("{expected} / {observed}"),
            Outcome::Skipped { .. } => "skipped".to_owned(),
        };
        format!("{} {}: {word}", finding.check, finding.boot.as_ref().unwrap())
    });
    (ended, findings.collect(), session.ignored)
}

#[test]
fn what_a_check_remembers_is_told_to_later_boots() {
    let checks = [check("id", &["first", "rebooted"])];
    let part = vec![
        Step::Does(Event::Kernel),
        started("b1"),
        settled("b1"),
        Step::Hears("check id first 60"),
        verdict("b1", "id", "passed"),
        Step::Hears("reboot"),
        leaving("b1"),
        Step::Does(Event::Kernel),
        started("b2"),
        settled("b2"),
        Step::Hears("check id rebooted 60 id=7"),
        verdict("b2", "id", "passed"),
    ];
    let (ended, findings, ignored) =
        play(&checks, &format!("{FIRST}[[boot]]\nname = 'rebooted'\nby = 'reboot'\n"), part);
    assert_eq!((ended, ignored), (Ok(()), 0));
    assert_eq!(findings, ["id first: passed", "id rebooted: passed"]);
}

#[test]
fn a_verdict_that_was_not_asked_for_changes_nothing() {
    let checks = [check("x", &["first"])];
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
    let (ended, findings, ignored) = play(&checks, FIRST, part);
    assert_eq!((ended, findings, ignored), (Ok(()), vec!["x first: e / o".to_owned()], 5));
}

#[test]
fn a_guest_that_never_starts_or_never_settles_is_given_up() {
    let checks = [check("x", &["first"])];
    for (part, words) in [
        (
            vec![Step::Does(Event::Kernel)],
            "the guest was silent for 300 s: waited until the guest's side of the checks starts",
        ),
        (vec![started("b1")], "the guest was silent for 271 s: waited until the boot ends"),
    ] {
        let (ended, findings, _) = play(&checks, FIRST, part);
        assert_eq!(ended.unwrap_err().to_string(), words);
        assert_eq!(findings, ["x first: skipped"]);
    }
}

#[test]
fn a_host_whose_firmware_is_slow_is_given_more_time_but_not_for_ever() {
    let seconds = Duration::from_secs;
    for (firmware, start) in [(0, 300), (6, 300), (10, 400), (15, 600), (60, 900), (100_000, 900)] {
        assert_eq!(start_after(seconds(firmware)), seconds(start), "{firmware}");
    }
}

#[test]
fn a_guest_that_breaks_down_in_a_check_fails_that_check_and_ends_the_run() {
    let checks = [check("x", &["first"]), check("y", &["first"])];
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
        let (ended, findings, _) = play(&checks, FIRST, part);
        assert_eq!(ended.unwrap_err().to_string(), words);
        assert_eq!(findings, [format!("x first: an answer / {words}"), "y first: skipped".into()]);
    }
}

#[test]
fn a_guest_that_boots_over_and_over_is_noticed_at_its_second_kernel() {
    let checks = [check("x", &["first"])];
    let part = vec![Step::Does(Event::Kernel), Step::Does(Event::Kernel)];
    assert_eq!(play(&checks, FIRST, part).0, Err(Broken::Restarted));
}

#[test]
fn one_restart_is_allowed_where_it_belongs_to_the_boot_and_no_second_and_no_later_one() {
    const RESTARTING: &str =
        "[[boot]]\nname = \"first\"\nexpect = \"healthy-restarting\"\nconsole = [\"why\"]\n";
    let checks = [check("x", &["first"])];
    let words = || Step::Does(Event::Words("why".into()));
    // The words come between the first kernel and the next.
    let kernels = |count| {
        let mut steps: Vec<Step> = (0..count).map(|_| Step::Does(Event::Kernel)).collect();
        steps.insert(1, words());
        steps
    };
    for (count, expected) in [(1, Ok(())), (2, Ok(())), (3, Err(Broken::Restarted))] {
        let mut part = kernels(count);
        if expected.is_ok() {
            part.extend([
                started("b1"),
                settled("b1"),
                Step::Hears("check x first 60"),
                verdict("b1", "x", "passed"),
            ]);
        }
        assert_eq!(play(&checks, RESTARTING, part).0, expected, "{count}");
    }
    let late = [kernels(1), vec![started("b1"), Step::Does(Event::Kernel)]].into_iter().flatten().collect();
    assert_eq!(play(&checks, RESTARTING, late).0, Err(Broken::Restarted));
    let silent = vec![Step::Does(Event::Kernel), Step::Does(Event::Kernel), words()];
    assert_eq!(play(&checks, RESTARTING, silent).0, Err(Broken::Restarted));
}

#[test]
fn a_canary_is_told_to_the_check_that_spreads_it_and_to_no_other() {
    let canary = Check { host: vec![Assertion::Canary], ..check("c", &["first"]) };
    let part = vec![
        started("b1"),
        settled("b1"),
        Step::Hears(
            "check c first 60 canary=e43ff58b15c0a02d523def85929825caac39e2070c4e0be258af56235ea906f6",
        ),
        verdict("b1", "c", "passed"),
        Step::Hears("check d first 60 id=7"),
        verdict("b1", "d", "passed"),
    ];
    let (ended, findings, _) = play(&[canary, check("d", &["first"])], FIRST, part);
    assert_eq!((ended, findings.len()), (Ok(()), 2));
}

#[test]
fn a_reset_asks_nobody_and_a_power_off_waits_until_the_machine_is_off() {
    let boots = format!(
        "{FIRST}[[boot]]\nname = 'reset'\nby = 'reset'\n[[boot]]\nname = 'again'\nby = 'power-off'\n"
    );
    let off = || Step::Does(Event::Off("the guest switched the machine off".into()));
    let to_the_end = |end: Vec<Step>| {
        let mut part =
            vec![started("b1"), settled("b1"), Step::Reset, Step::Does(Event::Kernel), started("b2")];
        part.extend([settled("b2"), Step::Hears("poweroff"), leaving("b2")]);
        part.extend(end);
        play(&[], &boots, part).0
    };
    assert_eq!(to_the_end(vec![off()]), Ok(()));
    assert_eq!(to_the_end(vec![Step::Does(Event::Kernel)]), Err(Broken::Restarted));
    let silent = to_the_end(Vec::new()).unwrap_err();
    assert_eq!(silent.to_string(), "the guest was silent for 180 s: waited until the machine is off");
}

const DOWN: &str = "[[boot]]\nname = 'down'\nexpect = 'down'\nconsole = ['root is broken', 'giving up']\n";

/// A check that asserts nothing but that its boots go as the scenario says.
fn scriptless(boot: &str) -> [Check; 1] {
    [Check { script: None, ..check("x", &[boot]) }]
}

#[test]
fn a_guest_that_is_to_stay_down_says_why_and_stays_down() {
    let panic = || Step::Does(Event::Panic("Kernel panic".into()));
    let off = || Step::Does(Event::Off("off".into()));
    for (part, finding) in [
        (vec![words("giving up"), words("root is broken")], "passed"),
        (vec![words("root is broken"), Step::Does(Event::Kernel), words("giving up"), panic()], "passed"),
        (vec![words("root is broken"), words("giving up"), off()], "passed"),
        (vec![words("root is broken")], "on the console: `giving up` / nothing of the kind in 300 s"),
        (vec![words("root is broken"), off()], "on the console: `giving up` / off"),
        (
            vec![words("giving up"), words("root is broken"), started("b1")],
            "a guest that stays down / it came up",
        ),
        (
            vec![Step::Does(Event::Line(b"PASS".to_vec()))],
            "on the console: `root is broken`, `giving up` / nothing of the kind in 300 s",
        ),
    ] {
        let (ended, findings, _) = play(&scriptless("down"), DOWN, part);
        assert_eq!((ended, findings), (Ok(()), vec![format!("x down: {finding}")]));
    }
    let flood = vec![Step::Does(Event::Flood("its console"))];
    assert_eq!(play(&scriptless("down"), DOWN, flood).0, Err(Broken::Flood("its console")));
}

#[test]
fn a_boot_that_goes_otherwise_ends_the_run_where_no_check_is_there_to_say_so() {
    let (ended, _, _) = play(&[], DOWN, vec![started("b1")]);
    assert_eq!(
        ended.unwrap_err().to_string(),
        "the boot `down` went otherwise: expected a guest that stays down, observed it came up"
    );
}

#[test]
fn a_check_with_a_script_asserts_its_boots_too_and_runs_only_where_they_are_up() {
    let boots = format!("{DOWN}[[boot]]\nname = 'up'\nby = 'reset'\nconsole = ['hello']\n");
    let down = || vec![words("root is broken"), words("giving up"), Step::Nothing, Step::Reset];
    let mut good = down();
    good.extend([words("hello"), started("b1"), settled("b1"), Step::Hears("check x up 60")]);
    good.push(verdict("b1", "x", "passed"));
    let (ended, findings, _) = play(&[check("x", &["down", "up"])], &boots, good);
    assert_eq!((ended, findings), (Ok(()), vec!["x down: passed".to_owned(), "x up: passed".to_owned()]));
    let mut mute = down();
    mute.extend([started("b1"), settled("b1"), Step::Hears("diagnose")]);
    mute.push(line("b1", r#""event":"diagnosis","text":"t""#));
    let (_, findings, _) = play(&[check("x", &["down", "up"])], &boots, mute);
    assert_eq!(findings[1], "x up: on the console: `hello` / the boot ended without");
    let (ended, findings, _) = play(&[check("x", &["down", "up"])], &boots, down());
    assert!(ended.is_err());
    let silent = "the guest was silent for 300 s: waited until the guest's side of the checks starts";
    assert_eq!(findings[1], format!("x up: a boot as expected / {silent}"));
}

#[test]
fn what_is_asked_for_at_the_console_is_typed_once_and_in_order() {
    let boots = "[[boot]]\nname = 'first'\nconsole = ['unlocked']\n\
                 type = [{ after = 'Passphrase', send = 'wrong' }, { after = 'Passphrase', send = '$recovery_key' }]\n";
    let key = format!("{}\r", ["cbdefghi"; 8].join("-"));
    let dialogue = || {
        vec![
            words("Passphrase"),
            Step::Reads("wrong\r".into()),
            words("Passphrase"),
            Step::Reads(key.clone()),
        ]
    };
    for (later, finding) in [
        (vec![words("Passphrase"), words("unlocked")], "passed"),
        (vec![], "on the console: `unlocked` / the boot ended without"),
    ] {
        let mut part = dialogue();
        let failed = later.is_empty();
        part.extend(later);
        part.extend([started("b1"), settled("b1")]);
        if failed {
            part.extend([Step::Hears("diagnose"), line("b1", r#""event":"diagnosis","text":"t""#)]);
        }
        let (ended, findings, _) = play(&scriptless("first"), boots, part);
        assert_eq!((ended, findings), (Ok(()), vec![format!("x first: {finding}")]));
    }
}
