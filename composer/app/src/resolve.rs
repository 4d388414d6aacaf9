//! From a recipe's wishes to a lock: signed indexes are fetched, verified and solved.

use std::collections::{BTreeMap, BTreeSet};

use goni_debian::release::{DEFAULT_MAX_AGE, Freshness};
use goni_debian::signature::{Keyring, KeyringError};
use goni_model::arch::Arch;
use goni_model::lock::{Lock, LockRequest, LockedPackage, LockedSuite, RequestedArchive, without_rebuild};
use goni_model::recipe::Recipe;
use goni_model::target::Target;
use goni_model::time::Timestamp;

use crate::archive::{self, Kept, ResolveError, SuiteRequest};
use crate::beside::{self, Beside};
use crate::failure::{Class, Classify, Failure};
use crate::host::clock::Clock;
use crate::host::environment;
use crate::host::mirror::DEBIAN_BACKPORTS;
use crate::lock::inputs;
use crate::progress::{Progress, Unit};
use crate::project::Project;
use crate::rules;
use crate::stages::fetch::Sources;
use crate::workshop::Workshop;

/// The name of this stage where progress is told.
const STAGE: &str = "resolve";

pub use crate::lock::{read_lock, read_shadow_lock, satisfied_lock, satisfied_shadow_lock};

/// How much of an earlier lock is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// Every version that still satisfies.
    Keep,
    /// Those, but for these packages and what they force.
    Only(Vec<String>),
    /// None: everything is the newest.
    Everything,
}

/// An earlier lock, and what of it is taken over.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// The lock. Its dates are those below which an archive is rolled back.
    pub lock: &'a Lock,
    /// How much of it is taken over.
    pub renewal: &'a Renewal,
    /// Whether it is as it was written; if not, signed indexes must have every package it names.
    pub believed: bool,
}

impl<'a> Past<'a> {
    /// A lock of which only the dates count.
    #[must_use]
    pub const fn dates(lock: &'a Lock) -> Self {
        Self { lock, renewal: &Renewal::Everything, believed: true }
    }

    /// The packages of a list that are taken over, where the lock is for this architecture.
    fn kept(&self, arch: Arch, list: &'a [LockedPackage]) -> BTreeMap<&'a str, &'a LockedPackage> {
        let stays = |package: &LockedPackage| match self.renewal {
            Renewal::Keep => true,
            Renewal::Only(names) => !names.contains(&package.name),
            Renewal::Everything => false,
        };
        let kept = list.iter().filter(|package| self.lock.arch == arch && stays(package));
        kept.map(|package| (package.name.as_str(), package)).collect()
    }
}

/// Why an earlier lock cannot be taken over.
#[derive(Debug, thiserror::Error)]
enum PastError {
    #[error("no signed index has `{package}` with the SHA-256 {sha256} of the changed lock")]
    NotVouched { package: String, sha256: String },
    #[error("the lock has no package `{0}` to update")]
    NotLocked(String),
}

impl Classify for PastError {
    fn class(&self) -> Class {
        match self {
            Self::NotVouched { .. } => Class::Trust,
            Self::NotLocked(_) => Class::Recipe,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotVouched { .. } => {
                Some("take the lock from where it was kept; or `lock --update` makes it anew".to_owned())
            }
            Self::NotLocked(_) => None,
        }
    }
}

/// Why an archive has no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
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
pub(crate) fn shadow_request(project: &Project, shadow: &Target) -> LockRequest {
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
pub(crate) fn keys(archive: &str, beside: &Beside) -> Result<Keyring, KeysError> {
    match archive {
        "debian" | DEBIAN_BACKPORTS => Ok(Keyring::debian()?),
        "debian-security" => Ok(Keyring::debian_security()?),
        vendor => beside.keys.get(vendor).cloned().ok_or_else(|| KeysError::Unknown(vendor.to_owned())),
    }
}

/// Resolves a project against its archives as they are now, and takes over what it shall of an earlier lock.
///
/// # Errors
/// An archive that cannot be had or trusted; wishes that no set of packages satisfies; packages that are
/// known not to fit together.
pub fn resolve(
    project: &Project,
    past: Option<Past<'_>>,
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
    let mut lock = resolve_with(name, (arch, twins), request, &beside, past, sources, workshop.clock())?;
    lock.inputs = inputs(project)?;
    if let Some(past) = past.filter(|past| past.lock.recipe == name && past.lock.arch == arch) {
        lock.ids.clone_from(&past.lock.ids);
    }
    let lock = lock.canonical().map_err(ResolveError::from)?;
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
    past: Option<Past<'_>>,
    sources: Sources<'_>,
    clock: &dyn Clock,
) -> Result<Lock, Failure> {
    resolve_with(name, arches, request, &Beside::default(), past, sources, clock)
}

/// Resolves for an architecture, and finds the twins of another.
fn resolve_with(
    name: &str,
    (arch, twins): (Arch, Option<Arch>),
    request: LockRequest,
    beside: &Beside,
    past: Option<Past<'_>>,
    sources: Sources<'_>,
    clock: &dyn Clock,
) -> Result<Lock, Failure> {
    let newest = match past {
        Some(Past { lock, renewal: Renewal::Only(names), .. }) => {
            let all = || lock.packages.iter().chain(&lock.build);
            if let Some(name) = names.iter().find(|name| !all().any(|package| package.name == **name)) {
                return Err(PastError::NotLocked(name.clone()).into());
            }
            names.as_slice()
        }
        _ => &[],
    };
    sources.progress.begin(STAGE, None, Unit::Packages);
    let mut suites = Vec::new();
    for archive in &request.archives {
        let keys = keys(&archive.name, beside)?;
        for suite in &archive.suites {
            let known = past.and_then(|past| past.lock.minimum_date(&archive.name, suite));
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
    let find =
        |package: &LockedPackage| sources.store.lookup(&package.sha256, sources.progress).ok().flatten();
    let believed = past.is_some_and(|past| past.believed);
    let kept = Kept {
        packages: past.map(|past| past.kept(arch, &past.lock.packages)).unwrap_or_default(),
        build: past.map(|past| past.kept(arch, &past.lock.build)).unwrap_or_default(),
        newest,
        // What no index has any more is believed where it is at hand, and the lock is as it was written.
        find: &|package| find(package).filter(|_| believed),
    };
    let mut lock = archive::resolve(name, arch, request, beside, &snapshots, &kept)?;
    if let Some(past) = past.filter(|past| !past.believed) {
        vouched(past, &lock)?;
    }
    if let Some(arch) = twins {
        lock.twins = archive::twins(&lock, arch, &snapshots)?;
        let kept: Vec<_> = past.iter().flat_map(|past| kept_twins(*past, &lock, arch)).collect();
        lock.twins.extend(kept);
        lock = lock.canonical().map_err(ResolveError::from)?;
    }
    tell_moved(past, &lock, sources.progress);
    sources.progress.end(STAGE, &format!("{} packages", lock.packages.len()));
    Ok(lock)
}

/// The newest date of the suites of an archive as they are now; `None` where it cannot be had.
#[must_use]
pub(crate) fn date_today(
    project: &Project,
    lock: &Lock,
    archive: &str,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Option<u64> {
    // It is only for a message, of an error that is worse than any of these.
    let mirrors = beside::mirrors(project, workshop).ok()?;
    let beside = beside::gather(project, workshop).ok()?;
    let keys = keys(archive, &beside).ok()?;
    let suite = |suite: &LockedSuite| SuiteRequest {
        archive: archive.to_owned(),
        suite: suite.suite.clone(),
        components: Vec::new(),
        keys: keys.clone(),
        freshness: Freshness { max_age: None, ..Freshness::at(workshop.clock().now()) },
        arches: Vec::new(),
    };
    let suites: Vec<SuiteRequest> =
        lock.suites.iter().filter(|it| it.archive == archive).map(suite).collect();
    let snapshots = archive::fetch_suites(&suites, workshop.sources(&mirrors, progress)).ok()?;
    snapshots.iter().map(|snapshot| snapshot.locked.date).max()
}

/// Sees that what was taken over from a changed lock is what signed indexes say.
fn vouched(past: Past<'_>, lock: &Lock) -> Result<(), PastError> {
    let now: BTreeMap<&str, &LockedPackage> =
        lock.packages.iter().map(|package| (package.name.as_str(), package)).collect();
    let kept = past.kept(lock.arch, &past.lock.packages);
    let other = kept.values().find(|was| now.get(was.name.as_str()).is_some_and(|now| now != *was));
    other.map_or(Ok(()), |was| {
        let (package, sha256) = (format!("{}={}", was.name, was.version), was.sha256.to_string());
        Err(PastError::NotVouched { package, sha256 })
    })
}

/// The twins of an earlier lock that no index has any more, and that still fit.
fn kept_twins(past: Past<'_>, lock: &Lock, arch: Arch) -> Vec<LockedPackage> {
    let fits = |twin: &&LockedPackage| {
        let of = lock.packages.iter().find(|it| it.name == twin.name && it.arch == lock.arch.debian());
        past.believed
            && twin.arch == arch.debian()
            && of.is_some_and(|of| without_rebuild(&of.version) == without_rebuild(&twin.version))
            && !lock.twins.iter().any(|it| it.name == twin.name)
    };
    let kept = past.kept(lock.arch, &past.lock.twins).into_values();
    kept.filter(fits).cloned().collect()
}

/// Says which packages could not be kept although they should.
fn tell_moved(past: Option<Past<'_>>, lock: &Lock, progress: &dyn Progress) {
    let Some(past) = past.filter(|past| *past.renewal == Renewal::Keep) else { return };
    let kept = past.kept(lock.arch, &past.lock.packages);
    for now in &lock.packages {
        if let Some(was) = kept.get(now.name.as_str()).filter(|was| was.version != now.version) {
            let (name, was, now) = (&now.name, &was.version, &now.version);
            progress
                .warn(&format!("`{name}` is {now} now: {was} no longer fits, or is gone from its archive"));
        }
    }
}

/// Resolves what a shadow boot takes; see [`resolve`].
///
/// # Errors
/// As there.
pub fn resolve_shadow(
    project: &Project,
    shadow: &Target,
    past: Option<Past<'_>>,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Lock, Failure> {
    let mirrors = workshop.mirrors()?;
    let sources = workshop.sources(&mirrors, progress);
    let (name, request) = (shadow_name(project), shadow_request(project, shadow));
    resolve_request(&name, (shadow.arch, None), request, past, sources, workshop.clock())
}

/// What that lock calls itself.
pub(crate) fn shadow_name(project: &Project) -> String {
    format!("{}-shadow", project.recipe.name)
}
