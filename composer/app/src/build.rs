//! A build, from a project to a verified image under its final name.
//!
//! The plan decides, this module acts: packages into the store, a configured tree into the cache (or
//! out of it), overlays and payloads over it, the disk into a scratch directory beside the output,
//! and names only once every check has passed.

mod cache;
mod documents;
mod export;
mod finished;
pub(crate) mod inputs;
mod make;
mod manifest;
pub(crate) mod modules;
mod place;
pub mod plan;
mod snapshot;
pub mod twice;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use goni_model::digest::Sha256Digest;
use goni_model::layout::Role;
use goni_model::lock::Lock;
use goni_model::name::Name;
use goni_model::plan::{Plan, StageId, StageKind};
use goni_model::recipe::OutputFormat;
use goni_model::size::SectorSize;
use uuid::Uuid;

use crate::beside;
use crate::bill::{self, Materials};
use crate::failure::{Class, Classify, Failure};
use crate::host::contents;
use crate::host::files::{self, FileError};
use crate::host::scratch::Scratch;
use crate::host::toolbox;
use crate::index;
use crate::index::sizes::Since;
use crate::lock::ids::{self, Completed};
use crate::policy;
use crate::progress::Progress;
use crate::project::Project;
use crate::provenance::{self, Ground};
use crate::resolve;
use crate::rules;
use crate::stages::configure::probes;
use crate::stages::image::{self, Parts};
use crate::workshop::Workshop;
use finished::finished;
use make::{Made, make};

pub(crate) use finished::{Finished, tree};
pub use manifest::{Document, Effective, Manifest, OutputFile, PartitionLine};

/// The version of the code that stages are identified by.
const CODE: &str = env!("CARGO_PKG_VERSION");

/// What is to be built, and from what beside the project.
#[derive(Debug, Clone)]
pub struct Order {
    /// Programs given on the command line, by payload.
    pub payloads: BTreeMap<Name, PathBuf>,
    /// Where images go.
    pub out: PathBuf,
    /// Build even if what is there is what would be built.
    pub force: bool,
    /// Where the image is of another architecture, let none of this machine's programs configure it.
    pub emulate: bool,
    /// Take ids of users and groups that differ from the lock's into the lock.
    pub accept_ids: bool,
}

/// A verified image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The disk itself, for the first of the sector sizes.
    pub raw: PathBuf,
    /// The disk for each sector size.
    pub raws: BTreeMap<SectorSize, PathBuf>,
    /// Every file of the output, by name.
    pub files: BTreeMap<String, OutputFile>,
    /// The root's hash, if verity protects it.
    pub root_hash: Option<String>,
    /// Identifier of the state partition.
    pub state_uuid: Uuid,
    /// What it was before, if there was an image before.
    pub since: Option<Since>,
    /// Payloads for which a stand-in was used.
    pub stand_ins: Vec<String>,
    /// Whether it was there already, unchanged.
    pub unchanged: bool,
}

/// Why a build did not end in an image.
#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error("writing the manifest")]
    Manifest(#[from] serde_json::Error),
    #[error("writing the bill of materials")]
    Documents(#[source] serde_json::Error),
    #[error("reading the maintainer scripts")]
    Scripts(#[source] std::io::Error),
    #[error("writing the index")]
    Index(#[source] std::io::Error),
    #[error("the image failed its checks and gets no name: {failed}")]
    Refused { failed: String },
}

impl Classify for BuildError {
    fn class(&self) -> Class {
        match self {
            Self::Manifest(_) | Self::Documents(_) | Self::Index(_) => Class::Bug,
            Self::Scripts(_) => Class::Environment,
            Self::Refused { .. } => Class::Check,
        }
    }
}

/// Plans a build without doing it.
///
/// # Errors
/// A lock that is stale, inputs that cannot be read, sizes that make no disk.
pub fn plan(
    project: &Project,
    order: &Order,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Plan, Failure> {
    let lock = resolve::satisfied_lock(project)?;
    let inputs = inputs::gather(project, order, workshop, progress)?;
    let modules = modules::gather(project, &lock)?;
    let listed = [inputs.listed(), modules.listed()].concat();
    Ok(plan::plan(project, &lock, cache::twins(&lock, order.emulate), &listed, CODE)?)
}

/// Builds.
///
/// # Errors
/// Anything a stage says; nothing then bears a final name that did not before.
pub fn build(
    project: &Project,
    order: &Order,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Built, Failure> {
    let lock = lock_to_build_from(project, workshop, progress)?;
    let inputs = inputs::gather(project, order, workshop, progress)?;
    let modules = modules::gather(project, &lock)?;
    let listed = [inputs.listed(), modules.listed()].concat();
    let twins = cache::twins(&lock, order.emulate);
    let plan = plan::plan(project, &lock, twins, &listed, CODE)?;
    let program = program()?;
    // What the whole image depends on: the last stage, and the very program that runs the stages.
    let build = StageId::of(
        StageKind::Export,
        &program.to_string(),
        "",
        plan.id(StageKind::Export),
        plan.source_date,
    );
    let names = place::names(project, &plan);
    place::check(&order.out, &names)?;
    // A lock without ids was never built from: only a finished tree has them.
    if !order.force
        && !order.accept_ids
        && !lock.ids.is_empty()
        && let Some(built) = unchanged(project, order, &plan, build, &inputs)
    {
        progress.end("build", "nothing changed");
        return Ok(built);
    }
    for name in &inputs.stand_ins {
        progress.warn(&format!(
            "payload `{name}` is a stand-in, not the real program: give --payload {name}=FILE"
        ));
    }
    beside::confess(project, &lock, progress);
    let rulings = rules::judge(project, &lock)?;
    rules::confess(project, &rulings, progress);
    let sources = cache::Ingredients { lock: &lock, twins, modules: &modules };
    let finished = finished(project, &sources, &plan, &inputs, workshop, progress)?;
    let ledger = ids::check(project, &lock, (&finished.root, &finished.contents), order.accept_ids)?;
    let mut bill = bill::gather(&Materials {
        project,
        lock: &lock,
        plan: &plan,
        build,
        program,
        toolbox: toolbox::digest(),
        inputs: &listed,
        stand_ins: &inputs.stand_ins,
        root: &finished.root,
        state: &finished.state,
        contents: &finished.contents,
        modules: &finished.modules,
    })?;
    let excepted = policy::judge(project, &lock, &bill)?;
    policy::confess(project, &bill, &excepted, progress);
    bill.except(&excepted);
    files::create_directories(&order.out)?;
    for left in
        files::names(&order.out)?.iter().filter(|name| name.starts_with(&format!(".{}.", plan.stem())))
    {
        // Of a build that was killed: the hold on the tree says that no other is at work.
        files::remove_tree(&order.out.join(left))?;
    }
    let scratch = Scratch::create(&order.out, &plan.stem())?;
    let parts = Parts {
        recipe: &project.recipe,
        target: &project.target,
        layout: &plan.layout,
        root: &finished.root,
        state: &finished.state,
        content: &finished.contents,
        date: finished.date,
    };
    let laid = inputs.laid(order);
    let source = index::Source {
        project,
        lock: &lock,
        root: &finished.root,
        state: &finished.state,
        content: &finished.contents,
        modules: &finished.modules,
        laid: &laid,
    };
    let before = place::last(&order.out, &plan);
    let made = make(&scratch, &parts, (&source, before.as_ref()), &plan, workshop, progress)?;
    let mut documents = documents::of(&bill, &plan, &made.files).map_err(BuildError::Documents)?;
    documents.insert(documents::index_name(&plan), made.index.clone());
    let markers = &project.target.markers;
    let probes = probes::of(&finished.root, &finished.contents, markers).map_err(BuildError::Scripts)?;
    let manifest = Manifest {
        rules: &rulings,
        probes,
        excepted: &excepted,
        documents: documents.iter().map(|(name, text)| (name.clone(), documents::told(text))).collect(),
        modules: finished.modules,
        ..manifest_of(project, &lock, &plan, build, &inputs, &listed, &made)
    };
    let mut manifest_text = serde_json::to_vec_pretty(&manifest).map_err(BuildError::Manifest)?;
    manifest_text.push(b'\n');
    let manifest_name = place::manifest_name(&plan);
    let texts = documents.iter().chain([(&manifest_name, &manifest_text)]);
    let subjects = documents::subjects(&plan, &made.files, texts);
    // The lock as it will be: another build from it must say the same.
    let kept = ledger.as_ref().map_or(&lock, Completed::lock);
    let ground = Ground { project, lock: kept, twins, plan: &plan, bill: &bill };
    let statement = provenance::write(&ground, &provenance::sources(project, kept)?, &subjects);
    documents.insert(documents::provenance_name(&plan), statement.map_err(BuildError::Documents)?);
    let output = place::Texts { manifest: &manifest_text, documents: &documents };
    for stale in place::finish(&scratch, &order.out, &plan, &made.files, &output)? {
        progress.warn(&format!("`{stale}` signed what `SHA256SUMS` said before, and is removed: sign anew"));
    }
    ledger.map_or(Ok(()), |completed| completed.write(progress))?;
    Ok(Built {
        raw: raw(order, &plan, plan.layout.sector_size),
        raws: plan.layouts().map(|it| (it.sector_size, raw(order, &plan, it.sector_size))).collect(),
        files: made.files,
        root_hash: made.written.root_hash.map(|hash| hash.to_string()),
        state_uuid: image::partition_uuid(&project.recipe, &project.target, Role::State),
        since: made.since,
        stand_ins: inputs.stand_ins,
        unchanged: false,
    })
}

/// The lock that is there, or a new one where there is none; a stale one is an error.
fn lock_to_build_from(
    project: &Project,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Lock, Failure> {
    if resolve::read_lock(project)?.is_some() {
        return resolve::satisfied_lock(project);
    }
    let lock = resolve::resolve(project, None, workshop, progress)?;
    files::replace(&project.lock(), lock.to_string().as_bytes(), 0o644)?;
    progress
        .warn(&format!("there was no lock: `{}` is new, keep it with the recipe", project.lock().display()));
    Ok(lock)
}

/// The digest of this very program: a stage made by another may differ.
fn program() -> Result<Sha256Digest, Failure> {
    let program = Path::new("/proc/self/exe");
    let inspected = contents::inspect(program).map_err(FileError::io("reading", program))?;
    Ok(inspected.sha256)
}

/// The raw image for a sector size.
fn raw(order: &Order, plan: &Plan, sector_size: SectorSize) -> PathBuf {
    order.out.join(plan.file_name(sector_size, OutputFormat::Raw))
}

/// The image that is there, if it is exactly what would be built. A file is known by size and by the
/// manifest, which is written last; `verify` reads the bytes.
fn unchanged(
    project: &Project,
    order: &Order,
    plan: &Plan,
    build: StageId,
    inputs: &inputs::Inputs,
) -> Option<Built> {
    let text = files::read_capped(&order.out.join(place::manifest_name(plan)), 64 << 20).ok()?;
    let known: manifest::Known = serde_json::from_slice(&text).ok()?;
    let there = |name: &str, size| files::size(&order.out.join(name)) == Some(size);
    let same = known.build == *build.digest()
        && known.files.iter().all(|(name, file)| there(name, file.size))
        && known.documents.iter().all(|(name, document)| there(name, document.size))
        && files::size(&order.out.join(documents::provenance_name(plan))).is_some();
    same.then(|| Built {
        raw: raw(order, plan, plan.layout.sector_size),
        raws: plan.layouts().map(|it| (it.sector_size, raw(order, plan, it.sector_size))).collect(),
        files: known.files,
        root_hash: known.written.root_hash,
        state_uuid: image::partition_uuid(&project.recipe, &project.target, Role::State),
        since: None,
        stand_ins: inputs.stand_ins.clone(),
        unchanged: true,
    })
}

fn manifest_of<'a>(
    project: &'a Project,
    lock: &'a Lock,
    plan: &'a Plan,
    build: StageId,
    inputs: &inputs::Inputs,
    listed: &'a [plan::Input],
    made: &'a Made,
) -> Manifest<'a> {
    let uuids: BTreeMap<Role, Uuid> = made.written.partitions.iter().copied().collect();
    let partitions = plan.layout.slots().map(|slot| PartitionLine {
        role: slot.role,
        offset: slot.offset.get(),
        size: slot.size.get(),
        uuid: uuids.get(&slot.role).map(Uuid::to_string).unwrap_or_default(),
    });
    let recipe = project.origins.iter().map(|(key, effective)| {
        (
            key.to_string(),
            Effective {
                value: effective.value.to_string(),
                origin: project.within(&effective.origin).to_string(),
            },
        )
    });
    Manifest {
        schema: 1,
        name: &plan.name,
        version: &plan.version,
        arch: plan.arch.to_string(),
        target: project.target.name.as_str(),
        composer: concat!("goni-compose ", env!("CARGO_PKG_VERSION")),
        source_date: plan.source_date,
        build,
        stand_ins: inputs.stand_ins.clone(),
        files: made.files.clone(),
        documents: BTreeMap::new(),
        partitions: partitions.collect(),
        written: &made.written,
        inputs: listed,
        recipe: recipe.collect(),
        packages: &lock.packages,
        modules: Vec::new(),
        module_build: &lock.build,
        suites: &lock.suites,
        archives: &project.recipe.archives,
        rules: &[],
        probes: Vec::new(),
        excepted: &[],
    }
}
