//! Clusters of the disk: read and compressed, many at a time.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::{Compress, FlushCompress, Status};
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;
use rayon::prelude::*;

use super::{CLUSTER_SIZE, Compression};

/// Bytes of a cluster, as a length in memory.
pub(super) const CLUSTER: usize = 1 << 16;

/// Clusters of a batch: 4 MiB.
const BATCH: usize = 64;

/// QEMU inflates with a window of 2^12 bytes: matches from farther back would be errors.
/// Source: QEMU, block/qcow2-threads.c, `qcow2_zlib_decompress`.
const DEFLATE_WINDOW_BITS: u8 = 12;

/// What becomes of a cluster.
pub(super) enum Encoded {
    /// Left out.
    Zeros,
    /// Smaller than a cluster; may begin anywhere.
    Compressed(Vec<u8>),
    /// As it is, for compression does not make it smaller.
    Raw(Vec<u8>),
}

/// Clusters read together.
#[derive(Default)]
pub(super) struct Batch {
    guests: Vec<u64>,
    bytes: Vec<u8>,
}

impl Batch {
    /// Replaces what is here by the next clusters; by none at their end. Past the end of the disk, a
    /// cluster is zeros.
    pub(super) fn read(
        &mut self,
        raw: &mut (impl Read + Seek),
        size: ByteCount,
        clusters: &mut impl Iterator<Item = u64>,
    ) -> io::Result<()> {
        self.guests.clear();
        self.guests.extend(clusters.by_ref().take(BATCH));
        self.bytes.resize(self.guests.len() * CLUSTER, 0);
        let mut position = None;
        for (guest, bytes) in self.guests.iter().zip(self.bytes.chunks_mut(CLUSTER)) {
            let start = guest * CLUSTER_SIZE;
            let length = to_usize((size.get() - start).min(CLUSTER_SIZE));
            if position != Some(start) {
                raw.seek(SeekFrom::Start(start))?;
            }
            raw.read_exact(&mut bytes[..length])?;
            bytes[length..].fill(0);
            position = Some(start + to_u64(length));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Numbers of the clusters on the disk.
    pub(super) fn guests(&self) -> impl Iterator<Item = u64> {
        self.guests.iter().copied()
    }

    pub(super) fn encode(&self, compression: Compression) -> io::Result<Vec<Encoded>> {
        self.bytes
            .par_chunks(CLUSTER)
            .map_init(
                || Encoder::new(compression),
                |encoder, cluster| match encoder {
                    Ok(encoder) => encoder.encode(cluster),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                },
            )
            .collect()
    }
}

/// A compressor, kept by a thread from cluster to cluster.
enum Encoder {
    Zstd(zstd::bulk::Compressor<'static>),
    Zlib(Compress),
}

impl Encoder {
    fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd(level) => Self::Zstd(zstd::bulk::Compressor::new(level)?),
            Compression::Zlib(level) => {
                let level = flate2::Compression::new(level.min(9));
                Self::Zlib(Compress::new_with_window_bits(level, false, DEFLATE_WINDOW_BITS))
            }
        })
    }

    fn encode(&mut self, cluster: &[u8]) -> io::Result<Encoded> {
        if cluster == [0; CLUSTER] {
            return Ok(Encoded::Zeros);
        }
        let compressed = match self {
            Self::Zstd(compressor) => Some(compressor.compress(cluster)?),
            Self::Zlib(compressor) => deflate(compressor, cluster)?,
        };
        Ok(match compressed.filter(|bytes| bytes.len() < CLUSTER) {
            Some(bytes) => Encoded::Compressed(bytes),
            None => Encoded::Raw(cluster.to_vec()),
        })
    }
}

/// Deflates into at most a cluster; `None` if it takes more.
fn deflate(compressor: &mut Compress, cluster: &[u8]) -> io::Result<Option<Vec<u8>>> {
    compressor.reset();
    let mut bytes = Vec::with_capacity(CLUSTER);
    let status =
        compressor.compress_vec(cluster, &mut bytes, FlushCompress::Finish).map_err(io::Error::other)?;
    Ok((status == Status::StreamEnd).then_some(bytes))
}
