//! The files of an ext4 file system, searched, with compressed parts unpacked.
//!
//! A journal that was not written back is taken into account by `ext4-view`, so a file system whose
//! power was cut is read as its next mount would find it.

use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom};

use ext4_view::{Ext4, Ext4Error, Ext4Read, File, FileType, PathBuf};
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use super::compressed::Compression;
use super::{Canary, Traces, scan};

/// More entries than this no node has.
const MOST_ENTRIES: usize = 1_000_000;
/// More beginnings of streams than this no file has.
const MOST_STREAMS: usize = 100_000;

/// Files up to this size are read into memory once, as journals are: `ext4-view` goes to a place in a
/// file by counting its blocks, and a journal has thousands of compressed parts.
const IN_MEMORY: u64 = 128 << 20;

/// How much is read before a search gives up.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of one compressed stream, unpacked.
    pub stream: ByteCount,
    /// Of everything.
    pub total: ByteCount,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { stream: ByteCount::from_mib(1 << 10), total: ByteCount::from_mib(32 << 10) }
    }
}

/// Searches all regular files of a file system.
///
/// # Errors
/// It is no ext4 file system, or a damaged one.
pub fn search(volume: Box<dyn Ext4Read>, canaries: &[Canary], bounds: Bounds) -> Result<Traces, Ext4Error> {
    let file_system = Ext4::load(volume)?;
    let mut search = Search::new(canaries, bounds);
    let mut open = vec![PathBuf::new("/")];
    let mut entries = 0_usize;
    while let Some(directory) = open.pop() {
        for entry in file_system.read_dir(&directory)? {
            let entry = entry?;
            if [&b"."[..], b".."].contains(&entry.file_name().as_ref()) {
                continue;
            }
            entries += 1;
            if entries > MOST_ENTRIES {
                search.traces.unseen(|| format!("more than {MOST_ENTRIES} entries"));
                return Ok(search.traces);
            }
            let place = entry.path();
            match entry.file_type()? {
                FileType::Directory => open.push(place),
                FileType::Regular => {
                    let name = String::from_utf8_lossy(place.as_ref()).into_owned();
                    search.file(&mut file_system.open(&place)?, &name)?;
                }
                _ => {}
            }
        }
    }
    Ok(search.traces)
}

struct Search<'a> {
    canaries: Vec<&'a [u8]>,
    bounds: Bounds,
    left: u64,
    traces: Traces,
}

impl<'a> Search<'a> {
    fn new(canaries: &'a [Canary], bounds: Bounds) -> Self {
        Self {
            canaries: canaries.iter().map(|canary| canary.as_bytes().as_slice()).collect(),
            bounds,
            left: bounds.total.get(),
            traces: Traces::new(canaries.len()),
        }
    }

    fn file(&mut self, file: &mut File, name: &str) -> Result<(), Ext4Error> {
        let mut needles = self.canaries.clone();
        needles.extend(Compression::ALL.map(Compression::magic));
        let mut streams: Vec<(u64, Compression)> = Vec::new();
        let (traces, own) = (&mut self.traces, self.canaries.len());
        let told = |needle: usize, at: u64| match Compression::ALL.get(needle.wrapping_sub(own)) {
            None => traces.add(needle, || format!("byte {at} of `{name}`")),
            Some(compression) if streams.len() < MOST_STREAMS => streams.push((at, *compression)),
            Some(_) => traces.unseen(|| format!("more than {MOST_STREAMS} compressed parts of `{name}`")),
        };
        // The bytes as they are have no error but those of the file system.
        let mut source = ReadBytes { file, failed: None };
        let mut kept = Vec::new();
        let read = if source.file.metadata().len() <= IN_MEMORY.min(self.left) {
            (&mut source).take(IN_MEMORY).read_to_end(&mut kept).and_then(|_| scan(&kept[..], &needles, told))
        } else {
            scan((&mut source).take(self.left), &needles, told)
        };
        if let Some(error) = source.failed {
            return Err(error);
        }
        self.spend(read.unwrap_or(0));
        for (start, compression) in streams {
            // All of the file was read once without an error: one that comes now means that the stream
            // is over, or was none. What it held until then is looked at.
            let place = || format!("{} at byte {start} of `{name}`", compression.name());
            match kept.get(to_usize(start)..).filter(|_| !kept.is_empty()) {
                Some(packed) => self.stream(packed, compression, place),
                None if file.seek(SeekFrom::Start(start)).is_ok() => {
                    self.stream(BufReader::new(&mut *file), compression, place);
                }
                None => {}
            }
        }
        Ok(())
    }

    fn stream(&mut self, packed: impl BufRead, compression: Compression, place: impl Fn() -> String) {
        let limit = self.left.min(self.bounds.stream.get());
        let Ok(unpacked) = compression.unpack(packed) else { return };
        let mut counted = Counted { stream: unpacked.take(limit), read: 0 };
        let traces = &mut self.traces;
        let ended = scan(&mut counted, &self.canaries, |canary, at| {
            traces.add(canary, || format!("byte {at} of what unpacks from {}", place()));
        });
        // An error is where the stream ends.
        drop(ended);
        let read = counted.read;
        if read == limit {
            self.traces.unseen(|| format!("{} or more in {}", ByteCount::new(limit), place()));
        }
        self.spend(read);
    }

    fn spend(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            let total = self.bounds.total;
            self.traces.unseen(|| format!("{total} or more of files"));
        }
    }
}

/// A file, with the error that ended it kept: a stream has none of its own.
struct ReadBytes<'a> {
    file: &'a mut File,
    failed: Option<Ext4Error>,
}

impl Read for ReadBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_bytes(buffer).map_err(|error| {
            self.failed = Some(error);
            io::ErrorKind::InvalidData.into()
        })
    }
}

/// A stream that knows how far it was read, even if it ends with an error.
struct Counted<R> {
    stream: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.read += to_u64(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
