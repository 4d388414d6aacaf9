//! Salted hashes of blocks, many at a time.

use std::io::{self, Read};

use goni_model::number::{to_u64, to_usize};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{BLOCK, SALT_SIZE, VerityError, io_error};

/// One SHA-256 digest.
pub(super) type Digest = [u8; 32];

/// Digests in a block of the tree.
pub(super) const DIGESTS_PER_BLOCK: usize = BLOCK / size_of::<Digest>();

/// Blocks hashed together: 4 MiB, enough that handing out the work does not show. All but the last
/// batch fill whole blocks of the tree.
const BATCH: usize = 8 * DIGESTS_PER_BLOCK;

/// Blocks a thread takes at once, so that both cores end a batch together.
const SHARE: usize = 64;

/// SHA-256 that has already seen the salt.
///
/// Version 1 of the format hashes the salt before the block; version 0, after.
pub(super) struct Hasher(Sha256);

impl Hasher {
    pub(super) fn new(salt: &[u8; SALT_SIZE]) -> Self {
        Self(Sha256::new_with_prefix(salt))
    }

    /// Hashes as many bytes as there are, and zeros to fill a block.
    pub(super) fn block(&self, bytes: &[u8]) -> Digest {
        let mut hasher = self.0.clone();
        hasher.update(bytes);
        hasher.update(&[0; BLOCK][bytes.len()..]);
        hasher.finalize().into()
    }

    /// The digests of the blocks that these digests fill.
    pub(super) fn level_above(&self, digests: &[Digest]) -> Vec<Digest> {
        digests.par_chunks(DIGESTS_PER_BLOCK).map(|block| self.block(block.as_flattened())).collect()
    }

    /// Reads so many blocks and hands their digests over in order, a batch at a time, each but
    /// the last of whole blocks of the tree. The next batch is read while one is hashed.
    pub(super) fn read_blocks(
        &self,
        data: &mut (impl Read + Send),
        blocks: u64,
        mut batch_done: impl FnMut(&[Digest]) -> Result<(), VerityError>,
    ) -> Result<(), VerityError> {
        let mut left = blocks;
        let mut read_batch = |buffer: &mut Vec<u8>| {
            let wanted = to_usize(left.min(to_u64(BATCH)));
            left -= to_u64(wanted);
            buffer.resize(wanted * BLOCK, 0);
            data.read_exact(buffer).map_err(io_error("reading the data"))
        };
        let (mut current, mut next) = (Vec::new(), Vec::new());
        let mut digests = Vec::new();
        read_batch(&mut current)?;
        while !current.is_empty() {
            let (read, ()) = rayon::join(
                || read_batch(&mut next),
                || {
                    current
                        .par_chunks(BLOCK)
                        .with_min_len(SHARE)
                        .map(|block| self.block(block))
                        .collect_into_vec(&mut digests);
                },
            );
            batch_done(&digests)?;
            read?;
            std::mem::swap(&mut current, &mut next);
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the input ends; returns how much it read.
pub(super) fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
