//! ext4 images: the state partition.
//!
//! Written once, front to back by inode, from a file tree: bytes stream through, only metadata is
//! held. Blocks that would be zero are never written, so a file system of many gibibytes costs
//! little more than its content; the output must read as zeros wherever nothing was written.
//! What comes out has a journal, metadata checksums, 64-bit descriptors and room in its descriptor
//! table for growing while it is mounted. Times are written as the tree has them, change and
//! access time equal to modification time.
//!
//! Left out: hashed directories (large ones are searched linearly until they change), inline
//! content, shared attribute blocks, encryption, quota.
//!
//! Source: the Linux kernel, Documentation/filesystems/ext4. Integers little-endian, but for the
//! journal's.

mod allocation;
mod bytes;
mod catalog;
mod content;
mod directory;
mod extents;
mod geometry;
mod groups;
mod inode;
mod reserve;
mod superblock;
#[cfg(test)]
mod tests;
mod xattr;

use std::io::{self, Seek, SeekFrom, Write};

use goni_model::number::to_u64;
use goni_model::size::ByteCount;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::tree::{ContentSource, FileTree, TreePath};
use allocation::Blocks;
use catalog::Catalog;
use geometry::{BLOCK, Geometry};
use inode::InodeTables;

/// How to lay out a file system.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the partition. A rest that is no whole block, or a last group too small to be of use,
    /// stays outside the file system.
    pub size: ByteCount,
    /// Identity of the file system; also the seed of its checksums.
    pub uuid: Uuid,
    /// Seed of the hashes in directories that the kernel comes to index.
    pub hash_seed: Uuid,
    /// Volume label, at most 16 bytes.
    pub label: String,
    /// Time of creation.
    pub build_time: Timestamp,
    /// Size of the journal, which does not grow with the file system.
    pub journal: JournalSize,
    /// One free inode for so many bytes, also in what is added by growing.
    pub bytes_per_inode: ByteCount,
    /// Size up to which descriptor blocks are reserved for growing. Beyond, the kernel switches to
    /// descriptors spread over the groups. Each 8 GiB cost a block per copy of the superblock.
    pub grow_to: ByteCount,
}

impl Options {
    /// A file system that can grow a thousandfold, with one inode for 64 KiB.
    ///
    /// Growing initialises inode tables in the background: a quarter of the usual density makes that
    /// a quarter of the work, and suits a partition of few large files.
    #[must_use]
    pub fn new(size: ByteCount, uuid: Uuid, build_time: Timestamp) -> Self {
        Self {
            size,
            uuid,
            hash_seed: uuid,
            label: String::new(),
            build_time,
            journal: JournalSize::Automatic,
            bytes_per_inode: ByteCount::new(64 << 10),
            grow_to: ByteCount::new(size.get().saturating_mul(1024)),
        }
    }
}

/// Size of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalSize {
    /// A sixteenth of the file system, between 4 MiB and 128 MiB.
    Automatic,
    /// Exactly this, rounded down to whole blocks; at least 4 MiB.
    Exactly(ByteCount),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Size of the file system: [`Options::size`] rounded down as it says there.
    pub size: ByteCount,
    /// Free space.
    pub free: ByteCount,
    /// Inodes, free ones included.
    pub inodes: u64,
    /// Free inodes.
    pub free_inodes: u64,
    /// Bytes that reached the output.
    pub written: ByteCount,
}

/// Why a tree does not become a file system.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("writing the file system")]
    Output(#[source] io::Error),
    /// The content of a file could not be read.
    #[error("reading the content of `{path}`")]
    Content {
        /// The file.
        path: TreePath,
        /// What its source raised.
        #[source]
        source: io::Error,
    },
    /// The content of a file is shorter or longer than the tree says.
    #[error("`{path}` holds {found} than the {promised} bytes it should")]
    ContentLength {
        /// The file.
        path: TreePath,
        /// Its size by the tree.
        promised: u64,
        /// What its source did instead: `more` or `less`.
        found: &'static str,
    },
    /// The content does not fit.
    #[error("the file system needs up to {need}, and has {have}")]
    TooSmall {
        /// What would do, if no block of any file were zero.
        need: ByteCount,
        /// What there is.
        have: ByteCount,
    },
    /// An option is out of range.
    #[error("{what} is {value}: {limit}")]
    Option {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        limit: &'static str,
    },
    /// The tree has something that ext4, or this writer, cannot hold.
    #[error("`{path}` {why}")]
    Unsupported {
        /// The entry.
        path: TreePath,
        /// What about it.
        why: Unsupported,
    },
}

/// What of a tree cannot be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A directory with two names.
    #[error("is a second name of a directory")]
    LinkedDirectory,
    /// More than 65 000 hard links.
    #[error("has {0} hard links: at most 65000 are possible")]
    Links(u64),
    /// More than 2^32 − 1 blocks of 4096 bytes.
    #[error("has {0} bytes: fewer than 2^44 are possible")]
    Size(u64),
    /// Empty, or 4096 bytes or longer.
    #[error("is a symbolic link to {0} bytes: 1 to 4095 are possible")]
    LinkTarget(usize),
    /// A major number from 2^12 or a minor number from 2^20.
    #[error("is device {major}:{minor}: possible is below 4096:1048576")]
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Before 1901 or after 2446.
    #[error("is of {0} s after 1970: possible is -2147483648 to 15032385535")]
    Time(i64),
    /// Not a directory.
    #[error("is not a directory, as e2fsck needs it to be")]
    LostAndFound,
    /// An attribute whose name space has no number in ext4.
    #[error("has the attribute `{0}`, which has no place in ext4")]
    AttributeName(String),
    /// An access control list that is no access control list.
    #[error("has a malformed access control list in `{0}`")]
    AccessList(String),
    /// More attributes than an inode and a block take.
    #[error("has {0} bytes of attributes, more than fit into one block")]
    AttributeSize(usize),
}

/// Writes a file system with a tree in it.
///
/// Positions in the output count from the beginning of the partition.
///
/// # Errors
/// [`WriteError`]; the output then holds an unfinished file system without a superblock.
pub fn write<W: Write + Seek>(
    tree: &FileTree,
    source: &dyn ContentSource,
    options: &Options,
    output: &mut W,
) -> Result<Summary, WriteError> {
    let catalog = Catalog::of(tree)?;
    let geometry = Geometry::plan(options, catalog.last_number())?;
    let (mut blocks, places) = groups::place(&geometry)?;
    let fixed = blocks.used_count();
    let mut image = Image { output, seed: bytes::checksum(u32::MAX, options.uuid.as_bytes()), written: 0 };
    let mut tables = InodeTables::new(&geometry, &places);

    let mut fill = || -> Result<inode::BlockMap, WriteError> {
        let (root, rest) = catalog.in_order();
        content::write_node(&catalog, root, source, &mut blocks, &mut tables, &mut image)?;
        reserve::write(&geometry, options, &mut blocks, &mut tables, &mut image)?;
        let journal = content::write_journal(&geometry, options, &mut blocks, &mut tables, &mut image)?;
        for node in rest {
            content::write_node(&catalog, node, source, &mut blocks, &mut tables, &mut image)?;
        }
        tables.finish(&mut image)?;
        Ok(journal)
    };
    let journal = fill().map_err(|error| match error {
        WriteError::TooSmall { have, .. } => {
            let need = catalog.demand().saturating_add(fixed).saturating_add(geometry.journal_blocks + 1);
            WriteError::TooSmall { need: ByteCount::new(need.saturating_mul(BLOCK)), have }
        }
        other => other,
    })?;

    let totals = groups::write(&geometry, options, &places, &blocks, &tables, &journal, &mut image)?;
    Ok(Summary {
        size: ByteCount::new(geometry.block_count * BLOCK),
        free: ByteCount::new(totals.free_blocks * BLOCK),
        inodes: geometry.inode_count(),
        free_inodes: totals.free_inodes,
        written: ByteCount::new(image.written),
    })
}

/// The error of an allocation that found nothing; [`write`] knows how much it would have taken.
fn no_space(blocks: &Blocks) -> WriteError {
    let have = ByteCount::new(blocks.count() * BLOCK);
    WriteError::TooSmall { need: have, have }
}

/// The output, and what every checksum in it starts from.
struct Image<'a, W> {
    output: &'a mut W,
    seed: u32,
    written: u64,
}

impl<W: Write + Seek> Image<'_, W> {
    /// Writes whole blocks from a block on; zeros are left to the output.
    fn write_blocks(&mut self, block: u64, content: &[u8]) -> Result<(), WriteError> {
        self.write_at(block * BLOCK, content)
    }

    fn write_at(&mut self, offset: u64, content: &[u8]) -> Result<(), WriteError> {
        if content.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.output.seek(SeekFrom::Start(offset)).map_err(WriteError::Output)?;
        self.output.write_all(content).map_err(WriteError::Output)?;
        self.written += to_u64(content.len());
        Ok(())
    }

    /// What the checksums of an inode's own blocks start from.
    fn inode_seed(&self, number: u32) -> u32 {
        // The second term is the generation, which is zero in every inode here.
        bytes::checksum(bytes::checksum(self.seed, &number.to_le_bytes()), &[0; 4])
    }
}
