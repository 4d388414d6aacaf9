//! Kernel modules from elsewhere: what they are made of, gathered and digested; the tree they are built in,
//! and what was built, kept from build to build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use goni_debian::kernel::{Kernel, KernelError};
use goni_disk::tree::{Content, FileTree, Kind, Owner, TreePath};
use goni_model::digest::Sha256Digest;
use goni_model::lock::{Lock, LockedPackage};
use goni_model::name::ProjectPath;
use goni_model::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::build::cache::{deb_files, foreign};
use crate::build::plan::Input;
use crate::failure::{Class, Classify, Failure};
use crate::host::files::lock::Lock as FileLock;
use crate::host::files::{self, FileError};
use crate::host::mirror::Mirrors;
use crate::host::scratch::Scratch;
use crate::host::walk::{Directory, WalkError};
use crate::progress::Progress;
use crate::project::Project;
use crate::stages::configure::{Foreign, configure};
use crate::stages::fetch::fetch_packages;
use crate::stages::modules::{self, Folder, LARGEST, Module, Order, Origin, Patch, RECORD, Record, place};
use crate::stages::unpack::{Laid, Part, unpack};
use crate::workshop::Workshop;

/// Changes where the way of building changes what is built.
const FORM: &str = "2";

/// The largest patch.
const LARGEST_PATCH: u64 = 16 << 20;

/// The largest file with a key: a few kilobytes.
const LARGEST_KEY: u64 = 1 << 20;

/// The date of everything in the tree with the compiler; none of it gets into an image.
const DATE: Timestamp = Timestamp::from_seconds(0);

/// Everything that modules are made of, beside the packages of the lock.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The release of the kernel; empty where nothing is asked for.
    release: String,
    files: Vec<Module>,
    folders: Vec<Folder>,
    patches: BTreeMap<String, Vec<Patch>>,
    /// The key's file, and the digest of the certificate in it.
    key: Option<(PathBuf, Sha256Digest)>,
}

/// What modules cannot be made of.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("kernel modules are asked for, but it is not clear for which kernel")]
    Kernel(#[from] KernelError),
    #[error("reading the folder `{path}` of `kernel.module-sources`")]
    Walk { path: String, source: WalkError },
    #[error("`kernel.module-key`: `{path}` has no {lacks}")]
    Key { path: String, lacks: &'static str },
    #[error("`hardening` lets only signed modules in, and `{path}` of `kernel.extra-modules` is not signed")]
    Unsigned { path: String },
    #[error("a list of modules in the cache")]
    Record(#[from] serde_json::Error),
}

impl Classify for SourceError {
    fn class(&self) -> Class {
        match self {
            Self::Kernel(_) | Self::Key { .. } => Class::Recipe,
            Self::Walk { source, .. } => source.class(),
            Self::Unsigned { .. } => Class::Content,
            Self::Record(_) => Class::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Kernel(_) => Some("`kernel.package` of the target must be a kernel of Debian's".to_owned()),
            Self::Key { .. } => {
                Some("the file holds both, in PEM, without a password: see recipes/README.md".to_owned())
            }
            _ => None,
        }
    }
}

/// Reads and digests what a project's modules are made of.
///
/// # Errors
/// What is not there or not what it must be; a module for another kernel.
pub(super) fn gather(project: &Project, lock: &Lock) -> Result<Sources, Failure> {
    let asked = project.extra_modules();
    if asked.is_empty() {
        return Ok(Sources::default());
    }
    let kernel = Kernel::of(&lock.packages).map_err(SourceError::from)?;
    let mut sources = Sources { release: kernel.release.to_owned(), ..Sources::default() };
    for path in &asked.files {
        let bytes = files::read_capped(&project.file(path), LARGEST)?;
        let from = Origin::File { path: path.to_string() };
        let name = path.as_str().rsplit('/').next().unwrap_or_default();
        let name = name.strip_suffix(".ko").unwrap_or(name);
        let module = modules::module(name, from, bytes, &sources.release, project.target.arch)?;
        if project.recipe.hardening.only_signed_modules() && !module.recorded.signed {
            return Err(SourceError::Unsigned { path: path.to_string() }.into());
        }
        sources.files.push(module);
    }
    for path in &asked.sources {
        let (name, path) = (path.to_string(), project.file(path));
        let sha256 = digest(&name, &path)?;
        sources.folders.push(Folder { name, path, sha256 });
    }
    for (package, paths) in &asked.patches {
        let patch = |path: &ProjectPath| -> Result<Patch, FileError> {
            let bytes = files::read_capped(&project.file(path), LARGEST_PATCH)?;
            Ok(Patch { name: path.to_string(), sha256: Sha256Digest::of(&bytes), bytes })
        };
        let patches = paths.iter().map(patch).collect::<Result<_, _>>()?;
        sources.patches.insert(package.to_string(), patches);
    }
    if let Some(path) = &project.recipe.kernel.module_key {
        let file = project.file(path);
        let text = files::read_text(&file, LARGEST_KEY)?;
        let certificate =
            certificate(&text).map_err(|lacks| SourceError::Key { path: path.to_string(), lacks })?;
        sources.key = Some((file, certificate));
    }
    Ok(sources)
}

/// The digest of the certificate beside a private key. The key itself is not even digested.
fn certificate(text: &str) -> Result<Sha256Digest, &'static str> {
    let private = |kind: &str| text.contains(&format!("-----BEGIN {kind}PRIVATE KEY-----"));
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("private key without a password");
    }
    if !private("") && !private("RSA ") {
        return Err("private key");
    }
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").ok_or("certificate")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").ok_or("certificate")?;
    let body: String = body.split_whitespace().collect();
    Ok(Sha256Digest::of(body.as_bytes()))
}

/// Digest of everything in a folder: paths, kinds, bytes, and what may be run.
pub(crate) fn digest(name: &str, path: &Path) -> Result<Sha256Digest, Failure> {
    let directory = Directory::open(path).map_err(FileError::io("reading", path))?;
    let owner = |_: &_, _: &_| Owner::Stage(modules::NAME.into());
    let walked =
        directory.walk(&owner).map_err(|source| SourceError::Walk { path: name.to_owned(), source })?;
    let mut hasher = Sha256::new_with_prefix("goni-compose module source\n");
    let mut part = |bytes: &[u8]| {
        hasher.update(goni_model::number::to_u64(bytes.len()).to_le_bytes());
        hasher.update(bytes);
    };
    for (path, entry) in walked.iter() {
        let inode = walked.inode(entry.inode);
        part(path.as_bytes());
        part(&(inode.kind.type_bits() | (inode.metadata.mode & 0o100)).to_le_bytes());
        match &inode.kind {
            Kind::File(content) => part(&read(content, &directory)?),
            Kind::Symlink(target) => part(target),
            _ => part(b""),
        }
    }
    Ok(Sha256Digest::finish(hasher))
}

fn read(content: &Content, directory: &Directory) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = content.open(directory).and_then(|mut reader| reader.read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(FileError::io("reading", directory.path()))
}

impl Sources {
    /// What a plan needs to know of them.
    pub(super) fn listed(&self) -> Vec<Input> {
        let files = self.files.iter().map(|module| Input {
            kind: "module",
            name: module.recorded.from.to_string(),
            sha256: module.recorded.sha256,
        });
        let folders = self.folders.iter().map(|folder| Input {
            kind: "module-source",
            name: folder.name.clone(),
            sha256: folder.sha256,
        });
        let key = self.key.iter().map(|(path, certificate)| Input {
            kind: "module-certificate",
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: *certificate,
        });
        let patches = self.patches.iter().flat_map(|(package, patches)| {
            patches.iter().map(move |patch| Input {
                kind: "module-patch",
                name: format!("{package}: {}", patch.name),
                sha256: patch.sha256,
            })
        });
        files.chain(folders).chain(patches).chain(key).collect()
    }

    /// The files that an image has of them, with the list of what they are; modules are built as needed.
    ///
    /// # Errors
    /// Modules that cannot be built.
    pub(super) fn laid(
        &self,
        lock: &Lock,
        mirrors: &Mirrors,
        workshop: &Workshop,
        progress: &dyn Progress,
    ) -> Result<Vec<Laid>, Failure> {
        let mut modules = self.files.clone();
        if lock.request.build {
            modules.extend(self.built(lock, mirrors, workshop, progress)?);
        }
        if modules.is_empty() {
            return Ok(Vec::new());
        }
        modules::check_names(&modules)?;
        modules.sort_by(|a, b| a.recorded.name.cmp(&b.recorded.name));
        let record = Record {
            kernel: self.release.clone(),
            modules: modules.iter().map(|module| module.recorded.clone()).collect(),
        };
        let text = serde_json::to_string_pretty(&record).map_err(SourceError::from)? + "\n";
        let path = |text: &str| TreePath::parse(text.as_bytes()).expect("made of names without a slash");
        let lay = |module: Module| Laid {
            path: path(&place(&self.release, &module.recorded)),
            bytes: module.bytes,
        };
        let mut laid: Vec<Laid> = modules.into_iter().map(lay).collect();
        laid.push(Laid { path: path(RECORD), bytes: text.into_bytes() });
        Ok(laid)
    }

    /// What is built, or was: known by all it is built with and from.
    fn built(
        &self,
        lock: &Lock,
        mirrors: &Mirrors,
        workshop: &Workshop,
        progress: &dyn Progress,
    ) -> Result<Vec<Module>, Failure> {
        let folder = workshop.cache().join("modules");
        files::create_directories(&folder)?;
        let _held = FileLock::exclusive_when_free(&folder.join("lock"))?;
        let kept = folder.join(self.key_of(lock).to_string());
        match kept_modules(&kept) {
            Ok(Some(modules)) => {
                progress.end(modules::NAME, &format!("{} kept from an earlier build", modules.len()));
                return Ok(modules);
            }
            Ok(None) => {}
            Err(failure) => {
                progress.warn(&format!("kept modules are built anew: {failure:?}"));
                files::remove_tree(&kept)?;
            }
        }
        let tree = build_tree(lock, &folder, mirrors, workshop, progress)?;
        let emulator = foreign(lock.arch, workshop, progress)?;
        let from_dkms = |package: &&LockedPackage| lock.request.dkms.contains(&package.name);
        let order = Order {
            tree: &tree,
            release: &self.release,
            arch: lock.arch,
            emulator: emulator.as_ref(),
            dkms: lock.build.iter().filter(from_dkms).collect(),
            sources: self.folders.clone(),
            patches: &self.patches,
            key: self.key.as_ref().map(|(path, _)| path.as_path()),
        };
        // What a killed build left; nobody else is here.
        for old in files::names(&folder)?
            .iter()
            .filter(|name| name.starts_with(".work.") || name.starts_with(".built."))
        {
            files::remove_tree(&folder.join(old))?;
        }
        let (scratch, result) = (Scratch::create(&folder, "work")?, Scratch::create(&folder, "built")?);
        let log = folder.join("last.log");
        let modules = modules::build(&order, scratch.path(), &log, workshop.runner(), progress)?;
        for module in &modules {
            files::replace(
                &result.path().join(format!("{}.ko", module.recorded.name)),
                &module.bytes,
                0o644,
            )?;
        }
        files::rename(&log, &result.path().join("build.log"))?;
        let recorded: Vec<_> = modules.iter().map(|module| &module.recorded).collect();
        let record = serde_json::to_vec(&recorded).map_err(SourceError::from)?;
        files::replace(&result.path().join("modules.json"), &record, 0o644)?;
        files::rename(result.path(), &kept)?;
        drop(result.keep());
        Ok(modules)
    }

    /// Digest of everything that the modules built depend on: sources, kernel, compiler, key.
    fn key_of(&self, lock: &Lock) -> Sha256Digest {
        let mut hasher = Sha256::new_with_prefix("goni-compose modules\n");
        let inputs = self.listed().into_iter().filter(|input| input.kind != "module");
        let inputs = inputs.map(|input| format!("{} {} {}", input.kind, input.name, input.sha256));
        let parts = [FORM.to_owned(), lock.arch.to_string(), self.release.clone(), set(lock).to_string()];
        let dkms = lock.request.dkms.iter().map(|package| format!("dkms {package}"));
        for part in parts.into_iter().chain(dkms).chain(inputs) {
            hasher.update(goni_model::number::to_u64(part.len()).to_le_bytes());
            hasher.update(part);
        }
        Sha256Digest::finish(hasher)
    }
}

/// Digest of the packages that modules are built with.
fn set(lock: &Lock) -> Sha256Digest {
    let lines: String =
        lock.build.iter().map(|package| format!("{} {}\n", package.name, package.sha256)).collect();
    Sha256Digest::of(lines.as_bytes())
}

/// What an earlier build left, if it did.
fn kept_modules(kept: &Path) -> Result<Option<Vec<Module>>, Failure> {
    let text = match files::read_capped(&kept.join("modules.json"), LARGEST) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let recorded: Vec<modules::Recorded> = serde_json::from_slice(&text).map_err(SourceError::from)?;
    let mut found = Vec::new();
    for recorded in recorded {
        let path = kept.join(format!("{}.ko", recorded.name));
        let bytes = files::read_capped(&path, LARGEST)?;
        if Sha256Digest::of(&bytes) != recorded.sha256 {
            return Err(FileError::io("reading", &path)(std::io::Error::other(
                "other bytes than were written",
            ))
            .into());
        }
        found.push(Module { recorded, bytes });
    }
    Ok(Some(found))
}

/// The root of a tree with the packages that modules are built with, configured. One is kept for each
/// architecture: the compiler and the kernel's headers are the same for most recipes.
fn build_tree(
    lock: &Lock,
    folder: &Path,
    mirrors: &Mirrors,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<PathBuf, Failure> {
    let kind = format!("tree_{}", lock.arch);
    let kept = folder.join(format!("{kind}_{}", set(lock)));
    if files::names(folder)?.iter().any(|name| kept.ends_with(name)) {
        return Ok(kept.join("root"));
    }
    for old in files::names(folder)?.iter().filter(|name| name.trim_start_matches('.').starts_with(&kind)) {
        files::remove_tree(&folder.join(old))?;
    }
    let scratch = Scratch::create(folder, &kind)?;
    let packages = fetch_packages(&lock.build, workshop.sources(mirrors, progress))?;
    workshop.interrupt().check()?;
    let root = scratch.path().join("root");
    let unpacked = unpack(
        &deb_files(lock, &packages),
        Part::WHOLE,
        &[],
        &scratch.path().join("blobs"),
        &root,
        progress,
    )?;
    workshop.interrupt().check()?;
    let foreign = foreign(lock.arch, workshop, progress)?;
    let foreign = foreign.map(|emulator| Foreign { emulator, twins: None });
    configure(&root, &unpacked.tree, DATE, foreign.as_ref(), workshop.runner(), progress)?;
    files::flush_filesystem(scratch.path())?;
    files::rename(scratch.path(), &kept)?;
    drop(scratch.keep());
    Ok(kept.join("root"))
}

/// The list of modules that were added to a tree's kernel, if there is one.
pub(super) fn record(tree: &FileTree, contents: &dyn goni_disk::tree::ContentSource) -> Option<Record> {
    let path = TreePath::parse(RECORD.as_bytes()).ok()?;
    let Kind::File(content) = &tree.get(&path)?.kind else { return None };
    let mut bytes = Vec::new();
    content.open(contents).ok()?.read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
