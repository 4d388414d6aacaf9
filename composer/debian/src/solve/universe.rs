//! Everything that could be chosen: the packages of all suites, sorted by preference.

use std::collections::BTreeMap;

use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::LockedPackage;

use crate::index::{Index, Package};
use crate::relation::{AnyOf, Comparison, Relation, RelationError, parse_alternatives};
use crate::version::Version;

/// One index, and what it may provide.
#[derive(Debug, Clone, Copy)]
pub struct Source<'s, 'a> {
    /// Name of its archive.
    pub archive: &'a str,
    /// Its suite.
    pub suite: &'a str,
    /// Its packages.
    pub index: &'s Index<'a>,
    /// Patterns of the only names it may bring, `*` for any text; everything else is invisible. `None`: all.
    pub allow: Option<&'a [String]>,
    /// What it may do beyond that, and may not, if it is a vendor's.
    pub vendor: Option<Vendor<'a>>,
}

/// What holds for a vendor's archive alone.
#[derive(Debug, Clone, Copy)]
pub struct Vendor<'a> {
    /// Names that it may bring although others have them too; its own then win over newer ones.
    pub replace: &'a [String],
    /// By package, the Depends that count instead of its own.
    pub depends: &'a BTreeMap<String, String>,
}

/// One package that could be chosen.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Name of its archive.
    pub archive: &'a str,
    /// Its suite.
    pub suite: &'a str,
    /// Whether its archive is a vendor's.
    pub vendor: bool,
    /// Whether it wins over newer ones of its name.
    pub preferred: bool,
    /// The package.
    pub package: Package<'a>,
}

/// All candidates of one architecture.
#[derive(Debug)]
pub struct Universe<'a> {
    arch: Arch,
    suites: Vec<&'a str>,
    /// Sorted by name, then the preferred one first. A candidate's number is its place here.
    candidates: Vec<Candidate<'a>>,
    /// Sorted by the name provided, then by candidate.
    provides: Vec<(&'a str, u32, Option<Version<'a>>)>,
    /// Names that a vendor has and may not bring, each with its archive; sorted.
    hidden: Vec<(&'a str, &'a str)>,
}

/// Why sources make no universe.
#[derive(Debug, thiserror::Error)]
pub enum UniverseError {
    /// Two archives have other bytes under one name.
    #[error("package `{package}` is {} in `{}` but {} in `{}`", first.1, first.0, second.1, second.0)]
    Contradiction {
        /// Its name and version.
        package: String,
        /// One suite, and the digest there.
        first: Box<(String, Sha256Digest)>,
        /// The other suite, and the digest there.
        second: Box<(String, Sha256Digest)>,
    },
    /// A vendor's archive has a package of the name of another's.
    #[error("archive `{archive}` has `{package}`, which `{suite}` has too, as {other}")]
    Shadows {
        /// The vendor's archive.
        archive: String,
        /// Its package, name and version.
        package: String,
        /// Where the other is.
        suite: String,
        /// The version there.
        other: String,
    },
    /// An override for a package that is not there.
    #[error("archive `{archive}` brings no package `{package}` whose dependencies could be overridden")]
    NothingToOverride {
        /// The archive.
        archive: String,
        /// The package.
        package: String,
    },
    /// An override that is no list of relations.
    #[error("the override of package `{package}` of archive `{archive}`")]
    Override {
        /// The archive.
        archive: String,
        /// The package.
        package: String,
        /// What is wrong.
        #[source]
        source: RelationError,
    },
    /// A package's Provides is no list of relations.
    #[error("package `{package}`")]
    Provides {
        /// The package.
        package: String,
        /// What is wrong.
        #[source]
        source: RelationError,
    },
}

impl Candidate<'_> {
    /// The package as a lock names it.
    #[must_use]
    pub fn locked(&self) -> LockedPackage {
        LockedPackage {
            name: self.package.name.to_owned(),
            version: self.package.version.as_str().to_owned(),
            arch: self.package.arch.to_owned(),
            archive: self.archive.to_owned(),
            path: self.package.path.to_owned(),
            size: self.package.size,
            sha256: self.package.sha256,
        }
    }

    /// Name and version, for messages.
    pub(super) fn title(&self) -> String {
        format!("{}={}", self.package.name, self.package.version)
    }
}

impl<'a> Universe<'a> {
    /// Gathers the packages of all sources. The same package in two suites is one candidate.
    ///
    /// # Errors
    /// Two different packages under one name, version and architecture; a Provides that is none.
    pub fn new(arch: Arch, sources: &[Source<'_, 'a>]) -> Result<Self, UniverseError> {
        let mut candidates: Vec<Candidate<'a>> = Vec::new();
        let mut hidden = Vec::new();
        for source in sources {
            for package in source.index.packages() {
                let mut candidate = Candidate {
                    archive: source.archive,
                    suite: source.suite,
                    vendor: source.vendor.is_some(),
                    preferred: false,
                    package: package.clone(),
                };
                if source.allow.is_some_and(|allow| !allow.iter().any(|name| glob(name, package.name))) {
                    hidden.push((package.name, source.archive));
                    continue;
                }
                if let Some(vendor) = source.vendor {
                    candidate.preferred = vendor.replace.iter().any(|name| name == package.name);
                    if let Some(depends) = vendor.depends.get(package.name) {
                        candidate.package = candidate.package.with_depends(depends);
                    }
                }
                candidates.push(candidate);
            }
        }
        hidden.sort_unstable();
        hidden.dedup();
        overrides(sources, &candidates)?;
        // Stable: of equal ones the source named first stays first.
        candidates.sort_by(|a, b| {
            let (p, q) = (&a.package, &b.package);
            (p.name.cmp(q.name))
                .then_with(|| b.preferred.cmp(&a.preferred))
                .then_with(|| q.version.cmp(&p.version))
                .then_with(|| q.version.as_str().cmp(p.version.as_str()))
                .then_with(|| p.arch.cmp(q.arch))
        });
        shadows(&candidates)?;
        contradictions(&candidates)?;
        candidates.dedup_by(|b, a| same(&a.package, &b.package));
        let mut provides = Vec::new();
        for (id, candidate) in (0..).zip(&candidates) {
            let list = candidate
                .package
                .provides()
                .map_err(|source| UniverseError::Provides { package: candidate.title(), source })?;
            for one in list {
                let version = one.constraint.filter(|c| c.comparison == Comparison::Equal).map(|c| c.version);
                provides.push((one.name, id, version));
            }
        }
        provides.sort_by(|a, b| a.0.cmp(b.0).then(a.1.cmp(&b.1)));
        let mut suites: Vec<&str> = sources.iter().map(|source| source.suite).collect();
        suites.dedup();
        Ok(Self { arch, suites, candidates, provides, hidden })
    }

    /// The number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The candidates of a name, the preferred one first.
    #[must_use]
    pub fn named(&self, name: &str) -> &[Candidate<'a>] {
        let (from, to) = self.range(name);
        self.candidates.get(from..to).unwrap_or_default()
    }

    pub(super) const fn arch(&self) -> Arch {
        self.arch
    }

    pub(super) fn suites(&self) -> String {
        self.suites.iter().map(|suite| format!("`{suite}`")).collect::<Vec<_>>().join(", ")
    }

    /// Every name, sorted; names with several candidates occur as often.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.candidates.iter().map(|candidate| candidate.package.name)
    }

    pub(super) fn candidate(&self, id: u32) -> &Candidate<'a> {
        // Numbers are only ever made from places in this list.
        usize::try_from(id).ok().and_then(|at| self.candidates.get(at)).expect("a candidate of this universe")
    }

    /// The numbers of the candidates of a name.
    pub(super) fn ids(&self, name: &str) -> impl Iterator<Item = u32> + use<> {
        let (from, to) = self.range(name);
        (from..to).filter_map(|at| u32::try_from(at).ok())
    }

    /// Who provides a name, and which version of it.
    pub(super) fn providers(&self, name: &str) -> impl Iterator<Item = (u32, Option<Version<'a>>)> {
        let from = self.provides.partition_point(|(other, ..)| *other < name);
        let to = self.provides.partition_point(|(other, ..)| *other <= name);
        self.provides.get(from..to).unwrap_or_default().iter().map(|(_, id, version)| (*id, *version))
    }

    /// The names whose preferred candidate is Essential. What every system must have, no vendor says.
    pub(super) fn essential(&self) -> Vec<&'a str> {
        let is_essential = |c: &Candidate<'_>| c.package.essential && !c.vendor;
        let mut names: Vec<&str> =
            self.candidates.iter().filter(|c| is_essential(c)).map(|c| c.package.name).collect();
        names.dedup();
        names.retain(|name| self.named(name).first().is_some_and(is_essential));
        names
    }

    /// The archive of a vendor that has a package of this name and may not bring it.
    pub(super) fn hidden(&self, name: &str) -> Option<&'a str> {
        let at = self.hidden.partition_point(|(other, _)| *other < name);
        self.hidden.get(at).filter(|(other, _)| *other == name).map(|(_, archive)| *archive)
    }

    /// The candidates that answer a relation: those of the name first, then those that provide it, each
    /// in order of preference.
    pub(super) fn matches(&self, relation: &Relation<'_>) -> Vec<u32> {
        if !relation.qualifier_allows(self.arch) {
            return Vec::new();
        }
        let constraint = relation.constraint;
        let mut found: Vec<u32> = self
            .ids(relation.name)
            .filter(|id| constraint.is_none_or(|c| c.allows(self.candidate(*id).package.version)))
            .collect();
        let real = found.len();
        for (id, version) in self.providers(relation.name) {
            // Policy §7.5: a bound is met only by a Provides that gives a version.
            let allowed = constraint.is_none_or(|c| version.is_some_and(|v| c.allows(v)));
            if allowed && !found.contains(&id) {
                found.push(id);
            }
        }
        if let Some(providers) = found.get_mut(real..) {
            providers.sort_by_key(|id| {
                let candidate = self.candidate(*id);
                (candidate.vendor, rank(candidate.package.priority), *id)
            });
        }
        found
    }

    /// The relations of a list of alternatives that are meant for this architecture.
    pub(super) fn alternatives<'r, 'x>(
        &self,
        any_of: &'r AnyOf<'x>,
    ) -> impl Iterator<Item = (usize, &'r Relation<'x>)> + use<'r, 'x> {
        let arch = self.arch;
        any_of.0.iter().enumerate().filter(move |(_, relation)| relation.applies_to(arch))
    }
}

impl Universe<'_> {
    fn range(&self, name: &str) -> (usize, usize) {
        (
            self.candidates.partition_point(|c| c.package.name < name),
            self.candidates.partition_point(|c| c.package.name <= name),
        )
    }
}

/// Providers that a plain Debian system would have come first.
fn rank(priority: &str) -> u8 {
    match priority {
        "required" => 0,
        "important" => 1,
        "standard" => 2,
        _ => 3,
    }
}

fn same(a: &Package<'_>, b: &Package<'_>) -> bool {
    a.name == b.name && a.version.as_str() == b.version.as_str() && a.arch == b.arch
}

/// Finds a vendor's package that would stand in the place of another's unasked.
fn shadows(candidates: &[Candidate<'_>]) -> Result<(), UniverseError> {
    for group in candidates.chunk_by(|a, b| a.package.name == b.package.name) {
        let vendors = group.iter().find(|c| c.vendor && !c.preferred);
        let other = group.iter().find(|c| !c.vendor);
        if let (Some(shadow), Some(other)) = (vendors, other) {
            return Err(UniverseError::Shadows {
                archive: shadow.archive.to_owned(),
                package: shadow.title(),
                suite: other.suite.to_owned(),
                other: other.package.version.as_str().to_owned(),
            });
        }
    }
    Ok(())
}

/// Sees that every override is of a package that is there, and says relations.
fn overrides(sources: &[Source<'_, '_>], candidates: &[Candidate<'_>]) -> Result<(), UniverseError> {
    for source in sources {
        for (package, depends) in source.vendor.iter().flat_map(|vendor| vendor.depends) {
            let (archive, package) = (source.archive.to_owned(), package.clone());
            if !candidates.iter().any(|c| c.archive == archive && c.package.name == package) {
                return Err(UniverseError::NothingToOverride { archive, package });
            }
            if let Err(source) = parse_alternatives(depends) {
                return Err(UniverseError::Override { archive, package, source });
            }
        }
    }
    Ok(())
}

/// Finds two packages under one name, version and architecture.
fn contradictions(candidates: &[Candidate<'_>]) -> Result<(), UniverseError> {
    for group in candidates.chunk_by(|a, b| a.package.name == b.package.name) {
        for (at, a) in group.iter().enumerate() {
            let rest = group.get(at + 1..).unwrap_or_default();
            let other =
                rest.iter().find(|b| same(&a.package, &b.package) && a.package.sha256 != b.package.sha256);
            if let Some(b) = other {
                let found = |c: &Candidate<'_>| Box::new((c.suite.to_owned(), c.package.sha256));
                return Err(UniverseError::Contradiction {
                    package: a.title(),
                    first: found(a),
                    second: found(b),
                });
            }
        }
    }
    Ok(())
}

/// Whether a name fits a pattern in which `*` stands for any text.
#[must_use]
pub fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    // Try every place the star may end; patterns have one or two stars.
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| glob(tail, rest)))
}
