//! Captures as QEMU's `filter-dump` writes them. Source: draft-ietf-opsawg-pcap, “PCAP Capture File
//! Format”; of its variants only what is written here: microseconds, Ethernet, either byte order.

use std::io::{self, Read};

/// `magic_number`, where times are in microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u32 = 1;
/// The longest frame that is believed: four times QEMU's longest.
const LONGEST_FRAME: u32 = 256 << 10;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// It cannot be read, or ends in the middle of a frame.
    #[error("reading the capture at byte {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// What is wrong.
        source: io::Error,
    },
    /// It is of another kind.
    #[error("the capture has {field} {found:#x}, not {expected:#x}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What is there.
        found: u32,
        /// What must be there.
        expected: u32,
    },
    /// A frame that cannot be.
    #[error("the capture has a frame of {length} bytes at byte {offset}")]
    TooLong {
        /// Where.
        offset: u64,
        /// How long it says that it is.
        length: u32,
    },
}

/// A capture that is read frame by frame.
pub(super) struct Pcap<R> {
    stream: R,
    offset: u64,
    big_endian: bool,
    frame: Vec<u8>,
}

impl<R: Read> Pcap<R> {
    /// Reads the header.
    pub(super) fn open(stream: R) -> Result<Self, PcapError> {
        let mut this = Self { stream, offset: 0, big_endian: false, frame: Vec::new() };
        let mut header = [0; 24];
        this.fill(&mut header)?;
        let mut magic = this.word(&header, 0);
        if magic.swap_bytes() == MAGIC {
            this.big_endian = true;
            magic = MAGIC;
        }
        let link = this.word(&header, 20);
        for (field, found, expected) in [("magic_number", magic, MAGIC), ("LinkType", link, ETHERNET)] {
            if found != expected {
                return Err(PcapError::Unsupported { field, found, expected });
            }
        }
        Ok(this)
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, PcapError> {
        let offset = self.offset;
        let mut header = [0; 16];
        // The end of the file is the end of the capture only between two frames.
        if self.read(&mut header[..1])? == 0 {
            return Ok(None);
        }
        self.fill(&mut header[1..])?;
        let length = self.word(&header, 8);
        if length > LONGEST_FRAME {
            return Err(PcapError::TooLong { offset, length });
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        self.fill(&mut frame)?;
        self.frame = frame;
        Ok(Some(&self.frame))
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let word = *bytes[at..].first_chunk().expect("the fields lie within their header");
        if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Result<(), PcapError> {
        while !bytes.is_empty() {
            let read = self.read(bytes)?;
            if read == 0 {
                let source = io::ErrorKind::UnexpectedEof.into();
                return Err(PcapError::Io { offset: self.offset, source });
            }
            bytes = &mut bytes[read..];
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, PcapError> {
        loop {
            match self.stream.read(bytes) {
                Ok(count) => {
                    self.offset += goni_model::number::to_u64(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(PcapError::Io { offset: self.offset, source }),
            }
        }
    }
}
