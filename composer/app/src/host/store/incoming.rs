//! Bytes on their way into the store: hashed while they are written, named when they are right.

use std::fmt;
use std::fs::Permissions;
use std::io::{self, Seek as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use goni_model::digest::Sha256Digest;
use goni_model::number::to_u64;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::{Store, StoreError};
use crate::host::files::{self, FileError};

/// An unfinished entry. Dropped before it is committed, it leaves nothing.
pub struct Incoming<'store> {
    store: &'store Store,
    file: NamedTempFile,
    hasher: Sha256,
    length: u64,
}

impl<'store> Incoming<'store> {
    pub(super) fn create(store: &'store Store) -> Result<Self, StoreError> {
        let directory = store.unfinished();
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&directory)
            .map_err(FileError::io("creating a file in", &directory))?;
        Ok(Self { store, file, hasher: Sha256::new(), length: 0 })
    }

    /// How many bytes there are so far.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Forgets all bytes so far, to begin anew.
    ///
    /// # Errors
    /// If the file cannot be emptied.
    pub fn restart(&mut self) -> io::Result<()> {
        let file = self.file.as_file_mut();
        file.set_len(0)?;
        file.rewind()?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Names the bytes by their digest.
    ///
    /// # Errors
    /// If the file cannot be given its name.
    pub fn commit(self) -> Result<(Sha256Digest, PathBuf), StoreError> {
        let digest = Sha256Digest::finish(self.hasher);
        let path = self.store.path(&digest);
        files::create_directories(files::parent(&path))?;
        let mode = Permissions::from_mode(0o444);
        self.file.as_file().set_permissions(mode).map_err(FileError::io("finishing", &path))?;
        self.file.persist(&path).map_err(|error| FileError::io("renaming into", &path)(error.error))?;
        self.store.mark_verified(digest);
        Ok((digest, path))
    }

    /// Closes the file and keeps it unfinished, if its digest is the expected one: it gets its name when all
    /// of those that belong to it are there.
    ///
    /// # Errors
    /// `WrongDigest` if it is another, and then the bytes are gone.
    pub(super) fn stage(self, expected: &Sha256Digest) -> Result<Staged<'store>, StoreError> {
        let found = Sha256Digest::finish(self.hasher);
        if found != *expected {
            return Err(StoreError::WrongDigest { expected: *expected, found, bytes: self.length });
        }
        Ok(Staged { store: self.store, digest: found, file: self.file.into_temp_path() })
    }

    /// Names the bytes by their digest, if it is the expected one.
    ///
    /// # Errors
    /// `WrongDigest` if it is another, and then the bytes are gone.
    pub fn commit_as(self, expected: &Sha256Digest) -> Result<PathBuf, StoreError> {
        let found = Sha256Digest::finish(self.hasher.clone());
        if found != *expected {
            return Err(StoreError::WrongDigest { expected: *expected, found, bytes: self.length });
        }
        Ok(self.commit()?.1)
    }
}

/// Bytes that are right and have no name yet. Dropped, they are gone.
#[derive(Debug)]
pub(super) struct Staged<'store> {
    store: &'store Store,
    digest: Sha256Digest,
    file: TempPath,
}

impl Staged<'_> {
    /// Their digest.
    pub(super) const fn digest(&self) -> &Sha256Digest {
        &self.digest
    }

    /// Where they are for now.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.file
    }

    /// Names the bytes; says whether the store did not have them.
    pub(super) fn commit(self) -> Result<bool, StoreError> {
        let path = self.store.path(&self.digest);
        let new = files::size(&path).is_none();
        files::create_directories(files::parent(&path))?;
        let mode = Permissions::from_mode(0o444);
        std::fs::set_permissions(&self.file, mode).map_err(FileError::io("finishing", &path))?;
        self.file.persist(&path).map_err(|error| FileError::io("renaming into", &path)(error.error))?;
        self.store.mark_verified(self.digest);
        Ok(new)
    }
}

impl Write for Incoming<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length = self.length.saturating_add(to_u64(count));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("file", &self.file)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
