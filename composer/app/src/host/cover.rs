//! Programs of this machine over those of a tree, for as long as commands run in it.
//!
//! Each program is covered by a copy of its twin, bound over it in the sandbox's own mount namespace. The copy
//! begins with owner, mode and attributes of what it covers, and what commands change of these is carried over to
//! it afterwards: a script that makes a program set-user-id makes the image's so. The libraries lie in the
//! directory that their architecture has for itself, which the tree is given meanwhile, with the loader.
//! When the cover is lifted, nothing of this is in the tree, and no directory has another time for it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use goni_disk::tree::Metadata;
use goni_model::arch::Arch;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};

use crate::failure::{Class, Classify};
use crate::host::plant::set_metadata;
use crate::host::sandbox::Sandbox;
use crate::host::walk::Directory;

/// What a tree is given so that programs of another architecture find their libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// A directory.
    Directory(&'static str),
    /// A symbolic link, and where it leads.
    Link(&'static str, &'static str),
}

/// The loader's path is written into every program. Source: System V ABI, AMD64 and AArch64 supplements;
/// Debian Policy §9.1.1.
const fn ground(arch: Arch) -> &'static [Ground] {
    match arch {
        Arch::Amd64 => &[
            Ground::Directory("usr/lib64"),
            Ground::Link("usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
            Ground::Link("lib64", "usr/lib64"),
            Ground::Directory("usr/lib/x86_64-linux-gnu"),
        ],
        Arch::Arm64 => &[
            Ground::Link("usr/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu/ld-linux-aarch64.so.1"),
            Ground::Directory("usr/lib/aarch64-linux-gnu"),
        ],
    }
}

/// A program that is covered.
#[derive(Debug)]
struct Covered {
    path: String,
    before: Metadata,
}

/// The covers of a tree.
#[derive(Debug)]
pub struct Cover<'a> {
    tree: &'a Directory,
    twins: PathBuf,
    arch: Arch,
    copies: Directory,
    covered: Vec<Covered>,
}

/// Why programs were not covered, or the cover not lifted.
#[derive(Debug, thiserror::Error)]
pub enum CoverError {
    /// The tree has what it was to be given.
    #[error("the image has `/{path}` of its own")]
    Taken {
        /// The path.
        path: &'static str,
    },
    /// A command wrote to a program.
    #[error("a script changed the program `/{path}`, which a program of this machine covered")]
    Written {
        /// The program.
        path: String,
    },
    /// Something could not be read or written.
    #[error("covering `/{path}`")]
    Io {
        /// Its path in the tree.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl CoverError {
    fn io<E: Into<io::Error>>(path: &str) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, source: error.into() }
    }
}

impl Classify for CoverError {
    fn class(&self) -> Class {
        match self {
            Self::Taken { .. } | Self::Written { .. } => Class::Content,
            Self::Io { .. } => Class::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Taken { .. } | Self::Written { .. } => {
                Some("build with --emulate: no program of this machine then runs in the image's place".into())
            }
        }
    }
}

impl<'a> Cover<'a> {
    /// Copies the twins of programs, by their paths, into a directory that is not there yet, and gives the
    /// tree what they need. What is no file in the tree is not covered.
    ///
    /// # Errors
    /// `Taken`, and the tree is as it was; or another [`CoverError`], and it is of no use any more.
    pub fn lay<'p>(
        tree: &'a Directory,
        twins: &Path,
        arch: Arch,
        programs: impl IntoIterator<Item = &'p str>,
        copies: &Path,
    ) -> Result<Self, CoverError> {
        for piece in ground(arch) {
            let (Ground::Directory(path) | Ground::Link(path, _)) = *piece;
            if is_there(tree, path).map_err(CoverError::io(path))? {
                return Err(CoverError::Taken { path });
            }
        }
        fs::create_dir(copies).map_err(CoverError::io(""))?;
        let mut covered = Vec::new();
        for path in programs {
            let failed = || CoverError::io(path);
            let Some(before) = tree.file(path).map_err(failed())? else { continue };
            let mut from = File::open(twins.join(path)).map_err(failed())?;
            let mut to = File::create_new(copies.join(covered.len().to_string())).map_err(failed())?;
            io::copy(&mut from, &mut to).map_err(failed())?;
            set_metadata(to.as_fd(), &before).map_err(CoverError::io(path))?;
            covered.push(Covered { path: path.to_owned(), before });
        }
        let copies = Directory::open(copies).map_err(CoverError::io(""))?;
        for piece in ground(arch) {
            piece.lay(tree)?;
        }
        Ok(Self { tree, twins: twins.to_owned(), arch, copies, covered })
    }

    /// How many programs are covered.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.covered.len()
    }

    /// A sandbox in the tree in which the covers are.
    #[must_use]
    pub fn admit(&self, sandbox: Sandbox) -> Sandbox {
        let libraries = Path::new("usr/lib").join(self.arch.multiarch());
        let sandbox = sandbox.bind(self.twins.join(&libraries), Path::new("/").join(&libraries));
        self.covered.iter().enumerate().fold(sandbox, |sandbox, (number, covered)| {
            let copy = self.copies.path().join(number.to_string());
            sandbox.bind_writable(copy, Path::new("/").join(&covered.path))
        })
    }

    /// Takes from the tree what it was given, and carries over what was changed of covered programs.
    ///
    /// # Errors
    /// [`CoverError`].
    pub fn lift(self) -> Result<(), CoverError> {
        for piece in ground(self.arch).iter().rev() {
            piece.lift(self.tree)?;
        }
        for (number, Covered { path, before }) in self.covered.iter().enumerate() {
            let failed = || CoverError::io(path);
            let now = self.copies.file(&number.to_string()).map_err(failed())?;
            let now = now.ok_or_else(|| io::ErrorKind::NotFound.into()).map_err(failed())?;
            if now.mtime != before.mtime {
                return Err(CoverError::Written { path: path.clone() });
            }
            if now != *before {
                let file = self.tree.open_within(path, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
                set_metadata(file.map_err(failed())?.as_fd(), &now).map_err(CoverError::io(path))?;
            }
        }
        Ok(())
    }
}

impl Ground {
    fn lay(self, tree: &Directory) -> Result<(), CoverError> {
        let (Self::Directory(path) | Self::Link(path, _)) = self;
        keeping_time(tree, path, |above, name| match self {
            Self::Directory(_) => rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755)),
            Self::Link(_, target) => rustix::fs::symlinkat(target, above, name),
        })
    }

    fn lift(self, tree: &Directory) -> Result<(), CoverError> {
        let (path, flags) = match self {
            Self::Directory(path) => (path, AtFlags::REMOVEDIR),
            Self::Link(path, _) => (path, AtFlags::empty()),
        };
        keeping_time(tree, path, |above, name| rustix::fs::unlinkat(above, name, flags))
    }
}

fn is_there(tree: &Directory, path: &str) -> io::Result<bool> {
    match tree.open_within(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        opened => opened.map(|_| true),
    }
}

/// Does something to a name in its directory, whose time stays what it is.
fn keeping_time(
    tree: &Directory,
    path: &str,
    act: impl FnOnce(&OwnedFd, &str) -> Result<(), rustix::io::Errno>,
) -> Result<(), CoverError> {
    let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
    let kept = || -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let above = OwnedFd::from(tree.open_within(above, flags, Mode::empty())?);
        let before = rustix::fs::fstat(&above)?;
        act(&above, name)?;
        let keep = Timespec {
            tv_sec: before.st_mtime,
            tv_nsec: i64::try_from(before.st_mtime_nsec).unwrap_or_default(),
        };
        let times = Timestamps { last_access: keep, last_modification: keep };
        Ok(rustix::fs::futimens(&above, &times)?)
    };
    kept().map_err(CoverError::io(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    /// A tree with three programs, one of them a link, and the twins of all; a place for copies.
    fn trees() -> (tempfile::TempDir, Directory, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        for (tree, text) in [("tree", "theirs"), ("twins", "ours")] {
            let bin = place.path().join(tree).join("usr/bin");
            fs::create_dir_all(&bin).unwrap();
            fs::create_dir_all(place.path().join(tree).join("usr/lib")).unwrap();
            for name in ["a", "b", "c"] {
                fs::write(bin.join(name), text).unwrap();
                fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let bin = place.path().join("tree/usr/bin");
        fs::remove_file(bin.join("c")).unwrap();
        std::os::unix::fs::symlink("a", bin.join("c")).unwrap();
        let tree = Directory::open(place.path().join("tree")).unwrap();
        let (twins, copies) = (place.path().join("twins"), place.path().join("copies"));
        (place, tree, twins, copies)
    }

    const PROGRAMS: [&str; 4] = ["usr/bin/a", "usr/bin/b", "usr/bin/c", "usr/bin/d"];

    #[test]
    fn a_lifted_cover_leaves_nothing_and_carries_modes_over() {
        let (place, tree, twins, copies) = trees();
        let root = place.path().join("tree");
        let times = || {
            ["", "usr", "usr/lib"].map(|path| {
                let metadata = fs::metadata(root.join(path)).unwrap();
                (metadata.mtime(), metadata.mtime_nsec(), metadata.nlink())
            })
        };
        let before = times();
        let cover = Cover::lay(&tree, &twins, Arch::Amd64, PROGRAMS, &copies).unwrap();
        assert_eq!(cover.count(), 2);
        assert!(root.join("lib64/ld-linux-x86-64.so.2").symlink_metadata().unwrap().is_symlink());
        assert!(root.join("usr/lib/x86_64-linux-gnu").is_dir());
        assert_eq!(fs::read(copies.join("1")).unwrap(), b"ours");
        fs::set_permissions(copies.join("1"), fs::Permissions::from_mode(0o4711)).unwrap();
        cover.lift().unwrap();
        assert_eq!(times(), before);
        assert_eq!(fs::read_dir(root.join("usr/lib")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        let mode = |name: &str| fs::metadata(root.join("usr/bin").join(name)).unwrap().permissions().mode();
        assert_eq!((mode("a") & 0o7777, mode("b") & 0o7777), (0o755, 0o4711));
        assert_eq!(fs::read(root.join("usr/bin/b")).unwrap(), b"theirs");
    }

    #[test]
    fn a_program_that_was_written_to_is_named() {
        let (_place, tree, twins, copies) = trees();
        let cover = Cover::lay(&tree, &twins, Arch::Arm64, PROGRAMS, &copies).unwrap();
        fs::write(copies.join("0"), "other").unwrap();
        let error = cover.lift().unwrap_err();
        let expected = "a script changed the program `/usr/bin/a`, which a program of this machine covered";
        assert_eq!((error.to_string().as_str(), error.class().exit_code()), (expected, 5));
    }

    #[test]
    fn a_tree_with_libraries_of_this_machine_is_left_alone() {
        let (place, tree, twins, copies) = trees();
        fs::create_dir(place.path().join("tree/usr/lib/x86_64-linux-gnu")).unwrap();
        let error = Cover::lay(&tree, &twins, Arch::Amd64, PROGRAMS, &copies).unwrap_err();
        assert_eq!(error.to_string(), "the image has `/usr/lib/x86_64-linux-gnu` of its own");
        assert!(!place.path().join("tree/usr/lib64").exists());
    }
}
