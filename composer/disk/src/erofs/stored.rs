//! What each file takes of an image: so that somebody can be told what is worth leaving out.
//!
//! Bytes of blocks, as far as they belong to one file; of the packed inode, a share by length. Metadata and
//! what two files have in common beyond the first belong to none.

use goni_model::number::to_u64;

use super::content::{Contents, Placed};
use super::format::{BLOCK, EXTENT};
use super::node::Nodes;
use crate::tree::TreePath;

/// The bytes that each content takes, by the first path it has.
pub(super) fn stored(nodes: &Nodes<'_>, contents: &Contents) -> Vec<(TreePath, u64)> {
    let packed = blocks(&contents.packed).max(to_u64(contents.packed.tail.len()));
    let files = nodes.contents.iter().zip(&contents.files);
    let bytes = files.map(|(file, placed)| {
        let whole = to_u64(placed.extents.len()).saturating_mul(to_u64(EXTENT));
        let fragment = placed.fragment.map_or(0, |_| file.content.size().saturating_sub(whole));
        // At most 64 KiB of at most 2^32 blocks: within 2^64.
        let share = (fragment * packed).checked_div(contents.packed_size).unwrap_or(0);
        (file.path.clone(), blocks(placed) + to_u64(placed.tail.len()) + share)
    });
    bytes.collect()
}

/// The bytes of all blocks of extents.
fn blocks(placed: &Placed) -> u64 {
    placed.extents.iter().map(|extent| u64::from(extent.blocks) * to_u64(BLOCK)).sum()
}
