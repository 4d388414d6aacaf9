//! Compressed clusters, expanded.

use std::fmt;
use std::sync::Mutex;

use flate2::{Decompress, FlushDecompress};
use goni_model::number::to_usize;
use zstd::bulk::Decompressor;
use zstd::zstd_safe;

use super::held;

/// Decoders, kept from cluster to cluster: as many as there were threads at a time.
pub(super) struct Expander {
    zstd: bool,
    idle: Mutex<Vec<Decoder>>,
}

enum Decoder {
    Zstd(Decompressor<'static>),
    Zlib(Decompress),
}

impl fmt::Debug for Expander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expander").field("zstd", &self.zstd).finish_non_exhaustive()
    }
}

impl Expander {
    pub(super) const fn new(zstd: bool) -> Self {
        Self { zstd, idle: Mutex::new(Vec::new()) }
    }

    /// Fills a cluster. What follows the compressed bytes, up to the end of a sector, is nothing.
    pub(super) fn expand(&self, bytes: &[u8], cluster: &mut [u8]) -> Result<(), String> {
        let idle = held(&self.idle).pop();
        let mut decoder = match idle {
            Some(decoder) => decoder,
            None if self.zstd => Decoder::Zstd(Decompressor::new().map_err(|error| error.to_string())?),
            // QEMU deflates with a smaller window, which the largest includes.
            None => Decoder::Zlib(Decompress::new(false)),
        };
        let expanded = match &mut decoder {
            Decoder::Zstd(decoder) => unpack(decoder, bytes, cluster),
            Decoder::Zlib(decoder) => inflate(decoder, bytes, cluster),
        };
        held(&self.idle).push(decoder);
        expanded
    }
}

/// One frame, or several: QEMU allows both.
fn unpack(decoder: &mut Decompressor<'static>, bytes: &[u8], cluster: &mut [u8]) -> Result<(), String> {
    let (mut rest, mut filled) = (bytes, 0);
    while filled < cluster.len() {
        let frame = zstd_safe::find_frame_compressed_size(rest)
            .map_err(|code| zstd_safe::get_error_name(code).to_owned())?;
        let (frame, others) = rest.split_at_checked(frame).ok_or("it ends early")?;
        filled +=
            decoder.decompress_to_buffer(frame, &mut cluster[filled..]).map_err(|error| error.to_string())?;
        rest = others;
    }
    Ok(())
}

fn inflate(decoder: &mut Decompress, bytes: &[u8], cluster: &mut [u8]) -> Result<(), String> {
    decoder.reset(false);
    decoder.decompress(bytes, cluster, FlushDecompress::Finish).map_err(|error| error.to_string())?;
    if to_usize(decoder.total_out()) == cluster.len() { Ok(()) } else { Err("it ends early".to_owned()) }
}
