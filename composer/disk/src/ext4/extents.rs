//! Extent trees: where the blocks of a file lie.
//!
//! Source: ext4/ifork.rst, “Extent Tree”.

use std::io::{Seek, Write};

use goni_model::number::to_u64;

use super::allocation::{Blocks, Run};
use super::bytes::{checksum, low32, put, upper16};
use super::geometry::BLOCK_LENGTH;
use super::inode::BlockMap;
use super::{Image, WriteError, no_space};

/// `eh_magic`.
const MAGIC: u16 = 0xF30A;
/// Bytes of a header and of each entry.
const ENTRY: usize = 12;
/// Entries that the inode itself holds: 60 bytes less the header.
const IN_INODE: usize = 4;
/// Entries of a block, which also holds the header and a checksum of 4 bytes.
pub(super) const PER_BLOCK: usize = (BLOCK_LENGTH - ENTRY - 4) / ENTRY;
/// The most blocks of an initialised extent: one more would read as unwritten.
const MOST_BLOCKS: u32 = 32_768;

/// Consecutive blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    logical: u32,
    physical: u64,
    length: u32,
}

/// The blocks of a file, in order.
#[derive(Debug, Default)]
pub(super) struct ExtentMap {
    extents: Vec<Extent>,
    blocks: u64,
}

impl ExtentMap {
    /// Adds blocks behind those there are.
    pub(super) fn push(&mut self, logical: u32, run: Run) {
        self.blocks += run.length;
        let (mut logical, mut physical) = (logical, run.start);
        let mut left = u32::try_from(run.length).expect("a run of one file has fewer than 2^32 blocks");
        if let Some(last) = self.extents.last_mut()
            && last.logical + last.length == logical
            && last.physical + u64::from(last.length) == physical
        {
            let more = left.min(MOST_BLOCKS - last.length);
            last.length += more;
            (logical, physical, left) = (logical + more, physical + u64::from(more), left - more);
        }
        while left > 0 {
            let length = left.min(MOST_BLOCKS);
            self.extents.push(Extent { logical, physical, length });
            (logical, physical, left) = (logical + length, physical + u64::from(length), left - length);
        }
    }

    /// Writes what does not fit into the inode; returns what does.
    pub(super) fn write<W: Write + Seek>(
        &self,
        number: u32,
        blocks: &mut Blocks,
        image: &mut Image<'_, W>,
    ) -> Result<BlockMap, WriteError> {
        let seed = image.inode_seed(number);
        let mut block_count = self.blocks;
        let mut depth = 0_u16;
        // First logical block and encoded entry of everything at this depth.
        let mut level: Vec<(u32, [u8; ENTRY])> = self.extents.iter().map(|e| (e.logical, leaf(e))).collect();
        while level.len() > IN_INODE {
            let mut above = Vec::with_capacity(level.len().div_ceil(PER_BLOCK));
            for part in level.chunks(PER_BLOCK) {
                let run = blocks.take(1).ok_or_else(|| no_space(blocks))?;
                let mut block = vec![0; BLOCK_LENGTH];
                fill(&mut block[..BLOCK_LENGTH - 4], part, PER_BLOCK, depth);
                let sum = checksum(seed, &block[..BLOCK_LENGTH - 4]);
                put(&mut block, BLOCK_LENGTH - 4, sum.to_le_bytes());
                image.write_blocks(run.start, &block)?;
                let first = part[0].0;
                above.push((first, index(first, run.start)));
            }
            block_count += to_u64(above.len());
            level = above;
            depth += 1;
        }
        let mut i_block = [0; 60];
        fill(&mut i_block, &level, IN_INODE, depth);
        Ok(BlockMap { i_block, block_count, has_extents: true })
    }
}

/// Header and entries of one node.
fn fill(node: &mut [u8], entries: &[(u32, [u8; ENTRY])], most: usize, depth: u16) {
    let count = |count: usize| u16::try_from(count).expect("a node has at most 340 entries").to_le_bytes();
    put(node, 0, MAGIC.to_le_bytes());
    put(node, 2, count(entries.len()));
    put(node, 4, count(most));
    put(node, 6, depth.to_le_bytes());
    for (place, (_, entry)) in node[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        place.copy_from_slice(entry);
    }
}

/// `struct ext4_extent`.
fn leaf(extent: &Extent) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, extent.logical.to_le_bytes());
    let length = u16::try_from(extent.length).expect("an extent has at most 32768 blocks");
    put(&mut entry, 4, length.to_le_bytes());
    put(&mut entry, 6, upper16(extent.physical));
    put(&mut entry, 8, low32(extent.physical));
    entry
}

/// `struct ext4_extent_idx`.
fn index(logical: u32, block: u64) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, logical.to_le_bytes());
    put(&mut entry, 4, low32(block));
    put(&mut entry, 8, upper16(block));
    entry
}
