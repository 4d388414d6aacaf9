//! Many files at once: digested, or looked at.
//!
//! Small files lie one after the other in the *packed inode*, whose extents are compressed. Read one by one,
//! each would have a whole extent expanded for itself; read in the order in which they lie, an extent is
//! expanded once. Where a file lies is read here: the reader of the file system does not tell.
//! Source: Linux, fs/erofs/erofs_fs.h, `z_erofs_map_header`; fs/erofs/zmap.c, `z_erofs_fill_inode_lazy`.

use erofs_rs::types::Inode;
use goni_disk::tree::TreePath;
use goni_model::digest::Sha256Digest;
use goni_model::number::{to_u64, to_usize};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::super::chain;
use super::{AsyncImage as _, Node, PIECE, Root, now};
use crate::verify::objection::Objection;

/// Bytes of the packed inode that one thread reads.
const STRETCH: u64 = 2 << 20;

/// Bytes that an inode's number counts. Source: `EROFS_ISLOTBITS`.
const SLOT: u64 = 32;
/// Data layouts, in bits 1 to 3 of `i_format`, whose inodes have a map of clusters.
const COMPRESSED: [u16; 2] = [1, 3];
/// In the map's header: all of the file is a fragment, and the other bits are its offset.
const WHOLE: u64 = 1 << 63;

impl Root<'_> {
    /// The digest of each of these files.
    pub(in crate::verify) fn digests(
        &self,
        files: &[(&TreePath, &Node)],
    ) -> Result<Vec<Sha256Digest>, Objection> {
        let take = |hasher: &mut Sha256, bytes: &[u8]| hasher.update(bytes);
        let end = |_, hasher| Sha256Digest::finish(hasher);
        self.each(files, &|_| Sha256::new(), &take, &end).into_iter().collect()
    }

    /// What comes of each of these files: something is begun by its number, takes in the bytes, and is ended.
    pub(in crate::verify) fn each<V, T: Send>(
        &self,
        files: &[(&TreePath, &Node)],
        begin: &(dyn Fn(usize) -> V + Sync),
        take: &(dyn Fn(&mut V, &[u8]) + Sync),
        end: &(dyn Fn(usize, V) -> T + Sync),
    ) -> Vec<Result<T, Objection>> {
        let packed = self.packed();
        let place = |(index, (_, node)): (usize, &(&TreePath, &Node))| {
            let offset = packed.as_ref().and_then(|packed| self.fragment(node, packed));
            offset.map_or(Err(index), |offset| Ok((offset, index)))
        };
        let places: Vec<Result<(u64, usize), usize>> = files.par_iter().enumerate().map(place).collect();
        let mut fragments: Vec<(u64, usize)> = places.iter().filter_map(|place| place.ok()).collect();
        fragments.sort_unstable();
        let alone = places.into_par_iter().filter_map(Result::err).map(|index| {
            let (path, node) = files[index];
            let mut one = begin(index);
            let streamed = self.stream(path, node, &mut |bytes| take(&mut one, bytes));
            (index, streamed.map(|()| end(index, one)))
        });
        let stretches: Vec<&[(u64, usize)]> =
            fragments.chunk_by(|(one, _), (next, _)| one / STRETCH == next / STRETCH).collect();
        let together = stretches.into_par_iter().flat_map_iter(|stretch| {
            let mut reader = packed.map(|packed| Packed { root: self, packed, start: 0, bytes: Vec::new() });
            stretch.iter().filter_map(move |(offset, index)| {
                let (path, node) = files[*index];
                let mut one = begin(*index);
                let read = reader.as_mut()?.visit(*offset, node.size(), &mut |bytes| take(&mut one, bytes));
                let failed = |problem| Objection::differs(format!("content of `{path}`"), problem);
                Some((*index, read.map(|()| end(*index, one)).map_err(failed)))
            })
        });
        let mut all: Vec<(usize, Result<T, Objection>)> = alone.chain(together).collect();
        all.sort_unstable_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, one)| one).collect()
    }

    /// The packed inode, if there is one.
    fn packed(&self) -> Option<Inode> {
        let number = self.file_system.super_block().packed_nid;
        let inode = now(self.file_system.get_inode(number)).ok()?;
        (number != 0 && inode.is_file()).then_some(inode)
    }

    /// Where a file lies in the packed inode, if all of it does.
    fn fragment(&self, node: &Node, packed: &Inode) -> Option<u64> {
        let superblock = self.file_system.super_block();
        let first = u64::from(superblock.meta_blk_addr).checked_shl(u32::from(superblock.blk_size_bits))?;
        let start = first.checked_add(node.id().checked_mul(SLOT)?)?;
        let mut head = [0; 4];
        now(self.volume.read_exact_at(&mut head, start)).ok()?;
        let (format, attributes) =
            (u16::from_le_bytes([head[0], head[1]]), u64::from(u16::from_le_bytes([head[2], head[3]])));
        if !COMPRESSED.contains(&(format >> 1 & 7)) {
            return None;
        }
        let inode = if format & 1 == 0 { 32 } else { 64 };
        let attributes = if attributes == 0 { 0 } else { 12 + 4 * (attributes - 1) };
        let mut header = [0; 8];
        let place = start.checked_add(inode + attributes)?.checked_next_multiple_of(8)?;
        now(self.volume.read_exact_at(&mut header, place)).ok()?;
        let header = u64::from_le_bytes(header);
        let offset = header & !WHOLE;
        let end = offset.checked_add(node.size())?;
        (header & WHOLE != 0 && end <= packed.data_size()).then_some(offset)
    }
}

/// The packed inode, read in order: the piece read last is kept.
struct Packed<'r, 'a> {
    root: &'r Root<'a>,
    packed: Inode,
    /// Where what is kept begins.
    start: u64,
    bytes: Vec<u8>,
}

impl Packed<'_, '_> {
    /// Hands out a stretch of it.
    fn visit(&mut self, offset: u64, size: u64, each: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let (mut at, end) = (offset, offset + size);
        while at < end {
            let kept = self.start..self.start + to_u64(self.bytes.len());
            if !kept.contains(&at) {
                self.read(at)?;
                continue;
            }
            let until = end.min(kept.end);
            each(&self.bytes[to_usize(at - kept.start)..to_usize(until - kept.start)]);
            at = until;
        }
        Ok(())
    }

    /// Reads on from an offset: up to the end of an extent.
    fn read(&mut self, offset: u64) -> Result<(), String> {
        let file = self.root.file_system.open_inode_file(self.packed).map_err(|error| chain(&error))?;
        self.bytes.resize(PIECE, 0);
        let count = now(file.read_at(&mut self.bytes, offset)).map_err(|error| chain(&error))?;
        self.bytes.truncate(count);
        self.start = offset;
        if count == 0 { Err("the packed inode ends early".to_owned()) } else { Ok(()) }
    }
}
