//! What the solver sees: names, candidates, requirements and constraints.
//!
//! A version set is an explicit list of candidates of one name, so that alternatives, provided names and
//! conflicts are all the same thing: sets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use resolvo::utils::{Pool, VersionSet};
use resolvo::{
    Candidates, Condition, ConditionId, Dependencies, DependencyProvider, Interner, KnownDependencies,
    NameId, Requirement, SolvableId, SolverCache, StringId, VersionSetId, VersionSetUnionId,
};

use super::SolveError;
use super::universe::Universe;
use crate::relation::AnyOf;

/// A universe and what a request changes in it.
pub(super) struct World<'u> {
    pub(super) universe: &'u Universe<'u>,
    pub(super) excluded: BTreeSet<&'u str>,
    pub(super) provided: BTreeSet<&'u str>,
    /// By name, the candidate that is taken rather than the first.
    pub(super) kept: BTreeMap<&'u str, u32>,
}

impl World<'_> {
    /// The candidates that answer one of the alternatives, each with the number of the alternative, in
    /// order of preference. `None` if the composer itself answers, so that nothing need be chosen.
    pub(super) fn answers(&self, any_of: &AnyOf<'_>) -> Option<Vec<(usize, u32)>> {
        let mut found: Vec<(usize, u32)> = Vec::new();
        let mut applies = false;
        for (at, relation) in self.universe.alternatives(any_of) {
            applies = true;
            if relation.constraint.is_none() && self.provided.contains(relation.name) {
                return None;
            }
            for id in self.universe.matches(relation) {
                let name = self.universe.candidate(id).package.name;
                if !self.excluded.contains(name) && !found.iter().any(|(_, other)| *other == id) {
                    found.push((at, id));
                }
            }
        }
        applies.then_some(found)
    }
}

/// Numbers of candidates, sorted: the versions of one name that will do.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Set(Vec<u32>);

impl VersionSet for Set {
    type V = u32;
}

impl Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Answers the solver's questions.
pub(super) struct Provider<'w> {
    world: &'w World<'w>,
    pool: Pool<Set, String>,
    solvables: RefCell<BTreeMap<u32, SolvableId>>,
    error: RefCell<Option<SolveError>>,
}

impl<'w> Provider<'w> {
    pub(super) fn new(world: &'w World<'w>) -> Self {
        Self { world, pool: Pool::new(), solvables: RefCell::default(), error: RefCell::default() }
    }

    /// The first relation that could not be read, if any.
    pub(super) fn take_error(&self) -> Option<SolveError> {
        self.error.borrow_mut().take()
    }

    /// The candidate a solvable stands for.
    pub(super) fn record(&self, id: SolvableId) -> u32 {
        self.pool.resolve_solvable(id).record
    }

    /// The solvable that stands for a candidate.
    pub(super) fn solvable(&self, id: u32) -> SolvableId {
        *self.solvables.borrow_mut().entry(id).or_insert_with(|| {
            let name = self.world.universe.candidate(id).package.name;
            self.pool.intern_solvable(self.pool.intern_package_name(name.to_owned()), id)
        })
    }

    fn set(&self, name: &str, ids: Vec<u32>) -> VersionSetId {
        self.pool.intern_version_set(self.pool.intern_package_name(name.to_owned()), Set(ids))
    }

    /// Candidates as sets of one name each, in order of preference.
    fn sets(&self, ids: impl IntoIterator<Item = u32>) -> Vec<VersionSetId> {
        let mut groups: Vec<(&str, Vec<u32>)> = Vec::new();
        for id in ids {
            let name = self.world.universe.candidate(id).package.name;
            match groups.iter_mut().find(|(other, _)| *other == name) {
                Some((_, group)) => group.push(id),
                None => groups.push((name, vec![id])),
            }
        }
        groups
            .into_iter()
            .map(|(name, mut ids)| {
                ids.sort_unstable();
                self.set(name, ids)
            })
            .collect()
    }

    /// The requirement that one of these candidates be chosen. None of them makes it an empty set of
    /// `name`, which no choice answers.
    fn require_any(&self, ids: Vec<(usize, u32)>, name: &str) -> Requirement {
        let sets = self.sets(ids.into_iter().map(|(_, id)| id));
        match sets.split_first() {
            None => Requirement::Single(self.set(name, Vec::new())),
            Some((only, [])) => Requirement::Single(*only),
            Some((first, rest)) => {
                Requirement::Union(self.pool.intern_version_set_union(*first, rest.iter().copied()))
            }
        }
    }

    /// The requirement of a root. The composer itself never answers a wish.
    pub(super) fn require(&self, any_of: &AnyOf<'_>) -> Requirement {
        let name = any_of.0.first().map_or("", |relation| relation.name);
        self.require_any(self.world.answers(any_of).unwrap_or_default(), name)
    }

    fn dependencies(&self, id: u32) -> Result<KnownDependencies, SolveError> {
        let universe = self.world.universe;
        let candidate = universe.candidate(id);
        let package = &candidate.package;
        let fail = |source| SolveError::Relation { package: candidate.title(), source };
        let mut known = KnownDependencies::default();
        let clauses =
            package.pre_depends().map_err(fail)?.into_iter().chain(package.depends().map_err(fail)?);
        for any_of in clauses {
            if let Some(ids) = self.world.answers(&any_of) {
                let name = any_of.0.first().map_or("", |relation| relation.name);
                known.requirements.push(self.require_any(ids, name).into());
            }
        }
        for relation in package.conflicts().map_err(fail)?.iter().filter(|r| r.applies_to(universe.arch())) {
            let foes: BTreeSet<u32> = universe.matches(relation).into_iter().collect();
            let names: BTreeSet<&str> =
                foes.iter().map(|foe| universe.candidate(*foe).package.name).collect();
            // Policy §7.4: a package does not conflict with itself, whatever it provides.
            for name in names.into_iter().filter(|name| *name != package.name) {
                let friends = universe.ids(name).filter(|other| !foes.contains(other)).collect();
                known.constrains.push(self.set(name, friends));
            }
        }
        Ok(known)
    }
}

impl Interner for &Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.world.universe.candidate(self.record(solvable)).title()
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.pool.resolve_package_name(name)
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        let versions: Vec<&str> = self
            .pool
            .resolve_version_set(set)
            .0
            .iter()
            .map(|id| self.world.universe.candidate(*id).package.version.as_str())
            .collect();
        if versions.is_empty() { "(none)".to_owned() } else { versions.join(" or ") }
    }

    fn display_string(&self, string: StringId) -> impl Display + '_ {
        self.pool.resolve_string(string)
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.resolve_solvable(solvable).name
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

impl DependencyProvider for &Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let set = &self.pool.resolve_version_set(set).0;
        candidates
            .iter()
            .copied()
            .filter(|solvable| set.binary_search(&self.record(*solvable)).is_ok() != inverse)
            .collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates<SolvableId>> {
        let name = self.pool.resolve_package_name(name);
        if self.world.excluded.contains(name.as_str()) {
            return None;
        }
        let candidates: Vec<SolvableId> = self.world.universe.ids(name).map(|id| self.solvable(id)).collect();
        let favored = self.world.kept.get(name.as_str()).map(|id| self.solvable(*id));
        (!candidates.is_empty()).then(|| Candidates { candidates, favored, ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        // Numbers of candidates are in order of preference.
        solvables.sort_by_key(|solvable| self.record(*solvable));
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        match self.dependencies(self.record(solvable)) {
            Ok(known) => Dependencies::Known(known),
            Err(error) => {
                let reason = self.pool.intern_string(error.to_string());
                self.error.borrow_mut().get_or_insert(error);
                Dependencies::Unknown(reason)
            }
        }
    }
}
