//! The plan of a build: a pure function of project, lock and the digests of what is laid in.

use std::collections::BTreeMap;

use goni_model::digest::Sha256Digest;
use goni_model::layout::{Layout, LayoutError, Role};
use goni_model::lock::{Lock, LockedPackage};
use goni_model::plan::{Plan, PlannedStage, StageId, StageKind};
use goni_model::size::SectorSize;
use serde::Serialize;

use crate::beside;
use crate::failure::{Class, Classify};
use crate::project::Project;
use crate::stages::image;

/// What is laid into the tree, as far as a plan needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// `overlay`, `payload`; `module`, `module-source`, `module-certificate`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Digest of everything it says and holds.
    pub sha256: Sha256Digest,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Sizes that make no disk.
    #[error("placing the partitions")]
    Layout(#[from] LayoutError),
    /// A root too large for a hash tree.
    #[error("sizing the hash tree of the root")]
    Verity(#[from] goni_disk::verity::VerityError),
    /// Values that could not be written down.
    #[error("writing down the parameters of a stage")]
    Parameters(#[from] serde_json::Error),
}

impl Classify for PlanError {
    fn class(&self) -> Class {
        match self {
            Self::Layout(_) | Self::Verity(_) => Class::Recipe,
            Self::Parameters(_) => Class::Bug,
        }
    }
}

/// Plans a build. `code` is the version of the program's code, which every stage depends on; `twins` are
/// those of the lock that this machine uses.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    project: &Project,
    lock: &Lock,
    twins: &[LockedPackage],
    inputs: &[Input],
    code: &str,
) -> Result<Plan, PlanError> {
    let (recipe, target) = (&project.recipe, &project.target);
    // A checked recipe names one at least.
    let (first, further) = recipe.output.sector_sizes.split_first().unwrap_or((&SectorSize::B512, &[]));
    let layout = Layout::place(*first, &image::sizes(recipe, target)?)?;
    let further_layouts = further.iter().map(|size| layout.in_sectors_of(*size)).collect();
    let partitions: BTreeMap<Role, _> = layout
        .slots()
        .filter(|slot| !(recipe.root.verity && matches!(slot.role, Role::Root | Role::RootVerity)))
        .map(|slot| (slot.role, image::partition_uuid(recipe, target, slot.role)))
        .collect();
    let overlays: Vec<&str> =
        inputs.iter().filter(|input| input.kind == "overlay").map(|input| input.name.as_str()).collect();
    let payloads: Vec<&str> =
        inputs.iter().filter(|input| input.kind == "payload").map(|input| input.name.as_str()).collect();
    let packages = match twins {
        [] => serde_json::to_string(&lock.packages)?,
        twins => serde_json::to_string(&(&lock.packages, twins))?,
    };
    let overrides = beside::overrides(lock).map(|digest| digest.to_string()).unwrap_or_default();
    // None is written as nothing, as it was before there were any.
    let markers: Vec<&str> = target.markers.iter().map(|marker| marker.as_str()).collect();
    let markers = markers.join("\n");
    let (of_modules, inputs): (Vec<_>, Vec<_>) =
        inputs.iter().partition(|input| input.kind.starts_with("module"));
    let extra = project.extra_modules();
    let modules = serde_json::to_string(&(&lock.build, &extra, of_modules))?;
    let modules_note = {
        let names = extra.dkms.iter().map(ToString::to_string);
        let folders = extra.sources.iter().chain(&extra.files).map(ToString::to_string);
        names.chain(folders).collect::<Vec<_>>().join(", ")
    };
    let places: Vec<_> = recipe.payloads.iter().map(|(name, payload)| (name, &payload.path)).collect();
    let inputs = serde_json::to_string(&(&inputs, places))?;
    let disk = serde_json::to_string(&(
        &recipe.name,
        &recipe.version,
        &recipe.root,
        &recipe.kernel,
        &recipe.state,
        (&recipe.network, &recipe.service, &recipe.hardening),
        target,
        &layout,
    ))?;
    // Bill, manifest and provenance tell of all of it.
    let output = serde_json::to_string(recipe)?;
    let fetched = match twins.len() {
        0 => format!("{} packages", lock.packages.len()),
        twins => format!("{} packages, {twins} twins for this machine", lock.packages.len()),
    };
    let mut stages: Vec<PlannedStage> = Vec::new();
    for (kind, parameters, note) in [
        (StageKind::Fetch, packages.as_str(), fetched),
        (StageKind::Modules, &modules, modules_note),
        (StageKind::Unpack, &overrides, String::new()),
        (StageKind::Configure, &markers, String::new()),
        (StageKind::Overlay, &inputs, [overlays, payloads].concat().join(", ")),
        (StageKind::Image, &disk, format!("{} of {}", recipe.name, target.name)),
        (StageKind::Verify, "", String::new()),
        (
            StageKind::Export,
            &output,
            recipe.output.formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(", "),
        ),
    ] {
        if kind == StageKind::Modules && extra.is_empty() {
            continue;
        }
        let before = stages.last().map(|stage| stage.id);
        let id = StageId::of(kind, code, parameters, before, lock.source_date);
        stages.push(PlannedStage { kind, id, note });
    }
    Ok(Plan {
        name: recipe.name.to_string(),
        version: recipe.version.to_string(),
        arch: target.arch,
        source_date: lock.source_date,
        stages,
        layout,
        further_layouts,
        partitions,
    })
}
