//! The unified kernel image: what it carries, the ways to boot it, and what the command line of each
//! says and does not say.

use goni_disk::verity::RootHash;
use goni_model::layout::Role;

use super::esp::IMAGES;
use super::evidence::{BootProfile, Evidence, NodeKind, SystemFile};
use super::objection::{Objection, Verdict, equal, none};

/// What every image carries. Source: UAPI.5 Unified Kernel Image.
const SECTIONS: [&str; 5] = [".osrel", ".cmdline", ".uname", ".initrd", ".linux"];

/// The ways to boot, the default first, and the word that each adds to the command line. The first
/// has no section of its own, the others have their command line and their place in the menu.
const PROFILES: [(&str, Option<&str>); 2] = [("main", None), ("factory-reset", Some("goni.factory-reset"))];

/// What every command line says.
const REQUIRED: [&str; 2] = ["ro", "nohibernate"];

/// What none says: words that stand alone, and beginnings that end in `=`. Each would give the
/// machine to whoever sits before it, or take the guard off the root.
const FORBIDDEN: [&str; 19] = [
    "rw",
    "single",
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
    "systemd.debug-shell",
    "systemd.debug-shell=",
    "rd.systemd.debug_shell",
    "rd.systemd.debug_shell=",
    "systemd.unit=",
    "rd.systemd.unit=",
    "systemd.verity=",
];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let esp = evidence.esp.aid()?;
    for (path, file) in &esp.files {
        if let SystemFile::Broken(problem) = file
            && path.starts_with(IMAGES)
        {
            return Err(Objection::differs(format!("`{path}` is a PE file"), problem));
        }
    }
    let images: Vec<_> = esp.programs(IMAGES).collect();
    let [(path, program)] = images[..] else {
        return Err(Objection::unseen(format!("there are {} kernel images, not one", images.len())));
    };
    let missing = SECTIONS.into_iter().filter(|name| program.image.section(name).is_none());
    none(&format!("`{path}` has {}", SECTIONS.join(", ")), missing.map(|name| format!("no {name}")))?;
    if let Some(arch) = evidence.arch {
        equal("a kernel image for", arch, program.image.arch)?;
    }
    let text = |name| program.texts.get(name).map(String::as_str).unwrap_or_default();
    inspect_command_line(evidence, text(".cmdline"))?;
    inspect_profiles(&program.profiles, text(".cmdline"), text(".osrel"))?;
    let root = evidence.root.aid()?;
    let modules = root.node(&format!("usr/lib/modules/{}", text(".uname")));
    if text(".uname").is_empty() || !modules.is_some_and(|node| node.kind() == NodeKind::Directory) {
        let there: Vec<String> = root
            .below("usr/lib/modules")
            .filter(|(path, _)| path.components().count() == 4)
            .map(|(path, _)| format!("`{path}`"))
            .collect();
        let expected = format!("modules of kernel `{}`", text(".uname"));
        return Err(Objection::differs(expected, format!("modules in {}", there.join(", "))));
    }
    Ok(())
}

/// What systemd-boot sorts an entry by: `IMAGE_ID`, or else `ID`, the last that is said of each.
fn sort_key(os_release: &str) -> Option<&str> {
    ["IMAGE_ID=", "ID="].into_iter().find_map(|key| {
        let value = os_release.lines().rev().find_map(|line| line.strip_prefix(key));
        value.map(|value| value.trim_matches(['"', '\''])).filter(|value| !value.is_empty())
    })
}

/// What the profiles add is checked against what all share, which is checked by itself.
fn inspect_profiles(profiles: &[BootProfile], line: &str, system: &str) -> Verdict {
    let shown = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(", ");
    let meant = shown(&mut PROFILES.iter().map(|(id, _)| *id));
    equal("the profiles are", meant, shown(&mut profiles.iter().map(|profile| profile.label.id.as_str())))?;
    for (profile, (id, word)) in profiles.iter().zip(PROFILES) {
        let own: &[&str] = if word.is_some() { &[".profile", ".osrel", ".cmdline"] } else { &[".profile"] };
        let found = shown(&mut profile.own.iter().map(String::as_str));
        equal(&format!("sections of profile `{id}` are"), own.join(", "), found)?;
        let meant = word.map_or_else(|| line.to_owned(), |word| format!("{line} {word}"));
        equal(&format!("the command line of profile `{id}` is"), &meant, &profile.command_line)?;
        // systemd-boot sorts by this before it looks at anything that differs between profiles.
        let (first, own) = (sort_key(system), sort_key(&profile.os_release));
        if word.is_some() && (first.is_none() || own <= first) {
            let shown = |key: Option<&str>| key.unwrap_or("nothing").to_owned();
            let expected = format!("profile `{id}` is sorted behind `{}`", shown(first));
            return Err(Objection::differs(expected, format!("it is sorted as `{}`", shown(own))));
        }
    }
    let words = PROFILES.iter().filter_map(|(_, word)| *word);
    let default = words.filter(|word| line.split_ascii_whitespace().any(|other| other == *word));
    none("the default profile erases nothing", default.map(|word| format!("`{word}`")))
}

fn inspect_command_line(evidence: &Evidence<'_>, line: &str) -> Verdict {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let missing = REQUIRED.into_iter().filter(|word| !words.contains(word));
    none("a command line with `ro` and `nohibernate`", missing.map(|word| format!("no `{word}`")))?;
    let forbidden = words.iter().filter(|word| {
        FORBIDDEN.iter().any(|bad| if bad.ends_with('=') { word.starts_with(bad) } else { *word == bad })
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
