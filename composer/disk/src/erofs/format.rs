//! The structures of an EROFS image, with the field names of the format.
//!
//! Left out: chunk-based files, multiple devices, shared extended attributes, compact indexes.
//! Source: Linux 6.12, fs/erofs/erofs_fs.h, whose names follow each item. Integers are
//! little-endian.

/// Bytes of a block: the page of every target's kernel, and the unit dm-verity hashes.
pub(super) const BLOCK: usize = 4096;
/// Binary logarithm of [`BLOCK`]: `blkszbits`.
const BLOCK_BITS: u8 = 12;

/// Bytes an extent decodes to. Larger extents compress better and cost more to read a page from.
pub(super) const EXTENT: usize = 128 << 10;
/// Binary logarithm of [`EXTENT`] and so of the window that a reader needs.
const EXTENT_BITS: u8 = 17;

/// Inodes are numbered by their place: bytes from the start of the metadata, divided by this.
pub(super) const INODE_SLOT: usize = 32;

/// `EROFS_SUPER_OFFSET`: within the first block.
pub(super) const SUPER_OFFSET: usize = 1024;
/// `EROFS_SUPER_MAGIC_V1` of include/uapi/linux/magic.h.
const SUPER_MAGIC: u32 = 0xe0f5_e1e2;

/// `EROFS_FEATURE_COMPAT_SB_CHKSUM`: the superblock has a checksum.
const COMPAT_SB_CHKSUM: u32 = 0x1;
/// `EROFS_FEATURE_COMPAT_MTIME`: times of inodes are times of modification, not of change.
const COMPAT_MTIME: u32 = 0x2;

/// `EROFS_FEATURE_INCOMPAT_ZERO_PADDING`: an extent ends where its blocks end, zeros before it.
const INCOMPAT_ZERO_PADDING: u32 = 0x1;
/// `EROFS_FEATURE_INCOMPAT_COMPR_CFGS` and `_BIG_PCLUSTER`: parameters follow the superblock, and
/// an extent may fill more than one block.
const INCOMPAT_COMPR_CFGS: u32 = 0x2;
/// `EROFS_FEATURE_INCOMPAT_FRAGMENTS`: ends of files are kept together in the packed inode.
const INCOMPAT_FRAGMENTS: u32 = 0x20;

/// `Z_EROFS_COMPRESSION_ZSTD`.
const ALGORITHM_ZSTD: u8 = 3;

/// `Z_EROFS_ADVISE_BIG_PCLUSTER_1`.
const ADVISE_BIG_PCLUSTER_1: u16 = 0x0002;
/// `Z_EROFS_ADVISE_FRAGMENT_PCLUSTER`: the last extent is in the packed inode.
const ADVISE_FRAGMENT_PCLUSTER: u16 = 0x0020;
/// `Z_EROFS_FRAGMENT_INODE_BIT` of `h_clusterbits`, seen as a bit of the whole header: all of the
/// file is in the packed inode.
const FRAGMENT_INODE: u64 = 1 << 63;
/// `Z_EROFS_LI_D0_CBLKCNT`: `delta[0]` of an extent's second cluster counts the extent's blocks.
const LI_D0_CBLKCNT: u16 = 1 << 11;

/// Appends fields one after the other, each as its little-endian bytes.
macro_rules! fields {
    ($bytes:expr, $($field:expr),+ $(,)?) => {{
        $( $bytes.extend_from_slice(&($field).to_le_bytes()); )+
    }};
}

/// `struct erofs_super_block`: what differs between images.
#[derive(Debug)]
pub(super) struct SuperBlock {
    pub(super) root_nid: u16,
    pub(super) inos: u64,
    pub(super) build_time: u64,
    pub(super) build_time_nsec: u32,
    pub(super) blocks: u32,
    pub(super) meta_blkaddr: u32,
    pub(super) uuid: [u8; 16],
    pub(super) volume_name: [u8; 16],
    /// Whether files are compressed.
    pub(super) compressed: bool,
    /// Zero if there is no packed inode.
    pub(super) packed_nid: u64,
}

impl SuperBlock {
    /// The first block of the image, checksum included.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut feature_incompat = 0;
        if self.compressed {
            feature_incompat |= INCOMPAT_ZERO_PADDING | INCOMPAT_COMPR_CFGS;
        }
        if self.packed_nid != 0 {
            feature_incompat |= INCOMPAT_FRAGMENTS;
        }
        let available_compr_algs = if self.compressed { 1_u16 << ALGORITHM_ZSTD } else { 0 };
        let mut block = vec![0; SUPER_OFFSET];
        block.reserve_exact(BLOCK - SUPER_OFFSET);
        let (checksum, sb_extslots) = (0_u32, 0_u8);
        fields!(block, SUPER_MAGIC, checksum, COMPAT_SB_CHKSUM | COMPAT_MTIME, BLOCK_BITS, sb_extslots);
        fields!(block, self.root_nid, self.inos, self.build_time, self.build_time_nsec);
        fields!(block, self.blocks, self.meta_blkaddr);
        let xattr_blkaddr = 0_u32;
        fields!(block, xattr_blkaddr);
        block.extend_from_slice(&self.uuid);
        block.extend_from_slice(&self.volume_name);
        let (extra_devices, devt_slotoff, dirblkbits) = (0_u16, 0_u16, 0_u8);
        fields!(block, feature_incompat, available_compr_algs, extra_devices, devt_slotoff, dirblkbits);
        let (xattr_prefix_count, xattr_prefix_start) = (0_u8, 0_u32);
        fields!(block, xattr_prefix_count, xattr_prefix_start, self.packed_nid);
        block.resize(SUPER_OFFSET + 128, 0);
        if self.compressed {
            // `struct z_erofs_zstd_cfgs` behind its length: format, windowlog less 10, reserved.
            let (size, format, windowlog) = (6_u16, 0_u8, EXTENT_BITS - 10);
            fields!(block, size, format, windowlog, 0_u32);
        }
        block.resize(BLOCK, 0);
        // The kernel leaves out the final inversion of the usual CRC-32C (fs/erofs/super.c).
        let checksum = !crc32c::crc32c(&block[SUPER_OFFSET..]);
        block[SUPER_OFFSET + 4..SUPER_OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}

/// How an inode's bytes are found: `i_format`, bits 1 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataLayout {
    /// `EROFS_INODE_FLAT_PLAIN`: blocks in a row; also what has no bytes.
    FlatPlain,
    /// `EROFS_INODE_COMPRESSED_FULL`: extents behind an index of 8 bytes a cluster.
    CompressedFull,
    /// `EROFS_INODE_FLAT_INLINE`: blocks in a row, the last part behind the inode.
    FlatInline,
}

impl DataLayout {
    const fn number(self) -> u16 {
        match self {
            Self::FlatPlain => 0,
            Self::CompressedFull => 1,
            Self::FlatInline => 2,
        }
    }
}

/// `struct erofs_inode_compact` or `struct erofs_inode_extended`, by what the values need.
#[derive(Debug)]
pub(super) struct DiskInode {
    pub(super) layout: DataLayout,
    pub(super) i_xattr_icount: u16,
    pub(super) i_mode: u16,
    pub(super) i_size: u64,
    /// `union erofs_inode_i_u`: first block, count of blocks, or device number.
    pub(super) i_u: u32,
    pub(super) i_ino: u32,
    pub(super) i_uid: u32,
    pub(super) i_gid: u32,
    pub(super) i_mtime: i64,
    pub(super) i_mtime_nsec: u32,
    pub(super) i_nlink: u32,
    /// Whether the modification time is the superblock's, which a compact inode takes.
    pub(super) built_time: bool,
}

impl DiskInode {
    /// Bytes of the longer form.
    pub(super) const EXTENDED: usize = 64;

    /// The compact form, if size, owner and link count are small and the time is the image's.
    fn compact(&self) -> Option<Vec<u8>> {
        if !self.built_time {
            return None;
        }
        let i_nlink = u16::try_from(self.i_nlink).ok()?;
        let i_size = u32::try_from(self.i_size).ok()?;
        let (i_uid, i_gid) = (u16::try_from(self.i_uid).ok()?, u16::try_from(self.i_gid).ok()?);
        let (i_format, i_reserved) = (self.layout.number() << 1, 0_u32);
        let mut bytes = Vec::with_capacity(32);
        fields!(bytes, i_format, self.i_xattr_icount, self.i_mode, i_nlink, i_size, i_reserved);
        fields!(bytes, self.i_u, self.i_ino, i_uid, i_gid, i_reserved);
        Some(bytes)
    }

    /// The bytes of the inode: 32 if they suffice, else [`DiskInode::EXTENDED`].
    pub(super) fn encode(&self) -> Vec<u8> {
        self.compact().unwrap_or_else(|| {
            let (i_format, i_reserved) = (1 | self.layout.number() << 1, 0_u16);
            let mut bytes = Vec::with_capacity(Self::EXTENDED);
            fields!(bytes, i_format, self.i_xattr_icount, self.i_mode, i_reserved, self.i_size);
            fields!(bytes, self.i_u, self.i_ino, self.i_uid, self.i_gid, self.i_mtime);
            fields!(bytes, self.i_mtime_nsec, self.i_nlink);
            bytes.resize(Self::EXTENDED, 0);
            bytes
        })
    }
}

/// Bytes of `struct erofs_dirent`.
pub(super) const DIRENT: usize = 12;

/// Appends a `struct erofs_dirent`.
pub(super) fn push_dirent(bytes: &mut Vec<u8>, nid: u64, nameoff: u16, file_type: u8) {
    let reserved = 0_u8;
    fields!(bytes, nid, nameoff, file_type, reserved);
}

/// `file_type` of a directory entry, the kernel's generic `FT_*`, from an inode's type bits.
/// Source: include/linux/fs_types.h.
pub(super) const fn file_type(type_bits: u16) -> u8 {
    match type_bits {
        0o100_000 => 1,
        0o040_000 => 2,
        0o020_000 => 3,
        0o060_000 => 4,
        0o010_000 => 5,
        0o140_000 => 6,
        _ => 7,
    }
}

/// The header of a file that is wholly in the packed inode, from this offset on.
pub(super) const fn whole_fragment_header(offset: u64) -> [u8; 8] {
    (offset | FRAGMENT_INODE).to_le_bytes()
}

/// A `struct z_erofs_map_header` and the 8 unused bytes that `Z_EROFS_FULL_INDEX_ALIGN` skips.
/// With a fragment, the low 32 bits of its offset.
pub(super) fn push_map_header(bytes: &mut Vec<u8>, fragment: Option<u32>) {
    let h_fragmentoff = fragment.unwrap_or(0);
    let advise = if fragment.is_some() { ADVISE_FRAGMENT_PCLUSTER } else { 0 };
    let (h_advise, h_algorithmtype, h_clusterbits) = (ADVISE_BIG_PCLUSTER_1 | advise, ALGORITHM_ZSTD, 0_u8);
    fields!(bytes, h_fragmentoff, h_advise, h_algorithmtype, h_clusterbits, 0_u64);
}

/// Bytes of what [`push_map_header`] appends.
pub(super) const MAP_HEADER: usize = 16;
/// Bytes of a `struct z_erofs_lcluster_index`.
pub(super) const CLUSTER_INDEX: usize = 8;

/// A `struct z_erofs_lcluster_index`: one block's worth of decoded bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cluster {
    /// `Z_EROFS_LCLUSTER_TYPE_PLAIN`: stored as it is in this block.
    Plain(u32),
    /// `Z_EROFS_LCLUSTER_TYPE_HEAD1`: an extent's first, with the extent's first block; or, of a
    /// fragment, the high 32 bits of its offset.
    Head(u32),
    /// `Z_EROFS_LCLUSTER_TYPE_NONHEAD` right behind the first: blocks of the extent (zero for a
    /// fragment), clusters to the next extent.
    Second { blocks: u16, next: u16 },
    /// `Z_EROFS_LCLUSTER_TYPE_NONHEAD` after that: clusters back to the first and on to the next
    /// extent.
    Further { back: u16, next: u16 },
}

impl Cluster {
    /// Appends the entry.
    pub(super) fn push(self, bytes: &mut Vec<u8>) {
        let clusterofs = 0_u16;
        match self {
            Self::Plain(blkaddr) => fields!(bytes, 0_u16, clusterofs, blkaddr),
            Self::Head(blkaddr) => fields!(bytes, 1_u16, clusterofs, blkaddr),
            Self::Second { blocks, next } => {
                fields!(bytes, 2_u16, clusterofs, LI_D0_CBLKCNT | blocks, next);
            }
            Self::Further { back, next } => fields!(bytes, 2_u16, clusterofs, back, next),
        }
    }
}

/// A device number as the kernel's `new_decode_dev` reads it. Source: include/linux/kdev_t.h.
pub(super) const fn rdev(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
