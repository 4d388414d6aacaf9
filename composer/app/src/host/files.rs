//! Single files and directories: read whole, replaced by rename, removed with care.
//!
//! A name never shows half a file: bytes are written beside it, flushed, then renamed over it, and
//! the directory is flushed too. Locks are in [`lock`].

pub mod lock;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{Class, Classify};

/// What could not be done with which path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was attempted, in the gerund.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that is read whole is larger than it can sensibly be.
    #[error("`{}` is over {cap} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most we read.
        cap: u64,
    },
    /// A file that should be text is not.
    #[error("`{}` is not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Something is mounted at or below a directory that should go.
    #[error("`{}` is not removed: something is mounted on `{}`", path.display(), mount.display())]
    Mounted {
        /// The directory.
        path: PathBuf,
        /// The mount point.
        mount: PathBuf,
    },
}

impl FileError {
    /// Wraps the operating system's answer: `.map_err(FileError::io("reading", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the path is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Classify for FileError {
    fn class(&self) -> Class {
        Class::Environment
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => full_disk_hint(source),
            Self::Mounted { mount, .. } => Some(format!("unmount `{}` first", mount.display())),
            Self::TooLarge { .. } | Self::NotText { .. } => None,
        }
    }
}

/// The way out where the disk or the quota is full.
#[must_use]
pub fn full_disk_hint(error: &io::Error) -> Option<String> {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        .then(|| "free some space, or name another directory with --cache or --out".into())
}

/// Reads a file whole, if it has at most `cap` bytes.
///
/// # Errors
/// If it cannot be read or is larger.
pub fn read_capped(path: &Path, cap: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(FileError::io("opening", path))?;
    // One byte past the cap tells a file that is too large from one that just fits.
    file.take(cap.saturating_add(1)).read_to_end(&mut bytes).map_err(FileError::io("reading", path))?;
    if goni_model::number::to_u64(bytes.len()) > cap {
        return Err(FileError::TooLarge { path: path.to_path_buf(), cap });
    }
    Ok(bytes)
}

/// Reads a text file whole, if it has at most `cap` bytes.
///
/// # Errors
/// If it cannot be read, is larger or is not UTF-8.
pub fn read_text(path: &Path, cap: u64) -> Result<String, FileError> {
    String::from_utf8(read_capped(path, cap)?).map_err(|_| FileError::NotText { path: path.to_path_buf() })
}

/// The files right in a directory whose names end in one of the suffixes, ordered by name.
///
/// A directory that is not there is empty.
///
/// # Errors
/// If it cannot be read.
pub fn list(directory: &Path, suffixes: &[&str]) -> Result<Vec<PathBuf>, FileError> {
    let error = || FileError::io("listing", directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error()(source)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(error())?.path();
        let name = path.file_name().unwrap_or_default().as_bytes();
        if suffixes.iter().any(|suffix| name.ends_with(suffix.as_bytes())) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Makes a directory and those above it; fine if it is there already.
///
/// # Errors
/// If it cannot be made.
pub fn create_directories(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::io("creating directory", path))
}

/// Puts a file in place at once and for good: written beside, flushed, renamed, directory flushed.
///
/// # Errors
/// If any of that fails; what was there before is then untouched.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(".partial-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(FileError::io("creating a file in", directory))?;
    let written = file.write_all(bytes).and_then(|()| {
        // The mode asked for, not what the umask leaves of it.
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()
    });
    written.map_err(FileError::io("writing", path))?;
    file.persist(path).map_err(|error| FileError::io("renaming into", path)(error.error))?;
    flush_directory(directory)
}

/// Makes the names in a directory as durable as the files they name.
///
/// # Errors
/// If the directory cannot be opened or flushed.
pub fn flush_directory(directory: &Path) -> Result<(), FileError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(FileError::io("flushing", directory))
}

/// Makes everything on the file system of a path durable: one call instead of one for every file.
///
/// # Errors
/// If the path cannot be opened or its file system flushed.
pub fn flush_filesystem(path: &Path) -> Result<(), FileError> {
    let flushed = File::open(path).and_then(|file| Ok(rustix::fs::syncfs(file)?));
    flushed.map_err(FileError::io("flushing the file system of", path))
}

/// Gives a file or directory another name on the same file system.
///
/// # Errors
/// If the system refuses.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::io("renaming into", to))
}

/// Creates a file that is not there yet, to read and write it.
///
/// # Errors
/// What creating it raises.
pub fn create(path: &Path) -> Result<File, FileError> {
    let created = File::options().read(true).write(true).create_new(true).open(path);
    created.map_err(FileError::io("creating", path))
}

/// Makes a symbolic link, by rename: whoever looks finds the old one or the new one.
///
/// # Errors
/// What making or renaming it raises.
pub fn replace_link(path: &Path, target: &str) -> Result<(), FileError> {
    let io = |error| FileError::io("writing", path)(error);
    let scratch = tempfile::Builder::new().prefix(".link.").tempdir_in(parent(path)).map_err(io)?;
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(target, &link).map_err(io)?;
    rename(&link, path)
}

/// The size of a regular file; `None` if there is none.
#[must_use]
pub fn size(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// The names in a directory, sorted; those that are not text are left out.
///
/// # Errors
/// What reading it raises.
pub fn names(directory: &Path) -> Result<Vec<String>, FileError> {
    let io = |error| FileError::io("reading", directory)(error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        names.extend(entry.map_err(io)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// What is wanted at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A regular file.
    File,
    /// A directory; a link to one will do.
    Directory,
}

/// What is at a path if it is neither what is wanted nor nothing, in words.
///
/// # Errors
/// What asking raises, other than that nothing is there.
pub fn other_kind(path: &Path, wanted: Wanted) -> Result<Option<&'static str>, FileError> {
    let metadata = match wanted {
        Wanted::File => fs::symlink_metadata(path),
        Wanted::Directory => fs::metadata(path),
    };
    let metadata = match metadata {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(FileError::io("inspecting", path))?,
    };
    let kind = metadata.file_type();
    Ok(match wanted {
        Wanted::File if kind.is_file() => None,
        Wanted::Directory if kind.is_dir() => None,
        _ if kind.is_dir() => Some("directory"),
        _ if kind.is_symlink() => Some("symbolic link"),
        _ if kind.is_file() => Some("file"),
        _ => Some("device, socket or pipe"),
    })
}

/// The directory a path is in; `.` for a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes a file.
///
/// # Errors
/// What removing raises.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    std::fs::remove_file(path).map_err(FileError::io("removing", path))
}

/// Removes a directory and all below it, symbolic links as links; fine if it is not there.
///
/// # Errors
/// `Mounted` if anything is mounted at or below it: that belongs to somebody else.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(FileError::io("resolving", path)(source)),
    };
    let table = Path::new("/proc/self/mountinfo");
    let mounts = fs::read(table).map_err(FileError::io("reading", table))?;
    if let Some(mount) = mount_at_or_below(&mounts, &real) {
        return Err(FileError::Mounted { path: path.to_path_buf(), mount });
    }
    fs::remove_dir_all(path).map_err(FileError::io("removing", path))
}

/// The first mount point of `mountinfo` that is the directory or below it.
///
/// Source: proc_pid_mountinfo(5): field 5 is the mount point, with blanks and backslashes in octal.
fn mount_at_or_below(mountinfo: &[u8], directory: &Path) -> Option<PathBuf> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(std::ffi::OsStr::from_bytes(&unescape(field))))
        .find(|mount| mount.starts_with(directory))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match (first, tail.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_cap_is_refused_and_one_at_the_cap_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_capped(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_capped(&path, 4), Err(FileError::TooLarge { cap: 4, .. })));
        assert!(read_capped(&directory.path().join("g"), 5).unwrap_err().is_not_found());
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, b"old").unwrap();
        replace(&path, b"new", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_in_the_way_stays_and_the_unfinished_file_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"new", 0o644).unwrap_err();
        assert_eq!(error.to_string(), format!("renaming into `{}`", path.display()));
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_tree_goes_but_not_what_its_links_point_to() {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        fs::write(&outside, b"kept").unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read(&outside).unwrap(), b"kept");
    }

    #[test]
    fn a_tree_with_a_mount_below_is_not_removed() {
        assert!(matches!(remove_tree(Path::new("/proc")), Err(FileError::Mounted { .. })));
        let table = b"22 1 0:5 / /srv/a\\040b/proc rw - proc proc rw\n23 1 0:6 / /srv/ab rw - tmpfs t rw\n";
        let below = |directory: &str| mount_at_or_below(table, Path::new(directory));
        assert_eq!(below("/srv/a b"), Some("/srv/a b/proc".into()));
        assert_eq!(below("/srv/ab"), Some("/srv/ab".into()));
        assert_eq!(below("/srv/a"), None);
    }

    #[test]
    fn files_are_listed_by_suffix_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.list", "a.list", "c.sources", "d.list.save"] {
            fs::write(directory.path().join(name), b"").unwrap();
        }
        let names: Vec<_> = list(directory.path(), &[".list", ".sources"])
            .unwrap()
            .into_iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a.list", "b.list", "c.sources"]);
        assert_eq!(list(&directory.path().join("none"), &[""]).unwrap(), Vec::<PathBuf>::new());
    }
}
