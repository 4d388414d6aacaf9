//! The superblock of a hash tree. Integers are little-endian.
//!
//! Source: cryptsetup, lib/verity/verity.c, `struct verity_sb`.

use goni_model::number::to_u64;
use uuid::Uuid;

use super::{BLOCK, Params, SALT_SIZE, VerityError};

const SIGNATURE: &[u8; 8] = b"verity\0\0";
/// The only version of the superblock.
const VERSION: u32 = 1;
/// “Normal” hashing, salt first; zero is that of Chrome OS.
const HASH_TYPE: u32 = 1;
/// Name of the hash, padded with zeros.
const ALGORITHM: &[u8; 32] = b"sha256\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const BLOCK_SIZE: u32 = 4096;
const SALT_LENGTH: u16 = 32;

const _: () = assert!(SALT_SIZE == 32 && BLOCK == 4096, "the fields say what the code does");

/// Offsets of the fields, named as the specification names them.
mod offset {
    pub(super) const SIGNATURE: usize = 0;
    pub(super) const VERSION: usize = 8;
    pub(super) const HASH_TYPE: usize = 12;
    pub(super) const UUID: usize = 16;
    pub(super) const ALGORITHM: usize = 32;
    pub(super) const DATA_BLOCK_SIZE: usize = 64;
    pub(super) const HASH_BLOCK_SIZE: usize = 68;
    pub(super) const DATA_BLOCKS: usize = 72;
    pub(super) const SALT_SIZE: usize = 80;
    pub(super) const SALT: usize = 88;
}

/// The superblock, in the block it has to itself.
pub(super) fn write(params: &Params, data_blocks: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |offset: usize, bytes: &[u8]| block[offset..][..bytes.len()].copy_from_slice(bytes);
    put(offset::SIGNATURE, SIGNATURE);
    put(offset::VERSION, &VERSION.to_le_bytes());
    put(offset::HASH_TYPE, &HASH_TYPE.to_le_bytes());
    put(offset::UUID, params.uuid.as_bytes());
    put(offset::ALGORITHM, ALGORITHM);
    put(offset::DATA_BLOCK_SIZE, &BLOCK_SIZE.to_le_bytes());
    put(offset::HASH_BLOCK_SIZE, &BLOCK_SIZE.to_le_bytes());
    put(offset::DATA_BLOCKS, &data_blocks.to_le_bytes());
    put(offset::SALT_SIZE, &SALT_LENGTH.to_le_bytes());
    put(offset::SALT, &params.salt);
    block
}

/// Reads a superblock back: the parameters and the number of blocks of data.
pub(super) fn read(block: &[u8; BLOCK]) -> Result<(Params, u64), VerityError> {
    if field::<8>(block, offset::SIGNATURE) != *SIGNATURE {
        return Err(VerityError::CorruptSuperblock { problem: "no verity signature" });
    }
    for (name, offset, expected) in [
        ("version", offset::VERSION, VERSION),
        ("hash_type", offset::HASH_TYPE, HASH_TYPE),
        ("data_block_size", offset::DATA_BLOCK_SIZE, BLOCK_SIZE),
        ("hash_block_size", offset::HASH_BLOCK_SIZE, BLOCK_SIZE),
    ] {
        expect(name, u32::from_le_bytes(field(block, offset)), expected)?;
    }
    let algorithm = field::<32>(block, offset::ALGORITHM);
    expect("algorithm", algorithm.escape_ascii().to_string(), ALGORITHM.escape_ascii().to_string())?;
    expect("salt_size", u16::from_le_bytes(field(block, offset::SALT_SIZE)), SALT_LENGTH)?;

    let data_blocks = u64::from_le_bytes(field(block, offset::DATA_BLOCKS));
    if data_blocks == 0 || data_blocks.checked_mul(to_u64(BLOCK)).is_none() {
        return Err(VerityError::CorruptSuperblock { problem: "no possible number of data blocks" });
    }
    let uuid = Uuid::from_bytes(field(block, offset::UUID));
    Ok((Params { salt: field(block, offset::SALT), uuid }, data_blocks))
}

fn expect<T: PartialEq + ToString>(field: &'static str, found: T, expected: T) -> Result<(), VerityError> {
    if found == expected {
        return Ok(());
    }
    Err(VerityError::Unsupported { field, found: found.to_string(), expected: expected.to_string() })
}

fn field<const N: usize>(block: &[u8; BLOCK], offset: usize) -> [u8; N] {
    *block[offset..].first_chunk().expect("every field lies within the first 512 bytes")
}
