//! The tree as ext4 sees it: numbered inodes, link counts, directories with their entries.

use std::borrow::Cow;
use std::collections::BTreeMap;

use goni_model::number::to_u64;

use super::extents;
use super::geometry::BLOCK;
use super::inode::{FIRST_FREE, LOST_AND_FOUND, ROOT};
use super::{Unsupported, WriteError};
use crate::tree::{FileTree, Inode, Kind, Metadata, TreePath};

/// The most hard links. Source: kernel `EXT4_LINK_MAX`.
const MOST_LINKS: u64 = 65_000;

/// An inode to be written.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// Its first name in the tree.
    pub(super) path: Cow<'a, TreePath>,
    pub(super) inode: Cow<'a, Inode>,
    /// Its inode number.
    pub(super) number: u32,
    /// Names that lead to it, as `st_nlink` counts them.
    pub(super) links: u64,
    /// Index of the directory above.
    pub(super) parent: usize,
    /// Name and index of each entry, if it is a directory; ordered by name.
    pub(super) children: BTreeMap<&'a [u8], usize>,
}

/// All inodes of a tree.
#[derive(Debug)]
pub(super) struct Catalog<'a> {
    nodes: Vec<Node<'a>>,
    /// Indices in ascending order of inode number, the root's apart.
    order: Vec<usize>,
}

impl<'a> Catalog<'a> {
    /// Numbers the inodes of a tree in the order of their first names.
    pub(super) fn of(tree: &'a FileTree) -> Result<Self, WriteError> {
        let mut nodes: Vec<Node<'a>> = Vec::new();
        let mut index_of: Vec<Option<usize>> = vec![None; tree.inode_count()];
        let mut above: Vec<usize> = Vec::new();
        for (path, entry) in tree.iter() {
            while above.last().is_some_and(|index| !path.starts_with(&nodes[*index].path)) {
                above.pop();
            }
            let parent = above.last().copied().unwrap_or(0);
            let is_new = index_of[entry.inode.index()].is_none();
            let index = *index_of[entry.inode.index()].get_or_insert(nodes.len());
            let inode = tree.inode(entry.inode);
            let is_directory = matches!(inode.kind, Kind::Directory);
            if is_new {
                nodes.push(Node::new(Cow::Borrowed(path), Cow::Borrowed(inode), parent));
            } else if is_directory {
                return Err(unsupported(path, Unsupported::LinkedDirectory));
            }
            if is_directory {
                above.push(index);
            }
            if !path.is_root() {
                adopt(&mut nodes, parent, path.name(), index);
            }
        }
        let lost_and_found = find_lost_and_found(&mut nodes)?;
        let order: Vec<usize> = std::iter::once(lost_and_found)
            .chain((1..nodes.len()).filter(|index| *index != lost_and_found))
            .collect();
        nodes[0].number = ROOT;
        nodes[lost_and_found].number = LOST_AND_FOUND;
        for (index, number) in order.iter().skip(1).zip(FIRST_FREE..) {
            nodes[*index].number = number;
        }
        let catalog = Self { nodes, order };
        catalog.nodes.iter().try_for_each(check)?;
        Ok(catalog)
    }

    /// The root, then every other inode in ascending order of its number.
    pub(super) fn in_order(&self) -> (&Node<'a>, impl Iterator<Item = &Node<'a>>) {
        (&self.nodes[0], self.order.iter().map(|index| &self.nodes[*index]))
    }

    /// An inode by its index.
    pub(super) fn node(&self, index: usize) -> &Node<'a> {
        &self.nodes[index]
    }

    /// The largest inode number in use.
    pub(super) fn last_number(&self) -> u64 {
        // Every inode but the root has one of the numbers from that of lost+found on.
        u64::from(LOST_AND_FOUND) + to_u64(self.nodes.len()) - 2
    }

    /// Blocks that the content takes if none of it is zero.
    pub(super) fn demand(&self) -> u64 {
        self.nodes.iter().map(demand).fold(0, u64::saturating_add)
    }
}

impl<'a> Node<'a> {
    fn new(path: Cow<'a, TreePath>, inode: Cow<'a, Inode>, parent: usize) -> Self {
        // A directory is also named by its own `.`.
        let links = u64::from(matches!(inode.kind, Kind::Directory));
        Self { path, inode, number: 0, links, parent, children: BTreeMap::new() }
    }
}

/// Enters an inode into a directory, and counts the names that come with it.
fn adopt<'a>(nodes: &mut [Node<'a>], parent: usize, name: &'a [u8], index: usize) {
    nodes[index].links += 1;
    if matches!(nodes[index].inode.kind, Kind::Directory) {
        nodes[parent].links += 1;
    }
    nodes[parent].children.insert(name, index);
}

/// The directory where e2fsck puts what it finds; made if the tree has none.
fn find_lost_and_found(nodes: &mut Vec<Node<'_>>) -> Result<usize, WriteError> {
    const NAME: &[u8] = b"lost+found";
    // The root names itself as `..` too.
    nodes[0].links += 1;
    if let Some(index) = nodes[0].children.get(NAME).copied() {
        return match nodes[index].inode.kind {
            Kind::Directory => Ok(index),
            _ => Err(unsupported(&nodes[index].path, Unsupported::LostAndFound)),
        };
    }
    let metadata = Metadata {
        mode: 0o700,
        uid: 0,
        gid: 0,
        mtime: nodes[0].inode.metadata.mtime,
        xattrs: BTreeMap::new(),
    };
    let path = TreePath::ROOT.join(NAME).expect("a plain name is a path");
    let inode = Inode { metadata, kind: Kind::Directory };
    nodes.push(Node::new(Cow::Owned(path), Cow::Owned(inode), 0));
    let index = nodes.len() - 1;
    adopt(nodes, 0, NAME, index);
    Ok(index)
}

fn unsupported(path: &TreePath, why: Unsupported) -> WriteError {
    WriteError::Unsupported { path: path.clone(), why }
}

/// What can be found wrong before anything is written.
fn check(node: &Node<'_>) -> Result<(), WriteError> {
    let refuse = |why| Err(unsupported(&node.path, why));
    match &node.inode.kind {
        Kind::File(content) if content.size().div_ceil(BLOCK) > u64::from(u32::MAX) => {
            refuse(Unsupported::Size(content.size()))
        }
        Kind::Symlink(target) if !(1..4096).contains(&target.len()) => {
            refuse(Unsupported::LinkTarget(target.len()))
        }
        Kind::CharacterDevice(device) | Kind::BlockDevice(device)
            if device.major >= 1 << 12 || device.minor >= 1 << 20 =>
        {
            refuse(Unsupported::Device { major: device.major, minor: device.minor })
        }
        Kind::Directory => Ok(()),
        _ if node.links > MOST_LINKS => refuse(Unsupported::Links(node.links)),
        _ => Ok(()),
    }
}

fn demand(node: &Node<'_>) -> u64 {
    let content = match &node.inode.kind {
        Kind::File(content) => content.size().div_ceil(BLOCK),
        // An entry is at most 264 bytes, so a block wastes less than that and its 12 bytes of tail.
        Kind::Directory => {
            let entries: u64 = node.children.keys().map(|name| to_u64(name.len()) + 11).sum();
            (entries + 24).div_ceil(BLOCK - 276)
        }
        Kind::Symlink(target) => u64::from(target.len() >= 60),
        Kind::CharacterDevice(_) | Kind::BlockDevice(_) | Kind::Fifo => 0,
    };
    let attributes = u64::from(!node.inode.metadata.xattrs.is_empty());
    content + content.div_ceil(to_u64(extents::PER_BLOCK)) + attributes
}
