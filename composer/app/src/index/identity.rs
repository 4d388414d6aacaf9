//! Which image a file is: the identifiers of its partitions, read from its first bytes alone.
//!
//! Of a qcow2 image only the first cluster is looked up: the primary table is within it, whatever the size
//! of sectors. Source: QEMU, docs/interop/qcow2.rst, “Header”, “Cluster mapping”, “Compressed Clusters”.

use std::io::{self, Cursor, Read as _};
use std::path::Path;

use goni_disk::gpt::{self, GptError};
use goni_model::size::ByteCount;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::host::disk_file::DiskFile;

/// What a qcow2 image begins with.
const QCOW2: &[u8] = b"QFI\xfb";

/// Enough for a table of sectors of 4096 bytes: 6 of them.
const HEAD: u64 = 64 << 10;

/// Why an image cannot be told from others.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("reading it")]
    Io(#[from] io::Error),
    /// It has no partition table.
    #[error("reading its partition table")]
    Table(#[from] GptError),
    /// It is a qcow2 image of another kind than `build` writes.
    #[error("it is a qcow2 image with {0}")]
    Qcow2(&'static str),
}

impl Classify for IdentityError {
    fn class(&self) -> Class {
        match self {
            Self::Io(_) => Class::Environment,
            Self::Table(_) | Self::Qcow2(_) => Class::Check,
        }
    }
}

/// The identifiers of the partitions of an image, raw or qcow2, in their order.
pub(super) fn partitions(image: &Path) -> Result<Vec<Uuid>, IdentityError> {
    let disk = DiskFile::open(image)?;
    let head = at(&disk, 0, 112)?;
    let (bytes, size) = match head.starts_with(QCOW2) {
        true => first_cluster(&disk, &head)?,
        false => (at(&disk, 0, HEAD)?, disk.size()?.get()),
    };
    of_table(bytes, ByteCount::new(size))
}

fn of_table(bytes: Vec<u8>, size: ByteCount) -> Result<Vec<Uuid>, IdentityError> {
    let mut device = Cursor::new(bytes);
    let sector_size = gpt::sector_size(&mut device)?;
    let (table, _) = gpt::read_either(&mut device, size, sector_size)?;
    Ok(table.partitions.iter().map(|partition| partition.guid).collect())
}

/// So many bytes, or as many as there are.
fn at(disk: &DiskFile, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let end = disk.size()?.get();
    let (start, length) = (offset.min(end), length.min(end.saturating_sub(offset)));
    disk.window(ByteCount::new(start), ByteCount::new(length)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first cluster of the disk in a qcow2 image, and the size of that disk.
fn first_cluster(file: &DiskFile, head: &[u8]) -> Result<(Vec<u8>, u64), IdentityError> {
    let word = |bytes: &[u8], offset: usize| -> Result<u64, IdentityError> {
        let field = bytes.get(offset..offset + 8).and_then(|field| field.first_chunk());
        field
            .map(|field| u64::from_be_bytes(*field))
            .ok_or(IdentityError::Qcow2("a header that is cut short"))
    };
    let half = |offset: usize| -> Result<u64, IdentityError> { Ok(word(head, offset)? >> 32) };
    let (version, backing, bits, size) = (half(4)?, word(head, 8)?, half(20)?, word(head, 24)?);
    let (encryption, l1, features, compression) =
        (half(32)?, word(head, 40)?, word(head, 72)?, head.get(104));
    // Bit 3 says that the compression type is another than zlib.
    for (wrong, what) in [
        (version != 3, "another version than 3"),
        (backing != 0, "a backing file"),
        (encryption != 0, "encryption"),
        (features & !(1 << 3) != 0, "features that are not known"),
        (bits != 16, "clusters of another size than 64 KiB"),
    ] {
        if wrong {
            return Err(IdentityError::Qcow2(what));
        }
    }
    const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
    let l2 = word(&at(file, l1, 8)?, 0)? & OFFSET;
    let entry = if l2 == 0 { 0 } else { word(&at(file, l2, 8)?, 0)? };
    if entry & (1 << 62) == 0 {
        return match entry & OFFSET {
            0 => Err(IdentityError::Qcow2("nothing at its beginning")),
            offset => Ok((at(file, offset, HEAD)?, size)),
        };
    }
    // 62 - (16 - 8) bits of place, then how many sectors follow the first.
    let (offset, sectors) = (entry & ((1 << 54) - 1), (entry >> 54) & 0xff);
    let packed = at(file, offset, (sectors + 1) * 512 - offset % 512)?;
    let mut bytes = Vec::new();
    // What follows the end of the packed bytes is another cluster's.
    let read = match compression {
        Some(1) => zstd::stream::read::Decoder::with_buffer(&packed[..])
            .and_then(|decoder| decoder.single_frame().take(HEAD).read_to_end(&mut bytes)),
        _ => flate2::read::DeflateDecoder::new(&packed[..]).take(HEAD).read_to_end(&mut bytes),
    };
    read.map_err(|_| IdentityError::Qcow2("a first cluster that cannot be decompressed"))?;
    Ok((bytes, size))
}
