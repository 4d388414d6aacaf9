//! A finished image, read at offsets: raw as it is, qcow2 as the disk that it holds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goni_disk::qcow2::read::{self, ReadError, Reader};
use goni_disk::read_at::ReadAt;
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use super::disk_file::DiskFile;
use crate::failure::{Class, Classify};

/// Why an image is not read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be read.
    #[error("reading `{path}`")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is of a format that is not read.
    #[error("`{path}` is {format}: raw and qcow2 images are read")]
    Format {
        /// The file.
        path: String,
        /// What it is.
        format: &'static str,
    },
    /// It is a qcow2 image that is not read.
    #[error("reading the qcow2 image `{path}`")]
    Qcow2 {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: ReadError,
    },
}

impl Classify for ImageError {
    fn class(&self) -> Class {
        match self {
            Self::Io { .. } | Self::Qcow2 { source: ReadError::Io { .. }, .. } => Class::Environment,
            Self::Format { .. }
            | Self::Qcow2 {
                source: ReadError::Backing { .. } | ReadError::Unsupported { .. } | ReadError::Magic,
                ..
            } => Class::Recipe,
            Self::Qcow2 { source: ReadError::Outside { .. } | ReadError::Corrupt { .. }, .. } => {
                Class::Content
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Format { .. } => Some("decompress it first".to_owned()),
            Self::Qcow2 { path, source: ReadError::Backing { .. } | ReadError::Unsupported { .. } } => Some(
                format!("make it raw first: goni-compose toolbox qemu-img convert -O raw {path} {path}.raw"),
            ),
            Self::Io { .. } | Self::Qcow2 { .. } => None,
        }
    }
}

/// An image. A clone is another handle of the same.
#[derive(Debug, Clone)]
pub struct Image {
    path: PathBuf,
    bytes: Arc<Bytes>,
}

/// Where its bytes come from.
#[derive(Debug)]
enum Bytes {
    Raw(Whole),
    Qcow2(Box<Reader<Whole>>),
}

/// A file, with the size it had when it was opened.
#[derive(Debug)]
struct Whole {
    file: File,
    size: u64,
}

impl ReadAt for Whole {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Image {
    /// Opens a finished image, whose first bytes say what it is.
    ///
    /// # Errors
    /// It cannot be read, is of a format that is not read, or a qcow2 image that is refused.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let shown = || path.display().to_string();
        let io = |source| ImageError::Io { path: shown(), source };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        // A directory opens, and says what it is only when it is read.
        if metadata.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        let whole = Whole { file, size: metadata.len() };
        let mut head = vec![0; to_usize(whole.size.min(16))];
        whole.read_exact_at(&mut head, 0).map_err(io)?;
        if let Some(format) = foreign_format(&head) {
            return Err(ImageError::Format { path: shown(), format });
        }
        let bytes = if head.starts_with(&read::MAGIC) {
            let reader = Reader::open(whole).map_err(|source| ImageError::Qcow2 { path: shown(), source })?;
            Bytes::Qcow2(Box::new(reader))
        } else {
            Bytes::Raw(whole)
        };
        Ok(Self { path: path.to_owned(), bytes: Arc::new(bytes) })
    }

    /// The disk in a file, which may still be written to: another handle of it.
    ///
    /// # Errors
    /// There are too many open files, or asking for the size fails.
    pub fn of(disk: &DiskFile) -> Result<Self, ImageError> {
        let io = |source| ImageError::Io { path: disk.path().display().to_string(), source };
        let file = disk.handle().map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        Ok(Self { path: disk.path().to_owned(), bytes: Arc::new(Bytes::Raw(Whole { file, size })) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its bytes are kept.
    #[must_use]
    pub fn format(&self) -> &'static str {
        match *self.bytes {
            Bytes::Raw(_) => "raw",
            Bytes::Qcow2(_) => "qcow2",
        }
    }

    /// The size of the disk.
    #[must_use]
    pub fn size(&self) -> ByteCount {
        ByteCount::new(self.bytes.size())
    }

    /// The whole disk.
    #[must_use]
    pub fn whole(&self) -> Window<'_> {
        self.window(ByteCount::ZERO, self.size())
    }

    /// A part of the disk, whose positions count from its beginning.
    #[must_use]
    pub fn window(&self, offset: ByteCount, size: ByteCount) -> Window<'_> {
        Window { bytes: &self.bytes, start: offset.get(), size: size.get(), position: 0 }
    }

    /// Where the disk has bytes, in order; everything else reads as zero.
    ///
    /// # Errors
    /// What reading raises.
    pub fn extents(&self) -> io::Result<Vec<Range<u64>>> {
        match &*self.bytes {
            Bytes::Raw(whole) => super::disk_file::extents(&whole.file),
            Bytes::Qcow2(reader) => reader.extents(),
        }
    }
}

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        match self {
            Self::Raw(whole) => whole.size(),
            Self::Qcow2(reader) => reader.size(),
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Raw(whole) => whole.read_exact_at(buffer, offset),
            Self::Qcow2(reader) => reader.read_exact_at(buffer, offset),
        }
    }
}

/// The format of an image that is not read, by its first bytes.
fn foreign_format(head: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 6] = [
        (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
        (b"\x1f\x8b", "compressed by gzip"),
        (b"\xfd7zXZ\0", "compressed by xz"),
        (b"BZh", "compressed by bzip2"),
        (b"KDMV", "a VMDK image"),
        (b"vhdxfile", "a VHDX image"),
    ];
    FORMATS.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| name)
}

/// A part of an image. Reading ends where the part ends, or the disk.
#[derive(Debug)]
pub struct Window<'a> {
    bytes: &'a Bytes,
    start: u64,
    size: u64,
    position: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.start.saturating_add(self.position);
        let there = self.bytes.size().saturating_sub(start).min(self.size.saturating_sub(self.position));
        let length = to_usize(to_u64(buffer.len()).min(there));
        self.bytes.read_exact_at(&mut buffer[..length], start)?;
        self.position += to_u64(length);
        Ok(length)
    }
}

/// Readers of file systems want to be able to write; they are told that they cannot.
impl Write for Window<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use goni_disk::qcow2::{self, Compression};

    use super::*;

    /// A disk of 1 MiB with noise from 100 000 to 200 000, raw and as qcow2.
    fn images(directory: &Path) -> [Image; 2] {
        let disk = DiskFile::create(&directory.join("disk.raw"), ByteCount::from_mib(1)).unwrap();
        let noise: Vec<u8> =
            (0..100_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        disk.window(ByteCount::new(100_000), ByteCount::from_mib(1)).write_all(&noise).unwrap();
        let mut file = File::create(directory.join("disk.qcow2")).unwrap();
        let extents = disk.extents().unwrap();
        let mut whole = disk.whole().unwrap();
        qcow2::write(&mut whole, ByteCount::from_mib(1), &extents, Compression::Zstd(1), &mut file).unwrap();
        ["disk.raw", "disk.qcow2"].map(|name| Image::open(&directory.join(name)).unwrap())
    }

    fn bytes(image: &Image, offset: u64, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.window(ByteCount::new(offset), ByteCount::new(size)).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn both_formats_are_the_same_disk() {
        let directory = tempfile::tempdir().unwrap();
        let [raw, qcow2] = images(directory.path());
        assert_eq!((raw.format(), qcow2.format()), ("raw", "qcow2"));
        assert_eq!(raw.size(), qcow2.size());
        let whole = bytes(&raw, 0, 1 << 20);
        assert!(whole == bytes(&qcow2, 0, 1 << 20));
        for (offset, size, there) in
            [(99_999, 3, 3), (1 << 19, 100, 100), ((1 << 20) - 5, 9, 5), (1 << 20, 9, 0)]
        {
            for image in [&raw, &qcow2] {
                let found = bytes(image, offset, size);
                assert_eq!(found, whole[to_usize(offset)..][..there], "{} at {offset}", image.format());
            }
        }
        for image in [&raw, &qcow2] {
            let inside = |at: u64| image.extents().unwrap().iter().any(|extent| extent.contains(&at));
            assert!(inside(100_000) && inside(199_999) && !inside(1 << 19), "{}", image.format());
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let refused = |bytes: &[u8]| {
            std::io::Write::write_all(&mut File::create(&path).unwrap(), bytes).unwrap();
            let error = Image::open(&path).unwrap_err();
            let text = error.to_string().replace(&path.display().to_string(), "IMAGE");
            (text, error.class(), error.hint().is_some())
        };
        let compressed = "`IMAGE` is compressed by gzip: raw and qcow2 images are read".to_owned();
        assert_eq!(refused(b"\x1f\x8b\x08"), (compressed, Class::Recipe, true));
        let mut header = [0; 200];
        header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        let qcow2 = "reading the qcow2 image `IMAGE`".to_owned();
        // Corrupt: clusters of one byte.
        assert_eq!(refused(&header), (qcow2.clone(), Class::Content, false));
        // A backing file, whose name has no letters.
        header[15] = 120;
        assert_eq!(refused(&header), (qcow2, Class::Recipe, true));
        let error = Image::open(directory.path()).unwrap_err();
        assert_eq!(error.class(), Class::Environment);
        // Nothing at all is a disk of no bytes: what is wrong with it, others say.
        File::create(&path).unwrap();
        assert_eq!(Image::open(&path).unwrap().size(), ByteCount::ZERO);
    }
}
