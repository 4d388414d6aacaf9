//! The run that is recorded: a first boot and a clean reboot of one machine, both under load.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goni_model::name::Name;
use goni_model::size::ByteCount;

use crate::host::qemu::{self, ConsoleLog, Event, Hearing, Powered, QemuError, RunDirectory, probe};
use crate::smoke::machine::{Console, Hardware, Machine, Recording};
use crate::smoke::power_cuts::PowerCutError;
use crate::smoke::power_cuts::load::{GuestLoad, Ledger};
use crate::smoke::scenario::{self, Scenario};
use crate::smoke::select::Until;
use crate::smoke::session::{Broken, Session};
use crate::smoke::{Bench, SmokeError, Subject, handover};

/// The log's file in the run's directory.
const LOG: &str = "writes.log";
/// How long a boot may take by the guest's own clock before the guest's side stops waiting for its end.
const SETTLE: Duration = Duration::from_secs(240);
/// How many rounds of the load each writer makes in a boot, at least.
const ROUNDS: u64 = 8;
/// How long that may take.
const LOADED: Duration = Duration::from_secs(120);
/// How often the load is looked after.
const GLANCE: Duration = Duration::from_millis(200);

/// A part of the run, whose every write is followed by a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name: that of the boot it ends with.
    pub name: Name,
    /// After how many entries the power is cut.
    pub cuts: RangeInclusive<u64>,
}

/// A run that was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The directory that the log is in, gone with this value.
    pub run: RunDirectory,
    /// What was promised to the guest.
    pub ledger: Ledger,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// What put an end to it before its time.
    pub broken_off: Option<String>,
    /// What ran the processor, and why.
    pub accelerator: String,
}

impl Recorded {
    /// Where the log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.run.outside(&Path::new(qemu::INSIDE).join(LOG))
    }
}

/// Boots an image, puts it under load, reboots it, and records every write, as far as the scenario goes.
///
/// # Errors
/// The machine could not run, or somebody put an end to it. A guest that breaks off is told in the
/// result.
pub fn record(
    subject: &Subject<'_>,
    load: &GuestLoad,
    nonce: &str,
    bench: &Bench<'_>,
) -> Result<Recorded, PowerCutError> {
    let scenario = &load.scenario;
    let path = subject.console(&scenario.name);
    let mut console = ConsoleLog::create(&path)?;
    let (accelerator, why) = probe::choose(subject.arch, bench.toolbox, bench.system);
    let (sectors, image) = subject.image(None).ok_or(SmokeError::NoImage)?;
    let variables = &subject.board.variables;
    let run = RunDirectory::prepare(bench.cache, image, variables, bench.toolbox, bench.system)?;
    if let Some(size) = disk_size(scenario) {
        run.grow(size, bench.toolbox, bench.system)?;
    }
    let inside = Path::new(qemu::INSIDE);
    let checks = handover::strings(subject.guest, &[], subject.expectations, nonce, SETTLE.as_secs());
    let strings = checks.ok_or(SmokeError::TooMuch)?.into_iter().chain(load.strings(nonce));
    let strings: Result<Vec<PathBuf>, QemuError> = strings
        .enumerate()
        .map(|(index, string)| run.write(&format!("string-{index}"), string.as_bytes()))
        .collect();
    let recording = Recording { log: run.write(LOG, b"")?, port: inside.join("load") };
    let machine = Machine {
        qemu: subject.qemu.clone(),
        board: subject.board.clone(),
        accelerator,
        disk: run.disk(),
        variables: RunDirectory::variables(),
        console: Console::Socket(inside.join("console")),
        port: Some(inside.join("port")),
        strings: strings?,
        monitor: Some(inside.join("monitor")),
        hardware: Hardware { sectors, recording: Some(recording), ..Hardware::default() },
    };
    let hearing = Hearing::begin(&run, "load", &run.outside(&inside.join(LOG)))?;
    // Nothing is typed at this console, and nothing looked for on it.
    let shown = String::new;
    let mut taping = Taping {
        session: Session::new(nonce, scenario, &[], SETTLE, bench.progress, &shown),
        hearing: &hearing,
        ledger: Ledger::new(nonce),
        parts: Vec::new(),
    };
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| hearing.follow());
        let ended = qemu::power_on(
            &run,
            &machine,
            bench.toolbox,
            bench.system,
            bench.interrupt,
            &mut console,
            |powered| taping.drive(powered, scenario, matches!(subject.until, Until::First)),
        );
        hearing.end();
        ended
    })?;
    let Taping { ledger, parts, .. } = taping;
    let broken_off = match ended {
        Ok(()) => None,
        Err(Broken::Interrupted(interrupted)) => return Err(QemuError::Interrupted(interrupted).into()),
        Err(broken) => Some(broken.to_string()),
    };
    Ok(Recorded { run, ledger, parts, broken_off, accelerator: why })
}

/// The size that the scenario's disk has; `None`: that of the image.
#[must_use]
pub fn disk_size(scenario: &Scenario) -> Option<ByteCount> {
    scenario.boots.first()?.setting()?.disk
}

/// What is in the making while a run is recorded.
struct Taping<'a> {
    session: Session<'a>,
    hearing: &'a Hearing,
    ledger: Ledger,
    parts: Vec<Part>,
}

impl Taping<'_> {
    /// Goes through the boots of the scenario's one machine, each until the load has done its part.
    fn drive(&mut self, powered: &Powered, scenario: &Scenario, first_alone: bool) -> Result<(), Broken> {
        let count = if first_alone { 1 } else { scenario.boots.len() };
        for machine in scenario.machines(count).iter().take(1) {
            for boot in machine.boots {
                let first = self.parts.last().map_or(0, |part| *part.cuts.end());
                let one = scenario::Machine { boots: std::slice::from_ref(boot), ..machine.clone() };
                self.session.machine(powered, &one)?;
                self.wait_for_load(powered)?;
                let cuts = first..=self.entries()?;
                self.parts.push(Part { name: boot.name.clone(), cuts });
            }
        }
        Ok(())
    }

    /// Waits until each writer has gone on for some rounds.
    fn wait_for_load(&mut self, powered: &Powered) -> Result<(), Broken> {
        self.hear();
        let wanted = self.ledger.reached() + ROUNDS;
        let began = powered.elapsed();
        while self.ledger.reached() < wanted {
            if powered.elapsed().saturating_sub(began) > LOADED {
                let waited_for = "waited until each writer has flushed some more".to_owned();
                return Err(Broken::Silent { waited_for, seconds: LOADED.as_secs() });
            }
            match powered.next(GLANCE)? {
                None | Some(Event::Line(_) | Event::Words(_)) => {}
                Some(Event::Kernel) => return Err(Broken::Restarted),
                Some(Event::Panic(words)) => return Err(Broken::Panic(words)),
                Some(Event::Flood(place)) => return Err(Broken::Flood(place)),
                Some(Event::Off(words)) => return Err(Broken::Off(words)),
            }
            self.hear();
        }
        Ok(())
    }

    fn hear(&mut self) {
        for (line, entries) in self.hearing.take() {
            // What is no promise of this run promises nothing.
            let _ = self.ledger.hear(&line, entries);
        }
    }

    fn entries(&mut self) -> Result<u64, Broken> {
        self.hear();
        self.hearing.entries().map_err(|error| Broken::Off(format!("the write log: {error}")))
    }
}
