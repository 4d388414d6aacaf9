//! Entries that were added, removed or changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Entry, EntryKind};

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Where it is.
    pub path: String,
    /// What of it differs: `kind`, `content`, `target`, `device`, `mode`, `owner`, `xattrs`; nothing of an
    /// entry that only one image has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<&'static str>,
    /// As it was.
    pub before: Option<Entry>,
    /// As it is.
    pub after: Option<Entry>,
}

impl FileChange {
    /// The package that lists it.
    #[must_use]
    pub fn package(&self) -> Option<&str> {
        self.after.iter().chain(&self.before).find_map(|entry| entry.package.as_deref())
    }
}

/// What became of every entry that is not the same.
pub(super) fn between(before: &BTreeMap<String, Entry>, after: &BTreeMap<String, Entry>) -> Vec<FileChange> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = paths.into_iter().filter_map(|path| {
        let (one, two) = (before.get(path), after.get(path));
        let changed = match (one, two) {
            (Some(one), Some(two)) => changed(one, two),
            _ => Vec::new(),
        };
        let both = one.is_some() && two.is_some();
        (!both || !changed.is_empty()).then(|| FileChange {
            path: path.clone(),
            changed,
            before: one.cloned(),
            after: two.cloned(),
        })
    });
    changes.collect()
}

fn changed(one: &Entry, two: &Entry) -> Vec<&'static str> {
    let kind = match (&one.kind, &two.kind) {
        (EntryKind::Directory, EntryKind::Directory) => None,
        (EntryKind::File { size, sha256 }, EntryKind::File { size: other, sha256: digest }) => {
            (size != other || sha256 != digest).then_some("content")
        }
        (EntryKind::Symlink { target }, EntryKind::Symlink { target: other }) => {
            (target != other).then_some("target")
        }
        (EntryKind::Special { device }, EntryKind::Special { device: other }) => {
            (device != other).then_some("device")
        }
        _ => Some("kind"),
    };
    let others = [
        ("mode", one.mode != two.mode),
        ("owner", (one.uid, one.gid) != (two.uid, two.gid)),
        ("xattrs", one.xattrs != two.xattrs),
    ];
    kind.into_iter().chain(others.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what)).collect()
}
