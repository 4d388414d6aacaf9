//! Reading images: versions 2 and 3, clusters of 512 bytes to 2 MiB, as they are, of zeros, or compressed.
//!
//! Every table is checked when an image is opened, so nothing it says leads out of the file afterwards; an
//! image that needs what is not read is refused: backing files, data files of their own, encryption,
//! extended tables, features nobody knew when this was written. Reference counts and snapshots are not
//! looked at: what is read is the disk as it stands.
//!
//! Source: QEMU, docs/interop/qcow2.rst. Integers are big-endian.

mod cache;
mod error;
mod expand;
mod header;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use goni_model::number::{to_u64, to_usize};

pub use error::ReadError;

use crate::read_at::ReadAt;
use cache::Cache;
use error::{corrupt, reading};
use expand::Expander;
use header::Header;

/// What an image begins with.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Expanded clusters that are kept: 32 MiB of them.
const CLUSTERS_KEPT: u64 = 32 << 20;

/// L2 tables that are kept: 4 MiB, of 32 GiB of disk where clusters are of 64 KiB.
const TABLES_KEPT: u64 = 4 << 20;

/// Flag of an entry whose cluster is referred to from nowhere else.
const COPIED: u64 = 1 << 63;
/// Flag of an L2 entry whose cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// Flag of an L2 entry whose cluster reads as zeros, whatever is there.
const ZEROS: u64 = 1;
/// The bits of an entry that are an offset.
const OFFSET: u64 = 0x00FF_FFFF_FFFF_FE00;
/// Sectors in which compressed clusters are counted.
const SECTOR: u64 = 512;

/// Where a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere.
    Zeros,
    /// At an offset, as it is.
    Plain(u64),
    /// Compressed, in at most so many bytes from an offset on.
    Compressed { offset: u64, length: u64 },
}

/// An image that is read at offsets of its disk.
///
/// Memory: the L1 table, which is 8 bytes for 512 MiB of disk where clusters are of 64 KiB; 4 MiB of other
/// tables, 32 MiB of expanded clusters, and a decoder for each thread.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    header: Header,
    l1: Vec<u64>,
    tables: Mutex<Cache<[u64]>>,
    clusters: Mutex<Cache<[u8]>>,
    expander: Expander,
}

impl<R: ReadAt> Reader<R> {
    /// Opens an image and checks all of its tables.
    ///
    /// # Errors
    /// What is not read, what contradicts itself or leads out of the file, and what reading raises.
    pub fn open(source: R) -> Result<Self, ReadError> {
        let header = header::read(&source)?;
        let length = header.l1_entries * 8;
        if length > 0 {
            header.within("the L1 table", header.l1_offset, length, source.size())?;
        }
        let mut bytes = vec![0; to_usize(length)];
        source.read_exact_at(&mut bytes, header.l1_offset).map_err(reading("reading the L1 table"))?;
        let kept = |bytes: u64| to_usize((bytes / header.cluster()).max(4));
        let reader = Self {
            l1: words(&bytes),
            tables: Mutex::new(Cache::new(kept(TABLES_KEPT))),
            clusters: Mutex::new(Cache::new(kept(CLUSTERS_KEPT))),
            expander: Expander::new(header.zstd),
            source,
            header,
        };
        reader.check()?;
        Ok(reader)
    }

    /// Where the disk has bytes, in order; everything else reads as zero.
    ///
    /// # Errors
    /// What reading raises.
    pub fn extents(&self) -> io::Result<Vec<Range<u64>>> {
        let mut extents: Vec<Range<u64>> = Vec::new();
        let (cluster, size) = (self.header.cluster(), self.header.size);
        for (index, entry) in (0..).zip(&self.l1) {
            if entry & OFFSET == 0 {
                continue;
            }
            let table = self.load(*entry & OFFSET)?;
            for (number, entry) in (index * self.header.entries()..).zip(&table) {
                let start = number * cluster;
                let bytes = !matches!(self.header.place(*entry), Ok(Place::Zeros));
                if start >= size || !bytes {
                    continue;
                }
                let end = (start + cluster).min(size);
                match extents.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => extents.push(start..end),
                }
            }
        }
        Ok(extents)
    }

    /// Every table is within the file, and so is all that it points to.
    fn check(&self) -> Result<(), ReadError> {
        let mut seen = BTreeSet::new();
        let (cluster, file) = (self.header.cluster(), self.source.size());
        for (index, entry) in (0..).zip(&self.l1) {
            let at = self.header.l1_offset + index * 8;
            let offset = entry & OFFSET;
            if entry & !(OFFSET | COPIED) != 0 || !offset.is_multiple_of(cluster) {
                return Err(corrupt(at, format!("an entry of the L1 table is {entry:#x}")));
            }
            if offset == 0 {
                continue;
            }
            // Otherwise a small file could have us read the same table millions of times.
            if !seen.insert(offset) {
                return Err(corrupt(at, format!("the table at {offset} is referred to twice")));
            }
            self.header.within("an L2 table", offset, cluster, file)?;
            let table = self.load(offset).map_err(reading("reading an L2 table"))?;
            for (number, entry) in (0..).zip(&table) {
                let guest = index * self.header.entries() + number;
                self.check_entry(guest, *entry, offset + number * 8)?;
            }
        }
        Ok(())
    }

    /// What an entry of an L2 table points to is within the file, as far as the disk needs it.
    fn check_entry(&self, guest: u64, entry: u64, at: u64) -> Result<(), ReadError> {
        let place = self.header.place(entry).map_err(|problem| corrupt(at, problem))?;
        // Past the disk's end there is nothing to be read; L2 tables are longer than most disks.
        let needed = match guest.checked_mul(self.header.cluster()) {
            Some(start) if start < self.header.size => (self.header.size - start).min(self.header.cluster()),
            _ => return Ok(()),
        };
        match place {
            Place::Zeros => Ok(()),
            Place::Plain(offset) => self.header.within("a cluster", offset, needed, self.source.size()),
            // The last sector need not be there whole.
            Place::Compressed { offset, length } => {
                let least = length.saturating_sub(SECTOR - 1).max(1);
                self.header.within("a compressed cluster", offset, least, self.source.size())
            }
        }
    }

    /// Reads an L2 table.
    fn load(&self, offset: u64) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; to_usize(self.header.cluster())];
        self.source.read_exact_at(&mut bytes, offset)?;
        Ok(words(&bytes))
    }

    /// Where a cluster of the disk is.
    fn place(&self, guest: u64) -> io::Result<Place> {
        let (index, number) = (guest / self.header.entries(), guest % self.header.entries());
        let offset = self.l1.get(to_usize(index)).ok_or(io::ErrorKind::UnexpectedEof)? & OFFSET;
        if offset == 0 {
            return Ok(Place::Zeros);
        }
        let kept = held(&self.tables).get(offset);
        let table = match kept {
            Some(table) => table,
            None => {
                let table: Arc<[u64]> = self.load(offset)?.into();
                held(&self.tables).put(offset, Arc::clone(&table));
                table
            }
        };
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        self.header.place(table[to_usize(number)]).map_err(invalid)
    }

    /// A cluster that is compressed, expanded.
    fn expanded(&self, offset: u64, length: u64) -> io::Result<Arc<[u8]>> {
        if let Some(cluster) = held(&self.clusters).get(offset) {
            return Ok(cluster);
        }
        let length = length.min(self.source.size().saturating_sub(offset));
        let mut bytes = vec![0; to_usize(length)];
        self.source.read_exact_at(&mut bytes, offset)?;
        let mut cluster = vec![0; to_usize(self.header.cluster())];
        self.expander.expand(&bytes, &mut cluster).map_err(|problem| {
            let problem = format!("the compressed cluster at {offset} cannot be expanded: {problem}");
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })?;
        let cluster: Arc<[u8]> = cluster.into();
        held(&self.clusters).put(offset, Arc::clone(&cluster));
        Ok(cluster)
    }
}

impl<R: ReadAt> ReadAt for Reader<R> {
    fn size(&self) -> u64 {
        self.header.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(to_u64(buffer.len())).filter(|end| *end <= self.header.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let cluster = self.header.cluster();
        let (mut rest, mut position) = (buffer, offset);
        while !rest.is_empty() {
            let within = position % cluster;
            let length = to_u64(rest.len()).min(cluster - within);
            let (piece, others) = rest.split_at_mut(to_usize(length));
            match self.place(position / cluster)? {
                Place::Zeros => piece.fill(0),
                Place::Plain(at) => self.source.read_exact_at(piece, at + within)?,
                Place::Compressed { offset, length: packed } => {
                    let expanded = self.expanded(offset, packed)?;
                    piece.copy_from_slice(&expanded[to_usize(within)..to_usize(within + length)]);
                }
            }
            position += length;
            rest = others;
        }
        Ok(())
    }
}

/// What a lock guards. A thread that panicked left it whole: every change of it is one call.
fn held<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect()
}
