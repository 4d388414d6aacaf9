//! The image fits its board: each device that the target expects finds a driver of this very kernel, with
//! its firmware; what the root is reached through is in the initrd.
//!
//! What is expected is in the image, as the stage `board` laid it. Not proved: that the driver works, which
//! only the board can show. Source: modules.alias(5) as depmod writes it; modinfo(8).

mod initrd;
mod kernel;
mod package;

use std::collections::BTreeSet;

use goni_model::target::expect::{Board, Expected};

use super::evidence::{Evidence, NodeKind, Root};
use super::objection::{Objection, Verdict, none};
use crate::stages::board::BOARD;
use kernel::{Kernel, Module, glob};

/// Where the kernel looks for firmware.
const FIRMWARE: &str = "usr/lib/firmware";

/// Endings under which the kernel finds a firmware file. Source: drivers/base/firmware_loader.
const ENDINGS: [&str; 3] = ["", ".xz", ".zst"];

/// How many symbolic links are followed.
const LINKS: usize = 8;

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let Some(board) = board(root)? else {
        return Err(Objection::unseen("the image does not say which board it is for"));
    };
    let Some(booted) = evidence.booted() else {
        return Err(Objection::unseen("there is no kernel image"));
    };
    let release = booted.release.as_str();
    if root.node(&format!("usr/lib/modules/{release}")).is_none() {
        return Err(Objection::unseen("the kernel has no modules, as another check tells"));
    }
    let kernel = Kernel::read(root, release)?;
    let initrd = initrd::names(evidence, &booted)?;
    let mut problems = Vec::new();
    for module in &board.initrd {
        match kernel.module(module) {
            Some(module) => problems.extend(not_in_initrd(&module, release, &initrd)),
            None => problems.push(format!("initrd: the kernel has no module `{module}`")),
        }
    }
    for expected in &board.expect {
        problems.extend(fit(root, &kernel, &initrd, expected)?);
    }
    none(&format!("all that `{}` needs", board.target), problems)
}

/// What an image says of its board, if it does.
pub(super) fn board(root: &Root<'_>) -> Result<Option<Board>, Objection> {
    let Some(bytes) = root.file(BOARD)? else { return Ok(None) };
    let board = serde_json::from_slice(&bytes);
    board.map(Some).map_err(|error| Objection::differs(format!("a board in `/{BOARD}`"), error))
}

/// What is missing for a device.
fn fit(
    root: &Root<'_>,
    kernel: &Kernel,
    initrd: &BTreeSet<String>,
    expected: &Expected,
) -> Result<Vec<String>, Objection> {
    let name = &expected.name;
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for modalias in &expected.modaliases {
        let modules = kernel.drivers(modalias);
        if modules.is_empty() {
            problems.push(format!("{name}: no module of the kernel knows `{modalias}`"));
        }
        for module in modules {
            if !seen.insert(module.name.clone()) {
                continue;
            }
            problems.extend(lacks(root, kernel, &module, expected)?);
            if expected.root {
                let missing = not_in_initrd(&module, kernel.release(), initrd);
                problems.extend(missing.into_iter().map(|problem| format!("{name}: {problem}")));
            }
        }
    }
    Ok(problems)
}

/// What of a module is not in the root, or is not for this kernel.
fn lacks(
    root: &Root<'_>,
    kernel: &Kernel,
    module: &Module,
    expected: &Expected,
) -> Result<Vec<String>, Objection> {
    let name = &expected.name;
    let mut problems = Vec::new();
    let mut firmware = kernel.built_in_firmware(&module.name);
    for file in &module.files {
        let place = format!("usr/lib/modules/{}/{file}", kernel.release());
        let Some(bytes) = root.file(&place)? else {
            problems.push(format!("{name}: `/{place}` is missing"));
            continue;
        };
        let modinfo = kernel::modinfo(&place, bytes)?;
        let built_for = modinfo.version_magic.split_whitespace().next().unwrap_or_default();
        if built_for != kernel.release() {
            problems.push(format!("{name}: `/{place}` is for kernel `{built_for}`"));
        }
        // What the driver itself names: those it builds on serve other devices, too.
        if module.files.first() == Some(file) {
            firmware.extend(modinfo.firmware);
        }
    }
    if let Some(wanted) = &expected.firmware {
        for pattern in wanted {
            if !firmware.iter().any(|file| glob(pattern, file)) {
                problems.push(format!("{name}: `{}` names no firmware `{pattern}`", module.name));
            }
        }
        firmware.retain(|file| wanted.iter().any(|pattern| glob(pattern, file)));
    }
    firmware.sort();
    firmware.dedup();
    // Some drivers name patterns; one of the files is enough there.
    for file in firmware.iter().filter(|file| !has_firmware(root, file)) {
        let brought = package::of(file).map_or_else(String::new, |package| format!(", of package {package}"));
        problems.push(format!("{name}: `{}` needs firmware `{file}`{brought}", module.name));
    }
    Ok(problems)
}

/// Whether the root has a firmware file, packed or not; a name with `*` is met by any file.
fn has_firmware(root: &Root<'_>, file: &str) -> bool {
    if file.contains('*') {
        let pattern = format!("/{FIRMWARE}/{file}");
        return root.below(FIRMWARE).any(|(path, _)| glob(&pattern, &path.to_string()));
    }
    ENDINGS.iter().any(|ending| leads_to_file(root, &format!("{FIRMWARE}/{file}{ending}"), LINKS))
}

/// Whether a path leads to a file, through links of files.
fn leads_to_file(root: &Root<'_>, place: &str, links: usize) -> bool {
    let Some(node) = root.node(place) else { return false };
    match node.kind() {
        NodeKind::File => true,
        NodeKind::Symlink if links > 0 => {
            let target = root.target(node).unwrap_or_default();
            let target = String::from_utf8_lossy(&target).into_owned();
            let start = if target.starts_with('/') { Vec::new() } else { place.split('/').collect() };
            // The last part is the link's own name.
            let mut parts: Vec<&str> = start.split_last().map_or_else(Vec::new, |(_, above)| above.to_vec());
            for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
                if part == ".." {
                    parts.pop();
                } else {
                    parts.push(part);
                }
            }
            !parts.is_empty() && leads_to_file(root, &parts.join("/"), links - 1)
        }
        _ => false,
    }
}

/// What of a module the initrd does not have.
fn not_in_initrd(module: &Module, release: &str, initrd: &BTreeSet<String>) -> Vec<String> {
    let place = |file: &String| format!("usr/lib/modules/{release}/{file}");
    let missing = module.files.iter().map(place).filter(|place| !initrd.contains(place));
    missing.map(|place| format!("the initrd lacks `/{place}`, which `{}` needs", module.name)).collect()
}
