//! EROFS images: the read-only root.
//!
//! An image is written in one pass: the bytes of files, directories, inodes. No block of
//! 4096 bytes is written twice, and all in order, but for the first, the superblock's, which is written
//! last; so an output needs to be able to go back to where it began, and to leave out what is zero. Memory
//! holds the metadata and a few batches of extents, however large the files are.
//!
//! Compressed files are extents of 128 KiB, each on its own blocks; files and ends of files of up
//! to 64 KiB are kept one after the other in the *packed inode*, which is compressed the same way
//! and so rounds to blocks only once per extent. Files with the same content key, or with equal
//! bytes held in the tree, share their blocks. The same tree and options always give the same
//! bytes, whatever the number of threads.
//!
//! Left out: reading, chunk-based files, holes, several devices, attributes shared between inodes.
//! Readers: Linux 5.4 for uncompressed images, 6.10 for compressed ones (zstd).

mod content;
mod directory;
mod format;
mod layout;
mod metadata;
mod node;
mod sink;
mod stored;
mod xattr;

#[cfg(test)]
mod tests;

use std::io::{self, Seek, Write};

use goni_model::size::ByteCount;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::tree::{ContentSource, FileTree, TreePath};
use format::SuperBlock;

/// How an image is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// How files are kept.
    pub compression: Compression,
    /// The volume's UUID.
    pub uuid: Uuid,
    /// The volume's label, at most 16 bytes.
    pub volume_label: String,
    /// When the image was made. Inodes of the same time take less space. Not before 1970.
    pub build_time: Timestamp,
    /// The most an image may take, if there is a bound: the size of its partition.
    pub capacity: Option<ByteCount>,
}

/// How the bytes of files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Compressed with Zstandard, where that saves a block.
    Zstd {
        /// 1, fast, to 22, small.
        level: i32,
    },
}

impl Default for Compression {
    /// Level 3: most of what the slower levels save, as fast as a root can be read.
    fn default() -> Self {
        Self::Zstd { level: 3 }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The size of the image: whole blocks of 4096 bytes.
    pub size: ByteCount,
    /// How many inodes it has, the packed one included.
    pub inodes: u64,
    /// The bytes that the content of each file takes, by the first of its paths, in their order.
    pub stored: Vec<(TreePath, u64)>,
}

/// Why a tree did not become an image.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output does not take the image.
    #[error("writing the EROFS image")]
    Output(#[source] io::Error),
    /// The source does not give a file's bytes.
    #[error("reading the content of `{path}`")]
    Content {
        /// The file.
        path: TreePath,
        /// What the source raised.
        source: io::Error,
    },
    /// A file ends before its declared size.
    #[error("`{path}` is declared to have {declared} bytes, and ends after {found}")]
    Short {
        /// The file.
        path: TreePath,
        /// Bytes by the tree.
        declared: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// A file goes on past its declared size.
    #[error("`{path}` is declared to have {declared} bytes, and goes on")]
    Long {
        /// The file.
        path: TreePath,
        /// Bytes by the tree.
        declared: u64,
    },
    /// A level that zstd does not have.
    #[error("zstd level {0} is not one of 1 to 22")]
    Level(i32),
    /// The compressor failed.
    #[error("compressing with zstd")]
    Compress(#[source] io::Error),
    /// A directory has two names.
    #[error("`{path}` is another name of a directory")]
    LinkedDirectory {
        /// The second name.
        path: TreePath,
    },
    /// A symbolic link that no kernel follows.
    #[error(
        "the target of symbolic link `{path}` has {length} bytes: 1 to 4095, none of them NUL, can be followed"
    )]
    Symlink {
        /// The link.
        path: TreePath,
        /// Bytes of its target.
        length: usize,
    },
    /// A device number that does not fit an inode.
    #[error("device {major}:{minor} of `{path}` is out of range: major numbers have 12 bits, minor ones 20")]
    Device {
        /// The device.
        path: TreePath,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// An extended attribute of a namespace the format does not know.
    #[error("EROFS cannot keep the extended attribute `{name}` of `{path}`")]
    XattrName {
        /// The inode.
        path: TreePath,
        /// The attribute.
        name: String,
    },
    /// Extended attributes that are too large, one or all together.
    #[error("`{path}` has too many bytes of extended attributes, with `{name}`: 65535 each, 262148 an inode")]
    XattrSize {
        /// The inode.
        path: TreePath,
        /// The attribute that is too much.
        name: String,
    },
    /// A volume label that is too long.
    #[error("volume label `{0}` has over 16 bytes")]
    Label(String),
    /// A build time before 1970.
    #[error("build time {0} is before 1970")]
    BuildTime(i64),
    /// More inodes than can be numbered.
    #[error("an EROFS image holds at most 4294967295 inodes")]
    TooManyInodes,
    /// The image does not fit where it has to go. Nothing was written past the capacity.
    #[error("the EROFS image needs {need}, and has {have}")]
    TooLarge {
        /// The size of the whole image.
        need: ByteCount,
        /// The capacity.
        have: ByteCount,
    },
}

/// Writes a tree as an image, from where the output stands, and leaves the output at its end.
///
/// Long runs of zeros that are not compressed are never written: the output must read as zeros wherever nothing was
/// written.
///
/// # Errors
/// [`WriteError`] for a tree that the format cannot hold, a source that does not give what the tree
/// declares, an image over its capacity, or an output that fails. What was written then is no image.
pub fn write<W: Write + Seek>(
    tree: &FileTree,
    source: &dyn ContentSource,
    options: &Options,
    output: &mut W,
) -> Result<Summary, WriteError> {
    let volume_name = label(&options.volume_label)?;
    let build_time = options.build_time;
    let seconds = u64::try_from(build_time.seconds).map_err(|_| WriteError::BuildTime(build_time.seconds))?;
    if let Compression::Zstd { level } = options.compression
        && !(1..=22).contains(&level)
    {
        return Err(WriteError::Level(level));
    }
    let nodes = node::number(tree)?;
    let mut sink = sink::Sink::new(output, options.capacity)?;
    let contents = content::write(&nodes.contents, source, options.compression, &mut sink)?;
    let written = metadata::write(&nodes, &contents, build_time, &mut sink)?;
    let superblock = SuperBlock {
        root_nid: written.root_nid,
        inos: written.inodes,
        build_time: seconds,
        build_time_nsec: build_time.nanoseconds,
        blocks: sink.next_block()?,
        meta_blkaddr: written.meta_blkaddr,
        uuid: options.uuid.into_bytes(),
        volume_name,
        compressed: matches!(options.compression, Compression::Zstd { .. }),
        packed_nid: written.packed_nid,
    };
    let size = sink.finish(&superblock.encode())?;
    Ok(Summary { size, inodes: written.inodes, stored: stored::stored(&nodes, &contents) })
}

/// The label, padded with zeros.
fn label(text: &str) -> Result<[u8; 16], WriteError> {
    let mut label = [0; 16];
    let room = label.get_mut(..text.len()).ok_or_else(|| WriteError::Label(text.to_owned()))?;
    room.copy_from_slice(text.as_bytes());
    Ok(label)
}
