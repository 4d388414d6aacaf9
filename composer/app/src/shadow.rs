//! The image of a board that QEMU cannot be, made to boot on a machine that it can.
//!
//! Root, hash tree, swap and state are the image's own, byte for byte, under their own identifiers. What
//! is another's is the kernel, of Debian's package that the shadow target names, with its modules, and the boot
//! path: systemd-boot, a kernel image whose initrd has the programs of the image's own root. The modules are on
//! a partition of their own, mounted over those of the root, which no kernel here could load.
//!
//! Such a disk is booted and thrown away. What of the image it does not exercise, its report says.

mod disk;
mod kernel;
mod report;

use std::path::PathBuf;

use goni_model::lock::Lock;
use goni_model::report::ShadowReport;
use goni_model::size::SectorSize;
use goni_model::target::Target;

use crate::build::{self, Order};
use crate::failure::Failure;
use crate::host::files;
use crate::host::scratch::Scratch;
use crate::progress::Progress;
use crate::project::Project;
use crate::resolve;
use crate::workshop::Workshop;

pub use disk::ShadowDiskError;
pub use kernel::ShadowKernelError;

/// The name of this stage where progress is told.
const STAGE: &str = "shadow";

/// Disks for a shadow boot, which are gone when this is.
#[derive(Debug)]
pub struct Shadowed {
    /// The disks, by the size of the sectors they are for.
    pub images: Vec<(SectorSize, PathBuf)>,
    /// What they show and what they do not.
    pub report: ShadowReport,
    _scratch: Scratch,
}

/// Makes disks for a shadow boot from finished images.
///
/// # Errors
/// What of the kernel cannot be had; images that cannot be read; what writing raises.
pub fn cast(
    project: &Project,
    shadow: &Target,
    images: &[(SectorSize, PathBuf)],
    order: &Order,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Shadowed, Failure> {
    let lock = lock(project, shadow, workshop, progress)?;
    let scratch = Scratch::create(workshop.cache(), "shadow")?;
    let kernel = kernel::unpack(shadow, &lock, scratch.path(), workshop, progress)?;
    let tree = build::tree(project, order, workshop, progress)?;
    let cast = disk::Cast { project, shadow, tree: &tree, kernel: &kernel };
    let disks = cast.write(images, scratch.path(), progress)?;
    let report = report::report(project, shadow, &tree, &disks.release)?;
    Ok(Shadowed { images: disks.images, report, _scratch: scratch })
}

/// The lock of what a shadow boot takes; a new one where there is none, as for a build.
fn lock(
    project: &Project,
    shadow: &Target,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Lock, Failure> {
    if resolve::read_shadow_lock(project)?.is_some() {
        return resolve::satisfied_shadow_lock(project, shadow);
    }
    let lock = resolve::resolve_shadow(project, shadow, None, workshop, progress)?;
    let path = project.shadow_lock();
    files::replace(&path, lock.to_string().as_bytes(), 0o644)?;
    progress.warn(&format!("there was no lock: `{}` is new, keep it with the recipe", path.display()));
    Ok(lock)
}
