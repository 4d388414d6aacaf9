//! The bytes of files, from their source into blocks: read, compressed and written in batches.
//!
//! While the pool compresses one batch, this thread writes the batch before and reads the one
//! after. What is in memory is bounded by three batches, however large a file is, and no file is
//! read further than its batch. Batches are cut by size alone, so the number of threads cannot
//! show in an image.

use std::io::{Read, Seek, Write};

use goni_model::number::to_u64;
use rayon::iter::{IntoParallelRefMutIterator as _, ParallelIterator as _};
use zstd::bulk::Compressor;

use super::format::{BLOCK, EXTENT};
use super::layout::has_room;
use super::node::FileContent;
use super::sink::Sink;
use super::{Compression, WriteError};
use crate::tree::{ContentSource, TreePath};

/// Bytes of a batch: long enough that two cores seldom wait for each other at its end.
const BATCH: usize = 64 * EXTENT;

/// The longest end of a file, or whole file, that is kept with others in the packed inode: there
/// it shares an extent and its rounding to blocks. Anything longer loses little by rounding, and
/// is spared a copy through the packed inode's pages when it is read.
const FRAGMENT_MAX: u64 = 64 << 10;

/// Up to [`EXTENT`] bytes, and where they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first block.
    pub(super) block: u32,
    /// Blocks it fills; clusters are blocks of decoded bytes, and no fewer.
    pub(super) blocks: u16,
    /// Blocks' worth of bytes it decodes to.
    pub(super) clusters: u16,
    /// Whether it is compressed.
    pub(super) compressed: bool,
}

/// Where the bytes of a file went.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Whole extents, in order.
    pub(super) extents: Vec<Extent>,
    /// Offset in the packed inode of what follows the extents.
    pub(super) fragment: Option<u64>,
    /// Uncompressed images: what follows the last whole block.
    pub(super) tail: Vec<u8>,
}

impl Placed {
    /// The first block, if all bytes are in one run of blocks as they are.
    pub(super) fn run(&self) -> Option<u32> {
        let first = self.extents.first()?;
        let mut next = Some(first.block);
        for extent in &self.extents {
            if extent.compressed || next != Some(extent.block) {
                return None;
            }
            next = extent.block.checked_add(u32::from(extent.blocks));
        }
        self.fragment.is_none().then_some(first.block)
    }
}

/// Where all bytes went: those of each content, and those of the packed inode with its length.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) files: Vec<Placed>,
    pub(super) packed: Placed,
    pub(super) packed_size: u64,
    /// An extent of nothing but zeros, once there is one: every other is the same.
    zeros: Option<Extent>,
}

/// Bytes on their way into an extent.
#[derive(Debug)]
struct Chunk {
    /// The content they belong to; `None` for the packed inode.
    content: Option<usize>,
    bytes: Vec<u8>,
    clusters: u16,
    compressed: bool,
    /// Whether this is a whole extent of zeros: sparse files come to be read as many of them.
    zeros: bool,
}

impl Chunk {
    fn new(content: Option<usize>, bytes: Vec<u8>) -> Self {
        let clusters = u16::try_from(bytes.len().div_ceil(BLOCK)).expect("a chunk is at most an extent");
        let zeros = bytes.len() == EXTENT && bytes.iter().all(|byte| *byte == 0);
        Self { content, bytes, clusters, compressed: false, zeros }
    }

    /// Compresses the bytes if that saves a block; the result ends where its last block ends.
    fn compress(&mut self, compressor: &mut Compressor<'_>, scratch: &mut Vec<u8>) -> Result<(), WriteError> {
        let raw_blocks = self.bytes.len().div_ceil(BLOCK);
        if raw_blocks < 2 {
            return Ok(());
        }
        scratch.clear();
        scratch.reserve(zstd::zstd_safe::compress_bound(self.bytes.len()));
        let length = compressor.compress_to_buffer(&self.bytes, scratch).map_err(WriteError::Compress)?;
        let blocks = length.div_ceil(BLOCK);
        if blocks < raw_blocks {
            self.bytes.clear();
            self.bytes.resize(blocks * BLOCK - length, 0);
            self.bytes.extend_from_slice(scratch);
            self.compressed = true;
        }
        Ok(())
    }
}

/// Writes the bytes of all contents.
pub(super) fn write<W: Write + Seek>(
    contents: &[FileContent<'_>],
    source: &dyn ContentSource,
    compression: Compression,
    sink: &mut Sink<'_, W>,
) -> Result<Contents, WriteError> {
    let mut reader = Reader::new(contents, source, compression);
    let mut done = Vec::new();
    let mut batch = reader.batch()?;
    while !(batch.is_empty() && done.is_empty()) {
        let mut compressed = Ok(());
        let next = rayon::in_place_scope(|scope| {
            scope.spawn(|_| compressed = compress(&mut batch, compression));
            place(&done, &mut reader.placed, sink)?;
            reader.batch()
        });
        compressed?;
        done = batch;
        batch = next?;
    }
    Ok(reader.placed)
}

/// Compresses a batch on all cores.
fn compress(batch: &mut [Chunk], compression: Compression) -> Result<(), WriteError> {
    let Compression::Zstd { level } = compression else { return Ok(()) };
    batch.par_iter_mut().try_for_each_init(
        || (Compressor::new(level), Vec::new()),
        |(compressor, scratch), chunk| match compressor {
            Ok(compressor) => chunk.compress(compressor, scratch),
            Err(error) => Err(WriteError::Compress(std::io::Error::new(error.kind(), error.to_string()))),
        },
    )
}

/// Writes a batch and notes where it went.
fn place<W: Write + Seek>(
    batch: &[Chunk],
    placed: &mut Contents,
    sink: &mut Sink<'_, W>,
) -> Result<(), WriteError> {
    for chunk in batch {
        let shared = placed.zeros.filter(|_| chunk.zeros && chunk.compressed);
        let extent = match shared {
            Some(extent) => extent,
            None => write_chunk(chunk, sink)?,
        };
        if chunk.zeros && chunk.compressed {
            placed.zeros = Some(extent);
        }
        match chunk.content {
            Some(content) => placed.files[content].extents.push(extent),
            None => placed.packed.extents.push(extent),
        }
    }
    Ok(())
}

/// Writes a chunk to blocks of its own.
fn write_chunk<W: Write + Seek>(chunk: &Chunk, sink: &mut Sink<'_, W>) -> Result<Extent, WriteError> {
    let block = sink.next_block()?;
    if chunk.zeros && !chunk.compressed {
        sink.skip(chunk.bytes.len())?;
    } else {
        sink.write(&chunk.bytes)?;
    }
    sink.pad()?;
    let blocks = u16::try_from(chunk.bytes.len().div_ceil(BLOCK)).expect("a chunk is at most an extent");
    Ok(Extent { block, blocks, clusters: chunk.clusters, compressed: chunk.compressed })
}

/// Cuts contents into chunks, one after the other.
struct Reader<'t> {
    contents: &'t [FileContent<'t>],
    source: &'t dyn ContentSource,
    compression: Compression,
    /// The content that is read now.
    current: usize,
    open: Option<(Box<dyn Read + Send + 't>, u64)>,
    /// Fragments that are not yet an extent's worth.
    fragments: Vec<u8>,
    placed: Contents,
}

impl<'t> Reader<'t> {
    fn new(contents: &'t [FileContent<'t>], source: &'t dyn ContentSource, compression: Compression) -> Self {
        let files = contents.iter().map(|_| Placed::default()).collect();
        let placed = Contents { files, ..Contents::default() };
        Self { contents, source, compression, current: 0, open: None, fragments: Vec::new(), placed }
    }

    /// The next batch; empty once everything was read.
    fn batch(&mut self) -> Result<Vec<Chunk>, WriteError> {
        let (mut batch, mut length) = (Vec::new(), 0);
        while length < BATCH && self.current < self.contents.len() {
            if let Some(chunk) = self.step()? {
                length += chunk.bytes.len();
                batch.push(chunk);
            }
        }
        if self.current == self.contents.len() && !self.fragments.is_empty() {
            batch.push(Chunk::new(None, std::mem::take(&mut self.fragments)));
        }
        Ok(batch)
    }

    /// Reads up to an extent of the current content; it becomes a chunk or is kept elsewhere.
    fn step(&mut self) -> Result<Option<Chunk>, WriteError> {
        let number = self.current;
        let FileContent { path, content, xattrs } = self.contents[number];
        let (mut reader, left) = match self.open.take() {
            Some(open) => open,
            None => {
                let reader = content.open(self.source);
                (reader.map_err(|source| WriteError::Content { path: path.clone(), source })?, content.size())
            }
        };
        let length = left.min(to_u64(EXTENT));
        let fragment = matches!(self.compression, Compression::Zstd { .. }) && length <= FRAGMENT_MAX;
        let mut bytes =
            if fragment { std::mem::take(&mut self.fragments) } else { Vec::with_capacity(EXTENT) };
        read(path, content.size(), left, &mut reader, length, &mut bytes)?;
        if left > length {
            self.open = Some((reader, left - length));
        } else {
            check_end(path, content.size(), &mut reader)?;
            self.current += 1;
        }
        let placed = &mut self.placed.files[number];
        if fragment {
            placed.fragment = Some(self.placed.packed_size);
            self.placed.packed_size += length;
            return Ok(self.keep_fragment(bytes));
        }
        let whole = bytes.len() / BLOCK * BLOCK;
        if matches!(self.compression, Compression::None) && has_room(xattrs, bytes.len() - whole) {
            placed.tail = bytes.split_off(whole);
        }
        Ok((!bytes.is_empty()).then(|| Chunk::new(Some(number), bytes)))
    }

    /// Keeps fragments until they are an extent's worth.
    fn keep_fragment(&mut self, mut bytes: Vec<u8>) -> Option<Chunk> {
        if bytes.len() < EXTENT {
            self.fragments = bytes;
            return None;
        }
        self.fragments = bytes.split_off(EXTENT);
        Some(Chunk::new(None, bytes))
    }
}

/// Reads exactly so many bytes, of a content of which so many are left.
fn read(
    path: &TreePath,
    declared: u64,
    left: u64,
    reader: &mut dyn Read,
    length: u64,
    bytes: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let found = reader.take(length).read_to_end(bytes);
    let found = found.map_err(|source| WriteError::Content { path: path.clone(), source })?;
    let missing = length - to_u64(found);
    if missing > 0 {
        let found = declared - left + to_u64(found);
        return Err(WriteError::Short { path: path.clone(), declared, found });
    }
    Ok(())
}

/// Refuses a content that goes on past its declared end.
fn check_end(path: &TreePath, declared: u64, reader: &mut dyn Read) -> Result<(), WriteError> {
    let mut more = Vec::new();
    match reader.take(1).read_to_end(&mut more) {
        Ok(0) => Ok(()),
        Ok(_) => Err(WriteError::Long { path: path.clone(), declared }),
        Err(source) => Err(WriteError::Content { path: path.clone(), source }),
    }
}
