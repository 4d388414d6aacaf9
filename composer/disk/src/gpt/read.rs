//! Reading a table back, both copies of it.

use std::io::{self, Read, Seek, SeekFrom};

use ::gpt::header::Header;
use ::gpt::partition::file_read_partitions;
use goni_model::number::to_u64;
use goni_model::size::{ByteCount, Lba, SectorSize};
use mbrman::MBRHeader;

use super::device::{Device, ReadOnly};
use super::write::{block_size, corrupt, library};
use super::{
    Attributes, ENTRIES, ENTRY_SIZE, GptError, Partition, Table, entry_sectors, first_usable, hybrid,
    last_sector, last_usable,
};

pub(super) const PRIMARY: &str = "primary header";
pub(super) const BACKUP: &str = "backup header";
const MBR: &str = "protective MBR";

/// What a header begins with. Source: UEFI 2.10 §5.3.2.
const SIGNATURE: [u8; 8] = *b"EFI PART";

/// The size of a disk's sectors, by where the header is: in the second. 512 where there is none.
///
/// # Errors
/// What reading raises.
pub fn sector_size(device: &mut (impl Read + Seek)) -> io::Result<SectorSize> {
    let mut found = Vec::new();
    device.seek(SeekFrom::Start(SectorSize::B4096.get()))?;
    device.take(to_u64(SIGNATURE.len())).read_to_end(&mut found)?;
    Ok(if found == SIGNATURE { SectorSize::B4096 } else { SectorSize::B512 })
}

/// Reads the table of a disk of a size and checks all of it: the protective MBR, the sums, both
/// copies against each other and against the size, and the partitions as [`Table::check`] does.
///
/// # Errors
/// `Io` for what reading raises, `Corrupt`, `Table` and `Unsupported` for what is there.
pub fn read(
    device: &mut (impl Read + Seek),
    disk_size: ByteCount,
    sector_size: SectorSize,
) -> Result<Table, GptError> {
    let last = last_sector(disk_size, sector_size)?;
    let mbr = read_mbr(device, last)?;
    // Before the crate sees them: it takes the number of entries for granted and holds them all.
    check_dimensions(device, PRIMARY, Lba::new(1), sector_size)?;
    check_dimensions(device, BACKUP, last, sector_size)?;

    let reading = |error| library(error, "reading the partition table");
    let mut disk = ::gpt::GptConfig::new()
        .logical_block_size(block_size(sector_size))
        .only_valid_headers(true)
        .open_from_device(Device::new(ReadOnly(device), disk_size))
        .map_err(reading)?;
    let primary = disk.primary_header().map_err(|error| reading(error.into()))?.clone();
    let backup = disk.backup_header().map_err(|error| reading(error.into()))?.clone();
    let first_entries = Lba::new(2);
    let last_entries = Lba::new(last.get() - entry_sectors(sector_size));
    check_places(PRIMARY, &primary, [Lba::new(1), last, first_entries], disk_size, sector_size)?;
    check_places(BACKUP, &backup, [last, Lba::new(1), last_entries], disk_size, sector_size)?;
    if primary.disk_guid != backup.disk_guid {
        let problem = format!("its disk GUID is {}, the primary's {}", backup.disk_guid, primary.disk_guid);
        return Err(GptError::Corrupt { part: BACKUP, problem });
    }
    let copy = file_read_partitions(disk.device_mut(), &backup, block_size(sector_size))
        .map_err(|error| library(error.into(), "reading the backup of the partition table"))?;
    if copy != *disk.partitions() {
        return Err(corrupt("backup of the partition table", &"it differs from the primary"));
    }

    let mut partitions = Vec::new();
    for (expected, (number, entry)) in (1..).zip(disk.partitions()) {
        if *number != expected {
            let (part, field) = ("partition table", "a hole: partition number");
            let (found, expected) = (u64::from(*number), u64::from(expected));
            return Err(GptError::Unsupported { part, field, found, expected });
        }
        partitions.push(partition(entry));
    }
    let in_mbr = mbr.map(|mbr| hybrid::named(&mbr, &partitions)).transpose()?;
    let table = Table { disk_guid: primary.disk_guid, sector_size, partitions, in_mbr };
    table.check(disk_size)?;
    Ok(table)
}

pub(super) fn partition(entry: &::gpt::partition::Partition) -> Partition {
    Partition {
        name: entry.name.clone(),
        type_guid: entry.part_type_guid.guid,
        guid: entry.part_guid,
        first: Lba::new(entry.first_lba),
        last: Lba::new(entry.last_lba),
        attributes: Attributes::new(entry.flags),
    }
}

/// Reads the MBR, which protects the table and names nothing; what it is if it is a hybrid one.
fn read_mbr(device: &mut (impl Read + Seek), last: Lba) -> Result<Option<MBRHeader>, GptError> {
    let mbr = MBRHeader::read_from(device).map_err(|error| match error {
        mbrman::Error::Io(source) => GptError::Io { action: "reading the protective MBR", source },
        other => corrupt(MBR, &other),
    })?;
    let unsupported = |field, found, expected| GptError::Unsupported { part: MBR, field, found, expected };
    let used = mbr.iter().filter(|(_, partition)| partition.is_used()).count();
    if used == 2 && mbr.partition_2.sys == hybrid::PROTECTIVE {
        return Ok(Some(mbr));
    }
    if used != 1 {
        return Err(unsupported("partitions:", goni_model::number::to_u64(used), 1));
    }
    let partition = &mbr.partition_1;
    for (field, found, expected) in [
        ("type", u64::from(partition.sys), u64::from(hybrid::PROTECTIVE)),
        ("first sector", u64::from(partition.starting_lba), 1),
        ("size in sectors", u64::from(partition.sectors), last.get().min(u64::from(u32::MAX))),
    ] {
        if found != expected {
            return Err(unsupported(field, found, expected));
        }
    }
    Ok(None)
}

/// Checks the sizes in a header before its sum is checked, for the sum of the entries needs them.
pub(super) fn check_dimensions(
    device: &mut (impl Read + Seek),
    part: &'static str,
    place: Lba,
    sector_size: SectorSize,
) -> Result<(), GptError> {
    let offset = place.offset(sector_size).ok_or_else(|| corrupt(part, &"it lies past 2^64 bytes"))?;
    let mut header = [0; 92];
    let reading = |source| GptError::Io { action: "reading a header of the partition table", source };
    device.seek(SeekFrom::Start(offset.get())).map_err(reading)?;
    device.read_exact(&mut header).map_err(reading)?;
    if !header.starts_with(b"EFI PART") {
        return Err(corrupt(part, &"no signature `EFI PART`"));
    }
    let word = |offset: usize| {
        let bytes: [u8; 4] = *header[offset..].first_chunk().expect("the fields lie within the header");
        u64::from(u32::from_le_bytes(bytes))
    };
    for (field, offset, expected) in [
        ("Revision", 8, 0x0001_0000),
        ("HeaderSize", 12, 92),
        ("NumberOfPartitionEntries", 80, ENTRIES),
        ("SizeOfPartitionEntry", 84, ENTRY_SIZE),
    ] {
        let found = word(offset);
        if found != expected {
            return Err(GptError::Unsupported { part, field, found, expected });
        }
    }
    Ok(())
}

/// Checks that a header says where it, the other one and its entries are, as the disk's size demands.
fn check_places(
    part: &'static str,
    header: &Header,
    [own, other, entries]: [Lba; 3],
    disk_size: ByteCount,
    sector_size: SectorSize,
) -> Result<(), GptError> {
    for (field, found, expected) in [
        ("MyLBA", header.current_lba, own),
        ("AlternateLBA", header.backup_lba, other),
        ("PartitionEntryLBA", header.part_start, entries),
        ("FirstUsableLBA", header.first_usable, first_usable(sector_size)),
        ("LastUsableLBA", header.last_usable, last_usable(disk_size, sector_size)?),
    ] {
        if found != expected.get() {
            return Err(GptError::Unsupported { part, field, found, expected: expected.get() });
        }
    }
    Ok(())
}
