//! Inodes and the tables they stand in.
//!
//! Source: ext4/inodes.rst; special numbers from ext4/special_inodes.rst.

use std::io::{Seek, Write};

use goni_model::number::to_usize;

use super::bytes::{checksum, high16, high32, low16, low32, put, upper16};
use super::geometry::{BLOCK, BLOCK_LENGTH, Geometry, INODE_SIZE, INODES_PER_BLOCK};
use super::groups::Places;
use super::xattr::IN_INODE;
use super::{Image, WriteError};
use crate::tree::Kind;

/// The root directory.
pub(super) const ROOT: u32 = 2;
/// Names the descriptor blocks kept for growing.
pub(super) const RESIZE: u32 = 7;
/// The journal.
pub(super) const JOURNAL: u32 = 8;
/// The first number that is not reserved, by custom that of `lost+found`.
pub(super) const LOST_AND_FOUND: u32 = 11;
/// The first number for everything else.
pub(super) const FIRST_FREE: u32 = 12;

/// `EXT4_EXTENTS_FL`.
const HAS_EXTENTS: u32 = 0x8_0000;
/// `i_extra_isize`: every field up to `i_projid`.
pub(super) const EXTRA_SIZE: u16 = 32;
/// Bytes of fields before the attributes.
const FIELDS: usize = 128 + 32;
/// A directory with more links says 1. Source: ext4/directory.rst and the `dir_nlink` feature.
const MOST_COUNTED_LINKS: u64 = 65_000;

/// What `i_block` says, and how much it accounts for.
#[derive(Debug, Clone)]
pub(super) struct BlockMap {
    /// Extents, a short link target, a device number, or a block map.
    pub(super) i_block: [u8; 60],
    /// Blocks of content and of the map itself.
    pub(super) block_count: u64,
    /// Whether `i_block` holds extents.
    pub(super) has_extents: bool,
}

impl BlockMap {
    /// For what has no blocks.
    pub(super) const fn without_blocks(i_block: [u8; 60]) -> Self {
        Self { i_block, block_count: 0, has_extents: false }
    }
}

/// An inode, ready to be encoded.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: u32,
    /// Type and permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u64,
    pub(super) size: u64,
    /// Low half of the seconds.
    pub(super) time: [u8; 4],
    /// Epoch bits and nanoseconds.
    pub(super) extra_time: u32,
    pub(super) map: BlockMap,
    /// Attributes in the inode.
    pub(super) attributes: Option<[u8; IN_INODE]>,
    /// Block of attributes, or zero.
    pub(super) attribute_block: u64,
}

impl Record {
    fn encode(&self, inode_seed: u32) -> [u8; 256] {
        let mut inode = [0; 256];
        let links = if self.links > MOST_COUNTED_LINKS { 1 } else { self.links };
        // In units of 512 bytes, 48 bits of them.
        let sectors = (self.map.block_count + u64::from(self.attribute_block != 0)) * (BLOCK / 512);
        let (uid, gid) = (u64::from(self.uid), u64::from(self.gid));
        put(&mut inode, 0x00, self.mode.to_le_bytes()); // i_mode
        put(&mut inode, 0x02, low16(uid)); // i_uid
        put(&mut inode, 0x04, low32(self.size)); // i_size_lo
        put(&mut inode, 0x08, self.time); // i_atime
        put(&mut inode, 0x0C, self.time); // i_ctime
        put(&mut inode, 0x10, self.time); // i_mtime
        put(&mut inode, 0x18, low16(gid)); // i_gid
        put(&mut inode, 0x1A, low16(links)); // i_links_count
        put(&mut inode, 0x1C, low32(sectors)); // i_blocks_lo
        let flags = if self.map.has_extents { HAS_EXTENTS } else { 0 };
        put(&mut inode, 0x20, flags.to_le_bytes()); // i_flags
        put(&mut inode, 0x28, self.map.i_block); // i_block
        put(&mut inode, 0x68, low32(self.attribute_block)); // i_file_acl_lo
        put(&mut inode, 0x6C, high32(self.size)); // i_size_high
        put(&mut inode, 0x74, upper16(sectors)); // l_i_blocks_high
        put(&mut inode, 0x76, upper16(self.attribute_block)); // l_i_file_acl_high
        put(&mut inode, 0x78, high16(uid)); // l_i_uid_high
        put(&mut inode, 0x7A, high16(gid)); // l_i_gid_high
        put(&mut inode, 0x80, EXTRA_SIZE.to_le_bytes()); // i_extra_isize
        let extra = self.extra_time.to_le_bytes();
        put(&mut inode, 0x84, extra); // i_ctime_extra
        put(&mut inode, 0x88, extra); // i_mtime_extra
        put(&mut inode, 0x8C, extra); // i_atime_extra
        put(&mut inode, 0x90, self.time); // i_crtime
        put(&mut inode, 0x94, extra); // i_crtime_extra
        if let Some(attributes) = self.attributes {
            put(&mut inode, FIELDS, attributes);
        }
        let sum = u64::from(checksum(inode_seed, &inode));
        put(&mut inode, 0x7C, low16(sum)); // l_i_checksum_lo
        put(&mut inode, 0x82, high16(sum)); // i_checksum_hi
        inode
    }
}

/// Writes inodes in ascending order, a block of them at a time.
#[derive(Debug)]
pub(super) struct InodeTables<'a> {
    inodes_per_group: u64,
    places: &'a Places,
    block: u64,
    pending: Vec<u8>,
    /// Directories of each group.
    directories: Vec<u64>,
    /// The largest number written.
    last: u64,
}

impl<'a> InodeTables<'a> {
    /// Empty tables.
    pub(super) fn new(geometry: &Geometry, places: &'a Places) -> Self {
        Self {
            inodes_per_group: geometry.inodes_per_group,
            places,
            block: 0,
            pending: vec![0; BLOCK_LENGTH],
            directories: vec![0; to_usize(geometry.group_count)],
            last: 0,
        }
    }

    /// Writes an inode whose number is larger than that of every inode before it.
    pub(super) fn write<W: Write + Seek>(
        &mut self,
        record: &Record,
        image: &mut Image<'_, W>,
    ) -> Result<(), WriteError> {
        let index = u64::from(record.number) - 1;
        let (group, within) = (to_usize(index / self.inodes_per_group), index % self.inodes_per_group);
        let block = self.places.tables[group] + within / INODES_PER_BLOCK;
        if block != self.block {
            self.finish(image)?;
            self.block = block;
        }
        let offset = to_usize(within % INODES_PER_BLOCK * INODE_SIZE);
        put(&mut self.pending, offset, record.encode(image.inode_seed(record.number)));
        if record.mode & 0o170_000 == Kind::Directory.type_bits() {
            self.directories[group] += 1;
        }
        self.last = index + 1;
        Ok(())
    }

    /// Writes the block that is being filled.
    pub(super) fn finish<W: Write + Seek>(&mut self, image: &mut Image<'_, W>) -> Result<(), WriteError> {
        image.write_blocks(self.block, &self.pending)?;
        self.pending.fill(0);
        Ok(())
    }

    /// Directories of a group.
    pub(super) fn directories(&self, group: u64) -> u64 {
        self.directories[to_usize(group)]
    }

    /// Inodes of a group that are in use, all at its beginning.
    pub(super) fn used(&self, group: u64) -> u64 {
        self.last.saturating_sub(group * self.inodes_per_group).min(self.inodes_per_group)
    }

    /// Inodes in use.
    pub(super) const fn used_count(&self) -> u64 {
        self.last
    }
}

/// The type of a directory entry. Source: ext4/directory.rst.
pub(super) const fn entry_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory => 2,
        Kind::CharacterDevice(_) => 3,
        Kind::BlockDevice(_) => 4,
        Kind::Fifo => 5,
        Kind::Symlink(_) => 7,
    }
}

const _: () = assert!(FIELDS + IN_INODE == 256);
