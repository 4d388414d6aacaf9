//! Checking data against its tree, and the tree against the root hash.

use std::io::Read;

use goni_model::number::to_u64;
use goni_model::size::ByteCount;

use super::hash::{DIGESTS_PER_BLOCK, Digest, Hasher};
use super::{BLOCK, Params, RootHash, VerityError, io_error, level_sizes, superblock};

/// What a tree vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// What the tree was made with.
    pub params: Params,
    /// How much of the data it covers.
    pub data_size: ByteCount,
}

/// Reads a tree and its data and checks that every block of both is what the root hash says.
///
/// The tree is checked from the top down, so nothing of it is used before it is known to be right;
/// the superblock alone is not covered by the root hash, and is not trusted for more than sizes.
/// What follows the data or the tree, such as the rest of a partition, is not read. Memory: 32 bytes
/// for every 512 KiB of data, and two batches.
///
/// # Errors
/// `CorruptTree` and `CorruptData` for the first block that does not match; `Unsupported` and
/// `CorruptSuperblock` for a tree that is none of ours; `Io` for what reading raises, with
/// `UnexpectedEof` where data or tree end early.
pub fn check(
    mut data: impl Read + Send,
    mut tree: impl Read,
    root: &RootHash,
) -> Result<Protected, VerityError> {
    let mut block = [0; BLOCK];
    tree.read_exact(&mut block).map_err(io_error("reading the superblock"))?;
    let (params, data_blocks) = superblock::read(&block)?;
    let hasher = Hasher::new(&params.salt);

    let levels = level_sizes(data_blocks);
    let mut digests: Vec<Digest> = vec![*root.as_bytes()];
    for (level, blocks) in levels.iter().copied().enumerate().skip(1).rev() {
        digests = read_level(&mut tree, level, blocks, &digests, &hasher)?;
    }

    // The lowest level, by far the largest, is read along with the data, a block for each 128 of them.
    let mut position = 0;
    hasher.read_blocks(&mut data, data_blocks, |batch| {
        for found in batch.chunks(DIGESTS_PER_BLOCK) {
            let leaf;
            let expected = if levels.is_empty() {
                &digests[..]
            } else {
                let block = position / DIGESTS_PER_BLOCK;
                leaf = read_block(&mut tree, 0, to_u64(block), &digests[block], &hasher)?;
                leaf.as_chunks::<32>().0
            };
            if let Some(wrong) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
                let block = to_u64(position + wrong);
                return Err(VerityError::CorruptData { block, offset: block * to_u64(BLOCK) });
            }
            position += found.len();
        }
        Ok(())
    })?;
    let data_size = ByteCount::new(data_blocks * to_u64(BLOCK));
    Ok(Protected { params, data_size })
}

/// The root hash that a tree leads up to: the hash of its topmost block, or, of a single block of
/// data, that block's. It says nothing of what is below: that is for [`check`].
///
/// # Errors
/// As [`check`], but for hashes that do not match.
pub fn claimed_root(mut data: impl Read, mut tree: impl Read) -> Result<RootHash, VerityError> {
    let mut block = [0; BLOCK];
    tree.read_exact(&mut block).map_err(io_error("reading the superblock"))?;
    let (params, data_blocks) = superblock::read(&block)?;
    if data_blocks == 1 {
        data.read_exact(&mut block).map_err(io_error("reading the data"))?;
    } else {
        tree.read_exact(&mut block).map_err(io_error("reading the hash tree"))?;
    }
    Ok(RootHash::new(Hasher::new(&params.salt).block(&block)))
}

/// Reads a level and checks each of its blocks against the level above, as it comes: what a wrong
/// superblock could make us hold is bounded by what the tree really has.
fn read_level(
    tree: &mut impl Read,
    level: usize,
    blocks: u64,
    above: &[Digest],
    hasher: &Hasher,
) -> Result<Vec<Digest>, VerityError> {
    // No more than the level above vouches for, whatever the superblock says.
    let held = usize::try_from(blocks).map_or(above.len(), |blocks| blocks.min(above.len()));
    let mut digests = Vec::with_capacity(held * DIGESTS_PER_BLOCK);
    for (block, expected) in (0..blocks).zip(above) {
        let bytes = read_block(tree, level, block, expected, hasher)?;
        let (digests_of_block, _) = bytes.as_chunks::<32>();
        digests.extend_from_slice(digests_of_block);
    }
    Ok(digests)
}

/// Reads a block of a level and checks it.
fn read_block(
    tree: &mut impl Read,
    level: usize,
    block: u64,
    expected: &Digest,
    hasher: &Hasher,
) -> Result<[u8; BLOCK], VerityError> {
    let mut bytes = [0; BLOCK];
    tree.read_exact(&mut bytes).map_err(io_error("reading the hash tree"))?;
    if hasher.block(&bytes) != *expected {
        return Err(VerityError::CorruptTree { level, block });
    }
    Ok(bytes)
}
