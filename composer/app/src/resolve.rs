//! From a recipe's wishes to a lock: signed indexes are fetched, verified and solved.

use std::collections::BTreeSet;
use std::path::Path;

use goni_debian::release::{DEFAULT_MAX_AGE, Freshness};
use goni_debian::signature::{Keyring, KeyringError};
use goni_model::arch::Arch;
use goni_model::lock::{Lock, LockRequest, ParseLockError, RequestedArchive};
use goni_model::recipe::Recipe;
use goni_model::target::Target;
use goni_model::time::Timestamp;

use crate::archive::{self, SuiteRequest};
use crate::beside::{self, Beside};
use crate::failure::{Class, Classify, Failure};
use crate::host::clock::Clock;
use crate::host::environment;
use crate::host::files;
use crate::host::mirror::DEBIAN_BACKPORTS;
use crate::progress::{Progress, Unit};
use crate::project::Project;
use crate::rules;
use crate::stages::fetch::Sources;
use crate::workshop::Workshop;

/// The name of this stage where progress is told.
const STAGE: &str = "resolve";

/// The largest lock that is read: a thousand times the usual.
const LARGEST_LOCK: u64 = 64 << 20;

/// Why an archive has no keys.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("reading the keys of Debian")]
    Embedded(#[from] KeyringError),
    #[error("nobody gave a key of archive `{0}`")]
    Unknown(String),
}

impl Classify for KeysError {
    fn class(&self) -> Class {
        Class::Bug
    }
}

/// Why a lock cannot be built from.
#[derive(Debug, thiserror::Error)]
enum StaleLock {
    #[error("the lock `{path}` no longer satisfies the recipe: {}", keys.join("; "))]
    Keys { path: String, recipe: String, keys: Vec<String> },
    #[error("the lock `{path}` is of recipe `{of}` for {arch}")]
    Other { path: String, recipe: String, of: String, arch: String },
    #[error("reading the lock `{path}`")]
    Unreadable { path: String, recipe: String, source: ParseLockError },
    #[error("`{recipe}` has no lock `{path}`")]
    Absent { path: String, recipe: String },
}

impl Classify for StaleLock {
    fn class(&self) -> Class {
        match self {
            Self::Unreadable { .. } => Class::Trust,
            _ => Class::Recipe,
        }
    }

    fn hint(&self) -> Option<String> {
        let (Self::Keys { recipe, .. }
        | Self::Other { recipe, .. }
        | Self::Unreadable { recipe, .. }
        | Self::Absent { recipe, .. }) = self;
        Some(format!("goni-compose lock {recipe}"))
    }
}

/// What a project asks of its archives: the recipe's wishes with those of its target and overlays.
///
/// # Errors
/// A vendor's archive for another architecture; loose packages that are not there.
pub fn request(project: &Project) -> Result<LockRequest, Failure> {
    let (recipe, target) = (&project.recipe, &project.target);
    let overlays = project.overlays.iter().chain(project.stand_ins.values().flatten());
    let overlays = overlays.flat_map(|loaded| &loaded.overlay.packages);
    let packages: BTreeSet<&str> = recipe
        .debian
        .packages
        .iter()
        .chain(&target.packages)
        .chain(&target.firmware)
        .chain([&target.kernel])
        .chain(overlays)
        .map(|name| name.as_str())
        .collect();
    let names = |names: &[goni_model::name::PackageName]| names.iter().map(ToString::to_string).collect();
    let mut archives = debian(recipe, target);
    archives.extend(beside::requested(project)?);
    let modules = project.extra_modules();
    let mut request = LockRequest {
        dkms: names(&modules.dkms),
        build: modules.needs_building(),
        packages: packages.into_iter().map(str::to_owned).collect(),
        exclude: names(&recipe.debian.exclude),
        provided: names(&recipe.debian.provided),
        recommends: recipe.debian.recommends,
        local: beside::local(project)?,
        archives,
    };
    request.sort();
    Ok(request)
}

/// What a shadow boot asks of Debian's archives: the kernel of the target that stands in, and what boots it.
fn shadow_request(project: &Project, shadow: &Target) -> LockRequest {
    let packages = shadow.packages.iter().chain([&shadow.kernel]);
    let mut request = LockRequest {
        packages: packages.map(ToString::to_string).collect(),
        provided: project.recipe.debian.provided.iter().map(ToString::to_string).collect(),
        archives: debian(&project.recipe, shadow),
        ..LockRequest::default()
    };
    request.sort();
    request
}

/// What a recipe for a target asks of Debian's archives.
fn debian(recipe: &Recipe, target: &Target) -> Vec<RequestedArchive> {
    let components: Vec<String> = recipe.debian.components.iter().map(ToString::to_string).collect();
    let mut archives: Vec<RequestedArchive> = Vec::new();
    for (archive, suite) in recipe.debian.suite.suites() {
        match archives.iter_mut().find(|requested| requested.name == archive) {
            Some(requested) => requested.suites.push(suite.to_owned()),
            None => archives.push(RequestedArchive {
                name: archive.to_owned(),
                suites: vec![suite.to_owned()],
                components: components.clone(),
                ..RequestedArchive::default()
            }),
        }
    }
    if !target.backports.is_empty() {
        archives.push(RequestedArchive {
            name: DEBIAN_BACKPORTS.to_owned(),
            suites: vec![recipe.debian.suite.backports().to_owned()],
            components: components.clone(),
            allow: target.backports.iter().map(ToString::to_string).collect(),
            ..RequestedArchive::default()
        });
    }
    archives
}

/// The keys that an archive's suites must be signed with.
fn keys(archive: &str, beside: &Beside) -> Result<Keyring, KeysError> {
    match archive {
        "debian" | DEBIAN_BACKPORTS => Ok(Keyring::debian()?),
        "debian-security" => Ok(Keyring::debian_security()?),
        vendor => beside.keys.get(vendor).cloned().ok_or_else(|| KeysError::Unknown(vendor.to_owned())),
    }
}

/// Resolves a project against its archives as they are now. A lock that is there already sets the
/// dates below which an archive is rolled back.
///
/// # Errors
/// An archive that cannot be had or trusted; wishes that no set of packages satisfies; packages that are
/// known not to fit together.
pub fn resolve(
    project: &Project,
    previous: Option<&Lock>,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Lock, Failure> {
    let (name, arch) = (project.recipe.name.as_str(), project.target.arch);
    let request = request(project)?;
    let mirrors = beside::mirrors(project, workshop)?;
    let sources = workshop.sources(&mirrors, progress);
    let beside = beside::gather(project, workshop)?;
    // The other architecture, where this machine is of it.
    let twins = environment::arch_of_this_machine().filter(|machine| *machine != arch);
    let lock = resolve_with(name, (arch, twins), request, &beside, previous, sources, workshop.clock())?;
    rules::judge(project, &lock)?;
    Ok(lock)
}

/// Resolves a request of Debian's archives alone, with twins for machines of the second architecture;
/// see [`resolve`].
///
/// # Errors
/// As there.
pub fn resolve_request(
    name: &str,
    arches: (Arch, Option<Arch>),
    request: LockRequest,
    previous: Option<&Lock>,
    sources: Sources<'_>,
    clock: &dyn Clock,
) -> Result<Lock, Failure> {
    resolve_with(name, arches, request, &Beside::default(), previous, sources, clock)
}

/// Resolves for an architecture, and finds the twins of another.
fn resolve_with(
    name: &str,
    (arch, twins): (Arch, Option<Arch>),
    request: LockRequest,
    beside: &Beside,
    previous: Option<&Lock>,
    sources: Sources<'_>,
    clock: &dyn Clock,
) -> Result<Lock, Failure> {
    sources.progress.begin(STAGE, None, Unit::Packages);
    let mut suites = Vec::new();
    for archive in &request.archives {
        let keys = keys(&archive.name, beside)?;
        for suite in &archive.suites {
            let known = previous.and_then(|lock| lock.minimum_date(&archive.name, suite));
            let not_before = known.and_then(|date| i64::try_from(date).ok()).map(Timestamp::from_seconds);
            suites.push(SuiteRequest {
                archive: archive.name.clone(),
                suite: suite.clone(),
                components: archive.components.clone(),
                keys: keys.clone(),
                freshness: Freshness {
                    not_before,
                    max_age: beside.max_ages.get(&archive.name).copied().or(Some(DEFAULT_MAX_AGE)),
                    ..Freshness::at(clock.now())
                },
                // A vendor's archive need not have another architecture.
                arches: [Some(arch), twins.filter(|_| !beside.keys.contains_key(&archive.name))]
                    .into_iter()
                    .flatten()
                    .collect(),
            });
        }
    }
    let snapshots = archive::fetch_suites(&suites, sources)?;
    for snapshot in snapshots.iter().filter(|snapshot| !snapshot.waived.is_empty()) {
        let words: Vec<&str> = snapshot.waived.iter().map(|weakness| weakness.name()).collect();
        let archive = &snapshot.locked.archive;
        sources
            .progress
            .warn(&format!("archive `{archive}` is trusted by a weak key ({})", words.join(", ")));
    }
    let mut lock = archive::resolve(name, arch, request, beside, &snapshots)?;
    if let Some(arch) = twins {
        lock.twins = archive::twins(&lock, arch, &snapshots)?;
    }
    sources.progress.end(STAGE, &format!("{} packages", lock.packages.len()));
    Ok(lock)
}

/// Reads a project's lock; `None` if there is none.
///
/// # Errors
/// A lock that cannot be read as one.
pub fn read_lock(project: &Project) -> Result<Option<Lock>, Failure> {
    read(project, &project.lock())
}

/// As [`read_lock`], the lock of what a shadow boot takes.
///
/// # Errors
/// As there.
pub fn read_shadow_lock(project: &Project) -> Result<Option<Lock>, Failure> {
    read(project, &project.shadow_lock())
}

fn read(project: &Project, path: &Path) -> Result<Option<Lock>, Failure> {
    let text = match files::read_text(path, LARGEST_LOCK) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let unreadable =
        |source| StaleLock::Unreadable { path: shown(path), recipe: shown(&project.path), source };
    Ok(Some(text.parse().map_err(unreadable)?))
}

/// The lock to build from: the one that is there, if it satisfies the recipe.
///
/// # Errors
/// There is none, it is another recipe's, or a key of the recipe changed since: then it says which. Its
/// packages are known not to fit together.
pub fn satisfied_lock(project: &Project) -> Result<Lock, Failure> {
    let name = project.recipe.name.as_str();
    let lock = satisfied(project, &project.lock(), name, &request(project)?)?;
    rules::judge(project, &lock)?;
    Ok(lock)
}

fn satisfied(project: &Project, path: &Path, name: &str, request: &LockRequest) -> Result<Lock, Failure> {
    let (shown_path, recipe) = (shown(path), shown(&project.path));
    let Some(lock) = read(project, path)? else {
        return Err(StaleLock::Absent { path: shown_path, recipe }.into());
    };
    if lock.recipe != name || lock.arch != project.target.arch {
        let (of, arch) = (lock.recipe, lock.arch.to_string());
        return Err(StaleLock::Other { path: shown_path, recipe, of, arch }.into());
    }
    match lock.stale_keys(request) {
        keys if keys.is_empty() => Ok(lock),
        keys => Err(StaleLock::Keys { path: shown_path, recipe, keys }.into()),
    }
}

/// Resolves what a shadow boot takes; see [`resolve`].
///
/// # Errors
/// As there.
pub fn resolve_shadow(
    project: &Project,
    shadow: &Target,
    previous: Option<&Lock>,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Lock, Failure> {
    let mirrors = workshop.mirrors()?;
    let sources = workshop.sources(&mirrors, progress);
    let (name, request) = (shadow_name(project), shadow_request(project, shadow));
    resolve_request(&name, (shadow.arch, None), request, previous, sources, workshop.clock())
}

/// The lock of what a shadow boot takes, if it is there and satisfies both targets.
///
/// # Errors
/// As [`satisfied_lock`].
pub fn satisfied_shadow_lock(project: &Project, shadow: &Target) -> Result<Lock, Failure> {
    satisfied(project, &project.shadow_lock(), &shadow_name(project), &shadow_request(project, shadow))
}

/// What that lock calls itself.
fn shadow_name(project: &Project) -> String {
    format!("{}-shadow", project.recipe.name)
}

/// A path as the user would write it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
