//! The image as it is written: blocks in order, the first one last.

use std::io::{BufWriter, Seek, SeekFrom, Write};

use goni_model::number::to_u64;
use goni_model::size::ByteCount;

use super::WriteError;
use super::format::BLOCK;

/// Writes block after block and counts them.
///
/// An image that outgrows its capacity is still counted to its end but no longer written, so that
/// the error can say what it would have needed.
pub(super) struct Sink<'w, W: Write + Seek> {
    output: BufWriter<&'w mut W>,
    /// Where in `output` the image starts.
    start: u64,
    capacity: Option<ByteCount>,
    /// Bytes of the image so far, the first block included.
    length: u64,
}

impl<'w, W: Write + Seek> Sink<'w, W> {
    /// Starts an image where the output stands, past its first block.
    pub(super) fn new(output: &'w mut W, capacity: Option<ByteCount>) -> Result<Self, WriteError> {
        let start = output.stream_position().map_err(WriteError::Output)?;
        let first = start.saturating_add(to_u64(BLOCK));
        output.seek(SeekFrom::Start(first)).map_err(WriteError::Output)?;
        let output = BufWriter::with_capacity(EXTENT_BUFFER, output);
        Ok(Self { output, start, capacity, length: to_u64(BLOCK) })
    }

    /// The number of the block that is written next. Only meaningful between whole blocks.
    pub(super) fn next_block(&self) -> Result<u32, WriteError> {
        let block = self.length / to_u64(BLOCK);
        u32::try_from(block).map_err(|_| WriteError::TooLarge {
            need: ByteCount::new(self.length),
            have: ByteCount::new(to_u64(BLOCK) << 32),
        })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.length = self.length.saturating_add(to_u64(bytes.len()));
        if self.fits() { self.output.write_all(bytes).map_err(WriteError::Output) } else { Ok(()) }
    }

    /// Appends so many zeros by leaving them to the output.
    pub(super) fn skip(&mut self, length: usize) -> Result<(), WriteError> {
        self.length = self.length.saturating_add(to_u64(length));
        if self.fits() {
            let next = self.start.saturating_add(self.length);
            self.output.seek(SeekFrom::Start(next)).map_err(WriteError::Output)?;
        }
        Ok(())
    }

    /// Appends zeros up to the next whole block.
    pub(super) fn pad(&mut self) -> Result<(), WriteError> {
        let rest = self.length.next_multiple_of(to_u64(BLOCK)) - self.length;
        self.write(&vec![0; goni_model::number::to_usize(rest)])
    }

    /// Writes the first block, and leaves the output at the end of the image.
    pub(super) fn finish(mut self, first: &[u8]) -> Result<ByteCount, WriteError> {
        if let Some(have) = self.capacity.filter(|_| !self.fits()) {
            return Err(WriteError::TooLarge { need: ByteCount::new(self.length), have });
        }
        self.output.seek(SeekFrom::Start(self.start)).map_err(WriteError::Output)?;
        self.output.write_all(first).map_err(WriteError::Output)?;
        let end = self.start.saturating_add(self.length);
        self.output.seek(SeekFrom::Start(end)).map_err(WriteError::Output)?;
        Ok(ByteCount::new(self.length))
    }

    fn fits(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.length <= capacity.get())
    }
}

/// Gathers small writes; extents are mostly larger and pass through.
const EXTENT_BUFFER: usize = 64 << 10;
