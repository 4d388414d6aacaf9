//! Resolution: from wished packages to one set of versions.
//!
//! One architecture and `all`. The Essential set always comes in. Of alternatives the first that works
//! is taken, of versions the newest, unless a vendor's was said to replace it. The answer of the solver is
//! checked again, clause by clause, by code that knows nothing of the solver. Equal input gives equal output.
//! Source: Debian Policy §7.

mod check;
mod explain;
mod provider;
mod reach;
mod universe;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use goni_model::lock::LockedPackage;
use resolvo::{Problem, Solver, UnsolvableOrCancelled};

use crate::relation::{AnyOf, Relation, RelationError};

pub use explain::{Step, nearest};
pub use universe::{Candidate, Source, Universe, UniverseError, Vendor, glob};

/// What is wished for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Packages: `name`, `name=version`, `name (>= version)`.
    pub packages: Vec<String>,
    /// Names of packages that must not come in.
    pub exclude: Vec<String>,
    /// Names the composer stands for itself: whoever depends on one is content.
    pub provided: Vec<String>,
    /// Whether recommended packages come in where they can.
    pub recommends: bool,
    /// Versions, by package, that are taken rather than the newest, as long as they do.
    pub kept: BTreeMap<String, String>,
    /// Packages that must be the newest there are, if that is possible at all: what is kept gives way.
    pub newest: Vec<String>,
}

/// Why a package is in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It was asked for.
    Requested,
    /// It is Essential.
    Essential,
    /// Another package needs it.
    Dependency {
        /// The package that needs it.
        of: String,
        /// In which words.
        relation: String,
        /// Which of the alternatives it answers, from zero, the preferred one.
        alternative: usize,
    },
    /// Another package recommends it.
    Recommendation {
        /// The package that recommends it.
        of: String,
        /// In which words.
        relation: String,
    },
}

/// One package of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The package, as a lock names it.
    pub package: LockedPackage,
    /// The suite it was found in.
    pub suite: String,
    /// Why it is here.
    pub why: Why,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// A wish is not of the form of one.
    #[error("`{wish}` is no package to ask for")]
    Wish {
        /// The wish.
        wish: String,
        /// What is wrong with it.
        #[source]
        source: RelationError,
    },
    /// No archive knows the name.
    #[error("no package `{name}` in {suites}{}", nearest.as_ref().map(|n| format!(": did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// The suites looked into.
        suites: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// Only a vendor knows the name, and may not bring it.
    #[error("package `{name}` is in archive `{archive}` alone, whose `allow` does not list it")]
    NotAllowed {
        /// The name.
        name: String,
        /// The vendor's archive.
        archive: String,
    },
    /// The name is there, not in such a version.
    #[error("no version of `{wish}`: there is {}", versions.join(", "))]
    NoVersion {
        /// The wish.
        wish: String,
        /// The versions there are.
        versions: Vec<String>,
    },
    /// The name is one that several packages stand for.
    #[error("`{name}` is no package but what several stand for: ask for one of {}", providers.join(", "))]
    Virtual {
        /// The name.
        name: String,
        /// Who provides it.
        providers: Vec<String>,
    },
    /// A package is wished for, or Essential, and excluded.
    #[error("package `{name}` is excluded, but {reason}")]
    Excluded {
        /// The name.
        name: String,
        /// Why it must be there.
        reason: &'static str,
    },
    /// Something needed is not there.
    #[error("{}: {missing}", explain::chain(chain))]
    Missing {
        /// From the wish to the package that cannot have what it needs.
        chain: Vec<Step>,
        /// What is missing, and why.
        missing: String,
    },
    /// Wishes that cannot be had together.
    #[error("no set of packages answers every wish\n{explanation}")]
    Conflict {
        /// The solver's own words.
        explanation: String,
    },
    /// A relation of a package that was looked at is none.
    #[error("package `{package}`")]
    Relation {
        /// The package and its version.
        package: String,
        /// What is wrong.
        #[source]
        source: RelationError,
    },
    /// The answer does not stand the second look. A bug of this program.
    #[error("the answer does not hold: {0}")]
    Unsound(String),
}

/// What must be answered, and on whose behalf.
#[derive(Debug, Clone)]
struct Root<'a> {
    any_of: AnyOf<'a>,
    essential: bool,
    /// Whether it says only how new a package must be.
    renewing: bool,
}

/// Finds the packages of an image. Sorted by name.
///
/// # Errors
/// A wish nobody can answer, with the shortest reason found.
pub fn solve(universe: &Universe<'_>, request: &Request) -> Result<Vec<Chosen>, SolveError> {
    let roots = roots(universe, request)?;
    let excluded: BTreeSet<&str> = request.exclude.iter().map(String::as_str).collect();
    let provided: BTreeSet<&str> = request.provided.iter().map(String::as_str).collect();
    let kept = request
        .kept
        .iter()
        .filter_map(|(name, version)| {
            let of_version = |id: &u32| universe.candidate(*id).package.version.as_str() == version;
            Some((name.as_str(), universe.ids(name).find(of_version)?))
        })
        .collect();
    let world = provider::World { universe, excluded, provided, kept };
    let (roots, mut chosen) = renew(&world, roots, request)?;
    if request.recommends {
        // What a recommended package recommends is known only once it is in: round by round, until no
        // round brings a new one. Each round adds at least one name, so it ends.
        let mut soft: Vec<u32> = Vec::new();
        loop {
            let wished = reach::recommended(&world, &chosen)?;
            let fresh: Vec<u32> = wished.into_iter().filter(|id| !soft.contains(id)).collect();
            if fresh.is_empty() {
                break;
            }
            soft.extend(fresh);
            chosen = run(&world, &roots, &soft)?;
        }
    }
    // Only for what was wished for is anything here: that something must be new brings nothing in.
    let roots: Vec<Root<'_>> = roots.into_iter().filter(|root| !root.renewing).collect();
    let reached = reach::reached(&world, &roots, &chosen, request.recommends)?;
    let ids: Vec<u32> = reached.keys().copied().collect();
    check::check(universe, request, &roots, &ids)?;
    let mut answer: Vec<Chosen> = reached
        .into_iter()
        .map(|(id, why)| {
            let candidate = universe.candidate(id);
            Chosen { package: candidate.locked(), suite: candidate.suite.to_owned(), why }
        })
        .collect();
    answer.sort_by(|a, b| a.package.name.cmp(&b.package.name));
    Ok(answer)
}

/// Runs the solver, and once more with what must be the newest; returns what was wished for then.
///
/// Only what comes in anyway must be new: that it must brings nothing in. Where the newest cannot be had, the
/// answer stays as it was without that.
fn renew<'a>(
    world: &provider::World<'a>,
    roots: Vec<Root<'a>>,
    request: &'a Request,
) -> Result<(Vec<Root<'a>>, Vec<u32>), SolveError> {
    let chosen = run(world, &roots, &[])?;
    if request.newest.is_empty() {
        return Ok((roots, chosen));
    }
    let reached = reach::reached(world, &roots, &chosen, request.recommends)?;
    let names: BTreeSet<&str> = reached.keys().map(|id| world.universe.candidate(*id).package.name).collect();
    let newest = newest(world.universe, request).into_iter();
    let newest = newest.filter(|root| root.any_of.0.iter().any(|it| names.contains(it.name)));
    let renewing: Vec<Root<'a>> = roots.iter().cloned().chain(newest).collect();
    match run(world, &renewing, &[]) {
        Err(SolveError::Conflict { .. } | SolveError::Missing { .. }) => Ok((roots, chosen)),
        renewed => Ok((renewing, renewed?)),
    }
}

/// Runs the solver once; `soft` are candidates to bring in where nothing stands against it.
fn run(world: &provider::World<'_>, roots: &[Root<'_>], soft: &[u32]) -> Result<Vec<u32>, SolveError> {
    let provider = provider::Provider::new(world);
    let requirements = roots.iter().map(|root| provider.require(&root.any_of).into()).collect();
    let soft: Vec<_> = soft.iter().map(|id| provider.solvable(*id)).collect();
    let mut solver = Solver::new(&provider);
    let answer = solver.solve(Problem::new().requirements(requirements).soft_requirements(soft));
    if let Some(error) = provider.take_error() {
        return Err(error);
    }
    match answer {
        Ok(solvables) => Ok(solvables.into_iter().map(|id| provider.record(id)).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => Err(explain::missing(world, roots)?
            .unwrap_or_else(|| SolveError::Conflict {
                explanation: conflict.display_user_friendly(&solver).to_string(),
            })),
        Err(UnsolvableOrCancelled::Cancelled(_)) => {
            Err(SolveError::Unsound("the solver stopped before its end".to_owned()))
        }
    }
}

/// The wishes and the Essential set, as clauses.
fn roots<'a>(universe: &Universe<'a>, request: &'a Request) -> Result<Vec<Root<'a>>, SolveError> {
    let mut roots = Vec::new();
    for wish in &request.packages {
        let relation = parse_wish(wish)?;
        let name = relation.name;
        if request.exclude.iter().any(|other| other == name) {
            return Err(SolveError::Excluded { name: name.to_owned(), reason: "it is asked for too" });
        }
        if universe.named(name).is_empty() {
            let mut providers: Vec<String> = universe
                .providers(name)
                .map(|(id, _)| universe.candidate(id).package.name.to_owned())
                .collect();
            providers.sort();
            providers.dedup();
            match providers.len() {
                0 => return Err(unknown(universe, name)),
                1 => {}
                _ => return Err(SolveError::Virtual { name: name.to_owned(), providers }),
            }
        }
        if universe.matches(&relation).is_empty() {
            let versions =
                universe.named(name).iter().map(|c| c.package.version.as_str().to_owned()).collect();
            return Err(SolveError::NoVersion { wish: wish.clone(), versions });
        }
        roots.push(Root { any_of: AnyOf(vec![relation]), essential: false, renewing: false });
    }
    for name in &request.exclude {
        if universe.named(name).is_empty() {
            return Err(unknown(universe, name));
        }
    }
    for name in universe.essential() {
        if request.exclude.iter().any(|other| other == name) {
            return Err(SolveError::Excluded { name: name.to_owned(), reason: "it is Essential" });
        }
        let relation = Relation { name, qualifier: None, constraint: None, architectures: Vec::new() };
        roots.push(Root { any_of: AnyOf(vec![relation]), essential: true, renewing: false });
    }
    Ok(roots)
}

/// What must be the newest, as clauses.
fn newest<'a>(universe: &Universe<'a>, request: &'a Request) -> Vec<Root<'a>> {
    let root = |name: &'a String| {
        let newest = universe.candidate(universe.ids(name).next()?);
        let constraint = crate::relation::Constraint {
            comparison: crate::relation::Comparison::Equal,
            version: newest.package.version,
        };
        let relation =
            Relation { name, qualifier: None, constraint: Some(constraint), architectures: Vec::new() };
        Some(Root { any_of: AnyOf(vec![relation]), essential: false, renewing: true })
    };
    request.newest.iter().filter_map(root).collect()
}

fn unknown(universe: &Universe<'_>, name: &str) -> SolveError {
    if let Some(archive) = universe.hidden(name) {
        return SolveError::NotAllowed { name: name.to_owned(), archive: archive.to_owned() };
    }
    SolveError::Unknown {
        name: name.to_owned(),
        suites: universe.suites(),
        nearest: nearest(name, universe.names()).map(str::to_owned),
    }
}

/// Reads `name`, `name=version` or a relation.
fn parse_wish(wish: &str) -> Result<Relation<'_>, SolveError> {
    let fail = |source| SolveError::Wish { wish: wish.to_owned(), source };
    match wish.split_once('=') {
        Some((name, version)) if !wish.contains('(') => {
            let mut relation = Relation::parse(name).map_err(fail)?;
            let version = crate::version::Version::parse(version.trim()).map_err(|e| fail(e.into()))?;
            relation.constraint =
                Some(crate::relation::Constraint { comparison: crate::relation::Comparison::Equal, version });
            Ok(relation)
        }
        _ => Relation::parse(wish).map_err(fail),
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("requested"),
            Self::Essential => f.write_str("essential"),
            Self::Dependency { of, relation, .. } => write!(f, "{of} depends on {relation}"),
            Self::Recommendation { of, relation } => write!(f, "{of} recommends {relation}"),
        }
    }
}

#[cfg(test)]
mod tests;
