//! Why each package is in the answer; what nothing leads to is left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::provider::World;
use super::{Root, SolveError, Why};

/// The chosen candidates that something leads to, each with its reason: wishes first, then the Essential
/// set, then what these need, nearest first.
pub(super) fn reached(
    world: &World<'_>,
    roots: &[Root<'_>],
    chosen: &[u32],
    recommends: bool,
) -> Result<BTreeMap<u32, Why>, SolveError> {
    let chosen: BTreeSet<u32> = chosen.iter().copied().collect();
    let mut reached: BTreeMap<u32, Why> = BTreeMap::new();
    let mut queue = VecDeque::new();
    for root in roots {
        for (_, id) in world.answers(&root.any_of).unwrap_or_default() {
            if chosen.contains(&id) && !reached.contains_key(&id) {
                reached.insert(id, if root.essential { Why::Essential } else { Why::Requested });
                queue.push_back(id);
                break;
            }
        }
    }
    while let Some(id) = queue.pop_front() {
        let candidate = world.universe.candidate(id);
        let package = &candidate.package;
        let fail = |source| SolveError::Relation { package: candidate.title(), source };
        let mut clauses = package.pre_depends().map_err(fail)?;
        clauses.extend(package.depends().map_err(fail)?);
        let hard = clauses.len();
        if recommends {
            clauses.extend(package.recommends().map_err(fail)?);
        }
        for (at, any_of) in clauses.iter().enumerate() {
            let mut answers = world.answers(any_of).unwrap_or_default();
            answers.retain(|(_, answer)| chosen.contains(answer));
            if answers.iter().any(|(_, answer)| reached.contains_key(answer)) {
                continue;
            }
            let Some((alternative, answer)) = answers.first().copied() else { continue };
            let (of, relation) = (package.name.to_owned(), any_of.to_string());
            let why = if at < hard {
                Why::Dependency { of, relation, alternative }
            } else {
                Why::Recommendation { of, relation }
            };
            reached.insert(answer, why);
            queue.push_back(answer);
        }
    }
    Ok(reached)
}

/// What the chosen packages recommend and do not have: the preferred answer of each.
pub(super) fn recommended(world: &World<'_>, chosen: &[u32]) -> Result<Vec<u32>, SolveError> {
    let mut wished = Vec::new();
    let mut sorted = chosen.to_vec();
    sorted.sort_unstable();
    for id in &sorted {
        let candidate = world.universe.candidate(*id);
        let recommends = candidate
            .package
            .recommends()
            .map_err(|source| SolveError::Relation { package: candidate.title(), source })?;
        for any_of in &recommends {
            let answers = world.answers(any_of).unwrap_or_default();
            if answers.iter().any(|(_, answer)| sorted.binary_search(answer).is_ok()) {
                continue;
            }
            wished.extend(answers.first().map(|(_, answer)| *answer));
        }
    }
    wished.dedup();
    Ok(wished)
}
