//! The resize inode: it owns the descriptor blocks kept for growing while mounted.
//!
//! Its double-indirect block names the reserved blocks behind the first descriptor table, and each
//! of those, as an indirect block, names its counterparts behind the copies of the table.
//!
//! Source: ext4/special_inodes.rst; the order of the names is that of kernel `verify_reserved_gdb`.

use std::io::{Seek, Write};

use goni_model::number::to_usize;

use super::allocation::Blocks;
use super::bytes::{low32, put};
use super::geometry::{BLOCK, BLOCK_LENGTH, Geometry, has_superblock};
use super::inode::{BlockMap, InodeTables, RESIZE, Record};
use super::{Image, Options, WriteError, no_space};

/// Block numbers in an indirect block.
const PER_BLOCK: u64 = BLOCK / 4;
/// Blocks named by the inode itself.
const DIRECT: u64 = 12;
/// Index in `i_block` of the double-indirect block.
const DOUBLE_INDIRECT: usize = 13;

/// Writes the inode and its indirect blocks. The reserved blocks themselves are in use already.
pub(super) fn write<W: Write + Seek>(
    geometry: &Geometry,
    options: &Options,
    blocks: &mut Blocks,
    tables: &mut InodeTables<'_>,
    image: &mut Image<'_, W>,
) -> Result<(), WriteError> {
    let root = blocks.take(1).ok_or_else(|| no_space(blocks))?.start;
    let copies: Vec<u64> =
        geometry.groups().skip(1).filter(|group| has_superblock(*group)).map(Geometry::group_start).collect();
    let first = 1 + geometry.descriptor_blocks;
    let mut named = vec![0; BLOCK_LENGTH];
    for block in first..first + geometry.reserved_blocks {
        // A descriptor block's place in the double-indirect block is its place in the table.
        let slot = to_usize((block - 1) % PER_BLOCK);
        put(&mut named, slot * 4, low32(block));
        let mut counterparts = vec![0; BLOCK_LENGTH];
        for (slot, start) in counterparts.chunks_exact_mut(4).zip(&copies) {
            slot.copy_from_slice(&low32(start + block));
        }
        image.write_blocks(block, &counterparts)?;
    }
    image.write_blocks(root, &named)?;

    let mut i_block = [0; 60];
    put(&mut i_block, DOUBLE_INDIRECT * 4, low32(root));
    let copy_count = copies.iter().fold(1, |count, _| count + 1);
    let map =
        BlockMap { i_block, block_count: 1 + geometry.reserved_blocks * copy_count, has_extents: false };
    // As large as what a double-indirect block can name, so that every name is within the file.
    let size = (DIRECT + PER_BLOCK + PER_BLOCK * PER_BLOCK) * BLOCK;
    tables.write(&Record::internal(RESIZE, size, map, options), image)
}
