//! What a finished disk is handed out as: itself, digested, and a qcow2 image of it.

use std::io;
use std::path::{Path, PathBuf};

use goni_disk::qcow2::{self, Compression, Qcow2Error};
use goni_model::digest::Sha256Digest;
use goni_model::recipe::Qcow2Compression;
use goni_model::size::SectorSize;

use crate::build::OutputFile;
use crate::failure::{Class, Classify, Failure};
use crate::host::contents;
use crate::host::disk_file::DiskFile;
use crate::host::files;

/// Why a disk was not handed out.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("writing the qcow2 image")]
    Qcow2(#[from] Qcow2Error),
    #[error("reading back `{path}`")]
    ReadBack { path: PathBuf, source: io::Error },
}

impl Classify for ExportError {
    fn class(&self) -> Class {
        Class::Environment
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::ReadBack { source, .. } | Self::Qcow2(Qcow2Error::Io { source, .. }) => {
                files::full_disk_hint(source)
            }
            Self::Qcow2(_) => None,
        }
    }
}

/// A file that was read through: what it is called by in SHA256SUMS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digested {
    size: u64,
    sha256: Sha256Digest,
}

impl Digested {
    /// As the manifest tells it, for disks of a sector size.
    pub(super) const fn file(self, sector_size: SectorSize) -> OutputFile {
        OutputFile { size: self.size, sha256: self.sha256, sector_size: sector_size.get() }
    }
}

/// The files of a disk.
#[derive(Debug)]
pub(super) struct Exported {
    pub(super) raw: Digested,
    pub(super) qcow2: Option<Digested>,
}

/// Digests a disk and, if it is to have a qcow2 image, writes that to a file and digests it.
pub(super) fn export(
    disk: &DiskFile,
    qcow2: Option<&Path>,
    compression: Qcow2Compression,
) -> Result<Exported, Failure> {
    // Digesting is one core's work, compressing clusters fills the other.
    let (raw, qcow2) = rayon::join(
        || digest_raw(disk),
        || qcow2.map(|path| write_qcow2(disk, path, compression).and_then(|()| digest(path))).transpose(),
    );
    Ok(Exported { raw: raw?, qcow2: qcow2? })
}

fn digest_raw(disk: &DiskFile) -> Result<Digested, Failure> {
    let failed = |source| ExportError::ReadBack { path: disk.path().to_owned(), source };
    let (size, sha256) = contents::digest_disk(disk).map_err(failed)?;
    Ok(Digested { size, sha256 })
}

fn digest(path: &Path) -> Result<Digested, Failure> {
    let inspected =
        contents::inspect(path).map_err(|source| ExportError::ReadBack { path: path.to_owned(), source })?;
    Ok(Digested { size: inspected.size, sha256: inspected.sha256 })
}

fn write_qcow2(disk: &DiskFile, path: &Path, compression: Qcow2Compression) -> Result<(), Failure> {
    let failed = |source| ExportError::ReadBack { path: disk.path().to_owned(), source };
    let size = disk.size().map_err(failed)?;
    let mut raw = disk.whole().map_err(failed)?;
    let extents = disk.extents().map_err(failed)?;
    // As dense as takes no longer than reading: most of what is in an image is compressed already.
    let compression = match compression {
        Qcow2Compression::Zstd => Compression::Zstd(3),
        Qcow2Compression::Zlib => Compression::Zlib(6),
    };
    let mut output = files::create(path)?;
    qcow2::write(&mut raw, size, &extents, compression, &mut output).map_err(ExportError::Qcow2)?;
    Ok(())
}
