//! GUID partition tables: protective MBR, primary and backup header, 128 entries.
//!
//! Bytes are written and read by the `gpt` crate, and the protective MBR is read by `mbrman`; what
//! the crate leaves to its caller is checked here: overlaps, bounds, alignment, names, and that both
//! copies say the same. A hybrid MBR, which names a partition for firmware that reads no GPT, is `hybrid`'s.
//!
//! Source: UEFI 2.10 §5.2.3 and §5.3.

mod device;
mod either;
mod hybrid;
mod read;
mod write;

use std::io;

use goni_model::number::to_u64;
use goni_model::size::{Alignment, ByteCount, Lba, SectorSize};
use uuid::Uuid;

pub use either::{Copy, read_either};
pub use read::{read, sector_size};
pub use write::write;

/// Entries of a table, used or not: the least that UEFI allows, and what everyone writes.
const ENTRIES: u64 = 128;

/// Bytes of an entry.
const ENTRY_SIZE: u64 = 128;

/// UTF-16 code units of a name. Source: UEFI 2.10 §5.3.3.
const NAME_UNITS: usize = 36;

/// A partition table as it is meant: what [`write()`] writes and [`read()`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Names the disk.
    pub disk_guid: Uuid,
    /// What its LBAs count.
    pub sector_size: SectorSize,
    /// The partitions in the order of their numbers, from 1 on, without holes.
    pub partitions: Vec<Partition>,
    /// The GUID of a partition that the MBR names as well, as FAT32.
    pub in_mbr: Option<Uuid>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Up to 36 UTF-16 code units, no NUL.
    pub name: String,
    /// What it is for.
    pub type_guid: Uuid,
    /// Names it: its PARTUUID.
    pub guid: Uuid,
    /// Its first sector.
    pub first: Lba,
    /// Its last sector, which belongs to it.
    pub last: Lba,
    /// Its flags.
    pub attributes: Attributes,
}

/// Flags of a partition. Bits 0 to 2 mean the same everywhere, 48 to 63 what the type says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The file system grows to fill the partition when it is first mounted.
    /// Source: UAPI.2 Discoverable Partitions Specification, flags.
    pub const GROW_FILE_SYSTEM: Self = Self(1 << 59);
    /// Mounted read-only. Source: as above.
    pub const READ_ONLY: Self = Self(1 << 60);
    /// Not mounted automatically. Source: as above.
    pub const NO_AUTO: Self = Self(1 << 63);

    /// The flags of these bits.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of the other is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What makes a table impossible, or unlike any that we make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The disk is no whole number of sectors, or too small for both copies of the table.
    #[error("a disk of {disk_size} with sectors of {sector_size} bytes cannot hold a partition table")]
    Disk {
        /// Its size.
        disk_size: ByteCount,
        /// Bytes of its sectors.
        sector_size: u64,
    },
    /// More partitions than entries.
    #[error("{count} partitions are more than the {ENTRIES} a table holds")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// The name does not fit, or would end early.
    #[error("partition name `{name}` is over {NAME_UNITS} UTF-16 units or holds a NUL")]
    Name {
        /// The name.
        name: String,
    },
    /// A GUID of zeros, which marks an unused entry.
    #[error("partition `{name}` has a {which} of zeros")]
    NilGuid {
        /// Name of the partition.
        name: String,
        /// `type GUID` or `GUID`.
        which: &'static str,
    },
    /// Two partitions of one GUID.
    #[error("partitions `{one}` and `{other}` have the same GUID {guid}")]
    SameGuid {
        /// Name of the first.
        one: String,
        /// Name of the second.
        other: String,
        /// Their GUID.
        guid: Uuid,
    },
    /// It ends before it begins.
    #[error("partition `{name}` ends at sector {last}, before its first, {first}")]
    Backwards {
        /// Name of the partition.
        name: String,
        /// First sector.
        first: u64,
        /// Last sector.
        last: u64,
    },
    /// It reaches into a copy of the table, or past the end of the disk.
    #[error("partition `{name}` takes sectors {first} to {last}; the disk has {from} to {to} for partitions")]
    OutOfRange {
        /// Name of the partition.
        name: String,
        /// First sector.
        first: u64,
        /// Last sector.
        last: u64,
        /// First sector that a partition may use.
        from: u64,
        /// Last sector that a partition may use.
        to: u64,
    },
    /// It begins off the grain that flash and RAID like.
    #[error("partition `{name}` begins at sector {first}, off the grain of {}", ByteCount::new(Alignment::MIB.get()))]
    Unaligned {
        /// Name of the partition.
        name: String,
        /// First sector.
        first: u64,
    },
    /// A partition for the MBR that there is none of.
    #[error("the MBR is to name a partition {guid}, which the table does not have")]
    NotInTable {
        /// Its GUID.
        guid: Uuid,
    },
    /// A partition for the MBR that an MBR cannot name.
    #[error("partition `{name}` ends at sector {last}, past what an MBR can name")]
    PastMbr {
        /// Name of the partition.
        name: String,
        /// Its last sector.
        last: u64,
    },
    /// Two partitions share sectors.
    #[error(
        "partitions `{one}` and `{other}` overlap: `{one}` ends at sector {end}, `{other}` begins at {begin}"
    )]
    Overlap {
        /// Name of the one that begins first.
        one: String,
        /// Name of the other.
        other: String,
        /// Last sector of the one.
        end: u64,
        /// First sector of the other.
        begin: u64,
    },
}

/// Why a table was not written or not read.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// Reading or writing the disk.
    #[error("{action}")]
    Io {
        /// What was read or written.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The table is impossible.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A field has a value that is legal and that we do not handle.
    #[error("{part} has {field} {found}, expected {expected}")]
    Unsupported {
        /// `protective MBR`, `primary header` or `backup header`.
        part: &'static str,
        /// What is unusual.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// The only value that we handle.
        expected: u64,
    },
    /// The bytes are wrong.
    #[error("{part} is corrupt: {problem}")]
    Corrupt {
        /// `protective MBR`, `primary header`, `backup header` and the like.
        part: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Sectors that a copy of the entries takes.
fn entry_sectors(sector_size: SectorSize) -> u64 {
    ENTRIES * ENTRY_SIZE / sector_size.get()
}

/// Number of the last sector of a disk, which holds the backup header.
fn last_sector(disk_size: ByteCount, sector_size: SectorSize) -> Result<Lba, TableError> {
    let sectors = disk_size.get() / sector_size.get();
    // The MBR, two headers, two copies of the entries, and a sector for use.
    let least = 1 + 2 * (1 + entry_sectors(sector_size)) + 1;
    if !disk_size.get().is_multiple_of(sector_size.get()) || sectors < least {
        return Err(TableError::Disk { disk_size, sector_size: sector_size.get() });
    }
    Ok(Lba::new(sectors - 1))
}

/// First sector that a partition may use: behind MBR, header and entries; 34 or 6.
#[must_use]
pub fn first_usable(sector_size: SectorSize) -> Lba {
    Lba::new(2 + entry_sectors(sector_size))
}

/// Last sector that a partition may use: before the backup of the entries and of the header.
///
/// # Errors
/// `Disk` if the disk is no whole number of sectors, or too small for a table.
pub fn last_usable(disk_size: ByteCount, sector_size: SectorSize) -> Result<Lba, TableError> {
    let last = last_sector(disk_size, sector_size)?;
    Ok(Lba::new(last.get() - 1 - entry_sectors(sector_size)))
}

impl Table {
    /// Checks that this table is possible on a disk of a size.
    ///
    /// # Errors
    /// The first thing that makes it impossible.
    pub fn check(&self, disk_size: ByteCount) -> Result<(), TableError> {
        let to = last_usable(disk_size, self.sector_size)?;
        if to_u64(self.partitions.len()) > ENTRIES {
            return Err(TableError::TooMany { count: self.partitions.len() });
        }
        self.partitions.iter().try_for_each(|partition| partition.check(self.sector_size, to))?;
        for (index, one) in self.partitions.iter().enumerate() {
            if let Some(other) = self.partitions[index + 1..].iter().find(|other| other.guid == one.guid) {
                let (one, other) = (one.name.clone(), other.name.clone());
                return Err(TableError::SameGuid { one, other, guid: self.partitions[index].guid });
            }
        }
        hybrid::entry(self)?;
        let mut by_place: Vec<&Partition> = self.partitions.iter().collect();
        by_place.sort_by_key(|partition| partition.first);
        // None is backwards, so among neighbours is enough.
        for pair in by_place.array_windows() {
            let [one, other] = pair;
            if other.first <= one.last {
                return Err(TableError::Overlap {
                    one: one.name.clone(),
                    other: other.name.clone(),
                    end: one.last.get(),
                    begin: other.first.get(),
                });
            }
        }
        Ok(())
    }
}

impl Partition {
    /// Its size; `None` past 2^64 − 1 bytes, or if it ends before it begins.
    #[must_use]
    pub fn size(&self, sector_size: SectorSize) -> Option<ByteCount> {
        let sectors = self.last.get().checked_sub(self.first.get())?.checked_add(1)?;
        sectors.checked_mul(sector_size.get()).map(ByteCount::new)
    }

    fn check(&self, sector_size: SectorSize, to: Lba) -> Result<(), TableError> {
        let name = || self.name.clone();
        if self.name.encode_utf16().count() > NAME_UNITS || self.name.contains('\0') {
            return Err(TableError::Name { name: name() });
        }
        for (which, guid) in [("type GUID", self.type_guid), ("GUID", self.guid)] {
            if guid.is_nil() {
                return Err(TableError::NilGuid { name: name(), which });
            }
        }
        let (first, last) = (self.first.get(), self.last.get());
        if last < first {
            return Err(TableError::Backwards { name: name(), first, last });
        }
        let from = first_usable(sector_size);
        if self.first < from || self.last > to {
            let (from, to) = (from.get(), to.get());
            return Err(TableError::OutOfRange { name: name(), first, last, from, to });
        }
        if !self.first.offset(sector_size).is_some_and(|offset| offset.is_multiple_of(Alignment::MIB)) {
            return Err(TableError::Unaligned { name: name(), first });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
