//! The header, and what it says of entries.

use goni_model::number::{to_u64, to_usize};

use super::error::{ReadError, corrupt, reading};
use super::{COMPRESSED, COPIED, MAGIC, OFFSET, Place, SECTOR, ZEROS};
use crate::read_at::ReadAt;

/// The longest header that is looked at: all fields of version 3 that there are.
const HEADER: usize = 112;
/// The header of version 2, and what every image has at least.
const HEADER_2: usize = 72;

/// `cluster_bits` from 512 bytes to 2 MiB. Source: QEMU, block/qcow2.h, `MIN_CLUSTER_BITS` and following.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// Bytes of the largest L1 table that QEMU reads. Source: QEMU, block/qcow2.h, `QCOW_MAX_L1_SIZE`.
const L1_LIMIT: u64 = 32 << 20;

/// Longest name of a backing file. Source: qcow2.rst, `backing_file_size`.
const NAME_LIMIT: u64 = 1023;

/// Incompatible features. Source: qcow2.rst, `incompatible_features`.
const DIRTY: u64 = 1 << 0;
const DAMAGED: u64 = 1 << 1;
const EXTERNAL: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

/// What the header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    version: u32,
    cluster_bits: u32,
    /// Bytes of the disk.
    pub(super) size: u64,
    pub(super) l1_offset: u64,
    /// Entries of the L1 table that the disk takes.
    pub(super) l1_entries: u64,
    /// Whether clusters are compressed by zstd, not zlib.
    pub(super) zstd: bool,
}

/// Reads and checks the header.
pub(super) fn read(source: &impl ReadAt) -> Result<Header, ReadError> {
    let mut bytes = [0; HEADER];
    let length = to_usize(source.size().min(to_u64(HEADER)));
    source.read_exact_at(&mut bytes[..length], 0).map_err(reading("reading the header"))?;
    if bytes[..4] != MAGIC {
        return Err(ReadError::Magic);
    }
    let word = |at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().expect("fields are within"));
    let long = |at: usize| u64::from_be_bytes(*bytes[at..].first_chunk().expect("fields are within"));
    let version = word(4);
    let unsupported = |need: String| Err(ReadError::Unsupported { need });
    if !(2..=3).contains(&version) {
        return unsupported(format!("is of version {version}"));
    }
    let needed = if version == 3 { 104 } else { HEADER_2 };
    if length < needed {
        let (end, size) = (to_u64(needed), source.size());
        return Err(ReadError::Outside { part: "the header", offset: 0, end, size });
    }
    if long(8) != 0 {
        return Err(backing(source, long(8), u64::from(word(16))));
    }
    if word(32) != 0 {
        return unsupported("is encrypted".to_owned());
    }
    // What is behind the header of version 2 are extensions.
    let (features, header_length) = if version == 3 { (long(72), word(100)) } else { (0, 0) };
    if features & DAMAGED != 0 {
        return Err(corrupt(72, "it is marked as corrupt"));
    }
    if features & EXTERNAL != 0 {
        return unsupported("keeps its bytes in a file of their own".to_owned());
    }
    if features & EXTENDED_L2 != 0 {
        return unsupported("has clusters with parts of their own (extended L2 entries)".to_owned());
    }
    let unknown = features & !(DIRTY | COMPRESSION_TYPE);
    if unknown != 0 {
        return unsupported(format!("has the incompatible features {unknown:#x}"));
    }
    let compression = if header_length > 104 { bytes[104] } else { 0 };
    if compression > 1 {
        return unsupported(format!("is compressed by method {compression}"));
    }
    let cluster_bits = word(20);
    if !CLUSTER_BITS.contains(&cluster_bits) {
        return Err(corrupt(20, format!("clusters of 2^{cluster_bits} bytes")));
    }
    let size = long(24);
    let mut header =
        Header { version, cluster_bits, size, l1_offset: long(40), l1_entries: 0, zstd: compression == 1 };
    header.l1_entries = size.div_ceil(header.cluster() * header.entries());
    if header.l1_entries * 8 > L1_LIMIT {
        return unsupported(format!("is of a disk of {size} bytes in clusters of {}", header.cluster()));
    }
    if u64::from(word(36)) < header.l1_entries {
        let problem = format!("{} entries of the L1 table are too few for a disk of {size} bytes", word(36));
        return Err(corrupt(36, problem));
    }
    if !header.l1_offset.is_multiple_of(header.cluster()) {
        return Err(corrupt(40, format!("the L1 table is at {}", header.l1_offset)));
    }
    Ok(header)
}

fn backing(source: &impl ReadAt, offset: u64, length: u64) -> ReadError {
    let mut name = vec![0; to_usize(length.min(NAME_LIMIT))];
    match source.read_exact_at(&mut name, offset) {
        Ok(()) => ReadError::Backing { name: String::from_utf8_lossy(&name).into_owned() },
        Err(source) => ReadError::Io { action: "reading the name of the backing file", source },
    }
}

impl Header {
    /// Bytes of a cluster.
    pub(super) const fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table, which fills a cluster.
    pub(super) const fn entries(&self) -> u64 {
        self.cluster() / 8
    }

    /// Where an entry of an L2 table says that a cluster is.
    pub(super) fn place(&self, entry: u64) -> Result<Place, String> {
        let wrong = || format!("an entry of an L2 table is {entry:#x}");
        if entry & COMPRESSED != 0 {
            // The fewer bits the count of sectors takes, the more there are for the offset.
            let bits = 62 - (self.cluster_bits - 8);
            let descriptor = entry & (COMPRESSED - 1);
            let offset = descriptor & ((1 << bits) - 1);
            let sectors = (descriptor >> bits) + 1;
            if entry & COPIED != 0 || offset == 0 {
                return Err(wrong());
            }
            return Ok(Place::Compressed { offset, length: sectors * SECTOR - offset % SECTOR });
        }
        let offset = entry & OFFSET;
        let flags = if self.version == 3 { COPIED | ZEROS } else { COPIED };
        if entry & !(OFFSET | flags) != 0 || !offset.is_multiple_of(self.cluster()) {
            return Err(wrong());
        }
        Ok(if offset == 0 || entry & ZEROS != 0 { Place::Zeros } else { Place::Plain(offset) })
    }

    /// A part of the file ends before the file does.
    pub(super) fn within(
        &self,
        part: &'static str,
        offset: u64,
        length: u64,
        file: u64,
    ) -> Result<(), ReadError> {
        let end = offset.saturating_add(length);
        if end <= file { Ok(()) } else { Err(ReadError::Outside { part, offset, end, size: file }) }
    }
}
