//! The same disk with sectors of another size.
//!
//! Root, hash tree, swap and state hold the same bytes at the same places, and are copied: they count
//! in blocks of their own. The partition table and the FAT of the EFI system partition count in sectors,
//! and are written anew.

use std::path::PathBuf;

use goni_disk::gpt;
use goni_disk::verity::RootHash;
use goni_model::layout::{Layout, Role};

use super::{ImageError, Parts, table, write_boot};
use crate::host::disk_file::DiskFile;
use crate::stages::boot::method::BootPartition;

/// A disk that differs from the first in the size of its sectors.
#[derive(Debug)]
pub struct Variant<'a> {
    /// Its file, not there yet.
    pub path: PathBuf,
    /// Where everything goes: the same bytes as on the first.
    pub layout: &'a Layout,
}

impl Variant<'_> {
    /// Writes it, from the first disk, finished.
    pub(super) fn write(
        &self,
        first: &DiskFile,
        parts: &Parts<'_>,
        boot: &[BootPartition],
        root_hash: Option<&RootHash>,
    ) -> Result<DiskFile, ImageError> {
        let failed = |source| ImageError::File { path: self.path.clone(), source };
        let disk = DiskFile::create(&self.path, self.layout.disk_size).map_err(failed)?;
        for slot in self.layout.slots().filter(|slot| slot.role != Role::Esp) {
            let start = slot.offset.get();
            disk.copy_from(first, start..start + slot.size.get()).map_err(failed)?;
        }
        for (role, tree) in boot.iter().filter(|(role, _)| *role == Role::Esp) {
            write_boot(&disk, parts, self.layout, *role, tree)?;
        }
        let table = table(parts, self.layout, root_hash);
        gpt::write(&mut disk.whole().map_err(failed)?, self.layout.disk_size, &table)?;
        Ok(disk)
    }
}
