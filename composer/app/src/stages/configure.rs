//! Maintainer scripts run, and the result is read back.
//!
//! Given a directory that dpkg takes for unpacked, the scripts of unpacking run first, then `dpkg
//! --configure --pending`, all in a sandbox without a network. Indexing kernel modules, the slowest
//! single step, runs beside it. What comes out is read into a file tree,
//! scrubbed of what belongs to no image, and every package in it is configured, or there is none.

mod failing;
mod run;
mod scrub;
mod status;

use std::io;
use std::path::{Path, PathBuf};

use goni_disk::tree::{FileTree, Owner, TreeError};
use goni_model::time::Timestamp;

use crate::failure::{Class, Classify};
use crate::host::command::{Run, RunError};
use crate::host::walk::{Directory, WalkError};
use crate::progress::{Progress, Unit};

pub use scrub::{Action, RULES, Rule, Scrubbed, scrub};

/// The stage's name, which owns what maintainer scripts made.
pub const NAME: &str = "configure";

/// A configured system.
#[derive(Debug)]
pub struct Configured {
    /// What the image starts from; contents are read from the same directory.
    pub tree: FileTree,
    /// Where the contents are.
    pub contents: Directory,
    /// What was scrubbed, by rule.
    pub scrubbed: Vec<Scrubbed>,
}

/// Why a system was not configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A maintainer script failed.
    #[error("package `{package}`: its {script} script failed: {said}")]
    Script {
        /// The package.
        package: String,
        /// Such as `postinst`.
        script: String,
        /// The end of its output.
        said: String,
    },
    /// A maintainer script did not end.
    #[error("package `{package}`: its {script} script was still running after {seconds} s: {said}")]
    Hanging {
        /// The package.
        package: String,
        /// Such as `postinst`.
        script: String,
        /// The time that all scripts together had.
        seconds: u64,
        /// The end of its output.
        said: String,
    },
    /// dpkg says that it succeeded, and its database says otherwise.
    #[error("dpkg left packages unconfigured: {}", packages.join(", "))]
    Unconfigured {
        /// Each with its state.
        packages: Vec<String>,
    },
    /// `dpkg --audit` complains.
    #[error("dpkg finds fault with its database: {said}")]
    Audit {
        /// What it says.
        said: String,
    },
    /// The modules of a kernel could not be indexed.
    #[error("indexing the modules of kernel `{kernel}` failed: {said}")]
    Modules {
        /// Its release.
        kernel: String,
        /// What depmod says.
        said: String,
    },
    /// The directory could not be read or written.
    #[error("preparing `{root}`")]
    Io {
        /// The directory.
        root: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program that was put off until all packages were configured failed.
    #[error("`{program}` failed: {said}")]
    Deferred {
        /// The program.
        program: String,
        /// The end of its output.
        said: String,
    },
    /// A command could not be run at all.
    #[error("configuring packages")]
    Run {
        /// The cause.
        #[from]
        source: RunError,
    },
    /// The result could not be read back.
    #[error("reading the configured system")]
    Walk {
        /// The cause.
        #[from]
        source: WalkError,
    },
    /// A scrubbing rule met a tree that it cannot change.
    #[error("scrubbing the configured system")]
    Scrub {
        /// The cause.
        #[from]
        source: TreeError,
    },
}

impl Classify for ConfigureError {
    fn class(&self) -> Class {
        match self {
            Self::Script { .. }
            | Self::Hanging { .. }
            | Self::Unconfigured { .. }
            | Self::Audit { .. }
            | Self::Modules { .. }
            | Self::Deferred { .. }
            | Self::Scrub { .. } => Class::Content,
            Self::Io { .. } => Class::Environment,
            Self::Run { source } => source.class(),
            Self::Walk { source } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Run { source } => source.hint(),
            _ => None,
        }
    }
}

/// Configures what was unpacked below `root` and reads the result.
///
/// A path that was unpacked keeps its owner as long as it is of the same kind; what is new belongs
/// to this stage.
///
/// # Errors
/// [`ConfigureError`].
pub fn configure(
    root: &Path,
    unpacked: &FileTree,
    source_date: Timestamp,
    runner: &dyn Run,
    progress: &dyn Progress,
) -> Result<Configured, ConfigureError> {
    let failed = |source| ConfigureError::Io { root: root.to_owned(), source };
    let contents = Directory::open(root).map_err(failed)?;
    let packages = status::count(&contents.read(status::PATH).map_err(failed)?);
    progress.begin(NAME, Some(packages), Unit::Packages);
    run::scripts(&contents, source_date, runner, progress)?;
    let unfinished = status::unfinished(&contents.read(status::PATH).map_err(failed)?);
    if !unfinished.is_empty() {
        return Err(ConfigureError::Unconfigured { packages: unfinished });
    }
    let stage = Owner::Stage(NAME.into());
    let mut tree = contents.walk(&|path, inode| {
        let same = unpacked.get(path).is_some_and(|before| before.kind.type_bits() == inode.kind.type_bits());
        let entry = unpacked.entry(path).filter(|_| same);
        entry.map_or_else(|| stage.clone(), |entry| entry.owner.clone())
    })?;
    let scrubbed = scrub(&mut tree, &contents, source_date).map_err(|error| match error {
        scrub::ScrubError::Tree { source } => ConfigureError::Scrub { source },
        scrub::ScrubError::Read { source } => failed(source),
    })?;
    progress.end(NAME, &format!("{packages} packages, {} paths", tree.iter().count()));
    Ok(Configured { tree, contents, scrubbed })
}
