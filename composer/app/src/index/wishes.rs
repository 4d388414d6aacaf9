//! Who asks for what: the recipe, its target, its overlays, each by file and line.

use std::collections::BTreeMap;

use goni_model::recipe::origin::Origin;

use super::document::{Brought, Wish};
use crate::project::Project;

/// Everybody who asks, by package. Those named most directly come first.
pub(super) fn of(project: &Project) -> BTreeMap<String, Vec<Wish>> {
    let mut wishes: BTreeMap<String, Vec<Wish>> = BTreeMap::new();
    let mut add = |package: &str, wish: Wish| {
        let of_package = wishes.entry(package.to_owned()).or_default();
        if !of_package.contains(&wish) {
            of_package.push(wish);
        }
    };
    for name in &project.recipe.debian.packages {
        let name = name.as_str();
        let key = format!("debian.packages[{name}]");
        add(
            package_of(name),
            Wish { by: "the recipe".to_owned(), place: place_of_key(project, &key), key: Some(key) },
        );
    }
    let overlays = brought_overlays(project);
    for loaded in project.overlays.iter().chain(project.stand_ins.values().flatten()) {
        let overlay = loaded.overlay.name.as_str();
        let key = overlays.iter().find(|it| it.name == overlay).and_then(|it| it.key.clone());
        for name in &loaded.overlay.packages {
            let place = line_of(project, &[&format!("overlays/{overlay}/")], name.as_str());
            let by = format!("overlay {overlay}");
            add(package_of(name.as_str()), Wish { by, place, key: key.clone() });
        }
    }
    let target = &project.target;
    let of_target = target.packages.iter().chain(&target.firmware).chain([&target.kernel]);
    for name in of_target {
        // A graphics driver's packages are the target's by now; its own file says which.
        let place = line_of(project, &[&format!("firmware/{}/", target.name), "firmware/"], name.as_str());
        let of_driver = place.as_deref().is_some_and(|place| place.starts_with("firmware/_gpu/"));
        let (by, key) = match of_driver {
            true if project.origins.contains_key("gpu.driver") => {
                ("the graphics driver".to_owned(), "gpu.driver")
            }
            true => ("the graphics driver".to_owned(), "target"),
            false => (format!("target {}", target.name), "target"),
        };
        add(package_of(name.as_str()), Wish { by, place, key: Some(key.to_owned()) });
    }
    wishes
}

/// The overlays that a project lays, and what brought each.
pub(super) fn brought_overlays(project: &Project) -> Vec<Brought> {
    let mut brought: Vec<Brought> = Vec::new();
    let laid = project.overlays.iter().chain(project.stand_ins.values().flatten());
    for loaded in laid.clone() {
        let name = loaded.overlay.name.as_str();
        let listed = format!("overlays[{name}]");
        let of_payload =
            project.recipe.payloads.iter().find(|(_, payload)| {
                payload.stand_in.as_ref().is_some_and(|stand_in| stand_in.as_str() == name)
            });
        let requiring =
            laid.clone().find(|other| other.overlay.requires.iter().any(|it| it.as_str() == name));
        let (key, because) = if project.origins.contains_key(&listed) {
            (Some(listed), None)
        } else if let Some((payload, _)) = of_payload {
            (Some(format!("payload.{payload}.stand-in")), Some(format!("it stands in for payload {payload}")))
        } else if let Some(other) = requiring {
            (None, Some(format!("overlay {} requires it", other.overlay.name)))
        } else if project.origins.contains_key("state.encryption") && name == "tpm2" {
            (Some("state.encryption".to_owned()), Some("an encrypted state needs it".to_owned()))
        } else {
            let key = if project.origins.contains_key("gpu.driver") { "gpu.driver" } else { "target" };
            (Some(key.to_owned()), Some("the graphics driver brings it".to_owned()))
        };
        if !brought.iter().any(|it| it.name == name) {
            brought.push(Brought { name: name.to_owned(), key, because });
        }
    }
    brought
}

/// The name in a wish: `name`, `name=version` or `name (>= version)`.
fn package_of(wish: &str) -> &str {
    wish.split(['=', ' ', '(', ':']).next().unwrap_or(wish)
}

/// File and line of a value of the recipe.
fn place_of_key(project: &Project, key: &str) -> Option<String> {
    match project.within(&project.origins.get(key)?.origin) {
        Origin::Typed { file, line, .. } => Some(format!("{file}:{line}")),
        Origin::Default => None,
    }
}

/// File and line of a text in quotes, in the files below the first of these folders that has one with it.
fn line_of(project: &Project, folders: &[&str], text: &str) -> Option<String> {
    let quoted = format!("\"{text}\"");
    folders.iter().find_map(|folder| {
        project.files().filter(|(path, _)| path.starts_with(folder)).find_map(|(path, content)| {
            let line = content.lines().position(|line| line.contains(&quoted))?;
            Some(format!("{path}:{}", line + 1))
        })
    })
}
