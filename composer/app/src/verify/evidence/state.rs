//! The state partition, as `ext4-view` reads it.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType, Metadata, PathBuf};
use goni_disk::tree::{InvalidPath, TreePath};
use goni_model::size::ByteCount;
use uuid::Uuid;

use crate::host::image::Image;

/// Larger files are not kept: what a check looks for is in small ones.
const FILE_LIMIT: u64 = 1 << 20;

/// Entries that are looked at: a finished image has about ten.
const ENTRIES_LIMIT: usize = 100_000;

/// Where the superblock is. Source: Linux, Documentation/filesystems/ext4/super.rst.
const SUPERBLOCK: u64 = 1024;
/// `s_state`.
const S_STATE: usize = 0x3A;
/// `s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`.
const S_FEATURE_COMPAT: usize = 0x5C;
const S_FEATURE_INCOMPAT: usize = 0x60;
const S_FEATURE_RO_COMPAT: usize = 0x64;
/// `s_blocks_count_lo` and `_hi`, `s_free_blocks_count_lo` and `_hi`, `s_log_block_size`.
const S_BLOCKS_COUNT: usize = 0x4;
const S_BLOCKS_COUNT_HI: usize = 0x150;
const S_FREE_BLOCKS_COUNT: usize = 0xC;
const S_FREE_BLOCKS_COUNT_HI: usize = 0x158;
const S_LOG_BLOCK_SIZE: usize = 0x18;
/// `s_uuid`, `s_volume_name`.
const S_UUID: usize = 0x68;
const S_VOLUME_NAME: usize = 0x78;
/// `EXT4_VALID_FS`: unmounted cleanly, no errors.
const VALID_FS: u16 = 1;
/// `EXT4_FEATURE_INCOMPAT_RECOVER`: the journal has to be replayed.
const INCOMPAT_RECOVER: u32 = 4;

/// The state file system: all of its metadata, and its small files.
#[derive(Debug)]
pub(in crate::verify) struct State {
    /// Every entry but the root.
    pub(in crate::verify) nodes: BTreeMap<TreePath, StateNode>,
    /// What its superblock says.
    pub(in crate::verify) superblock: Superblock,
}

/// One file, directory or other object.
#[derive(Debug)]
pub(in crate::verify) struct StateNode {
    /// What it is.
    pub(in crate::verify) kind: StateKind,
    /// Permission, set-id and sticky bits.
    pub(in crate::verify) mode: u32,
    /// Owning user.
    pub(in crate::verify) uid: u32,
    /// Owning group.
    pub(in crate::verify) gid: u32,
}

/// What a node is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::verify) enum StateKind {
    /// A directory.
    Directory,
    /// A regular file, with its content if it is small.
    File(Option<Vec<u8>>),
    /// Anything else.
    Other,
}

/// Why the state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::verify) enum StateError {
    /// It is no ext4, or a damaged one.
    #[error("reading the ext4 file system")]
    Ext4(#[from] Ext4Error),
    /// The bytes cannot be read.
    #[error("reading the state partition")]
    Io(#[from] io::Error),
    /// A name that no path has.
    #[error("reading names")]
    Name(#[from] InvalidPath),
    /// More entries than a finished image has.
    #[error("there are over {ENTRIES_LIMIT} entries")]
    TooMany,
}

/// A part of a disk, as `ext4-view` wants it: its own.
pub(super) struct Volume {
    image: Image,
    offset: ByteCount,
    size: ByteCount,
}

impl Volume {
    /// A part of a disk.
    pub(super) fn new(image: &Image, offset: ByteCount, size: ByteCount) -> Self {
        Self { image: image.clone(), offset, size }
    }
}

impl Ext4Read for Volume {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let mut window = self.image.window(self.offset, self.size);
        window.seek(SeekFrom::Start(start))?;
        window.read_exact(buffer)?;
        Ok(())
    }
}

impl State {
    /// Walks all of it.
    pub(super) fn read(image: &Image, offset: ByteCount, size: ByteCount) -> Result<Self, StateError> {
        let file_system = Ext4::load(Box::new(Volume::new(image, offset, size)))?;
        let mut nodes = BTreeMap::new();
        for (place, metadata) in walk(&file_system, ENTRIES_LIMIT)? {
            let kind = match metadata.file_type() {
                FileType::Directory => StateKind::Directory,
                FileType::Regular if metadata.len() < FILE_LIMIT => {
                    StateKind::File(Some(file_system.read(&place)?))
                }
                FileType::Regular => StateKind::File(None),
                _ => StateKind::Other,
            };
            let node = StateNode {
                kind,
                mode: u32::from(metadata.mode()),
                uid: metadata.uid(),
                gid: metadata.gid(),
            };
            nodes.insert(TreePath::parse(place.as_ref())?, node);
        }
        Ok(Self { nodes, superblock: superblock(image, offset, size)? })
    }
}

/// Everything in a file system below its root, each directory before what is in it; an error past `limit`.
pub(super) fn walk(file_system: &Ext4, limit: usize) -> Result<Vec<(PathBuf, Metadata)>, StateError> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new("/")];
    while let Some(directory) = open.pop() {
        for entry in file_system.read_dir(&directory)? {
            let entry = entry?;
            if [&b"."[..], b".."].contains(&entry.file_name().as_ref()) {
                continue;
            }
            let (place, metadata) = (entry.path(), entry.metadata()?);
            if metadata.file_type() == FileType::Directory {
                open.push(place.clone());
            }
            found.push((place, metadata));
            if found.len() > limit {
                return Err(StateError::TooMany);
            }
        }
    }
    Ok(found)
}

/// What a superblock says, as far as checks ask.
#[derive(Debug, Clone, Copy)]
pub(in crate::verify) struct Superblock {
    /// Whether it was left clean: no error, nothing in the journal.
    pub(in crate::verify) clean: bool,
    /// What a reader may be without.
    pub(in crate::verify) compatible: u32,
    /// What a reader must know.
    pub(in crate::verify) incompatible: u32,
    /// What a writer must know; EDK II does not read without, either.
    pub(in crate::verify) read_only_compatible: u32,
    /// Bytes that are taken.
    pub(in crate::verify) used: u64,
    /// Its identifier.
    pub(in crate::verify) uuid: Uuid,
    /// Its label, zeros behind it.
    pub(in crate::verify) label: [u8; 16],
}

/// Reads what the superblock says.
pub(super) fn superblock(image: &Image, offset: ByteCount, size: ByteCount) -> io::Result<Superblock> {
    let mut window = image.window(offset, size);
    window.seek(SeekFrom::Start(SUPERBLOCK))?;
    let mut superblock = [0; 1024];
    window.read_exact(&mut superblock)?;
    let state = u16::from_le_bytes([superblock[S_STATE], superblock[S_STATE + 1]]);
    let word = |at: usize| u32::from_le_bytes(*superblock[at..].first_chunk().expect("within 1024 bytes"));
    let incompatible = word(S_FEATURE_INCOMPAT);
    // The upper halves are zeros where the file system has 32-bit numbers.
    let count = |low: usize, high: usize| u64::from(word(low)) | u64::from(word(high)) << 32;
    let taken = count(S_BLOCKS_COUNT, S_BLOCKS_COUNT_HI)
        .saturating_sub(count(S_FREE_BLOCKS_COUNT, S_FREE_BLOCKS_COUNT_HI));
    let field = |at: usize| *superblock[at..].first_chunk::<16>().expect("within 1024 bytes");
    Ok(Superblock {
        clean: state == VALID_FS && incompatible & INCOMPAT_RECOVER == 0,
        compatible: word(S_FEATURE_COMPAT),
        incompatible,
        read_only_compatible: word(S_FEATURE_RO_COMPAT),
        used: taken.saturating_mul(1024 << word(S_LOG_BLOCK_SIZE).min(6)),
        uuid: Uuid::from_bytes(field(S_UUID)),
        label: field(S_VOLUME_NAME),
    })
}
