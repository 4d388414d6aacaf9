//! Directories, then inodes with their attributes and what is kept right behind them.

use std::io::{Seek, Write};

use goni_model::number::{to_u64, to_usize};
use goni_model::time::Timestamp;

use super::content::{Contents, Placed};
use super::format::{BLOCK, Cluster, push_map_header, whole_fragment_header};
use super::layout::{Behind, Laid, lay};
use super::node::Nodes;
use super::sink::Sink;
use super::{WriteError, directory};
use crate::tree::Kind;

/// What the superblock says of the metadata.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) meta_blkaddr: u32,
    pub(super) root_nid: u16,
    /// Zero if there is no packed inode.
    pub(super) packed_nid: u64,
    pub(super) inodes: u64,
}

/// Writes directories and inodes.
pub(super) fn write<W: Write + Seek>(
    nodes: &Nodes<'_>,
    contents: &Contents,
    build_time: Timestamp,
    sink: &mut Sink<'_, W>,
) -> Result<Written, WriteError> {
    let mut laid = lay(nodes, contents, build_time, sink)?;
    let tails = write_directories(nodes, &mut laid, sink)?;
    let meta_blkaddr = sink.next_block()?;
    let (mut position, mut bytes) = (0, Vec::new());
    for (index, one) in laid.iter().enumerate() {
        bytes.clear();
        bytes.resize(one.place - position, 0);
        bytes.extend(one.inode.encode());
        bytes.extend_from_slice(one.xattrs);
        match one.behind {
            Behind::Nothing => {}
            Behind::Inline(tail) => bytes.extend_from_slice(tail),
            Behind::Directory(_) => bytes.extend_from_slice(&tails[index]),
            Behind::Fragment(offset) => {
                align(&mut bytes, position);
                bytes.extend_from_slice(&whole_fragment_header(offset));
            }
            Behind::Index(placed) => {
                align(&mut bytes, position);
                push_index(&mut bytes, placed, one.inode.i_size);
            }
        }
        sink.write(&bytes)?;
        position += bytes.len();
    }
    sink.pad()?;
    let packed_nid = laid.get(nodes.nodes.len()).map_or(0, Laid::nid);
    let root_nid = u16::try_from(laid[0].nid()).expect("the root is first, within two blocks");
    Ok(Written { meta_blkaddr, root_nid, packed_nid, inodes: to_u64(laid.len()) })
}

/// Writes the blocks of directories; returns, by node, what goes behind the inode.
fn write_directories<W: Write + Seek>(
    nodes: &Nodes<'_>,
    laid: &mut [Laid<'_>],
    sink: &mut Sink<'_, W>,
) -> Result<Vec<Vec<u8>>, WriteError> {
    let nids: Vec<u64> = laid.iter().map(Laid::nid).collect();
    let mut tails = vec![Vec::new(); laid.len()];
    for (number, node) in nodes.nodes.iter().enumerate() {
        if !matches!(node.inode.kind, Kind::Directory) {
            continue;
        }
        let mut bytes = directory::encode(nodes, number, &nids);
        if let Behind::Directory(tail) = laid[number].behind {
            tails[number] = bytes.split_off(bytes.len() - tail);
        }
        laid[number].inode.i_u = sink.next_block()?;
        sink.write(&bytes)?;
        sink.pad()?;
    }
    Ok(tails)
}

/// Maps start at multiples of eight bytes of the metadata.
fn align(bytes: &mut Vec<u8>, position: usize) {
    bytes.resize((position + bytes.len()).next_multiple_of(8) - position, 0);
}

/// The index of a file's extents, one entry a block of its bytes.
fn push_index(bytes: &mut Vec<u8>, placed: &Placed, size: u64) {
    let (low, high) = placed.fragment.map_or((None, 0), |offset| {
        let [a, b, c, d, e, f, g, h] = offset.to_le_bytes();
        (Some(u32::from_le_bytes([a, b, c, d])), u32::from_le_bytes([e, f, g, h]))
    });
    push_map_header(bytes, low);
    let mut clusters = to_usize(size).div_ceil(BLOCK);
    for extent in &placed.extents {
        clusters -= usize::from(extent.clusters);
        if extent.compressed {
            push_extent(bytes, extent.block, extent.blocks, extent.clusters);
        } else {
            (extent.block..)
                .take(usize::from(extent.clusters))
                .for_each(|block| Cluster::Plain(block).push(bytes));
        }
    }
    if placed.fragment.is_some() {
        push_extent(bytes, high, 0, u16::try_from(clusters).expect("a fragment is at most an extent"));
    }
}

/// The entries of one compressed extent or fragment.
fn push_extent(bytes: &mut Vec<u8>, block: u32, blocks: u16, clusters: u16) {
    for back in 0..clusters {
        let next = clusters - back;
        match back {
            0 => Cluster::Head(block),
            1 => Cluster::Second { blocks, next },
            _ => Cluster::Further { back, next },
        }
        .push(bytes);
    }
}
