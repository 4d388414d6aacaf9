//! A directory becomes a file tree.
//!
//! Metadata is read into memory; contents stay where they are and are read through [`Directory`],
//! which never follows a symbolic link and never leaves its root. Inside a user namespace the
//! kernel shows file capabilities in a form of its own; they are brought back to the form that a
//! disk image holds.

mod attributes;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goni_disk::tree::{
    Content, ContentKey, ContentSource, DeviceNumber, FileTree, Inode, InodeId, InvalidPath, Kind, Metadata,
    Owner, TreeError, TreePath,
};
use goni_model::time::Timestamp;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use crate::failure::{Class, Classify};

/// A directory whose paths are those of a tree. Contents are read from it by tree path.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    root: OwnedFd,
}

/// Why a directory did not become a tree.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// Something in it could not be read.
    #[error("reading `{path}` in `{root}`")]
    Io {
        /// The directory.
        root: PathBuf,
        /// What could not be read.
        path: TreePath,
        /// The cause.
        source: io::Error,
    },
    /// A name that no tree can hold.
    #[error("`{root}` holds a name that no image can hold")]
    Path {
        /// The directory.
        root: PathBuf,
        /// The name.
        source: InvalidPath,
    },
    /// A socket, which no image can hold.
    #[error("`{path}` in `{root}` is a socket")]
    Socket {
        /// The directory.
        root: PathBuf,
        /// The socket.
        path: TreePath,
    },
    /// The directory changed while it was read.
    #[error("`{root}` changed while it was read")]
    Changed {
        /// The directory.
        root: PathBuf,
        /// What did not fit.
        source: TreeError,
    },
}

impl Classify for WalkError {
    fn class(&self) -> Class {
        match self {
            Self::Io { .. } | Self::Changed { .. } => Class::Environment,
            Self::Path { .. } | Self::Socket { .. } => Class::Content,
        }
    }
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    /// What opening it raises.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &path, flags, Mode::empty())?;
        Ok(Self { path, root })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is something at a path; symbolic links are followed within the directory alone.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        self.open_within(path, OFlags::PATH, Mode::empty()).is_ok()
    }

    /// Reads the whole of a file; symbolic links are followed within the directory alone.
    ///
    /// # Errors
    /// `NotFound`, or what reading raises.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_within(path, OFlags::RDONLY, Mode::empty())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The names in a directory below, in no order; symbolic links are followed within alone.
    ///
    /// # Errors
    /// `NotFound`, or what reading raises.
    pub fn names(&self, path: &str) -> io::Result<Vec<OsString>> {
        let directory = self.open_within(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Creates a file that is not there yet; symbolic links are followed within the directory alone.
    ///
    /// # Errors
    /// `AlreadyExists`, or what writing raises.
    pub fn create(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self.open_within(path, flags, Mode::from_bits_truncate(mode))?;
        // The creation mode is subject to the caller's mask.
        rustix::fs::fchmod(&file, Mode::from_bits_truncate(mode))?;
        io::Write::write_all(&mut file, bytes)
    }

    /// Creates a directory and those above it, as far as they are not there; symbolic links are followed
    /// within the directory alone.
    ///
    /// # Errors
    /// What creating raises; something else may be in the way.
    pub fn create_directories(&self, path: &str) -> io::Result<()> {
        let mut above = ".".to_owned();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let parent = self.open_within(&above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) => {
                    let made = openat(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
                    // The creation mode is subject to the caller's mask.
                    rustix::fs::fchmod(&made, Mode::from_bits_truncate(0o755))?;
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            above = format!("{above}/{name}");
        }
        Ok(())
    }

    /// Removes a file; symbolic links above it are followed within the directory alone.
    ///
    /// # Errors
    /// `NotFound`, or what removing raises.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let above = self.open_within(above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::unlinkat(&above, name, AtFlags::empty())?)
    }

    /// Owner, mode, time and attributes of a regular file; `None` for what is none, or a link to one.
    ///
    /// # Errors
    /// What reading raises.
    pub fn file(&self, path: &str) -> io::Result<Option<Metadata>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match self.open_within(path, flags, Mode::empty()) {
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::LOOP)) => {
                return Ok(None);
            }
            file => file?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        Ok(Some(metadata(&stat, attributes::of_directory(&file)?)))
    }

    pub(in crate::host) fn open_within(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(File::from(openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve)?))
    }

    /// Reads every name below into a tree, which names `owner` as the owner of each.
    ///
    /// # Errors
    /// [`WalkError`].
    pub fn walk(&self, owner: &dyn Fn(&TreePath, &Inode) -> Owner) -> Result<FileTree, WalkError> {
        let failed = |source| self.failed(&TreePath::ROOT, source);
        let stat = rustix::fs::fstat(&self.root).map_err(io::Error::from).map_err(failed)?;
        let metadata = metadata(&stat, attributes::of_directory(&self.root).map_err(failed)?);
        let root = Inode { metadata, kind: Kind::Directory };
        let root_owner = owner(&TreePath::ROOT, &root);
        let mut walk = Walk {
            directory: self,
            owner,
            tree: FileTree::new(root.metadata, root_owner),
            links: BTreeMap::new(),
        };
        walk.below(&self.root, &TreePath::ROOT)?;
        Ok(walk.tree)
    }

    fn failed(&self, path: &TreePath, source: io::Error) -> WalkError {
        WalkError::Io { root: self.path.clone(), path: path.clone(), source }
    }
}

impl ContentSource for Directory {
    fn open(&self, key: &ContentKey) -> io::Result<Box<dyn Read + Send + '_>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let file = openat2(&self.root, OsStr::from_bytes(key.as_bytes()), flags, Mode::empty(), resolve)?;
        Ok(Box::new(File::from(file)))
    }
}

struct Walk<'a> {
    directory: &'a Directory,
    owner: &'a dyn Fn(&TreePath, &Inode) -> Owner,
    tree: FileTree,
    /// Inodes with several names, by device and number.
    links: BTreeMap<(u64, u64), InodeId>,
}

impl Walk<'_> {
    fn below(&mut self, directory: &OwnedFd, path: &TreePath) -> Result<(), WalkError> {
        let this = self.directory;
        let failed = |source: rustix::io::Errno| this.failed(path, source.into());
        for entry in Dir::read_from(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let child = path
                .join(name.to_bytes())
                .map_err(|source| WalkError::Path { root: this.path.clone(), source })?;
            self.entry(directory, OsStr::from_bytes(name.to_bytes()), child)?;
        }
        Ok(())
    }

    fn entry(&mut self, directory: &OwnedFd, name: &OsStr, path: TreePath) -> Result<(), WalkError> {
        let this = self.directory;
        let failed = |source: io::Error| this.failed(&path, source);
        let changed = |source| WalkError::Changed { root: this.path.clone(), source };
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(e.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let identity = (stat.st_dev, stat.st_ino);
        let several = kind != FileType::Directory && stat.st_nlink > 1;
        if several && let Some(id) = self.links.get(&identity).copied() {
            let owner = (self.owner)(&path, self.tree.inode(id));
            return self.tree.link(path, id, owner).map_err(changed);
        }
        let mut opened = None;
        let (kind, xattrs) = match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(directory, name, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
                let xattrs = attributes::of_directory(&fd).map_err(failed)?;
                opened = Some(fd);
                (Kind::Directory, xattrs)
            }
            other => {
                let xattrs = attributes::of_entry(directory.as_fd(), name).map_err(failed)?;
                (self.kind(directory, name, &path, other, &stat)?, xattrs)
            }
        };
        let inode = Inode { metadata: metadata(&stat, xattrs), kind };
        let owner = (self.owner)(&path, &inode);
        let id = self.tree.insert(path.clone(), inode, owner).map_err(changed)?;
        if several {
            self.links.insert(identity, id);
        }
        opened.map_or(Ok(()), |fd| self.below(&fd, &path))
    }

    fn kind(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &TreePath,
        kind: FileType,
        stat: &Stat,
    ) -> Result<Kind, WalkError> {
        let this = self.directory;
        let device = || DeviceNumber {
            major: rustix::fs::major(stat.st_rdev),
            minor: rustix::fs::minor(stat.st_rdev),
        };
        Ok(match kind {
            FileType::RegularFile => Kind::File(Content::Stored {
                key: ContentKey::new(path.as_bytes()),
                size: u64::try_from(stat.st_size).unwrap_or_default(),
            }),
            FileType::Symlink => {
                let target =
                    readlinkat(directory, name, Vec::new()).map_err(|e| this.failed(path, e.into()))?;
                Kind::Symlink(target.into_bytes())
            }
            FileType::CharacterDevice => Kind::CharacterDevice(device()),
            FileType::BlockDevice => Kind::BlockDevice(device()),
            FileType::Fifo => Kind::Fifo,
            _ => return Err(WalkError::Socket { root: this.path.clone(), path: path.clone() }),
        })
    }
}

fn metadata(stat: &Stat, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> Metadata {
    Metadata {
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or_default(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        },
        xattrs,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn walked(root: &Path) -> (Directory, FileTree) {
        let directory = Directory::open(root).unwrap();
        let tree = directory.walk(&|_, _| Owner::Stage("test".into())).unwrap();
        (directory, tree)
    }

    #[test]
    fn directories_are_made_within_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink("usr/opt", root.path().join("opt")).unwrap();
        symlink(outside.path(), root.path().join("out")).unwrap();
        fs::create_dir_all(root.path().join("usr/opt")).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        directory.create_directories("/opt/acme/packages").unwrap();
        directory.create_directories("opt/acme/packages").unwrap();
        let made = fs::metadata(root.path().join("usr/opt/acme/packages")).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o755);
        assert!(directory.create_directories("out/acme").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_modes_links_and_times_are_what_the_directory_has() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/file"), "bytes").unwrap();
        fs::set_permissions(root.path().join("d/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::hard_link(root.path().join("d/file"), root.path().join("same")).unwrap();
        symlink("/etc/passwd", root.path().join("link")).unwrap();
        rustix::fs::mknodat(CWD, root.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let (directory, tree) = walked(root.path());
        let shown: Vec<String> = tree
            .iter()
            .map(|(path, entry)| format!("{path} {:o}", tree.inode(entry.inode).kind.type_bits()))
            .collect();
        assert_eq!(
            shown,
            ["/ 40000", "/d 40000", "/d/file 100000", "/link 120000", "/pipe 10000", "/same 100000"]
        );
        assert_eq!(tree.entry(&path("d/file")).unwrap().inode, tree.entry(&path("same")).unwrap().inode);
        assert_eq!(tree.get(&path("same")).unwrap().metadata.mode, 0o4750);
        assert_eq!(tree.get(&path("link")).unwrap().kind, Kind::Symlink(b"/etc/passwd".to_vec()));
        let Kind::File(content) = &tree.get(&path("same")).unwrap().kind else { panic!("no file") };
        let mut bytes = String::new();
        content.open(&directory).unwrap().read_to_string(&mut bytes).unwrap();
        assert_eq!((bytes.as_str(), content.size()), ("bytes", 5));
    }

    #[test]
    fn content_is_never_read_through_a_symbolic_link_or_from_outside() {
        let root = tempfile::tempdir().unwrap();
        symlink("/var", root.path().join("etc")).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        for key in ["etc/lib", "../x", "/etc/passwd"] {
            assert!(ContentSource::open(&directory, &ContentKey::new(key.as_bytes())).is_err(), "{key}");
        }
        assert_eq!(directory.read("etc/lib").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_socket_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("s")).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let error = directory.walk(&|_, _| Owner::Stage("test".into())).unwrap_err();
        assert_eq!(error.to_string(), format!("`/s` in `{}` is a socket", root.path().display()));
        assert_eq!(error.class().exit_code(), 5);
    }
}
