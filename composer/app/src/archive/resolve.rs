//! From suites in the store to a lock.

use std::collections::BTreeMap;
use std::path::PathBuf;

use goni_debian::index::{Index, IndexError, MAX_INDEX};
use goni_debian::kernel::{Kernel, KernelError};
use goni_debian::solve::{Chosen, Request, SolveError, Source, Universe, UniverseError, Vendor, Why, solve};
use goni_model::arch::Arch;
use goni_model::lock::{LOCAL, Lock, LockError, LockRequest, LockedPackage, RequestedArchive, SignedFile};
use rayon::prelude::*;

use super::SuiteSnapshot;
use crate::beside::{self, Beside};
use crate::failure::{Class, Classify};
use crate::host::files::{self, FileError};

/// Why suites give no lock.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A verified index cannot be read back.
    #[error(transparent)]
    File(#[from] FileError),
    /// An index is not one.
    #[error("reading the index of `{suite}`")]
    Index {
        /// The suite.
        suite: String,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// The suites contradict each other.
    #[error(transparent)]
    Universe(Box<UniverseError>),
    /// No set of packages answers.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// Nobody can say which kernel modules are to be built for.
    #[error("kernel modules are to be built, but it is not clear for which kernel")]
    Kernel(#[from] KernelError),
    /// A package whose modules are built came into the image itself.
    #[error("package `{name}` of `kernel.dkms` is in the image: {why}")]
    InImage {
        /// The package.
        name: String,
        /// What brought it.
        why: Why,
    },
    /// No set of packages builds modules.
    #[error("finding what kernel modules are built with")]
    Build(#[source] SolveError),
    /// The answer makes no lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Classify for ResolveError {
    fn class(&self) -> Class {
        match self {
            Self::File(error) => error.class(),
            Self::Universe(error) => match **error {
                UniverseError::Shadows { .. } => Class::Resolution,
                UniverseError::NothingToOverride { .. } | UniverseError::Override { .. } => Class::Recipe,
                UniverseError::Contradiction { .. } | UniverseError::Provides { .. } => Class::Trust,
            },
            Self::Index { .. } | Self::Lock(_) => Class::Trust,
            Self::Solve(SolveError::Unsound(_)) => Class::Bug,
            Self::Solve(_) | Self::Build(_) | Self::Kernel(_) | Self::InImage { .. } => Class::Resolution,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Universe(error) => match &**error {
                UniverseError::Shadows { archive, .. } => Some(format!(
                    "leave it out of `allow` of [[archive]] `{archive}`, or name it in its `replace` as well"
                )),
                _ => None,
            },
            Self::Solve(SolveError::NotAllowed { archive, name }) => {
                Some(format!("add \"{name}\" to `allow` of [[archive]] `{archive}`, if it may bring it"))
            }
            Self::Kernel(_) => Some("`kernel.package` of the target must be a kernel of Debian's".to_owned()),
            _ => None,
        }
    }
}

/// What is taken over from an earlier lock.
pub struct Kept<'a> {
    /// Packages of the image, by name.
    pub packages: BTreeMap<&'a str, &'a LockedPackage>,
    /// Packages that modules are built with, by name.
    pub build: BTreeMap<&'a str, &'a LockedPackage>,
    /// Packages that must be the newest.
    pub newest: &'a [String],
    /// The file of a package that no index has any more, where it is at hand.
    pub find: &'a dyn Fn(&LockedPackage) -> Option<PathBuf>,
}

impl std::fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { packages, build, newest, find: _ } = self;
        let kept = (packages.len(), build.len(), newest);
        f.debug_tuple("Kept").field(&kept).finish_non_exhaustive()
    }
}

impl Kept<'_> {
    /// The packages that no index has any more and that are at hand, as an index of each archive.
    fn vanished(&self, indexes: &[Index<'_>]) -> BTreeMap<String, String> {
        let listed: std::collections::BTreeSet<(&str, &str)> = indexes
            .iter()
            .flat_map(|index| index.packages())
            .map(|package| (package.name, package.version.as_str()))
            .collect();
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let mut told = std::collections::BTreeSet::new();
        for package in self.packages.values().chain(self.build.values()) {
            if package.archive != LOCAL
                && !listed.contains(&(package.name.as_str(), package.version.as_str()))
                && told.insert(package.sha256)
                && let Some(stanza) =
                    (self.find)(package).and_then(|file| beside::kept_stanza(&file, package))
            {
                texts.entry(package.archive.clone()).or_default().push_str(&stanza);
            }
        }
        texts
    }
}

fn versions(kept: &BTreeMap<&str, &LockedPackage>) -> BTreeMap<String, String> {
    kept.values().map(|package| (package.name.clone(), package.version.clone())).collect()
}

/// Resolves a request with the packages of its suites, and those beside. The newest wins; a vendor
/// brings what its archive was allowed.
///
/// # Errors
/// [`ResolveError`], with a readable reason where no set of packages answers.
pub fn resolve(
    recipe: &str,
    arch: Arch,
    request: LockRequest,
    beside: &Beside,
    suites: &[SuiteSnapshot],
    kept: &Kept<'_>,
) -> Result<Lock, ResolveError> {
    let files: Vec<(&SuiteSnapshot, Vec<u8>)> = suites
        .iter()
        .flat_map(|suite| suite.indexes.iter().map(move |index| (suite, index)))
        .filter(|(_, index)| index.arch == arch)
        .map(|(suite, index)| Ok((suite, files::read_capped(&index.path, MAX_INDEX)?)))
        .collect::<Result<_, FileError>>()?;
    let indexes: Vec<Index<'_>> = files
        .par_iter()
        .map(|(suite, bytes)| {
            let error = |source| ResolveError::Index { suite: suite.locked.suite.clone(), source };
            Index::parse(bytes, arch).map_err(error)
        })
        .collect::<Result<_, _>>()?;
    let archives: BTreeMap<&str, &RequestedArchive> =
        request.archives.iter().map(|archive| (archive.name.as_str(), archive)).collect();
    let local = Index::parse(beside.local.as_bytes(), arch)
        .map_err(|source| ResolveError::Index { suite: LOCAL.to_owned(), source })?;
    let vendor = |name: &str| {
        let archive = archives.get(name).filter(|_| beside.keys.contains_key(name))?;
        Some(Vendor { replace: &archive.replace, depends: &archive.depends })
    };
    let allow = |name: &str| {
        let allow = archives.get(name).map(|archive| archive.allow.as_slice())?;
        (!allow.is_empty() || beside.keys.contains_key(name)).then_some(allow)
    };
    let vanished = kept.vanished(&indexes);
    // An archive that is asked for no longer brings nothing, not even what it brought.
    let vanished: Vec<(&str, Index<'_>)> = vanished
        .iter()
        .filter(|(archive, _)| archives.contains_key(archive.as_str()))
        .map(|(archive, text)| {
            let error = |source| ResolveError::Index { suite: archive.clone(), source };
            Ok((archive.as_str(), Index::parse(text.as_bytes(), arch).map_err(error)?))
        })
        .collect::<Result<_, ResolveError>>()?;
    let sources: Vec<Source<'_, '_>> = std::iter::zip(&files, &indexes)
        .map(|((suite, _), index)| Source {
            archive: &suite.locked.archive,
            suite: &suite.locked.suite,
            index,
            allow: allow(&suite.locked.archive),
            vendor: vendor(&suite.locked.archive),
        })
        .chain(vanished.iter().map(|(archive, index)| Source {
            archive,
            suite: archive,
            index,
            allow: allow(archive),
            vendor: vendor(archive),
        }))
        .chain((!beside.local.is_empty()).then_some(Source {
            archive: LOCAL,
            suite: LOCAL,
            index: &local,
            allow: None,
            vendor: None,
        }))
        .collect();
    let universe = Universe::new(arch, &sources).map_err(|error| ResolveError::Universe(Box::new(error)))?;
    let from_dkms = |name: &str| request.dkms.iter().any(|package| package == name);
    let loose = |wish: &&String| !from_dkms(wish.split('=').next().unwrap_or_default());
    let wished = Request {
        packages: request.packages.iter().chain(beside.wishes.iter().filter(loose)).cloned().collect(),
        exclude: request.exclude.clone(),
        // Its modules are there, so whoever wants the package has what it wants.
        provided: request.provided.iter().chain(&request.dkms).cloned().collect(),
        recommends: request.recommends,
        kept: versions(&kept.packages),
        newest: kept.newest.to_vec(),
    };
    let chosen = solve(&universe, &wished)?;
    if let Some(chosen) = chosen.iter().find(|chosen| from_dkms(&chosen.package.name)) {
        return Err(ResolveError::InImage { name: chosen.package.name.clone(), why: chosen.why.clone() });
    }
    let build = match request.build {
        true => build_set(&universe, &request, &chosen, kept)?,
        false => Vec::new(),
    };
    let lock = Lock {
        recipe: recipe.to_owned(),
        arch,
        source_date: suites.iter().map(|suite| suite.locked.date).max().unwrap_or(0),
        request,
        suites: suites.iter().map(|suite| suite.locked.clone()).collect(),
        signed: suites.iter().flat_map(signed).collect(),
        inputs: Vec::new(),
        ids: Vec::new(),
        packages: chosen.into_iter().map(|chosen| chosen.package).collect(),
        build,
        twins: Vec::new(),
    };
    Ok(lock.canonical()?)
}

/// The signed files of a suite, as a lock names them.
fn signed(suite: &SuiteSnapshot) -> Vec<SignedFile> {
    let file = |(name, sha256): &(&str, _)| SignedFile {
        archive: suite.locked.archive.clone(),
        suite: suite.locked.suite.clone(),
        file: (*name).to_owned(),
        sha256: *sha256,
    };
    suite.evidence.iter().map(file).collect()
}

/// What kernel modules are built with, and from: a compiler, the headers that fit the image's kernel exactly,
/// DKMS and the packages whose modules it builds, and what all these need.
fn build_set(
    universe: &Universe<'_>,
    request: &LockRequest,
    image: &[Chosen],
    kept: &Kept<'_>,
) -> Result<Vec<LockedPackage>, ResolveError> {
    let kernel = Kernel::of(image.iter().map(|chosen| &chosen.package))?;
    let mut packages = vec![kernel.headers(), "gcc".to_owned(), "make".to_owned()];
    if !request.dkms.is_empty() {
        packages.push("dkms".to_owned());
        packages.extend(request.dkms.iter().cloned());
    }
    let wished = Request {
        packages,
        provided: request.provided.clone(),
        kept: versions(&kept.build),
        newest: kept.newest.to_vec(),
        ..Request::default()
    };
    let chosen = solve(universe, &wished).map_err(ResolveError::Build)?;
    // The headers of some kernels depend on the kernel itself, of which nothing is needed here.
    let needed = |package: &LockedPackage| package.name != kernel.package.name;
    Ok(chosen.into_iter().map(|chosen| chosen.package).filter(needed).collect())
}
