//! File contents on their way to their places, under names that no package chose.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use goni_model::number::to_u64;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, CWD, Mode, OFlags};

use super::{DIRECTORY, PlantError};

/// A directory of blobs, entered by nobody else. Shared by threads.
#[derive(Debug)]
pub struct Blobs {
    handle: OwnedFd,
    path: PathBuf,
}

/// Why a blob was not written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Its bytes could not be read.
    #[error("reading")]
    Read(#[source] io::Error),
    /// Its bytes could not be written.
    #[error("writing")]
    Write(#[source] io::Error),
}

impl Blobs {
    /// Makes the directory, which must not exist.
    ///
    /// # Errors
    /// `Directory` if it exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self, PlantError> {
        let error = |source: rustix::io::Errno| PlantError::Directory {
            path: path.to_owned(),
            source: source.into(),
        };
        fs::mkdirat(CWD, path, Mode::RWXU).map_err(error)?;
        let handle = fs::openat(CWD, path, DIRECTORY, Mode::empty()).map_err(error)?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Writes a blob that is not there yet, and counts its bytes.
    ///
    /// # Errors
    /// [`BlobError`], which tells the input's failures from the disk's.
    pub fn write(&self, name: &str, input: &mut dyn Read) -> Result<u64, BlobError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|error| BlobError::Write(error.into()))?);
        let mut buffer = [0; 1 << 16];
        let mut written = 0_u64;
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(written),
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(BlobError::Write)?;
                    written = written.saturating_add(to_u64(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BlobError::Read(error)),
            }
        }
    }

    /// The directory.
    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Removes the directory and the blobs that were left.
    ///
    /// # Errors
    /// `Directory` if that does not succeed.
    pub fn remove(self) -> Result<(), PlantError> {
        std::fs::remove_dir_all(&self.path)
            .map_err(|source| PlantError::Directory { path: self.path, source })
    }
}

/// Opens a package that the store holds.
///
/// # Errors
/// What opening raises.
pub fn open_package(path: &Path) -> io::Result<File> {
    File::open(path)
}
