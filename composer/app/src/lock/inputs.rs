//! What a project itself gives to its image, by digest: all that a lock pins beside packages.
//!
//! Left out: what is given by hand (`--payload`) and what has no declared digest, which the manifest records;
//! and the certificate of `kernel.module-key`, which is its owner's and not the project's.

use std::collections::BTreeMap;

use goni_model::digest::Sha256Digest;
use goni_model::lock::{InputKind, LockedInput};
use goni_model::recipe::PayloadSource;

use crate::build::inputs::overlay_digest;
use crate::build::modules;
use crate::failure::Failure;
use crate::host::contents;
use crate::host::files::FileError;
use crate::host::toolbox;
use crate::project::Project;

/// The inputs of a project, sorted.
///
/// # Errors
/// One that is not there or cannot be read.
pub fn inputs(project: &Project) -> Result<Vec<LockedInput>, Failure> {
    let mut found: BTreeMap<(InputKind, String), Sha256Digest> = BTreeMap::new();
    for firmware in &project.firmware {
        found.insert((firmware.kind, firmware.name.clone()), firmware.sha256);
    }
    for overlay in project.overlays.iter().chain(project.stand_ins.values().flatten()) {
        found.insert((InputKind::Overlay, overlay.overlay.name.to_string()), overlay_digest(overlay)?);
    }
    for (name, payload) in &project.recipe.payloads {
        if let PayloadSource::Url { sha256, .. } = &payload.source {
            found.insert((InputKind::Payload, name.to_string()), *sha256);
        }
    }
    let extra = project.extra_modules();
    let of_file = |path: &goni_model::name::ProjectPath| {
        let file = project.file(path);
        contents::inspect(&file).map(|it| it.sha256).map_err(FileError::io("reading", &file))
    };
    for path in &extra.files {
        found.insert((InputKind::Module, path.to_string()), of_file(path)?);
    }
    for path in &extra.sources {
        let sha256 = modules::digest(path.as_str(), &project.file(path))?;
        found.insert((InputKind::ModuleSource, path.to_string()), sha256);
    }
    for (package, patches) in &extra.patches {
        for path in patches {
            found.insert((InputKind::ModulePatch, format!("{package}: {path}")), of_file(path)?);
        }
    }
    found.insert((InputKind::Toolbox, "goni-compose".to_owned()), toolbox::lock_digest());
    Ok(found.into_iter().map(|((kind, name), sha256)| LockedInput { kind, name, sha256 }).collect())
}
