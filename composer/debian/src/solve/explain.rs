//! Why there is no answer, in the fewest words that are true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::provider::World;
use super::{Root, SolveError};
use crate::relation::parse_alternatives;

/// One step of a chain of reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Name and version of a package.
    pub package: String,
    /// What it needs, which leads to the next step.
    pub needs: String,
}

/// The steps, one after the other.
pub(super) fn chain(steps: &[Step]) -> String {
    let words: Vec<String> = steps.iter().map(|s| format!("`{}` needs `{}`", s.package, s.needs)).collect();
    if words.is_empty() { "a wish has no answer".to_owned() } else { words.join(", ") }
}

/// Looks for the shortest chain from a wish to something that is not there at all. `None` if everything
/// is there, so that only conflicts can be the reason.
pub(super) fn missing(world: &World<'_>, roots: &[Root<'_>]) -> Result<Option<SolveError>, SolveError> {
    // Breadth first through every candidate that could be wanted; `from` leads back to the wish.
    let mut from: BTreeMap<u32, Option<(u32, String)>> = BTreeMap::new();
    let mut queue = VecDeque::new();
    let mut clauses: BTreeMap<u32, Vec<(String, Vec<u32>)>> = BTreeMap::new();
    let mut order = Vec::new();
    for root in roots {
        for (_, id) in world.answers(&root.any_of).unwrap_or_default() {
            if from.insert(id, None).is_none() {
                queue.push_back(id);
            }
        }
    }
    while let Some(id) = queue.pop_front() {
        order.push(id);
        let candidate = world.universe.candidate(id);
        let fail = |source| SolveError::Relation { package: candidate.title(), source };
        let mut all = candidate.package.pre_depends().map_err(fail)?;
        all.extend(candidate.package.depends().map_err(fail)?);
        let mut list = Vec::new();
        for any_of in all {
            let Some(answers) = world.answers(&any_of) else { continue };
            let answers: Vec<u32> = answers.into_iter().map(|(_, answer)| answer).collect();
            for answer in &answers {
                from.entry(*answer).or_insert_with(|| {
                    queue.push_back(*answer);
                    Some((id, any_of.to_string()))
                });
            }
            list.push((any_of.to_string(), answers));
        }
        clauses.insert(id, list);
    }
    // What cannot be installed, because all that answers one of its needs cannot.
    let mut dead: BTreeSet<u32> = BTreeSet::new();
    loop {
        let before = dead.len();
        for (id, list) in &clauses {
            if list.iter().any(|(_, answers)| answers.iter().all(|answer| dead.contains(answer))) {
                dead.insert(*id);
            }
        }
        if dead.len() == before {
            break;
        }
    }
    for root in roots {
        let answers = world.answers(&root.any_of).unwrap_or_default();
        let Some((_, first)) = answers.first() else { continue };
        if answers.iter().all(|(_, id)| dead.contains(id)) {
            return Ok(Some(follow(world, *first, &clauses, &dead)));
        }
    }
    Ok(None)
}

/// Follows the needs that cannot be met, from a wish to where nothing answers: breadth first, so shortest.
fn follow(
    world: &World<'_>,
    wish: u32,
    clauses: &BTreeMap<u32, Vec<(String, Vec<u32>)>>,
    dead: &BTreeSet<u32>,
) -> SolveError {
    let title = |id: u32| world.universe.candidate(id).title();
    let mut seen = BTreeSet::from([wish]);
    let mut queue = VecDeque::from([(wish, Vec::new())]);
    while let Some((id, path)) = queue.pop_front() {
        for (needs, answers) in clauses.get(&id).into_iter().flatten() {
            if !answers.iter().all(|answer| dead.contains(answer)) {
                continue;
            }
            let mut path: Vec<Step> = path.clone();
            path.push(Step { package: title(id), needs: needs.clone() });
            if answers.is_empty() {
                return SolveError::Missing { chain: path, missing: unanswered(world, needs) };
            }
            for answer in answers {
                if seen.insert(*answer) {
                    queue.push_back((*answer, path.clone()));
                }
            }
        }
    }
    SolveError::Unsound(format!("`{}` cannot be had, and no reason was found", title(wish)))
}

/// Why nothing answers a need: nobody has it, or a vendor who may not bring it.
fn unanswered(world: &World<'_>, needs: &str) -> String {
    let any_of = parse_alternatives(needs).unwrap_or_default();
    let relations = any_of.iter().flat_map(|any_of| &any_of.0);
    let hidden = relations.map(|one| one.name).find_map(|name| Some((name, world.universe.hidden(name)?)));
    match hidden {
        Some((name, archive)) => {
            format!("archive `{archive}` has `{name}`, and its `allow` does not list it")
        }
        None => "no package answers that".to_owned(),
    }
}

/// The name that differs least from a misspelt one, if any is near: up to a third of its letters.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let most = (name.len() / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    for other in names {
        let limit = best.map_or(most, |(distance, _)| distance.saturating_sub(1));
        if other.len().abs_diff(name.len()) > limit {
            continue;
        }
        let distance = distance(name.as_bytes(), other.as_bytes());
        if distance <= limit {
            best = Some((distance, other));
        }
        if distance == 0 {
            break;
        }
    }
    best.map(|(_, name)| name)
}

/// Letters to insert, delete or replace.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
