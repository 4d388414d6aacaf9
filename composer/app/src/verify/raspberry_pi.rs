//! What the Raspberry Pi's firmware finds by `config.txt`: it says what the build writes and what the target
//! asked for, and nothing else; what it names is there; kernel, device trees and firmware are the root's own.
//!
//! The root is sealed by its hash, this partition is not: so what comes from the root is compared with it.
//! Source: Raspberry Pi documentation, "The config.txt file".

use std::borrow::Cow;

use goni_disk::zboot;
use goni_model::arch::Arch;
use goni_model::target::BootMethod;

use super::board;
use super::command_line::{self, PROFILES};
use super::evidence::{Booted, BootedAs, Evidence, Root, SystemFile, SystemPartition, chain};
use super::objection::{Objection, Verdict, equal};
use crate::stages::boot::kernel_places;

/// What the firmware reads first.
const CONFIG: &str = "config.txt";

/// The command lines, in the order of [`PROFILES`].
const LINES: [&str; 2] = ["cmdline.txt", "factory-reset.txt"];

/// What the name of a kernel begins with; its release follows.
const KERNEL: &str = "vmlinuz-";

/// Where overlays are, and how their names end.
const OVERLAYS: (&str, &str) = ("overlays/", ".dtbo");

/// How the names of device trees end.
const TREE: &str = ".dtb";

/// The longest line that the firmware reads.
const LONGEST: usize = 98;

/// The longest command line: the kernel takes 2047 bytes, and the firmware puts words of its own before it.
const LONGEST_COMMAND_LINE: usize = 1500;

/// What the file says.
#[derive(Debug, Default)]
struct Config {
    kernel: Option<String>,
    initrd: Option<String>,
    line: Option<String>,
    tree: Option<String>,
    wide: Option<String>,
    overlays: Vec<String>,
    others: Vec<String>,
}

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    evidence.boots_by(BootMethod::RaspberryPi)?;
    let esp = evidence.esp.aid()?;
    let root = evidence.root.aid()?;
    let shown = |arch: Option<Arch>| arch.map_or("none".to_owned(), |arch| arch.to_string());
    equal("a root for", shown(Some(Arch::Arm64)), shown(evidence.arch))?;
    let config = config(esp)?;
    equal("`arm_64bit` is", "1", config.wide.as_deref().unwrap_or("not said"))?;
    equal("the command line is in", LINES[0], config.line.as_deref().unwrap_or("a file that is not named"))?;
    let settings = board::board(root)?.map(|board| board.firmware_config).unwrap_or_default();
    equal("besides, the target's settings:", settings.join(", "), config.others.join(", "))?;
    let booted = booted(esp)?;
    let line = command_line::inspect_ways(&booted.ways)?;
    if line.len() > LONGEST_COMMAND_LINE {
        let expected = format!("a command line of at most {LONGEST_COMMAND_LINE} bytes");
        return Err(Objection::differs(expected, line.len()));
    }
    let initrd = booted.initrd.clone().unwrap_or_default();
    let own = [CONFIG.to_owned(), booted.kernel.clone(), initrd];
    for place in own.iter().map(String::as_str).chain(LINES) {
        let there = esp.files.get(place);
        if !matches!(there, Some(SystemFile::Other(bytes)) if !bytes.is_empty()) {
            let observed = if there.is_none() { "there is none" } else { "it is empty" };
            return Err(Objection::differs(format!("a file `{place}` for the firmware"), observed));
        }
    }
    command_line::inspect_default(line)?;
    command_line::inspect(evidence, line)?;
    command_line::inspect_release(evidence, &booted.release)?;
    inspect_kernel(evidence, root, &booted)?;
    inspect_trees(esp, &config)?;
    let own: Vec<&str> = own.iter().map(String::as_str).chain(LINES).collect();
    // All else comes from the root: device trees, overlays, files of the firmware.
    for place in esp.files.keys().filter(|place| !own.contains(&place.as_str())) {
        inspect_copy(evidence, root, place)?;
    }
    Ok(())
}

/// The kernel is one that the firmware can load, and the root's.
fn inspect_kernel(evidence: &Evidence<'_>, root: &Root<'_>, booted: &Booted) -> Verdict {
    let place = &booted.kernel;
    let kernel = evidence.system_file(place)?;
    let plain = kernel.get(56..60) == Some(b"ARM\x64");
    if !plain && !kernel.starts_with(b"\x1F\x8B") {
        return Err(Objection::differs(
            format!("`{place}` is a plain kernel of arm64, or gzip's"),
            "it is neither",
        ));
    }
    for there in kernel_places(&booted.release) {
        let Some(own) = root.file(&there)? else { continue };
        let loadable = zboot::loadable(&own).map(Cow::into_owned);
        return match loadable {
            Ok(own) if own == kernel => Ok(()),
            Ok(_) => {
                Err(Objection::differs(format!("`{place}` is the `/{there}` of the root"), "it differs"))
            }
            Err(error) => {
                Err(Objection::differs(format!("`/{there}` of the root is a kernel"), chain(&error)))
            }
        };
    }
    Err(Objection::differs(format!("`{place}` is a kernel of the root"), "the root has none"))
}

/// There is a device tree, the one that is named if it is alone; overlays are there and are asked for.
fn inspect_trees(esp: &SystemPartition, config: &Config) -> Verdict {
    let trees: Vec<&str> =
        esp.files.keys().map(String::as_str).filter(|place| place.ends_with(TREE)).collect();
    match (&trees[..], &config.tree) {
        ([], _) => return Err(Objection::differs("a device tree", "there is none")),
        ([only], named) => equal("`device_tree` is", *only, named.as_deref().unwrap_or("not said"))?,
        (_, Some(named)) => {
            return Err(Objection::differs(
                "the firmware chooses among several device trees",
                format!("`{named}`"),
            ));
        }
        (_, None) => {}
    }
    let (folder, ending) = OVERLAYS;
    let overlay = |place: &String| Some(place.strip_prefix(folder)?.strip_suffix(ending)?.to_owned());
    let there: Vec<String> = esp.files.keys().filter_map(overlay).collect();
    let mut asked = config.overlays.clone();
    asked.sort();
    equal("the overlays, each asked for:", there.join(", "), asked.join(", "))
}

/// A file is the same, byte for byte, as one of its name in the root.
fn inspect_copy(evidence: &Evidence<'_>, root: &Root<'_>, place: &str) -> Verdict {
    let name = place.rsplit('/').next().unwrap_or(place);
    let bytes = evidence.system_file(place)?;
    let folders = ["usr/lib", "boot"];
    let mut named = folders.iter().flat_map(|folder| root.below(folder)).map(|(path, _)| path);
    let mut found = false;
    while let Some(path) = named.find(|path| path.name() == name.as_bytes()) {
        found = true;
        if root.file(path.to_string().trim_start_matches('/'))?.is_some_and(|own| own == bytes) {
            return Ok(());
        }
    }
    let observed = if found { "it differs" } else { "the root has none" };
    Err(Objection::differs(format!("`{place}` is a file of the root"), observed))
}

/// What boots.
pub(super) fn booted(esp: &SystemPartition) -> Result<Booted, Objection> {
    let config = config(esp)?;
    let needed = |key: &str, value: Option<String>| {
        value.ok_or_else(|| Objection::differs(format!("`{CONFIG}` has `{key}`"), "it has none"))
    };
    let kernel = needed("kernel", config.kernel)?;
    let Some(release) = kernel.strip_prefix(KERNEL).map(str::to_owned) else {
        return Err(Objection::differs(format!("a kernel `{KERNEL}RELEASE`"), format!("`{kernel}`")));
    };
    let initrd = needed("initramfs", config.initrd)?;
    let way = |((id, _), place): (&(&str, Option<&str>), &str)| {
        let text = text(esp, place)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.contains('\n') {
            return Err(Objection::differs(format!("one line in `{place}`"), line.lines().count()));
        }
        Ok(BootedAs { id: (*id).to_owned(), title: None, command_line: line.to_owned() })
    };
    let ways = PROFILES.iter().zip(LINES).map(way).collect::<Result<_, _>>()?;
    Ok(Booted { kernel, initrd: Some(initrd), release, ways })
}

/// A text of the partition.
fn text(esp: &SystemPartition, place: &str) -> Result<String, Objection> {
    let Some(SystemFile::Other(bytes)) = esp.files.get(place) else {
        return Err(Objection::differs(format!("a file `{place}` for the firmware"), "there is none"));
    };
    String::from_utf8(bytes.clone())
        .map_err(|_| Objection::differs(format!("`{place}` of text"), "it is not UTF-8"))
}

/// What `config.txt` says. Everything in it is for all boards: a filter, or a file that is included, could say
/// anything besides.
fn config(esp: &SystemPartition) -> Result<Config, Objection> {
    let text = text(esp, CONFIG)?;
    let mut config = Config::default();
    let mut filters = 0;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let wrong =
            || Objection::differs(format!("settings for all boards in `{CONFIG}`"), format!("`{line}`"));
        if line.len() > LONGEST {
            let expected = format!("lines of at most {LONGEST} bytes in `{CONFIG}`");
            return Err(Objection::differs(expected, format!("`{line}`")));
        }
        if line == "[all]" && filters == 0 {
            filters += 1;
            continue;
        }
        if line.starts_with('[') || line.starts_with("include") || filters == 0 {
            return Err(wrong());
        }
        let named = |value: &str| {
            let plain = !value.is_empty() && !value.contains(['/', ' ']);
            plain.then(|| value.to_owned()).ok_or_else(wrong)
        };
        if let Some(rest) = line.strip_prefix("initramfs ") {
            let initrd = named(rest.strip_suffix(" followkernel").ok_or_else(wrong)?)?;
            once(&mut config.initrd, initrd, line)?;
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(wrong)?;
        match key {
            "arm_64bit" => once(&mut config.wide, value.to_owned(), line)?,
            "kernel" => once(&mut config.kernel, named(value)?, line)?,
            "cmdline" => once(&mut config.line, named(value)?, line)?,
            "device_tree" => once(&mut config.tree, named(value)?, line)?,
            "dtoverlay" => config.overlays.push(named(value)?),
            _ => config.others.push(line.to_owned()),
        }
    }
    Ok(config)
}

/// Sets what may be set once: a later line would win.
fn once(place: &mut Option<String>, value: String, line: &str) -> Verdict {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Objection::differs(format!("each key once in `{CONFIG}`"), format!("`{line}`"))),
    }
}
