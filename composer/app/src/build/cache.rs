//! The configured tree, out of the cache or new: the part of a build that takes longest and changes
//! least.

use std::path::{Path, PathBuf};

use goni_disk::tree::FileTree;
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::{Lock, LockedPackage};
use goni_model::name::ImagePath;
use goni_model::plan::{Plan, StageId, StageKind};
use goni_model::time::Timestamp;

use crate::beside;
use crate::build::modules::Sources;
use crate::build::snapshot;
use crate::failure::{Class, Classify, Failure};
use crate::host::environment;
use crate::host::files::lock::Lock as FileLock;
use crate::host::files::{self, FileError};
use crate::host::sandbox::Emulator;
use crate::host::scratch::Scratch;
use crate::host::walk::Directory;
use crate::lock::gone;
use crate::progress::Progress;
use crate::project::Project;
use crate::stages::configure::{Foreign, configure};
use crate::stages::fetch::fetch_packages;
use crate::stages::twins::Twins;
use crate::stages::unpack::{DebFile, Laid, Part, unpack};
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

/// What a configured tree is made of.
pub(super) struct Ingredients<'a> {
    /// Its packages.
    pub(super) lock: &'a Lock,
    /// The twins that this machine uses; see [`twins`].
    pub(super) twins: &'a [LockedPackage],
    /// Kernel modules from elsewhere.
    pub(super) modules: &'a Sources,
}

/// The twins of a lock that this machine uses: none for an image of its own architecture, or if it shall not.
pub(super) fn twins(lock: &Lock, emulate: bool) -> &[LockedPackage] {
    let machine = environment::arch_of_this_machine().map(Arch::debian);
    match lock.twins.iter().all(|twin| Some(twin.arch.as_str()) == machine) && !emulate {
        true => &lock.twins,
        false => &[],
    }
}

/// The tree of a lock after its maintainer scripts have run, with these twins in the place of its programs.
///
/// One tree is kept per image and architecture. A kept tree that cannot be read is made anew.
///
/// # Errors
/// What fetching, unpacking or configuring says.
pub(super) fn configured(
    project: &Project,
    sources: &Ingredients<'_>,
    plan: &Plan,
    program: &str,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Configured, Failure> {
    let trees = workshop.trees();
    files::create_directories(trees)?;
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
    for old in files::names(trees)? {
        // The second is what a killed build left.
        if is_kept(&old, &format!("{kind}_")) || old.starts_with(&format!(".{kind}.")) {
            files::remove_tree(&trees.join(old))?;
        }
    }
    let mirrors = beside::mirrors(project, workshop)?.at(sources.lock.source_date);
    let wanted: Vec<LockedPackage> = sources.lock.packages.iter().chain(sources.twins).cloned().collect();
    let fetched = fetch_packages(&wanted, workshop.sources(&mirrors, progress))
        .map_err(|error| gone::explain(project, sources.lock, error, workshop, progress))?;
    workshop.interrupt().check()?;
    let (packages, twins) = fetched.split_at(sources.lock.packages.len());
    let scratch = Scratch::create(trees, &kind)?;
    let foreign = foreign(sources.lock.arch, workshop, progress)?;
    let foreign = match foreign {
        Some(emulator) => {
            let twins = kept_twins(trees, &kind, twins, program, progress)?;
            Some(Foreign { emulator, twins: twins.map(|twins| (twins, scratch.path().join("covers"))) })
        }
        None => None,
    };
    let modules = sources.modules.laid(sources.lock, &mirrors, workshop, progress)?;
    workshop.interrupt().check()?;
    let packages = deb_files(sources.lock, packages);
    let parts = (&packages[..], &modules[..], &project.target.markers[..]);
    let tree = make(sources.lock, parts, foreign.as_ref(), scratch.path(), workshop, progress)?;
    files::remove_tree(&scratch.path().join("covers"))?;
    files::flush_filesystem(scratch.path())?;
    files::rename(scratch.path(), &kept)?;
    drop(scratch.keep());
    Ok(Configured { tree, directory: open(&kept)?, in_use })
}

/// Whether a name is that of a kept tree: this prefix and an identifier. Names of recipes hold `_` as well.
fn is_kept(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|id| id.parse::<Sha256Digest>().is_ok())
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
    lock: &Lock,
    (packages, modules, markers): (&[DebFile], &[Laid], &[ImagePath]),
    foreign: Option<&Foreign>,
    scratch: &Path,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<FileTree, Failure> {
    let root = scratch.join("root");
    let unpacked = unpack(packages, Part::WHOLE, modules, &scratch.join("blobs"), &root, progress)?;
    workshop.interrupt().check()?;
    mark(&root, markers)?;
    let date = Timestamp::from_seconds(i64::try_from(lock.source_date).unwrap_or(i64::MAX));
    let runner = workshop.runner();
    let configured = configure(&root, &unpacked.tree, date, foreign, runner, progress)?;
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

/// Fetched packages, as they are unpacked.
pub(super) fn deb_files(lock: &Lock, packages: &[(LockedPackage, PathBuf)]) -> Vec<DebFile> {
    let overrides = lock.overrides();
    let depends = |name: &str| overrides.get(name).map(|depends| (*depends).to_owned());
    packages
        .iter()
        .map(|(locked, path)| DebFile { depends: depends(&locked.name), ..deb(locked, path) })
        .collect()
}

fn deb(locked: &LockedPackage, path: &Path) -> DebFile {
    DebFile { locked: locked.clone(), path: path.to_owned(), depends: None }
}

/// The tree of twins, out of the cache or new; `None` where there are no twins. As with configured trees,
/// one is kept per image and architecture, and whoever holds that holds this.
fn kept_twins(
    trees: &Path,
    kind: &str,
    packages: &[(LockedPackage, PathBuf)],
    program: &str,
    progress: &dyn Progress,
) -> Result<Option<Twins>, Failure> {
    let Some(arch) = packages.first().and_then(|(twin, _)| twin.arch.parse::<Arch>().ok()) else {
        return Ok(None);
    };
    let digests: String = packages.iter().map(|(twin, _)| format!("{}\n", twin.sha256)).collect();
    let prefix = format!("twins_{kind}_");
    let name = format!("{prefix}{}", Sha256Digest::of(format!("{program}\n{digests}").as_bytes()));
    match Twins::open(&trees.join(&name), arch) {
        Ok(Some(twins)) => {
            progress.end("twins", "kept from an earlier build");
            return Ok(Some(twins));
        }
        Ok(None) => {}
        Err(error) => progress.warn(&format!("a tree of twins is made anew: {error}")),
    }
    for old in files::names(trees)?.iter().filter(|old| is_kept(old, &prefix)) {
        files::remove_tree(&trees.join(old))?;
    }
    let packages: Vec<DebFile> = packages.iter().map(|(locked, path)| deb(locked, path)).collect();
    let scratch = Scratch::create(trees, kind)?;
    Twins::make(&packages, arch, scratch.path(), progress)?;
    let kept = trees.join(name);
    files::flush_filesystem(scratch.path())?;
    files::rename(scratch.path(), &kept)?;
    drop(scratch.keep());
    Ok(Twins::open(&kept, arch)?)
}

/// What runs programs of this architecture here; `None`: the processor.
pub(super) fn foreign(
    arch: Arch,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Option<Emulator>, Failure> {
    if environment::arch_of_this_machine() == Some(arch) {
        return Ok(None);
    }
    let toolbox = workshop.toolbox(progress)?;
    let emulator = match arch {
        Arch::Amd64 => "usr/bin/qemu-x86_64",
        Arch::Arm64 => "usr/bin/qemu-aarch64",
    };
    Ok(Some(Emulator { program: toolbox.root().join(emulator), arch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_tree_is_not_that_of_an_image_whose_name_goes_on() {
        let id = Sha256Digest::of(b"");
        assert!(is_kept(&format!("goni_amd64_{id}"), "goni_amd64_"));
        assert!(!is_kept(&format!("goni_amd64_amd64_{id}"), "goni_amd64_"));
        assert!(!is_kept("goni_amd64_amd64.lock", "goni_amd64_"));
    }
}
