//! The run that is recorded: a first boot and a clean reboot of one machine, both under load.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goni_model::report::Boot;
use goni_model::size::SectorSize;

use crate::host::qemu::{self, ConsoleLog, Event, Hearing, Powered, QemuError, RunDirectory, probe};
use crate::smoke::machine::{Console, Machine, Network, Recording};
use crate::smoke::power_cuts::PowerCutError;
use crate::smoke::power_cuts::load::{GuestLoad, Ledger};
use crate::smoke::session::{Broken, Session};
use crate::smoke::{Bench, SETTLE, SmokeError, Subject, handover};

/// The log's file in the run's directory.
const LOG: &str = "writes.log";
/// How many rounds of the load each writer makes in a boot, at least.
const ROUNDS: u64 = 8;
/// How long that may take.
const LOADED: Duration = Duration::from_secs(120);
/// How often the load is looked after.
const GLANCE: Duration = Duration::from_millis(200);

/// A part of the run, whose every write is followed by a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
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
        self.run.path(LOG)
    }
}

/// Boots an image, puts it under load, reboots it, and records every write; if `first_alone`, without
/// the reboot.
///
/// # Errors
/// The machine could not run, or somebody put an end to it. A guest that breaks off is told in the
/// result.
pub fn record(
    subject: &Subject<'_>,
    load: &GuestLoad,
    nonce: &str,
    first_alone: bool,
    bench: &Bench<'_>,
) -> Result<Recorded, PowerCutError> {
    let mut console = ConsoleLog::create(&subject.console)?;
    let (accelerator, why) = probe::choose(subject.arch, bench.toolbox, bench.system);
    let variables = &subject.board.variables;
    let run = RunDirectory::prepare(bench.cache, subject.image, variables, bench.toolbox, bench.system)?;
    let inside = Path::new(qemu::INSIDE);
    let checks = handover::strings(subject.guest, &[], subject.expectations, nonce, SETTLE.as_secs());
    let strings = checks.ok_or(SmokeError::TooMuch)?.into_iter().chain(load.strings(nonce));
    let strings: Result<Vec<PathBuf>, QemuError> = strings
        .enumerate()
        .map(|(index, string)| run.write(&format!("string-{index}"), string.as_bytes()))
        .collect();
    let machine = Machine {
        qemu: subject.qemu.clone(),
        board: subject.board.clone(),
        accelerator,
        disk: RunDirectory::disk(),
        variables: RunDirectory::variables(),
        console: Console::Socket(inside.join("console")),
        port: Some(inside.join("port")),
        strings: strings?,
        network: Network::None,
        recording: Some(Recording {
            log: run.write(LOG, b"")?,
            port: inside.join("load"),
            sectors: SectorSize::B512,
        }),
    };
    let hearing = Hearing::begin(&run, "load", &run.path(LOG))?;
    let mut taping = Taping {
        session: Session::new(nonce, &[], SETTLE, bench.progress),
        hearing: &hearing,
        ledger: Ledger::new(nonce),
        parts: Vec::new(),
    };
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| hearing.follow());
        let drive = |powered: &Powered| taping.drive(powered, first_alone);
        let ended = qemu::power_on(
            &run,
            &machine,
            bench.toolbox,
            bench.system,
            bench.interrupt,
            &mut console,
            drive,
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

/// What is in the making while a run is recorded.
struct Taping<'a> {
    session: Session<'a>,
    hearing: &'a Hearing,
    ledger: Ledger,
    parts: Vec<Part>,
}

impl Taping<'_> {
    fn drive(&mut self, powered: &Powered, first_alone: bool) -> Result<(), Broken> {
        self.session.boot(powered, Boot::First)?;
        self.wait_for_load(powered)?;
        let first = self.entries()?;
        self.parts.push(Part { name: "first-boot", cuts: 0..=first });
        if first_alone {
            return Ok(());
        }
        self.session.reboot(powered)?;
        self.session.boot(powered, Boot::Rebooted)?;
        self.wait_for_load(powered)?;
        let last = self.entries()?;
        self.parts.push(Part { name: "reboot", cuts: first..=last });
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
                None | Some(Event::Line(_)) => {}
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
