//! From a finished tree to verified files, all in the scratch directory: disks, what they are exported as, the
//! index.

use std::collections::BTreeMap;

use goni_model::layout::{Layout, Role};
use goni_model::plan::Plan;
use goni_model::recipe::OutputFormat;
use uuid::Uuid;

use super::{BuildError, OutputFile, export};
use crate::failure::Failure;
use crate::host::disk_file::DiskFile;
use crate::host::image::Image;
use crate::host::scratch::Scratch;
use crate::index::sizes::Since;
use crate::index::{self, Index};
use crate::progress::{Progress, Unit};
use crate::project::Project;
use crate::stages::boot;
use crate::stages::image::{self, Parts, Variant, Written};
use crate::verify::{self, Expectations, Meant};
use crate::workshop::Workshop;

/// What `make` leaves in the scratch directory.
pub(super) struct Made {
    pub(super) written: Written,
    pub(super) files: BTreeMap<String, OutputFile>,
    /// The packed index.
    pub(super) index: Vec<u8>,
    pub(super) since: Option<Since>,
}

/// Writes, verifies and exports, all in the scratch directory: an image for each sector size.
pub(super) fn make(
    scratch: &Scratch,
    parts: &Parts<'_>,
    (source, before): (&index::Source<'_>, Option<&Index>),
    plan: &Plan,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Made, Failure> {
    let raw = |layout: &Layout| scratch.path().join(plan.file_name(layout.sector_size, OutputFormat::Raw));
    let variant = |layout| Variant { path: raw(layout), layout };
    let variants: Vec<_> = plan.further_layouts.iter().map(variant).collect();
    let (disks, written, booting) = image::write(&raw(&plan.layout), parts, &variants, progress)?;
    let traced = index::Written {
        initrd: &booting.initrd,
        boot: &booting.partitions,
        stored: &booting.stored,
        root_used: written.root_size.get(),
    };
    let index = index::make(source, &traced)?;
    drop(booting);
    let sizes = index.sizes(before);
    sizes.within_budget()?;
    let builder = builder_paths(source.project, scratch, workshop);
    let meant = Meant::new(&index, &builder);
    for (disk, layout) in disks.iter().zip(plan.layouts()) {
        workshop.interrupt().check()?;
        read_back(disk, layout, parts, &written, &meant, progress)?;
    }
    progress.begin("export", None, Unit::Bytes);
    let mut files = BTreeMap::new();
    for (disk, layout) in disks.iter().zip(plan.layouts()) {
        workshop.interrupt().check()?;
        let name = |format| plan.file_name(layout.sector_size, format);
        let wanted = parts.recipe.output.formats.contains(&OutputFormat::Qcow2);
        let qcow2 = wanted.then(|| scratch.path().join(name(OutputFormat::Qcow2)));
        let exported = export::export(disk, qcow2.as_deref(), parts.recipe.output.qcow2_compression)?;
        let file = |digested: export::Digested| digested.file(layout.sector_size);
        files.insert(name(OutputFormat::Raw), file(exported.raw));
        files.extend(exported.qcow2.map(|qcow2| (name(OutputFormat::Qcow2), file(qcow2))));
    }
    let partitions: Vec<Uuid> = written.partitions.iter().map(|(_, uuid)| *uuid).collect();
    let packed = index::pack(&index, &partitions).map_err(BuildError::Index)?;
    progress.end("export", &format!("{} files", files.len()));
    Ok(Made { written, files, index: packed, since: sizes.since })
}

/// Paths of this machine that tell where an image was built: those of more than one name, as `/srv` is a word.
fn builder_paths(project: &Project, scratch: &Scratch, workshop: &Workshop) -> Vec<String> {
    let places = [project.root.as_path(), scratch.path(), workshop.cache()];
    let long = places.into_iter().filter(|path| path.is_absolute() && path.components().count() > 2);
    let mut paths: Vec<String> = long.filter_map(|path| path.to_str().map(str::to_owned)).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Reads the finished bytes back with readers that share no code with the writers, and compares them
/// with what was planned. An image that fails gets no name.
fn read_back(
    disk: &DiskFile,
    layout: &Layout,
    parts: &Parts<'_>,
    written: &Written,
    meant: &Meant<'_>,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let mut findings = verify::verify_built(&Image::of(disk)?, meant, progress)?;
    let uuids: BTreeMap<Role, Uuid> = written.partitions.iter().copied().collect();
    let slots = layout.slots();
    findings.compare(&Expectations {
        arch: parts.target.arch,
        disk_size: layout.disk_size,
        sector_size: layout.sector_size,
        partitions: slots.map(|slot| (slot.role, uuids[&slot.role], slot.offset, slot.size)).collect(),
        root_hash: written.root_hash,
        kernel_image: boot::kernel_path(parts.recipe, parts.target, &written.kernel),
        profiles: boot::profiles(&written.command_line)
            .into_iter()
            .map(|(label, line)| (label.id, line))
            .collect(),
        command_line: written.command_line.clone(),
        kernel_release: written.kernel.clone(),
        persist: parts.recipe.state.persist.iter().map(ToString::to_string).collect(),
        target: parts.target.name.to_string(),
    });
    if findings.passed() {
        return Ok(());
    }
    let failed = findings.failures().map(ToString::to_string).collect::<Vec<_>>();
    Err(BuildError::Refused { failed: failed.join("; ") }.into())
}
