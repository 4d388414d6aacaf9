//! Commands: values first, processes second.
//!
//! A [`CommandSpec`] says all there is to know about a command: nothing is taken from the
//! environment of this program. [`System`] runs it in a process that the kernel kills when this
//! one dies; [`Refusing`] stands in where nothing may run.

mod refusing;
mod system;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::{Class, Classify};
use crate::host::sandbox::{Sandbox, SetupError};

pub use refusing::Refusing;
pub use system::System;

/// How much output is kept when nothing else is asked for: the last 4 MiB of a stream.
pub const DEFAULT_OUTPUT_LIMIT: usize = 4 << 20;

/// A command as a value. Its `Display` can be pasted into a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    pub(crate) job: Job,
    input: Input,
    merge: bool,
    output_limit: usize,
    timeout: Option<Duration>,
}

/// What the process that becomes the command has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) directory: PathBuf,
    pub(crate) sandbox: Option<Sandbox>,
}

/// Where a command's standard input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Input {
    Nothing,
    Bytes(Vec<u8>),
}

impl CommandSpec {
    /// A command without arguments, variables or input, in `/`, whose time is not limited.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            job: Job {
                program: program.into(),
                arguments: Vec::new(),
                variables: Vec::new(),
                directory: PathBuf::from("/"),
                sandbox: None,
            },
            input: Input::Nothing,
            merge: false,
            output_limit: DEFAULT_OUTPUT_LIMIT,
            timeout: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.job.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.job.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Gives the command a variable; it has no others than those given.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.job.variables.push((name.into(), value.into()));
        self
    }

    /// The directory it runs in, as it is called where it runs.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.job.directory = directory.into();
        self
    }

    /// Runs it in a sandbox instead of right here.
    #[must_use]
    pub fn inside(mut self, sandbox: Sandbox) -> Self {
        self.job.sandbox = Some(sandbox);
        self
    }

    /// Feeds bytes to its standard input, which is empty otherwise.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Sends its standard error where its standard output goes, so that their order is kept.
    #[must_use]
    pub const fn merge_output(mut self) -> Self {
        self.merge = true;
        self
    }

    /// Keeps only the last so many bytes of each stream.
    #[must_use]
    pub const fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    /// Kills it, and all it started in its session, after this long.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The program's name without its directories.
    #[must_use]
    pub fn name(&self) -> String {
        self.job.program.file_name().unwrap_or(self.job.program.as_os_str()).to_string_lossy().into_owned()
    }

    /// The sandbox it runs in, if any.
    #[must_use]
    pub const fn sandbox(&self) -> Option<&Sandbox> {
        self.job.sandbox.as_ref()
    }
}

impl fmt::Display for CommandSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sandbox) = &self.job.sandbox {
            write!(f, "chroot {} ", quoted(sandbox.root().as_os_str()))?;
        }
        write!(f, "env -i -C {}", quoted(self.job.directory.as_os_str()))?;
        for (name, value) in &self.job.variables {
            write!(f, " {}={}", name.to_string_lossy(), quoted(value))?;
        }
        write!(f, " {}", quoted(self.job.program.as_os_str()))?;
        self.job.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

/// Quotes for sh(1): bytes that no quoting can carry as text are written as `$'\xNN'`.
fn quoted(text: &OsStr) -> String {
    let bytes = text.as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return text.to_string_lossy().into_owned();
    }
    match text.to_str() {
        Some(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => format!("$'{}'", bytes.escape_ascii()),
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this code. In a sandbox, 128 + N says that signal N ended it.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// As a shell gives it: the code, or 128 + N for signal N.
    #[must_use]
    pub fn code(self) -> u8 {
        let code = match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// The end of its standard output, and of its standard error where the two were merged.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// The output of a command that had to succeed.
    ///
    /// # Errors
    /// [`RunError::Failed`] with the end of what it said, if its exit code is not 0.
    pub fn success(self, command: &CommandSpec) -> Result<Self, RunError> {
        if self.exit == Exit::Code(0) {
            return Ok(self);
        }
        let said = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        Err(RunError::Failed { program: command.name(), exit: self.exit, said: last_lines(said, 12) })
    }
}

/// The last lines of what a program said, as text.
#[must_use]
pub fn last_lines(bytes: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Why a command has no output.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process could not be started or waited for.
    #[error("running `{program}`")]
    Io {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// The program is not there, or its surroundings could not be made.
    #[error("starting `{program}`")]
    Setup {
        /// The program.
        program: String,
        /// The step that failed.
        source: SetupError,
    },
    /// It was killed because its time was over.
    #[error("`{program}` was still running after {} s and was killed", limit.as_secs())]
    TimedOut {
        /// The program.
        program: String,
        /// The time it had.
        limit: Duration,
        /// The end of its output.
        output: Vec<u8>,
    },
    /// It was killed because this program was asked to stop.
    #[error("`{program}` was interrupted")]
    Interrupted {
        /// The program.
        program: String,
    },
    /// It ended otherwise than it had to.
    #[error("`{program}` ended with {exit}: {said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        exit: Exit,
        /// The end of its output.
        said: String,
    },
    /// Nothing may run here.
    #[error("`{command}` was not expected to run")]
    Refused {
        /// The command.
        command: String,
    },
}

impl Classify for RunError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted { .. } => Class::Interrupted,
            Self::Refused { .. } => Class::Bug,
            _ => Class::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setup { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// Runs commands. Shared by threads.
pub trait Run: Sync {
    /// Runs a command to its end, telling each line of its standard output as it comes.
    ///
    /// # Errors
    /// [`RunError`]; a command that ran to its end is no error, whatever its exit code.
    fn run_watched(&self, command: &CommandSpec, line: &(dyn Fn(&[u8]) + Sync)) -> Result<Output, RunError>;

    /// Runs a command to its end.
    ///
    /// # Errors
    /// As [`Run::run_watched`].
    fn run(&self, command: &CommandSpec) -> Result<Output, RunError> {
        self.run_watched(command, &|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let command = CommandSpec::new("/usr/bin/printf")
            .args(["%s", "it's", "", "a\nb"])
            .env("LC_ALL", "C.UTF-8")
            .directory("/tmp");
        assert_eq!(
            command.to_string(),
            r"env -i -C /tmp LC_ALL=C.UTF-8 /usr/bin/printf %s 'it'\''s' '' $'a\nb'"
        );
    }

    #[test]
    fn a_failed_command_says_its_last_words() {
        let command = CommandSpec::new("/bin/x");
        let output = Output { exit: Exit::Code(3), stdout: Vec::new(), stderr: b"one\ntwo\n".to_vec() };
        let error = output.success(&command).unwrap_err();
        assert_eq!(error.to_string(), "`x` ended with exit code 3: one\ntwo");
        assert_eq!(error.class(), Class::Environment);
    }

    #[test]
    fn nothing_runs_where_running_is_refused() {
        let error = Refusing.run(&CommandSpec::new("/bin/true")).unwrap_err();
        assert_eq!(error.to_string(), "`env -i -C / /bin/true` was not expected to run");
    }
}
