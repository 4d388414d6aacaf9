//! The files of a project, on disk. Reads only, and only regular files.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use goni_model::number::to_u64;

use crate::project::Files;

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProjectFiles;

impl Files for ProjectFiles {
    fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn here(&self) -> io::Result<PathBuf> {
        std::env::current_dir()?.canonicalize()
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        // A pipe must not make the program wait: opened without blocking, then refused by kind.
        let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
        let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(to_u64(limit).saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            let message = format!("more than {limit} bytes, which no file of a project has");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    }

    fn names(&self, folder: &Path) -> io::Result<BTreeSet<String>> {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }
}
