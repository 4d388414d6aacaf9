//! From suites in the store to a lock.

use std::collections::BTreeMap;

use goni_debian::index::{Index, IndexError, MAX_INDEX};
use goni_debian::solve::{Request, SolveError, Source, Universe, UniverseError, Vendor, solve};
use goni_model::arch::Arch;
use goni_model::lock::{LOCAL, Lock, LockError, LockRequest, RequestedArchive};
use rayon::prelude::*;

use super::SuiteSnapshot;
use crate::beside::Beside;
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
            Self::Solve(_) => Class::Resolution,
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
            _ => None,
        }
    }
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
    let sources: Vec<Source<'_, '_>> = std::iter::zip(&files, &indexes)
        .map(|((suite, _), index)| Source {
            archive: &suite.locked.archive,
            suite: &suite.locked.suite,
            index,
            allow: allow(&suite.locked.archive),
            vendor: vendor(&suite.locked.archive),
        })
        .chain((!beside.local.is_empty()).then_some(Source {
            archive: LOCAL,
            suite: LOCAL,
            index: &local,
            allow: None,
            vendor: None,
        }))
        .collect();
    let universe = Universe::new(arch, &sources).map_err(|error| ResolveError::Universe(Box::new(error)))?;
    let wished = Request {
        packages: request.packages.iter().chain(&beside.wishes).cloned().collect(),
        exclude: request.exclude.clone(),
        provided: request.provided.clone(),
        recommends: request.recommends,
    };
    let chosen = solve(&universe, &wished)?;
    let lock = Lock {
        recipe: recipe.to_owned(),
        arch,
        source_date: suites.iter().map(|suite| suite.locked.date).max().unwrap_or(0),
        request,
        suites: suites.iter().map(|suite| suite.locked.clone()).collect(),
        packages: chosen.into_iter().map(|chosen| chosen.package).collect(),
        twins: Vec::new(),
    };
    Ok(lock.canonical()?)
}
