//! Kernel modules that were added to the kernel's own: each is there, for this kernel, as it was built and
//! signed, and in the index; nothing else was added, and nothing that built them was left.
//!
//! What was added is in the image, as the stage `modules` laid it.

use std::collections::BTreeSet;

use goni_model::digest::Sha256Digest;

use super::evidence::{Evidence, NodeKind, Root};
use super::objection::{Objection, Verdict, none};
use super::packages::packages;
use crate::modinfo::Modinfo;
use crate::stages::modules::{Origin, RECORD, Record, place};

/// Where modules go that are not the kernel's own. Source: Documentation/kbuild/modules.rst, dkms(8).
const ADDED: [&str; 2] = ["updates", "extra"];

/// What building modules leaves behind where it is done on the device itself.
const LEFT: [&str; 3] = ["var/lib/dkms", "usr/src/linux-headers-", "usr/lib/linux-kbuild-"];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let record = record(root)?;
    let modules = format!("usr/lib/modules/{}", record.kernel);
    if !record.modules.is_empty() && root.node(&modules).is_none() {
        return Err(Objection::unseen("the kernel has no modules, as another check tells"));
    }
    let mut problems = Vec::new();
    let mut recorded = BTreeSet::new();
    for module in &record.modules {
        let place = place(&record.kernel, module);
        match root.file(&place)? {
            Some(bytes) => problems.extend(wrong(&place, &bytes, &record.kernel, module)),
            None => problems.push(format!("`/{place}`, of {}, is missing", module.from)),
        }
        recorded.insert(format!("/{place}"));
    }
    if !record.modules.is_empty() {
        let index = root.text(&format!("usr/lib/modules/{}/modules.dep", record.kernel))?;
        let above = format!("usr/lib/modules/{}/", record.kernel);
        let indexed: BTreeSet<&str> =
            index.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
        for place in &recorded {
            let file = place.trim_start_matches('/').strip_prefix(&above).unwrap_or(place);
            if !indexed.contains(file) {
                problems.push(format!("`{place}` is not in modules.dep"));
            }
        }
        problems.extend(left(root, &record)?);
    }
    problems.extend(unknown(root, &recorded));
    none("the modules that were added, and no others", problems)
}

/// What an image says of the modules that were added; nothing, if none were.
fn record(root: &Root<'_>) -> Result<Record, Objection> {
    let Some(bytes) = root.file(RECORD)? else { return Ok(Record::default()) };
    let record = serde_json::from_slice(&bytes);
    record.map_err(|error| Objection::differs(format!("a list of modules in `/{RECORD}`"), error))
}

/// What is not as it was built.
fn wrong(place: &str, bytes: &[u8], kernel: &str, module: &crate::stages::modules::Recorded) -> Vec<String> {
    let mut problems = Vec::new();
    if Sha256Digest::of(bytes) != module.sha256 {
        problems.push(format!("`/{place}` has other bytes than were written down"));
    }
    match Modinfo::parse(bytes) {
        Ok(info) => {
            if info.release() != kernel {
                problems.push(format!("`/{place}` is for kernel `{}`", info.release()));
            }
            if info.signed != module.signed {
                let is = if info.signed { "is signed" } else { "is not signed" };
                problems.push(format!("`/{place}` {is}"));
            }
        }
        Err(error) => problems.push(format!("`/{place}` is no kernel module: {error}")),
    }
    problems
}

/// What built the modules, if it is there.
fn left(root: &Root<'_>, record: &Record) -> Result<Vec<String>, Objection> {
    let below = LEFT.iter().filter_map(|start| {
        let folder = start.rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = format!("/{start}");
        let found = root.below(folder).map(|(path, _)| path.to_string());
        found.into_iter().find(|path| path.starts_with(&start))
    });
    let mut problems: Vec<String> =
        below.map(|path| format!("`{path}` is left of building modules")).collect();
    let sources: BTreeSet<&str> = record
        .modules
        .iter()
        .filter_map(|module| match &module.from {
            Origin::Dkms { package, .. } => Some(package.as_str()),
            Origin::Source { .. } | Origin::File { .. } => None,
        })
        .collect();
    for package in packages(root)?.iter().filter(|package| sources.contains(package.name.as_str())) {
        problems.push(format!("package `{}`, the source of modules, is installed", package.name));
    }
    Ok(problems)
}

/// Modules that nobody wrote down.
fn unknown(root: &Root<'_>, recorded: &BTreeSet<String>) -> Vec<String> {
    let files = root.below("usr/lib/modules").filter(|(_, node)| node.kind() == NodeKind::File);
    let added = files.map(|(path, _)| path.to_string()).filter(|path| {
        let mut parts = path.trim_start_matches("/usr/lib/modules/").split('/').skip(1);
        parts.next().is_some_and(|folder| ADDED.contains(&folder)) && path.contains(".ko")
    });
    let unknown = added.filter(|path| !recorded.contains(path));
    unknown.map(|path| format!("`{path}`: nobody wrote down where it comes from")).collect()
}
