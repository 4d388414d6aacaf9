//! Decompression of indexes, with an end to what comes out.

use std::io::Read;

use goni_model::number::{to_u64, to_usize};

/// Largest index accepted, decompressed: 512 MiB, nine times that of Debian's main.
pub const MAX_INDEX: u64 = 512 << 20;
/// Memory an xz stream may ask for: what its strongest preset needs.
const XZ_MEMORY: u64 = 128 << 20;
/// Greatest zstd window accepted, as a power of two: 128 MiB.
const ZSTD_WINDOW: u32 = 27;

/// How an index is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
}

/// Why an index does not decompress.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The bytes are no such stream.
    #[error("the index is no whole {format} stream")]
    Corrupt {
        /// Its format.
        format: &'static str,
        /// What the reader says.
        #[source]
        source: std::io::Error,
    },
    /// More comes out than may.
    #[error("the index decompresses to more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Another length comes out than the Release file says.
    #[error("the index decompresses to {found} bytes; the Release file says {expected}")]
    OtherSize {
        /// As the Release file says.
        expected: u64,
        /// As found.
        found: u64,
    },
}

impl Compression {
    /// The ending of file names.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// Decompresses an index. `expected` is the size its Release file gives, if it gives one: no more
    /// than that, and never more than [`MAX_INDEX`], is held.
    ///
    /// # Errors
    /// A damaged stream, or one of another length.
    pub fn decompress(self, bytes: &[u8], expected: Option<u64>) -> Result<Vec<u8>, DecompressError> {
        let limit = expected.unwrap_or(MAX_INDEX);
        if limit > MAX_INDEX {
            return Err(DecompressError::TooLarge { limit: MAX_INDEX });
        }
        let corrupt = |source| DecompressError::Corrupt { format: self.name(), source };
        let mut out = Vec::with_capacity(to_usize(expected.unwrap_or(0)));
        match self {
            Self::None => bytes.take(limit + 1).read_to_end(&mut out),
            Self::Gzip => flate2::read::MultiGzDecoder::new(bytes).take(limit + 1).read_to_end(&mut out),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0)
                    .map_err(|error| corrupt(error.into()))?;
                liblzma::read::XzDecoder::new_stream(bytes, stream).take(limit + 1).read_to_end(&mut out)
            }
            Self::Zstd => zstd::stream::read::Decoder::new(bytes).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW)?;
                decoder.take(limit + 1).read_to_end(&mut out)
            }),
        }
        .map_err(corrupt)?;
        let found = to_u64(out.len());
        match expected {
            Some(expected) if found != expected => Err(DecompressError::OtherSize { expected, found }),
            None if found > limit => Err(DecompressError::TooLarge { limit }),
            _ => Ok(out),
        }
    }
}
