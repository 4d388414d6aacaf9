//! The root: an EROFS file system whose every entry can be reached, with a system in it.

use super::evidence::{Evidence, NodeKind};
use super::objection::{Verdict, none};

/// Directories that systemd needs, of which a read-only root cannot make one.
const MOUNT_POINTS: [&str; 8] = ["dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.object()?;
    let is_directory = |place: &&str| root.node(place).is_some_and(|node| node.kind() == NodeKind::Directory);
    let missing = MOUNT_POINTS.into_iter().filter(|place| !is_directory(place));
    none("the directories of a root", missing.map(|place| format!("no `/{place}`")))
}
