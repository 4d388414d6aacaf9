//! Compressed streams: how they begin, and their bytes unpacked.
//!
//! A stream may begin anywhere in a file and end anywhere, for journals hold them among other objects.
//! Sources: RFC 8878 (zstd), “The .xz File Format” 1.2.0, RFC 1952 (gzip), “LZ4 Frame Format” 1.6.4.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;
use lz4_flex::frame::FrameDecoder;

/// What a decoder of xz may take of memory; that of `xz -9` takes 65 MiB.
const MOST_XZ_MEMORY: u64 = 256 << 20;

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Zstd,
    Xz,
    Gzip,
    Lz4,
}

impl Compression {
    pub(super) const ALL: [Self; 4] = [Self::Zstd, Self::Xz, Self::Gzip, Self::Lz4];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
        }
    }

    /// How a stream begins.
    pub(super) const fn magic(self) -> &'static [u8] {
        match self {
            Self::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Self::Xz => &[0xfd, b'7', b'z', b'X', b'Z', 0],
            // With the one method there is.
            Self::Gzip => &[0x1f, 0x8b, 8],
            Self::Lz4 => &[0x04, 0x22, 0x4d, 0x18],
        }
    }

    /// The unpacked bytes of the one stream that begins here; an error where it is none, or ends early.
    pub(super) fn unpack<'a>(self, packed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?.single_frame()),
            Self::Xz => {
                let stream = Stream::new_stream_decoder(MOST_XZ_MEMORY, 0)?;
                Box::new(XzDecoder::new_stream(packed, stream))
            }
            Self::Gzip => Box::new(GzDecoder::new(packed)),
            Self::Lz4 => Box::new(FrameDecoder::new(packed)),
        })
    }
}
