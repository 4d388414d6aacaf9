//! Every entry of a root, and digests of the files that may differ.

use std::collections::{BTreeMap, BTreeSet};

use goni_disk::tree::TreePath;
use goni_model::layout::Role;
use rayon::prelude::*;

use super::packages::Owners;
use super::{Opened, ReadingError};
use crate::diff::{Entry, EntryKind, Side};
use crate::verify::evidence::{Node, NodeKind, Root};
use crate::verify::objection::Objection;

/// Reads every entry; content is left for later.
pub(super) fn read(root: &Root<'_>, owners: &Owners) -> Result<BTreeMap<String, Entry>, Objection> {
    let nodes: Vec<(&TreePath, &Node)> = root.nodes().collect();
    let entries = nodes.par_iter().map(|(path, node)| {
        let kind = match node.kind() {
            NodeKind::Directory => EntryKind::Directory,
            NodeKind::File => EntryKind::File { size: node.size(), sha256: None },
            NodeKind::Symlink => EntryKind::Symlink { target: lossy(&root.target(node)?) },
            NodeKind::Special => EntryKind::Special { device: node.device() },
        };
        let xattrs = root.xattrs(node)?;
        let entry = Entry {
            kind,
            mode: node.mode(),
            uid: node.uid(),
            gid: node.gid(),
            xattrs: xattrs.iter().map(|(name, value)| (lossy(name), lossy(value))).collect(),
            package: owners.get(*path).cloned(),
        };
        Ok((path.to_string(), entry))
    });
    entries.collect()
}

/// Bytes as a text that tells any two of them apart.
fn lossy(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Digests the files that both have: where the roots are the same bytes, none.
pub(super) fn digest(
    opened: [&Opened<'_>; 2],
    sides: [&mut Side; 2],
    same: &BTreeSet<Role>,
) -> Result<(), ReadingError> {
    if same.contains(&Role::Root) {
        return Ok(());
    }
    let [one, two] = sides;
    let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File { .. });
    let common: BTreeSet<String> = one
        .entries
        .iter()
        .filter(|(path, entry)| is_file(entry) && two.entries.get(*path).is_some_and(is_file))
        .map(|(path, _)| path.clone())
        .collect();
    for (opened, side) in opened.into_iter().zip([one, two]) {
        let root = opened.root()?;
        let nodes: Vec<_> = root.nodes().filter(|(path, _)| common.contains(&path.to_string())).collect();
        let digests = root.digests(&nodes).map_err(|it| opened.objection("the root", &it))?;
        for ((path, _), digest) in nodes.iter().zip(digests) {
            let entry = side.entries.get_mut(&path.to_string());
            if let Some(Entry { kind: EntryKind::File { sha256, .. }, .. }) = entry {
                *sha256 = Some(digest);
            }
        }
    }
    Ok(())
}
