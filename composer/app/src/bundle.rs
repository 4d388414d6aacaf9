//! All bytes of a lock, gathered into the store: what an export holds, and what is kept when the store is
//! cleared.
//!
//! Packages, declared payloads and tools are needed to build; signed files, indexes and keys to prove the lock
//! again, as far as they are at hand.

use std::collections::BTreeSet;
use std::path::Path;

use goni_debian::release::Release;
use goni_debian::signature::{self, certificates};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::{InputKind, Lock, LockedPackage, SignedFile};
use goni_model::number::to_u64;
use goni_model::recipe::PayloadSource;

use crate::beside;
use crate::build::inputs::download;
use crate::failure::{Class, Classify, Failure};
use crate::host::fetch::{Request, Size};
use crate::host::files;
use crate::host::mirror::Mirrors;
use crate::host::project::ProjectFiles;
use crate::host::store::Store;
use crate::host::store::bundle::{Item, Kind, Manifest, listed};
use crate::host::toolbox;
use crate::lock::{gone, read_alone, satisfied_lock};
use crate::progress::Progress;
use crate::project::{self, Project};
use crate::resolve;
use crate::stages::fetch::fetch_packages;
use crate::workshop::Workshop;

/// What cannot be gathered.
#[derive(Debug, thiserror::Error)]
enum GatherError {
    #[error("payload `{name}` is not in the store, and only its recipe says where it is")]
    Payload { name: String },
    #[error("the export lacks `{name}`, which its lock names")]
    Incomplete { name: String },
    #[error("the export's lock cannot be read")]
    Lock(#[from] goni_model::lock::ParseLockError),
}

impl Classify for GatherError {
    fn class(&self) -> Class {
        match self {
            Self::Payload { .. } => Class::Environment,
            Self::Incomplete { .. } | Self::Lock(_) => Class::Trust,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Payload { .. } => Some("name the recipe instead of its lock".to_owned()),
            Self::Incomplete { .. } | Self::Lock(_) => Some("nothing was imported".to_owned()),
        }
    }
}

/// A lock, and the project around it where its recipe was named.
#[derive(Debug)]
pub struct Subject {
    /// The lock.
    pub lock: Lock,
    /// The project.
    pub project: Option<Project>,
}

impl Subject {
    /// Reads a recipe and its lock, or a lock alone: a file `….lock`.
    ///
    /// # Errors
    /// A recipe whose lock is stale; a lock that cannot be read.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        if path.extension().is_some_and(|ending| ending == "lock") {
            return Ok(Self { lock: read_alone(path)?, project: None });
        }
        let project = project::load(&ProjectFiles, path)?;
        Ok(Self { lock: satisfied_lock(&project)?, project: Some(project) })
    }

    /// Brings every byte of the lock into the store, and lists it. Tools are left out if they shall be.
    ///
    /// # Errors
    /// What is needed to build and cannot be had. What only proves the lock again is warned of.
    pub fn gather(
        &self,
        tools: bool,
        workshop: &Workshop,
        progress: &dyn Progress,
    ) -> Result<Manifest, Failure> {
        let lock = &self.lock;
        let store = workshop.store();
        let mirrors = match &self.project {
            Some(project) => beside::mirrors(project, workshop)?,
            None => workshop.mirrors()?,
        };
        let mirrors = mirrors.at(lock.source_date);
        let text = lock.to_string();
        let (sha256, _) = store.insert(text.as_bytes())?;
        let mut files = vec![item(Kind::Lock, format!("{}.lock", lock.recipe), to_u64(text.len()), sha256)];
        let all: Vec<LockedPackage> =
            lock.packages.iter().chain(&lock.build).chain(&lock.twins).cloned().collect();
        let fetched = fetch_packages(&all, workshop.sources(&mirrors, progress));
        fetched.map_err(|error| match &self.project {
            Some(project) => gone::explain(project, lock, error, workshop, progress),
            None => error.into(),
        })?;
        files.extend(all.iter().map(|package| of_package(Kind::Package, package)));
        if tools {
            let tools = toolbox::lock()?;
            let mirrors = mirrors.clone().at(tools.source_date);
            fetch_packages(&tools.packages, workshop.sources(&mirrors, progress))?;
            files.extend(tools.packages.iter().map(|package| of_package(Kind::Tool, package)));
        }
        files.extend(self.payloads(workshop, progress)?);
        files.extend(self.keys(workshop, progress)?);
        for signed in &lock.signed {
            files.extend(self.proof(signed, &mirrors, workshop, progress)?);
        }
        Ok(Manifest::new(&lock.recipe, lock.arch.debian(), sha256, files))
    }

    fn payloads(&self, workshop: &Workshop, progress: &dyn Progress) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::new();
        for input in self.lock.inputs.iter().filter(|input| input.kind == InputKind::Payload) {
            let payloads = self.project.iter().flat_map(|project| &project.recipe.payloads);
            let source = payloads.into_iter().find(|(name, _)| name.as_str() == input.name);
            let path = match source.map(|(_, payload)| &payload.source) {
                Some(PayloadSource::Url { url, sha256 }) => {
                    download(url.as_str(), sha256, workshop, progress)?
                }
                _ => workshop
                    .store()
                    .lookup(&input.sha256, progress)?
                    .ok_or_else(|| GatherError::Payload { name: input.name.clone() })?,
            };
            let size = files::size(&path).unwrap_or_default();
            items.push(item(Kind::Payload, input.name.clone(), size, input.sha256));
        }
        Ok(items)
    }

    /// Keys, as far as they are at hand: builds do not need them.
    fn keys(&self, workshop: &Workshop, progress: &dyn Progress) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::new();
        let mut keep = |name: String, bytes: &[u8]| -> Result<(), Failure> {
            let (sha256, _) = workshop.store().insert(bytes)?;
            items.push(item(Kind::Key, name, to_u64(bytes.len()), sha256));
            Ok(())
        };
        for (archive, fingerprint, bytes) in certificates() {
            keep(format!("{archive} {fingerprint}"), bytes)?;
        }
        for archive in self.project.iter().flat_map(|project| &project.recipe.archives) {
            let project = self.project.as_ref().expect("its archives");
            let Ok(bytes) = beside::key_file(project, archive, workshop) else {
                let name = &archive.name;
                progress
                    .warn(&format!("the key of `{name}` cannot be had any more: the export does without it"));
                continue;
            };
            keep(format!("{} {}", archive.name, archive.key.fingerprint), &bytes)?;
        }
        Ok(items)
    }

    /// A signed file, and the indexes that it names, as far as they can be had.
    fn proof(
        &self,
        signed: &SignedFile,
        mirrors: &Mirrors,
        workshop: &Workshop,
        progress: &dyn Progress,
    ) -> Result<Vec<Item>, Failure> {
        let store = workshop.store();
        let name = format!("{} {} {}", signed.archive, signed.suite, signed.file);
        let path = match store.lookup(&signed.sha256, progress)? {
            Some(path) => path,
            None => match fetch_signed(signed, mirrors, workshop) {
                Some(path) => path,
                None => {
                    progress.warn(&format!("`{name}` cannot be had any more: the export does without it"));
                    return Ok(Vec::new());
                }
            },
        };
        let bytes = files::read_capped(&path, to_u64(signature::MAX_SIZE))?;
        let mut items = vec![item(Kind::Signed, name, to_u64(bytes.len()), signed.sha256)];
        if signed.file == "InRelease" {
            items.extend(self.indexes(signed, &bytes, workshop, progress)?);
        }
        Ok(items)
    }

    fn indexes(
        &self,
        signed: &SignedFile,
        bytes: &[u8],
        workshop: &Workshop,
        progress: &dyn Progress,
    ) -> Result<Vec<Item>, Failure> {
        let beside = match &self.project {
            // A key that cannot be had proves nothing.
            Some(project) => beside::gather(project, workshop).unwrap_or_default(),
            None => beside::Beside::default(),
        };
        // Of a vendor whose recipe was not named, nobody here knows the keys.
        let Ok(keys) = resolve::keys(&signed.archive, &beside) else { return Ok(Vec::new()) };
        let verified = signature::verify(bytes, &keys, workshop.clock().now());
        let Some(release) = verified.ok().and_then(|verified| Release::parse(&verified).ok()) else {
            progress.warn(&format!("the signature of `{}` is too old to be verified", signed.suite));
            return Ok(Vec::new());
        };
        let twins: Option<Arch> = self.lock.twins.first().and_then(|twin| twin.arch.parse().ok());
        let asked = self.lock.request.archives.iter().filter(|archive| archive.name == signed.archive);
        let mut items = Vec::new();
        for component in asked.flat_map(|archive| &archive.components) {
            for arch in [Some(self.lock.arch), twins].into_iter().flatten() {
                let Ok(index) = release.packages_index(component, arch) else { continue };
                let plain = index.name.trim_end_matches(index.compression.ending());
                let Some(file) = release.file(plain) else { continue };
                let name = format!("{} {} {plain}", signed.archive, signed.suite);
                if workshop.store().lookup(&file.sha256, progress)?.is_some() {
                    items.push(item(Kind::Index, name, file.size, file.sha256));
                } else {
                    progress.warn(&format!("`{name}` is not in the store: the export does without it"));
                }
            }
        }
        Ok(items)
    }
}

fn fetch_signed(signed: &SignedFile, mirrors: &Mirrors, workshop: &Workshop) -> Option<std::path::PathBuf> {
    // Archives keep only today's; whoever is told goes on without.
    let url = mirrors.url(&signed.archive, &format!("dists/{}/{}", signed.suite, signed.file)).ok()?;
    let mut incoming = workshop.store().incoming().ok()?;
    let size = Size::AtMost(to_u64(signature::MAX_SIZE));
    workshop.fetch().fetch(&Request { url, size }, &mut incoming).ok()?;
    incoming.commit_as(&signed.sha256).ok()
}

fn item(kind: Kind, name: String, size: u64, sha256: Sha256Digest) -> Item {
    Item { kind, name, size, sha256 }
}

fn of_package(kind: Kind, package: &LockedPackage) -> Item {
    let name = format!("{} {} {}", package.name, package.version, package.arch);
    item(kind, name, package.size, package.sha256)
}

/// Sees that an export has every package that its lock names.
///
/// # Errors
/// One is missing, or the lock is none.
pub fn check_complete(manifest: &Manifest, lock: &[u8]) -> Result<(), Failure> {
    let lock: Lock = String::from_utf8_lossy(lock).parse().map_err(GatherError::from)?;
    let there = listed(manifest);
    let mut named = lock.packages.iter().chain(&lock.build).chain(&lock.twins);
    match named.find(|package| !there.contains(&package.sha256)) {
        None => Ok(()),
        Some(package) => {
            Err(GatherError::Incomplete { name: format!("{}={}", package.name, package.version) }.into())
        }
    }
}

/// Every digest that a lock names, and every one that the signed files name which it was made from.
///
/// # Errors
/// A signed file of the store that cannot be read.
pub fn referenced(lock: &Lock, store: &Store) -> Result<BTreeSet<Sha256Digest>, Failure> {
    let packages = lock.packages.iter().chain(&lock.build).chain(&lock.twins).map(|package| package.sha256);
    let signed = lock.signed.iter().map(|file| file.sha256);
    let inputs = lock.inputs.iter().map(|input| input.sha256);
    let mut digests: BTreeSet<Sha256Digest> = packages.chain(signed).chain(inputs).collect();
    for file in &lock.signed {
        let path = store.path(&file.sha256);
        if files::size(&path).is_some() {
            let bytes = files::read_capped(&path, to_u64(signature::MAX_SIZE))?;
            let text = String::from_utf8_lossy(&bytes);
            digests
                .extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<Sha256Digest>().ok()));
        }
    }
    Ok(digests)
}

/// What the tools of this program are made of.
///
/// # Errors
/// The list that is compiled in is damaged.
pub fn tools() -> Result<BTreeSet<Sha256Digest>, Failure> {
    Ok(toolbox::lock()?.packages.iter().map(|package| package.sha256).collect())
}
