//! Linear directories.
//!
//! Source: ext4/directory.rst, “Linear (Classic) Directories”, with the checksum at the end of each
//! block.

use goni_model::number::to_u64;

use super::bytes::{checksum, low16, put};
use super::geometry::BLOCK_LENGTH;

/// Bytes of the fake entry at the end of a block that holds its checksum.
const TAIL: usize = 12;
/// Its file type. Source: kernel `EXT4_FT_DIR_CSUM`.
const TAIL_TYPE: u8 = 0xDE;
/// Bytes of a block left for entries.
const ROOM: usize = BLOCK_LENGTH - TAIL;

/// Fills directory blocks one after the other.
#[derive(Debug)]
pub(super) struct DirectoryBlocks {
    seed: u32,
    block: Vec<u8>,
    /// Where the last entry begins and where it ends.
    last: usize,
    end: usize,
}

impl DirectoryBlocks {
    /// An empty block of the inode whose checksums start from this seed.
    pub(super) fn new(seed: u32) -> Self {
        Self { seed, block: vec![0; BLOCK_LENGTH], last: 0, end: 0 }
    }

    /// Adds an entry; returns the block before it if that was full.
    pub(super) fn push(&mut self, name: &[u8], number: u32, file_type: u8) -> Option<Vec<u8>> {
        let length = (8 + name.len()).next_multiple_of(4);
        let full = (self.end + length > ROOM).then(|| self.finish());
        let entry = &mut self.block[self.end..self.end + length];
        put(entry, 0, number.to_le_bytes());
        put(entry, 4, low16(to_u64(length)));
        entry[6] = u8::try_from(name.len()).expect("a name in a tree has at most 255 bytes");
        entry[7] = file_type;
        entry[8..8 + name.len()].copy_from_slice(name);
        self.last = self.end;
        self.end += length;
        full
    }

    /// The last block, its last entry reaching to the end; begins another.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut block = std::mem::replace(&mut self.block, vec![0; BLOCK_LENGTH]);
        put(&mut block, self.last + 4, low16(to_u64(ROOM - self.last)));
        put(&mut block, ROOM + 4, low16(to_u64(TAIL)));
        block[ROOM + 7] = TAIL_TYPE;
        let sum = checksum(self.seed, &block[..ROOM]);
        put(&mut block, ROOM + 8, sum.to_le_bytes());
        (self.last, self.end) = (0, 0);
        block
    }
}
