//! Machines that run: QEMU of the toolbox in its sandbox, with its console and its port at sockets
//! of ours, on a throw-away overlay of an image that is only ever read.
//!
//! The end of a machine is the end of its process, and cutting its power is killing it. Nothing here
//! knows what the guest says; [`crate::smoke`] does.

mod console;
mod heard;
pub mod probe;
pub mod terminal;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Class, Classify};
use crate::host::command::{CommandSpec, Run as _, RunError, System};
use crate::host::files::{self, FileError};
use crate::host::interrupt::{Interrupt, Interrupted};
use crate::host::toolbox::{Toolbox, ToolboxError};
use crate::smoke::machine::{Accelerator, Machine, Network};

pub use console::{ConsoleLog, MOST_CONSOLE_BYTES};
pub use heard::Hearing;

/// Where a run's directory is, as the machine sees it.
pub const INSIDE: &str = "/machine";
/// Where the image is, as the machine sees it.
const IMAGE: &str = "/image.raw";
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
            Self::Socket(_) => Class::Environment,
            Self::Interrupted(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Toolbox(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Socket(_) | Self::Interrupted(_) => None,
        }
    }
}

/// The directory of a run: the overlay, the firmware's variables, sockets, strings. Gone with this value.
#[derive(Debug)]
pub struct RunDirectory {
    directory: tempfile::TempDir,
    image: PathBuf,
}

impl RunDirectory {
    /// A new one below `<cache>/machines`, with an overlay over `image` and a copy of `variables`.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn prepare(
        cache: &Path,
        image: &Path,
        variables: &Path,
        toolbox: &Toolbox,
        system: &System,
    ) -> Result<Self, QemuError> {
        let all = cache.join("machines");
        files::create_directories(&all)?;
        let directory = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&all)
            .map_err(FileError::io("creating a directory in", &all))?;
        let image = image.canonicalize().map_err(FileError::io("opening", image))?;
        let this = Self { directory, image };
        let relative = variables.strip_prefix("/").unwrap_or(variables);
        let original = files::read_capped(&toolbox.root().join(relative), 64 << 20)?;
        this.write("variables.fd", &original)?;
        let create = this
            .command(toolbox, "qemu-img")?
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", IMAGE])
            .arg(format!("{INSIDE}/disk.qcow2"))
            .timeout(Duration::from_secs(60));
        system.run(&create)?.success(&create)?;
        Ok(this)
    }

    /// Keeps the directory, and says where its overlay is. The overlay names its image as `/image.raw`.
    pub fn keep(self) -> PathBuf {
        self.directory.keep().join("disk.qcow2")
    }

    /// Where a file of the run is, as this program sees it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The overlay, as the machine sees it.
    #[must_use]
    pub fn disk() -> PathBuf {
        Path::new(INSIDE).join("disk.qcow2")
    }

    /// The variables, as the machine sees them.
    #[must_use]
    pub fn variables() -> PathBuf {
        Path::new(INSIDE).join("variables.fd")
    }

    /// Writes a file for the machine and says how it sees it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, QemuError> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, bytes).map_err(FileError::io("writing", &path))?;
        Ok(Path::new(INSIDE).join(name))
    }

    /// A program of the toolbox that sees the run and, read-only, the image.
    ///
    /// # Errors
    /// The toolbox does not have it.
    pub fn command(&self, toolbox: &Toolbox, program: &str) -> Result<CommandSpec, QemuError> {
        let sandbox = toolbox.sandbox().bind_writable(self.directory.path(), INSIDE).bind(&self.image, IMAGE);
        Ok(toolbox.command_in(program, sandbox)?)
    }

    /// A socket that the machine finds in the run's directory.
    fn listen(&self, name: &str) -> Result<UnixListener, QemuError> {
        // Through the directory's descriptor: the path of a socket may have 107 bytes at most.
        let path = self.directory.path();
        let directory = File::open(path).map_err(FileError::io("opening", path))?;
        // An earlier machine of the same run left its socket; that there is none is as good.
        drop(std::fs::remove_file(path.join(name)));
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
            .map_err(QemuError::Socket)?;
        listener.set_nonblocking(true).map_err(QemuError::Socket)?;
        Ok(listener)
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
    /// More came than any guest in order would say; from where.
    Flood(&'static str),
    /// The machine is off, in these words.
    Off(String),
}

/// A machine that is on.
#[derive(Debug)]
pub struct Powered {
    events: Receiver<Event>,
    port: Arc<std::sync::Mutex<Option<UnixStream>>>,
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
        let mut port = self.port.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let port = port.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writeln!(port, "{line}")
    }

    /// Since it was switched on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Switches a machine on, lets `drive` deal with it, and cuts its power.
///
/// The machine's console is at the socket `console` of the run's directory, its port at `port`.
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
    let (console, port) = (run.listen("console")?, run.listen("port")?);
    let command = emulator(run, machine, toolbox)?.merge_output();
    let off = Arc::new(AtomicBool::new(false));
    let system = system.clone().stopping_on(Arc::clone(&off));
    let (sender, events) = channel();
    let said = Arc::default();
    let powered =
        Powered { events, port: Arc::clone(&said), interrupt: interrupt.clone(), began: Instant::now() };
    thread::scope(|scope| {
        let (gone, tell) = (Arc::clone(&off), sender.clone());
        scope.spawn(move || {
            let words = match system.run(&command) {
                Ok(output) => match output.success(&command) {
                    Ok(_) => "the guest switched the machine off".to_owned(),
                    Err(error) => error.to_string(),
                },
                Err(error) => error_chain(&error),
            };
            gone.store(true, Ordering::SeqCst);
            // Nobody listens any more once the machine was meant to end.
            drop(tell.send(Event::Off(words)));
        });
        let (gone, tell) = (Arc::clone(&off), sender.clone());
        scope.spawn(move || {
            if let Some(stream) = accept(&console, &gone) {
                log.follow(stream, &tell);
            }
        });
        let gone = Arc::clone(&off);
        scope.spawn(move || {
            if let Some(stream) = accept(&port, &gone) {
                let writer = stream.try_clone().ok();
                *said.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = writer;
                follow_port(stream, &sender);
            }
        });
        let result = drive(&powered);
        off.store(true, Ordering::SeqCst);
        Ok(result)
    })
}

/// The emulator's command, with what its sandbox has to show it.
fn emulator(run: &RunDirectory, machine: &Machine, toolbox: &Toolbox) -> Result<CommandSpec, QemuError> {
    let mut command = run.command(toolbox, &machine.board.program)?.args(machine.arguments());
    if machine.accelerator == Accelerator::Kvm {
        command = probe::with_kvm(command);
    }
    match (machine.network, command.sandbox().cloned()) {
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
