//! What a lock was made from, held against what there is now.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Lock, LockRequest, LockedInput, RequestedArchive, text};

/// One key that no longer says what it said when the lock was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stale {
    /// The key of the lock's request, or the kind of an input: `packages`, `archive.vendor.allow`, `overlay`.
    pub key: String,
    /// What became of it.
    pub change: Change,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A list has other entries.
    List {
        /// Those that are new.
        added: Vec<String>,
        /// Those that are gone.
        removed: Vec<String>,
    },
    /// A value is another.
    Value {
        /// What it was.
        was: String,
        /// What it is.
        now: String,
    },
    /// An input is not in the lock.
    New {
        /// Its name.
        name: String,
    },
    /// An input of the lock is not there any more.
    Gone {
        /// Its name.
        name: String,
    },
    /// An input has another digest.
    Other {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let words =
            |items: &[String]| items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ");
        match &self.change {
            Change::List { added, removed } if removed.is_empty() => {
                write!(f, "`{key}` has {} besides", words(added))
            }
            Change::List { added, removed } if added.is_empty() => {
                write!(f, "`{key}` has no {} any more", words(removed))
            }
            Change::List { added, removed } => {
                write!(f, "`{key}` has {} instead of {}", words(added), words(removed))
            }
            Change::Value { was, now } => write!(f, "`{key}` was {was}, is {now}"),
            Change::New { name } => write!(f, "{key} `{name}` is new"),
            Change::Gone { name } => write!(f, "{key} `{name}` is gone"),
            Change::Other { name } => write!(f, "{key} `{name}` changed"),
        }
    }
}

impl Lock {
    /// The keys of the request that no longer say what they said, each with what became of it.
    #[must_use]
    pub fn stale_keys(&self, now: &LockRequest) -> Vec<Stale> {
        let mut now = now.clone();
        now.sort();
        let mut was = self.request.clone();
        was.sort();
        let mut stale = Vec::new();
        let mut lists = |key: String, was: &[String], now: &[String]| {
            let lacks = |of: &[String], other: &[String]| -> Vec<String> {
                of.iter().filter(|item| !other.contains(item)).cloned().collect()
            };
            let (added, removed) = (lacks(now, was), lacks(was, now));
            if !added.is_empty() || !removed.is_empty() {
                stale.push(Stale { key, change: Change::List { added, removed } });
            }
        };
        lists("packages".to_owned(), &was.packages, &now.packages);
        lists("exclude".to_owned(), &was.exclude, &now.exclude);
        lists("provided".to_owned(), &was.provided, &now.provided);
        lists("dkms".to_owned(), &was.dkms, &now.dkms);
        lists("local".to_owned(), &was.local, &now.local);
        let names = |request: &LockRequest| -> Vec<String> {
            request.archives.iter().map(|archive| archive.name.clone()).collect()
        };
        lists("archives".to_owned(), &names(&was), &names(&now));
        let pairs: Vec<(&RequestedArchive, &RequestedArchive)> = was
            .archives
            .iter()
            .filter_map(|old| Some((old, now.archives.iter().find(|new| new.name == old.name)?)))
            .collect();
        for (old, new) in &pairs {
            for (key, was, now) in [
                ("suites", &old.suites, &new.suites),
                ("components", &old.components, &new.components),
                ("allow", &old.allow, &new.allow),
                ("keys", &old.keys, &new.keys),
                ("replace", &old.replace, &new.replace),
                ("weak", &old.weak, &new.weak),
            ] {
                lists(format!("archive.{}.{key}", old.name), was, now);
            }
        }
        let mut values = |key: String, was: String, now: String| {
            if was != now {
                stale.push(Stale { key, change: Change::Value { was, now } });
            }
        };
        values("recommends".to_owned(), was.recommends.to_string(), now.recommends.to_string());
        values("build".to_owned(), was.build.to_string(), now.build.to_string());
        for (old, new) in &pairs {
            let (was, now) = (text::table(&old.depends), text::table(&new.depends));
            values(format!("archive.{}.override", old.name), was, now);
        }
        stale
    }

    /// The inputs of the project that are not what they were, each with what became of it.
    #[must_use]
    pub fn stale_inputs(&self, now: &[LockedInput]) -> Vec<Stale> {
        let by_name = |inputs: &[LockedInput]| -> BTreeMap<_, _> {
            inputs.iter().map(|it| ((it.kind, it.name.clone()), it.sha256)).collect()
        };
        let (was, now) = (by_name(&self.inputs), by_name(now));
        let mut stale = BTreeMap::new();
        for (key, sha256) in &now {
            match was.get(key) {
                None => drop(stale.insert(key.clone(), Change::New { name: key.1.clone() })),
                Some(old) if old != sha256 => {
                    drop(stale.insert(key.clone(), Change::Other { name: key.1.clone() }));
                }
                Some(_) => {}
            }
        }
        for key in was.keys().filter(|key| !now.contains_key(key)) {
            stale.insert(key.clone(), Change::Gone { name: key.1.clone() });
        }
        stale.into_iter().map(|((kind, _), change)| Stale { key: kind.to_string(), change }).collect()
    }
}
