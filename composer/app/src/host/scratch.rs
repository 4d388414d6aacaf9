//! Scratch directories: gone with whoever made them, unless kept.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::host::files::{self, FileError};

/// A directory that is removed, with all below it, when this value is dropped.
#[derive(Debug)]
pub struct Scratch(Option<TempDir>);

impl Scratch {
    /// Makes a scratch directory in another, hidden, with a name that begins as `name` says.
    ///
    /// # Errors
    /// What making it raises.
    pub fn create(parent: &Path, name: &str) -> Result<Self, FileError> {
        let made = tempfile::Builder::new().prefix(&format!(".{name}.")).tempdir_in(parent);
        Ok(Self(Some(made.map_err(FileError::io("making a scratch directory in", parent))?)))
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: it is there until it is dropped or kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.as_ref().expect("there until dropped or kept").path()
    }

    /// Lets it stay, or what was renamed from it.
    #[must_use = "where it was"]
    pub fn keep(mut self) -> PathBuf {
        self.0.take().expect("there until dropped or kept").keep()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(directory) = self.0.take() {
            // Removed here rather than by TempDir: without following links or crossing mounts. What
            // cannot be removed stays, hidden, and the next build passes it by.
            let path = directory.keep();
            drop(files::remove_tree(&path));
        }
    }
}
