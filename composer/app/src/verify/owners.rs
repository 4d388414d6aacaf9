//! Owners and modes of the root: nothing that others may change, nobody that has no name, no program
//! that lends its rights but those of Debian that do.

use std::collections::BTreeSet;

use super::evidence::{Accounts, Evidence, Node, NodeKind};
use super::objection::{Objection, Verdict, none};
use super::state::{PLACES, expect_owner};

/// Programs that run as somebody else than who starts them, and why Debian has it so. All of them are
/// out of reach of services with `NoNewPrivileges=`, and nobody logs in.
const PRIVILEGED: &[(&str, &str)] = &[
    ("usr/bin/chage", "reads one's own line of the shadow file"),
    ("usr/bin/chfn", "changes one's own line of the user database"),
    ("usr/bin/chsh", "changes one's own line of the user database"),
    ("usr/bin/crontab", "writes one's own file of a spool"),
    ("usr/bin/dotlockfile", "locks one's own mailbox"),
    ("usr/bin/expiry", "reads one's own line of the shadow file"),
    ("usr/bin/fusermount3", "mounts what its user may mount"),
    ("usr/bin/gpasswd", "changes groups that one administers"),
    ("usr/bin/mount", "mounts what fstab lets users mount"),
    ("usr/bin/newgrp", "asks for a group's password"),
    ("usr/bin/passwd", "changes one's own password"),
    ("usr/bin/ssh-agent", "set-group-id, so that nobody can trace it"),
    ("usr/bin/su", "asks for another's password"),
    ("usr/bin/sudo", "runs what its rules allow"),
    ("usr/bin/umount", "unmounts what its user mounted"),
    ("usr/bin/wall", "writes to the terminals of others"),
    ("usr/bin/write", "writes to the terminals of others"),
    ("usr/lib/dbus-1.0/dbus-daemon-launch-helper", "starts bus services as their users"),
    ("usr/lib/openssh/ssh-keysign", "reads the host key"),
    ("usr/lib/polkit-1/polkit-agent-helper-1", "checks a password"),
    ("usr/sbin/mount.cifs", "mounts what fstab lets users mount"),
    ("usr/sbin/unix_chkpwd", "checks one's own password"),
];

/// Files with capabilities, and why.
const CAPABLE: &[(&str, &str)] = &[("usr/bin/ping", "sends raw packets")];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let accounts = Accounts::read(root)?;
    let uids: BTreeSet<u32> = accounts.users.iter().map(|user| user.uid).collect();
    let gids: BTreeSet<u32> = accounts.groups.values().map(|(gid, _)| *gid).collect();

    let all = |problem: fn(&Node) -> bool| {
        let found = root.nodes().filter(move |(_, node)| problem(node));
        found.map(|(path, node)| format!("`{path}` {:04o}", node.mode()))
    };
    none("no device, pipe or socket", all(|node| node.kind() == NodeKind::Special))?;
    none("nothing that all may write, but sticky directories", all(is_open))?;

    let listed = |list: &[(&str, &str)], path: &[u8]| list.iter().any(|(name, _)| name.as_bytes() == path);
    let lending = root.nodes().filter(|(path, node)| {
        node.kind() == NodeKind::File && node.mode() & 0o6000 != 0 && !listed(PRIVILEGED, path.as_bytes())
    });
    let lending = lending.map(|(path, node)| format!("`{path}` {:04o}", node.mode()));
    none("no set-user-id or set-group-id file but those of Debian's list", lending)?;

    let mut capable = Vec::new();
    for (path, node) in root.nodes().filter(|(path, _)| !listed(CAPABLE, path.as_bytes())) {
        if root.xattrs(node)?.contains_key(&b"security.capability"[..]) {
            capable.push(format!("`{path}`"));
        }
    }
    none("no file with capabilities but those of the list", capable)?;

    let strange = root.nodes().filter(|(_, node)| !uids.contains(&node.uid()) || !gids.contains(&node.gid()));
    let strange = strange.map(|(path, node)| format!("`{path}` of {}:{}", node.uid(), node.gid()));
    none("owners that `/etc/passwd` and `/etc/group` name", strange)?;

    for place in PLACES.iter().filter(|place| place.mounted) {
        let node = root.node(place.path).filter(|node| node.kind() == NodeKind::Directory);
        let node = node.ok_or_else(|| {
            Objection::differs(format!("a directory `/{}` to mount on", place.path), "there is none")
        })?;
        let name = format!("/{}", place.path);
        expect_owner(place, &name, &accounts, (node.mode(), node.uid(), node.gid()))?;
    }
    Ok(())
}

/// Whether anybody may change it.
fn is_open(node: &Node) -> bool {
    match node.kind() {
        NodeKind::Symlink => false,
        NodeKind::Directory => node.mode() & 0o1002 == 0o0002,
        NodeKind::File | NodeKind::Special => node.mode() & 0o0002 != 0,
    }
}
