//! How many groups, inodes, descriptor blocks: everything that follows from the options.

use goni_model::size::ByteCount;

use super::{JournalSize, Options, WriteError};

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;
/// The same, as a length.
pub(super) const BLOCK_LENGTH: usize = 4096;
/// Blocks of a group: as many as one bitmap block has bits.
pub(super) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;
/// Bytes of an inode.
pub(super) const INODE_SIZE: u64 = 256;
/// Inodes of a block.
pub(super) const INODES_PER_BLOCK: u64 = BLOCK / INODE_SIZE;
/// Bytes of a group descriptor. Source: ext4/group_descr.rst, 64bit feature.
pub(super) const DESCRIPTOR_SIZE: u64 = 64;
/// Logarithm of the groups whose bitmaps and tables lie together. As mke2fs chooses.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;
/// Groups whose bitmaps and tables lie together.
pub(super) const GROUPS_PER_FLEX: u64 = 1 << LOG_GROUPS_PER_FLEX;
/// The most reserved descriptor blocks: as many as one indirect block names.
/// Source: ext4/special_inodes.rst, “Resize inode”; `ext4_fill_super` refuses more.
const MOST_RESERVED: u64 = BLOCK / 4;
/// The most blocks of a file system with a resize inode, whose block numbers have 32 bits.
const MOST_BLOCKS: u64 = (1 << 32) - 1;
/// The least journal. Source: kernel `JBD2_MIN_JOURNAL_BLOCKS`.
const LEAST_JOURNAL: u64 = 1024;
/// Below, journal and tables leave nothing to put content into.
const LEAST_BLOCKS: u64 = 2 * LEAST_JOURNAL;
/// Blocks that a last group must have beyond its own metadata to be worth having. As in mke2fs.
const WORTHWHILE: u64 = 50;

/// The numbers of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Blocks in all.
    pub(super) block_count: u64,
    /// Groups in all; the last may be short.
    pub(super) group_count: u64,
    /// Inodes of each group, a whole number of blocks of them.
    pub(super) inodes_per_group: u64,
    /// Blocks of the descriptor table.
    pub(super) descriptor_blocks: u64,
    /// Blocks behind it, kept for growing.
    pub(super) reserved_blocks: u64,
    /// Blocks of the journal.
    pub(super) journal_blocks: u64,
}

impl Geometry {
    /// Decides the numbers for a tree that uses inodes up to a number.
    pub(super) fn plan(options: &Options, last_inode: u64) -> Result<Self, WriteError> {
        check(options)?;
        let mut block_count = options.size.get() / BLOCK;
        loop {
            let geometry = Self::with_blocks(options, block_count, last_inode)?;
            let last = geometry.group_count - 1;
            let rest = block_count - last * BLOCKS_PER_GROUP;
            let mut least = geometry.copy_blocks(last) + WORTHWHILE;
            if last.is_multiple_of(GROUPS_PER_FLEX) {
                least += 2 + geometry.table_blocks();
            }
            if last == 0 || rest >= least {
                return Ok(geometry);
            }
            block_count -= rest;
        }
    }

    fn with_blocks(options: &Options, block_count: u64, last_inode: u64) -> Result<Self, WriteError> {
        let group_count = block_count.div_ceil(BLOCKS_PER_GROUP);
        let wanted = last_inode + block_count * BLOCK / options.bytes_per_inode.get();
        let inodes_per_group = wanted.div_ceil(group_count).next_multiple_of(INODES_PER_BLOCK);
        if inodes_per_group > BLOCKS_PER_GROUP {
            // A bitmap block has bits for no more; only more groups hold more.
            let need = wanted.div_ceil(BLOCKS_PER_GROUP).saturating_mul(BLOCKS_PER_GROUP * BLOCK);
            return Err(WriteError::TooSmall { need: ByteCount::new(need), have: options.size });
        }
        let descriptor_blocks = descriptor_blocks(group_count);
        let grown = (options.grow_to.get() / BLOCK).min(MOST_BLOCKS).div_ceil(BLOCKS_PER_GROUP);
        Ok(Self {
            block_count,
            group_count,
            inodes_per_group,
            descriptor_blocks,
            reserved_blocks: descriptor_blocks_beyond(descriptor_blocks, grown),
            journal_blocks: match options.journal {
                JournalSize::Automatic => (block_count / 16).clamp(LEAST_JOURNAL, 32 * LEAST_JOURNAL),
                JournalSize::Exactly(size) => size.get() / BLOCK,
            },
        })
    }

    /// Inodes in all.
    pub(super) const fn inode_count(&self) -> u64 {
        self.inodes_per_group * self.group_count
    }

    /// Blocks of each group's inode table.
    pub(super) const fn table_blocks(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// The first block of a group.
    pub(super) const fn group_start(group: u64) -> u64 {
        group * BLOCKS_PER_GROUP
    }

    /// Blocks of a group.
    pub(super) fn group_blocks(&self, group: u64) -> u64 {
        BLOCKS_PER_GROUP.min(self.block_count - Self::group_start(group))
    }

    /// Blocks at the start of a group that hold superblock and descriptors, if it holds them.
    pub(super) fn copy_blocks(&self, group: u64) -> u64 {
        if has_superblock(group) { 1 + self.descriptor_blocks + self.reserved_blocks } else { 0 }
    }

    /// The groups, from the first.
    pub(super) fn groups(&self) -> std::ops::Range<u64> {
        0..self.group_count
    }
}

fn check(options: &Options) -> Result<(), WriteError> {
    let refuse = |what, value: String, limit| Err(WriteError::Option { what, value, limit });
    let blocks = options.size.get() / BLOCK;
    if blocks < LEAST_BLOCKS {
        return Err(WriteError::TooSmall { need: ByteCount::new(LEAST_BLOCKS * BLOCK), have: options.size });
    }
    if blocks > MOST_BLOCKS {
        return refuse("size", options.size.to_string(), "less than 16TiB is possible");
    }
    if options.label.len() > 16 || options.label.contains('\0') {
        return refuse("label", format!("`{}`", options.label), "16 bytes without NUL are possible");
    }
    if options.bytes_per_inode.get() < 2048 {
        return refuse("bytes per inode", options.bytes_per_inode.to_string(), "2KiB and more are possible");
    }
    if let JournalSize::Exactly(size) = options.journal
        && (size.get() / BLOCK < LEAST_JOURNAL || size.get() > options.size.get() / 2)
    {
        return refuse("journal", size.to_string(), "4MiB to half the file system are possible");
    }
    if !(0..1 << 40).contains(&options.build_time.seconds) {
        let seconds = options.build_time.seconds.to_string();
        return refuse("build time", seconds, "0 to 2^40 seconds after 1970 are possible");
    }
    Ok(())
}

const fn descriptor_blocks(groups: u64) -> u64 {
    (groups * DESCRIPTOR_SIZE).div_ceil(BLOCK)
}

/// At least one, so that every file system of ours has a resize inode.
fn descriptor_blocks_beyond(present: u64, groups: u64) -> u64 {
    descriptor_blocks(groups).saturating_sub(present).clamp(1, MOST_RESERVED)
}

/// Whether a group holds copies of superblock and descriptors: 0, 1 and the powers of 3, 5 and 7.
///
/// Source: ext4/blockgroup.rst, `sparse_super`.
pub(super) fn has_superblock(group: u64) -> bool {
    let is_power = |base: u64| {
        std::iter::successors(Some(base), |power| power.checked_mul(base)).find(|power| *power >= group)
            == Some(group)
    };
    group < 2 || [3, 5, 7].into_iter().any(is_power)
}
