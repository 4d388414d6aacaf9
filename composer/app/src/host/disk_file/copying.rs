//! Copies of disks and of parts of them, without their holes.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::Path;

use goni_model::size::ByteCount;
use rustix::fs::{FallocateFlags, SeekFrom as Extent};
use rustix::io::Errno;

use super::DiskFile;

impl DiskFile {
    /// Opens a disk that is there, to change it.
    ///
    /// # Errors
    /// What opening raises.
    pub fn open_writable(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// A new disk at a path that holds a part of this one. What the part holds past this disk's end
    /// is zeros.
    ///
    /// # Errors
    /// The path is taken, or what copying raises.
    pub fn copy_part(&self, part: Range<u64>, path: &Path) -> io::Result<Self> {
        let copy = Self::create(path, ByteCount::new(part.end.saturating_sub(part.start)))?;
        self.copy_extents(part.clone(), &copy, part.start)?;
        Ok(copy)
    }

    /// Copies a part to the same place of another disk that has only zeros there.
    ///
    /// # Errors
    /// What copying raises.
    pub fn copy_into(&self, part: Range<u64>, other: &Self) -> io::Result<()> {
        self.copy_extents(part, other, 0)
    }

    fn copy_extents(&self, part: Range<u64>, to: &Self, shift: u64) -> io::Result<()> {
        for extent in self.extents_in(part)? {
            let size = ByteCount::new(extent.end - extent.start);
            let mut from = self.window(ByteCount::new(extent.start), size);
            let mut to = to.window(ByteCount::new(extent.start - shift), size);
            io::copy(&mut from, &mut to)?;
        }
        Ok(())
    }

    /// Where a part of the file has bytes.
    fn extents_in(&self, part: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        let end = part.end.min(self.size()?.get());
        let mut extents = Vec::new();
        let mut position = part.start;
        while position < end {
            let start = match rustix::fs::seek(&self.file, Extent::Data(position)) {
                Ok(start) if start < end => start,
                Ok(_) | Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            position = rustix::fs::seek(&self.file, Extent::Hole(start))?.min(end);
            extents.push(start..position);
        }
        Ok(extents)
    }

    /// Writes bytes at a place.
    ///
    /// # Errors
    /// What writing raises; `StorageFull` past the end of the disk.
    pub fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut whole = self.whole()?;
        whole.seek(SeekFrom::Start(offset))?;
        whole.write_all(bytes)
    }

    /// Removes it.
    ///
    /// # Errors
    /// What removing raises.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// Makes a part read as zeros, and take no space.
    ///
    /// # Errors
    /// What the file system raises.
    pub fn clear(&self, part: Range<u64>) -> io::Result<()> {
        let end = part.end.min(self.size()?.get());
        if part.start >= end {
            return Ok(());
        }
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.file, how, part.start, end - part.start)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_copy_of_a_part_has_its_bytes_and_its_holes() {
        let directory = tempfile::tempdir().unwrap();
        let disk = DiskFile::create(&directory.path().join("disk"), ByteCount::from_mib(8)).unwrap();
        disk.write_all_at(3 << 20, &[7; 5000]).unwrap();
        disk.write_all_at(0, &[9; 5000]).unwrap();
        let copy = disk.copy_part(2 << 20..12 << 20, &directory.path().join("part")).unwrap();
        assert_eq!(copy.size().unwrap(), ByteCount::from_mib(10));
        let mut bytes = vec![1; 5001];
        let mut window = copy.window(ByteCount::from_mib(1), ByteCount::from_mib(1));
        window.read_exact(&mut bytes).unwrap();
        assert_eq!((bytes[4999], bytes[5000]), (7, 0));
        let kept: u64 = copy.extents().unwrap().iter().map(|extent| extent.end - extent.start).sum();
        assert!(kept <= 8192, "{kept}");
        copy.clear(1 << 20..20 << 20).unwrap();
        let mut window = copy.window(ByteCount::from_mib(1), ByteCount::from_mib(1));
        window.read_exact(&mut bytes).unwrap();
        assert_eq!((bytes[0], copy.size().unwrap()), (0, ByteCount::from_mib(10)));
    }

    #[test]
    fn a_part_is_copied_to_the_same_place() {
        let directory = tempfile::tempdir().unwrap();
        let create =
            |name: &str| DiskFile::create(&directory.path().join(name), ByteCount::from_mib(2)).unwrap();
        let (from, to) = (create("from"), create("to"));
        from.write_all_at(0, &[7; 2 << 20]).unwrap();
        from.copy_into(4096..8192, &to).unwrap();
        let mut bytes = vec![1; 3 * 4096];
        to.whole().unwrap().read_exact(&mut bytes).unwrap();
        assert_eq!([0, 4095, 4096, 8191, 8192].map(|place: usize| bytes[place]), [0, 0, 7, 7, 0]);
    }

    #[test]
    fn nothing_is_written_past_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let disk = DiskFile::create(&directory.path().join("disk"), ByteCount::from_mib(1)).unwrap();
        let error = disk.write_all_at((1 << 20) - 1, b"ab").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
