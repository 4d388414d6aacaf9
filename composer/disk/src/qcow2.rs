//! qcow2 images: version 3, compressed, written once; and [read](self::read::Reader) at offsets.
//!
//! Clusters of 64 KiB are compressed on all cores; those of zeros are left out. The data comes
//! first, an L2 table behind every 512 MiB of the disk that has any, then the L1 table and the
//! reference counts; the header is written last, in front. Backing files, snapshots, encryption and
//! everything that would change an image in place are left out.
//!
//! Source: QEMU, docs/interop/qcow2.rst. Integers are big-endian.

mod cluster;
pub mod read;
mod tables;

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use cluster::{Batch, CLUSTER, Encoded};
use tables::Tables;

/// Bytes of a cluster, as an offset counts them.
const CLUSTER_SIZE: u64 = 1 << tables::CLUSTER_BITS;

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zstd at a level; needs QEMU 5.1 or later to read.
    Zstd(i32),
    /// Raw deflate at a level from 0 to 9; every QEMU reads it.
    Zlib(u32),
}

/// Why an image was not written.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Error {
    /// Reading or writing.
    #[error("{action}")]
    Io {
        /// What was read or written.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The disk is no whole number of sectors, or larger than an L1 table that QEMU reads.
    #[error("a disk of {size} is no whole number of sectors of 512 bytes up to 2048TiB")]
    Size {
        /// Size of the disk.
        size: ByteCount,
    },
    /// The data map is out of order, or past the end.
    #[error("data at {} to {} is out of order or past the end of a disk of {size}", extent.start, extent.end)]
    DataMap {
        /// The extent that is wrong.
        extent: Range<u64>,
        /// Size of the disk.
        size: ByteCount,
    },
}

/// Writes a raw disk of a size as an image.
///
/// Only the extents of `data` are read, in whole clusters; between them the disk is taken to be
/// zeros. They are in order, do not overlap, and lie within the disk; a disk that is not sparse is
/// the one extent `0..size`.
///
/// Memory: two batches of 4 MiB and their compressed form, one L2 table, and 2 bytes for every
/// 64 KiB written; the size of the disk adds 8 bytes for every 512 MiB.
///
/// # Errors
/// `Size` and `DataMap` before anything is written, `Io` for what reading and writing raise; a disk
/// that ends early is `Io` with `UnexpectedEof`.
pub fn write(
    raw: &mut (impl Read + Seek + Send),
    size: ByteCount,
    data: &[Range<u64>],
    compression: Compression,
    output: &mut (impl Write + Seek),
) -> Result<(), Qcow2Error> {
    check(size, data)?;
    let mut clusters = data_clusters(data);
    let mut image = Image::begin(output, size)?;
    let (mut current, mut next) = (Batch::default(), Batch::default());
    current.read(raw, size, &mut clusters).map_err(io_error("reading the disk"))?;
    while !current.is_empty() {
        let (read, encoded) =
            rayon::join(|| next.read(raw, size, &mut clusters), || current.encode(compression));
        for (guest, encoded) in current.guests().zip(encoded.map_err(io_error("compressing"))?) {
            image.add(guest, &encoded)?;
        }
        read.map_err(io_error("reading the disk"))?;
        std::mem::swap(&mut current, &mut next);
    }
    image.finish(compression)
}

fn check(size: ByteCount, data: &[Range<u64>]) -> Result<(), Qcow2Error> {
    if !size.get().is_multiple_of(512) || size.get() > tables::LARGEST_DISK {
        return Err(Qcow2Error::Size { size });
    }
    let mut end = 0;
    for extent in data {
        if extent.start < end || extent.end < extent.start || extent.end > size.get() {
            return Err(Qcow2Error::DataMap { extent: extent.clone(), size });
        }
        end = extent.end;
    }
    Ok(())
}

/// The clusters that extents touch, each once, in order.
fn data_clusters(data: &[Range<u64>]) -> impl Iterator<Item = u64> + Send {
    let mut after_last = 0;
    data.iter().filter(|extent| !extent.is_empty()).flat_map(move |extent| {
        let first = (extent.start / CLUSTER_SIZE).max(after_last);
        after_last = extent.end.div_ceil(CLUSTER_SIZE);
        first..after_last
    })
}

/// An image under way.
struct Image<'a, W> {
    output: &'a mut W,
    /// Where the next byte goes.
    position: u64,
    size: ByteCount,
    tables: Tables,
}

impl<'a, W: Write + Seek> Image<'a, W> {
    fn begin(output: &'a mut W, size: ByteCount) -> Result<Self, Qcow2Error> {
        output.seek(SeekFrom::Start(0)).map_err(io_error("writing the header"))?;
        let mut image = Self { output, position: 0, size, tables: Tables::new(size) };
        image.put_cluster(&[0; CLUSTER])?;
        Ok(image)
    }

    /// Adds a cluster of the disk. They come in order.
    fn add(&mut self, guest: u64, encoded: &Encoded) -> Result<(), Qcow2Error> {
        if matches!(encoded, Encoded::Zeros) {
            return Ok(());
        }
        if let Some(table) = self.tables.enter(guest) {
            self.put_l2(&table)?;
        }
        let entry = match encoded {
            Encoded::Zeros => return Ok(()),
            Encoded::Compressed(bytes) => {
                let entry = self.tables.count_compressed(self.position, to_u64(bytes.len()));
                self.put(bytes)?;
                entry
            }
            Encoded::Raw(bytes) => tables::COPIED | self.put_cluster(bytes)?,
        };
        self.tables.set(guest, entry);
        Ok(())
    }

    fn finish(mut self, compression: Compression) -> Result<(), Qcow2Error> {
        if let Some(table) = self.tables.leave() {
            self.put_l2(&table)?;
        }
        self.align()?;
        let l1 = self.tables.l1_bytes();
        let l1_offset = self.position;
        for cluster in l1.chunks(CLUSTER) {
            self.put_cluster(cluster)?;
        }
        let refcount_offset = self.position;
        let refcounts = self.tables.refcounts(self.position / CLUSTER_SIZE);
        self.put(&refcounts.table)?;
        for block in refcounts.blocks() {
            self.put(&block)?;
        }
        let header = tables::Header {
            size: self.size.get(),
            l1_size: self.tables.l1_size(),
            l1_table_offset: l1_offset,
            refcount_table_offset: refcount_offset,
            refcount_table_clusters: refcounts.table_clusters(),
            zstd: matches!(compression, Compression::Zstd(_)),
        };
        let writing = || io_error("writing the header");
        self.output.seek(SeekFrom::Start(0)).map_err(writing())?;
        self.output.write_all(&header.bytes()).map_err(writing())?;
        self.output.flush().map_err(writing())
    }

    fn put_l2(&mut self, table: &tables::L2) -> Result<(), Qcow2Error> {
        let offset = self.put_cluster(&table.bytes())?;
        self.tables.place_l2(table, offset);
        Ok(())
    }

    /// Writes a cluster at the next place for one, zeros behind what it has, and returns the place.
    fn put_cluster(&mut self, bytes: &[u8]) -> Result<u64, Qcow2Error> {
        self.align()?;
        let place = self.position;
        self.tables.count(place / CLUSTER_SIZE);
        self.put(bytes)?;
        self.align()?;
        Ok(place)
    }

    fn align(&mut self) -> Result<(), Qcow2Error> {
        let padding = self.position.next_multiple_of(CLUSTER_SIZE) - self.position;
        self.put(&[0; CLUSTER][..to_usize(padding)])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Qcow2Error> {
        self.output.write_all(bytes).map_err(io_error("writing the image"))?;
        self.position += to_u64(bytes.len());
        Ok(())
    }
}

fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> Qcow2Error {
    move |source| Qcow2Error::Io { action, source }
}

#[cfg(test)]
mod tests;
