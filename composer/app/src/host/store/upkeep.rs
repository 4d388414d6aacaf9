//! The store is looked through: what went bad, and what nobody needs any more.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use goni_model::digest::Sha256Digest;
use goni_model::time::Timestamp;
use rayon::prelude::*;

use super::{Store, StoreError, digest_of, open_entry};
use crate::host::files::{self, FileError};

/// What looking at every entry found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// How many entries there are.
    pub entries: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Those whose bytes are others than their name says, or cannot be read.
    pub broken: Vec<PathBuf>,
    /// Files that have no business in the store.
    pub strangers: Vec<PathBuf>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many entries went.
    pub entries: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many stay.
    pub kept: usize,
}

impl Store {
    /// Compares every entry with its name. Nothing is changed.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub fn inspect(&self) -> Result<Inspection, StoreError> {
        let entries = self.entries()?;
        let sound = |(digest, path): &(Sha256Digest, PathBuf)| {
            // What cannot even be read is as good as wrong: it is named, and can be dropped.
            let found = open_entry(path).ok().and_then(|file| digest_of(file).ok());
            (found != Some(*digest)).then(|| path.clone())
        };
        let broken = entries.par_iter().filter_map(sound).collect();
        let bytes = entries.iter().filter_map(|(_, path)| files::size(path)).fold(0, u64::saturating_add);
        let known: BTreeSet<&PathBuf> = entries.iter().map(|(_, path)| path).collect();
        let mut strangers = Vec::new();
        for folder in files::names(&self.root.join("sha256"))? {
            let folder = self.root.join("sha256").join(folder);
            if files::size(&folder).is_some() {
                strangers.push(folder);
                continue;
            }
            let paths = files::names(&folder)?.into_iter().map(|name| folder.join(name));
            strangers.extend(paths.filter(|path| !known.contains(path)));
        }
        Ok(Inspection { entries: entries.len(), bytes, broken, strangers })
    }

    /// Removes files that an inspection named.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn drop_files(&self, paths: &[PathBuf]) -> Result<(), StoreError> {
        Ok(paths.iter().try_for_each(|path| files::remove_file(path))?)
    }

    /// Removes every entry that nobody keeps and that was not used since a moment.
    ///
    /// The store must be [open alone](Self::alone): what another process has just found must not vanish. With
    /// `only_tell` nothing is removed.
    ///
    /// # Errors
    /// If an entry can be neither inspected nor removed.
    pub fn collect(
        &self,
        kept: &BTreeSet<Sha256Digest>,
        since: Timestamp,
        only_tell: bool,
    ) -> Result<Freed, StoreError> {
        let mut freed = Freed::default();
        for (digest, path) in self.entries()? {
            let metadata = fs::symlink_metadata(&path).map_err(FileError::io("inspecting", &path))?;
            if kept.contains(&digest) || metadata.mtime() >= since.seconds {
                freed.kept = freed.kept.saturating_add(1);
                continue;
            }
            if !only_tell {
                files::remove_file(&path)?;
            }
            freed.entries = freed.entries.saturating_add(1);
            freed.bytes = freed.bytes.saturating_add(metadata.len());
        }
        Ok(freed)
    }
}
