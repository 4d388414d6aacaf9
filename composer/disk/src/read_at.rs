//! Bytes that are read at offsets, by several threads at a time.

use std::io;

use goni_model::number::{to_u64, to_usize};

/// A source of bytes that is read at offsets. Reading changes nothing that others see.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills a buffer with what is at an offset.
    ///
    /// # Errors
    /// `UnexpectedEof` past the end, and what reading raises.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        to_u64(self.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = to_usize(offset);
        let found = start.checked_add(buffer.len()).and_then(|end| self.get(start..end));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
