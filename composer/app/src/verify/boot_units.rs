//! What starts at boot: goni's service is enabled, and the program it runs is there.

use super::evidence::{Evidence, NodeKind};
use super::objection::{Objection, Verdict};

/// The unit, where overlays put it.
const UNIT: &str = "usr/lib/systemd/system/goni-http.service";

/// Links that start it.
const WANTS: [&str; 2] = [
    "etc/systemd/system/multi-user.target.wants/goni-http.service",
    "usr/lib/systemd/system/multi-user.target.wants/goni-http.service",
];

/// Where a link of its name would replace it, by nothing for instance.
const MASK: &str = "etc/systemd/system/goni-http.service";

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let unit = root.text(UNIT)?;
    if !WANTS.iter().any(|link| root.node(link).is_some_and(|node| node.kind() == NodeKind::Symlink)) {
        return Err(Objection::differs("goni-http.service is wanted by multi-user.target", "it is not"));
    }
    if root.node(MASK).is_some() {
        return Err(Objection::differs("the unit of the overlay applies", format!("`/{MASK}` replaces it")));
    }
    let program = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="))
        .filter_map(|command| command.trim_start_matches(['-', '@', ':', '+', '!']).split_whitespace().next())
        .next_back()
        .ok_or_else(|| Objection::differs("`ExecStart=` in goni-http.service", "there is none"))?;
    let node = root.node(program).filter(|node| node.kind() == NodeKind::File);
    match node {
        Some(node) if node.mode() & 0o005 == 0o005 => Ok(()),
        Some(node) => {
            Err(Objection::differs(format!("`{program}` can be run"), format!("mode {:04o}", node.mode())))
        }
        None => Err(Objection::differs(format!("a program `{program}`"), "there is none")),
    }
}
