//! What tells one device from another is made on the device, and what tells the builder is nowhere.

use goni_disk::tree::TreePath;

use super::evidence::{Evidence, StateKind};
use super::objection::{Objection, Verdict, equal, none};

/// The identifier of a machine; empty in the root, where it is mounted over, and not in the initrd.
const MACHINE_ID: &str = "etc/machine-id";

/// Files that must not be there: identifiers and caches of a system that ran.
const ABSENT: [&str; 5] = [
    "etc/machine-info",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "etc/hostid",
];

/// Files in which the name of the builder turns up.
const NAMING: [&str; 5] =
    ["etc/hostname", "etc/hosts", "etc/mailname", "etc/resolv.conf", "etc/machine-info"];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let id = root.text(MACHINE_ID)?;
    if !["", "uninitialized"].contains(&id.trim()) {
        return Err(Objection::differs("`/etc/machine-id` is empty or `uninitialized`", "an identifier"));
    }
    let there = ABSENT.into_iter().filter(|place| {
        // A link to the machine id, which dbus makes, names no machine.
        root.node(place).is_some_and(|node| root.target(node).is_err())
    });
    // An initrd that cannot be read is the fault of another check.
    let of_initrd = evidence.initrd().into_iter().flatten();
    let of_initrd = of_initrd.filter(|name| *name == MACHINE_ID || ABSENT.contains(&name.as_str()));
    none(
        "nothing that belongs to one machine",
        there.map(|place| format!("`/{place}`")).chain(of_initrd.map(|name| format!("`initrd:/{name}`"))),
    )?;
    if let Some(name) = tellable(evidence.builder) {
        for place in NAMING {
            let Some(text) = readable(evidence, place)? else { continue };
            let words = text.split(|c: char| c.is_whitespace() || c == '.');
            if words.into_iter().any(|word| word == name) {
                let expected = format!("`/{place}` does not name the machine that built it");
                return Err(Objection::differs(expected, format!("`{name}`")));
            }
        }
    }
    let state = evidence.state.aid()?;
    let identity = TreePath::parse(b"identity").expect("a name is a path");
    let files = state
        .nodes
        .iter()
        .filter(|(path, node)| path.starts_with(&identity) && !matches!(node.kind, StateKind::Directory));
    none("no identity on the state partition", files.map(|(path, _)| format!("`{path}`")))?;
    let ids = state.nodes.keys().filter(|path| path.name() == b"machine-id").count();
    equal("machine ids on the state partition:", 0, ids)
}

/// A text of the root, if it is there and is no link.
fn readable(evidence: &Evidence<'_>, place: &str) -> Result<Option<String>, Objection> {
    let root = evidence.root.aid()?;
    match root.node(place) {
        Some(node) if root.target(node).is_err() => {
            Ok(root.file(place)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(None),
    }
}

/// The first part of the builder's name, unless it is one that images have as well.
fn tellable(builder: &str) -> Option<&str> {
    let name = builder.split('.').next()?;
    (!["", "localhost", "goni", "debian"].contains(&name)).then_some(name)
}
