//! Extended attributes: in the inode if all fit there, else in a block of their own.
//!
//! Source: ext4/attributes.rst. Access control lists are stored shorter than getxattr(2) gives them:
//! kernel `ext4_acl_header` and `ext4_acl_entry_short`.

use std::collections::BTreeMap;

use goni_model::number::to_u64;

use super::Unsupported;
use super::bytes::{checksum, low16, low32, put};
use super::geometry::BLOCK_LENGTH;

/// `h_magic`.
const MAGIC: u32 = 0xEA02_0000;
/// Bytes of the header of an attribute block.
const BLOCK_HEADER: usize = 32;
/// Bytes of an entry before its name.
const ENTRY: usize = 16;
/// Room in an inode: 256 bytes, less 128 + 32 of fields.
pub(super) const IN_INODE: usize = 96;

/// The most specific first. Source: ext4/attributes.rst, “`e_name_index`”.
const NAME_SPACES: [(&[u8], u8); 6] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
    (b"system.", 7),
];

/// Where the attributes of an inode go.
#[derive(Debug)]
pub(super) enum Attributes {
    /// There are none.
    None,
    /// Into the inode, behind its fields.
    Inside([u8; IN_INODE]),
    /// Into a block; to be sealed with its number.
    Block(Vec<u8>),
}

/// An attribute as stored. The order is the one that blocks need.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute<'a> {
    name_space: u8,
    name_length: u8,
    name: &'a [u8],
    value: Vec<u8>,
}

/// Lays out the attributes of an inode.
pub(super) fn lay_out(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Attributes, Unsupported> {
    if xattrs.is_empty() {
        return Ok(Attributes::None);
    }
    let mut attributes =
        xattrs.iter().map(|(name, value)| Attribute::new(name, value)).collect::<Result<Vec<_>, _>>()?;
    attributes.sort();

    let mut inside = [0; IN_INODE];
    put(&mut inside, 0, MAGIC.to_le_bytes());
    if fill(&mut inside[4..], 0, &attributes) {
        return Ok(Attributes::Inside(inside));
    }
    let mut block = vec![0; BLOCK_LENGTH];
    put(&mut block, 0, MAGIC.to_le_bytes());
    put(&mut block, 4, 1_u32.to_le_bytes()); // h_refcount
    put(&mut block, 8, 1_u32.to_le_bytes()); // h_blocks
    if fill(&mut block[BLOCK_HEADER..], BLOCK_HEADER, &attributes) {
        return Ok(Attributes::Block(block));
    }
    Err(Unsupported::AttributeSize(attributes.iter().map(|a| a.entry_length() + a.value_length()).sum()))
}

/// Enters the checksum of an attribute block, which depends on where it lies.
pub(super) fn seal(block: &mut [u8], number: u64, seed: u32) {
    let sum = checksum(checksum(seed, &number.to_le_bytes()), block);
    put(block, 16, sum.to_le_bytes());
}

impl<'a> Attribute<'a> {
    fn new(name: &'a [u8], value: &[u8]) -> Result<Self, Unsupported> {
        let shown = || name.escape_ascii().to_string();
        let (name_space, rest) = NAME_SPACES
            .into_iter()
            .find_map(|(prefix, number)| Some((number, name.strip_prefix(prefix)?)))
            .ok_or_else(|| Unsupported::AttributeName(shown()))?;
        let is_list = matches!(name_space, 2 | 3);
        let name_length = u8::try_from(rest.len()).map_err(|_| Unsupported::AttributeName(shown()))?;
        if is_list != rest.is_empty() {
            return Err(Unsupported::AttributeName(shown()));
        }
        let value = if is_list {
            shorten_list(value).ok_or_else(|| Unsupported::AccessList(shown()))?
        } else {
            value.to_vec()
        };
        Ok(Self { name_space, name_length, name: rest, value })
    }

    fn entry_length(&self) -> usize {
        (ENTRY + self.name.len()).next_multiple_of(4)
    }

    fn value_length(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    /// `e_hash`. Source: kernel `ext4_xattr_hash_entry`.
    fn hash(&self) -> u32 {
        let of_name = self.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(of_name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// Entries grow from the front of the area, values from its end; false if they would meet. Value
/// offsets count from `base` bytes before the area.
fn fill(area: &mut [u8], base: usize, attributes: &[Attribute<'_>]) -> bool {
    let (mut start, mut end) = (0, area.len());
    for attribute in attributes {
        // Four zero bytes end the entries.
        if start + attribute.entry_length() + 4 + attribute.value_length() > end {
            return false;
        }
        end -= attribute.value_length();
        area[start] = attribute.name_length;
        area[start + 1] = attribute.name_space;
        let value_offset = if attribute.value.is_empty() { 0 } else { base + end };
        put(area, start + 2, low16(to_u64(value_offset)));
        put(area, start + 8, low32(to_u64(attribute.value.len())));
        put(area, start + 12, attribute.hash().to_le_bytes());
        area[start + ENTRY..start + ENTRY + attribute.name.len()].copy_from_slice(attribute.name);
        area[end..end + attribute.value.len()].copy_from_slice(&attribute.value);
        start += attribute.entry_length();
    }
    true
}

/// An access control list as ext4 stores it: version 1, and an id only in entries that have one.
/// `None` if this is not version 2 in whole entries of 8 bytes.
fn shorten_list(value: &[u8]) -> Option<Vec<u8>> {
    let entries = value.strip_prefix(&2_u32.to_le_bytes())?;
    let mut list = 1_u32.to_le_bytes().to_vec();
    if !entries.len().is_multiple_of(8) {
        return None;
    }
    for entry in entries.chunks_exact(8) {
        let (tag_and_permission, id) = entry.split_at(4);
        list.extend_from_slice(tag_and_permission);
        match u16::from_le_bytes([entry[0], entry[1]]) {
            // ACL_USER and ACL_GROUP.
            0x02 | 0x08 => list.extend_from_slice(id),
            // Owner, owning group, mask, others.
            0x01 | 0x04 | 0x10 | 0x20 => {}
            _ => return None,
        }
    }
    Some(list)
}
