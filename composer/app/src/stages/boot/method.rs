//! What a boot method is: partitions of its own, and what is on them. One module each.

use std::collections::BTreeMap;

use goni_disk::tree::{Content, FileTree, Inode, Kind, Metadata, Owner, TreeError, TreePath};
use goni_disk::uki::Label;
use goni_model::layout::Role;
use goni_model::recipe::Recipe;
use goni_model::size::ByteCount;
use goni_model::target::{BootMethod, Target};
use goni_model::time::Timestamp;

use super::{BootError, Kernel, extlinux, raspberry_pi, systemd_boot};
use crate::stages::initrd::Stock;

/// Files of the root that a method takes beside kernel and initrd, each by a name of the method's own.
pub(super) type Taken = BTreeMap<String, Vec<u8>>;

/// A file system in the making, and the partition it is for.
pub(crate) type BootPartition = (Role, FileTree);

/// How a board comes from its firmware to the kernel.
pub(crate) trait Method: Sync {
    /// The partitions that are there for it, in the order of the disk, and how large they are.
    fn partitions(&self, recipe: &Recipe) -> Vec<(Role, ByteCount)>;

    /// The partition that the MBR names as well, for firmware that reads no GPT.
    fn in_mbr(&self) -> Option<Role> {
        None
    }

    /// Where the kernel is, on the partition that holds it.
    fn kernel(&self, recipe: &Recipe, release: &str) -> String;

    /// Takes what it needs beside the kernel, of this release.
    fn take(&self, stock: &Stock<'_>, target: &Target, release: &str) -> Result<Taken, BootError>;

    /// What is on its partitions.
    fn fill(&self, order: &Order<'_>) -> Result<Vec<BootPartition>, BootError>;
}

/// What a method makes files of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// The kernel, the initrd, and what the method took.
    pub(crate) kernel: &'a Kernel,
    /// The recipe.
    pub(crate) recipe: &'a Recipe,
    /// The target.
    pub(crate) target: &'a Target,
    /// The ways to boot, the default first, with the command line of each.
    pub(crate) profiles: &'a [(Label, String); 2],
    /// The time of every file.
    pub(crate) date: Timestamp,
}

/// The method of a target.
pub(crate) fn of(method: BootMethod) -> &'static dyn Method {
    match method {
        BootMethod::SystemdBoot => &systemd_boot::SystemdBoot,
        BootMethod::Extlinux => &extlinux::Extlinux,
        BootMethod::RaspberryPi => &raspberry_pi::RaspberryPi,
    }
}

/// The tree of a boot partition, from paths and contents; directories come by themselves.
pub(super) fn tree(
    files: impl IntoIterator<Item = (String, Vec<u8>)>,
    date: Timestamp,
) -> Result<FileTree, TreeError> {
    let owner = || Owner::Stage("boot".into());
    let metadata = |mode| Metadata { mode, uid: 0, gid: 0, mtime: date, xattrs: BTreeMap::new() };
    let mut tree = FileTree::new(metadata(0o755), owner());
    for (place, bytes) in files {
        let place = TreePath::parse(place.as_bytes()).expect("paths of checked names are canonical");
        let mut missing: Vec<TreePath> = Vec::new();
        let mut above = place.parent();
        while let Some(directory) = above.filter(|directory| tree.get(directory).is_none()) {
            above = directory.parent();
            missing.push(directory);
        }
        for directory in missing.into_iter().rev() {
            tree.insert(directory, Inode { metadata: metadata(0o755), kind: Kind::Directory }, owner())?;
        }
        let kind = Kind::File(Content::inline(bytes));
        tree.insert(place, Inode { metadata: metadata(0o644), kind }, owner())?;
    }
    Ok(tree)
}
