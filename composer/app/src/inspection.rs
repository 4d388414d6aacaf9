//! What an image is made of, as one value: read once, shown by `inspect`, compared by `diff`.
//!
//! A value and its forms alone. How it is read out of an image: [`crate::verify::reading`]. Everything in it
//! is sorted, and nothing depends on where or when it was read, so equal images give equal values.

mod markdown;
mod sizes;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use std::collections::BTreeMap;

use goni_disk::verity::RootHash;
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::layout::Role;
use serde::{Serialize, Serializer};
use uuid::Uuid;

pub use markdown::markdown;
pub(crate) use markdown::{cell, details, table};
pub(crate) use sizes::{change, shown};
pub use text::text;

/// The form of the JSON value: it counts up when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Inspection {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How the disk is kept: `raw` or `qcow2`.
    pub format: &'static str,
    /// What it runs on.
    pub arch: Option<Arch>,
    /// The board it is for, as the image says.
    pub target: Option<String>,
    /// What the system calls itself.
    pub system: Option<String>,
    /// The size of the disk.
    pub disk_size: u64,
    /// The bytes of a sector, by the partition table.
    pub sector_size: u64,
    /// The disk's own identifier.
    pub disk_guid: Uuid,
    /// The partitions, in the order of their numbers.
    pub partitions: Vec<Partition>,
    /// What boots.
    pub boot: Boot,
    /// What the tree of the root comes to.
    pub tree: Tree,
    /// The packages, sorted by name and architecture.
    pub packages: Vec<Package>,
    /// Units that the image has, sorted by name.
    pub units: Vec<Unit>,
    /// Users, sorted by name.
    pub users: Vec<User>,
    /// Groups, sorted by name.
    pub groups: Vec<Group>,
    /// Files that lend their rights to who starts them, sorted by path.
    pub privileged: Vec<Privileged>,
    /// What the packages say of their licences.
    pub licences: Licences,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its number in the table, from one.
    pub number: u32,
    /// What it is for, if its type is one of ours.
    pub role: Option<Role>,
    /// Its label.
    pub label: String,
    /// Its type.
    pub type_guid: Uuid,
    /// Its PARTUUID.
    pub guid: Uuid,
    /// Its first byte.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// Whether the MBR names it, too, for firmware that reads no GPT.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_mbr: bool,
    /// What is in it, if it was read.
    pub content: Option<FileSystem>,
}

impl Partition {
    /// What it is called: by its role, or else by its label.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.role {
            Some(role) => role.name(),
            None => &self.label,
        }
    }
}

/// A file system, or what stands in the place of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// `erofs`, `ext4`, `vfat`, `verity`.
    pub kind: &'static str,
    /// Its label.
    pub label: Option<String>,
    /// Its own identifier, as the file system writes it.
    pub uuid: Option<String>,
    /// Bytes of it that are taken.
    pub used: u64,
}

/// What boots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Boot {
    /// The boot method.
    pub method: &'static str,
    /// The kernel, or what carries it, as a path on its partition.
    pub kernel_image: Option<String>,
    /// The kernel's release.
    pub kernel_release: Option<String>,
    /// The hash at the top of the root's hash tree.
    #[serde(serialize_with = "maybe_text")]
    pub root_hash: Option<RootHash>,
    /// The ways to boot, the default first.
    pub profiles: Vec<Profile>,
    /// The sections of the kernel image, in their order.
    pub sections: Vec<Section>,
    /// Files of the partitions that are booted from, sorted.
    pub files: Vec<BootFile>,
}

/// A way to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// What it is called.
    pub id: String,
    /// What the menu calls it, if not as the system.
    pub title: Option<String>,
    /// The kernel's command line.
    pub command_line: String,
}

/// A section of a kernel image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The profile that it belongs to; `None`: all of them.
    pub profile: Option<String>,
    /// Its name: `.linux`.
    pub name: String,
    /// Its size.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
}

/// A file that is not on the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootFile {
    /// The partition it is on.
    pub partition: Role,
    /// Its path there.
    pub path: String,
    /// Its size.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
}

/// What a tree comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tree {
    /// Regular files, each name counted.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of files before compression, each counted once whatever its names.
    pub size: u64,
    /// Files that no package lists.
    pub unlisted_files: u64,
    /// Their bytes.
    pub unlisted_size: u64,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// What it is built for, or `all`.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// What it says it takes, in bytes.
    pub installed_size: u64,
    /// What its files in the image really take, before compression.
    pub size: u64,
    /// How many files of it are there.
    pub files: u64,
}

/// A unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Whether and how it is started.
    pub state: UnitState,
    /// The units that start it, by the links of directories `.wants` and `.requires`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted_by: Vec<String>,
}

/// As `systemctl is-enabled` calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitState {
    /// Another name of a unit.
    Alias,
    /// It could be enabled, and is not.
    Disabled,
    /// Something starts it.
    Enabled,
    /// It has another unit enabled in its place.
    Indirect,
    /// It cannot be started.
    Masked,
    /// It cannot be enabled: others start it if they need it.
    Static,
}

impl UnitState {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alias => "alias",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Indirect => "indirect",
            Self::Masked => "masked",
            Self::Static => "static",
        }
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// Its directory.
    pub home: String,
    /// What it logs in with.
    pub shell: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// Its members, in the order of the file.
    pub members: Vec<String>,
}

/// A file that lends its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Privileged {
    /// Where it is.
    pub path: String,
    /// Permission and set-id bits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Whether it has capabilities.
    pub capabilities: bool,
}

/// What the packages say of their licences.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Licences {
    /// The packages of each licence that a machine-readable file names.
    pub named: BTreeMap<String, Vec<String>>,
    /// Packages whose file is prose, or names no licence: theirs are not known.
    pub prose: Vec<String>,
    /// Packages without a file in the image: theirs are not known, either.
    pub missing: Vec<String>,
}

fn maybe_text<S: Serializer>(
    value: &Option<impl std::fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Modes are read by people, who know them in octal digits.
pub(crate) fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

/// The value as JSON.
#[must_use]
pub fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("names, texts and numbers have a form in JSON");
    text.push('\n');
    text
}
