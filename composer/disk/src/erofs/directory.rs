//! Directories: blocks of entries in order of name, names behind them.
//!
//! Source: Linux 6.12, fs/erofs/dir.c and fs/erofs/namei.c, which search by bisection: first the
//! blocks by their first name, then the entries of one block.

use super::format::{BLOCK, DIRENT, file_type, push_dirent};
use super::node::{Node, Nodes};

/// The names of a directory, its own and the one above included, in order.
fn names<'n>(nodes: &'n Nodes<'_>, number: usize) -> Vec<(&'n [u8], usize)> {
    let node = &nodes.nodes[number];
    let mut names: Vec<(&[u8], usize)> = vec![(b".", number), (b"..", node.parent)];
    names.extend(node.children.iter().copied());
    names.sort_unstable();
    names
}

/// How many of these names go into one block.
fn block_length(names: &[(&[u8], usize)]) -> usize {
    let mut bytes = 0;
    names
        .iter()
        .take_while(|(name, _)| {
            bytes += DIRENT + name.len();
            bytes <= BLOCK
        })
        .count()
}

/// Bytes of a directory: known before any inode has its number.
pub(super) fn size(nodes: &Nodes<'_>, number: usize) -> usize {
    let names = names(nodes, number);
    let (mut rest, mut size) = (&names[..], 0_usize);
    while !rest.is_empty() {
        let (block, after) = rest.split_at(block_length(rest));
        let used: usize = block.iter().map(|(name, _)| DIRENT + name.len()).sum();
        size = size.next_multiple_of(BLOCK) + used;
        rest = after;
    }
    size
}

/// The bytes of a directory, given the number of every inode by node.
pub(super) fn encode(nodes: &Nodes<'_>, number: usize, nids: &[u64]) -> Vec<u8> {
    let names = names(nodes, number);
    let (mut rest, mut bytes) = (&names[..], Vec::new());
    while !rest.is_empty() {
        let (block, after) = rest.split_at(block_length(rest));
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let mut offset = block.len() * DIRENT;
        for (name, node) in block {
            let nameoff = u16::try_from(offset).expect("names are within a block");
            push_dirent(&mut bytes, nids[*node], nameoff, kind(&nodes.nodes[*node]));
            offset += name.len();
        }
        for (name, _) in block {
            bytes.extend_from_slice(name);
        }
        rest = after;
    }
    bytes
}

fn kind(node: &Node<'_>) -> u8 {
    file_type(node.inode.kind.type_bits())
}
