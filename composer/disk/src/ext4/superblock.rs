//! The superblock.
//!
//! Source: ext4/super.rst.

use super::bytes::{checksum, high32, low32, put};
use super::geometry::{BLOCKS_PER_GROUP, DESCRIPTOR_SIZE, Geometry, INODE_SIZE, LOG_GROUPS_PER_FLEX};
use super::inode::{BlockMap, EXTRA_SIZE, JOURNAL, LOST_AND_FOUND};
use super::{Options, bytes};

/// Where the first copy lies; every other begins its group.
pub(super) const OFFSET: u64 = 1024;

/// `has_journal`, `ext_attr`, `resize_inode`, `dir_index`.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
/// `filetype`, `extents`, `64bit`, `flex_bg`.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// `sparse_super`, `large_file`, `huge_file`, `dir_nlink`, `extra_isize`, `metadata_csum`.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

/// Counted over the whole file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u64,
}

/// Encodes the copy of a group.
pub(super) fn encode(
    geometry: &Geometry,
    options: &Options,
    totals: &Totals,
    journal: &BlockMap,
    group: u64,
) -> [u8; 1024] {
    let mut record = [0; 1024];
    let seconds = options.build_time.seconds.to_le_bytes();
    let [s0, s1, s2, s3, seconds_high, ..] = seconds;
    let seconds = [s0, s1, s2, s3];
    for (offset, value) in [
        (0x00, low32(geometry.inode_count())),      // s_inodes_count
        (0x04, low32(geometry.block_count)),        // s_blocks_count_lo
        (0x0C, low32(totals.free_blocks)),          // s_free_blocks_count_lo
        (0x10, low32(totals.free_inodes)),          // s_free_inodes_count
        (0x18, 2_u32.to_le_bytes()),                // s_log_block_size: 1024 << 2
        (0x1C, 2_u32.to_le_bytes()),                // s_log_cluster_size
        (0x20, low32(BLOCKS_PER_GROUP)),            // s_blocks_per_group
        (0x24, low32(BLOCKS_PER_GROUP)),            // s_clusters_per_group
        (0x28, low32(geometry.inodes_per_group)),   // s_inodes_per_group
        (0x30, seconds),                            // s_wtime
        (0x40, seconds),                            // s_lastcheck
        (0x4C, 1_u32.to_le_bytes()),                // s_rev_level: dynamic
        (0x54, LOST_AND_FOUND.to_le_bytes()),       // s_first_ino
        (0x5C, COMPATIBLE.to_le_bytes()),           // s_feature_compat
        (0x60, INCOMPATIBLE.to_le_bytes()),         // s_feature_incompat
        (0x64, READ_ONLY_COMPATIBLE.to_le_bytes()), // s_feature_ro_compat
        (0xE0, JOURNAL.to_le_bytes()),              // s_journal_inum
        (0x100, 0xC_u32.to_le_bytes()),             // s_default_mount_opts: user_xattr, acl
        (0x108, seconds),                           // s_mkfs_time
        (0x150, high32(geometry.block_count)),      // s_blocks_count_hi
        (0x158, high32(totals.free_blocks)),        // s_free_blocks_count_hi
        (0x160, 1_u32.to_le_bytes()),               // s_flags: signed directory hash
    ] {
        put(&mut record, offset, value);
    }
    for (offset, value) in [
        (0x36, u16::MAX),    // s_max_mnt_count: no check by count
        (0x38, 0xEF53),      // s_magic
        (0x3A, 1),           // s_state: clean
        (0x3C, 1),           // s_errors: continue
        (0x15C, EXTRA_SIZE), // s_min_extra_isize
        (0x15E, EXTRA_SIZE), // s_want_extra_isize
    ] {
        put(&mut record, offset, value.to_le_bytes());
    }
    for (offset, value) in [
        (0x58, INODE_SIZE),               // s_inode_size
        (0x5A, group),                    // s_block_group_nr
        (0xCE, geometry.reserved_blocks), // s_reserved_gdt_blocks
        (0xFE, DESCRIPTOR_SIZE),          // s_desc_size
    ] {
        put(&mut record, offset, bytes::low16(value));
    }
    put(&mut record, 0x68, *options.uuid.as_bytes()); // s_uuid
    let label = options.label.as_bytes();
    record[0x78..0x78 + label.len()].copy_from_slice(label); // s_volume_name
    put(&mut record, 0xEC, *options.hash_seed.as_bytes()); // s_hash_seed
    record[0xFC] = 1; // s_def_hash_version: half MD4
    record[0xFD] = 1; // s_jnl_backup_type: the journal's inode, next
    put(&mut record, 0x10C, journal.i_block); // s_jnl_blocks
    let journal_size = geometry.journal_blocks * super::BLOCK;
    put(&mut record, 0x10C + 60, high32(journal_size));
    put(&mut record, 0x10C + 64, low32(journal_size));
    record[0x174] = LOG_GROUPS_PER_FLEX; // s_log_groups_per_flex
    record[0x175] = 1; // s_checksum_type: CRC-32C
    for offset in [
        0x274, // s_wtime_hi
        0x276, // s_mkfs_time_hi
        0x277, // s_lastcheck_hi
    ] {
        record[offset] = seconds_high;
    }
    let sum = checksum(u32::MAX, &record[..1020]);
    put(&mut record, 1020, sum.to_le_bytes()); // s_checksum
    record
}
