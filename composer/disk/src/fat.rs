//! FAT32 images: the EFI system partition.
//!
//! Written once from a file tree, every file and directory in one piece, so that the size needed is
//! known before the first byte. Zero sectors of the tables are never written: the output must read as
//! zeros wherever nothing was written.
//!
//! Owners and modes are ignored, for FAT has no place for them and firmware does not look. Hard links
//! become copies. Anything else that FAT cannot hold is an error. FAT12 and FAT16 are left out: UEFI
//! asks for FAT32 on an EFI system partition.
//!
//! Source: Microsoft FAT Specification, version 1.03 (“the specification”). Integers little-endian.

mod boot;
mod catalog;
mod directory;
mod geometry;
mod name;
#[cfg(test)]
mod tests;
mod time;

use std::io::{self, Read, Seek, SeekFrom, Write};

use goni_model::number::{to_u64, to_usize};
use goni_model::size::{ByteCount, SectorSize};
use goni_model::time::Timestamp;

use crate::tree::{Content, ContentSource, FileTree, TreePath};
use catalog::{Catalog, Held};
use geometry::Geometry;

pub use name::InvalidName;

/// How to lay out a file system.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the partition.
    pub size: ByteCount,
    /// Logical sector of the disk it is on.
    pub sector_size: SectorSize,
    /// Serial number of the volume.
    pub volume_id: u32,
    /// Volume label: 1 to 11 characters of upper-case ASCII.
    pub label: String,
    /// No file is later than this; the root and the label are of this time.
    pub build_time: Timestamp,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Size of a cluster.
    pub cluster: ByteCount,
    /// Free space.
    pub free: ByteCount,
}

/// Why a tree does not become a file system.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("writing the file system")]
    Output(#[source] io::Error),
    /// The content of a file could not be read.
    #[error("reading the content of `{path}`")]
    Content {
        /// The file.
        path: TreePath,
        /// What its source raised.
        #[source]
        source: io::Error,
    },
    /// The content of a file is shorter or longer than the tree says.
    #[error("`{path}` holds {found} than the {promised} bytes it should")]
    ContentLength {
        /// The file.
        path: TreePath,
        /// Its size by the tree.
        promised: u64,
        /// What its source did instead: `more` or `less`.
        found: &'static str,
    },
    /// The content does not fit, or FAT32 does not come so small.
    #[error("the file system needs {need}, and has {have}")]
    TooSmall {
        /// What would do.
        need: ByteCount,
        /// What there is.
        have: ByteCount,
    },
    /// More than FAT32 can address with clusters of at most 32 KiB.
    #[error("the file system has {0}: at most 2^32 sectors are possible")]
    TooLarge(ByteCount),
    /// The label is not one.
    #[error("`{0}` is no volume label: 1 to 11 characters of upper-case ASCII are possible")]
    Label(String),
    /// The tree has something that FAT cannot hold.
    #[error("`{path}` is {kind}, which FAT cannot hold")]
    Kind {
        /// The entry.
        path: TreePath,
        /// What it is.
        kind: &'static str,
    },
    /// The name is not possible.
    #[error("`{path}` cannot be named so on FAT")]
    Name {
        /// The entry.
        path: TreePath,
        /// What about it.
        #[source]
        source: InvalidName,
    },
    /// Two names in one directory differ only in case, which FAT does not tell apart.
    #[error("`{path}` and `{other}` are one name on FAT")]
    SameName {
        /// The later.
        path: TreePath,
        /// The earlier.
        other: TreePath,
    },
    /// A file of 4 GiB or more.
    #[error("`{path}` has {size} bytes: fewer than 2^32 are possible")]
    FileTooLarge {
        /// The file.
        path: TreePath,
        /// Its size.
        size: u64,
    },
    /// A directory of more than 65536 entries of 32 bytes, of which a long name takes several.
    #[error("`{path}` has more names than a FAT directory holds")]
    DirectoryTooLarge {
        /// The directory.
        path: TreePath,
    },
}

/// Writes a file system with a tree in it.
///
/// Positions in the output count from the beginning of the partition.
///
/// # Errors
/// [`WriteError`]; nothing is written unless all fits.
pub fn write<W: Write + Seek>(
    tree: &FileTree,
    source: &dyn ContentSource,
    options: &Options,
    output: &mut W,
) -> Result<Summary, WriteError> {
    let label = name::label(&options.label).ok_or_else(|| WriteError::Label(options.label.clone()))?;
    let catalog = Catalog::of(tree)?;
    let geometry = Geometry::plan(options)?;
    let placement = catalog.place(&geometry);
    if placement.used > geometry.clusters {
        let missing = (placement.used - geometry.clusters) * geometry.cluster_size();
        // Each cluster more also takes its two entries of the tables.
        let tables = missing.div_ceil(geometry.cluster_size()) * 8 + 2 * geometry.sector;
        let need = ByteCount::new(options.size.get() + missing + tables);
        return Err(WriteError::TooSmall {
            need: need.round_up(goni_model::size::Alignment::MIB).unwrap_or(need),
            have: options.size,
        });
    }
    let mut image = Image { output };
    let mut buffer = vec![0; PIECE];
    for (index, node) in catalog.nodes().enumerate() {
        let Some(first) = placement.first[index] else { continue };
        let start = geometry.cluster_offset(first);
        match &node.held {
            Held::Directory(_) => {
                let entries = directory::encode(&catalog, index, &placement, &label, options.build_time);
                image.write_at(start, &entries)?;
            }
            Held::File(content) => image.copy(start, node.path, content, source, &mut buffer)?,
        }
    }
    for copy in 0..geometry::TABLES {
        write_table(&geometry, &placement, copy, &mut image)?;
    }
    boot::write(&geometry, options, &label, placement.used, &mut image)?;
    Ok(Summary {
        cluster: ByteCount::new(geometry.cluster_size()),
        free: ByteCount::new((geometry.clusters - placement.used) * geometry.cluster_size()),
    })
}

/// Bytes read and written at a time.
const PIECE: usize = 1 << 20;
/// Marks the last cluster of a chain; also the reserved second entry. Specification, section 4.
const END_OF_CHAIN: u32 = 0x0FFF_FFFF;
/// The reserved first entry: the media byte of a fixed disk, other bits set.
const FIRST_ENTRY: u32 = 0x0FFF_FFF8;

/// Writes one copy of the file allocation table, which is runs of ascending numbers.
fn write_table<W: Write + Seek>(
    geometry: &Geometry,
    placement: &catalog::Placement,
    copy: u64,
    image: &mut Image<'_, W>,
) -> Result<(), WriteError> {
    let mut offset = geometry.table_offset(copy);
    let mut piece: Vec<u8> = Vec::with_capacity(PIECE);
    let reserved = [FIRST_ENTRY, END_OF_CHAIN].into_iter();
    let chains = placement.runs.iter().flat_map(|(first, count)| {
        let end = first + count;
        (first + 1..end).map(cluster_number).chain(std::iter::once(END_OF_CHAIN))
    });
    for entry in reserved.chain(chains) {
        piece.extend_from_slice(&entry.to_le_bytes());
        if piece.len() == PIECE {
            image.write_at(offset, &piece)?;
            offset += to_u64(PIECE);
            piece.clear();
        }
    }
    image.write_at(offset, &piece)
}

/// A cluster as a table or an entry names it.
fn cluster_number(cluster: u64) -> u32 {
    u32::try_from(cluster).expect("geometry has fewer than 2^28 clusters")
}

/// The output.
struct Image<'a, W> {
    output: &'a mut W,
}

impl<W: Write + Seek> Image<'_, W> {
    fn write_at(&mut self, offset: u64, content: &[u8]) -> Result<(), WriteError> {
        self.output.seek(SeekFrom::Start(offset)).map_err(WriteError::Output)?;
        self.output.write_all(content).map_err(WriteError::Output)
    }

    /// Copies the content of a file to a place.
    fn copy(
        &mut self,
        offset: u64,
        path: &TreePath,
        content: &Content,
        source: &dyn ContentSource,
        buffer: &mut [u8],
    ) -> Result<(), WriteError> {
        let promised = content.size();
        let failed = |source| WriteError::Content { path: path.clone(), source };
        let wrong = |found| WriteError::ContentLength { path: path.clone(), promised, found };
        let mut reader = content.open(source).map_err(failed)?.take(promised + 1);
        self.output.seek(SeekFrom::Start(offset)).map_err(WriteError::Output)?;
        let mut left = promised;
        loop {
            let count = match reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count.map_err(failed)?,
            };
            match (count, to_u64(count) > left) {
                (0, _) if left > 0 => return Err(wrong("less")),
                (0, _) => return Ok(()),
                (_, true) => return Err(wrong("more")),
                (_, false) => self.output.write_all(&buffer[..count]).map_err(WriteError::Output)?,
            }
            left -= to_u64(count);
        }
    }
}

/// Overwrites the bytes at an offset. Offsets are constants of the format, within the record.
fn put<const N: usize>(record: &mut [u8], offset: usize, value: [u8; N]) {
    record[offset..offset + N].copy_from_slice(&value);
}

/// How long a directory or file is in clusters.
fn clusters_of(bytes: u64, geometry: &Geometry) -> u64 {
    bytes.div_ceil(geometry.cluster_size())
}

/// A length in memory from a number of sectors.
fn bytes_of(sectors: u64, sector: u64) -> usize {
    to_usize(sectors * sector)
}
