//! The configured tree, out of the cache or new: the part of a build that takes longest and changes
//! least.

use std::path::Path;

use goni_disk::tree::FileTree;
use goni_model::arch::Arch;
use goni_model::lock::{Lock, LockedPackage};
use goni_model::name::ImagePath;
use goni_model::plan::{Plan, StageId, StageKind};
use goni_model::time::Timestamp;

use crate::beside;
use crate::build::snapshot;
use crate::failure::{Class, Classify, Failure};
use crate::host::files::lock::Lock as FileLock;
use crate::host::files::{self, FileError};
use crate::host::sandbox::Emulator;
use crate::host::scratch::Scratch;
use crate::host::walk::Directory;
use crate::progress::Progress;
use crate::project::Project;
use crate::stages::configure::{Foreign, configure};
use crate::stages::fetch::fetch_packages;
use crate::stages::unpack::{DebFile, unpack};
use crate::workshop::Workshop;

/// The largest kept tree that is read: a million entries.
const LARGEST_SNAPSHOT: u64 = 512 << 20;

impl Classify for snapshot::SnapshotError {
    fn class(&self) -> Class {
        Class::Environment
    }
}

/// A configured tree, the directory that holds its bytes, and the hold on it that keeps other builds
/// from removing it.
pub(super) struct Configured {
    pub(super) tree: FileTree,
    pub(super) directory: Directory,
    pub(super) in_use: FileLock,
}

/// The tree of a lock after its maintainer scripts have run.
///
/// One tree is kept per image and architecture. A kept tree that cannot be read is made anew.
///
/// # Errors
/// What fetching, unpacking or configuring says.
pub(super) fn configured(
    project: &Project,
    lock: &Lock,
    plan: &Plan,
    program: &str,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Configured, Failure> {
    let trees = workshop.cache().join("trees");
    files::create_directories(&trees)?;
    let kind = format!("{}_{}", plan.name, plan.arch);
    // Held until the image is written: another build of the same image waits.
    let in_use = FileLock::exclusive_when_free(&trees.join(format!("{kind}.lock")))?;
    // What the tree depends on, and the very program that made it.
    let stage =
        StageId::of(StageKind::Configure, program, "", plan.id(StageKind::Configure), plan.source_date);
    let name = format!("{kind}_{stage}");
    let kept = trees.join(&name);
    match read(&kept) {
        Ok(Some((tree, directory))) => {
            progress.end("configure", "kept from an earlier build");
            return Ok(Configured { tree, directory, in_use });
        }
        Ok(None) => {}
        Err(failure) => progress.warn(&format!("a kept tree is made anew: {failure:?}")),
    }
    for old in files::names(&trees)? {
        // The second is what a killed build left.
        if old.starts_with(&format!("{kind}_")) || old.starts_with(&format!(".{kind}.")) {
            files::remove_tree(&trees.join(old))?;
        }
    }
    let scratch = Scratch::create(&trees, &kind)?;
    let tree = make(project, lock, scratch.path(), workshop, progress)?;
    files::rename(scratch.path(), &kept)?;
    drop(scratch.keep());
    Ok(Configured { tree, directory: open(&kept)?, in_use })
}

fn open(kept: &Path) -> Result<Directory, Failure> {
    let root = kept.join("root");
    Ok(Directory::open(&root).map_err(FileError::io("reading", &root))?)
}

fn read(kept: &Path) -> Result<Option<(FileTree, Directory)>, Failure> {
    let text = match files::read_capped(&kept.join("tree.json"), LARGEST_SNAPSHOT) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((snapshot::read(&text)?, open(kept)?)))
}

fn make(
    project: &Project,
    lock: &Lock,
    scratch: &Path,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<FileTree, Failure> {
    let mirrors = beside::mirrors(project, workshop)?;
    let packages = fetch_packages(&lock.packages, workshop.sources(&mirrors, progress))?;
    workshop.interrupt().check()?;
    let overrides = lock.overrides();
    let deb = |(locked, path): (LockedPackage, _)| {
        let depends = overrides.get(locked.name.as_str()).map(|depends| (*depends).to_owned());
        DebFile { locked, path, depends }
    };
    let packages: Vec<DebFile> = packages.into_iter().map(deb).collect();
    let root = scratch.join("root");
    let unpacked = unpack(&packages, &scratch.join("blobs"), &root, progress)?;
    workshop.interrupt().check()?;
    mark(&root, &project.target.markers)?;
    let date = Timestamp::from_seconds(i64::try_from(lock.source_date).unwrap_or(i64::MAX));
    let foreign = foreign(lock.arch, workshop, progress)?;
    let runner = workshop.runner();
    let configured = configure(&root, &unpacked.tree, date, foreign.as_ref(), runner, progress)?;
    files::replace(&scratch.join("tree.json"), &snapshot::write(&configured.tree)?, 0o600)?;
    Ok(configured.tree)
}

/// Lays the files by which a vendor's maintainer scripts know that this is no running board.
fn mark(root: &Path, markers: &[ImagePath]) -> Result<(), FileError> {
    let error = |source| FileError::io("marking the board in", root)(source);
    let directory = Directory::open(root).map_err(error)?;
    for marker in markers {
        let (above, _) = marker.as_str().rsplit_once('/').unwrap_or_default();
        directory.create_directories(above).map_err(error)?;
        if !directory.holds(marker.as_str()) {
            directory.create(marker.as_str(), b"", 0o644).map_err(error)?;
        }
    }
    Ok(())
}

/// How programs of this architecture run here; `None`: as they are.
fn foreign(arch: Arch, workshop: &Workshop, progress: &dyn Progress) -> Result<Option<Foreign>, Failure> {
    if of_this_machine() == Some(arch) {
        return Ok(None);
    }
    let toolbox = workshop.toolbox(progress)?;
    let emulator = match arch {
        Arch::Amd64 => "usr/bin/qemu-x86_64",
        Arch::Arm64 => "usr/bin/qemu-aarch64",
    };
    Ok(Some(Foreign { emulator: Emulator { program: toolbox.root().join(emulator), arch } }))
}

/// The architecture that this program was built for.
fn of_this_machine() -> Option<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Arch::Amd64),
        "aarch64" => Some(Arch::Arm64),
        _ => None,
    }
}
