//! Machines that run: QEMU of the toolbox in its sandbox, with its console, its monitor and its port
//! at sockets of ours, on a throw-away overlay of an image that is only ever read.
//!
//! The end of a machine is the end of its process, and cutting its power is killing it. Nothing here
//! knows what the guest says; [`crate::smoke`] does.

mod afterwards;
mod console;
mod directory;
mod monitor;
mod preparation;
pub mod probe;
pub mod terminal;
mod tpm;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use goni_disk::gpt::GptError;

use crate::failure::{Class, Classify};
use crate::host::command::{CommandSpec, Run as _, RunError, System};
use crate::host::files::FileError;
use crate::host::interrupt::{Interrupt, Interrupted};
use crate::host::qemu::monitor::Monitor;
use crate::host::toolbox::{Toolbox, ToolboxError};
use crate::smoke::machine::{Accelerator, Machine, Network};

pub use afterwards::{Afterwards, Canaries};
pub use console::{ConsoleLog, MOST_CONSOLE_BYTES};
pub use directory::RunDirectory;
pub use monitor::MonitorError;

/// Where a run's directory is, as the machine sees it.
pub const INSIDE: &str = "/machine";
/// How often a wait looks at what else may have happened.
const GLANCE: Duration = Duration::from_millis(50);
/// More than this on the guest's port is a flood.
const MOST_PORT_BYTES: usize = 8 << 20;
/// A longer line on the port is passed on in part, and means nothing.
const LONGEST_PORT_LINE: usize = 128 << 10;

/// Why a machine cannot run.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// A program of the toolbox is missing.
    #[error(transparent)]
    Toolbox(#[from] ToolboxError),
    /// A program could not run, or ended badly.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of the run cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// A socket of the run cannot be made or used.
    #[error("talking to the machine")]
    Socket(#[source] io::Error),
    /// The TPM's process did not come up; what it said.
    #[error("starting the machine's TPM: {0}")]
    Tpm(String),
    /// The partition table of a disk cannot be read or written.
    #[error("reading the partition table of `{}`", image.display())]
    Table {
        /// The disk.
        image: PathBuf,
        /// What is wrong.
        source: GptError,
    },
    /// A disk cannot be prepared so.
    #[error("the image has no {role} partition, which `{preparation}` needs")]
    Unprepared {
        /// The preparation.
        preparation: &'static str,
        /// The partition.
        role: &'static str,
    },
    /// Asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for QemuError {
    fn class(&self) -> Class {
        match self {
            Self::Toolbox(error) => error.class(),
            Self::Run(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Socket(_) | Self::Tpm(_) => Class::Environment,
            Self::Table { .. } => Class::Content,
            Self::Unprepared { .. } => Class::Recipe,
            Self::Interrupted(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Toolbox(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Socket(_)
            | Self::Tpm(_)
            | Self::Table { .. }
            | Self::Unprepared { .. }
            | Self::Interrupted(_) => None,
        }
    }
}

/// What a run's lines bear, and nobody can guess: 128 bits of the kernel's randomness, in hexadecimal.
///
/// # Errors
/// The kernel gives none.
pub fn nonce() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct StopWatch(Instant);

impl StopWatch {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since then.
    #[must_use]
    pub fn milliseconds(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What happened in or to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line came from the guest's port.
    Line(Vec<u8>),
    /// The kernel began to speak on the console.
    Kernel,
    /// The kernel gave up; its words.
    Panic(String),
    /// These words, which the log was asked to watch for, are on the console.
    Words(String),
    /// More came than any guest in order would say; from where.
    Flood(&'static str),
    /// The machine is off, in these words.
    Off(String),
}

/// A machine that is on.
#[derive(Debug)]
pub struct Powered {
    events: Receiver<Event>,
    console: Speaker,
    port: Speaker,
    monitor: Monitor,
    interrupt: Interrupt,
    began: Instant,
}

impl Powered {
    /// Waits for what happens next; `None`: nothing in that time.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn next(&self, within: Duration) -> Result<Option<Event>, Interrupted> {
        let began = Instant::now();
        loop {
            self.interrupt.check()?;
            let left = within.saturating_sub(began.elapsed());
            match self.events.recv_timeout(left.min(GLANCE)) {
                Ok(event) => return Ok(Some(event)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Some(Event::Off("the machine is off".into())));
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Says a line to the guest's side.
    ///
    /// # Errors
    /// The port is not open, or takes nothing.
    pub fn say(&self, line: &str) -> io::Result<()> {
        self.port.say(format!("{line}\n").as_bytes())
    }

    /// Types into the console, as somebody at the serial line would; the return key is `\r`.
    ///
    /// # Errors
    /// The console is not open, or takes nothing.
    pub fn type_text(&self, text: &str) -> io::Result<()> {
        self.console.say(text.as_bytes())
    }

    /// Presses the reset button: nobody in the guest is asked.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub fn reset(&self) -> Result<(), MonitorError> {
        self.monitor.execute("system_reset")
    }

    /// Presses the power button, which asks the guest to switch itself off.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub fn press_power_button(&self) -> Result<(), MonitorError> {
        self.monitor.execute("system_powerdown")
    }

    /// Ends the emulator in order, whatever the guest is doing: all it was given is in the overlay then.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub fn quit(&self) -> Result<(), MonitorError> {
        self.monitor.execute("quit")
    }

    /// Since it was switched on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Our end of a connection, once somebody has connected.
#[derive(Debug, Clone, Default)]
struct Speaker(Arc<Mutex<Option<UnixStream>>>);

impl Speaker {
    /// Takes another handle of the connection; without one, nothing can be said.
    fn open(&self, stream: &UnixStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stream.try_clone().ok();
    }

    fn say(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.as_mut().ok_or(io::ErrorKind::NotConnected)?.write_all(bytes)
    }
}

/// Switches a machine on, lets `drive` deal with it, and cuts its power.
///
/// The machine's console is at the socket `console` of the run's directory, its monitor at `monitor`,
/// its port at `port`. Its TPM, if it has one, runs as long as it does.
///
/// # Errors
/// The machine could not be switched on; what `drive` says is its own.
pub fn power_on<T>(
    run: &RunDirectory,
    machine: &Machine,
    toolbox: &Toolbox,
    system: &System,
    interrupt: &Interrupt,
    log: &mut ConsoleLog,
    drive: impl FnOnce(&Powered) -> T,
) -> Result<T, QemuError> {
    let (console, monitor, port) = (run.listen("console")?, run.listen("monitor")?, run.listen("port")?);
    let command = emulator(run, machine, toolbox)?.merge_output();
    let tpm = machine.hardware.tpm.as_ref().map(|tpm| tpm::command(run, tpm, toolbox)).transpose()?;
    let (off, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (sender, events) = channel();
    let (tell_monitor, replies) = channel();
    let powered = Powered {
        events,
        console: Speaker::default(),
        port: Speaker::default(),
        monitor: Monitor::new(replies),
        interrupt: interrupt.clone(),
        began: Instant::now(),
    };
    thread::scope(|scope| {
        // The TPM stays until the machine is gone, and then goes, whatever way out is taken below.
        let _gone = OnDrop(&off);
        let _without_machine = OnDrop(&ended);
        if let Some(tpm) = tpm {
            let system = system.clone().stopping_on(Arc::clone(&ended));
            tpm::start(scope, system, tpm, run, interrupt)?;
        }
        let (gone, over, tell) = (Arc::clone(&off), Arc::clone(&ended), sender.clone());
        let emulating = system.clone().stopping_on(Arc::clone(&off));
        let emulator = scope.spawn(move || {
            let words = match emulating.run(&command) {
                Ok(output) => match output.success(&command) {
                    Ok(_) => "the guest switched the machine off".to_owned(),
                    Err(error) => error.to_string(),
                },
                Err(error) => error_chain(&error),
            };
            gone.store(true, Ordering::SeqCst);
            over.store(true, Ordering::SeqCst);
            // Nobody listens any more once the machine was meant to end.
            drop(tell.send(Event::Off(words)));
        });
        let (gone, tell, typed) = (Arc::clone(&off), sender.clone(), powered.console.clone());
        scope.spawn(move || {
            if let Some(stream) = accept(&console, &gone) {
                typed.open(&stream);
                log.follow(stream, &tell);
            }
        });
        let (gone, asked) = (Arc::clone(&off), powered.monitor.speaker());
        scope.spawn(move || {
            if let Some(stream) = accept(&monitor, &gone) {
                monitor::follow(stream, &asked, &tell_monitor);
            }
        });
        let (gone, said) = (Arc::clone(&off), powered.port.clone());
        scope.spawn(move || {
            if let Some(stream) = accept(&port, &gone) {
                said.open(&stream);
                follow_port(stream, &sender);
            }
        });
        let result = drive(&powered);
        off.store(true, Ordering::SeqCst);
        // A TPM loses its machine, as in life; it never happens to the machine that it loses its TPM.
        drop(emulator.join());
        Ok(result)
    })
}

/// Sets a sign when it goes.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The emulator's command, with what its sandbox has to show it.
fn emulator(run: &RunDirectory, machine: &Machine, toolbox: &Toolbox) -> Result<CommandSpec, QemuError> {
    let mut command = run.command(toolbox, &machine.board.program)?.args(machine.arguments());
    if machine.accelerator == Accelerator::Kvm {
        command = probe::with_kvm(command);
    }
    match (&machine.hardware.network, command.sandbox().cloned()) {
        (Network::Forward(_), Some(sandbox)) => Ok(command.inside(sandbox.with_network())),
        _ => Ok(command),
    }
}

/// Takes the one connection that comes, or none if the machine is off before.
fn accept(listener: &UnixListener, gone: &AtomicBool) -> Option<UnixStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // A stream that stays non-blocking would read as ended; then there is nothing to follow.
                return stream.set_nonblocking(false).ok().map(|()| stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        if gone.load(Ordering::SeqCst) {
            return None;
        }
        thread::sleep(GLANCE);
    }
}

/// Tells each line of the port. Ends with the machine, or with a flood.
fn follow_port(mut stream: impl io::Read, events: &Sender<Event>) {
    let mut buffer = vec![0; 16 << 10];
    let mut line: Vec<u8> = Vec::new();
    let mut total = 0_usize;
    // An error is the end of the machine, which its process tells.
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            break;
        }
        total = total.saturating_add(count);
        for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            if line.len() < LONGEST_PORT_LINE {
                line.extend(part);
            }
            if part.ends_with(b"\n") {
                let whole = std::mem::take(&mut line);
                drop(events.send(Event::Line(whole.trim_ascii_end().to_vec())));
            }
        }
        if total > MOST_PORT_BYTES {
            drop(events.send(Event::Flood("its port")));
            break;
        }
    }
}

fn error_chain(error: &RunError) -> String {
    let chain = std::iter::successors(std::error::Error::source(error), |error| error.source());
    chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Event> {
        let (sender, events) = channel();
        follow_port(bytes, &sender);
        drop(sender);
        events.iter().collect()
    }

    #[test]
    fn the_port_tells_whole_lines_alone() {
        assert_eq!(lines(b"one\r\ntwo\ncut"), [Event::Line(b"one".to_vec()), Event::Line(b"two".to_vec())]);
    }

    #[test]
    fn a_port_that_is_flooded_is_told_once_and_left() {
        let flood = vec![b'x'; MOST_PORT_BYTES + (64 << 10)];
        assert_eq!(lines(&flood), [Event::Flood("its port")]);
    }
}
