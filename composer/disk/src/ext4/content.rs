//! What inodes hold: the bytes of files, the entries of directories, link targets, the journal.

use std::io::{Read, Seek, Write};

use goni_model::number::{to_u64, to_usize};

use super::allocation::Blocks;
use super::bytes::{put, split_seconds};
use super::catalog::{Catalog, Node};
use super::directory::DirectoryBlocks;
use super::extents::ExtentMap;
use super::geometry::{BLOCK, BLOCK_LENGTH, Geometry};
use super::inode::{BlockMap, InodeTables, JOURNAL, Record, entry_type};
use super::xattr::{self, Attributes};
use super::{Image, Options, Unsupported, WriteError, no_space};
use crate::tree::{Content, ContentSource, DeviceNumber, Kind, TreePath};

/// Bytes read at a time: enough to make a long run of blocks of them.
const PIECE: usize = 1 << 20;
/// A shorter link target stands in the inode. Source: ext4/ifork.rst, “Symbolic Links”.
const LONG_TARGET: usize = 60;

/// Writes an inode of the tree with everything it holds.
pub(super) fn write_node<W: Write + Seek>(
    catalog: &Catalog<'_>,
    node: &Node<'_>,
    source: &dyn ContentSource,
    blocks: &mut Blocks,
    tables: &mut InodeTables<'_>,
    image: &mut Image<'_, W>,
) -> Result<(), WriteError> {
    let metadata = &node.inode.metadata;
    let unsupported = |why| WriteError::Unsupported { path: node.path.as_ref().clone(), why };
    let (time, epoch) = split_seconds(metadata.mtime.seconds)
        .ok_or_else(|| unsupported(Unsupported::Time(metadata.mtime.seconds)))?;
    let (map, size) = match &node.inode.kind {
        Kind::Directory => write_directory(catalog, node, blocks, image)?,
        Kind::File(content) => {
            let mut file = FileWriter { number: node.number, path: &node.path, blocks, image };
            (file.write(content, source)?, content.size())
        }
        Kind::Symlink(target) if target.len() < LONG_TARGET => {
            let mut i_block = [0; 60];
            i_block[..target.len()].copy_from_slice(target);
            (BlockMap::without_blocks(i_block), to_u64(target.len()))
        }
        Kind::Symlink(target) => {
            let mut block = target.clone();
            block.resize(BLOCK_LENGTH, 0);
            let mut map = ExtentMap::default();
            append(&mut map, 0, &block, blocks, image)?;
            (map.write(node.number, blocks, image)?, to_u64(target.len()))
        }
        Kind::CharacterDevice(device) | Kind::BlockDevice(device) => {
            (BlockMap::without_blocks(encode_device(*device)), 0)
        }
        Kind::Fifo => (BlockMap::without_blocks([0; 60]), 0),
    };
    let (attributes, attribute_block) = match xattr::lay_out(&metadata.xattrs).map_err(unsupported)? {
        Attributes::None => (None, 0),
        Attributes::Inside(area) => (Some(area), 0),
        Attributes::Block(mut block) => {
            let run = blocks.take(1).ok_or_else(|| no_space(blocks))?;
            xattr::seal(&mut block, run.start, image.seed);
            image.write_blocks(run.start, &block)?;
            (None, run.start)
        }
    };
    let record = Record {
        number: node.number,
        mode: node.inode.kind.type_bits() | metadata.mode & 0o7777,
        uid: metadata.uid,
        gid: metadata.gid,
        links: node.links,
        size,
        time,
        extra_time: metadata.mtime.nanoseconds << 2 | epoch,
        map,
        attributes,
        attribute_block,
    };
    tables.write(&record, image)
}

/// Writes an empty journal; returns where it lies, of which the superblock keeps a copy.
///
/// Source: ext4/journal.rst, “Super Block”. Integers big-endian. The kernel adds the features it
/// wants when it mounts the file system.
pub(super) fn write_journal<W: Write + Seek>(
    geometry: &Geometry,
    options: &Options,
    blocks: &mut Blocks,
    tables: &mut InodeTables<'_>,
    image: &mut Image<'_, W>,
) -> Result<BlockMap, WriteError> {
    let length = u32::try_from(geometry.journal_blocks).map_err(|_| WriteError::Option {
        what: "journal",
        value: format!("{} blocks", geometry.journal_blocks),
        limit: "fewer than 2^32 are possible",
    })?;
    let mut superblock = [0; 1024];
    for (offset, value) in [
        (0x00, 0xC03B_3998_u32), // h_magic
        (0x04, 4),               // h_blocktype: superblock, version 2
        (0x0C, 4096),            // s_blocksize
        (0x10, length),          // s_maxlen
        (0x14, 1),               // s_first
        (0x18, 1),               // s_sequence
        (0x1C, 0),               // s_start: nothing to replay
        (0x40, 1),               // s_nr_users
    ] {
        put(&mut superblock, offset, value.to_be_bytes());
    }
    put(&mut superblock, 0x30, *options.uuid.as_bytes()); // s_uuid

    let mut map = ExtentMap::default();
    let mut logical = 0;
    while logical < length {
        let run = blocks.take(u64::from(length - logical)).ok_or_else(|| no_space(blocks))?;
        if logical == 0 {
            image.write_blocks(run.start, &superblock)?;
        }
        map.push(logical, run);
        logical += u32::try_from(run.length).expect("no more than was asked for");
    }
    let map = map.write(JOURNAL, blocks, image)?;
    let record = Record::internal(JOURNAL, geometry.journal_blocks * BLOCK, map.clone(), options);
    tables.write(&record, image)?;
    Ok(map)
}

fn write_directory<W: Write + Seek>(
    catalog: &Catalog<'_>,
    node: &Node<'_>,
    blocks: &mut Blocks,
    image: &mut Image<'_, W>,
) -> Result<(BlockMap, u64), WriteError> {
    let directory = entry_type(&Kind::Directory);
    let dots: [(&[u8], u32, u8); 2] =
        [(b".", node.number, directory), (b"..", catalog.node(node.parent).number, directory)];
    let named = node.children.iter().map(|(name, index)| {
        let child = catalog.node(*index);
        (*name, child.number, entry_type(&child.inode.kind))
    });
    let mut filler = DirectoryBlocks::new(image.inode_seed(node.number));
    let mut map = ExtentMap::default();
    let mut logical = 0;
    for (name, number, file_type) in dots.into_iter().chain(named) {
        if let Some(full) = filler.push(name, number, file_type) {
            append(&mut map, logical, &full, blocks, image)?;
            logical += 1;
        }
    }
    append(&mut map, logical, &filler.finish(), blocks, image)?;
    let size = (u64::from(logical) + 1) * BLOCK;
    Ok((map.write(node.number, blocks, image)?, size))
}

/// Writes whole blocks at a place in an inode, wherever there is room.
fn append<W: Write + Seek>(
    map: &mut ExtentMap,
    mut logical: u32,
    mut content: &[u8],
    blocks: &mut Blocks,
    image: &mut Image<'_, W>,
) -> Result<(), WriteError> {
    while !content.is_empty() {
        let run = blocks.take(to_u64(content.len()) / BLOCK).ok_or_else(|| no_space(blocks))?;
        let (now, later) = content.split_at(to_usize(run.length * BLOCK));
        image.write_blocks(run.start, now)?;
        map.push(logical, run);
        logical += u32::try_from(run.length).expect("a piece has few blocks");
        content = later;
    }
    Ok(())
}

/// Writes one file.
struct FileWriter<'a, 'w, W> {
    number: u32,
    path: &'a TreePath,
    blocks: &'a mut Blocks,
    image: &'a mut Image<'w, W>,
}

impl<W: Write + Seek> FileWriter<'_, '_, W> {
    /// Copies the content, leaving blocks of zeros out.
    fn write(&mut self, content: &Content, source: &dyn ContentSource) -> Result<BlockMap, WriteError> {
        let promised = content.size();
        let wrong = |found| WriteError::ContentLength { path: self.path.clone(), promised, found };
        let failed = |source| WriteError::Content { path: self.path.clone(), source };
        let mut reader = content.open(source).map_err(failed)?;
        let mut map = ExtentMap::default();
        let mut buffer = vec![0; PIECE.min(to_usize(promised.next_multiple_of(BLOCK)))];
        let (mut logical, mut left) = (0_u32, promised);
        while left > 0 {
            let length = buffer.len().min(to_usize(left));
            if read_full(&mut *reader, &mut buffer[..length]).map_err(failed)? < length {
                return Err(wrong("less"));
            }
            let whole = length.next_multiple_of(BLOCK_LENGTH);
            buffer[length..whole].fill(0);
            self.write_piece(&mut map, logical, &buffer[..whole])?;
            left -= to_u64(length);
            logical += u32::try_from(whole / BLOCK_LENGTH).expect("a piece has few blocks");
        }
        if read_full(&mut *reader, &mut [0]).map_err(failed)? > 0 {
            return Err(wrong("more"));
        }
        map.write(self.number, self.blocks, self.image)
    }

    fn write_piece(&mut self, map: &mut ExtentMap, logical: u32, piece: &[u8]) -> Result<(), WriteError> {
        let is_hole = |block: &[u8]| block.iter().all(|byte| *byte == 0);
        let alike: Vec<&[u8]> = piece.chunks(BLOCK_LENGTH).collect();
        let mut at = logical;
        for part in alike.chunk_by(|a, b| is_hole(a) == is_hole(b)) {
            let length = part.len() * BLOCK_LENGTH;
            if !is_hole(part[0]) {
                let start = to_usize(u64::from(at - logical) * BLOCK);
                append(map, at, &piece[start..start + length], self.blocks, self.image)?;
            }
            at += u32::try_from(part.len()).expect("a piece has few blocks");
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the source ends; returns how much was read.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A device number: 8 and 8 bits in the first word, or 12 and 20 in the second.
///
/// Source: kernel `old_encode_dev` and `new_encode_dev`.
fn encode_device(device: DeviceNumber) -> [u8; 60] {
    let DeviceNumber { major, minor } = device;
    let mut i_block = [0; 60];
    if major < 256 && minor < 256 {
        put(&mut i_block, 0, (major << 8 | minor).to_le_bytes());
    } else {
        put(&mut i_block, 4, (minor & 0xFF | major << 8 | (minor & !0xFF) << 12).to_le_bytes());
    }
    i_block
}

impl Record {
    /// An inode that has no name: a file of the superuser's, of the time of the build.
    pub(super) fn internal(number: u32, size: u64, map: BlockMap, options: &Options) -> Self {
        let (time, extra_time) =
            split_seconds(options.build_time.seconds).unwrap_or(([0xFF, 0xFF, 0xFF, 0x7F], 3));
        Self {
            number,
            mode: 0o100_600,
            uid: 0,
            gid: 0,
            links: 1,
            size,
            time,
            extra_time,
            map,
            attributes: None,
            attribute_block: 0,
        }
    }
}
