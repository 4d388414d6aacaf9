//! The state partition, as `ext4-view` reads it.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType, Metadata, PathBuf};
use goni_disk::tree::{InvalidPath, TreePath};
use goni_model::size::ByteCount;

use crate::host::disk_file::DiskFile;

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
/// `EXT4_VALID_FS`: unmounted cleanly, no errors.
const VALID_FS: u16 = 1;
/// `EXT4_FEATURE_INCOMPAT_RECOVER`: the journal has to be replayed.
const INCOMPAT_RECOVER: u32 = 4;

/// The state file system: all of its metadata, and its small files.
#[derive(Debug)]
pub(in crate::verify) struct State {
    /// Every entry but the root.
    pub(in crate::verify) nodes: BTreeMap<TreePath, StateNode>,
    /// Whether it was left clean: no error, nothing in the journal.
    pub(in crate::verify) clean: bool,
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
    disk: DiskFile,
    offset: ByteCount,
    size: ByteCount,
}

impl Volume {
    /// A part of a disk.
    pub(super) fn new(disk: &DiskFile, offset: ByteCount, size: ByteCount) -> io::Result<Self> {
        Ok(Self { disk: disk.duplicate()?, offset, size })
    }
}

impl Ext4Read for Volume {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let mut window = self.disk.window(self.offset, self.size);
        window.seek(SeekFrom::Start(start))?;
        window.read_exact(buffer)?;
        Ok(())
    }
}

impl State {
    /// Walks all of it.
    pub(super) fn read(disk: &DiskFile, offset: ByteCount, size: ByteCount) -> Result<Self, StateError> {
        let file_system = Ext4::load(Box::new(Volume::new(disk, offset, size)?))?;
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
        Ok(Self { nodes, clean: superblock(disk, offset, size)?.clean })
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
}

/// Reads what the superblock says.
pub(super) fn superblock(disk: &DiskFile, offset: ByteCount, size: ByteCount) -> io::Result<Superblock> {
    let mut window = disk.window(offset, size);
    window.seek(SeekFrom::Start(SUPERBLOCK))?;
    let mut superblock = [0; 1024];
    window.read_exact(&mut superblock)?;
    let state = u16::from_le_bytes([superblock[S_STATE], superblock[S_STATE + 1]]);
    let word = |at: usize| u32::from_le_bytes(*superblock[at..].first_chunk().expect("within 1024 bytes"));
    let incompatible = word(S_FEATURE_INCOMPAT);
    Ok(Superblock {
        clean: state == VALID_FS && incompatible & INCOMPAT_RECOVER == 0,
        compatible: word(S_FEATURE_COMPAT),
        incompatible,
        read_only_compatible: word(S_FEATURE_RO_COMPAT),
    })
}
