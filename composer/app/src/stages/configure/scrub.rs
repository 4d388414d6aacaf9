//! What maintainer scripts and dpkg leave behind and no image may hold.
//!
//! [`RULES`] is the whole list, each rule with its reason. Every time is clamped to the source
//! date besides. Directories stay, empty or not, because packages and tmpfiles.d count on them.

use std::io::{self, Read};

use goni_disk::tree::{
    Content, ContentSource, Deed, FileTree, Hand, Inode, Kind, Metadata, Owner, TreeError, TreePath,
};
use goni_model::time::Timestamp;

/// What happens to what a pattern names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// What is not a directory goes.
    Remove,
    /// It goes with all below it.
    RemoveAll,
    /// It becomes an empty file that nobody may write, and is made where it is missing.
    Empty,
    /// The day of the last password change becomes that of the source date.
    Redate,
}

/// One line of the scrub list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// A path: `*` stands for any bytes within a name, `**` for any names.
    pub pattern: &'static str,
    /// What happens to it.
    pub action: Action,
    /// Why.
    pub why: &'static str,
}

const fn rule(pattern: &'static str, action: Action, why: &'static str) -> Rule {
    Rule { pattern, action, why }
}

/// The scrub list.
pub const RULES: &[Rule] = &[
    rule("/etc/machine-id", Action::Empty, "unique to a device; an empty file is where systemd mounts it"),
    rule("/var/lib/dbus/machine-id", Action::Remove, "unique to a device"),
    rule("/etc/ssh/ssh_host_*", Action::Remove, "a key that every device shares is no secret"),
    rule("/var/lib/systemd/random-seed", Action::Remove, "a seed that every device shares is no seed"),
    rule("/var/lib/systemd/credential.secret", Action::Remove, "a key that every device shares is no secret"),
    rule("/etc/resolv.conf", Action::Remove, "of the machine that built it"),
    rule("/etc/hostname", Action::Remove, "of the machine that built it; an overlay names the device"),
    rule("/etc/shadow", Action::Redate, "holds the day of the build"),
    rule("/etc/*-", Action::Remove, "backups of the user database, differing by the order of scripts"),
    rule("/etc/.pwd.lock", Action::Remove, "a lock of no running program"),
    rule("/etc/sub*id.lock", Action::Remove, "a lock of no running program"),
    rule("/usr/sbin/policy-rc.d", Action::Remove, "forbids services while packages are configured"),
    rule("/var/lib/dpkg/*-old", Action::Remove, "backups of dpkg's database"),
    rule("/var/lib/dpkg/lock*", Action::Remove, "a lock of no running program"),
    rule("/var/lib/dpkg/triggers/Lock", Action::Remove, "a lock of no running program"),
    rule("/var/cache/debconf/*-old", Action::Remove, "backups of the debconf database"),
    rule("/var/cache/ldconfig/aux-cache", Action::Remove, "holds inode numbers and times of the build"),
    rule("/var/cache/apt/**", Action::Remove, "apt's cache: there is no apt run on a device"),
    rule("/var/lib/apt/lists/**", Action::Remove, "apt's cache: there is no apt run on a device"),
    rule("/var/backups/**", Action::Remove, "backups of a system that never ran"),
    rule("/var/log/**", Action::Remove, "logs of the build, with its times"),
    rule("/var/tmp/**", Action::Remove, "left behind by scripts"),
    rule("/root/.*history", Action::Remove, "of the machine that built it"),
    rule("/**/__pycache__", Action::RemoveAll, "compiled anew at will, with the times of the build"),
    rule("/tmp/*", Action::RemoveAll, "a file system of its own on the device"),
    rule("/run/*", Action::RemoveAll, "a file system of its own on the device"),
    rule("/dev/*", Action::RemoveAll, "a file system of its own on the device"),
    rule("/proc/*", Action::RemoveAll, "a file system of its own on the device"),
    rule("/sys/*", Action::RemoveAll, "a file system of its own on the device"),
];

/// What a rule did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// The rule.
    pub rule: Rule,
    /// What it was done to.
    pub path: TreePath,
}

/// Why a tree was not scrubbed.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The tree cannot hold the result.
    #[error("changing the tree")]
    Tree {
        /// The cause.
        #[from]
        source: TreeError,
    },
    /// A file that has to be rewritten could not be read.
    #[error("reading what has to be rewritten")]
    Read {
        /// The cause.
        #[from]
        source: io::Error,
    },
}

/// Applies every rule and clamps every time. Tells what it did, in the order it was done.
///
/// # Errors
/// [`ScrubError`].
pub fn scrub(
    tree: &mut FileTree,
    contents: &dyn ContentSource,
    source_date: Timestamp,
) -> Result<Vec<Scrubbed>, ScrubError> {
    let stage = Owner::Stage(super::NAME.into());
    let mut done = Vec::new();
    for rule in RULES {
        let found: Vec<TreePath> = tree
            .iter()
            .filter(|(path, entry)| {
                let directory = matches!(tree.inode(entry.inode).kind, Kind::Directory);
                (!directory || rule.action == Action::RemoveAll) && matches(rule.pattern, path)
            })
            .map(|(path, _)| path.clone())
            .collect();
        match rule.action {
            Action::Remove | Action::RemoveAll => {
                for path in found {
                    // A directory above it may have gone already, by this very rule.
                    if tree.entry(&path).is_some() {
                        tree.take_out(&path, &stage, &format!("`{}`: {}", rule.pattern, rule.why).into())?;
                        done.push(Scrubbed { rule: *rule, path });
                    }
                }
            }
            Action::Empty => done.extend(empty(tree, rule, source_date)?),
            Action::Redate => {
                for path in found {
                    redate(tree, contents, &path, source_date)?;
                    tree.note(&path, Hand::because(stage.clone(), Deed::Changed, rule.why));
                    done.push(Scrubbed { rule: *rule, path });
                }
            }
        }
    }
    for inode in tree.inodes_mut() {
        inode.metadata.mtime = inode.metadata.mtime.clamp_to(source_date);
    }
    Ok(done)
}

fn empty(tree: &mut FileTree, rule: &Rule, source_date: Timestamp) -> Result<Option<Scrubbed>, ScrubError> {
    let Ok(path) = TreePath::parse(rule.pattern.as_bytes()) else { return Ok(None) };
    let metadata = Metadata {
        mode: 0o444,
        uid: 0,
        gid: 0,
        mtime: source_date,
        xattrs: std::collections::BTreeMap::new(),
    };
    let inode = Inode { metadata, kind: Kind::File(Content::inline(&b""[..])) };
    tree.insert(path.clone(), inode, Owner::Stage(super::NAME.into()))?;
    tree.explain(&path, rule.why);
    Ok(Some(Scrubbed { rule: *rule, path }))
}

/// Sets the third field of each line to the day of the source date. Source: shadow(5).
fn redate(
    tree: &mut FileTree,
    contents: &dyn ContentSource,
    path: &TreePath,
    source_date: Timestamp,
) -> Result<(), ScrubError> {
    let Some(inode) = tree.get_mut(path) else { return Ok(()) };
    let Kind::File(content) = &inode.kind else { return Ok(()) };
    let mut bytes = Vec::new();
    content.open(contents)?.read_to_end(&mut bytes)?;
    let day = source_date.seconds.div_euclid(24 * 60 * 60).to_string();
    let lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(|line| with_day(line, &day)).collect();
    inode.kind = Kind::File(Content::inline(lines.join(&b'\n')));
    Ok(())
}

fn with_day(line: &[u8], day: &str) -> Vec<u8> {
    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    // Empty says that passwords do not age, 0 that one has to be set at once: neither is a day.
    if let Some(changed) = fields.get_mut(2)
        && !changed.is_empty()
        && *changed != b"0"
    {
        *changed = day.as_bytes();
    }
    fields.join(&b':')
}

/// Whether a path is one that a pattern means.
pub(super) fn matches(pattern: &str, path: &TreePath) -> bool {
    let pattern: Vec<&[u8]> = pattern.as_bytes().split(|byte| *byte == b'/').skip(1).collect();
    let names: Vec<&[u8]> = path.components().collect();
    names_match(&pattern, &names)
}

fn names_match(pattern: &[&[u8]], names: &[&[u8]]) -> bool {
    match (pattern, names) {
        ([], []) => true,
        ([b"**"], names) => !names.is_empty(),
        ([b"**", rest @ ..], names) => (0..=names.len()).any(|skipped| names_match(rest, &names[skipped..])),
        ([first, pattern @ ..], [name, names @ ..]) => {
            name_matches(first, name) && names_match(pattern, names)
        }
        _ => false,
    }
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.iter().position(|byte| *byte == b'*') {
        None => pattern == name,
        Some(star) => {
            let (before, after) = (&pattern[..star], &pattern[star + 1..]);
            let rest = name.strip_prefix(before);
            rest.is_some_and(|rest| (0..=rest.len()).any(|skipped| name_matches(after, &rest[skipped..])))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use goni_disk::tree::NoContent;

    use super::*;

    const DATE: Timestamp = Timestamp::from_seconds(1_000 * 24 * 60 * 60 + 5);

    fn metadata() -> Metadata {
        let mtime = Timestamp::from_seconds(2_000_000_000);
        Metadata { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    /// A tree of these files, the directories above them, and these empty directories (with a `/`).
    fn tree(files: &[(&str, &str)]) -> FileTree {
        let owner = || Owner::Package("p".into());
        let mut tree = FileTree::new(metadata(), owner());
        for (name, bytes) in files {
            let mut above: Vec<TreePath> =
                std::iter::successors(path(name).parent(), TreePath::parent).collect();
            if name.ends_with('/') {
                above.insert(0, path(name));
            }
            for directory in above.into_iter().rev().filter(|directory| !directory.is_root()) {
                if tree.entry(&directory).is_none() {
                    tree.insert(directory, Inode { metadata: metadata(), kind: Kind::Directory }, owner())
                        .unwrap();
                }
            }
            if !name.ends_with('/') {
                let kind = Kind::File(Content::inline(bytes.as_bytes()));
                tree.insert(path(name), Inode { metadata: metadata(), kind }, owner()).unwrap();
            }
        }
        tree
    }

    fn files(tree: &FileTree) -> Vec<String> {
        let file = |entry: &goni_disk::tree::Entry| matches!(tree.inode(entry.inode).kind, Kind::File(_));
        tree.iter().filter(|(_, entry)| file(entry)).map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn what_the_build_left_goes_and_what_packages_brought_stays() {
        let kept = ["/etc/machine-id", "/etc/passwd", "/usr/lib/python3/x.py", "/var/lib/dpkg/status"];
        let gone = [
            "/etc/passwd-",
            "/etc/shadow-",
            "/etc/.pwd.lock",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/etc/ssh/ssh_host_rsa_key",
            "/dev/null",
            "/run/lock/x",
            "/tmp/a/b",
            "/usr/sbin/policy-rc.d",
            "/usr/lib/python3/__pycache__/x.pyc",
            "/var/cache/ldconfig/aux-cache",
            "/var/lib/dpkg/lock-frontend",
            "/var/lib/dpkg/status-old",
            "/var/log/apt/term.log",
            "/var/log/dpkg.log",
            "/var/lib/systemd/random-seed",
        ];
        let all: Vec<(&str, &str)> = kept.iter().chain(&gone).map(|name| (*name, "x")).collect();
        let mut tree = tree(&all);
        scrub(&mut tree, &NoContent, DATE).unwrap();
        assert_eq!(files(&tree), kept);
        for directory in ["/run", "/tmp", "/dev", "/var/log/apt", "/var/cache/ldconfig"] {
            assert!(tree.entry(&path(directory)).is_some(), "{directory}");
        }
        assert!(tree.entry(&path("/run/lock")).is_none());
    }

    #[test]
    fn the_machine_id_is_an_empty_file_that_nobody_may_write() {
        for files in [&[("/etc/machine-id", "0123")][..], &[("/etc/", "")]] {
            let mut tree = tree(files);
            scrub(&mut tree, &NoContent, DATE).unwrap();
            let inode = tree.get(&path("/etc/machine-id")).unwrap();
            assert_eq!((inode.metadata.mode, &inode.kind), (0o444, &Kind::File(Content::inline(&b""[..]))));
        }
    }

    #[test]
    fn passwords_were_changed_on_the_source_date_and_no_time_is_later() {
        let mut tree = tree(&[("/etc/shadow", "root:*:20000:0:99999:7:::\na:!:0::\nb:!:::\n")]);
        let done = scrub(&mut tree, &NoContent, DATE).unwrap();
        let Kind::File(content) = &tree.get(&path("/etc/shadow")).unwrap().kind else { panic!("no file") };
        assert_eq!(*content, Content::inline(&b"root:*:1000:0:99999:7:::\na:!:0::\nb:!:::\n"[..]));
        assert!(tree.iter().all(|(_, entry)| tree.inode(entry.inode).metadata.mtime <= DATE));
        let told: Vec<String> = done.iter().map(|done| done.path.to_string()).collect();
        assert_eq!(told, ["/etc/machine-id", "/etc/shadow"]);
    }

    #[test]
    fn patterns_mean_names_and_not_what_only_begins_like_them() {
        for (pattern, name, expected) in [
            ("/etc/*-", "/etc/passwd-", true),
            ("/etc/*-", "/etc/a/passwd-", false),
            ("/var/log/**", "/var/log", false),
            ("/var/log/**", "/var/logs/x", false),
            ("/**/__pycache__", "/__pycache__", true),
            ("/etc/sub*id.lock", "/etc/subuid.lock", true),
        ] {
            assert_eq!(matches(pattern, &path(name)), expected, "{pattern} {name}");
        }
    }
}
