//! The file tree: what an image contains, metadata in memory and bytes elsewhere.
//!
//! Entries are ordered by path, so whatever is derived from a tree is derived in one order. Two
//! entries that name one inode are hard links of each other. Every entry has an owner: the
//! package, overlay or stage that put it there.

mod history;
mod path;
mod resolve;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

pub use history::{Deed, Hand};
pub use path::{InvalidPath, TreePath};

use history::History;

use goni_model::time::Timestamp;

/// Files, directories and the rest, from the root down.
#[derive(Debug, Clone)]
pub struct FileTree {
    inodes: Vec<Inode>,
    entries: BTreeMap<TreePath, Entry>,
    history: History,
}

/// A name in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it names.
    pub inode: InodeId,
    /// Who put it there.
    pub owner: Owner,
}

/// Index of an inode within its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(usize);

impl InodeId {
    /// The index, dense from zero: [`FileTree::inode_count`] bounds it.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Who put an entry into the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A Debian package, by name.
    Package(Arc<str>),
    /// An overlay, by name.
    Overlay(Arc<str>),
    /// A payload, by name.
    Payload(Arc<str>),
    /// A stage of the build, by name: what maintainer scripts made belongs to `configure`.
    Stage(Arc<str>),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(name) => write!(f, "package {name}"),
            Self::Overlay(name) => write!(f, "overlay {name}"),
            Self::Payload(name) => write!(f, "payload {name}"),
            Self::Stage(name) => write!(f, "stage {name}"),
        }
    }
}

/// One file, directory or other object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Mode, owner, time, extended attributes.
    pub metadata: Metadata,
    /// What it is.
    pub kind: Kind,
}

/// What every inode has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission, set-id and sticky bits: 0 to 0o7777.
    pub mode: u16,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Extended attributes by full name, such as `security.capability`, as getxattr(2) gives them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory; its children are the entries below its path.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target, verbatim.
    Symlink(Vec<u8>),
    /// A character device.
    CharacterDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
}

impl Kind {
    /// The file type bits of `st_mode`. Source: inode(7).
    #[must_use]
    pub const fn type_bits(&self) -> u16 {
        match self {
            Self::Directory => 0o040_000,
            Self::File(_) => 0o100_000,
            Self::Symlink(_) => 0o120_000,
            Self::CharacterDevice(_) => 0o020_000,
            Self::BlockDevice(_) => 0o060_000,
            Self::Fifo => 0o010_000,
        }
    }
}

/// A device's major and minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Below 2^12.
    pub major: u32,
    /// Below 2^20.
    pub minor: u32,
}

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Held here: small things that the program made itself.
    Inline(Arc<[u8]>),
    /// Held by a [`ContentSource`].
    Stored {
        /// Its name there.
        key: ContentKey,
        /// Its length in bytes.
        size: u64,
    },
}

impl Content {
    /// Holds these bytes.
    #[must_use]
    pub fn inline(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Inline(bytes.into())
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => goni_model::number::to_u64(bytes.len()),
            Self::Stored { size, .. } => *size,
        }
    }

    /// Opens the bytes for reading from the start.
    ///
    /// # Errors
    /// What the source raises. A source that yields more or fewer bytes than `size` is found out by
    /// the writer that reads it.
    pub fn open<'a>(&'a self, source: &'a dyn ContentSource) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::Inline(bytes) => Ok(Box::new(&bytes[..])),
            Self::Stored { key, .. } => source.open(key),
        }
    }
}

/// Names bytes within a [`ContentSource`]; opaque to everyone else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey(Arc<[u8]>);

impl ContentKey {
    /// A key with these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentKey({})", self.0.escape_ascii())
    }
}

/// Where stored bytes are read from. Shared by threads.
pub trait ContentSource: Sync {
    /// Opens the bytes of a key for reading from the start.
    ///
    /// # Errors
    /// `NotFound` for a key it does not hold, or what reading raises.
    fn open(&self, key: &ContentKey) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// The source that holds nothing: for trees whose content is all inline.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoContent;

impl ContentSource for NoContent {
    fn open(&self, key: &ContentKey) -> io::Result<Box<dyn Read + Send + '_>> {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("no content under {key:?}")))
    }
}

/// Why a tree cannot take an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The directory above is missing, or is not a directory.
    #[error("`{path}` has no directory to be in")]
    NoParent {
        /// The entry.
        path: TreePath,
    },
    /// Something that has entries below it would become something that cannot.
    #[error("`{path}` is a directory with entries below it")]
    NotEmpty {
        /// The directory.
        path: TreePath,
    },
    /// The entry is not in the tree.
    #[error("`{path}` is not in the tree")]
    Missing {
        /// The entry.
        path: TreePath,
    },
}

impl FileTree {
    /// A tree of only a root directory.
    #[must_use]
    pub fn new(root: Metadata, owner: Owner) -> Self {
        let inode = Inode { metadata: root, kind: Kind::Directory };
        let entry = Entry { inode: InodeId(0), owner };
        let entries = BTreeMap::from([(TreePath::ROOT, entry)]);
        Self { inodes: vec![inode], entries, history: History::new() }
    }

    /// Adds an entry with an inode of its own, or replaces what is there.
    ///
    /// # Errors
    /// `NoParent` if the directory above is missing; `NotEmpty` if a directory with entries would be
    /// replaced by something else.
    pub fn insert(&mut self, path: TreePath, inode: Inode, owner: Owner) -> Result<InodeId, TreeError> {
        self.check_place(&path, matches!(inode.kind, Kind::Directory))?;
        self.note_arrival(&path, &owner);
        let id = InodeId(self.inodes.len());
        self.inodes.push(inode);
        self.entries.insert(path, Entry { inode: id, owner });
        Ok(id)
    }

    /// Adds another name for an inode that is already in the tree.
    ///
    /// # Errors
    /// As [`FileTree::insert`].
    pub fn link(&mut self, path: TreePath, inode: InodeId, owner: Owner) -> Result<(), TreeError> {
        self.check_place(&path, false)?;
        self.note_arrival(&path, &owner);
        self.entries.insert(path, Entry { inode, owner });
        Ok(())
    }

    /// Removes an entry and everything below it; returns how many entries went.
    ///
    /// # Errors
    /// `Missing` if it is not there.
    pub fn remove(&mut self, path: &TreePath) -> Result<usize, TreeError> {
        if !self.entries.contains_key(path) {
            return Err(TreeError::Missing { path: path.clone() });
        }
        let doomed: Vec<TreePath> =
            std::iter::once(path.clone()).chain(self.below(path).map(|(path, _)| path.clone())).collect();
        for path in &doomed {
            self.entries.remove(path);
        }
        Ok(doomed.len())
    }

    /// The entry of a path.
    #[must_use]
    pub fn entry(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The inode a path names.
    #[must_use]
    pub fn get(&self, path: &TreePath) -> Option<&Inode> {
        self.entries.get(path).map(|entry| self.inode(entry.inode))
    }

    /// The inode a path names, to change it; every hard link of it changes too.
    pub fn get_mut(&mut self, path: &TreePath) -> Option<&mut Inode> {
        let id = self.entries.get(path)?.inode;
        self.inodes.get_mut(id.0)
    }

    /// An inode by its index.
    ///
    /// # Panics
    /// If the index is of another tree.
    #[must_use]
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.0]
    }

    /// One more than the largest index in use. Inodes that lost their last name are counted too.
    #[must_use]
    pub fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    /// How many names the inode behind a path has; none for a path that is not there.
    #[must_use]
    pub fn links(&self, path: &TreePath) -> usize {
        let Some(wanted) = self.entries.get(path).map(|entry| entry.inode) else { return 0 };
        self.entries.values().filter(|entry| entry.inode == wanted).count()
    }

    /// Every inode that has a name or once had one, to change it.
    pub fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Inode> {
        self.inodes.iter_mut()
    }

    /// Every entry, ordered by path; a directory comes before what is in it, all of which comes
    /// before its next sibling.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// Every entry below a path, ordered, the path itself left out.
    pub fn below<'a>(&'a self, path: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> {
        self.entries
            .range((std::ops::Bound::Excluded(path), std::ops::Bound::Unbounded))
            .take_while(move |(candidate, _)| candidate.starts_with(path))
    }

    /// The entries right below a path, ordered by name.
    pub fn children<'a>(&'a self, path: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> {
        self.below(path).filter(move |(candidate, _)| candidate.parent().as_ref() == Some(path))
    }

    fn check_place(&self, path: &TreePath, is_directory: bool) -> Result<(), TreeError> {
        if let Some(parent) = path.parent()
            && !self.get(&parent).is_some_and(|inode| matches!(inode.kind, Kind::Directory))
        {
            return Err(TreeError::NoParent { path: path.clone() });
        }
        if !is_directory && (path.is_root() || self.below(path).next().is_some()) {
            return Err(TreeError::NotEmpty { path: path.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata { mode: 0o755, uid: 0, gid: 0, mtime: Timestamp::from_seconds(1), xattrs: BTreeMap::new() }
    }

    fn owner() -> Owner {
        Owner::Stage("test".into())
    }

    fn directory() -> Inode {
        Inode { metadata: metadata(), kind: Kind::Directory }
    }

    fn file(bytes: &[u8]) -> Inode {
        Inode { metadata: metadata(), kind: Kind::File(Content::inline(bytes)) }
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn sample() -> FileTree {
        let mut tree = FileTree::new(metadata(), owner());
        for name in ["a", "a/b", "a.d"] {
            tree.insert(path(name), directory(), owner()).unwrap();
        }
        tree.insert(path("a/b/c"), file(b"c"), owner()).unwrap();
        tree
    }

    #[test]
    fn a_directory_comes_before_its_content_and_that_before_its_sibling() {
        let tree = sample();
        let order: Vec<String> = tree.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(order, ["/", "/a", "/a/b", "/a/b/c", "/a.d"]);
        let children: Vec<String> =
            tree.children(&TreePath::ROOT).map(|(path, _)| path.to_string()).collect();
        assert_eq!(children, ["/a", "/a.d"]);
    }

    #[test]
    fn an_entry_without_a_directory_above_it_is_refused() {
        let mut tree = sample();
        let missing = tree.insert(path("x/y"), file(b""), owner());
        assert_eq!(missing, Err(TreeError::NoParent { path: path("x/y") }));
        let below_file = tree.insert(path("a/b/c/d"), file(b""), owner());
        assert_eq!(below_file, Err(TreeError::NoParent { path: path("a/b/c/d") }));
    }

    #[test]
    fn a_full_directory_does_not_become_a_file() {
        let mut tree = sample();
        let refused = tree.insert(path("a"), file(b""), owner());
        assert_eq!(refused, Err(TreeError::NotEmpty { path: path("a") }));
        assert!(tree.insert(path("a.d"), file(b""), owner()).is_ok());
    }

    #[test]
    fn removing_a_directory_removes_what_is_below_and_no_more() {
        let mut tree = sample();
        assert_eq!(tree.remove(&path("a")), Ok(3));
        let left: Vec<String> = tree.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(left, ["/", "/a.d"]);
        assert_eq!(tree.remove(&path("a")), Err(TreeError::Missing { path: path("a") }));
    }

    #[test]
    fn hard_links_share_their_inode() {
        let mut tree = sample();
        let id = tree.entry(&path("a/b/c")).unwrap().inode;
        tree.link(path("a.d/link"), id, owner()).unwrap();
        tree.get_mut(&path("a.d/link")).unwrap().metadata.mode = 0o600;
        assert_eq!(tree.get(&path("a/b/c")).unwrap().metadata.mode, 0o600);
    }
}
