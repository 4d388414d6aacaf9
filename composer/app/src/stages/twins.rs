//! Programs of this machine in the place of an image's.
//!
//! An image of another architecture is configured by its own programs, under an emulator. Most of them
//! are here, too, as this machine's processor understands them: the same package in the same version, its
//! *twin*. Twins' programs and libraries are unpacked into a tree of their own, which is kept; while packages are
//! configured the programs cover the image's, and nothing of them stays.
//!
//! A program is of use if all it needs to start is in that tree, and if its answers do not depend on the
//! architecture it was built for: `UNLIKE` lists those that do.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use goni_debian::deb::{Member, MemberKind, MemberPath};
use goni_disk::tree::{FileTree, Kind, Owner, TreePath};
use goni_model::arch::Arch;
use serde::{Deserialize, Serialize};

use crate::failure::{Class, Classify};
use crate::host::files::{self, FileError};
use crate::host::walk::Directory;
use crate::progress::Progress;
use crate::stages::initrd::{self, InitrdError, Source};
use crate::stages::unpack::{DebFile, Part, UnpackError, unpack};

/// The name of this stage where progress is told.
const STAGE: &str = "twins";

/// Where the list of programs is, beside the tree.
const LIST: &str = "programs.json";

/// The largest list that is read.
const LARGEST_LIST: u64 = 16 << 20;

/// Programs that answer for the architecture they were built for, or whose parts lie where the image has
/// its own, and why; `*` at the end stands for anything.
const UNLIKE: &[(&str, &str)] = &[
    ("dpkg", "its own architecture is that of the system"),
    ("dpkg-architecture", "its own architecture is that of the system"),
    ("dpkg-divert", "takes packages of the image for those of a foreign architecture"),
    ("dpkg-query", "takes packages of the image for those of a foreign architecture"),
    ("dpkg-statoverride", "takes packages of the image for those of a foreign architecture"),
    ("dpkg-trigger", "takes packages of the image for those of a foreign architecture"),
    ("uname", "tells the architecture"),
    ("arch", "tells the architecture"),
    ("lscpu", "tells the processor"),
    ("setarch", "changes the architecture that programs are told"),
    ("getconf", "tells sizes of the architecture"),
    ("ldd", "starts the loader of its architecture"),
    ("ldconfig", "knows the libraries of its architecture alone"),
    ("chroot", "what runs in another root does not find its libraries"),
    ("python*", "its compiled modules lie outside of the directory that each architecture has for itself"),
];

/// A program of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its path, without a slash in front: `usr/bin/bash`.
    pub path: String,
    /// The package that brings it.
    pub package: String,
}

/// An unpacked tree of twins.
#[derive(Debug)]
pub struct Twins {
    /// Where it is.
    pub root: PathBuf,
    /// Its architecture.
    pub arch: Arch,
    /// The programs that run, in order of their paths.
    pub programs: Vec<Program>,
}

/// Why there are no twins.
#[derive(Debug, thiserror::Error)]
pub enum TwinsError {
    /// Their packages cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// What was unpacked cannot be read.
    #[error("reading `{root}`")]
    Read {
        /// The tree.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a program needs cannot be found out.
    #[error("finding the libraries of a program")]
    Needs(#[source] InitrdError),
    /// The list of programs cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// The list of programs is none.
    #[error("reading the list of programs")]
    List(#[from] serde_json::Error),
}

impl Classify for TwinsError {
    fn class(&self) -> Class {
        match self {
            Self::Unpack(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Read { .. } | Self::Needs(_) | Self::List(_) => Class::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack(error) => error.hint(),
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}

impl Twins {
    /// The twins below a directory, if they are there.
    ///
    /// # Errors
    /// A list that cannot be read.
    pub fn open(directory: &Path, arch: Arch) -> Result<Option<Self>, TwinsError> {
        let text = match files::read_capped(&directory.join(LIST), LARGEST_LIST) {
            Err(error) if error.is_not_found() => return Ok(None),
            text => text?,
        };
        Ok(Some(Self { root: directory.join("root"), arch, programs: serde_json::from_slice(&text)? }))
    }

    /// Unpacks twins into a directory that is there and empty, and finds out which programs run.
    ///
    /// # Errors
    /// [`TwinsError`]; what the directory then holds is for the caller to remove.
    pub fn make(
        packages: &[DebFile],
        arch: Arch,
        directory: &Path,
        progress: &dyn Progress,
    ) -> Result<Self, TwinsError> {
        let root = directory.join("root");
        let wanted = |member: &Member| is_wanted(member, arch);
        let part = Part { stage: STAGE, wanted: &wanted };
        let unpacked = unpack(packages, part, &[], &directory.join("blobs"), &root, progress)?;
        let content =
            Directory::open(&root).map_err(|source| TwinsError::Read { root: root.clone(), source })?;
        let tree = content.walk(&|path, _| owner(&unpacked.tree, path));
        let tree =
            tree.map_err(|error| TwinsError::Read { root: root.clone(), source: io::Error::other(error) })?;
        let programs = programs(&Source { tree: &tree, content: &content, arch })?;
        files::replace(&directory.join(LIST), &serde_json::to_vec(&programs)?, 0o600)?;
        Ok(Self { root, arch, programs })
    }
}

fn owner(unpacked: &FileTree, path: &TreePath) -> Owner {
    unpacked.entry(path).map_or_else(|| Owner::Stage(STAGE.into()), |entry| entry.owner.clone())
}

/// Programs, libraries where each architecture has its own directory, and the loader.
fn is_wanted(member: &Member, arch: Arch) -> bool {
    let wanted = |path: &MemberPath| {
        let path = path.as_bytes();
        let below_usr = path.strip_prefix(b"usr/").unwrap_or(path);
        let libraries = format!("lib/{}/", arch.multiarch());
        // Packages are held to their word: what they call a configuration file has to be one.
        path.starts_with(b"etc/")
            || [&b"bin/"[..], b"sbin/", b"lib64/", b"lib/ld-linux", libraries.as_bytes()]
                .iter()
                .any(|place| below_usr.starts_with(place))
    };
    let original = match &member.kind {
        MemberKind::HardLink(original) => wanted(original),
        _ => true,
    };
    wanted(&member.path) && original
}

/// The programs of a tree that can start with what the tree has.
fn programs(source: &Source<'_>) -> Result<Vec<Program>, TwinsError> {
    let mut needs = Needs { source, known: BTreeMap::new() };
    let mut programs = Vec::new();
    for (path, entry) in source.tree.iter() {
        let (Ok(text), Owner::Package(package)) = (str::from_utf8(path.as_bytes()), &entry.owner) else {
            continue;
        };
        let Some(name) = text.strip_prefix("usr/bin/").or_else(|| text.strip_prefix("usr/sbin/")) else {
            continue;
        };
        let file = matches!(source.tree.inode(entry.inode).kind, Kind::File(_));
        if file && !is_unlike(name) && needs.is_elf(path)? && needs.are_met(path)? {
            programs.push(Program { path: text.to_owned(), package: package.to_string() });
        }
    }
    Ok(programs)
}

fn is_unlike(name: &str) -> bool {
    UNLIKE.iter().any(|(unlike, _)| match unlike.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *unlike,
    })
}

/// What files need at once, looked up once; `None`: something that is not there.
struct Needs<'a> {
    source: &'a Source<'a>,
    known: BTreeMap<TreePath, Option<Vec<TreePath>>>,
}

impl Needs<'_> {
    /// Whether a file is a program of this architecture: scripts need no twin, their interpreter has one.
    fn is_elf(&self, path: &TreePath) -> Result<bool, TwinsError> {
        let Some(Kind::File(content)) = self.source.tree.get(path).map(|inode| &inode.kind) else {
            return Ok(false);
        };
        let failed = |error| TwinsError::Needs(InitrdError::Read { path: path.clone(), error });
        let mut head = [0; 20];
        let read = content
            .open(self.source.content)
            .and_then(|mut content| io::Read::read_exact(&mut content, &mut head));
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => {
                read.map_err(failed)?;
                Ok(head.starts_with(b"\x7fELF") && head[18..] == self.source.arch.elf_machine().to_le_bytes())
            }
        }
    }

    /// Whether all that a file needs is there, and all that this needs.
    fn are_met(&mut self, path: &TreePath) -> Result<bool, TwinsError> {
        let mut seen = BTreeSet::new();
        let mut queue = vec![path.clone()];
        while let Some(path) = queue.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            match self.of(&path)? {
                Some(more) => queue.extend(more.iter().cloned()),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn of(&mut self, path: &TreePath) -> Result<&Option<Vec<TreePath>>, TwinsError> {
        if !self.known.contains_key(path) {
            let step =
                self.source.canonical(path).and_then(|path| initrd::elf::step(self.source, &path, &[]));
            let needs = match step {
                Ok(needs) => Some(needs),
                Err(error @ InitrdError::Read { .. }) => return Err(TwinsError::Needs(error)),
                Err(_) => None,
            };
            self.known.insert(path.clone(), needs);
        }
        Ok(&self.known[path])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_for_its_architecture_has_no_twin() {
        for name in ["dpkg", "uname", "python3.13", "python3"] {
            assert!(is_unlike(name), "{name}");
        }
        for name in ["dpkg-deb", "bash", "unamed", "perl"] {
            assert!(!is_unlike(name), "{name}");
        }
    }

    #[test]
    fn programs_and_what_lies_where_no_other_architecture_looks_are_wanted() {
        let member = |path: &str, kind| Member {
            path: MemberPath::parse(path.as_bytes()).unwrap(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            kind,
        };
        let file = |path: &str| is_wanted(&member(path, MemberKind::File { size: 1 }), Arch::Amd64);
        for path in [
            "./usr/bin/bash",
            "./sbin/depmod",
            "./usr/lib64/ld-linux-x86-64.so.2",
            "./usr/lib/x86_64-linux-gnu/perl-base/Errno.pm",
            "./etc/bash.bashrc",
        ] {
            assert!(file(path), "{path}");
        }
        for path in
            ["./usr/lib/systemd/systemd", "./usr/share/etc/x", "./usr/lib/aarch64-linux-gnu/libc.so.6"]
        {
            assert!(!file(path), "{path}");
        }
        let link = |original: &str| {
            let original = MemberPath::parse(original.as_bytes()).unwrap();
            is_wanted(&member("./usr/bin/git", MemberKind::HardLink(original)), Arch::Amd64)
        };
        assert!(link("./usr/bin/other") && !link("./usr/lib/git-core/git"));
    }
}
