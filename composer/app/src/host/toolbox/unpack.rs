//! Packages become a tree of tools: files and links alone, no scripts, owners or set-id bits.
//!
//! Every file is created anew and every directory above it is one we made or found to be a real
//! directory, never a link: a directory never turns into anything else here, so what was found true
//! stays true while several packages are unpacked at once, and nothing is written outside.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use goni_debian::deb::{Deb, DebError, Member, MemberKind};
use goni_model::lock::LockedPackage;
use rayon::prelude::*;

use crate::failure::{Class, Classify};
use crate::host::files::full_disk_hint;
use crate::progress::{Progress, Unit};

/// The name of this stage where progress is told.
const STAGE: &str = "toolbox";

/// Directories of `/usr` that are also known by their old names.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// What nobody reads in a toolbox.
const SKIPPED: [&str; 7] = ["doc", "man", "locale", "info", "lintian", "bash-completion", "zsh"];

/// The users that tools look up.
const PASSWD: &str =
    "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

/// Their groups, as Debian's base-passwd numbers them.
const GROUP: &str = "root:x:0:\ntty:x:5:\ndisk:x:6:\nkvm:x:106:\nnogroup:x:65534:\n";

/// A package that could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("unpacking `{package}`")]
pub struct UnpackError {
    package: String,
    source: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Deb(#[from] DebError),
    #[error("writing `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` is a link where a directory has to be", .0.display())]
    LinkAbove(PathBuf),
}

impl Fault {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

impl Classify for UnpackError {
    fn class(&self) -> Class {
        match self.source {
            Fault::Deb(DebError::Io(_)) | Fault::Io { .. } => Class::Environment,
            Fault::Deb(_) | Fault::LinkAbove(_) => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match &self.source {
            Fault::Io { source, .. } | Fault::Deb(DebError::Io(source)) => full_disk_hint(source),
            Fault::Deb(_) | Fault::LinkAbove(_) => None,
        }
    }
}

/// Unpacks packages into a directory that is not there yet.
pub(super) fn unpack(
    root: &Path,
    packages: &[(LockedPackage, PathBuf)],
    progress: &dyn Progress,
) -> Result<(), UnpackError> {
    let count = goni_model::number::to_u64(packages.len());
    progress.begin(STAGE, Some(count), Unit::Packages);
    lay_ground(root).map_err(|source| UnpackError { package: "the ground".into(), source })?;
    let tree = Tree { root, directories: Mutex::default() };
    // The largest first, so that none of them is alone at the end.
    let mut order: Vec<_> = packages.iter().collect();
    order.sort_by_key(|(package, _)| std::cmp::Reverse(package.size));
    order.into_par_iter().with_max_len(1).try_for_each(|(package, path)| {
        let error = |source| UnpackError { package: format!("{}={}", package.name, package.version), source };
        tree.unpack(package, path).map_err(error)?;
        progress.advance(STAGE, 1);
        Ok(())
    })?;
    progress.end(STAGE, &format!("{count} packages unpacked"));
    Ok(())
}

/// What every tool finds, whatever the packages bring.
fn lay_ground(root: &Path) -> Result<(), Fault> {
    for name in MERGED {
        let target = Path::new("usr").join(name);
        let directory = root.join(&target);
        fs::create_dir_all(&directory).map_err(Fault::io(&directory))?;
        let link = root.join(name);
        symlink(&target, &link).map_err(Fault::io(&link))?;
    }
    for name in ["etc", "opt", "var", "tmp", "dev", "proc", "sys", "run"] {
        let directory = root.join(name);
        fs::create_dir(&directory).map_err(Fault::io(&directory))?;
    }
    for (name, text) in
        [("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/nsswitch.conf", "passwd: files\n")]
    {
        let path = root.join(name);
        fs::write(&path, text).map_err(Fault::io(&path))?;
    }
    Ok(())
}

struct Tree<'a> {
    root: &'a Path,
    /// Directories that are known to be real ones, relative to the root.
    directories: Mutex<BTreeSet<PathBuf>>,
}

impl Tree<'_> {
    fn unpack(&self, package: &LockedPackage, path: &Path) -> Result<(), Fault> {
        let file = File::open(path).map_err(Fault::io(path))?;
        let deb = Deb::open(file, package.size)?;
        deb.control().check_identity(&package.name, &package.version, &package.arch)?;
        let cap = deb.data_cap();
        deb.read_data(cap, 1, |member, body| self.member(member, body))?;
        Ok(())
    }

    fn member(&self, member: Member, body: &mut dyn Read) -> Result<(), Fault> {
        // base-files ships the links of the merged `/usr`; they are laid already.
        let is_ground = MERGED.iter().any(|name| member.path.as_bytes() == name.as_bytes());
        let place = merged(member.path.as_bytes());
        if member.path.is_root() || is_ground || is_skipped(&place) {
            return Ok(());
        }
        if matches!(member.kind, MemberKind::Directory) {
            return self.directory(&place);
        }
        self.directory(place.parent().unwrap_or(Path::new("")))?;
        let path = self.root.join(&place);
        match &member.kind {
            MemberKind::Directory => Ok(()),
            MemberKind::File { .. } => {
                let mode = 0o644 | u32::from(member.mode & 0o111);
                let mut options = OpenOptions::new();
                let mut file =
                    options.write(true).create_new(true).mode(mode).open(&path).map_err(Fault::io(&path))?;
                io::copy(body, &mut file).map_err(Fault::io(&path))?;
                Ok(())
            }
            MemberKind::Symlink(target) => {
                symlink(OsStr::from_bytes(target), &path).map_err(Fault::io(&path))
            }
            MemberKind::HardLink(original) => {
                let original = self.root.join(merged(original.as_bytes()));
                fs::hard_link(&original, &path).map_err(Fault::io(&path))
            }
        }
    }

    /// Makes a directory and those above it, and makes sure that all of them are real.
    fn directory(&self, place: &Path) -> Result<(), Fault> {
        if place.as_os_str().is_empty() || self.known(|directories| directories.contains(place)) {
            return Ok(());
        }
        self.directory(place.parent().unwrap_or(Path::new("")))?;
        let path = self.root.join(place);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Fault::io(&path)(error));
            }
            _ => {}
        }
        if !path.symlink_metadata().map_err(Fault::io(&path))?.is_dir() {
            return Err(Fault::LinkAbove(place.to_path_buf()));
        }
        self.known(|directories| directories.insert(place.to_path_buf()));
        Ok(())
    }

    fn known<T>(&self, ask: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
        ask(&mut self.directories.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The place of a path where `/usr` is merged: `/bin/sh` is `/usr/bin/sh`.
fn merged(path: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path));
    match path.components().next() {
        Some(first) if MERGED.iter().any(|name| first.as_os_str() == *name) => Path::new("usr").join(path),
        _ => path.to_path_buf(),
    }
}

fn is_skipped(place: &Path) -> bool {
    place.strip_prefix("usr/share").is_ok_and(|below| {
        below.components().next().is_some_and(|first| SKIPPED.iter().any(|name| first.as_os_str() == *name))
    })
}

#[cfg(test)]
mod tests {
    use goni_debian::deb::MemberPath;

    use super::*;

    fn member(path: &str, kind: MemberKind) -> Member {
        let path = MemberPath::parse(path.as_bytes()).unwrap();
        Member { path, mode: 0o4755, uid: 0, gid: 0, mtime: 0, kind }
    }

    fn file(path: &str) -> Member {
        member(path, MemberKind::File { size: 1 })
    }

    fn link(path: &str, target: &Path) -> Member {
        member(path, MemberKind::Symlink(target.as_os_str().as_bytes().into()))
    }

    fn in_tree(check: impl FnOnce(&Path, &dyn Fn(Member) -> Result<(), Fault>)) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        lay_ground(&root).unwrap();
        let tree = Tree { root: &root, directories: Mutex::default() };
        check(&root, &|member| tree.member(member, &mut &b"x"[..]));
    }

    #[test]
    fn old_names_of_merged_directories_lead_to_usr_and_set_id_bits_are_lost() {
        use std::os::unix::fs::PermissionsExt as _;
        in_tree(|root, add| {
            add(file("bin/su")).unwrap();
            add(member("lib/su", MemberKind::HardLink(MemberPath::parse(b"bin/su").unwrap()))).unwrap();
            assert_eq!(fs::read(root.join("usr/bin/su")).unwrap(), b"x");
            assert_eq!(fs::read(root.join("usr/lib/su")).unwrap(), b"x");
            let mode = fs::metadata(root.join("bin/su")).unwrap().permissions().mode();
            assert_eq!(mode & 0o7111, 0o111);
            add(link("bin", Path::new("usr/bin"))).unwrap();
            add(file("usr/share/man/man1/su.1")).unwrap();
            assert!(!root.join("usr/share").exists());
        });
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        in_tree(|root, add| {
            let outside = root.parent().unwrap().join("outside");
            fs::create_dir(&outside).unwrap();
            add(link("usr/evil", &outside)).unwrap();
            assert!(
                matches!(add(file("usr/evil/pwn")), Err(Fault::LinkAbove(path)) if path == Path::new("usr/evil"))
            );
            assert!(matches!(add(file("usr/evil")), Err(Fault::Io { .. })));
            assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
        });
    }

    #[test]
    fn two_packages_with_one_file_are_refused() {
        in_tree(|_, add| {
            add(file("usr/bin/x")).unwrap();
            let Err(Fault::Io { source, .. }) = add(file("bin/x")) else { panic!("written twice") };
            assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
        });
    }
}
