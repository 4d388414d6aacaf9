//! A table of which one copy may be torn: what firmware finds on a disk whose power was cut while
//! the table was written, or that has grown and whose backup is not yet at its end.
//!
//! Source: UEFI 2.10 §5.3.2: the backup is used where the primary is not valid.

use std::io::{self, Read, Seek, SeekFrom};

use ::gpt::header::{Header, read_header_from_arbitrary_device};
use ::gpt::partition::file_read_partitions;
use goni_model::size::{ByteCount, Lba, SectorSize};

use super::device::{Device, ReadOnly};
use super::read::{BACKUP, PRIMARY, check_dimensions, partition};
use super::write::{block_size, corrupt, library};
use super::{GptError, Table, last_sector};

/// One of the two copies of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// At the beginning of the disk.
    Primary,
    /// At its end.
    Backup,
}

/// Reads the primary copy of a table if it is whole, or else the backup at the end of the disk.
///
/// Either is checked by itself: its sums, its place, and that its partitions are possible.
///
/// # Errors
/// What is wrong with the primary copy, if the backup is not whole either.
pub fn read_either(
    device: &mut (impl Read + Seek),
    disk_size: ByteCount,
    sector_size: SectorSize,
) -> Result<(Table, Copy), GptError> {
    match read_copy(device, disk_size, sector_size, Copy::Primary) {
        Ok(table) => Ok((table, Copy::Primary)),
        Err(primary) => match read_copy(device, disk_size, sector_size, Copy::Backup) {
            Ok(table) => Ok((table, Copy::Backup)),
            Err(_) => Err(primary),
        },
    }
}

fn read_copy(
    device: &mut (impl Read + Seek),
    disk_size: ByteCount,
    sector_size: SectorSize,
    copy: Copy,
) -> Result<Table, GptError> {
    let (part, place) = match copy {
        Copy::Primary => (PRIMARY, Lba::new(1)),
        Copy::Backup => (BACKUP, last_sector(disk_size, sector_size)?),
    };
    check_dimensions(device, part, place, sector_size)?;
    let header = header(device, place, sector_size)?;
    if header.current_lba != place.get() {
        return Err(corrupt(part, &format!("it says that it is at sector {}", header.current_lba)));
    }
    let mut disk = Device::new(ReadOnly(&mut *device), disk_size);
    let entries = file_read_partitions(&mut disk, &header, block_size(sector_size))
        .map_err(|error| library(error.into(), "reading a copy of the partition table"))?;
    let partitions = entries.values().map(partition).collect();
    // Whatever the MBR says: a table is found without it.
    let table = Table { disk_guid: header.disk_guid, sector_size, partitions, in_mbr: None };
    table.check(disk_size)?;
    Ok(table)
}

/// The header at a place, with its sum checked.
fn header(device: &mut (impl Read + Seek), place: Lba, sector_size: SectorSize) -> Result<Header, GptError> {
    let before = Lba::new(place.get().saturating_sub(1));
    let shift = before.offset(sector_size).map_or(0, ByteCount::get);
    let mut shifted = Shifted { inner: device, shift };
    read_header_from_arbitrary_device(&mut shifted, block_size(sector_size))
        .map_err(|error| library(error.into(), "reading a header of the partition table"))
}

/// A disk without its beginning: the `gpt` crate reads a header only from the second sector.
struct Shifted<'a, D> {
    inner: &'a mut D,
    shift: u64,
}

impl<D: Read> Read for Shifted<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl<D: Seek> Seek for Shifted<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(place) => {
                SeekFrom::Start(place.checked_add(self.shift).ok_or(io::ErrorKind::InvalidInput)?)
            }
            other => other,
        };
        Ok(self.inner.seek(to)?.saturating_sub(self.shift))
    }
}
