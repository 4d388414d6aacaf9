//! The root, as `erofs-rs` reads it.
//!
//! Its asynchronous reader takes positioned reads, so an image is never held; the reads are of a file
//! and never wait, and so its futures are ready when they are asked.

mod fragments;

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use erofs_rs::r#async::EroFS;
use erofs_rs::backend::AsyncImage;
use erofs_rs::types::Inode;
use goni_disk::tree::{InvalidPath, TreePath};
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;
use uuid::Uuid;

use super::chain;
use crate::host::image::Image;
use crate::verify::objection::Objection;

/// Entries that are looked at: far more than any Debian system has.
const ENTRIES_LIMIT: usize = 4_000_000;

/// How many symbolic links are followed on the way to one entry. Source: path_resolution(7).
const LINKS: u32 = 40;

/// Most bytes of a file that are read through.
const DIGEST_LIMIT: u64 = 16 << 30;

/// Bytes that are read together.
const PIECE: usize = 128 << 10;

/// Most bytes of a file that a check reads.
pub(in crate::verify) const FILE_LIMIT: u64 = 64 << 20;

/// Bytes of a file that are handed out together.
const STRETCH: u64 = 1 << 20;

/// A part of a disk, as `erofs-rs` wants it.
#[derive(Debug, Clone, Copy)]
struct Volume<'a> {
    image: &'a Image,
    offset: ByteCount,
    size: ByteCount,
}

impl AsyncImage for Volume<'_> {
    fn read_exact_at(
        &self,
        buffer: &mut [u8],
        offset: u64,
    ) -> impl Future<Output = erofs_rs::Result<()>> + Send {
        let mut window = self.image.window(self.offset, self.size);
        let read = window.seek(SeekFrom::Start(offset)).and_then(|_| window.read_exact(buffer));
        ready(read.map_err(erofs_rs::Error::from))
    }
}

/// What a future of a [`Volume`] comes to.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("reads of a file are done when they return"),
    }
}

/// The root file system: all metadata, and a way to content.
#[derive(Debug)]
pub(in crate::verify) struct Root<'a> {
    file_system: EroFS<Volume<'a>>,
    volume: Volume<'a>,
    nodes: BTreeMap<TreePath, Node>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::verify) enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

/// One file, directory or other object.
#[derive(Debug, Clone, Copy)]
pub(in crate::verify) struct Node(Inode);

impl Node {
    /// Its number: names of one file share it.
    pub(in crate::verify) fn id(&self) -> u64 {
        self.0.id()
    }

    /// Major and minor number of a device.
    pub(in crate::verify) fn device(&self) -> Option<(u32, u32)> {
        self.0.device()
    }

    /// What it is.
    pub(in crate::verify) fn kind(&self) -> NodeKind {
        let kind = self.0.file_type();
        match (kind.is_dir(), kind.is_file(), kind.is_symlink()) {
            (true, _, _) => NodeKind::Directory,
            (_, true, _) => NodeKind::File,
            (_, _, true) => NodeKind::Symlink,
            _ => NodeKind::Special,
        }
    }

    /// Permission, set-id and sticky bits.
    pub(in crate::verify) fn mode(&self) -> u32 {
        self.0.permissions().mode() & 0o7777
    }

    /// Owning user.
    pub(in crate::verify) fn uid(&self) -> u32 {
        self.0.uid()
    }

    /// Owning group.
    pub(in crate::verify) fn gid(&self) -> u32 {
        self.0.gid()
    }

    /// Bytes of a file.
    pub(in crate::verify) fn size(&self) -> u64 {
        self.0.data_size()
    }
}

/// Why the root cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::verify) enum RootError {
    /// It is no EROFS, or a damaged one.
    #[error("reading the EROFS file system")]
    Erofs(#[from] erofs_rs::Error),
    /// A name that no path has.
    #[error("reading names")]
    Name(#[from] InvalidPath),
    /// More entries than anyone has, so likely a directory within itself.
    #[error("there are over {ENTRIES_LIMIT} entries")]
    TooMany,
    /// It ends past the partition.
    #[error("the file system is of {size}, in a partition of {partition}")]
    Size {
        /// By its superblock.
        size: ByteCount,
        /// By the table.
        partition: ByteCount,
    },
}

impl<'a> Root<'a> {
    /// Opens a root and walks all of it.
    pub(super) fn open(image: &'a Image, offset: ByteCount, size: ByteCount) -> Result<Self, RootError> {
        let volume = Volume { image, offset, size };
        let mut root = Self { file_system: now(EroFS::new(volume))?, volume, nodes: BTreeMap::new() };
        let taken = root.size();
        if taken > size {
            return Err(RootError::Size { size: taken, partition: size });
        }
        let top = root.file_system.super_block().root_inode_id();
        root.nodes.insert(TreePath::ROOT, Node(now(root.file_system.get_inode(top))?));
        let mut walk = now(root.file_system.walk_dir("/"))?;
        while let Some(entry) = now(walk.next_entry()) {
            let entry = entry?;
            let path = TreePath::parse(entry.dir_entry.path().as_bytes())?;
            root.nodes.insert(path, Node(entry.inode));
            if root.nodes.len() > ENTRIES_LIMIT {
                return Err(RootError::TooMany);
            }
        }
        Ok(root)
    }

    /// Size of the file system by its superblock; the largest number where that is nonsense.
    pub(in crate::verify) fn size(&self) -> ByteCount {
        let superblock = self.file_system.super_block();
        let bytes = superblock.block_count().checked_mul(1 << superblock.blk_size_bits.min(63));
        ByteCount::new(bytes.unwrap_or(u64::MAX))
    }

    /// The file system's label, and its identifier.
    pub(in crate::verify) fn names(&self) -> (String, Uuid) {
        let superblock = self.file_system.super_block();
        let label = String::from_utf8_lossy(&superblock.volume_name);
        (label.trim_end_matches('\0').to_owned(), Uuid::from_bytes(superblock.uuid))
    }

    /// Every entry, sorted by path.
    pub(in crate::verify) fn nodes(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        self.nodes.iter()
    }

    /// Every entry below a directory, sorted by path.
    pub(in crate::verify) fn below(&self, directory: &str) -> impl Iterator<Item = (&TreePath, &Node)> {
        let top = path(directory);
        let from = (std::ops::Bound::Excluded(top.clone()), std::ops::Bound::Unbounded);
        self.nodes.range(from).take_while(move |(path, _)| path.starts_with(&top))
    }

    /// What is at a path of any tree; symbolic links are not followed.
    pub(in crate::verify) fn entry(&self, path: &TreePath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// What is at a path; symbolic links are not followed.
    pub(in crate::verify) fn node(&self, place: &str) -> Option<&Node> {
        self.nodes.get(&path(place))
    }

    /// What is at a path if symbolic links are followed, those of directories above it, too.
    pub(in crate::verify) fn resolve(&self, place: &str) -> Option<(TreePath, &Node)> {
        // What is to be walked, the next last.
        let parts = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
        };
        let (mut rest, mut at, mut links) = (parts(place.as_bytes()), TreePath::ROOT, 0);
        while let Some(part) = rest.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => at = at.parent().unwrap_or(TreePath::ROOT),
                name => {
                    let next = at.join(name).ok()?;
                    let node = self.nodes.get(&next)?;
                    if node.kind() != NodeKind::Symlink {
                        at = next;
                        continue;
                    }
                    links += 1;
                    let target = self.target(node).ok().filter(|_| links <= LINKS)?;
                    if target.starts_with(b"/") {
                        at = TreePath::ROOT;
                    }
                    rest.extend(parts(&target));
                }
            }
        }
        let node = self.nodes.get(&at)?;
        Some((at, node))
    }

    /// Where a symbolic link points.
    pub(in crate::verify) fn target(&self, node: &Node) -> Result<Vec<u8>, Objection> {
        let target = now(self.file_system.read_link_inode(node.0));
        target
            .map(|target| target.as_bytes().to_vec())
            .map_err(|error| Objection::differs("a symbolic link", chain(&error)))
    }

    /// The extended attributes of an entry.
    pub(in crate::verify) fn xattrs(&self, node: &Node) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Objection> {
        if node.0.xattr_size() == 0 {
            return Ok(BTreeMap::new());
        }
        now(self.file_system.xattrs_inode(node.0))
            .map_err(|error| Objection::differs("extended attributes", chain(&error)))
    }

    /// The content of a regular file.
    pub(in crate::verify) fn content(&self, path: &TreePath, node: &Node) -> Result<Vec<u8>, Objection> {
        let unreadable = |problem: String| Objection::differs(format!("content of `{path}`"), problem);
        if node.size() > FILE_LIMIT {
            return Err(unreadable(format!("{} are too much to look at", ByteCount::new(node.size()))));
        }
        let failed = |error: erofs_rs::Error| unreadable(chain(&error));
        let mut file = self.file_system.open_inode_file(node.0).map_err(failed)?;
        let mut content = vec![0; to_usize(node.size())];
        let mut filled = 0;
        while filled < content.len() {
            match now(file.read(&mut content[filled..])).map_err(failed)? {
                0 => return Err(unreadable(format!("it ends after {} bytes", to_u64(filled)))),
                count => filled += count,
            }
        }
        Ok(content)
    }

    /// Hands out the content of a regular file, a stretch at a time, of up to 16 GiB: an inode can claim any
    /// size, of holes alone.
    fn stream(&self, path: &TreePath, node: &Node, each: &mut dyn FnMut(&[u8])) -> Result<(), Objection> {
        let unreadable = |problem: String| Objection::differs(format!("content of `{path}`"), problem);
        let failed = |error: erofs_rs::Error| unreadable(chain(&error));
        if node.size() > DIGEST_LIMIT {
            return Err(unreadable(format!("{} are too much to look at", ByteCount::new(node.size()))));
        }
        let mut file = self.file_system.open_inode_file(node.0).map_err(failed)?;
        let mut stretch = vec![0; to_usize(node.size().min(STRETCH))];
        let mut left = node.size();
        while left > 0 {
            // Whole stretches, whatever single reads bring.
            let wanted = to_usize(left.min(STRETCH));
            let mut filled = 0;
            while filled < wanted {
                match now(file.read(&mut stretch[filled..wanted])).map_err(failed)? {
                    0 => {
                        return Err(unreadable(format!(
                            "it ends after {} bytes",
                            node.size() - left + to_u64(filled)
                        )));
                    }
                    count => filled += count,
                }
            }
            each(&stretch[..wanted]);
            left -= to_u64(wanted);
        }
        Ok(())
    }

    /// The content of a file that may be missing; anything but a regular file there is wrong.
    pub(in crate::verify) fn file(&self, place: &str) -> Result<Option<Vec<u8>>, Objection> {
        let path = path(place);
        match self.nodes.get(&path) {
            None => Ok(None),
            Some(node) if node.kind() == NodeKind::File => self.content(&path, node).map(Some),
            Some(node) => {
                Err(Objection::differs(format!("`{path}` is a file"), format!("{:?}", node.kind())))
            }
        }
    }

    /// The text of a file that has to be there.
    pub(in crate::verify) fn text(&self, place: &str) -> Result<String, Objection> {
        let expected = || format!("a file `{}` of text", path(place));
        let bytes = self.file(place)?.ok_or_else(|| Objection::differs(expected(), "there is none"))?;
        String::from_utf8(bytes).map_err(|_| Objection::differs(expected(), "it is not UTF-8"))
    }
}

/// A path that this program names.
fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("paths written in this program are canonical")
}
