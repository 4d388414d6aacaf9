//! What a kernel's command line says and does not say, however it comes to the kernel; the ways to boot, and
//! that the kernel's modules are there.

use goni_disk::verity::RootHash;
use goni_model::layout::Role;

use super::evidence::{BootedAs, Evidence, NodeKind};
use super::objection::{Objection, Verdict, equal, none};

/// The ways to boot, the default first, and the word that each adds to the command line.
pub(super) const PROFILES: [(&str, Option<&str>); 2] =
    [("main", None), ("factory-reset", Some("goni.factory-reset"))];

/// What every command line says.
const REQUIRED: [&str; 2] = ["ro", "nohibernate"];

/// What none says: words that stand alone, and beginnings that end in `=`. Each would give the
/// machine to whoever sits before it, or take the guard off the root.
const FORBIDDEN: [&str; 19] = [
    "rw",
    "single",
    "1",
    "s",
    "S",
    "emergency",
    "rescue",
    "init=",
    "rdinit=",
    "rd.break",
    "rd.break=",
    "rd.shell",
    "rd.shell=",
    "systemd.debug_shell",
    "systemd.debug_shell=",
    "rd.systemd.debug_shell",
    "rd.systemd.debug_shell=",
    "systemd.unit=",
    "rd.systemd.unit=",
];

/// Beginnings of words that no command line has, `-` as `_`: each changes how the root is protected, in one way
/// or another. Source: systemd-veritysetup-generator(8).
const OF_VERITY: [&str; 2] = ["systemd.verity", "rd.systemd.verity"];

/// Each way to boot is the default with its own word besides; the line of the default.
pub(super) fn inspect_ways(ways: &[BootedAs]) -> Result<&str, Objection> {
    let line = ways.first().map(|way| way.command_line.as_str()).unwrap_or_default();
    for (way, (id, word)) in ways.iter().zip(PROFILES) {
        let meant = word.map_or_else(|| line.to_owned(), |word| format!("{line} {word}"));
        equal(&format!("the command line of `{id}` is"), &meant, &way.command_line)?;
    }
    Ok(line)
}

/// The default way to boot is none of the others.
pub(super) fn inspect_default(line: &str) -> Verdict {
    let words = PROFILES.iter().filter_map(|(_, word)| *word);
    let default = words.filter(|word| line.split_ascii_whitespace().any(|other| other == *word));
    none("the default profile erases nothing", default.map(|word| format!("`{word}`")))
}

/// The root has the modules of the kernel that boots.
pub(super) fn inspect_release(evidence: &Evidence<'_>, release: &str) -> Verdict {
    let root = evidence.root.aid()?;
    let modules = root.node(&format!("usr/lib/modules/{}", release));
    if release.is_empty() || !modules.is_some_and(|node| node.kind() == NodeKind::Directory) {
        let there: Vec<String> = root
            .below("usr/lib/modules")
            .filter(|(path, _)| path.components().count() == 4)
            .map(|(path, _)| format!("`{path}`"))
            .collect();
        let expected = format!("modules of kernel `{}`", release);
        return Err(Objection::differs(expected, format!("modules in {}", there.join(", "))));
    }
    Ok(())
}

/// The command line that all ways to boot share.
pub(super) fn inspect(evidence: &Evidence<'_>, line: &str) -> Verdict {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let missing = REQUIRED.into_iter().filter(|word| !words.contains(word));
    none("a command line with `ro` and `nohibernate`", missing.map(|word| format!("no `{word}`")))?;
    let forbidden = words.iter().filter(|word| {
        // To the kernel and to systemd, `_` and `-` in a name are one. Source: kernel/params.c.
        let name = word.split('=').next().unwrap_or_default();
        let word = format!("{}{}", name.replace('-', "_"), &word[name.len()..]);
        FORBIDDEN.iter().any(|bad| if bad.ends_with('=') { word.starts_with(bad) } else { word == *bad })
            || OF_VERITY.iter().any(|beginning| word.starts_with(beginning))
    });
    none("a command line without a way in", forbidden.map(|word| format!("`{word}`")))?;
    let values = |key: &str| -> Vec<&str> {
        words.iter().filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    if evidence.partition(Role::RootVerity).is_some() {
        let hashes = values("roothash");
        let hash: RootHash = match hashes[..] {
            [hash] => hash.parse().map_err(|error| Objection::differs("a root hash", error))?,
            _ => return Err(Objection::differs("`roothash=` once", format!("{} times", hashes.len()))),
        };
        none("no `root=` beside `roothash=`", values("root").into_iter().map(str::to_owned))?;
        // That the tree leads up to what names the partitions is for the check of the tree to say.
        let names = |role, guid| evidence.partition(role).is_some_and(|partition| partition.guid == guid);
        if names(Role::Root, hash.root_uuid()) && names(Role::RootVerity, hash.verity_uuid()) {
            return Ok(());
        }
        return equal("roothash=", evidence.root_hash.aid()?, &hash);
    }
    let root =
        evidence.partition(Role::Root).ok_or_else(|| Objection::unseen("there is no root partition"))?;
    let expected = format!("PARTUUID={}", root.guid.hyphenated());
    equal("root=", expected, values("root").join(", "))
}
