//! The private entry of the program: a fresh, single-threaded process that becomes a command.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::OFlags;
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, WaitOptions, geteuid, set_parent_process_death_signal, wait};

use super::{ENTER, FIRST, Sandbox, SetupError, Step, capabilities, mounts, user};
use crate::host::command::Job;

/// The exit code of a process that could not become its command; the reason is in the report.
const NOT_ENTERED: u8 = 125;

/// Becomes a command, if that is what this process was started for.
///
/// To be called first thing in `main`, before any thread is started; `main` returns the code.
#[must_use]
pub fn enter_if_asked() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args_os().skip(1).map_while(|a| a.into_string().ok()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Some(match arguments[..] {
        [ENTER, parent, job, report] => {
            let files = Files::open(&format!("/proc/{parent}/fd"), job, report);
            finish(files, |files| enter(parent, files))
        }
        [FIRST, parent, job, report] => {
            let files = Files::open("/proc/self/fd", job, report);
            for number in [job, report] {
                // The copies just opened do not outlive this program; the inherited ones would.
                let _ = number.parse::<i32>().map(nix::unistd::close);
            }
            finish(files, |files| first(parent, files))
        }
        ["@map", ..] => user::write_maps(&arguments[1..]),
        ["@same", pid] => user::write_same_maps(pid),
        _ => return None,
    })
}

/// The parent's memory files: what to do, and where to say what went wrong.
struct Files {
    job: File,
    report: File,
}

impl Files {
    fn open(directory: &str, job: &str, report: &str) -> io::Result<Self> {
        let job = File::open(format!("{directory}/{job}"))?;
        let report = File::options().write(true).open(format!("{directory}/{report}"))?;
        Ok(Self { job, report })
    }

    fn read_job(&mut self) -> Result<Job, SetupError> {
        let mut bytes = Vec::new();
        self.job.read_to_end(&mut bytes).step(|| "reading the job".into())?;
        serde_json::from_slice(&bytes).map_err(io::Error::from).step(|| "reading the job".into())
    }
}

fn finish(files: io::Result<Files>, work: impl FnOnce(&mut Files) -> Result<u8, SetupError>) -> ExitCode {
    let Ok(mut files) = files else { return ExitCode::from(NOT_ENTERED) };
    match work(&mut files) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody reads a report that cannot be written; the exit code still tells.
            let _ = serde_json::to_vec(&error).map(|bytes| files.report.write_all(&bytes));
            ExitCode::from(NOT_ENTERED)
        }
    }
}

/// The first process: outside the namespaces until it has made them.
fn enter(parent: &str, files: &mut Files) -> Result<u8, SetupError> {
    die_with_parent(parent)?;
    let job = files.read_job()?;
    // A session of its own: no terminal to type into, one group to kill.
    rustix::process::setsid().step(|| "starting a session".into())?;
    let Some(sandbox) = &job.sandbox else {
        return Err(SetupError::new(format!("executing `{}`", job.program.display()), &command(&job).exec()));
    };
    unshare_for(sandbox)?;
    die_with_parent(parent)?;
    for file in [&files.job, &files.report] {
        rustix::io::fcntl_setfd(file, FdFlags::empty()).step(|| "passing files on".into())?;
    }
    let mut child = Command::new("/proc/self/exe")
        .args([FIRST, &std::process::id().to_string()])
        .args([files.job.as_raw_fd().to_string(), files.report.as_raw_fd().to_string()])
        .env_clear()
        .spawn()
        .step(|| "starting the first process inside".into())?;
    // Standard input and output are the command's alone from here on.
    let _ = close_standard_streams();
    let status = child.wait().step(|| "waiting for the sandbox".into())?;
    Ok(shell_code(status))
}

fn unshare_for(sandbox: &Sandbox) -> Result<(), SetupError> {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if !sandbox.network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    let (uid, gid) = (geteuid(), rustix::process::getegid());
    if uid.is_root() && sandbox.emulator.is_some() {
        return user::unshare_with_same_users(flags).step(|| "unsharing namespaces for an emulator".into());
    }
    if uid.is_root() {
        return unshare(flags).step(|| "unsharing namespaces".into());
    }
    unshare(flags | CloneFlags::CLONE_NEWUSER).step(|| "unsharing namespaces as an ordinary user".into())?;
    user::map_self_as_root(uid, gid).step(|| "mapping the user to root".into())
}

/// The first process of the process namespace: builds the mounts, starts the command, reaps.
fn first(parent: &str, files: &mut Files) -> Result<u8, SetupError> {
    die_with_parent(parent)?;
    let job = files.read_job()?;
    let Some(sandbox) = &job.sandbox else {
        return Err(SetupError::new("reading the job", &io::ErrorKind::InvalidData.into()));
    };
    rustix::system::sethostname(sandbox.hostname.as_encoded_bytes()).step(|| "naming the host".into())?;
    mounts::change_root(sandbox)?;
    capabilities::restrict().step(|| "dropping capabilities".into())?;
    let child = command(&job).spawn().step(|| format!("executing `{}`", job.program.display()))?;
    let _ = close_standard_streams();
    let pid = Pid::from_child(&child);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => {
                return Ok(shell_code(ExitStatus::from_raw(status.as_raw())));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).step(|| "waiting for the command".into()),
        }
    }
}

fn command(job: &Job) -> Command {
    let mut command = Command::new(&job.program);
    command.args(&job.arguments).env_clear().envs(job.variables.iter().map(|(name, value)| (name, value)));
    command.current_dir(&job.directory);
    command
}

/// Asks the kernel to kill this process with its parent, and makes sure that the parent still is.
fn die_with_parent(parent: &str) -> Result<(), SetupError> {
    set_parent_process_death_signal(Some(Signal::KILL)).step(|| "tying this process to its parent".into())?;
    let status = std::fs::read_to_string("/proc/self/status").step(|| "reading /proc/self/status".into())?;
    let actual = status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim);
    if actual == Some(parent) {
        return Ok(());
    }
    Err(SetupError::new("tying this process to its parent", &io::Error::other("the parent is gone")))
}

/// Puts /dev/null where the standard streams were, so that the last writer of a pipe is the command.
fn close_standard_streams() -> io::Result<()> {
    let null = File::from(rustix::fs::open("/dev/null", OFlags::RDWR, rustix::fs::Mode::empty())?);
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// The shell's way to say a status in one byte: the code, or 128 + the signal.
fn shell_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128_i32.saturating_add(status.signal().unwrap_or_default()));
    u8::try_from(code).unwrap_or(u8::MAX)
}
