//! Preparing a disk while its machine is off. Only the overlay is written to, by QEMU's own tools.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use goni_disk::gpt::{self, Partition, Table};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::layout::{Role, derived_uuid};
use goni_model::number::to_u64;
use goni_model::size::{ByteCount, Lba, SectorSize};

use crate::host::command::{Run as _, System};
use crate::host::disk_file::DiskFile;
use crate::host::files::{self, FileError};
use crate::host::qemu::afterwards::place;
use crate::host::qemu::directory::TOOL_LIMIT;
use crate::host::qemu::{INSIDE, QemuError, RunDirectory};
use crate::host::toolbox::Toolbox;
use crate::smoke::preparation::{Planted, Preparation, Prepared};

/// The size of somebody's file system.
const FOREIGN: ByteCount = ByteCount::from_mib(8);
/// Where it begins on a second disk: where most tools put a first partition.
const ON_SECOND: ByteCount = ByteCount::from_mib(1);

impl RunDirectory {
    /// Prepares the disk of the present device, whose machine has to be off.
    ///
    /// # Errors
    /// [`QemuError`]; the image lacks the partition that is needed, among others.
    pub fn prepare_disk(
        &self,
        preparation: Preparation,
        sectors: SectorSize,
        arch: Arch,
        toolbox: &Toolbox,
        system: &System,
    ) -> Result<Prepared, QemuError> {
        let table = self.table(self.device(), sectors)?;
        let offset = |role: Role| {
            let lacking = || QemuError::Unprepared { preparation: preparation.name(), role: role.name() };
            place(&table, role, arch).map(|(offset, _)| offset).ok_or_else(lacking)
        };
        match preparation {
            Preparation::FlipRoot => {
                let offset = offset(Role::Root)?;
                let flipped = self.byte_of_image(offset)? ^ 1;
                let write = format!("write -q -P {flipped:#04x} {} 1", offset.get());
                self.write_to_disk(&write, toolbox, system)?;
                Ok(Prepared::default())
            }
            Preparation::ForeignSwap => {
                let offset = offset(Role::Swap)?;
                let inside = self.foreign(toolbox, system)?;
                let foreign = files::read_capped(&self.outside(&inside), FOREIGN.get())?;
                let sha256 = Sha256Digest::of(&foreign);
                let (from, length) = (inside.display(), FOREIGN.get());
                let write = format!("write -q -s {from} {} {length}", offset.get());
                self.write_to_disk(&write, toolbox, system)?;
                let planted = Planted { preparation, second_disk: None, offset, size: FOREIGN, sha256 };
                Ok(Prepared { planted: Some(planted), second_disk: None })
            }
            Preparation::TwinDisk => {
                offset(Role::Swap)?;
                let foreign = self.foreign(toolbox, system)?;
                let foreign = files::read_capped(&self.outside(&foreign), FOREIGN.get())?;
                let second = Path::new(INSIDE).join("second.raw");
                let original = |role: Role| {
                    table.partitions.iter().find(move |found| found.type_guid == role.type_guid(arch))
                };
                let originals: Vec<&Partition> =
                    [Role::Swap, Role::State].into_iter().filter_map(original).collect();
                let foreign = foreign.repeat(originals.len());
                self.write_second(&self.outside(&second), &twin(&originals, sectors), &foreign)?;
                let planted = Planted {
                    preparation,
                    second_disk: Some(second.clone()),
                    offset: ON_SECOND,
                    size: ByteCount::new(to_u64(foreign.len())),
                    sha256: Sha256Digest::of(&foreign),
                };
                Ok(Prepared { planted: Some(planted), second_disk: Some(second) })
            }
        }
    }

    fn byte_of_image(&self, offset: ByteCount) -> Result<u8, QemuError> {
        let image = self.image(self.device());
        let read = || {
            let disk = DiskFile::open(image)?;
            let mut byte = [0];
            disk.window(offset, ByteCount::new(1)).read_exact(&mut byte)?;
            Ok(byte[0])
        };
        Ok(read().map_err(FileError::io("reading", image))?)
    }

    fn write_to_disk(&self, write: &str, toolbox: &Toolbox, system: &System) -> Result<(), QemuError> {
        let command = self
            .command(toolbox, "qemu-io")?
            .args(["-f", "qcow2", "-c", write])
            .arg(self.disk())
            .timeout(TOOL_LIMIT);
        system.run(&command)?.success(&command)?;
        Ok(())
    }

    /// Somebody's file system, as a file that tools see.
    fn foreign(&self, toolbox: &Toolbox, system: &System) -> Result<PathBuf, QemuError> {
        let inside = Path::new(INSIDE).join("foreign.raw");
        let make = self
            .command(toolbox, "mke2fs")?
            .args(["-q", "-F", "-t", "ext4", "-L", "somebodys"])
            .arg(&inside)
            .arg(format!("{}k", FOREIGN.get() >> 10))
            .timeout(TOOL_LIMIT);
        system.run(&make)?.success(&make)?;
        Ok(inside)
    }

    fn write_second(&self, path: &Path, table: &Table, foreign: &[u8]) -> Result<(), QemuError> {
        let size = ON_SECOND.get() * 2 + to_u64(foreign.len());
        // An earlier preparation left its own; that there is none is as good.
        drop(std::fs::remove_file(path));
        let disk = DiskFile::create(path, ByteCount::new(size)).map_err(FileError::io("creating", path))?;
        let mut whole = disk.whole().map_err(FileError::io("writing", path))?;
        gpt::write(&mut whole, ByteCount::new(size), table)
            .map_err(|source| QemuError::Table { image: path.to_owned(), source })?;
        let written = whole.seek(SeekFrom::Start(ON_SECOND.get())).and_then(|_| whole.write_all(foreign));
        Ok(written.map_err(FileError::io("writing", path))?)
    }
}

/// The table of a disk whose partitions, one behind the other, say that they are those.
fn twin(originals: &[&Partition], sectors: SectorSize) -> Table {
    let lba = |bytes: u64| Lba::new(bytes / sectors.get());
    let twin = |(index, original): (usize, &&Partition)| {
        let begin = ON_SECOND.get() + to_u64(index) * FOREIGN.get();
        let (first, behind) = (lba(begin), lba(begin + FOREIGN.get()));
        Partition { first, last: Lba::new(behind.get() - 1), ..(*original).clone() }
    };
    Table {
        disk_guid: derived_uuid(&["twin disk"]),
        sector_size: sectors,
        partitions: originals.iter().enumerate().map(twin).collect(),
        in_mbr: None,
    }
}
