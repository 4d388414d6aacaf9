//! dm-verity hash trees: written, and checked against the data they protect.
//!
//! A tree is a superblock in a block of its own, then the levels from the top down; the hash of the
//! topmost block is the root hash. Format version 1, SHA-256, blocks of 4096 bytes: what
//! `veritysetup format` makes by default, byte for byte. Forward error correction and signatures of
//! the root hash are left out.
//!
//! Source: Linux, Documentation/admin-guide/device-mapper/verity.rst; cryptsetup, lib/verity.

mod check;
mod hash;
mod superblock;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::str::FromStr;

use goni_model::digest::{ParseDigestError, Sha256Digest};
use goni_model::number::to_u64;
use goni_model::size::ByteCount;
use uuid::Uuid;

pub use check::{Protected, check, claimed_root};

use hash::{Digest, Hasher};

/// Bytes of a block, of the data and of the tree alike.
const BLOCK: usize = 4096;

/// Bytes of a salt.
pub const SALT_SIZE: usize = 32;

/// What a tree is made with, besides the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Hashed before every block. Its use is that trees of the same data differ; ours are derived,
    /// so that trees of the same build do not.
    pub salt: [u8; SALT_SIZE],
    /// Names the tree in its superblock.
    pub uuid: Uuid,
}

/// The hash that vouches for every byte of the data; 64 lowercase hexadecimal digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootHash(Sha256Digest);

impl RootHash {
    /// Wraps the 32 bytes of a root hash.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Sha256Digest::new(bytes))
    }

    /// The 32 bytes, in the order of the text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// GPT partition UUID of the data: the first 128 bits.
    ///
    /// Source: UAPI.2 Discoverable Partitions Specification; systemd-veritysetup-generator(8), `roothash=`.
    #[must_use]
    pub fn root_uuid(&self) -> Uuid {
        Uuid::from_bytes(*self.as_bytes().first_chunk().expect("32 bytes hold 16"))
    }

    /// GPT partition UUID of the hash tree: the last 128 bits.
    ///
    /// Source: as [`RootHash::root_uuid`].
    #[must_use]
    pub fn verity_uuid(&self) -> Uuid {
        Uuid::from_bytes(*self.as_bytes().last_chunk().expect("32 bytes hold 16"))
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RootHash {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Why a tree cannot be made, or does not vouch for its data.
#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    /// Reading or writing.
    #[error("{action}")]
    Io {
        /// What was read or written.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The data is nothing, or no whole number of blocks.
    #[error("data of {size} is not one or more blocks of {BLOCK} bytes")]
    DataSize {
        /// Its size.
        size: ByteCount,
    },
    /// The data goes on where it should end.
    #[error("data is longer than the {size} it was said to be")]
    DataTooLong {
        /// The size that was said.
        size: ByteCount,
    },
    /// The tree is of a kind that we do not make.
    #[error("hash tree has {field} {found}, expected {expected}")]
    Unsupported {
        /// Field of the superblock, as cryptsetup spells it.
        field: &'static str,
        /// What it holds.
        found: String,
        /// The only value that we know.
        expected: String,
    },
    /// The superblock contradicts itself.
    #[error("corrupt superblock: {problem}")]
    CorruptSuperblock {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A block of the tree is not what the level above, or the root hash, says.
    #[error("corrupt hash tree: block {block} of level {level}, counted from the data, does not match")]
    CorruptTree {
        /// Zero is the level that vouches for the data.
        level: usize,
        /// Number of the block within its level.
        block: u64,
    },
    /// A block of the data is not what the tree says.
    #[error("corrupt data: block {block} at offset {offset} does not match the hash tree")]
    CorruptData {
        /// Number of the first such block.
        block: u64,
        /// Offset of its first byte.
        offset: u64,
    },
}

/// Names what was being read or written.
fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> VerityError {
    move |source| VerityError::Io { action, source }
}

/// Number of blocks of the data.
fn block_count(size: ByteCount) -> Result<u64, VerityError> {
    let block = to_u64(BLOCK);
    if size.get() == 0 || !size.get().is_multiple_of(block) {
        return Err(VerityError::DataSize { size });
    }
    Ok(size.get() / block)
}

/// Number of blocks of each level, from the data up. A single block of data needs no level: its hash
/// is the root hash.
fn level_sizes(data_blocks: u64) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(to_u64(hash::DIGESTS_PER_BLOCK));
        sizes.push(below);
    }
    sizes
}

/// Size of the tree, superblock included, over data of a size.
///
/// # Errors
/// `DataSize` if the data is nothing, or no whole number of blocks.
pub fn tree_size(data_size: ByteCount) -> Result<ByteCount, VerityError> {
    let blocks: u64 = level_sizes(block_count(data_size)?).iter().sum();
    // Cannot overflow: the tree is below a hundredth of the data, and both are below 2^64 bytes.
    Ok(ByteCount::new((blocks + 1) * to_u64(BLOCK)))
}

/// Reads the data once, writes its tree, superblock first, and returns the root hash.
///
/// Blocks are hashed on all cores while the next are read, and the lowest level is written as it comes.
/// Memory: 32 bytes for every 512 KiB of data, and two batches. Positions in the output count from the
/// beginning of the tree.
///
/// # Errors
/// `DataSize` and `DataTooLong` if the data is not what `data_size` says, `Io` for what reading and
/// writing raise; data that ends early is `Io` with `UnexpectedEof`. What was written is then no tree.
pub fn format(
    mut data: impl Read + Send,
    data_size: ByteCount,
    params: &Params,
    output: &mut (impl Write + Seek),
) -> Result<RootHash, VerityError> {
    let blocks = block_count(data_size)?;
    let hasher = Hasher::new(&params.salt);
    let writing = || io_error("writing the hash tree");
    // Superblock and all higher levels come before the lowest.
    let higher: u64 = level_sizes(blocks).iter().skip(1).sum();
    output.seek(SeekFrom::Start((1 + higher) * to_u64(BLOCK))).map_err(writing())?;
    let mut digests: Vec<Digest> = Vec::new();
    hasher.read_blocks(&mut data, blocks, |batch| {
        if blocks == 1 {
            digests.extend_from_slice(batch);
            return Ok(());
        }
        digests.extend(hasher.level_above(batch));
        write_level(batch, output)
    })?;
    let mut beyond = [0];
    if hash::read_up_to(&mut data, &mut beyond).map_err(io_error("reading the data"))? != 0 {
        return Err(VerityError::DataTooLong { size: data_size });
    }

    let mut levels = Vec::new();
    while digests.len() > 1 {
        let above = hasher.level_above(&digests);
        levels.push(digests);
        digests = above;
    }
    let root = digests.first().copied().expect("one or more blocks have one or more digests");

    output.seek(SeekFrom::Start(0)).map_err(writing())?;
    output.write_all(&superblock::write(params, blocks)).map_err(writing())?;
    for level in levels.iter().rev() {
        write_level(level, output)?;
    }
    Ok(RootHash::new(root))
}

/// Writes digests, and zeros to fill the last block.
fn write_level(digests: &[Digest], output: &mut impl Write) -> Result<(), VerityError> {
    let bytes = digests.as_flattened();
    output.write_all(bytes).map_err(io_error("writing the hash tree"))?;
    let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
    output.write_all(&[0; BLOCK][..padding]).map_err(io_error("writing the hash tree"))
}

#[cfg(test)]
mod tests;
