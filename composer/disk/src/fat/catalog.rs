//! The tree as FAT sees it, and where each part of it lies.

use std::collections::{BTreeMap, BTreeSet};

use goni_model::number::to_u64;
use goni_model::time::Timestamp;

use super::directory::{self, ENTRY};
use super::geometry::Geometry;
use super::name::{self, Short};
use super::{WriteError, clusters_of};
use crate::tree::{Content, FileTree, Kind, TreePath};

/// Entries of a directory: its size must stay below 2^21 bytes. Specification, section 6.
const MOST_ENTRIES: u64 = 65_536;

/// A file or directory.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) path: &'a TreePath,
    pub(super) mtime: Timestamp,
    /// Index of the directory above; the root's own for the root.
    pub(super) parent: usize,
    pub(super) held: Held<'a>,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Held<'a> {
    /// Entries, in the order of the tree.
    Directory(Vec<Named<'a>>),
    /// Bytes.
    File(&'a Content),
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) short: Short,
    /// Whether the short name says it all.
    pub(super) is_exact: bool,
    /// Which node it names.
    pub(super) index: usize,
}

/// All nodes of a tree, the root first.
#[derive(Debug)]
pub(super) struct Catalog<'a> {
    nodes: Vec<Node<'a>>,
}

/// Where everything lies: one after the other, from cluster 2.
#[derive(Debug)]
pub(super) struct Placement {
    /// The first cluster of each node; `None` for empty files.
    pub(super) first: Vec<Option<u64>>,
    /// First cluster and length of each chain, in order.
    pub(super) runs: Vec<(u64, u64)>,
    /// Clusters in use.
    pub(super) used: u64,
}

impl<'a> Catalog<'a> {
    /// Looks at a tree, and refuses what FAT cannot hold.
    pub(super) fn of(tree: &'a FileTree) -> Result<Self, WriteError> {
        let mut nodes: Vec<Node<'a>> = Vec::new();
        let mut above: Vec<usize> = Vec::new();
        for (path, entry) in tree.iter() {
            while above.last().is_some_and(|index| !path.starts_with(nodes[*index].path)) {
                above.pop();
            }
            let parent = above.last().copied().unwrap_or(0);
            let inode = tree.inode(entry.inode);
            let refuse = |kind| Err(WriteError::Kind { path: path.clone(), kind });
            let index = nodes.len();
            let held = match &inode.kind {
                _ if !inode.metadata.xattrs.is_empty() => return refuse("an entry with extended attributes"),
                Kind::Directory => Held::Directory(Vec::new()),
                Kind::File(content) if content.size() > u64::from(u32::MAX) => {
                    return Err(WriteError::FileTooLarge { path: path.clone(), size: content.size() });
                }
                Kind::File(content) => Held::File(content),
                Kind::Symlink(_) => return refuse("a symbolic link"),
                Kind::CharacterDevice(_) => return refuse("a character device"),
                Kind::BlockDevice(_) => return refuse("a block device"),
                Kind::Fifo => return refuse("a named pipe"),
            };
            if matches!(held, Held::Directory(_)) {
                above.push(index);
            }
            nodes.push(Node { path, mtime: inode.metadata.mtime, parent, held });
            if !path.is_root() {
                let name = name::parse(path.name())
                    .map_err(|source| WriteError::Name { path: path.clone(), source })?;
                if let Held::Directory(entries) = &mut nodes[parent].held {
                    entries.push(Named { name, short: [0; 11], is_exact: false, index });
                }
            }
        }
        let mut catalog = Self { nodes };
        for index in 0..catalog.nodes.len() {
            catalog.shorten(index)?;
        }
        Ok(catalog)
    }

    /// Gives every entry of a directory its short name: first those whose name is short already.
    fn shorten(&mut self, index: usize) -> Result<(), WriteError> {
        let path = self.nodes[index].path;
        let Held::Directory(entries) = &mut self.nodes[index].held else { return Ok(()) };
        let mut folded: BTreeMap<String, usize> = BTreeMap::new();
        let mut clash = None;
        for entry in entries.iter() {
            // Upper case, as the specification compares.
            if let Some(earlier) = folded.insert(entry.name.to_uppercase(), entry.index) {
                clash.get_or_insert((entry.index, earlier));
            }
        }
        let mut taken = BTreeSet::new();
        for entry in entries.iter_mut() {
            if let Some(short) = name::exact(entry.name) {
                (entry.short, entry.is_exact) = (short, true);
                taken.insert(short);
            }
        }
        for entry in entries.iter_mut().filter(|entry| !entry.is_exact) {
            entry.short = name::alias(entry.name, &taken);
            taken.insert(entry.short);
        }
        let count = directory::entry_count(entries, path.is_root());
        if let Some((later, earlier)) = clash {
            let path = |index: usize| self.nodes[index].path.clone();
            return Err(WriteError::SameName { path: path(later), other: path(earlier) });
        }
        if count > MOST_ENTRIES {
            return Err(WriteError::DirectoryTooLarge { path: path.clone() });
        }
        Ok(())
    }

    /// Every node, the root first.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node<'a>> {
        self.nodes.iter()
    }

    /// A node by its index.
    pub(super) fn node(&self, index: usize) -> &Node<'a> {
        &self.nodes[index]
    }

    /// Decides where everything lies.
    pub(super) fn place(&self, geometry: &Geometry) -> Placement {
        let mut placement = Placement { first: vec![], runs: vec![], used: 0 };
        for node in &self.nodes {
            let bytes = match &node.held {
                Held::Directory(entries) => {
                    directory::entry_count(entries, node.path.is_root()) * to_u64(ENTRY)
                }
                Held::File(content) => content.size(),
            };
            let count = clusters_of(bytes, geometry);
            let first = placement.used + 2;
            placement.first.push((count > 0).then_some(first));
            if count > 0 {
                placement.runs.push((first, count));
            }
            placement.used += count;
        }
        placement
    }
}
