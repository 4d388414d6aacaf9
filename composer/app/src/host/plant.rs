//! A file tree becomes a directory.
//!
//! Bytes come first, as *blobs*: files under names of ours in a directory that nobody else can enter,
//! on the same file system. Planting then makes the directories and moves the blobs to their places.
//! Every step is relative to an open directory and takes one component, which is never followed if it
//! is a symbolic link: whatever a tree says, nothing outside the root is reached. The root must not
//! exist before, so nothing inside it can have been prepared by others.

mod blobs;

use std::io;
use std::path::{Path, PathBuf};

use goni_disk::tree::{Content, Entry, FileTree, Inode, Kind, Metadata, TreePath};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

pub use blobs::{BlobError, Blobs, open_package};

/// Opens a directory by one name, never through a symbolic link.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why a tree did not become a directory.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// The directory could not be made, or is there already.
    #[error("making directory `{}`", path.display())]
    Directory {
        /// It.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry could not be made.
    #[error("planting `{path}`")]
    Entry {
        /// Its path in the tree.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry is of a kind that is not planted, or its content is no blob.
    #[error("`{path}` is a {kind}, which is not planted")]
    Kind {
        /// Its path in the tree.
        path: TreePath,
        /// What it is.
        kind: &'static str,
    },
}

/// Makes `root` a directory with what the tree holds. `name_of` gives the name an entry gets in its
/// directory: its own, or the one under which it waits. The blobs are used up.
///
/// # Errors
/// [`PlantError`]; what was made until then stays, for the caller to remove.
pub fn plant(
    tree: &FileTree,
    blobs: &Blobs,
    root: &Path,
    name_of: &dyn Fn(&TreePath) -> Vec<u8>,
) -> Result<(), PlantError> {
    let mut names = vec![0_u32; tree.inode_count()];
    for (_, entry) in tree.iter() {
        if let Some(count) = names.get_mut(entry.inode.index()) {
            *count = count.saturating_add(1);
        }
    }
    let directory = |source: Errno| PlantError::Directory { path: root.to_owned(), source: source.into() };
    fs::mkdirat(CWD, root, Mode::RWXU).map_err(directory)?;
    let handle = fs::openat(CWD, root, DIRECTORY, Mode::empty()).map_err(directory)?;
    let mut planter = Planter { tree, blobs, names, open: Vec::new() };
    let mut entries = tree.iter();
    if let Some((path, entry)) = entries.next() {
        planter.open.push(Open { path: path.clone(), handle, inode: tree.inode(entry.inode) });
    }
    for (path, entry) in entries {
        planter.close_beside(path)?;
        let made = planter.make(path, entry, &name_of(path));
        made.map_err(|fault| fault.at(path))?;
    }
    planter.close_all()
}

/// The directories open from the root down to where the walk is.
struct Planter<'a> {
    tree: &'a FileTree,
    blobs: &'a Blobs,
    names: Vec<u32>,
    open: Vec<Open<'a>>,
}

struct Open<'a> {
    path: TreePath,
    handle: OwnedFd,
    inode: &'a Inode,
}

enum Fault {
    Io(io::Error),
    Kind(&'static str),
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Fault {
    fn at(self, path: &TreePath) -> PlantError {
        let path = path.clone();
        match self {
            Self::Io(source) => PlantError::Entry { path, source },
            Self::Kind(kind) => PlantError::Kind { path, kind },
        }
    }
}

impl<'a> Planter<'a> {
    /// Closes the directories that the path is not below; the walk is done with them.
    fn close_beside(&mut self, path: &TreePath) -> Result<(), PlantError> {
        while let Some(open) = self.open.pop_if(|open| !path.starts_with(&open.path)) {
            open.close()?;
        }
        Ok(())
    }

    fn close_all(&mut self) -> Result<(), PlantError> {
        while let Some(open) = self.open.pop() {
            open.close()?;
        }
        Ok(())
    }

    fn make(&mut self, path: &TreePath, entry: &Entry, name: &[u8]) -> Result<(), Fault> {
        // The tree has a directory above every entry, and the walk comes from there.
        let parent = self.open.last().ok_or(Fault::Io(io::ErrorKind::NotFound.into()))?.handle.as_fd();
        let inode = self.tree.inode(entry.inode);
        if name.contains(&b'/') || matches!(name, b"" | b"." | b"..") {
            return Err(Fault::Kind("name that leads elsewhere"));
        }
        match &inode.kind {
            Kind::Directory => {
                fs::mkdirat(parent, name, Mode::RWXU)?;
                let handle = fs::openat(parent, name, DIRECTORY, Mode::empty())?;
                self.open.push(Open { path: path.clone(), handle, inode });
            }
            Kind::Symlink(target) => {
                fs::symlinkat(&target[..], parent, name)?;
                let Metadata { uid, gid, .. } = inode.metadata;
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                fs::utimensat(parent, name, &times(&inode.metadata), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Kind::File(content) => self.make_file(parent, entry, content, name)?,
            Kind::CharacterDevice(_) => return Err(Fault::Kind("character device")),
            Kind::BlockDevice(_) => return Err(Fault::Kind("block device")),
            Kind::Fifo => return Err(Fault::Kind("named pipe")),
        }
        Ok(())
    }

    fn make_file(
        &self,
        parent: BorrowedFd<'_>,
        entry: &Entry,
        content: &Content,
        name: &[u8],
    ) -> Result<(), Fault> {
        let blob = match content {
            Content::Stored { key, .. } => key.as_bytes().to_vec(),
            Content::Inline(bytes) => {
                let blob = format!("inline-{}", entry.inode.index());
                match self.blobs.write(&blob, &mut &bytes[..]) {
                    // Another name of the same inode was here before.
                    Err(BlobError::Write(error)) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(BlobError::Write(error) | BlobError::Read(error)) => return Err(Fault::Io(error)),
                    Ok(_) => {}
                }
                blob.into_bytes()
            }
        };
        if blob.contains(&b'/') || blob.starts_with(b".") {
            return Err(Fault::Kind("file without a blob"));
        }
        let blobs = self.blobs.handle();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(blobs, &blob[..], flags, Mode::empty())?;
        set_metadata(file.as_fd(), &self.tree.inode(entry.inode).metadata)?;
        if self.names.get(entry.inode.index()).is_some_and(|names| *names > 1) {
            fs::linkat(blobs, &blob[..], parent, name, AtFlags::empty())?;
        } else {
            fs::renameat_with(blobs, &blob[..], parent, name, fs::RenameFlags::NOREPLACE)?;
        }
        Ok(())
    }
}

impl Open<'_> {
    /// Sets what entries made since would have changed again.
    fn close(self) -> Result<(), PlantError> {
        let set = set_metadata(self.handle.as_fd(), &self.inode.metadata);
        set.map_err(|source| Fault::from(source).at(&self.path))
    }
}

/// The owner comes first: changing it clears the set-id bits.
pub(in crate::host) fn set_metadata(file: BorrowedFd<'_>, metadata: &Metadata) -> Result<(), Errno> {
    fs::fchown(file, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)))?;
    fs::fchmod(file, Mode::from_raw_mode(u32::from(metadata.mode)))?;
    for (name, value) in &metadata.xattrs {
        fs::fsetxattr(file, &name[..], value, XattrFlags::empty())?;
    }
    fs::futimens(file, &times(metadata))
}

fn times(metadata: &Metadata) -> Timestamps {
    let time = Timespec { tv_sec: metadata.mtime.seconds, tv_nsec: metadata.mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests;
