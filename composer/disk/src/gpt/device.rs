//! A disk of a stated size, in the shape that the `gpt` crate wants.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use goni_model::size::ByteCount;

/// Anything that reads and seeks, with a stated end: the crate finds the backup header by seeking to
/// the end, while the file behind may be shorter (not yet written) or longer (a larger device).
pub(super) struct Device<D> {
    inner: D,
    size: ByteCount,
}

impl<D> Device<D> {
    pub(super) const fn new(inner: D, size: ByteCount) -> Self {
        Self { inner, size }
    }
}

/// The crate asks for this to trace what it does; the bytes of a disk are not worth a trace.
impl<D> fmt::Debug for Device<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a disk of {}", self.size)
    }
}

impl<D: Read> Read for Device<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl<D: Write> Write for Device<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<D: Seek> Seek for Device<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::End(distance) => {
                let place =
                    self.size.get().checked_add_signed(distance).ok_or(io::ErrorKind::InvalidInput)?;
                self.inner.seek(SeekFrom::Start(place))
            }
            other => self.inner.seek(other),
        }
    }
}

/// Lets a disk that is only read pass where the crate asks for more than it uses.
pub(super) struct ReadOnly<D>(pub(super) D);

impl<D: Read> Read for ReadOnly<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<D: Seek> Seek for ReadOnly<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl<D> Write for ReadOnly<D> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
