//! The image fits its board: each device that the target expects finds a driver of this very kernel, with
//! its firmware; what the root is reached through is in the initrd.
//!
//! What is expected is in the image, as the stage `board` laid it. Not proved: that the driver works, which
//! only the board can show. Source: modules.alias(5) as depmod writes it; modinfo(8).

mod kernel;
mod package;

use std::collections::BTreeSet;

use goni_model::gpu::Driven;
use goni_model::target::expect::{Board, Expected};
use serde::Serialize;

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

/// How a device that a board is expected to have fares in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// The device, as the target calls it.
    pub device: String,
    /// The module that drives it; `None`: none does.
    pub driver: Option<String>,
    /// Whether the driver is built into the kernel.
    pub built_in: bool,
    /// How many files of firmware the board needs for it; all of them are there if there are no problems.
    pub firmware: usize,
    /// Whether the root is reached through it, so that its driver must be in the initrd.
    pub root: bool,
    /// What is missing.
    pub problems: Vec<String>,
}

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let (board, missing, fits) = examine(evidence)?;
    let problems = fits.into_iter().flat_map(|fit| fit.problems);
    none(&format!("all that `{}` needs", board.target), missing.into_iter().chain(problems))
}

/// The board of an image, what its initrd lacks of what the target names, and each device that it expects.
pub(super) fn examine(evidence: &Evidence<'_>) -> Result<(Board, Vec<String>, Vec<Fit>), Objection> {
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
    let initrd = evidence.initrd()?;
    let mut missing = Vec::new();
    for module in &board.initrd {
        match kernel.module(module) {
            Some(module) => missing.extend(not_in_initrd(&module, release, initrd)),
            None => missing.push(format!("initrd: the kernel has no module `{module}`")),
        }
    }
    let mut fits = Vec::new();
    for expected in &board.expect {
        fits.extend(fit(root, &kernel, initrd, expected, &board.deny)?);
    }
    let line = booted.ways.first().map(|way| way.command_line.as_str()).unwrap_or_default();
    missing.extend(not_denied(line, &board.deny));
    if let Some(gpu) = &board.gpu {
        missing.extend(driven(root, &kernel, gpu)?);
    }
    Ok((board, missing, fits))
}

/// What an image says of its board, if it does.
pub(super) fn board(root: &Root<'_>) -> Result<Option<Board>, Objection> {
    let Some(bytes) = root.file(BOARD)? else { return Ok(None) };
    let board = serde_json::from_slice(&bytes);
    board.map(Some).map_err(|error| Objection::differs(format!("a board in `/{BOARD}`"), error))
}

/// How a device fares, a line for each of its drivers.
fn fit(
    root: &Root<'_>,
    kernel: &Kernel,
    initrd: &BTreeSet<String>,
    expected: &Expected,
    deny: &[String],
) -> Result<Vec<Fit>, Objection> {
    let name = &expected.name;
    let line = |driver: Option<&Module>, firmware, problems| Fit {
        device: name.clone(),
        driver: driver.map(|module| module.name.clone()),
        built_in: driver.is_some_and(|module| module.files.is_empty()),
        firmware,
        root: expected.root,
        problems,
    };
    let mut fits = Vec::new();
    let (mut seen, mut named) = (BTreeSet::new(), Vec::new());
    for modalias in &expected.modaliases {
        let mut modules = kernel.drivers(modalias);
        modules.retain(|module| !deny.contains(&module.name));
        if modules.is_empty() {
            fits.push(line(None, 0, vec![format!("{name}: no module of the kernel knows `{modalias}`")]));
        }
        for module in modules {
            if !seen.insert(module.name.clone()) {
                continue;
            }
            let (firmware, mut problems) = lacks(root, kernel, &module, expected)?;
            let needed = firmware.len();
            named.extend(firmware);
            if expected.root {
                let missing = not_in_initrd(&module, kernel.release(), initrd);
                problems.extend(missing.into_iter().map(|problem| format!("{name}: {problem}")));
            }
            fits.push(line(Some(&module), needed, problems));
        }
    }
    // A device may have several drivers, of which one loads its firmware.
    let mut wanted = expected.firmware.iter().flatten();
    if !seen.is_empty()
        && let Some(pattern) = wanted.find(|pattern| !named.iter().any(|file| glob(pattern, file)))
        && let Some(last) = fits.last_mut()
    {
        let drivers: Vec<String> = seen.iter().map(|module| format!("`{module}`")).collect();
        let word = if drivers.len() == 1 { "names" } else { "name" };
        last.problems.push(format!("{name}: {} {word} no firmware `{pattern}`", drivers.join(", ")));
    }
    Ok(fits)
}

/// Modules that are to be denied, and that the kernel's command line lets in.
fn not_denied(line: &str, deny: &[String]) -> Vec<String> {
    let denied: BTreeSet<&str> = line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("module_blacklist="))
        .flat_map(|names| names.split(','))
        .collect();
    let open = deny.iter().filter(|module| !denied.contains(module.as_str()));
    open.map(|module| format!("the command line does not deny `{module}`")).collect()
}

/// What a graphics driver lacks: modules of this kernel, with what they build on, and its user space.
fn driven(root: &Root<'_>, kernel: &Kernel, gpu: &Driven) -> Result<Vec<String>, Objection> {
    let mut problems = Vec::new();
    for name in &gpu.modules {
        let Some(module) = kernel.module(name) else {
            problems.push(format!("graphics driver `{}`: the kernel has no module `{name}`", gpu.driver));
            continue;
        };
        let expected = Expected {
            name: format!("graphics driver `{}`", gpu.driver),
            modaliases: Vec::new(),
            // Which of its files a device needs is for `[[expect]]` to say.
            firmware: Some(Vec::new()),
            root: false,
        };
        problems.extend(lacks(root, kernel, &module, &expected)?.1);
    }
    for pattern in &gpu.files {
        let folder = pattern.split('*').next().and_then(|start| start.rsplit_once('/')).map_or("", |it| it.0);
        let wanted = format!("/{pattern}");
        if !root.below(folder).any(|(path, _)| glob(&wanted, &path.to_string())) {
            problems.push(format!("graphics driver `{}`: no file is `{wanted}`", gpu.driver));
        }
    }
    Ok(problems)
}

/// The files of firmware that a device needs of those a module names; what of the module is not in the root, or
/// is not for this kernel.
fn lacks(
    root: &Root<'_>,
    kernel: &Kernel,
    module: &Module,
    expected: &Expected,
) -> Result<(Vec<String>, Vec<String>), Objection> {
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
        let built_for = modinfo.release();
        if built_for != kernel.release() {
            problems.push(format!("{name}: `/{place}` is for kernel `{built_for}`"));
        }
        // What the driver itself names: those it builds on serve other devices, too.
        if module.files.first() == Some(file) {
            firmware.extend(modinfo.firmware);
        }
    }
    if let Some(wanted) = &expected.firmware {
        firmware.retain(|file| wanted.iter().any(|pattern| glob(pattern, file)));
    }
    firmware.sort();
    firmware.dedup();
    // Some drivers name patterns; one of the files is enough there.
    for file in firmware.iter().filter(|file| !has_firmware(root, file)) {
        let brought = package::of(file).map_or_else(String::new, |package| format!(", of package {package}"));
        problems.push(format!("{name}: `{}` needs firmware `{file}`{brought}", module.name));
    }
    Ok((firmware, problems))
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
