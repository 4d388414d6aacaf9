//! The units of the tree, and whether something starts them.
//!
//! What `systemctl is-enabled` would say, but that links below `/usr` count as those below `/etc` do: both
//! start a unit. Generated units, and drop-ins, are not looked at.
//! Source: systemctl(1), “is-enabled”; systemd.unit(5), “UNIT FILE LOAD PATH”, “[INSTALL] SECTION OPTIONS”.

use std::collections::{BTreeMap, BTreeSet};

use goni_disk::tree::TreePath;

use crate::inspection::{Unit, UnitState};
use crate::verify::evidence::{Node, NodeKind, Root};
use crate::verify::objection::Objection;

/// Where units are; what comes first replaces what comes after.
const DIRECTORIES: [&str; 3] =
    ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"];

/// How names of units end.
const SUFFIXES: [&str; 10] = [
    ".automount",
    ".device",
    ".mount",
    ".path",
    ".scope",
    ".service",
    ".slice",
    ".socket",
    ".swap",
    ".target",
];
const TIMER: &str = ".timer";

/// How directories end whose links start units.
const STARTING: [&str; 2] = [".wants", ".requires"];

/// What an `[Install]` section has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    /// Something that a link can come of.
    links: bool,
    /// Another unit to be enabled.
    also: bool,
}

/// Reads every unit.
pub(super) fn read(root: &Root<'_>) -> Result<Vec<Unit>, Objection> {
    let mut files: BTreeMap<String, (&TreePath, &Node)> = BTreeMap::new();
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for directory in DIRECTORIES {
        let depth = directory.split('/').count();
        for (path, node) in root.below(directory) {
            let parts: Vec<String> = path
                .components()
                .skip(depth)
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            match &parts[..] {
                [name] if is_unit(name) && node.kind() != NodeKind::Directory => {
                    files.entry(name.clone()).or_insert((path, node));
                }
                [starter, name] if node.kind() == NodeKind::Symlink => {
                    if let Some(by) = STARTING.iter().find_map(|end| starter.strip_suffix(end)) {
                        wanted.entry(name.clone()).or_default().insert(by.to_owned());
                    }
                }
                _ => {}
            }
        }
    }
    let mut units = Vec::new();
    for (name, (path, node)) in &files {
        let wanted_by: Vec<String> = wanted.remove(name).unwrap_or_default().into_iter().collect();
        let state = state(root, name, path, node, !wanted_by.is_empty())?;
        units.push(Unit { name: name.clone(), state, wanted_by });
    }
    // What is left are instances of templates, and units that something else makes.
    for (name, by) in wanted {
        units.push(Unit { name, state: UnitState::Enabled, wanted_by: by.into_iter().collect() });
    }
    // Units that a link of another name in `/etc` enables.
    let aliased: Vec<String> = files
        .iter()
        .filter(|(name, (path, node))| {
            path.as_bytes().starts_with(b"etc/") && alias(root, name, node).is_some()
        })
        .filter_map(|(name, (_, node))| alias(root, name, node))
        .collect();
    for unit in &mut units {
        if unit.state == UnitState::Disabled && aliased.contains(&unit.name) {
            unit.state = UnitState::Enabled;
        }
    }
    units.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(units)
}

fn is_unit(name: &str) -> bool {
    SUFFIXES.iter().chain([&TIMER]).any(|suffix| name.ends_with(suffix))
}

/// The name that a link of another name leads to.
fn alias(root: &Root<'_>, name: &str, node: &Node) -> Option<String> {
    if node.kind() != NodeKind::Symlink {
        return None;
    }
    let target = root.target(node).ok()?;
    let target = String::from_utf8_lossy(&target).into_owned();
    let last = target.rsplit('/').next()?;
    (last != name && is_unit(last)).then(|| last.to_owned())
}

fn state(
    root: &Root<'_>,
    name: &str,
    path: &TreePath,
    node: &Node,
    wanted: bool,
) -> Result<UnitState, Objection> {
    let (path, node) = match node.kind() {
        NodeKind::Symlink => {
            if root.target(node)? == b"/dev/null" {
                return Ok(UnitState::Masked);
            }
            if alias(root, name, node).is_some() {
                return Ok(UnitState::Alias);
            }
            match root.resolve(path.to_string().as_str()) {
                Some(found) => found,
                // A link that leads nowhere: the unit cannot be loaded.
                None => return Ok(UnitState::Masked),
            }
        }
        _ => (path.clone(), node),
    };
    if node.kind() != NodeKind::File || node.size() == 0 {
        return Ok(UnitState::Masked);
    }
    let text = root.content(&path, node)?;
    let install = install(&String::from_utf8_lossy(&text));
    Ok(match (install.links, install.also) {
        (true, _) if wanted => UnitState::Enabled,
        (true, _) => UnitState::Disabled,
        (false, true) => UnitState::Indirect,
        (false, false) => UnitState::Static,
    })
}

fn install(text: &str) -> Install {
    let mut install = Install::default();
    let mut inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if line.starts_with('[') {
            inside = line == "[Install]";
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
        match key.trim() {
            _ if value.trim().is_empty() => {}
            "WantedBy" | "RequiredBy" | "UpheldBy" | "Alias" => install.links = true,
            "Also" => install.also = true,
            _ => {}
        }
    }
    install
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_unit_can_be_installed_as_is_in_its_own_section() {
        for (text, links, also) in [
            ("[Unit]\nWantedBy=x.target\n", false, false),
            ("[Install]\nWantedBy=x.target\n", true, false),
            ("[Install]\n # WantedBy=x.target\nAlso = y.socket\n", false, true),
            ("[Install]\nWantedBy=\nDefaultInstance=1\n", false, false),
            ("[Install]\n[Service]\nAlias=a.service\n[Install]\nAlias=b.service\n", true, false),
        ] {
            assert_eq!(install(text), Install { links, also }, "{text:?}");
        }
    }
}
