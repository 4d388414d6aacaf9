//! The unified kernel image: what it carries, and the ways to boot it.

use goni_model::target::BootMethod;

use super::command_line::{self, PROFILES};
use super::esp::IMAGES;
use super::evidence::{BootProfile, Evidence, SystemFile};
use super::objection::{Objection, Verdict, equal, none};

/// What every image carries. Source: UAPI.5 Unified Kernel Image.
const SECTIONS: [&str; 5] = [".osrel", ".cmdline", ".uname", ".initrd", ".linux"];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    evidence.boots_by(BootMethod::SystemdBoot)?;
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
    command_line::inspect(evidence, text(".cmdline"))?;
    inspect_profiles(&program.profiles, text(".cmdline"), text(".osrel"))?;
    command_line::inspect_release(evidence, text(".uname"))
}

/// What systemd-boot sorts an entry by: `IMAGE_ID`, or else `ID`, the last that is said of each.
fn sort_key(os_release: &str) -> Option<&str> {
    ["IMAGE_ID=", "ID="].into_iter().find_map(|key| {
        let value = os_release.lines().rev().find_map(|line| line.strip_prefix(key));
        value.map(|value| value.trim_matches(['"', '\''])).filter(|value| !value.is_empty())
    })
}

/// What the profiles add is checked against what all share, which is checked by itself. The first has no
/// section of its own, the others have their command line and their place in the menu.
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
    command_line::inspect_default(line)
}
