//! What takes the room of a root: by package, overlay, payload and stage; and what grew since another.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use goni_model::size::ByteCount;
use serde::Serialize;

use super::document::{HandLine, Index, Kind, Line, Place, What};

/// The room that somebody's files take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// What they are.
    pub kind: Kind,
    /// Their name.
    pub name: String,
    /// Files of theirs; those that were replaced by others are the others'.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes that they take of the root file system, compressed; a share of what files have in common.
    pub stored: u64,
}

/// What somebody's files took, and take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What they are.
    pub kind: Kind,
    /// Their name.
    pub name: String,
    /// Bytes that they took of the root file system.
    pub before: u64,
    /// Bytes that they take.
    pub after: u64,
}

impl Change {
    /// The bytes that came, or went.
    #[must_use]
    pub fn difference(&self) -> i128 {
        i128::from(self.after) - i128::from(self.before)
    }
}

/// The sizes of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The image: name, version and architecture.
    pub image: String,
    /// What the root file system uses of its partition.
    pub used: u64,
    /// How much it may use.
    pub budget: Option<u64>,
    /// What of it are metadata, and what no file has by itself.
    pub unattributed: u64,
    /// Everybody's share, the largest first.
    pub shares: Vec<Share>,
    /// What it was before, if that is known.
    pub since: Option<Since>,
}

/// A root before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Since {
    /// The image: name, version and architecture.
    pub image: String,
    /// What its root file system used.
    pub used: u64,
    /// Whose share changed, what grew most first.
    pub changes: Vec<Change>,
}

impl Index {
    /// The sizes of the root, and what changed since another.
    #[must_use]
    pub fn sizes(&self, before: Option<&Self>) -> Sizes {
        let mut shares: Vec<Share> = self.shares().into_values().collect();
        shares.sort_by_key(|share| {
            (Reverse(share.stored), Reverse(share.bytes), share.kind, share.name.clone())
        });
        let attributed = shares.iter().map(|share| share.stored).sum();
        Sizes {
            image: self.title(),
            used: self.root_used,
            budget: self.root_budget,
            unattributed: self.root_used.saturating_sub(attributed),
            since: before.map(|before| self.since(before)),
            shares,
        }
    }

    fn since(&self, before: &Self) -> Since {
        let (was, is) = (before.shares(), self.shares());
        let everybody = was.keys().chain(is.keys().filter(|who| !was.contains_key(*who)));
        let stored =
            |shares: &BTreeMap<(Kind, String), Share>, who| shares.get(who).map_or(0, |it| it.stored);
        let changes = everybody.map(|who| Change {
            kind: who.0,
            name: who.1.clone(),
            before: stored(&was, who),
            after: stored(&is, who),
        });
        let mut changes: Vec<Change> = changes.filter(|change| change.before != change.after).collect();
        changes.sort_by_key(|change| (Reverse(change.difference()), change.kind, change.name.clone()));
        Since { image: before.title(), used: before.root_used, changes }
    }

    fn title(&self) -> String {
        format!("{}_{}_{}", self.name, self.version, self.arch)
    }

    /// Everybody's share: a file is whoever's put there last what is there.
    fn shares(&self) -> BTreeMap<(Kind, String), Share> {
        let mut shares: BTreeMap<(Kind, String), Share> = BTreeMap::new();
        for Line(_, what, bytes, _, hands, stored) in self.lines(Place::Root) {
            let put = |hand: &&HandLine| hand.2 != "changed" && hand.2 != "removed";
            let hands = hands.iter().rev().filter_map(|number| self.hands.get(*number));
            let Some(HandLine(kind, name, ..)) = hands.clone().find(put) else { continue };
            if *what != What::File {
                continue;
            }
            let share = shares.entry((*kind, name.clone())).or_insert_with(|| Share {
                kind: *kind,
                name: name.clone(),
                files: 0,
                bytes: 0,
                stored: 0,
            });
            share.files += 1;
            share.bytes = share.bytes.saturating_add(*bytes);
            share.stored = share.stored.saturating_add(*stored);
        }
        shares
    }
}

/// A root that is larger than it may be.
#[derive(Debug, thiserror::Error)]
#[error("the root uses {used}, and its budget is {budget}; {}", told.join("; "))]
pub struct OverBudget {
    used: String,
    budget: String,
    told: Vec<String>,
}

/// How many are named when a root is too large.
const NAMED: usize = 5;

impl Sizes {
    /// Refuses a root that uses more than it may.
    ///
    /// # Errors
    /// [`OverBudget`], with what is largest and what grew.
    pub fn within_budget(&self) -> Result<(), OverBudget> {
        let Some(budget) = self.budget.filter(|budget| self.used > *budget) else { return Ok(()) };
        let largest = self.shares.iter().take(NAMED);
        let largest = largest.map(|it| format!("{} {} {}", it.kind.name(), it.name, mebibytes(it.stored)));
        let mut told = vec![format!("largest: {}", largest.collect::<Vec<_>>().join(", "))];
        if let Some(since) = &self.since {
            told.push(match since.grown(NAMED) {
                grown if grown.is_empty() => "nothing grew since the last build".to_owned(),
                grown => format!("grew since the last build: {}", grown.join(", ")),
            });
        }
        Err(OverBudget { used: mebibytes(self.used), budget: ByteCount::new(budget).to_string(), told })
    }
}

impl Since {
    /// What grew most, in words.
    #[must_use]
    pub fn grown(&self, most: usize) -> Vec<String> {
        let grown = self.changes.iter().filter(|change| change.difference() > 0).take(most);
        grown.map(|it| format!("{} {} {}", it.kind.name(), it.name, signed(it.difference()))).collect()
    }
}

impl crate::failure::Classify for OverBudget {
    fn class(&self) -> crate::failure::Class {
        crate::failure::Class::Check
    }

    fn hint(&self) -> Option<String> {
        Some("leave something out, or raise `root.budget`".to_owned())
    }
}

/// A size for people: tenths of a mebibyte.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    let tenths = (bytes >> 20) * 10 + (bytes & ((1 << 20) - 1)) * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// A difference for people.
#[must_use]
pub fn signed(bytes: i128) -> String {
    let size = u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX);
    let sign = if bytes < 0 { "−" } else { "+" };
    match size >> 20 {
        0 => format!("{sign}{} KiB", size.div_ceil(1 << 10)),
        _ => format!("{sign}{}", mebibytes(size)),
    }
}
