//! A disk in the making: one sparse file, and windows onto its partitions.

mod copying;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;
use rustix::fs::SeekFrom as Extent;
use rustix::io::Errno;

/// A file that is a disk.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    /// Creates a disk of zeros, which takes no space, under a name that is not there yet.
    ///
    /// # Errors
    /// `AlreadyExists`, or what creating raises.
    pub fn create(path: &Path, size: ByteCount) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(size.get())?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens a finished disk to read it.
    ///
    /// # Errors
    /// What opening raises.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, path: path.to_owned() })
    }

    /// Another handle of the same disk, for a reader that wants to own one.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { file: self.handle()?, path: self.path.clone() })
    }

    /// Another handle of the same file.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    ///
    /// # Errors
    /// What asking raises.
    pub fn size(&self) -> io::Result<ByteCount> {
        Ok(ByteCount::new(self.file.metadata()?.len()))
    }

    /// The whole disk.
    ///
    /// # Errors
    /// What asking for its size raises.
    pub fn whole(&self) -> io::Result<Window<'_>> {
        Ok(self.window(ByteCount::ZERO, self.size()?))
    }

    /// A part of the disk, whose positions count from its beginning.
    #[must_use]
    pub const fn window(&self, offset: ByteCount, size: ByteCount) -> Window<'_> {
        Window { file: &self.file, start: offset.get(), size: size.get(), position: 0 }
    }

    /// Where the file has bytes; everything else reads as zero.
    ///
    /// # Errors
    /// What seeking raises.
    pub fn extents(&self) -> io::Result<Vec<Range<u64>>> {
        extents(&self.file)
    }

    /// Copies a part of another disk to the same place of this one, where nothing was written yet: what
    /// is not written there takes no space here. The bytes stay in the kernel where it can, and are
    /// shared where the file system can.
    ///
    /// # Errors
    /// What reading or writing raises.
    pub fn copy_from(&self, other: &Self, part: Range<u64>) -> io::Result<()> {
        for extent in other.extents()? {
            let mut from = extent.start.max(part.start);
            let end = extent.end.min(part.end);
            while from < end {
                let length = to_usize(end - from);
                let mut to = from;
                match rustix::fs::copy_file_range(
                    &other.file,
                    Some(&mut from),
                    &self.file,
                    Some(&mut to),
                    length,
                ) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(Errno::INTR) => {}
                    // Not everywhere, and not between file systems everywhere.
                    Err(Errno::NOSYS | Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP) => {
                        self.copy_bytes(other, from..end)?;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// As [`DiskFile::copy_from`], to another place, so many bytes further on.
    ///
    /// # Errors
    /// What reading or writing raises.
    pub fn copy_moved(&self, other: &Self, part: Range<u64>, further: u64) -> io::Result<()> {
        for extent in other.extents()? {
            let (from, end) = (extent.start.max(part.start), extent.end.min(part.end));
            if from < end {
                let size = ByteCount::new(end - from);
                let mut source = other.window(ByteCount::new(from), size);
                io::copy(&mut source, &mut self.window(ByteCount::new(from + further), size))?;
            }
        }
        Ok(())
    }

    /// As [`DiskFile::copy_from`], through memory, whatever is there.
    fn copy_bytes(&self, other: &Self, part: Range<u64>) -> io::Result<()> {
        let window =
            |file| Window { file, start: part.start, size: part.end.saturating_sub(part.start), position: 0 };
        let mut buffer = vec![0; 1 << 20];
        let (mut from, mut to) = (window(&other.file), window(&self.file));
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                count => to.write_all(&buffer[..count])?,
            }
        }
    }

    /// Waits until the bytes are on the disk below.
    ///
    /// # Errors
    /// What the disk below raises.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Where a file has bytes; everything else reads as zero.
pub(super) fn extents(file: &File) -> io::Result<Vec<Range<u64>>> {
    let end = file.metadata()?.len();
    let mut extents = Vec::new();
    let mut position = 0;
    while position < end {
        let start = match rustix::fs::seek(file, Extent::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        position = rustix::fs::seek(file, Extent::Hole(start))?;
        extents.push(start..position);
    }
    Ok(extents)
}

/// A part of a disk. Reading ends where it ends; writing past it is an error.
#[derive(Debug)]
pub struct Window<'a> {
    file: &'a File,
    start: u64,
    size: u64,
    position: u64,
}

impl Window<'_> {
    /// How much of a buffer of this length fits between position and end.
    fn fitting(&self, length: usize) -> usize {
        length.min(to_usize(self.size.saturating_sub(self.position)))
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fitting(buffer.len());
        let read = self.file.read_at(&mut buffer[..length], self.start + self.position)?;
        self.position += to_u64(read);
        Ok(read)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.fitting(buffer.len());
        if length == 0 && !buffer.is_empty() {
            let message = format!("writing past the end of a part of {}", ByteCount::new(self.size));
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        let written = self.file.write_at(&buffer[..length], self.start + self.position)?;
        self.position += to_u64(written);
        Ok(written)
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
    use super::*;

    #[test]
    fn a_moved_part_has_the_same_bytes_further_on() {
        let directory = tempfile::tempdir().unwrap();
        let disk =
            |name: &str| DiskFile::create(&directory.path().join(name), ByteCount::from_mib(8)).unwrap();
        let (from, to) = (disk("from"), disk("to"));
        let put = |at: u64, bytes: &[u8]| {
            let mut whole = from.whole().unwrap();
            whole.seek(SeekFrom::Start(at)).unwrap();
            whole.write_all(bytes).unwrap();
        };
        put(0, b"before");
        put(2 << 20, b"within");
        to.copy_moved(&from, 1 << 20..3 << 20, 4 << 20).unwrap();
        let mut found = vec![1; 8 << 20];
        to.whole().unwrap().read_exact(&mut found).unwrap();
        assert_eq!(&found[6 << 20..][..6], b"within");
        assert_eq!(found.iter().filter(|byte| **byte != 0).count(), 6);
    }

    #[test]
    fn a_window_keeps_to_its_part_of_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let disk = DiskFile::create(&directory.path().join("disk"), ByteCount::from_mib(3)).unwrap();
        let mut window = disk.window(ByteCount::from_mib(1), ByteCount::from_mib(1));
        window.seek(SeekFrom::End(-2)).unwrap();
        let error = window.write_all(b"abc").unwrap_err();
        assert_eq!(error.to_string(), "writing past the end of a part of 1MiB");
        let mut whole = disk.whole().unwrap();
        whole.seek(SeekFrom::Start((2 << 20) - 2)).unwrap();
        let mut bytes = [1; 4];
        whole.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"ab\0\0");
    }

    #[test]
    fn extents_are_where_something_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let disk = DiskFile::create(&directory.path().join("disk"), ByteCount::from_mib(64)).unwrap();
        disk.window(ByteCount::from_mib(32), ByteCount::from_mib(1)).write_all(&[7; 4096]).unwrap();
        let extents = disk.extents().unwrap();
        assert_eq!(extents.iter().filter(|extent| extent.contains(&(32 << 20))).count(), 1, "{extents:?}");
        assert!(extents.iter().map(|extent| extent.end - extent.start).sum::<u64>() < 1 << 20, "{extents:?}");
    }

    #[test]
    fn a_part_is_copied_with_its_holes() {
        let directory = tempfile::tempdir().unwrap();
        let disk =
            |name: &str| DiskFile::create(&directory.path().join(name), ByteCount::from_mib(64)).unwrap();
        let (one, two, three) = (disk("one"), disk("two"), disk("three"));
        for (place, byte) in [(1, 1), (32, 2), (40, 3), (63, 4)] {
            let mut window = one.window(ByteCount::from_mib(place), ByteCount::from_mib(1));
            window.write_all(&vec![byte; 1 << 20]).unwrap();
        }
        // From the middle of the second to the middle of the last.
        let half = 1 << 19;
        let part = (32 << 20) + half..(63 << 20) + half;
        two.copy_from(&one, part.clone()).unwrap();
        three.copy_bytes(&one, part.clone()).unwrap();
        let read = |disk: &DiskFile| {
            let mut bytes = Vec::new();
            disk.whole().unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        let (whole, part) = (read(&one), to_usize(part.start)..to_usize(part.end));
        for copy in [&two, &three] {
            let copy = read(copy);
            assert!(copy[part.clone()] == whole[part.clone()]);
            assert!(copy[..part.start].iter().chain(&copy[part.end..]).all(|byte| *byte == 0));
        }
        let written: u64 = two.extents().unwrap().iter().map(|extent| extent.end - extent.start).sum();
        assert!(written < 4 << 20, "{written}");
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        DiskFile::create(&path, ByteCount::from_mib(1)).unwrap();
        let error = DiskFile::create(&path, ByteCount::from_mib(2)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}
