//! Hybrid MBRs: a partition of the table is in the MBR as well, for firmware that reads no GPT.
//!
//! The Raspberry Pi's boot ROMs, before the Pi 4's, know an MBR alone. The partition comes first and what
//! protects the table second: the Pi 4's firmware takes an MBR that begins with the latter for a GPT of its own
//! kind. Linux and EDK II look for it in any of the four. No other partition is named, and none is active: two
//! tables that disagree lose data, one that knows a single partition that never moves cannot disagree.
//!
//! Source: UEFI 2.10 section 5.2; raspberrypi/firmware issues 1457 and 1465; `is_pmbr_valid` of Linux.

use std::io::{Seek, SeekFrom, Write};

use goni_model::size::Lba;
use mbrman::{BOOT_INACTIVE, CHS, MBRHeader, MBRPartitionEntry};
use uuid::Uuid;

use super::write::corrupt;
use super::{GptError, Partition, Table, TableError};

/// FAT32, addressed by sector number.
const FAT32_LBA: u8 = 0x0C;

/// Type of what protects a GPT. Source: UEFI 2.10 section 5.2.3.
pub(super) const PROTECTIVE: u8 = 0xEE;

/// What an MBR says of the heads and tracks of a place that it has only a number for.
///
/// Source: UEFI 2.10 section 5.2.3: 0xFFFFFF where a value cannot be.
const NO_CHS: CHS = CHS { cylinder: 1023, head: 255, sector: 63 };

const NAME: &str = "hybrid MBR";

/// The entry for the partition that the MBR names as well: its first sector, and how many it has.
pub(super) fn entry(table: &Table) -> Result<Option<(u32, u32)>, TableError> {
    let Some(guid) = table.in_mbr else { return Ok(None) };
    let named = table.partitions.iter().find(|partition| partition.guid == guid);
    let named = named.ok_or(TableError::NotInTable { guid })?;
    let past = || TableError::PastMbr { name: named.name.clone(), last: named.last.get() };
    let first = u32::try_from(named.first.get()).map_err(|_| past())?;
    let last = u32::try_from(named.last.get()).map_err(|_| past())?;
    Ok(Some((first, last.saturating_sub(first).saturating_add(1))))
}

/// Writes the MBR.
pub(super) fn write(device: &mut (impl Write + Seek), (first, sectors): (u32, u32)) -> Result<(), GptError> {
    let part = |sys, starting_lba, sectors| MBRPartitionEntry {
        boot: BOOT_INACTIVE,
        first_chs: NO_CHS,
        sys,
        last_chs: NO_CHS,
        starting_lba,
        sectors,
    };
    let mut mbr = MBRHeader::new([0; 4]);
    mbr.partition_1 = part(FAT32_LBA, first, sectors);
    // From the header to where the named partition begins.
    mbr.partition_2 = part(PROTECTIVE, 1, first.saturating_sub(1));
    device.seek(SeekFrom::Start(0)).map_err(writing)?;
    mbr.write_into(device).map_err(|error| match error {
        mbrman::Error::Io(source) => writing(source),
        other => corrupt(NAME, &other),
    })
}

fn writing(source: std::io::Error) -> GptError {
    GptError::Io { action: "writing the hybrid MBR", source }
}

/// The partition that a hybrid MBR names, which must be one of the table, and named as [`write`] names it.
pub(super) fn named(mbr: &MBRHeader, partitions: &[Partition]) -> Result<Uuid, GptError> {
    let unsupported =
        |field, found: u64, expected: u64| GptError::Unsupported { part: NAME, field, found, expected };
    let (fat, protective) = (&mbr.partition_1, &mbr.partition_2);
    let first = u64::from(fat.starting_lba);
    for (field, found, expected) in [
        ("type of the first partition", u64::from(fat.sys), u64::from(FAT32_LBA)),
        ("type of the second partition", u64::from(protective.sys), u64::from(PROTECTIVE)),
        ("first sector of the second", u64::from(protective.starting_lba), 1),
        ("sectors of the second", u64::from(protective.sectors), first.saturating_sub(1)),
        ("an active first partition", u64::from(fat.boot), u64::from(BOOT_INACTIVE)),
        ("an active second partition", u64::from(protective.boot), u64::from(BOOT_INACTIVE)),
    ] {
        if found != expected {
            return Err(unsupported(field, found, expected));
        }
    }
    let Some(partition) = partitions.iter().find(|partition| partition.first == Lba::new(first)) else {
        let problem = format!("it names a partition from sector {first}, where the table has none");
        return Err(corrupt(NAME, &problem));
    };
    let sectors = (partition.last.get() - partition.first.get()).saturating_add(1);
    if u64::from(fat.sectors) != sectors {
        return Err(unsupported("sectors of the first", u64::from(fat.sectors), sectors));
    }
    Ok(partition.guid)
}
