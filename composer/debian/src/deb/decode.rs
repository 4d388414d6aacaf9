//! Decompression of one stream, and no more than one, with bounded memory.
//!
//! Every decoder stops at the end of the first stream and leaves what follows unread, so that the
//! caller can refuse it. A stream that is cut off is an error, never a wait: the input is bounded.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{MtStreamBuilder, Stream};

use super::error::DebError;

/// What a decoder may allocate. `xz -9` needs 65 MiB, `zstd --long=27` 128 MiB.
const MEMORY: u64 = 160 << 20;
/// What several xz threads may allocate together before fewer are used.
const THREADED_MEMORY: u64 = 128 << 20;
/// Largest zstd window, as a power of two: the format's recommended limit. Source: RFC 8878 §3.1.1.1.2.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Marks what the input itself raises, so that it is told from what a decoder says of the bytes.
#[derive(Debug)]
pub(super) struct Source<R>(pub(super) R);

/// The mark.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SourceError(io::Error);

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, SourceError(error)),
        })
    }
}

/// Whether the input failed, not the decoder.
pub(super) fn is_source_failure(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<SourceError>())
}

/// How an inner archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Stored,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// By what follows `.tar` in the member's name.
    pub(super) fn of_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "" => Some(Self::Stored),
            ".gz" => Some(Self::Gzip),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Reads the first stream of a buffered reader.
pub(super) enum Decoder<R: BufRead> {
    Stored(R),
    Gzip(GzDecoder<R>),
    Xz(XzDecoder<R>),
    Zstd(zstd::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(input: R, compression: Compression, threads: u32) -> Result<Self, DebError> {
        let io = |error: liblzma::stream::Error| DebError::Io(error.into());
        Ok(match compression {
            Compression::Stored => Self::Stored(input),
            Compression::Gzip => Self::Gzip(GzDecoder::new(input)),
            Compression::Xz if threads > 1 => {
                let stream = MtStreamBuilder::new()
                    .threads(threads)
                    .memlimit_threading(THREADED_MEMORY)
                    .memlimit_stop(MEMORY)
                    .decoder()
                    .map_err(io)?;
                Self::Xz(XzDecoder::new_stream(input, stream))
            }
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(MEMORY, 0).map_err(io)?;
                Self::Xz(XzDecoder::new_stream(input, stream))
            }
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input).map_err(DebError::Io)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(DebError::Io)?;
                Self::Zstd(decoder)
            }
        })
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: BufRead> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored(_) => "Decoder::Stored",
            Self::Gzip(_) => "Decoder::Gzip",
            Self::Xz(_) => "Decoder::Xz",
            Self::Zstd(_) => "Decoder::Zstd",
        })
    }
}
