//! The tree of an image, finished: configured packages, and all that is laid over them.

use goni_disk::tree::FileTree;
use goni_model::plan::Plan;
use goni_model::time::Timestamp;

use super::{CODE, Order, cache, inputs, modules, plan, program};
use crate::failure::Failure;
use crate::host::contents::Contents;
use crate::host::files::lock::Lock as FileLock;
use crate::progress::Progress;
use crate::project::Project;
use crate::resolve;
use crate::stages::modules::Recorded;
use crate::stages::{board, image, overlay, settings, state};
use crate::workshop::Workshop;

/// The tree of an image, with all that is laid into it.
pub(crate) struct Finished {
    /// The root.
    pub(crate) root: FileTree,
    /// The state, set apart from it.
    pub(crate) state: FileTree,
    /// The bytes of both.
    pub(crate) contents: Contents,
    /// Kernel modules in it that its kernel's package does not bring.
    pub(crate) modules: Vec<Recorded>,
    /// The latest time of anything.
    pub(crate) date: Timestamp,
    /// Keeps other builds from removing what the bytes are read from.
    _in_use: FileLock,
}

/// The tree of the image that is there, or would be built: what a build writes to a disk.
///
/// # Errors
/// As [`super::build()`], up to there.
pub(crate) fn tree(
    project: &Project,
    order: &Order,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Finished, Failure> {
    let lock = resolve::satisfied_lock(project)?;
    let inputs = inputs::gather(project, order, workshop, progress)?;
    let modules = modules::gather(project, &lock)?;
    let listed = [inputs.listed(), modules.listed()].concat();
    let twins = cache::twins(&lock, order.emulate);
    let plan = plan::plan(project, &lock, twins, &listed, CODE)?;
    let sources = cache::Ingredients { lock: &lock, twins, modules: &modules };
    finished(project, &sources, &plan, &inputs, workshop, progress)
}

/// The same, of a plan that was made.
pub(super) fn finished(
    project: &Project,
    sources: &cache::Ingredients<'_>,
    plan: &Plan,
    inputs: &inputs::Inputs,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Finished, Failure> {
    let date = Timestamp::from_seconds(i64::try_from(sources.lock.source_date).unwrap_or(i64::MAX));
    let configured = cache::configured(project, sources, plan, &program()?.to_string(), workshop, progress)?;
    workshop.interrupt().check()?;
    let cache::Configured { tree: mut root, directory, in_use } = configured;
    let mut contents = Contents::new(directory);
    let payloads = inputs.payloads(&mut contents);
    overlay::lay(&mut root, &contents, &inputs.overlays, &payloads, date)?;
    settings::lay(&mut root, &project.recipe, &inputs.overlays, date)?;
    let modules = modules::record(&root, &contents).map(|record| record.modules).unwrap_or_default();
    board::lay(&mut root, &contents, &project.recipe, &project.target, date)?;
    let uuid = |role| image::partition_uuid(&project.recipe, &project.target, role);
    state::write_tables(&mut root, &plan.layout, &project.recipe.state, uuid, date)?;
    let state = state::set_apart(&mut root, &project.recipe.state.persist, date)?;
    Ok(Finished { root, state, contents, modules, date, _in_use: in_use })
}
