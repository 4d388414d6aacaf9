//! Debian tools that the program brings for itself: QEMU, firmware, file system judges, dpkg.
//!
//! Which packages they are is fixed in `composer/app/toolbox.lock`, so the same commit runs the same
//! tools on every machine, as long as the archive has them; then newer ones, as well signed, come in
//! their place and are reported. A tool of the host is never used instead. They are unpacked once,
//! without maintainer scripts, into `<cache>/toolbox/<digest>/root`, and run in a sandbox that shows
//! them read-only. What their scripts would have made and the tools need is made here instead: the
//! merged `/usr`, users, a resolver configuration. No library cache: Debian's loader knows the
//! multiarch directory by itself.
//!
//! The wanted packages stand in the lock itself, under `request.packages`, the rest is their closure:
//! it is refreshed by resolving that request again.

mod unpack;

use std::path::{Path, PathBuf};

use goni_model::digest::Sha256Digest;
use goni_model::lock::{Lock, LockedPackage, ParseLockError};

use crate::failure::{Class, Classify};
use crate::host::command::CommandSpec;
use crate::host::files::lock::{Lock as FileLock, LockError};
use crate::host::files::{self, FileError};
use crate::host::sandbox::Sandbox;
use crate::progress::Progress;

pub use self::unpack::UnpackError;

/// The packages, by version and digest.
const LOCK: &str = include_str!("../../toolbox.lock");

/// Changes when what is made of the same packages changes.
const LAYOUT: &str = "goni-compose toolbox 1\n";

/// Where programs are, as seen inside; the first that has one wins.
const PROGRAM_DIRECTORIES: [&str; 2] = ["usr/bin", "usr/sbin"];

/// Unpacked tools, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolbox {
    root: PathBuf,
}

/// Why there are no tools, or not this one.
#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    /// The list of packages is not one: a mistake in the repository.
    #[error("reading the toolbox's lock")]
    Lock(#[from] ParseLockError),
    /// A package cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A file of the cache cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lock of the cache cannot be had.
    #[error(transparent)]
    Busy(#[from] LockError),
    /// No package of the toolbox has this program: a mistake in the repository.
    #[error("the toolbox has no program `{0}`")]
    NoProgram(String),
}

impl Classify for ToolboxError {
    fn class(&self) -> Class {
        match self {
            Self::Lock(_) | Self::NoProgram(_) => Class::Bug,
            Self::Unpack(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Busy(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(_) | Self::NoProgram(_) => None,
            Self::Unpack(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Busy(error) => error.hint(),
        }
    }
}

/// The digest of the lock of the toolbox.
#[must_use]
pub fn digest() -> Sha256Digest {
    Sha256Digest::of(LOCK.as_bytes())
}

/// The lock of the toolbox: what was asked, and the packages that answer.
///
/// # Errors
/// `Lock` if the text that was compiled in is damaged.
pub fn lock() -> Result<Lock, ToolboxError> {
    Ok(LOCK.parse()?)
}

/// The digest of that lock, as the locks of recipes pin it.
#[must_use]
pub fn lock_digest() -> Sha256Digest {
    Sha256Digest::of(LOCK.as_bytes())
}

impl Toolbox {
    /// The tools, if they are unpacked in this cache already.
    #[must_use]
    pub fn find(cache: &Path) -> Option<Self> {
        let root = home(cache).join("root");
        root.is_dir().then_some(Self { root })
    }

    /// Unpacks the tools from the files of their packages, or finds them unpacked by another process.
    ///
    /// # Errors
    /// [`ToolboxError`]; nothing half unpacked is ever found.
    pub fn unpack(
        cache: &Path,
        packages: &[(LockedPackage, PathBuf)],
        progress: &dyn Progress,
    ) -> Result<Self, ToolboxError> {
        let all = cache.join("toolbox");
        files::create_directories(&all)?;
        let _alone = FileLock::exclusive_when_free(&all.join("lock"))?;
        if let Some(found) = Self::find(cache) {
            return Ok(found);
        }
        // Whoever holds the lock alone owns every unfinished directory.
        for left in files::list(&all, &[".unfinished"])? {
            files::remove_tree(&left)?;
        }
        let finished = home(cache);
        let unfinished = finished.with_extension("unfinished");
        unpack::unpack(&unfinished.join("root"), packages, progress)?;
        files::flush_filesystem(&unfinished)?;
        files::rename(&unfinished, &finished)?;
        files::flush_directory(&all)?;
        Ok(Self { root: finished.join("root") })
    }

    /// The directory with the tools' `usr` and `etc`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A sandbox that shows the tools and nothing of the host.
    #[must_use]
    pub fn sandbox(&self) -> Sandbox {
        Sandbox::with_tools(&self.root)
    }

    /// A tool in a sandbox that shows nothing of the host.
    ///
    /// # Errors
    /// `NoProgram` if the toolbox does not have it.
    pub fn command(&self, program: &str) -> Result<CommandSpec, ToolboxError> {
        self.command_in(program, self.sandbox())
    }

    /// A tool in a sandbox, usually [`Toolbox::sandbox`] with what the tool works on bound into it.
    ///
    /// # Errors
    /// `NoProgram` if the toolbox does not have it.
    pub fn command_in(&self, program: &str, sandbox: Sandbox) -> Result<CommandSpec, ToolboxError> {
        let path = PROGRAM_DIRECTORIES
            .into_iter()
            .map(|directory| Path::new(directory).join(program))
            .find(|path| self.root.join(path).symlink_metadata().is_ok())
            .ok_or_else(|| ToolboxError::NoProgram(program.into()))?;
        Ok(CommandSpec::new(Path::new("/").join(path))
            .env("PATH", "/usr/bin:/usr/sbin")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC0")
            .env("HOME", "/")
            .inside(sandbox))
    }
}

/// The directory of these packages in this layout.
fn home(cache: &Path) -> PathBuf {
    cache.join("toolbox").join(Sha256Digest::of(&[LAYOUT.as_bytes(), LOCK.as_bytes()].concat()).to_string())
}

#[cfg(test)]
mod tests;
