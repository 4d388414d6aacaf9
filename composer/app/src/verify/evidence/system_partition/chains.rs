//! The chains of clusters of a FAT32, checked before `fatfs` follows them: it takes them for granted.
//!
//! Both tables are the same, every chain ends within the file system, and no cluster is in two.
//! Source: Microsoft FAT Specification, version 1.03, sections 4 and 6.

use std::io::{Read as _, Seek as _, SeekFrom};

use goni_model::number::{to_u64, to_usize};

use super::SystemPartitionError;
use crate::host::image::Window;

/// Largest table that is looked at: 4 Mi clusters, of an EFI system partition of at least 2 GiB.
const TABLE_LIMIT: u64 = 16 << 20;

/// Bytes of a directory entry.
const ENTRY: usize = 32;

/// Where what is, by the boot sector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// Bytes of a sector.
    pub(super) sector: u64,
    /// Offset of the first table.
    pub(super) table: u64,
    /// Bytes of each table.
    pub(super) table_size: u64,
    /// Offset of the first cluster, which has number 2.
    pub(super) data: u64,
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    /// How many there are.
    pub(super) clusters: u64,
    /// First cluster of the root directory.
    pub(super) root: u64,
}

/// The tables, and which clusters were come by.
struct Chains {
    next: Vec<u32>,
    seen: Vec<bool>,
}

impl Chains {
    /// The clusters of a chain.
    fn follow(&mut self, first: u64) -> Result<Vec<u64>, SystemPartitionError> {
        let mut chain = Vec::new();
        let mut at = first;
        loop {
            let index = to_usize(at);
            let (Some(seen), Some(next)) = (self.seen.get_mut(index), self.next.get(index)) else {
                return Err(SystemPartitionError::Chains("a chain leaves the file system"));
            };
            if at < 2 || std::mem::replace(seen, true) {
                return Err(SystemPartitionError::Chains("a cluster is in two chains, or is none"));
            }
            chain.push(at);
            // The four highest bits are reserved.
            at = u64::from(next & 0x0FFF_FFFF);
            if at >= 0x0FFF_FFF8 {
                return Ok(chain);
            }
        }
    }
}

/// Follows every chain from the root directory on.
pub(super) fn check(window: &mut Window<'_>, geometry: &Geometry) -> Result<(), SystemPartitionError> {
    let length = (geometry.clusters + 2) * 4;
    if length > TABLE_LIMIT {
        return Err(SystemPartitionError::Chains("there are more clusters than are looked at"));
    }
    let mut read = |offset: u64, length: u64| {
        let mut bytes = vec![0; to_usize(length)];
        window.seek(SeekFrom::Start(offset))?;
        window.read_exact(&mut bytes)?;
        Ok::<_, SystemPartitionError>(bytes)
    };
    let table = read(geometry.table, length)?;
    if table != read(geometry.table + geometry.table_size, length)? {
        return Err(SystemPartitionError::Chains("the two tables differ"));
    }
    let (words, _) = table.as_chunks::<4>();
    let next: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let mut chains = Chains { seen: vec![false; next.len()], next };
    let mut open = vec![geometry.root];
    while let Some(directory) = open.pop() {
        'directory: for cluster in chains.follow(directory)? {
            let bytes = read(geometry.data + (cluster - 2) * geometry.cluster, geometry.cluster)?;
            let (entries, _) = bytes.as_chunks::<ENTRY>();
            for entry in entries {
                match (entry[0], entry[11]) {
                    (0, _) => break 'directory,
                    // Deleted; `.` and `..`; labels and long names, which both have the bit of a label.
                    (0xE5 | b'.', _) => {}
                    (_, attributes) if attributes & 0x08 != 0 => {}
                    (_, attributes) if attributes & 0x10 != 0 => open.push(first_cluster(entry)),
                    _ => check_file(entry, geometry, &mut chains)?,
                }
            }
        }
    }
    Ok(())
}

/// A file has as many clusters as its size takes.
fn check_file(
    entry: &[u8; ENTRY],
    geometry: &Geometry,
    chains: &mut Chains,
) -> Result<(), SystemPartitionError> {
    let size = u64::from(u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]));
    let first = first_cluster(entry);
    let clusters = if first == 0 { 0 } else { to_u64(chains.follow(first)?.len()) };
    if clusters != size.div_ceil(geometry.cluster) {
        return Err(SystemPartitionError::Chains("a file has more or fewer clusters than its size takes"));
    }
    Ok(())
}

fn first_cluster(entry: &[u8; ENTRY]) -> u64 {
    u64::from(u32::from_le_bytes([entry[26], entry[27], entry[20], entry[21]]))
}
