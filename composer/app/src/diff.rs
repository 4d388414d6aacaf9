//! What differs between two images: a function of what was read of each.
//!
//! Nothing is read here; [`crate::verify::reading::sides`] does that. Equal images give an empty
//! [`Difference`]. Times of files are not compared: every image has those of its lock.

mod files;
mod lists;
mod markdown;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use goni_model::digest::Sha256Digest;
use goni_model::layout::Role;
use serde::Serialize;

use crate::inspection::{Inspection, octal};

pub use files::FileChange;
pub use lists::{Change, Direction, PackageChange, SizeChange, WordChange};
pub use markdown::markdown;
pub use text::text;

/// The form of the JSON value: it counts up when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What was read of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    /// What it is made of.
    pub inspection: Inspection,
    /// Every entry of its root by its path.
    pub entries: BTreeMap<String, Entry>,
    /// The partitions that hold the same bytes in both images.
    pub same: BTreeSet<Role>,
}

/// An entry of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
    /// Permission, set-id and sticky bits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its extended attributes, bytes that are no text escaped.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// The package that lists it.
    pub package: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its size.
        size: u64,
        /// The digest of its bytes, where it was worth taking.
        sha256: Option<Sha256Digest>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, bytes that are no text escaped.
        target: String,
    },
    /// A device, pipe or socket.
    Special {
        /// Major and minor number of a device.
        device: Option<(u32, u32)>,
    },
}

/// What differs between two images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whether the disks are the same, byte for byte; everything else is empty then.
    pub same_bytes: bool,
    /// What the images are called and are for.
    pub image: Vec<Change>,
    /// Partitions: place, size, identifier, file system, bytes.
    pub partitions: Vec<Change>,
    /// Kernel release, root hash, sections of the kernel image, files that are booted from.
    pub boot: Vec<Change>,
    /// Words of the command lines.
    pub command_lines: Vec<WordChange>,
    /// Packages that were added, removed, or have another version.
    pub packages: Vec<PackageChange>,
    /// Units.
    pub units: Vec<Change>,
    /// Users.
    pub users: Vec<Change>,
    /// Groups.
    pub groups: Vec<Change>,
    /// Files that lend their rights.
    pub privileged: Vec<Change>,
    /// Licences that packages name.
    pub licences: Vec<Change>,
    /// What the files of packages take, and what no package lists; only what changed, most first.
    pub sizes: Vec<SizeChange>,
    /// Entries of the root, sorted by path.
    pub files: Vec<FileChange>,
}

impl Difference {
    /// What two images of the same bytes come to.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            schema: SCHEMA,
            same_bytes: true,
            image: Vec::new(),
            partitions: Vec::new(),
            boot: Vec::new(),
            command_lines: Vec::new(),
            packages: Vec::new(),
            units: Vec::new(),
            users: Vec::new(),
            groups: Vec::new(),
            privileged: Vec::new(),
            licences: Vec::new(),
            sizes: Vec::new(),
            files: Vec::new(),
        }
    }

    /// What differs between two images whose bytes differ.
    #[must_use]
    pub fn between(before: &Side, after: &Side) -> Self {
        let (one, two) = (&before.inspection, &after.inspection);
        Self {
            schema: SCHEMA,
            same_bytes: false,
            image: lists::image(one, two),
            partitions: lists::partitions(one, two, &after.same),
            boot: lists::boot(one, two),
            command_lines: lists::command_lines(one, two),
            packages: lists::packages(one, two),
            units: lists::units(one, two),
            users: lists::users(one, two),
            groups: lists::groups(one, two),
            privileged: lists::privileged(one, two),
            licences: lists::licences(one, two),
            sizes: lists::sizes(one, two),
            files: files::between(&before.entries, &after.entries),
        }
    }
}
