//! Archives of the `newc` format: what the kernel unpacks as its initial root.
//!
//! The whole tree in the order of its paths, the root as `.`. Names of one file share an inode
//! number, and the last of them carries the content, as GNU cpio does. The format has no place for
//! extended attributes: they are left out. Compression is the caller's.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c.

use std::io::{self, Read, Write};

use goni_model::number::{to_u64, to_usize};

use crate::tree::{Content, ContentSource, DeviceNumber, FileTree, Inode, Kind, TreePath};

/// Marks an entry without check sum.
const MAGIC: &str = "070701";

/// Bytes of a header: the magic and 13 fields of 8 hexadecimal digits.
const HEADER_SIZE: u64 = 110;

/// Name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// Headers and contents begin at multiples of this.
const ALIGNMENT: u64 = 4;

/// The longest target of a symbolic link that the kernel makes. Source: limits.h, `PATH_MAX` with NUL.
const TARGET_LIMIT: usize = 4095;

/// Why a tree did not become an archive.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// Writing the archive.
    #[error("writing `{path}` to a cpio archive")]
    Write {
        /// The entry.
        path: TreePath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Reading the content of a file.
    #[error("reading the content of `{path}`")]
    Content {
        /// The file.
        path: TreePath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A content is not as long as the tree says.
    #[error("the content of `{path}` is {} than the {expected} bytes it should have", if *.longer { "longer" } else { "shorter" })]
    Length {
        /// The file.
        path: TreePath,
        /// Its size in the tree.
        expected: u64,
        /// Whether there is more, or less.
        longer: bool,
    },
    /// A number that the format's 32 bits do not hold.
    #[error("`{path}` has {field} {value}, which a cpio archive cannot hold")]
    OutOfRange {
        /// The entry.
        path: TreePath,
        /// What does not fit: `size`, `time`, `inode`.
        field: &'static str,
        /// Its value.
        value: i128,
    },
    /// A symbolic link that the kernel would skip without a word.
    #[error("symbolic link `{path}` has a target of {length} bytes: 1 to {TARGET_LIMIT} can be unpacked")]
    Target {
        /// The link.
        path: TreePath,
        /// Length of its target.
        length: usize,
    },
}

/// Writes a tree as an archive.
///
/// Times are written as they are, in whole seconds: whoever wants them clamped clamps them before.
///
/// # Errors
/// `Write` and `Content` for what writing and reading raise, `Length` for a content that is not what
/// the tree says, `OutOfRange` and `Target` for what the format or the kernel cannot do.
pub fn write(tree: &FileTree, source: &dyn ContentSource, output: &mut impl Write) -> Result<(), CpioError> {
    let mut names = vec![0_u32; tree.inode_count()];
    for (_, entry) in tree.iter() {
        names[entry.inode.index()] += 1;
    }
    let mut numbers = vec![None; tree.inode_count()];
    let mut written = names.clone();
    let mut last_number = 0;
    for (path, entry) in tree.iter() {
        let index = entry.inode.index();
        let number = *numbers[index].get_or_insert_with(|| {
            last_number += 1;
            last_number
        });
        written[index] -= 1;
        let inode = tree.inode(entry.inode);
        let content = match &inode.kind {
            Kind::File(content) if written[index] == 0 => Body::File(content),
            Kind::Symlink(target) if target.is_empty() || target.len() > TARGET_LIMIT => {
                return Err(CpioError::Target { path: path.clone(), length: target.len() });
            }
            Kind::Symlink(target) => Body::Target(target),
            _ => Body::None,
        };
        let links = if matches!(inode.kind, Kind::Directory) { 2 } else { names[index] };
        let header = Header::of(path, inode, number, links, content.size())?;
        let writing = |source| CpioError::Write { path: path.clone(), source };
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        header.write(name, output).map_err(writing)?;
        match content {
            Body::File(content) => copy(path, content, source, output)?,
            Body::Target(target) => output.write_all(target).map_err(writing)?,
            Body::None => {}
        }
        pad(content.size(), output).map_err(writing)?;
    }
    let trailer = Header { nlink: 1, ..Header::default() };
    trailer.write(TRAILER, output).map_err(|source| CpioError::Write { path: TreePath::ROOT, source })
}

/// What follows the name of an entry.
#[derive(Clone, Copy)]
enum Body<'a> {
    File(&'a Content),
    Target(&'a [u8]),
    None,
}

impl Body<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::File(content) => content.size(),
            Self::Target(target) => to_u64(target.len()),
            Self::None => 0,
        }
    }
}

/// The fields of a header, under the names of the specification. The device that an archive was made
/// from is zero.
#[derive(Default)]
struct Header {
    ino: u32,
    mode: u16,
    uid: u32,
    gid: u32,
    nlink: u32,
    mtime: u32,
    filesize: u32,
    rmaj: u32,
    rmin: u32,
}

impl Header {
    fn of(path: &TreePath, inode: &Inode, number: u64, nlink: u32, size: u64) -> Result<Self, CpioError> {
        let narrow = |field, value: i128| {
            u32::try_from(value).map_err(|_| CpioError::OutOfRange { path: path.clone(), field, value })
        };
        let device = match inode.kind {
            Kind::CharacterDevice(device) | Kind::BlockDevice(device) => device,
            _ => DeviceNumber { major: 0, minor: 0 },
        };
        Ok(Self {
            ino: narrow("inode", i128::from(number))?,
            mode: inode.kind.type_bits() | inode.metadata.mode,
            uid: inode.metadata.uid,
            gid: inode.metadata.gid,
            nlink,
            mtime: narrow("time", i128::from(inode.metadata.mtime.seconds))?,
            filesize: narrow("size", i128::from(size))?,
            rmaj: device.major,
            rmin: device.minor,
        })
    }

    /// Writes the header, the name with its NUL, and the padding behind.
    fn write(&self, name: &[u8], output: &mut impl Write) -> io::Result<()> {
        let name_size = to_u64(name.len()) + 1;
        write!(
            output,
            "{MAGIC}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            self.ino,
            self.mode,
            self.uid,
            self.gid,
            self.nlink,
            self.mtime,
            self.filesize,
            0, // maj
            0, // min
            self.rmaj,
            self.rmin,
            name_size,
            0, // chksum, of another magic
        )?;
        output.write_all(name)?;
        output.write_all(&[0])?;
        pad(HEADER_SIZE + name_size, output)
    }
}

/// Writes what is missing to a multiple of four bytes.
fn pad(length: u64, output: &mut impl Write) -> io::Result<()> {
    let padding = to_usize(length.next_multiple_of(ALIGNMENT) - length);
    output.write_all(&[0; 4][..padding])
}

fn copy(
    path: &TreePath,
    content: &Content,
    source: &dyn ContentSource,
    output: &mut impl Write,
) -> Result<(), CpioError> {
    let reading = |source| CpioError::Content { path: path.clone(), source };
    let writing = |source| CpioError::Write { path: path.clone(), source };
    let expected = content.size();
    let length = |longer| CpioError::Length { path: path.clone(), expected, longer };
    let mut input = content.open(source).map_err(reading)?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = expected;
    loop {
        let filled = match input.read(&mut buffer) {
            Ok(filled) => filled,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(reading(error)),
        };
        if filled == 0 {
            return if left == 0 { Ok(()) } else { Err(length(false)) };
        }
        left = left.checked_sub(to_u64(filled)).ok_or_else(|| length(true))?;
        output.write_all(&buffer[..filled]).map_err(writing)?;
    }
}

#[cfg(test)]
mod tests;
