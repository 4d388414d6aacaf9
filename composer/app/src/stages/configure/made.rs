//! Whose doing it was: what maintainer scripts and triggers made, changed and took away, package by package.
//!
//! dpkg does not say which script made what, and clocks cannot tell: two scripts may run within one tick,
//! and the answer has to be the same in every build. So it is read off the finished tree: the databases of
//! alternatives, of units and of tmpfiles.d, what is known of a few tools, and whose scripts name a path.
//! What none of them tells belongs to the stage, and says so.

mod evidence;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use goni_disk::tree::{ContentSource, Deed, FileTree, Hand, Inode, Kind, TreePath};

use evidence::{Evidence, Maker};

/// How often directories are traced to what is in them: none lies deeper that a script made.
const DEEPEST: usize = 8;

/// Notes in a configured tree who made what was not unpacked, and who changed and removed what was.
///
/// # Errors
/// What reading the tree's own files raises.
pub(super) fn trace(
    tree: &mut FileTree,
    unpacked: &FileTree,
    contents: &dyn ContentSource,
) -> io::Result<()> {
    for (path, hands) in unpacked.histories() {
        if tree.entry(path).is_some() {
            tree.set_hands(path.clone(), hands.to_vec());
        }
    }
    let evidence = Evidence::gather(tree, contents)?;
    let mut makers: BTreeMap<TreePath, Maker> = BTreeMap::new();
    let made: Vec<TreePath> = tree
        .iter()
        .filter(|(path, _)| !same_kind(tree.get(path), unpacked.get(path)))
        .map(|(path, _)| path.clone())
        .collect();
    for path in &made {
        if let Some(maker) = evidence.maker(tree, path) {
            makers.insert(path.clone(), maker);
        }
    }
    for _ in 0..DEEPEST {
        let of_children: Vec<(TreePath, Maker)> = made
            .iter()
            .filter(|path| !makers.contains_key(path))
            .filter_map(|path| Some((path.clone(), of_children(tree, &makers, path)?)))
            .collect();
        if of_children.is_empty() {
            break;
        }
        makers.extend(of_children);
    }
    for path in &made {
        let maker = makers.remove(path).unwrap_or_else(|| evidence.unknown(path));
        let owner = maker.owner();
        tree.set_owner(path, owner.clone());
        let before = unpacked.entry(path).map(|entry| Hand::new(entry.owner.clone(), Deed::Brought));
        let deed = if before.is_some() { Deed::Replaced } else { Deed::Made };
        let hand = Hand { owner, deed, why: Some(maker.why) };
        tree.set_hands(path.clone(), before.into_iter().chain([hand]).collect());
    }
    let of = |path: &TreePath| evidence.changer(path).unwrap_or_else(|| evidence.unknown(path));
    for (path, entry) in unpacked.iter() {
        let before = unpacked.inode(entry.inode);
        let Some(after) = tree.get(path) else {
            let maker = of(path);
            let hands = unpacked.hands(path);
            let removed = Hand { owner: maker.owner(), deed: Deed::Removed, why: Some(maker.why) };
            tree.set_hands(path.clone(), hands.into_iter().chain([removed]).collect());
            continue;
        };
        let Some(what) = difference(before, after) else { continue };
        let maker = of(path);
        let why: Arc<str> = format!("{what}: {}", maker.why).into();
        tree.note(path, Hand { owner: maker.owner(), deed: Deed::Changed, why: Some(why) });
    }
    Ok(())
}

fn same_kind(one: Option<&Inode>, other: Option<&Inode>) -> bool {
    let kind = |inode: Option<&Inode>| inode.map(|inode| inode.kind.type_bits());
    kind(one) == kind(other)
}

/// Who made everything in a directory that nobody unpacked, if it was one.
fn of_children(tree: &FileTree, makers: &BTreeMap<TreePath, Maker>, path: &TreePath) -> Option<Maker> {
    let mut children = tree.children(path).map(|(path, _)| makers.get(path));
    let first = children.next()??;
    children.all(|maker| maker.is_some_and(|maker| maker.package == first.package)).then(|| first.clone())
}

/// What is no longer as it was unpacked; a file that was written keeps no time of its package.
fn difference(before: &Inode, after: &Inode) -> Option<&'static str> {
    let (was, is) = (&before.metadata, &after.metadata);
    if same_kind(Some(before), Some(after)) {
        match (&before.kind, &after.kind) {
            (Kind::File(_), Kind::File(_)) if was.mtime != is.mtime => return Some("what is in it"),
            (Kind::Symlink(one), Kind::Symlink(other)) if one != other => return Some("where it leads"),
            _ => {}
        }
        if (was.mode, was.uid, was.gid) != (is.mode, is.uid, is.gid)
            && !matches!(after.kind, Kind::Symlink(_))
        {
            return Some("its owner or mode");
        }
        if was.xattrs != is.xattrs {
            return Some("its attributes");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use goni_disk::tree::{Content, Metadata, NoContent, Owner};
    use goni_model::time::Timestamp;

    use super::*;

    /// A tree of these entries: name, owner, and what it is: a directory (`/`), a link (`>target`) or a text.
    fn tree(entries: &[(&str, &str, &str)]) -> FileTree {
        let metadata = |mode| Metadata {
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::from_seconds(1),
            xattrs: BTreeMap::new(),
        };
        let owner = |name: &str| match name {
            "" => Owner::Stage("configure".into()),
            name => Owner::Package(name.into()),
        };
        let mut tree = FileTree::new(metadata(0o755), owner("base-files"));
        for (name, package, what) in entries {
            let kind = match what.strip_prefix('>') {
                Some(target) => Kind::Symlink(target.into()),
                None if *what == "/" => Kind::Directory,
                None => Kind::File(Content::inline(what.as_bytes())),
            };
            let mut above: Vec<TreePath> =
                std::iter::successors(path(name).parent(), TreePath::parent).collect();
            above.reverse();
            for directory in above {
                if tree.entry(&directory).is_none() {
                    let inode = Inode { metadata: metadata(0o755), kind: Kind::Directory };
                    tree.insert(directory, inode, owner("base-files")).unwrap();
                }
            }
            tree.insert(path(name), Inode { metadata: metadata(0o644), kind }, owner(package)).unwrap();
        }
        tree
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    const UNPACKED: &[(&str, &str, &str)] = &[
        ("etc/init.d/dbus", "dbus", "x"),
        ("usr/bin/mawk", "mawk", "x"),
        ("usr/lib/modules/6/kernel", "linux-image-6", "/"),
        ("usr/lib/systemd/system/fstrim.timer", "util-linux", "x"),
        ("usr/lib/tmpfiles.d/x.conf", "systemd", "# /not/this\nd /var/lib/pstore 0755 - - -\n"),
        ("usr/share/x/old", "x", "x"),
        ("usr/share/x/file", "x", "x"),
        ("var/lib/dpkg/info/libc-bin.list", "libc-bin", "x"),
        (
            "var/lib/dpkg/info/x.postinst",
            "x",
            "chown x: /usr/share/x/file\nrm /usr/share/x/old\ntouch /etc/xx /etc/both\n",
        ),
        ("var/lib/dpkg/info/y:amd64.postinst", "y", "touch $DPKG_ROOT/etc/both /etc/x.d/of-y"),
    ];

    fn traced(more: &[(&str, &str, &str)]) -> FileTree {
        let unpacked = tree(UNPACKED);
        let all: Vec<_> = UNPACKED.iter().chain(more).copied().collect();
        let mut configured = tree(&all);
        configured.remove(&path("usr/share/x/old")).unwrap();
        configured.get_mut(&path("usr/share/x/file")).unwrap().metadata.uid = 7;
        trace(&mut configured, &unpacked, &NoContent).unwrap();
        configured
    }

    fn told(tree: &FileTree, name: &str) -> String {
        let hands = tree.hands(&path(name));
        let tell = |hand: &Hand| {
            format!("{} by {}: {}", hand.deed, hand.owner, hand.why.as_deref().unwrap_or_default())
        };
        hands.iter().map(tell).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_scripts_made_is_traced_to_their_packages() {
        let tree = traced(&[
            ("etc/alternatives/awk", "", ">/usr/bin/mawk"),
            ("usr/bin/awk", "", ">/etc/alternatives/awk"),
            ("etc/systemd/system/timers.target.wants", "", "/"),
            (
                "etc/systemd/system/timers.target.wants/fstrim.timer",
                "",
                ">/usr/lib/systemd/system/fstrim.timer",
            ),
            ("var/lib/systemd/deb-systemd-helper-enabled/fstrim.timer.dsh-also", "", "x"),
            ("etc/rc2.d/S01dbus", "", ">../init.d/dbus"),
            ("usr/lib/modules/6/modules.dep", "", "x"),
            ("var/lib/pstore", "", "/"),
            ("etc/xx", "", "x"),
            ("etc/x.d/of-y", "", "x"),
            ("etc/ld.so.cache", "", "x"),
        ]);
        for (name, package) in [
            ("etc/alternatives/awk", "mawk"),
            ("usr/bin/awk", "mawk"),
            ("etc/systemd/system/timers.target.wants", "util-linux"),
            ("etc/systemd/system/timers.target.wants/fstrim.timer", "util-linux"),
            ("var/lib/systemd/deb-systemd-helper-enabled/fstrim.timer.dsh-also", "util-linux"),
            ("etc/rc2.d/S01dbus", "dbus"),
            ("usr/lib/modules/6/modules.dep", "linux-image-6"),
            ("var/lib/pstore", "systemd"),
            ("etc/xx", "x"),
            ("etc/x.d/of-y", "y"),
            ("etc/ld.so.cache", "libc-bin"),
        ] {
            assert_eq!(
                tree.entry(&path(name)).unwrap().owner.to_string(),
                format!("package {package}"),
                "{name}"
            );
            assert!(told(&tree, name).starts_with(&format!("made by package {package}: ")), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_traced_belongs_to_the_stage_and_says_why() {
        let tree = traced(&[("etc/both", "", "x"), ("etc/nobody", "", "x"), ("etc/xx.d", "", "x")]);
        let stage = "made by stage configure: ";
        assert_eq!(told(&tree, "etc/both"), format!("{stage}the scripts of x, y name it"));
        assert_eq!(told(&tree, "etc/nobody"), format!("{stage}no script names it"));
        assert_eq!(told(&tree, "etc/xx.d"), format!("{stage}no script names it"));
    }

    #[test]
    fn what_was_changed_or_taken_away_is_told() {
        let tree = traced(&[]);
        let changed =
            "brought by package x: ; changed by package x: its owner or mode: its postinst script names it";
        assert_eq!(told(&tree, "usr/share/x/file"), changed);
        let removed = "brought by package x: ; removed by package x: its postinst script names it";
        assert_eq!(told(&tree, "usr/share/x/old"), removed);
        assert_eq!(tree.histories().count(), 2);
    }
}
