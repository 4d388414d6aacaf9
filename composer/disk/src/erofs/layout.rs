//! Where every inode lies, and what lies right behind it.

use std::io::{Seek, Write};

use goni_model::number::{to_u64, to_usize};
use goni_model::time::Timestamp;

use super::content::{Contents, Placed};
use super::format::{BLOCK, CLUSTER_INDEX, DataLayout, DiskInode, INODE_SLOT, MAP_HEADER, rdev};
use super::node::{Node, Nodes};
use super::sink::Sink;
use super::{WriteError, directory, xattr};
use crate::tree::Kind;

/// An inode, and the bytes that follow it.
#[derive(Debug)]
pub(super) struct Laid<'n> {
    pub(super) inode: DiskInode,
    pub(super) xattrs: &'n [u8],
    pub(super) behind: Behind<'n>,
    /// Bytes from the start of the metadata.
    pub(super) place: usize,
}

/// What follows an inode and its attributes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Behind<'n> {
    /// Nothing: there are no bytes, or all are in blocks.
    Nothing,
    /// The last bytes, which have to be in the inode's own block.
    Inline(&'n [u8]),
    /// As `Inline`, so many bytes of a directory: which they are depends on every inode's place.
    Directory(usize),
    /// The offset in the packed inode at which all of the file is.
    Fragment(u64),
    /// The index of extents.
    Index(&'n Placed),
}

impl Laid<'_> {
    /// The inode's number.
    pub(super) fn nid(&self) -> u64 {
        to_u64(self.place / INODE_SLOT)
    }

    /// Finds the first place from here on that the format allows, and returns the end.
    fn put(&mut self, from: usize) -> usize {
        let inode = self.inode.encode().len();
        let head = inode + self.xattrs.len();
        let together = match self.behind {
            Behind::Inline(tail) => head + tail.len(),
            Behind::Directory(tail) => head + tail,
            // Attributes and indexes may go on in the next block; readers look for no inode there.
            Behind::Nothing | Behind::Fragment(_) | Behind::Index(_) => inode,
        };
        let mut place = from.next_multiple_of(INODE_SLOT);
        if place % BLOCK + together > BLOCK {
            place = place.next_multiple_of(BLOCK);
        }
        self.place = place;
        let end = place + head;
        match self.behind {
            Behind::Nothing => end,
            Behind::Inline(_) | Behind::Directory(_) => place + together,
            Behind::Fragment(_) => end.next_multiple_of(8) + 8,
            Behind::Index(_) => {
                let clusters = to_usize(self.inode.i_size).div_ceil(BLOCK);
                end.next_multiple_of(8) + MAP_HEADER + clusters * CLUSTER_INDEX
            }
        }
    }
}

/// Whether an inode with attributes of this length has room for a tail in its own block.
///
/// Counted with the longer form of the inode, for bytes that several inodes may share.
pub(super) const fn has_room(xattrs: usize, tail: usize) -> bool {
    DiskInode::EXTENDED + xattrs + tail <= BLOCK
}

/// Lays out every node and, if there is one, the packed inode behind them. Symbolic links that are
/// too long for the inode's block are written now.
pub(super) fn lay<'n, W: Write + Seek>(
    nodes: &'n Nodes<'_>,
    contents: &'n Contents,
    build_time: Timestamp,
    sink: &mut Sink<'_, W>,
) -> Result<Vec<Laid<'n>>, WriteError> {
    let mut laid = Vec::with_capacity(nodes.nodes.len() + 1);
    for number in 0..nodes.nodes.len() {
        laid.push(lay_node(nodes, number, contents, build_time, sink)?);
    }
    if contents.packed_size > 0 {
        laid.push(lay_packed(contents, build_time));
    }
    // Number 0 says "none" where the superblock names an inode, so the first slots stay empty.
    let mut end = 2 * INODE_SLOT;
    for (index, one) in laid.iter_mut().enumerate() {
        one.inode.i_ino = u32::try_from(index + 1).map_err(|_| WriteError::TooManyInodes)?;
        end = one.put(end);
    }
    Ok(laid)
}

fn lay_node<'n, W: Write + Seek>(
    nodes: &'n Nodes<'_>,
    number: usize,
    contents: &'n Contents,
    build_time: Timestamp,
    sink: &mut Sink<'_, W>,
) -> Result<Laid<'n>, WriteError> {
    let node = &nodes.nodes[number];
    let mut inode = disk_inode(node, build_time);
    let mut behind = Behind::Nothing;
    match &node.inode.kind {
        Kind::Directory => {
            let size = directory::size(nodes, number);
            inode.i_size = to_u64(size);
            if !size.is_multiple_of(BLOCK) && has_room(node.xattrs.len(), size % BLOCK) {
                inode.layout = DataLayout::FlatInline;
                behind = Behind::Directory(size % BLOCK);
            }
        }
        Kind::Symlink(target) => {
            inode.i_size = to_u64(target.len());
            if has_room(node.xattrs.len(), target.len()) {
                inode.layout = DataLayout::FlatInline;
                behind = Behind::Inline(target);
            } else {
                inode.i_u = sink.next_block()?;
                sink.write(target)?;
                sink.pad()?;
            }
        }
        Kind::CharacterDevice(device) | Kind::BlockDevice(device) => {
            inode.i_u = rdev(device.major, device.minor);
        }
        Kind::Fifo => {}
        Kind::File(content) => {
            inode.i_size = content.size();
            if let Some(content) = node.content {
                behind = lay_file(&contents.files[content], &mut inode);
            }
        }
    }
    Ok(Laid { inode, xattrs: &node.xattrs, behind, place: 0 })
}

fn disk_inode(node: &Node<'_>, build_time: Timestamp) -> DiskInode {
    let metadata = &node.inode.metadata;
    DiskInode {
        layout: DataLayout::FlatPlain,
        i_xattr_icount: xattr::icount(&node.xattrs),
        i_mode: node.inode.kind.type_bits() | metadata.mode & 0o7777,
        i_size: 0,
        i_u: 0,
        i_ino: 0,
        i_uid: metadata.uid,
        i_gid: metadata.gid,
        i_mtime: metadata.mtime.seconds,
        i_mtime_nsec: metadata.mtime.nanoseconds,
        i_nlink: node.nlink,
        built_time: metadata.mtime == build_time,
    }
}

/// Names a file's layout: blocks as they are wherever that is what was written.
fn lay_file<'n>(placed: &'n Placed, inode: &mut DiskInode) -> Behind<'n> {
    if !placed.tail.is_empty() {
        inode.layout = DataLayout::FlatInline;
        inode.i_u = placed.run().unwrap_or(0);
        return Behind::Inline(&placed.tail);
    }
    if let Some(block) = placed.run() {
        inode.i_u = block;
        return Behind::Nothing;
    }
    inode.layout = DataLayout::CompressedFull;
    if let (Some(offset), true) = (placed.fragment, placed.extents.is_empty()) {
        return Behind::Fragment(offset);
    }
    let blocks: u64 = placed.extents.iter().map(|extent| u64::from(extent.blocks)).sum();
    inode.i_u = u32::try_from(blocks).expect("each of its blocks has a number of 32 bits");
    Behind::Index(placed)
}

/// The inode that holds the fragments: no directory names it, the superblock does.
fn lay_packed(contents: &Contents, build_time: Timestamp) -> Laid<'_> {
    let mut inode = DiskInode {
        layout: DataLayout::FlatPlain,
        i_xattr_icount: 0,
        i_mode: 0o100_000,
        i_size: contents.packed_size,
        i_u: 0,
        i_ino: 0,
        i_uid: 0,
        i_gid: 0,
        i_mtime: build_time.seconds,
        i_mtime_nsec: build_time.nanoseconds,
        i_nlink: 1,
        built_time: true,
    };
    let behind = lay_file(&contents.packed, &mut inode);
    Laid { inode, xattrs: &[], behind, place: 0 }
}
