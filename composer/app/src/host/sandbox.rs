//! Namespaces: where foreign programs run.
//!
//! A sandboxed program has mounts, processes, interprocess communication, a host name and, unless
//! asked otherwise, a network of its own; of the host's files it sees what was bound, and of the
//! host's devices the harmless ones. Its capabilities are those a maintainer script can want. All
//! its mounts are made in its own mount namespace, so none is ever seen outside and none is left.
//!
//! The way in, without unsafe code: [`enter_if_asked`] is the first thing the program does. Asked
//! by [`crate::host::command::System`], it ties its life to its parent's, unshares, and starts
//! itself once more as the first process of the new process namespace; that one builds the mounts,
//! changes root, starts the command and reaps what the command leaves to it. Killing any one of the
//! chain kills all that follow. Source: namespaces(7), pivot_root(2), PR_SET_PDEATHSIG(2const).

mod capabilities;
mod enter;
mod foreign;
mod kernel;
mod mounts;
mod user;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use enter::enter_if_asked;
pub use foreign::Emulator;
pub use user::{Mapping, UserNamespaceError, enter_user_namespace};

/// The private first argument: the process is to become a command.
pub(crate) const ENTER: &str = "@enter";
/// The private first argument of the first process in a namespace.
const FIRST: &str = "@first";

/// Where a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    root: Root,
    binds: Vec<Bind>,
    replacements: Vec<(PathBuf, PathBuf)>,
    temporary: Vec<PathBuf>,
    emulator: Option<Emulator>,
    kernel: Option<String>,
    network: bool,
    hostname: OsString,
}

/// What is at `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Root {
    /// The directory itself; what the command writes stays there.
    Writable(PathBuf),
    /// The directory's `/usr`, `/etc`, `/opt` and `/var`, read-only, in an empty root: other
    /// directories of the host can appear under their own names.
    ReadOnly(PathBuf),
}

/// A file or directory of the host that appears inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bind {
    host: PathBuf,
    inside: PathBuf,
    writable: bool,
}

impl Sandbox {
    /// A sandbox in a system tree that the command may change.
    #[must_use]
    pub fn in_tree(root: impl Into<PathBuf>) -> Self {
        Self::at(Root::Writable(root.into()))
    }

    /// A sandbox with the programs of a system tree that stays as it is.
    #[must_use]
    pub fn with_tools(root: impl Into<PathBuf>) -> Self {
        Self::at(Root::ReadOnly(root.into()))
    }

    fn at(root: Root) -> Self {
        Self {
            root,
            binds: Vec::new(),
            replacements: Vec::new(),
            temporary: Vec::new(),
            emulator: None,
            kernel: None,
            network: false,
            hostname: "localhost".into(),
        }
    }

    /// Shows a file or directory of the host inside, read-only.
    #[must_use]
    pub fn bind(mut self, host: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Self {
        self.binds.push(Bind { host: host.into(), inside: inside.into(), writable: false });
        self
    }

    /// Shows a file or directory of the host inside, to be written to.
    #[must_use]
    pub fn bind_writable(mut self, host: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Self {
        self.binds.push(Bind { host: host.into(), inside: inside.into(), writable: true });
        self
    }

    /// Puts one program of the sandbox in the place of another, if that is there at all.
    #[must_use]
    pub fn replace(mut self, program: impl Into<PathBuf>, substitute: impl Into<PathBuf>) -> Self {
        self.replacements.push((program.into(), substitute.into()));
        self
    }

    /// Puts an empty directory in memory over another, if that is there at all.
    #[must_use]
    pub fn temporary(mut self, directory: impl Into<PathBuf>) -> Self {
        self.temporary.push(directory.into());
        self
    }

    /// Lets programs of another architecture run, too. The sandbox then has a user namespace of its own
    /// in any case, with the users of the caller's.
    #[must_use]
    pub fn emulating(mut self, emulator: Emulator) -> Self {
        self.emulator = Some(emulator);
        self
    }

    /// Tells scripts that ask of a kernel with this release, and not of the one that runs.
    #[must_use]
    pub fn kernel(mut self, release: impl Into<String>) -> Self {
        self.kernel = Some(release.into());
        self
    }

    /// Leaves the command in the host's network.
    #[must_use]
    pub const fn with_network(mut self) -> Self {
        self.network = true;
        self
    }

    /// The host name inside; `localhost` otherwise.
    #[must_use]
    pub fn hostname(mut self, name: impl Into<OsString>) -> Self {
        self.hostname = name.into();
        self
    }

    /// The directory of the host that holds what is at `/`.
    #[must_use]
    pub fn root(&self) -> &Path {
        match &self.root {
            Root::Writable(path) | Root::ReadOnly(path) => path,
        }
    }
}

/// A step on the way to a running command that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{step}: {cause}")]
pub struct SetupError {
    step: String,
    cause: String,
    errno: Option<i32>,
}

impl SetupError {
    fn new(step: impl Into<String>, cause: &io::Error) -> Self {
        Self { step: step.into(), cause: cause.to_string(), errno: cause.raw_os_error() }
    }

    /// The error number of the system call, where one failed.
    #[must_use]
    pub const fn errno(&self) -> Option<i32> {
        self.errno
    }

    pub(crate) fn hint(&self) -> Option<String> {
        if self.step.starts_with("mounting binfmt_misc") {
            return Some(foreign::how_to_allow());
        }
        let privilege = self.step.starts_with("unsharing") && matches!(self.errno, Some(1 | 28));
        privilege.then(user::how_to_allow)
    }
}

/// Names the step that an operation was.
trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, SetupError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, SetupError> {
        self.map_err(|error| SetupError::new(step(), &error.into()))
    }
}
