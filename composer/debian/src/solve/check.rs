//! The second look: every clause of the answer, without the solver.
//!
//! Works from the relations and the names alone, not from the sets the solver was given, so that a
//! mistake in those is seen here.

use super::universe::Universe;
use super::{Request, Root, SolveError};
use crate::index::Package;
use crate::relation::{AnyOf, Comparison, Relation};

/// Checks that the answer holds.
pub(super) fn check(
    universe: &Universe<'_>,
    request: &Request,
    roots: &[Root<'_>],
    ids: &[u32],
) -> Result<(), SolveError> {
    let packages: Vec<&Package<'_>> = ids.iter().map(|id| &universe.candidate(*id).package).collect();
    let unsound = |text: String| Err(SolveError::Unsound(text));
    for pair in packages.windows(2) {
        let [a, b] = pair else { continue };
        if a.name == b.name {
            return unsound(format!("`{}` is there twice", a.name));
        }
    }
    if let Some(package) = packages.iter().find(|p| request.exclude.iter().any(|name| name == p.name)) {
        return unsound(format!("`{}` is excluded", package.name));
    }
    for root in roots {
        if !holds(universe, &packages, &[], &root.any_of)? {
            return unsound(format!("nothing answers `{}`", root.any_of));
        }
    }
    for package in &packages {
        let fail = |source| SolveError::Relation { package: package.name.to_owned(), source };
        let mut clauses = package.pre_depends().map_err(fail)?;
        clauses.extend(package.depends().map_err(fail)?);
        for any_of in &clauses {
            if !holds(universe, &packages, &request.provided, any_of)? {
                return unsound(format!("nothing answers `{any_of}` of `{}`", package.name));
            }
        }
        for relation in package.conflicts().map_err(fail)? {
            for other in &packages {
                if other.name != package.name
                    && relation.applies_to(universe.arch())
                    && answers(universe, other, &relation)?
                {
                    return unsound(format!(
                        "`{}` stands against `{}`: {relation}",
                        package.name, other.name
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Whether one of the alternatives is there.
fn holds(
    universe: &Universe<'_>,
    packages: &[&Package<'_>],
    provided: &[String],
    any_of: &AnyOf<'_>,
) -> Result<bool, SolveError> {
    let mut applies = false;
    for relation in any_of.0.iter().filter(|relation| relation.applies_to(universe.arch())) {
        applies = true;
        if relation.constraint.is_none() && provided.iter().any(|name| name == relation.name) {
            return Ok(true);
        }
        for package in packages {
            if answers(universe, package, relation)? {
                return Ok(true);
            }
        }
    }
    Ok(!applies)
}

/// Whether a package answers a relation by its name or by what it provides.
fn answers(
    universe: &Universe<'_>,
    package: &Package<'_>,
    relation: &Relation<'_>,
) -> Result<bool, SolveError> {
    if !relation.qualifier_allows(universe.arch()) {
        return Ok(false);
    }
    if package.name == relation.name && relation.constraint.is_none_or(|c| c.allows(package.version)) {
        return Ok(true);
    }
    let provides = package
        .provides()
        .map_err(|source| SolveError::Relation { package: package.name.to_owned(), source })?;
    Ok(provides.iter().any(|one| {
        one.name == relation.name
            && match (relation.constraint, one.constraint) {
                (None, _) => true,
                (Some(bound), Some(given)) => {
                    given.comparison == Comparison::Equal && bound.allows(given.version)
                }
                (Some(_), None) => false,
            }
    }))
}
