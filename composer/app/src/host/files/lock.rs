//! Locks between processes, by `flock`: the kernel lets go when the holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::{Class, Classify};

/// A held lock; dropped, it is let go. The file stays: removing it would race with the next holder.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A living process holds it.
    #[error("`{}` is in use{}", path.display(), holder.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who wrote its number into the file last.
        holder: Option<u32>,
    },
    /// The lock file cannot be opened or locked.
    #[error("locking `{}`", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Classify for LockError {
    fn class(&self) -> Class {
        Class::Environment
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Held { .. }).then(|| "wait for it to finish".into())
    }
}

impl Lock {
    /// Takes the lock for us alone, at once or not at all.
    ///
    /// # Errors
    /// `Held` if another process has it, alone or shared.
    pub fn exclusive(path: &Path) -> Result<Self, LockError> {
        let mut file = open(path)?;
        refusal(file.try_lock(), &mut file, path)?;
        let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(|source| LockError::Io { path: path.to_path_buf(), source })?;
        Ok(Self { file })
    }

    /// Takes the lock for us alone, waiting for whoever has it.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked.
    pub fn exclusive_when_free(path: &Path) -> Result<Self, LockError> {
        let file = open(path)?;
        file.lock().map_err(|source| LockError::Io { path: path.to_path_buf(), source })?;
        Ok(Self { file })
    }

    /// Takes a directory for us alone, waiting for whoever has it.
    ///
    /// # Errors
    /// If it cannot be opened or locked.
    pub fn of_directory(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        file.lock().map_err(io)?;
        Ok(Self { file })
    }

    /// Takes the lock together with others who share it.
    ///
    /// # Errors
    /// `Held` if another process has it alone.
    pub fn shared(path: &Path) -> Result<Self, LockError> {
        let mut file = open(path)?;
        refusal(file.try_lock_shared(), &mut file, path)?;
        Ok(Self { file })
    }

    /// Takes the lock together with others, waiting for one who has it alone.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked.
    pub fn shared_when_free(path: &Path) -> Result<Self, LockError> {
        Self { file: open(path)? }.share(path)
    }

    /// Lets others share a lock that was ours alone.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn share(self, path: &Path) -> Result<Self, LockError> {
        self.file.lock_shared().map_err(|source| LockError::Io { path: path.to_path_buf(), source })?;
        Ok(self)
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|source| LockError::Io { path: path.to_path_buf(), source })
}

fn refusal(outcome: Result<(), TryLockError>, file: &mut File, path: &Path) -> Result<(), LockError> {
    let path = path.to_path_buf();
    match outcome {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Only for the message: a holder that cannot be read is a holder all the same.
            let read = file.rewind().and_then(|()| file.take(16).read_to_string(&mut text));
            Err(LockError::Held { path, holder: read.ok().and_then(|_| text.trim().parse().ok()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_a_dropped_one_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        let error = Lock::exclusive(&path).unwrap_err();
        let text = format!("`{}` is in use by process {}", path.display(), std::process::id());
        assert_eq!(error.to_string(), text);
        assert!(Lock::shared(&path).is_err());
        drop(held);
        assert!(Lock::exclusive(&path).is_ok());
    }

    #[test]
    fn the_number_of_a_dead_process_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::fs::write(&path, "4194304000").unwrap();
        assert!(Lock::exclusive(&path).is_ok());
    }

    #[test]
    fn sharers_keep_out_only_who_wants_it_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::exclusive(&path).unwrap().share(&path).unwrap();
        let second = Lock::shared(&path).unwrap();
        assert!(matches!(Lock::exclusive(&path), Err(LockError::Held { .. })));
        drop((first, second));
        assert!(Lock::exclusive(&path).is_ok());
    }
}
