//! What a loader finds by `extlinux.conf`: the file says what L4TLauncher understands and nothing else, what it
//! names is there, kernel and device tree are the root's own, and the file system is one that EDK II reads.
//!
//! The root is sealed by its hash, this partition is not: so what comes from the root is compared with it.
//! Source: L4TLauncher and Ext4Dxe of EDK II (`gSupportedRoCompatFeat`, `gSupportedIncompatFeat`).

use goni_model::target::BootMethod;

use super::command_line::{self, PROFILES};
use super::evidence::{App, Booted, BootedAs, Evidence, Root};
use super::objection::{Objection, Verdict, equal, none};
use crate::stages::boot::kernel_places;

/// Where the loader looks.
const CONFIG: &str = "boot/extlinux/extlinux.conf";

/// What the name of a kernel begins with; its release follows.
const KERNEL: &str = "boot/vmlinuz-";

/// Most entries that L4TLauncher reads.
const ENTRIES: usize = 10;

/// Features that EDK II reads past: `has_journal`, `ext_attr`, `resize_inode`, `dir_index`.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
/// Features that it knows: `filetype`, `extents`, `64bit`, `flex_bg`.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// `sparse_super`, `large_file`, `huge_file`, `dir_nlink`, `extra_isize`, `metadata_csum`.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

/// An entry of the menu.
#[derive(Debug, Default)]
struct Entry {
    label: String,
    title: Option<String>,
    linux: Option<String>,
    initrd: Option<String>,
    tree: Option<String>,
    append: Option<String>,
}

/// What the file says.
#[derive(Debug, Default)]
struct Config {
    default: Option<String>,
    entries: Vec<Entry>,
}

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    evidence.boots_by(BootMethod::Extlinux)?;
    let app = evidence.app.object()?;
    inspect_file_system(app)?;
    let config = config(app)?;
    let meant: Vec<&str> = PROFILES.iter().map(|(id, _)| *id).collect();
    let labels: Vec<&str> = config.entries.iter().map(|entry| entry.label.as_str()).collect();
    equal("the labels are", meant.join(", "), labels.join(", "))?;
    equal("the default is", PROFILES[0].0, config.default.as_deref().unwrap_or("not named"))?;
    let booted = booted(app)?;
    let line = command_line::inspect_ways(&booted.ways)?;
    let mut wanted = vec![CONFIG.to_owned()];
    for entry in &config.entries {
        for (key, place) in [("LINUX", &entry.linux), ("INITRD", &entry.initrd), ("FDT", &entry.tree)] {
            let first = config.entries.first().map(|first| match key {
                "LINUX" => &first.linux,
                "INITRD" => &first.initrd,
                _ => &first.tree,
            });
            let shown = |place: &Option<String>| place.clone().unwrap_or_else(|| "nothing".to_owned());
            let meant = first.map(shown).unwrap_or_default();
            equal(&format!("{key} of `{}`, as of the default, is", entry.label), meant, shown(place))?;
            wanted.extend(place.iter().map(|place| place.trim_start_matches('/').to_owned()));
        }
    }
    for place in &wanted {
        let size = app.files.get(place).map(|file| file.size);
        if size.is_none_or(|size| size == 0) {
            let observed = if size.is_none() { "there is none" } else { "it is empty" };
            return Err(Objection::differs(format!("a file `/{place}` on the app partition"), observed));
        }
    }
    let others = app.files.keys().filter(|place| !wanted.contains(place));
    none("no other file on the app partition", others.map(|place| format!("`/{place}`")))?;
    command_line::inspect_default(line)?;
    command_line::inspect(evidence, line)?;
    command_line::inspect_release(evidence, &booted.release)?;
    let root = evidence.root.aid()?;
    as_in_root(app, root, &booted.kernel, &kernel_places(&booted.release))?;
    match config.entries.first().and_then(|entry| entry.tree.as_deref()) {
        Some(tree) => inspect_device_tree(app, root, tree.trim_start_matches('/'), &booted.release),
        None => Ok(()),
    }
}

/// The file system is whole, and of features that EDK II knows.
fn inspect_file_system(app: &App<'_>) -> Verdict {
    let superblock = app.superblock;
    if !superblock.clean {
        return Err(Objection::differs("a clean file system", "errors, or a journal to replay"));
    }
    for (what, found, known) in [
        ("compatible", superblock.compatible, COMPATIBLE),
        ("incompatible", superblock.incompatible, INCOMPATIBLE),
        ("read-only compatible", superblock.read_only_compatible, READ_ONLY_COMPATIBLE),
    ] {
        if found & !known != 0 {
            let expected = format!("no {what} features but {known:#x}, which EDK II reads");
            return Err(Objection::differs(expected, format!("{:#x} more", found & !known)));
        }
    }
    Ok(())
}

/// A file is the same, byte for byte, as one of these of the root.
fn as_in_root(app: &App<'_>, root: &Root<'_>, place: &str, places: &[String]) -> Verdict {
    let bytes = app.bytes(place)?;
    for there in places {
        if let Some(own) = root.file(there)? {
            let same = own == bytes;
            let expected = || format!("`/{place}` is the `/{there}` of the root");
            return if same { Ok(()) } else { Err(Objection::differs(expected(), "it differs")) };
        }
    }
    Err(Objection::differs(format!("`/{place}` is a file of the root"), "the root has none"))
}

/// A device tree is one of the root's.
fn inspect_device_tree(app: &App<'_>, root: &Root<'_>, place: &str, release: &str) -> Verdict {
    let name = place.rsplit('/').next().unwrap_or(place);
    let folders = [format!("usr/lib/linux-image-{release}"), "usr/lib/modules".to_owned(), "boot".to_owned()];
    let named = |folder: &String| {
        let found = root.below(folder).filter(|(path, _)| path.name() == name.as_bytes());
        found.map(|(path, _)| path.to_string().trim_start_matches('/').to_owned()).collect::<Vec<_>>()
    };
    let places: Vec<String> = folders.iter().flat_map(named).collect();
    as_in_root(app, root, place, &places)
}

/// What boots.
pub(super) fn booted(app: &App<'_>) -> Result<Booted, Objection> {
    let config = config(app)?;
    let Some(first) = config.entries.first() else {
        return Err(Objection::differs("an entry", "there is none"));
    };
    let needed = |key: &str, value: &Option<String>| {
        let missing = || Objection::differs(format!("`{}` has {key}", first.label), "it has none");
        value.as_ref().map(|value| value.trim_start_matches('/').to_owned()).ok_or_else(missing)
    };
    let kernel = needed("LINUX", &first.linux)?;
    let Some(release) = kernel.strip_prefix(KERNEL).filter(|release| !release.contains('/')) else {
        return Err(Objection::differs(format!("a kernel `/{KERNEL}RELEASE`"), format!("`/{kernel}`")));
    };
    let ways = config.entries.iter().map(|entry| BootedAs {
        id: entry.label.clone(),
        title: entry.title.clone(),
        command_line: entry.append.clone().unwrap_or_default(),
    });
    Ok(Booted {
        initrd: Some(needed("INITRD", &first.initrd)?),
        release: release.to_owned(),
        ways: ways.collect(),
        kernel,
    })
}

/// What `extlinux.conf` says; a key that the loader does not have is wrong, for it would pass over it.
fn config(app: &App<'_>) -> Result<Config, Objection> {
    let text = String::from_utf8(app.bytes(CONFIG)?)
        .map_err(|_| Objection::differs(format!("`/{CONFIG}` of text"), "it is not UTF-8"))?;
    let mut config = Config::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let wrong = || Objection::differs(format!("keys of L4TLauncher in `/{CONFIG}`"), format!("`{line}`"));
        let (key, value) = line.split_once(' ').ok_or_else(wrong)?;
        let value = value.trim().to_owned();
        match (key, config.entries.last_mut()) {
            ("LABEL", _) => config.entries.push(Entry { label: value, ..Entry::default() }),
            ("TIMEOUT" | "MENU", None) => {}
            ("DEFAULT", None) => config.default = Some(value),
            ("MENU", Some(entry)) => {
                entry.title = Some(value.strip_prefix("LABEL ").ok_or_else(wrong)?.to_owned());
            }
            ("LINUX" | "INITRD" | "FDT", Some(_)) if !value.starts_with('/') || value.contains("..") => {
                return Err(Objection::differs(
                    format!("absolute paths in `/{CONFIG}`"),
                    format!("`{line}`"),
                ));
            }
            (key @ ("LINUX" | "INITRD" | "FDT" | "APPEND"), Some(entry)) => {
                let place = match key {
                    "LINUX" => &mut entry.linux,
                    "INITRD" => &mut entry.initrd,
                    "FDT" => &mut entry.tree,
                    _ => &mut entry.append,
                };
                if place.replace(value).is_some() {
                    return Err(Objection::differs(
                        format!("each key once in `/{CONFIG}`"),
                        format!("`{line}`"),
                    ));
                }
            }
            _ => return Err(wrong()),
        }
    }
    if config.entries.len() > ENTRIES {
        let expected = format!("at most {ENTRIES} entries in `/{CONFIG}`");
        return Err(Objection::differs(expected, config.entries.len()));
    }
    Ok(config)
}
