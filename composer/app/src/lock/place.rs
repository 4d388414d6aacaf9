//! Where what makes a lock stale was written: the line of a recipe, or the file of a target or an overlay.

use goni_model::lock::{Change, Stale};
use goni_model::recipe::origin::Origin;

use crate::project::Project;

/// A stale key with the place that says something else now, where one does.
pub(super) fn told(project: &Project, stale: &Stale) -> String {
    match place(project, stale) {
        Some(place) => format!("{stale} ({place})"),
        None => stale.to_string(),
    }
}

fn place(project: &Project, stale: &Stale) -> Option<String> {
    let key = stale.key.as_str();
    match &stale.change {
        Change::New { name } | Change::Gone { name } | Change::Other { name } => match key {
            "overlay" => match &stale.change {
                Change::Other { .. } => Some(format!("overlays/{name}")),
                _ => typed(project, &[format!("overlays[{name}]"), "overlays".to_owned()]),
            },
            "firmware" => Some(format!("firmware/{name}")),
            "payload" => typed(project, &[format!("payload.{name}.sha256"), format!("payload.{name}")]),
            "module" | "module-source" => Some(name.clone()),
            "module-patch" => name.split_once(": ").map(|(_, path)| path.to_owned()),
            _ => None,
        },
        Change::List { added, .. } => {
            let keys = recipe_keys(key);
            let item = added.iter().find_map(|item| {
                let word = item.split(' ').next().unwrap_or_default();
                let listed: Vec<String> = keys.iter().map(|key| format!("{key}[{word}]")).collect();
                typed(project, &listed).or_else(|| asked_by(project, key, word))
            });
            item.or_else(|| typed(project, &keys))
        }
        Change::Value { .. } => typed(project, &recipe_keys(key)),
    }
}

/// The keys of a recipe that a key of a request is made of.
fn recipe_keys(key: &str) -> Vec<String> {
    if let Some((archive, key)) = key.strip_prefix("archive.").and_then(|rest| rest.rsplit_once('.')) {
        let of_debian = archive.starts_with("debian");
        return match (of_debian, key) {
            (true, "suites") => vec!["debian.suite".to_owned()],
            (true, key) => vec![format!("debian.{key}")],
            (false, "keys") => {
                vec![format!("archive[{archive}].key.fingerprint"), format!("archive[{archive}].key")]
            }
            (false, "suites") => vec![format!("archive[{archive}].suite")],
            (false, "weak") => vec![format!("archive[{archive}].weak-key.accept")],
            (false, key) => vec![format!("archive[{archive}].{key}"), format!("archive[{archive}].name")],
        };
    }
    match key {
        "archives" => vec!["archive".to_owned()],
        "dkms" => vec!["kernel.dkms".to_owned()],
        "build" => vec!["kernel.module-sources".to_owned(), "kernel.dkms".to_owned()],
        key => vec![format!("debian.{key}")],
    }
}

/// The first place where a recipe says one of these keys, or something below it.
fn typed(project: &Project, keys: &[String]) -> Option<String> {
    keys.iter().find_map(|key| {
        let below = project.origins.range(key.clone()..).take_while(|(at, _)| at.starts_with(key.as_str()));
        let origin = |at: &Origin| match at {
            Origin::Typed { file, line, .. } => Some(format!("{file}:{line}")),
            Origin::Default => None,
        };
        below.into_iter().find_map(|(_, effective)| origin(&effective.origin))
    })
}

/// The target or the overlay that asks for a package, where no recipe does.
fn asked_by(project: &Project, key: &str, package: &str) -> Option<String> {
    if key != "packages" {
        return None;
    }
    let target = &project.target;
    let of_target = target.packages.iter().chain(&target.firmware).chain([&target.kernel]);
    if of_target.into_iter().any(|name| name.as_str() == package) {
        return Some(format!("firmware/{}/target.toml", target.name));
    }
    let mut overlays = project.overlays.iter().chain(project.stand_ins.values().flatten());
    let overlay = overlays.find(|it| it.overlay.packages.iter().any(|name| name.as_str() == package))?;
    Some(format!("overlays/{}/overlay.toml", overlay.overlay.name))
}
