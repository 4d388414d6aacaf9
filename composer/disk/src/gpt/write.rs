//! Writing a table.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use ::gpt::disk::LogicalBlockSize;
use ::gpt::mbr::{MBRError, ProtectiveMBR};
use ::gpt::partition_types::{OperatingSystem, Type};
use goni_model::number::to_usize;
use goni_model::size::{ByteCount, SectorSize};

use super::device::Device;
use super::{GptError, Partition, Table, hybrid, last_sector};

/// The crate's word for a sector size.
pub(super) const fn block_size(sector_size: SectorSize) -> LogicalBlockSize {
    match sector_size {
        SectorSize::B512 => LogicalBlockSize::Lb512,
        SectorSize::B4096 => LogicalBlockSize::Lb4096,
    }
}

/// Writes protective MBR, primary and backup copy to a disk of a size; the sectors between are left
/// alone. The crate reads back what it wrote, to sum it.
///
/// # Errors
/// `Table` if the table is impossible on such a disk, before anything is written; `Io` for what
/// reading and writing raise.
pub fn write(
    device: &mut (impl Read + Write + Seek),
    disk_size: ByteCount,
    table: &Table,
) -> Result<(), GptError> {
    table.check(disk_size)?;
    let last = last_sector(disk_size, table.sector_size)?;

    // The crate writes 512 bytes of the first sector, whatever its size.
    let first_sector = vec![0; to_usize(table.sector_size.get())];
    let writing = |source| GptError::Io { action: "writing the protective MBR", source };
    device.seek(SeekFrom::Start(0)).map_err(writing)?;
    device.write_all(&first_sector).map_err(writing)?;

    let named = hybrid::entry(table)?;
    let mut device = Device::new(device, disk_size);
    // A disk past 2^32 sectors has as many in its MBR as the field holds. Source: UEFI 2.10 §5.2.3.
    let protected = u32::try_from(last.get()).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(protected).overwrite_lba0(&mut device).map_err(|error| match error {
        MBRError::Io(source) => writing(source),
        other => corrupt("protective MBR", &other),
    })?;

    let partitions: BTreeMap<u32, _> = (1..).zip(table.partitions.iter().map(entry)).collect();
    let mut disk = ::gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(block_size(table.sector_size))
        .create_from_device(device, Some(table.disk_guid))
        .map_err(|error| library(error, "writing the partition table"))?;
    disk.update_partitions(partitions).map_err(|error| library(error, "writing the partition table"))?;
    let mut device = disk.write().map_err(|error| library(error, "writing the partition table"))?;
    match named {
        Some(named) => hybrid::write(&mut device, named),
        None => Ok(()),
    }
}

fn entry(partition: &Partition) -> ::gpt::partition::Partition {
    ::gpt::partition::Partition {
        part_type_guid: Type { guid: partition.type_guid, os: OperatingSystem::None },
        part_guid: partition.guid,
        first_lba: partition.first.get(),
        last_lba: partition.last.get(),
        flags: partition.attributes.bits(),
        name: partition.name.clone(),
    }
}

/// Sorts an error of the crate into one of our families.
pub(super) fn library(error: ::gpt::GptError, action: &'static str) -> GptError {
    match error {
        // The crate's own verdicts come as I/O errors of no kind, and no system call behind them.
        ::gpt::GptError::Io(verdict)
            if verdict.kind() == io::ErrorKind::Other && verdict.raw_os_error().is_none() =>
        {
            corrupt("partition table", &verdict)
        }
        ::gpt::GptError::Io(source) | ::gpt::GptError::Header(::gpt::header::HeaderError::Io(source)) => {
            GptError::Io { action, source }
        }
        other => corrupt("partition table", &other),
    }
}

pub(super) fn corrupt(part: &'static str, problem: &impl ToString) -> GptError {
    GptError::Corrupt { part, problem: problem.to_string() }
}
