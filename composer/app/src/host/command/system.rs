//! The runner that really runs commands.
//!
//! A command is started through this very program, in its private entry
//! ([`crate::host::sandbox::enter_if_asked`]): there, and only there, a process can ask to be
//! killed with its parent and enter namespaces without unsafe code. The job travels through a
//! memory file, and so does what went wrong before the command began.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::{CommandSpec, Exit, Input, Output, Run, RunError};
use crate::host::sandbox::ENTER;

/// How often a running command is looked at for an interrupt.
const PATROL: Duration = Duration::from_millis(50);

/// Runs commands as processes of this machine.
///
/// A process lives no longer than the *thread* that runs it: the kernel ties the two together.
#[derive(Debug, Clone)]
pub struct System {
    launcher: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Default for System {
    fn default() -> Self {
        Self::new("/proc/self/exe")
    }
}

impl System {
    /// Starts commands through a copy of this program: itself, or in a test the one beside it.
    #[must_use]
    pub fn new(launcher: impl Into<PathBuf>) -> Self {
        Self { launcher: launcher.into(), stop: Arc::default() }
    }

    /// Kills what runs, and runs nothing more, once this is set.
    #[must_use]
    pub fn stopping_on(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    fn execute(
        &self,
        command: &CommandSpec,
        line: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<(Ending, Output, Vec<u8>), io::Error> {
        let job = memory_file(&serde_json::to_vec(&command.job)?)?;
        let mut report = memory_file(b"")?;
        let mut process = Command::new(&self.launcher);
        process.arg0_and_ids(&[&job, &report]).env_clear().stdin(match command.input {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) => Stdio::piped(),
            Input::Terminal => Stdio::inherit(),
        });
        let (output, output_end) = io::pipe()?;
        let errors = if matches!(command.input, Input::Terminal) {
            // The pipe has then no writer, and reads as empty.
            process.stdout(Stdio::inherit()).stderr(Stdio::inherit());
            drop(output_end);
            None
        } else if command.merge {
            process.stderr(output_end.try_clone()?).stdout(output_end);
            None
        } else {
            let (errors, errors_end) = io::pipe()?;
            process.stderr(errors_end).stdout(output_end);
            Some(errors)
        };
        let mut child = process.spawn()?;
        drop(process);

        let (ended, wait_for_end) = channel::<()>();
        let limit = command.output_limit;
        let (ending, exit, stdout, stderr) = std::thread::scope(|scope| {
            let stdin = child.stdin.take();
            if let (Some(mut stdin), Input::Bytes(bytes)) = (stdin, &command.input) {
                // A command may end without reading its input; that is its own affair.
                scope.spawn(move || drop(stdin.write_all(bytes)));
            }
            let stdout = scope.spawn(move || keep_end(output, limit, line));
            let stderr =
                scope.spawn(move || errors.map_or(Ok(Vec::new()), |pipe| keep_end(pipe, limit, &|_| ())));
            let pid = pid_of(&child);
            let guard = scope.spawn(move || self.guard(pid, command.timeout, &wait_for_end));
            let exit = wait_without_reaping(&mut child, || drop(ended));
            let ending = guard.join().unwrap_or(Ending::ByItself);
            (ending, exit, joined(stdout), joined(stderr))
        });
        let output = Output { exit: exit?, stdout: stdout?, stderr: stderr? };
        let mut said = Vec::new();
        report.rewind()?;
        report.read_to_end(&mut said)?;
        Ok((ending, output, said))
    }

    /// Kills the command's session when its time is over or the program was asked to stop.
    fn guard(&self, pid: Pid, limit: Option<Duration>, ended: &Receiver<()>) -> Ending {
        let began = Instant::now();
        let mut ending = Ending::ByItself;
        loop {
            match ended.recv_timeout(PATROL) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return ending,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if matches!(ending, Ending::ByItself) {
                if self.stop.load(Ordering::Relaxed) {
                    ending = Ending::Stopped;
                } else if let Some(limit) = limit.filter(|limit| began.elapsed() >= *limit) {
                    ending = Ending::TooLong(limit);
                }
            }
            if !matches!(ending, Ending::ByItself) {
                // The process leads a session of its own once it is past its first steps. It is
                // not reaped before this thread ends, so the number is still its own.
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Run for System {
    fn run_watched(&self, command: &CommandSpec, line: &(dyn Fn(&[u8]) + Sync)) -> Result<Output, RunError> {
        let program = command.name();
        if self.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted { program });
        }
        let (ending, output, report) = match self.execute(command, line) {
            Ok(result) => result,
            Err(source) => return Err(RunError::Io { program, source }),
        };
        match ending {
            Ending::Stopped => return Err(RunError::Interrupted { program }),
            Ending::TooLong(limit) => {
                let mut said = output.stdout;
                said.extend(output.stderr);
                return Err(RunError::TimedOut { program, limit, output: said });
            }
            Ending::ByItself => {}
        }
        if !report.is_empty() {
            let source = serde_json::from_slice(&report).map_err(io::Error::from);
            return Err(match source {
                Ok(source) => RunError::Setup { program, source },
                Err(source) => RunError::Io { program, source },
            });
        }
        Ok(output)
    }
}

/// Why a process is over.
#[derive(Debug, Clone, Copy)]
enum Ending {
    ByItself,
    TooLong(Duration),
    Stopped,
}

trait Entry {
    fn arg0_and_ids(&mut self, files: &[&File]) -> &mut Self;
}

impl Entry for Command {
    /// The private first argument, who the parent is, and the parent's open files by number.
    fn arg0_and_ids(&mut self, files: &[&File]) -> &mut Self {
        self.arg(ENTER).arg(std::process::id().to_string());
        self.args(files.iter().map(|file| file.as_raw_fd().to_string()))
    }
}

fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let memory: OwnedFd = memfd_create("goni-compose", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    Ok(file)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Waits until a child is over, tells so while its number is still taken, and then reaps it.
fn wait_without_reaping(child: &mut Child, over: impl FnOnce()) -> io::Result<Exit> {
    let pid = pid_of(child);
    let waited = loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    over();
    waited?;
    let status = child.wait()?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    Ok(match status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(signal.unwrap_or_default()),
    })
}

/// Reads to the end, keeps the last `limit` bytes and tells every line.
fn keep_end(mut pipe: impl Read, limit: usize, line: &(dyn Fn(&[u8]) + Sync)) -> io::Result<Vec<u8>> {
    let mut kept: VecDeque<u8> = VecDeque::new();
    let mut current: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match pipe.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            break;
        }
        let bytes = &buffer[..count];
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            // A line without an end must not fill the memory.
            if current.len() < limit {
                current.extend(part);
            }
            if part.ends_with(b"\n") {
                line(current.trim_ascii_end());
                current.clear();
            }
        }
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(limit);
        kept.drain(..excess);
    }
    if !current.is_empty() {
        line(&current);
    }
    Ok(kept.into())
}

fn joined(thread: std::thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a reading thread panicked")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn only_the_end_of_a_long_output_is_kept_and_every_line_is_told() {
        let lines = Mutex::new(Vec::new());
        let tell = |line: &[u8]| lines.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
        let kept = keep_end(&b"one\ntwo\nthree"[..], 8, &tell).unwrap();
        assert_eq!(kept, b"wo\nthree");
        assert_eq!(lines.into_inner().unwrap(), ["one", "two", "three"]);
    }
}
