//! Block groups: where bitmaps and tables lie, and the descriptors that say so.
//!
//! Source: ext4/group_descr.rst and ext4/bitmaps.rst.

use std::io::{Seek, Write};

use goni_model::number::to_usize;
use goni_model::size::ByteCount;

use super::allocation::{Blocks, Run};
use super::bytes::{checksum, high16, high32, low16, low32, put};
use super::geometry::{
    BLOCK, BLOCK_LENGTH, BLOCKS_PER_GROUP, DESCRIPTOR_SIZE, GROUPS_PER_FLEX, Geometry, has_superblock,
};
use super::inode::{BlockMap, InodeTables};
use super::superblock::{self, Totals};
use super::{Image, Options, WriteError};

/// `EXT4_BG_INODE_UNINIT`: the inode bitmap is to be taken as empty.
const INODE_UNINIT: u16 = 1;
/// `EXT4_BG_BLOCK_UNINIT`: the block bitmap is to be computed from the layout.
const BLOCK_UNINIT: u16 = 2;
/// `EXT4_BG_INODE_ZEROED`: the unused part of the inode table reads as zeros already.
const INODE_ZEROED: u16 = 4;

/// Where the metadata of each group lies.
#[derive(Debug)]
pub(super) struct Places {
    /// Block bitmap of each group.
    block_bitmaps: Vec<u64>,
    /// Inode bitmap of each group.
    inode_bitmaps: Vec<u64>,
    /// First block of each group's inode table.
    pub(super) tables: Vec<u64>,
}

/// Lays out all that does not depend on content: copies of the descriptors where `sparse_super` has
/// them, bitmaps and tables of sixteen groups together at the beginning of the first.
pub(super) fn place(geometry: &Geometry) -> Result<(Blocks, Places), WriteError> {
    let mut blocks = Blocks::new(geometry.block_count);
    let groups = geometry.groups();
    for group in groups.clone() {
        blocks.reserve(Run { start: Geometry::group_start(group), length: geometry.copy_blocks(group) });
    }
    let mut places = Places { block_bitmaps: vec![], inode_bitmaps: vec![], tables: vec![] };
    for first in groups.clone().step_by(to_usize(GROUPS_PER_FLEX)) {
        blocks.look_from(Geometry::group_start(first));
        let members = first..groups.end.min(first + GROUPS_PER_FLEX);
        for _ in members.clone() {
            places.block_bitmaps.push(take_whole(&mut blocks, 1, geometry)?);
        }
        for _ in members.clone() {
            places.inode_bitmaps.push(take_whole(&mut blocks, 1, geometry)?);
        }
        for _ in members {
            places.tables.push(take_whole(&mut blocks, geometry.table_blocks(), geometry)?);
        }
    }
    blocks.look_from(0);
    Ok((blocks, places))
}

fn take_whole(blocks: &mut Blocks, length: u64, geometry: &Geometry) -> Result<u64, WriteError> {
    let tables = geometry.group_count.saturating_mul(2 + geometry.table_blocks());
    let copies: u64 = geometry.groups().map(|group| geometry.copy_blocks(group)).sum();
    let need = tables.saturating_add(copies).saturating_add(geometry.journal_blocks);
    let error = || WriteError::TooSmall {
        need: ByteCount::new(need.saturating_mul(BLOCK)),
        have: ByteCount::new(geometry.block_count * BLOCK),
    };
    blocks.take_whole(length).ok_or_else(error)
}

/// Writes bitmaps, descriptors and superblocks: the last step, as all is known only now.
pub(super) fn write<W: Write + Seek>(
    geometry: &Geometry,
    options: &Options,
    places: &Places,
    blocks: &Blocks,
    tables: &InodeTables<'_>,
    journal: &BlockMap,
    image: &mut Image<'_, W>,
) -> Result<Totals, WriteError> {
    let mut table = vec![0; to_usize(geometry.descriptor_blocks) * BLOCK_LENGTH];
    for (group, descriptor) in geometry.groups().zip(table.chunks_exact_mut(to_usize(DESCRIPTOR_SIZE))) {
        write_group(geometry, group, places, blocks, tables, descriptor, image)?;
    }
    let totals = Totals {
        free_blocks: geometry.block_count - blocks.used_count(),
        free_inodes: geometry.inode_count() - tables.used_count(),
    };
    // The first superblock last: what is unfinished is no file system.
    for group in geometry.groups().rev().filter(|group| has_superblock(*group)) {
        image.write_blocks(Geometry::group_start(group) + 1, &table)?;
        let record = superblock::encode(geometry, options, &totals, journal, group);
        let offset = if group == 0 { superblock::OFFSET } else { Geometry::group_start(group) * BLOCK };
        image.write_at(offset, &record)?;
    }
    Ok(totals)
}

fn write_group<W: Write + Seek>(
    geometry: &Geometry,
    group: u64,
    places: &Places,
    blocks: &Blocks,
    tables: &InodeTables<'_>,
    descriptor: &mut [u8],
    image: &mut Image<'_, W>,
) -> Result<(), WriteError> {
    let index = to_usize(group);
    let start = Geometry::group_start(group);
    let length = geometry.group_blocks(group);
    let used_blocks: u64 = blocks.used_within(start, start + length).map(|run| run.length).sum();
    let used_inodes = tables.used(group);
    let mut flags = INODE_ZEROED;
    let (mut block_sum, mut inode_sum) = (0, 0);

    // The kernel can compute the bitmap of a group that holds nothing but copies of the superblock
    // and descriptors; the last group's never, for the end of the file system is in it.
    if used_blocks == geometry.copy_blocks(group) && group != 0 && group + 1 != geometry.group_count {
        flags |= BLOCK_UNINIT;
    } else {
        let mut bitmap = vec![0; BLOCK_LENGTH];
        for run in blocks.used_within(start, start + length) {
            set_bits(&mut bitmap, run.start - start, run.length);
        }
        set_bits(&mut bitmap, length, BLOCKS_PER_GROUP - length);
        block_sum = checksum(image.seed, &bitmap);
        image.write_blocks(places.block_bitmaps[index], &bitmap)?;
    }
    if used_inodes == 0 {
        flags |= INODE_UNINIT;
    } else {
        let mut bitmap = vec![0; BLOCK_LENGTH];
        set_bits(&mut bitmap, 0, used_inodes);
        set_bits(&mut bitmap, geometry.inodes_per_group, BLOCKS_PER_GROUP - geometry.inodes_per_group);
        inode_sum = checksum(image.seed, &bitmap[..to_usize(geometry.inodes_per_group / 8)]);
        image.write_blocks(places.inode_bitmaps[index], &bitmap)?;
    }

    let free_blocks = length - used_blocks;
    let free_inodes = geometry.inodes_per_group - used_inodes;
    let directories = tables.directories(group);
    let (block_sum, inode_sum) = (u64::from(block_sum), u64::from(inode_sum));
    put(descriptor, 0x00, low32(places.block_bitmaps[index])); // bg_block_bitmap_lo
    put(descriptor, 0x04, low32(places.inode_bitmaps[index])); // bg_inode_bitmap_lo
    put(descriptor, 0x08, low32(places.tables[index])); // bg_inode_table_lo
    put(descriptor, 0x0C, low16(free_blocks)); // bg_free_blocks_count_lo
    put(descriptor, 0x0E, low16(free_inodes)); // bg_free_inodes_count_lo
    put(descriptor, 0x10, low16(directories)); // bg_used_dirs_count_lo
    put(descriptor, 0x12, flags.to_le_bytes()); // bg_flags
    put(descriptor, 0x18, low16(block_sum)); // bg_block_bitmap_csum_lo
    put(descriptor, 0x1A, low16(inode_sum)); // bg_inode_bitmap_csum_lo
    put(descriptor, 0x1C, low16(free_inodes)); // bg_itable_unused_lo
    put(descriptor, 0x20, high32(places.block_bitmaps[index])); // bg_block_bitmap_hi
    put(descriptor, 0x24, high32(places.inode_bitmaps[index])); // bg_inode_bitmap_hi
    put(descriptor, 0x28, high32(places.tables[index])); // bg_inode_table_hi
    put(descriptor, 0x38, high16(block_sum)); // bg_block_bitmap_csum_hi
    put(descriptor, 0x3A, high16(inode_sum)); // bg_inode_bitmap_csum_hi
    let sum = checksum(checksum(image.seed, &low32(group)), descriptor);
    put(descriptor, 0x1E, low16(u64::from(sum))); // bg_checksum
    Ok(())
}

fn set_bits(bitmap: &mut [u8], start: u64, length: u64) {
    for bit in start..start + length {
        bitmap[to_usize(bit / 8)] |= 1 << (bit % 8);
    }
}
