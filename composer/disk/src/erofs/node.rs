//! The tree as an image numbers it: one node an inode, in order of its first path.

use std::collections::BTreeMap;

use super::{WriteError, xattr};
use crate::tree::{Content, ContentKey, FileTree, Inode, InodeId, Kind, TreePath};

/// An inode of the image.
#[derive(Debug)]
pub(super) struct Node<'t> {
    /// The first of its names.
    pub(super) path: &'t TreePath,
    pub(super) inode: &'t Inode,
    /// The node of the directory above; the root's is itself.
    pub(super) parent: usize,
    /// How many names it has; of a directory, its own `.` and its subdirectories' `..` included.
    pub(super) nlink: u32,
    /// What is in a directory, by name.
    pub(super) children: Vec<(&'t [u8], usize)>,
    /// Its extended attributes, encoded.
    pub(super) xattrs: Vec<u8>,
    /// Index of a file's bytes among the contents of the tree.
    pub(super) content: Option<usize>,
}

/// A tree, numbered.
#[derive(Debug)]
pub(super) struct Nodes<'t> {
    /// The root first, then in order of path.
    pub(super) nodes: Vec<Node<'t>>,
    /// The bytes of files, each once.
    pub(super) contents: Vec<FileContent<'t>>,
}

/// The bytes of one file or of several.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileContent<'t> {
    /// The first of the files.
    pub(super) path: &'t TreePath,
    pub(super) content: &'t Content,
    /// The most bytes of extended attributes that any of the files has.
    pub(super) xattrs: usize,
}

/// What tells the bytes of files apart without reading them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity<'t> {
    Inline(&'t [u8]),
    Stored(&'t ContentKey, u64),
}

/// Numbers a tree, and refuses what the format cannot say.
pub(super) fn number(tree: &FileTree) -> Result<Nodes<'_>, WriteError> {
    let mut nodes: Vec<Node<'_>> = Vec::with_capacity(tree.inode_count());
    let mut contents: Vec<FileContent<'_>> = Vec::new();
    let mut known: BTreeMap<Identity<'_>, usize> = BTreeMap::new();
    let mut numbers: BTreeMap<InodeId, usize> = BTreeMap::new();
    // Directories that the path at hand is in, from the root down.
    let mut above: Vec<usize> = Vec::new();
    for (path, entry) in tree.iter() {
        while above.last().is_some_and(|directory| !path.starts_with(nodes[*directory].path)) {
            above.pop();
        }
        let parent = above.last().copied().unwrap_or(0);
        let inode = tree.inode(entry.inode);
        let is_directory = matches!(inode.kind, Kind::Directory);
        let number = match numbers.get(&entry.inode) {
            Some(_) if is_directory => return Err(WriteError::LinkedDirectory { path: path.clone() }),
            Some(number) => {
                nodes[*number].nlink += 1;
                *number
            }
            None => {
                let number = nodes.len();
                numbers.insert(entry.inode, number);
                check(path, &inode.kind)?;
                let xattrs = xattr::encode(path, &inode.metadata.xattrs)?;
                let content = match &inode.kind {
                    Kind::File(content) if content.size() > 0 => {
                        let number = *known.entry(identity(content)).or_insert_with(|| {
                            contents.push(FileContent { path, content, xattrs: 0 });
                            contents.len() - 1
                        });
                        contents[number].xattrs = contents[number].xattrs.max(xattrs.len());
                        Some(number)
                    }
                    _ => None,
                };
                let (nlink, children) = (if is_directory { 2 } else { 1 }, Vec::new());
                nodes.push(Node { path, inode, parent, nlink, children, xattrs, content });
                number
            }
        };
        if !path.is_root() {
            nodes[parent].children.push((path.name(), number));
            nodes[parent].nlink += u32::from(is_directory);
        }
        if is_directory {
            above.push(number);
        }
    }
    Ok(Nodes { nodes, contents })
}

fn identity(content: &Content) -> Identity<'_> {
    match content {
        Content::Inline(bytes) => Identity::Inline(bytes),
        Content::Stored { key, size } => Identity::Stored(key, *size),
    }
}

/// Refuses what would not survive in an image.
fn check(path: &TreePath, kind: &Kind) -> Result<(), WriteError> {
    match kind {
        // The kernel follows links of 1 to PATH_MAX - 1 bytes.
        Kind::Symlink(target) if target.is_empty() || target.len() > 4095 || target.contains(&0) => {
            Err(WriteError::Symlink { path: path.clone(), length: target.len() })
        }
        Kind::CharacterDevice(device) | Kind::BlockDevice(device)
            if device.major >= 1 << 12 || device.minor >= 1 << 20 =>
        {
            Err(WriteError::Device { path: path.clone(), major: device.major, minor: device.minor })
        }
        _ => Ok(()),
    }
}
