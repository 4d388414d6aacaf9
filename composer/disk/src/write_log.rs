//! Write logs: every write to a disk in the order in which the writes ended, with its bytes.
//!
//! The format is that of the kernel's dm-log-writes target, as QEMU's block driver `blklogwrites`
//! writes it: a superblock, then for each write a sector with its description, followed by its bytes.
//! A log may be longer than its superblock says, for a machine that is killed leaves it so: what the
//! superblock does not count is not looked at. Only the descriptions are held; the bytes stay where
//! they are.
//!
//! Sources: Linux, drivers/md/dm-log-writes.c and Documentation/admin-guide/device-mapper/log-writes.rst;
//! QEMU, block/blklogwrites.c. Integers are little-endian; sectors are the log's own.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use goni_model::number::to_usize;

/// `WRITE_LOG_MAGIC`.
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// `WRITE_LOG_VERSION`.
const VERSION: u64 = 1;

/// `LOG_FLUSH_FLAG`: a flush of the cache, alone or before a write.
const FLUSH: u64 = 1 << 0;
/// `LOG_FUA_FLAG`: a write that is on the disk when it has ended.
const FUA: u64 = 1 << 1;
/// `LOG_DISCARD_FLAG`: the content is no longer needed; no bytes follow.
const DISCARD: u64 = 1 << 2;
/// `LOG_MARK_FLAG`: words of somebody who watched; bytes follow, but not for the disk.
const MARK: u64 = 1 << 3;
/// `LOG_METADATA_FLAG`: the kernel's alone, and of no consequence here.
const METADATA: u64 = 1 << 4;

/// Bytes of the superblock: magic, version, entries, size of a sector.
const SUPERBLOCK: usize = 8 + 8 + 8 + 4;
/// Bytes of a description: sector, number of sectors, flags, bytes of a mark.
const DESCRIPTION: usize = 4 * 8;
/// Sizes that sectors can have here: QEMU allows more, disks have these.
const SECTOR_SIZES: [u64; 2] = [512, 4096];

/// A log, without the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteLog {
    /// Bytes of a sector.
    pub sector_size: u64,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

/// One thing that happened to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it was.
    pub action: Action,
    /// Whether everything that ended before it is on the disk now.
    pub flush: bool,
    /// Whether it is itself on the disk now.
    pub forced: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Bytes were written: from this offset in the log to this offset of the disk.
    Write {
        /// First byte on the disk.
        offset: u64,
        /// How many.
        length: u64,
        /// Where they are in the log.
        from: u64,
    },
    /// Bytes are no longer needed, and read as zeros.
    Discard {
        /// First byte on the disk.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Nothing but a flush, or a mark.
    None,
}

impl Entry {
    /// The bytes of the disk that it changed.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        match self.action {
            // Read only if the end is a number.
            Action::Write { offset, length, .. } | Action::Discard { offset, length } => {
                offset..offset + length
            }
            Action::None => 0..0,
        }
    }
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WriteLogError {
    /// Reading the log.
    #[error("reading the write log")]
    Io(#[from] io::Error),
    /// It is possible, and nothing we handle.
    #[error("the write log has {field} {found}, expected {expected}")]
    Unsupported {
        /// What is unusual.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What we handle.
        expected: &'static str,
    },
    /// The bytes are wrong.
    #[error("the write log is corrupt at offset {offset}: {problem}")]
    Corrupt {
        /// Where, in bytes.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

/// How many entries a log has by now: its superblock alone is read. 0 where none is written yet.
///
/// # Errors
/// As [`read`], where there is a superblock.
pub fn count(log: &mut (impl Read + Seek)) -> Result<u64, WriteLogError> {
    let end = log.seek(SeekFrom::End(0))?;
    if end < 512 {
        return Ok(0);
    }
    superblock(log).map(|(entries, _)| entries)
}

/// Reads the descriptions of a log.
///
/// # Errors
/// [`WriteLogError`]; nothing a log says is believed that its own length contradicts.
pub fn read(log: &mut (impl Read + Seek)) -> Result<WriteLog, WriteLogError> {
    let end = log.seek(SeekFrom::End(0))?;
    let (count, sector_size) = superblock(log)?;
    // Each has a sector at least: so this bounds what is held, too.
    if count > end / sector_size {
        return Err(WriteLogError::Corrupt { offset: 16, problem: "more entries than the log has sectors" });
    }
    let mut entries = Vec::new();
    let mut position = sector_size;
    for _ in 0..count {
        let mut description = [0; DESCRIPTION];
        fill(log, position, end, &mut description)?;
        let (entry, bytes) = describe(&description, position, sector_size)?;
        entries.push(entry);
        let after = position + sector_size;
        position = after
            .checked_add(bytes)
            .filter(|next| *next <= end.next_multiple_of(sector_size))
            .ok_or(WriteLogError::Corrupt { offset: position + 8, problem: "more bytes than the log has" })?;
    }
    Ok(WriteLog { sector_size, entries })
}

/// Number of entries, and bytes of a sector.
fn superblock(log: &mut (impl Read + Seek)) -> Result<(u64, u64), WriteLogError> {
    let end = log.seek(SeekFrom::End(0))?;
    let mut bytes = [0; SUPERBLOCK];
    fill(log, 0, end, &mut bytes)?;
    if long(&bytes, 0) != MAGIC {
        return Err(WriteLogError::Corrupt { offset: 0, problem: "no magic of a write log" });
    }
    let version = long(&bytes, 8);
    if version != VERSION {
        return Err(WriteLogError::Unsupported { field: "version", found: version, expected: "1" });
    }
    let word = *bytes[24..].first_chunk().expect("within the superblock");
    let sector_size = u64::from(u32::from_le_bytes(word));
    if !SECTOR_SIZES.contains(&sector_size) {
        let (field, found) = ("sectors of", sector_size);
        return Err(WriteLogError::Unsupported { field, found, expected: "512 or 4096" });
    }
    Ok((long(&bytes, 16), sector_size))
}

/// What a description says, and how many bytes follow it.
fn describe(
    bytes: &[u8; DESCRIPTION],
    position: u64,
    sector_size: u64,
) -> Result<(Entry, u64), WriteLogError> {
    let (sector, sectors, flags, mark) = (long(bytes, 0), long(bytes, 8), long(bytes, 16), long(bytes, 24));
    if flags & !(FLUSH | FUA | DISCARD | MARK | METADATA) != 0 {
        return Err(WriteLogError::Unsupported { field: "flags", found: flags, expected: "the five known" });
    }
    let of_disk = || {
        let offset = sector.checked_mul(sector_size)?;
        let length = sectors.checked_mul(sector_size)?;
        offset.checked_add(length).map(|_| (offset, length))
    };
    let (offset, length) =
        of_disk().ok_or(WriteLogError::Corrupt { offset: position, problem: "a write past 2^64 bytes" })?;
    let (action, follow) = if flags & MARK != 0 {
        (Action::None, mark.checked_next_multiple_of(sector_size).unwrap_or(u64::MAX))
    } else if flags & DISCARD != 0 {
        (Action::Discard { offset, length }, 0)
    } else if length == 0 {
        (Action::None, 0)
    } else {
        (Action::Write { offset, length, from: position + sector_size }, length)
    };
    Ok((Entry { action, flush: flags & FLUSH != 0, forced: flags & FUA != 0 }, follow))
}

/// Reads bytes that must be there.
fn fill(log: &mut (impl Read + Seek), at: u64, end: u64, bytes: &mut [u8]) -> Result<(), WriteLogError> {
    if at.checked_add(goni_model::number::to_u64(bytes.len())).is_none_or(|last| last > end) {
        return Err(WriteLogError::Corrupt { offset: at, problem: "the log ends here" });
    }
    log.seek(SeekFrom::Start(at))?;
    log.read_exact(bytes)?;
    Ok(())
}

fn long(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(*bytes[offset..].first_chunk().expect("every field lies within its structure"))
}

/// Copies the bytes of a write from the log.
///
/// # Errors
/// What reading raises.
pub fn bytes(log: &mut (impl Read + Seek), from: u64, length: u64) -> io::Result<Vec<u8>> {
    log.seek(SeekFrom::Start(from))?;
    let mut bytes = vec![0; to_usize(length)];
    log.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
