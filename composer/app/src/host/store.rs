//! Bytes by their SHA-256: `<cache>/store/sha256/ab/abcdef…`.
//!
//! Nothing has its final name before its digest was computed by us and found right; what is found
//! wrong later is removed and fetched again. Entries are verified on reading, once per process:
//! that is what makes flushing each of them needless, for a power cut can only leave an entry that
//! the next reader finds wrong. Unfinished files live in `<cache>/store/unfinished` and go with
//! their writer; what a killed writer leaves is swept when the store is next opened by one alone.
//! Finding an entry renews its time, so that what was used lately is known.

pub mod bundle;
mod incoming;
mod tarball;
mod upkeep;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use goni_model::digest::Sha256Digest;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest as _, Sha256};

pub use self::incoming::Incoming;
pub use self::tarball::TarError;
pub use self::upkeep::{Freed, Inspection};
use crate::failure::{Class, Classify};
use crate::host::files::lock::{Lock, LockError};
use crate::host::files::{self, FileError};
use crate::progress::Progress;

/// A directory of bytes by digest, shared by concurrent builds.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    verified: Mutex<BTreeSet<Sha256Digest>>,
    /// Held shared for as long as the store is open: who holds it alone may sweep.
    _lock: Lock,
}

/// What is wrong with the store, or with what should go into it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bytes are not the ones asked for.
    #[error("expected the SHA-256 {expected}, found {found} ({bytes} bytes)")]
    WrongDigest {
        /// The digest asked for.
        expected: Sha256Digest,
        /// The digest of the bytes.
        found: Sha256Digest,
        /// How many bytes there are.
        bytes: u64,
    },
    /// The cache belongs to somebody else, or anybody can write to it.
    #[error("the cache `{}` is not ours alone: {reason}", path.display())]
    Insecure {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the store cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lock of the store cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Classify for StoreError {
    fn class(&self) -> Class {
        match self {
            Self::WrongDigest { .. } => Class::Trust,
            Self::Insecure { .. } => Class::Environment,
            Self::File(error) => error.class(),
            Self::Lock(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::WrongDigest { .. } => None,
            Self::Insecure { .. } => Some("name another directory with --cache".into()),
            Self::File(error) => error.hint(),
            Self::Lock(error) => error.hint(),
        }
    }
}

impl Store {
    /// Opens the store of a cache directory, making both if they are not there.
    ///
    /// # Errors
    /// `Insecure` if somebody else owns the cache or can write to it; otherwise what the system says.
    pub fn open(cache: &Path) -> Result<Self, StoreError> {
        let (root, path) = prepare(cache)?;
        let lock = match Lock::exclusive(&path) {
            Ok(alone) => {
                sweep(&root.join("unfinished"))?;
                alone.share(&path)?
            }
            Err(LockError::Held { .. }) => Lock::shared_when_free(&path)?,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { root, verified: Mutex::default(), _lock: lock })
    }

    /// Opens the store if nobody else has it open, and keeps everybody out.
    ///
    /// # Errors
    /// As [`Store::open`]; and if another process, such as a build, has it open.
    pub fn alone(cache: &Path) -> Result<Self, StoreError> {
        let (root, path) = prepare(cache)?;
        let lock = Lock::exclusive(&path)?;
        sweep(&root.join("unfinished"))?;
        Ok(Self { root, verified: Mutex::default(), _lock: lock })
    }

    /// Where the bytes of a digest are, if they are in the store.
    #[must_use]
    pub fn path(&self, digest: &Sha256Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("sha256").join(&name[..2]).join(name)
    }

    /// The file of a digest, if it is in the store and its bytes are right.
    ///
    /// An entry that went bad is removed and reported, and counts as absent.
    ///
    /// # Errors
    /// If an entry can neither be read nor removed.
    pub fn lookup(
        &self,
        digest: &Sha256Digest,
        progress: &dyn Progress,
    ) -> Result<Option<PathBuf>, StoreError> {
        let path = self.path(digest);
        if self.is_verified(digest) && path.exists() {
            return Ok(Some(path));
        }
        let found = match open_entry(&path) {
            Ok(file) => renewed(file).and_then(digest_of).map_err(FileError::io("reading", &path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::io("opening", &path)(error).into()),
        };
        if found == *digest {
            self.mark_verified(*digest);
            return Ok(Some(path));
        }
        progress.warn(&format!("removed a damaged entry of the cache: `{}`", path.display()));
        fs::remove_file(&path).map_err(FileError::io("removing", &path))?;
        Ok(None)
    }

    /// Every entry that begins with certain bytes, sorted by digest. Nothing of it is verified.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn entries_beginning(&self, bytes: &[u8]) -> Result<Vec<(Sha256Digest, PathBuf)>, StoreError> {
        let mut found = Vec::new();
        for (digest, path) in self.entries()? {
            let mut head = vec![0; bytes.len()];
            let mut file = File::open(&path).map_err(FileError::io("opening", &path))?;
            if file.read_exact(&mut head).is_ok() && head == bytes {
                found.push((digest, path));
            }
        }
        Ok(found)
    }

    /// Every entry by its name, sorted.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn entries(&self) -> Result<Vec<(Sha256Digest, PathBuf)>, StoreError> {
        let root = self.root.join("sha256");
        let mut found = Vec::new();
        for folder in files::names(&root)? {
            for name in files::names(&root.join(&folder))? {
                if let Some(digest) = name.parse::<Sha256Digest>().ok().filter(|_| name.starts_with(&folder))
                {
                    found.push((digest, root.join(&folder).join(name)));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Begins to take in bytes whose digest is not yet known or not yet checked.
    ///
    /// # Errors
    /// If the unfinished file cannot be made.
    pub fn incoming(&self) -> Result<Incoming<'_>, StoreError> {
        Incoming::create(self)
    }

    /// Takes in bytes that are in memory; returns their digest and file.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn insert(&self, bytes: &[u8]) -> Result<(Sha256Digest, PathBuf), StoreError> {
        let mut incoming = self.incoming()?;
        io::Write::write_all(&mut incoming, bytes).map_err(FileError::io("writing to", &self.root))?;
        incoming.commit()
    }

    fn is_verified(&self, digest: &Sha256Digest) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn mark_verified(&self, digest: Sha256Digest) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }
}

/// Makes the directories of a cache's store; returns its root and its lock file.
fn prepare(cache: &Path) -> Result<(PathBuf, PathBuf), StoreError> {
    let root = cache.join("store");
    files::create_directories(&root.join("sha256"))?;
    files::create_directories(&root.join("unfinished"))?;
    for directory in [cache, &root, &root.join("sha256"), &root.join("unfinished")] {
        check_ownership(directory)?;
    }
    let path = root.join("lock");
    Ok((root, path))
}

/// Opens an entry. A link would let somebody else choose what is read: the store itself makes only files.
fn open_entry(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(no_follow()).open(path)
}

/// The same file, its time that of this use.
fn renewed(file: File) -> io::Result<File> {
    let moment = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: moment(UTIME_OMIT), last_modification: moment(UTIME_NOW) };
    // In a store that cannot be written to nothing is collected either, so no time is needed there.
    match rustix::fs::futimens(&file, &times) {
        Ok(()) | Err(rustix::io::Errno::ROFS | rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// The digest of all that is left in a file.
fn digest_of(mut file: File) -> io::Result<Sha256Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Sha256Digest::finish(hasher)),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Refuses a directory whose content somebody else decides.
fn check_ownership(directory: &Path) -> Result<(), StoreError> {
    let insecure = |reason: String| StoreError::Insecure { path: directory.to_path_buf(), reason };
    let us = rustix::process::geteuid().as_raw();
    let link = fs::symlink_metadata(directory).map_err(FileError::io("inspecting", directory))?;
    let metadata = fs::metadata(directory).map_err(FileError::io("inspecting", directory))?;
    if let Some(other) = [link.uid(), metadata.uid()].into_iter().find(|uid| *uid != us) {
        return Err(insecure(format!("user {other} owns it, and we are user {us}")));
    }
    if metadata.mode() & 0o002 != 0 {
        return Err(insecure("everybody can write to it".into()));
    }
    Ok(())
}

/// Removes what writers that were killed left behind.
fn sweep(directory: &Path) -> Result<(), FileError> {
    for path in files::list(directory, &[""])? {
        fs::remove_file(&path).map_err(FileError::io("removing", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
