//! The disk as a cut left it: the image it began as, and the writes that reached it, one by one.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use goni_disk::write_log::{Action, Entry, WriteLog};
use goni_model::number::to_usize;
use goni_model::size::ByteCount;

use crate::host::disk_file::DiskFile;
use crate::smoke::power_cuts::points::{Point, flushed, kept};

/// How much is copied at a time; so much of zeros stays a hole.
const STRIDE: u64 = 1 << 20;

/// All that is replayed from.
#[derive(Debug)]
pub struct Tape {
    /// The disk before the first write. It may be shorter than the disk: the rest is zeros.
    pub image: DiskFile,
    /// The size of the disk.
    pub size: ByteCount,
    /// The write log.
    pub log: DiskFile,
    /// What is in it.
    pub index: WriteLog,
}

/// A disk on which so many entries have been replayed.
#[derive(Debug)]
pub struct Replica<'a> {
    tape: &'a Tape,
    disk: DiskFile,
    at: u64,
}

impl<'a> Replica<'a> {
    /// A copy of the image at a path, before the first write.
    ///
    /// # Errors
    /// The path is taken, or the disk below is full.
    pub fn begin(tape: &'a Tape, path: &Path) -> io::Result<Self> {
        let disk = tape.image.copy_part(0..tape.size.get(), path)?;
        Ok(Self { tape, disk, at: 0 })
    }

    /// The disk.
    #[must_use]
    pub const fn disk(&self) -> &DiskFile {
        &self.disk
    }

    /// Replays up to an entry, which it does not yet have.
    ///
    /// # Errors
    /// A write past the end of the disk, or what writing raises.
    pub fn advance(&mut self, to: u64) -> io::Result<()> {
        while self.at < to {
            if let Some(entry) = self.tape.index.entries.get(to_usize(self.at)) {
                self.tape.apply(entry, &self.disk)?;
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Replays up to a point, of which what was not flushed may be lost.
    ///
    /// # Errors
    /// As [`Replica::advance`].
    pub fn cut(&mut self, point: Point) -> io::Result<()> {
        let entries = &self.tape.index.entries;
        self.advance(flushed(entries, point.at))?;
        for number in kept(entries, point) {
            self.tape.apply(&entries[to_usize(number)], &self.disk)?;
        }
        self.at = point.at;
        Ok(())
    }
}

impl Tape {
    /// Does to a disk what an entry says.
    ///
    /// # Errors
    /// A write past the end of the disk, or what writing raises.
    pub fn apply(&self, entry: &Entry, disk: &DiskFile) -> io::Result<()> {
        match entry.action {
            Action::None => Ok(()),
            Action::Discard { .. } => disk.clear(entry.range()),
            Action::Write { offset, length, from } => self.copy(from, disk, offset, length),
        }
    }

    fn copy(&self, from: u64, disk: &DiskFile, offset: u64, length: u64) -> io::Result<()> {
        let mut log = self.log.whole()?;
        let mut buffer = Vec::new();
        for start in (0..length).step_by(to_usize(STRIDE)) {
            let size = STRIDE.min(length - start);
            buffer.resize(to_usize(size), 0);
            log.seek(SeekFrom::Start(from + start))?;
            log.read_exact(&mut buffer)?;
            if size == STRIDE && buffer.iter().all(|byte| *byte == 0) {
                disk.clear(offset + start..offset + start + size)?;
            } else {
                disk.write_all_at(offset + start, &buffer)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of 4 MiB of ones over an image of 2 MiB, and the log of what happens to it.
    fn tape(directory: &Path, actions: &[(Action, bool)]) -> Tape {
        let create =
            |name: &str, mib| DiskFile::create(&directory.join(name), ByteCount::from_mib(mib)).unwrap();
        let (image, log) = (create("image", 2), create("log", 3));
        image.write_all_at(0, &[1; 2 << 20]).unwrap();
        log.write_all_at(0, &[7; 512]).unwrap();
        log.write_all_at(512, &[8; 512]).unwrap();
        let entries =
            actions.iter().map(|(action, flush)| Entry { action: *action, flush: *flush, forced: false });
        let index = WriteLog { sector_size: 512, entries: entries.collect() };
        Tape { image, size: ByteCount::from_mib(4), log, index }
    }

    fn byte(disk: &DiskFile, at: u64) -> u8 {
        let mut byte = [0];
        disk.window(ByteCount::new(at), ByteCount::new(1)).read_exact(&mut byte).unwrap();
        byte[0]
    }

    const WRITE: Action = Action::Write { offset: 3 << 20, length: 512, from: 0 };
    const OVER_IT: Action = Action::Write { offset: 3 << 20, length: 512, from: 512 };

    #[test]
    fn writes_come_one_after_the_other_and_discards_are_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let zeros = Action::Write { offset: 0, length: 1 << 20, from: 1 << 20 };
        let discard = Action::Discard { offset: 1 << 20, length: 1 << 30 };
        let tape = tape(directory.path(), &[WRITE, OVER_IT, zeros, discard].map(|action| (action, false)));
        let mut replica = Replica::begin(&tape, &directory.path().join("disk")).unwrap();
        let mut seen = Vec::new();
        for at in 0..=5 {
            replica.advance(at).unwrap();
            seen.push([0, 1 << 20, 3 << 20].map(|place| byte(replica.disk(), place)));
        }
        assert_eq!(seen, [[1, 1, 0], [1, 1, 7], [1, 1, 8], [0, 1, 8], [0, 0, 0], [0, 0, 0]]);
        assert_eq!(byte(&tape.image, 0), 1, "the image is only read");
    }

    #[test]
    fn a_cut_loses_only_what_was_not_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let tape = tape(directory.path(), &[(WRITE, false), (Action::None, true), (OVER_IT, false)]);
        let mut found: Vec<u8> = (0..32)
            .map(|seed| {
                let path = directory.path().join(format!("disk-{seed}"));
                let mut replica = Replica::begin(&tape, &path).unwrap();
                replica.cut(Point { at: 3, lost_by: Some(seed) }).unwrap();
                byte(replica.disk(), 3 << 20)
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, [7, 8]);
    }

    #[test]
    fn a_write_past_the_end_of_the_disk_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let past = Action::Write { offset: (4 << 20) - 100, length: 512, from: 0 };
        let tape = tape(directory.path(), &[(past, false)]);
        let mut replica = Replica::begin(&tape, &directory.path().join("disk")).unwrap();
        assert_eq!(replica.advance(1).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
