//! Where clusters are: the header, the two levels of tables, the reference counts.
//!
//! Source: QEMU, docs/interop/qcow2.rst, “Header”, “Host cluster management”, “Cluster mapping”.

use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use super::CLUSTER_SIZE;
use super::cluster::CLUSTER;

/// `cluster_bits`: 64 KiB, QEMU's default.
pub(super) const CLUSTER_BITS: u32 = 16;

const _: () = assert!(CLUSTER == 1 << CLUSTER_BITS, "one size, as an offset and as a length");

/// Flag of an entry whose cluster is referred to from nowhere else.
pub(super) const COPIED: u64 = 1 << 63;

/// Flag of an L2 entry whose cluster is compressed.
const COMPRESSED: u64 = 1 << 62;

/// Where the count of sectors begins in the descriptor of a compressed cluster.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);

/// Sectors, whatever those of the disk, in which compressed clusters are counted.
const SECTOR: u64 = 512;

/// Entries of an L2 table, which fills a cluster.
const L2_ENTRIES: u64 = CLUSTER_SIZE / 8;

/// Clusters that a block of reference counts, 16 bits each, counts.
const BLOCK_ENTRIES: usize = CLUSTER / 2;

/// The largest disk whose L1 table is within the 32 MiB that QEMU reads.
/// Source: QEMU, block/qcow2.h, `QCOW_MAX_L1_SIZE`.
pub(super) const LARGEST_DISK: u64 = (32 << 20) / 8 * L2_ENTRIES * CLUSTER_SIZE;

/// An L2 table: what became of 512 MiB of the disk.
pub(super) struct L2 {
    index: u64,
    entries: Vec<u64>,
}

impl L2 {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
    }
}

/// The tables of an image under way.
pub(super) struct Tables {
    l1: Vec<u64>,
    /// The one that is being filled: clusters come in order, so there is never another.
    l2: Option<L2>,
    /// By number of the cluster in the file.
    refcounts: Vec<u16>,
}

impl Tables {
    pub(super) fn new(size: ByteCount) -> Self {
        let l1_size = size.get().div_ceil(L2_ENTRIES * CLUSTER_SIZE);
        Self { l1: vec![0; to_usize(l1_size)], l2: None, refcounts: Vec::new() }
    }

    /// Makes the table of a cluster of the disk the current one; returns the one before if it is
    /// another, to be written.
    pub(super) fn enter(&mut self, guest: u64) -> Option<L2> {
        let index = guest / L2_ENTRIES;
        if self.l2.as_ref().is_some_and(|current| current.index == index) {
            return None;
        }
        self.l2.replace(L2 { index, entries: vec![0; to_usize(L2_ENTRIES)] })
    }

    /// The current table, to be written.
    pub(super) fn leave(&mut self) -> Option<L2> {
        self.l2.take()
    }

    /// Notes where a table was written.
    pub(super) fn place_l2(&mut self, table: &L2, offset: u64) {
        self.l1[to_usize(table.index)] = COPIED | offset;
    }

    /// Notes what became of a cluster of the disk, whose table was entered.
    pub(super) fn set(&mut self, guest: u64, entry: u64) {
        let table = self.l2.as_mut().expect("a table is entered before its entries are set");
        table.entries[to_usize(guest % L2_ENTRIES)] = entry;
    }

    /// Counts a reference to a cluster of the file.
    pub(super) fn count(&mut self, host: u64) {
        let host = to_usize(host);
        if self.refcounts.len() <= host {
            self.refcounts.resize(host + 1, 0);
        }
        let count = &mut self.refcounts[host];
        *count = count.checked_add(1).expect("a compressed cluster takes 8 bytes or more, so 2^13 fit one");
    }

    /// Counts the references of compressed bytes, which may straddle clusters, and returns their
    /// descriptor. It counts the sectors they touch beyond the first.
    pub(super) fn count_compressed(&mut self, offset: u64, length: u64) -> u64 {
        let extra_sectors = (offset % SECTOR + length - 1) / SECTOR;
        let end = (offset / SECTOR + extra_sectors + 1) * SECTOR;
        for host in offset / CLUSTER_SIZE..end.div_ceil(CLUSTER_SIZE) {
            self.count(host);
        }
        COMPRESSED | extra_sectors << SECTORS_SHIFT | offset
    }

    pub(super) fn l1_size(&self) -> u32 {
        u32::try_from(self.l1.len()).expect("the size of the disk was checked")
    }

    /// The L1 table. That of an empty disk has a cluster all the same.
    pub(super) fn l1_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.l1.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(CLUSTER).max(CLUSTER), 0);
        bytes
    }

    /// The reference counts of a file of so many clusters, to be written behind them, with those of
    /// their own clusters.
    pub(super) fn refcounts(&mut self, clusters: u64) -> Refcounts {
        let (mut table_clusters, mut blocks) = (1, 1);
        loop {
            let total = to_usize(clusters) + table_clusters + blocks;
            let (wanted_blocks, wanted_clusters) =
                (total.div_ceil(BLOCK_ENTRIES), (blocks * 8).div_ceil(CLUSTER));
            if wanted_blocks <= blocks && wanted_clusters <= table_clusters {
                break;
            }
            (blocks, table_clusters) = (wanted_blocks.max(blocks), wanted_clusters.max(table_clusters));
        }
        let first_block = clusters + to_u64(table_clusters);
        (clusters..first_block + to_u64(blocks)).for_each(|host| self.count(host));
        let mut table: Vec<u8> =
            (first_block..).take(blocks).flat_map(|block| (block * CLUSTER_SIZE).to_be_bytes()).collect();
        table.resize(table_clusters * CLUSTER, 0);
        Refcounts { table, counts: self.refcounts.clone() }
    }
}

/// The reference counts, as they are written.
pub(super) struct Refcounts {
    /// Where the blocks are.
    pub(super) table: Vec<u8>,
    counts: Vec<u16>,
}

impl Refcounts {
    pub(super) fn table_clusters(&self) -> u32 {
        u32::try_from(self.table.len() / CLUSTER).expect("one counts 16 TiB of image")
    }

    /// The blocks, each a cluster.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Vec<u8>> {
        self.counts.chunks(BLOCK_ENTRIES).map(|counts| {
            let mut bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            bytes.resize(CLUSTER, 0);
            bytes
        })
    }
}

/// What differs from image to image in the header.
pub(super) struct Header {
    pub(super) size: u64,
    pub(super) l1_size: u32,
    pub(super) l1_table_offset: u64,
    pub(super) refcount_table_offset: u64,
    pub(super) refcount_table_clusters: u32,
    pub(super) zstd: bool,
}

impl Header {
    /// The header, its 112 bytes followed by the end of the header extensions.
    pub(super) fn bytes(&self) -> [u8; 120] {
        // Bit 3: the compression type is not zlib.
        let incompatible: u64 = if self.zstd { 1 << 3 } else { 0 };
        let mut bytes = [0; 120];
        let mut put = |offset: usize, field: &[u8]| bytes[offset..][..field.len()].copy_from_slice(field);
        put(0, b"QFI\xfb"); // magic
        put(4, &3_u32.to_be_bytes()); // version
        put(20, &CLUSTER_BITS.to_be_bytes()); // cluster_bits
        put(24, &self.size.to_be_bytes()); // size
        put(36, &self.l1_size.to_be_bytes()); // l1_size
        put(40, &self.l1_table_offset.to_be_bytes()); // l1_table_offset
        put(48, &self.refcount_table_offset.to_be_bytes()); // refcount_table_offset
        put(56, &self.refcount_table_clusters.to_be_bytes()); // refcount_table_clusters
        put(72, &incompatible.to_be_bytes()); // incompatible_features
        put(96, &4_u32.to_be_bytes()); // refcount_order: 2^4 bits
        put(100, &112_u32.to_be_bytes()); // header_length
        put(104, &[u8::from(self.zstd)]); // compression_type
        bytes
    }
}
