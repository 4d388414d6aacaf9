//! Recipes: as typed ([`doc`]) and as meant ([`Recipe`]).
//!
//! A recipe file and those it `extends` become one table (`merge`), by key and never by
//! index; the table becomes a [`doc::RecipeDoc`], and [`check`] makes the [`Recipe`] of it. Reading
//! the files, and asking whether a target or an overlay exists, is left to the caller.

mod check;
pub mod doc;
mod merge;
pub mod origin;
mod partitions;
pub mod persist;
mod software;

pub(crate) use check::command_line;
pub(crate) use merge::merge;
pub use partitions::{Compression, Esp, Root, RootFilesystem, State, StateEncryption, Swap, WithoutTpm};
pub use software::{
    Archive, ArchiveKey, Debian, KeySource, KeyWeakness, Override, Payload, PayloadSource, Suite, WeakKey,
};

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::checker::{Checker, Text};
use crate::document::fault::{Fault, Place};
use crate::document::source::{FileId, Sources, Span};
use crate::document::{self, shape};
use crate::gpu::Gpu;
use crate::modules::Modules;
use crate::modules::extra::ExtraModules;
use crate::name::{KernelWord, Name, ProjectPath, Version};
use crate::policy::LicencePolicy;
use crate::port::Port;
use crate::recipe::doc::RecipeDoc;
use crate::recipe::origin::{Effective, Origin, Origins};
use crate::size::{ByteCount, SectorSize};

/// The version of the format this program reads.
pub const SCHEMA: i64 = 1;

/// What a recipe may name: folders of the project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Folders below `firmware/` with a `target.toml`.
    pub targets: BTreeSet<String>,
    /// Folders below `overlays/` with an `overlay.toml`.
    pub overlays: BTreeSet<String>,
    /// The rules of compatibility.
    pub rules: BTreeSet<String>,
    /// Graphics drivers: files of `firmware/_gpu/`.
    pub drivers: BTreeSet<String>,
}

/// The JSON Schema of a recipe.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<RecipeDoc>()
}

/// Checks one recipe file by itself and says which recipe it extends.
///
/// # Errors
/// Every fault of syntax or shape, and a format version this program does not read.
pub fn inspect(sources: &Sources, file: FileId) -> Result<Option<Text>, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let mut faults = check_schema(&table, file);
    if faults.is_empty() {
        faults = shape::check(&table, &schema());
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let extends = table
        .get("extends")
        .and_then(|value| value.get_ref().as_str().map(|text| Spanned::new(value.span(), text.to_owned())));
    Ok(extends)
}

/// Checks a recipe and those it extends: first the one asked for, last the one that extends none.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, chain: &[FileId], known: &Known) -> Result<(Recipe, Origins), Vec<Fault>> {
    let mut faults = Vec::new();
    let mut merged = DeTable::new();
    for file in chain.iter().rev() {
        inspect(sources, *file)?;
        merged = merge::merge(merged, document::parse(sources, *file)?, &mut faults);
    }
    let Some(file) = chain.first().copied() else { return Err(faults) };
    let mut origins = origin::of(sources, &merged);
    let doc: RecipeDoc = document::read(merged, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    faults.into_iter().for_each(|fault| checker.fault(fault));
    let recipe = check::check(&doc, known, &mut checker);
    let (recipe, defaults) = checker.finish(recipe)?;
    for (key, value) in defaults {
        origins.entry(key).or_insert(Effective { value, origin: Origin::Default });
    }
    Ok((recipe, origins))
}

/// A file of another format version is told so before anything else about it.
fn check_schema(table: &DeTable<'_>, file: FileId) -> Vec<Fault> {
    let hint = format!("begin the file with `schema = {SCHEMA}`");
    let Some(value) = table.get("schema") else {
        return vec![Fault::new(Place::File(file), "missing key `schema`").hint(hint)];
    };
    let DeValue::Integer(number) = value.get_ref() else { return Vec::new() };
    if number.to_string() == SCHEMA.to_string() {
        return Vec::new();
    }
    let message = format!("this recipe has format version {number}; this program reads version {SCHEMA}");
    vec![Fault::new(Span::from(value.span()), message)]
}

/// A recipe as meant: every value present, checked and in its own type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The first part of the image's file name.
    pub name: Name,
    /// The version of the image.
    pub version: Version,
    /// The folder below `firmware/` that describes the board.
    pub target: Name,
    /// Folders below `overlays/`, in the order in which they are laid over the tree.
    pub overlays: Vec<Name>,
    /// What comes from Debian.
    pub debian: Debian,
    /// Vendors' archives, sorted by name.
    pub archives: Vec<Archive>,
    /// What is laid into the image as it is, by name.
    pub payloads: BTreeMap<Name, Payload>,
    /// The EFI system partition.
    pub esp: Esp,
    /// The root file system.
    pub root: Root,
    /// The swap partition, or none.
    pub swap: Swap,
    /// The partition that keeps what must outlive an update.
    pub state: State,
    /// The kernel.
    pub kernel: Kernel,
    /// The graphics processor.
    pub gpu: Gpu,
    /// What the network reaches.
    pub network: Network,
    /// What the goni service may use.
    pub service: Service,
    /// Hardening that costs something, and is therefore asked for.
    pub hardening: Hardening,
    /// Rules of compatibility that do not count for this image, each with the reason why.
    pub overridden_rules: BTreeMap<Name, String>,
    /// What the owner allows of licences.
    pub licences: LicencePolicy,
    /// What is written.
    pub output: Output,
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Words added to the command line, behind the target's.
    pub command_line: Vec<KernelWord>,
    /// How devices are kept to the memory they were given.
    pub iommu: Iommu,
    /// Modules: over what the target says of them.
    pub modules: Modules,
    /// Modules that the kernel's package does not bring, with those of the target.
    pub extra_modules: ExtraModules,
    /// The file with private key and certificate that signs the modules built here.
    pub module_key: Option<ProjectPath>,
}

/// How an IOMMU, where there is one, fences the memory that devices reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Iommu {
    /// Unmapped memory is closed to a device within milliseconds, in batches.
    Lazy,
    /// Unmapped memory is closed to a device at once; costs throughput.
    Strict,
    /// Devices of the kernel reach all memory; nothing is fenced.
    Passthrough,
}

impl Iommu {
    /// Its word in recipes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lazy => "lazy",
            Self::Strict => "strict",
            Self::Passthrough => "passthrough",
        }
    }
}

/// What the network reaches. Everything else that comes in is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Ports that are open to everybody, sorted.
    pub open: Vec<Port>,
}

/// What the goni service may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Service {
    /// How much memory it may lock.
    pub lock_memory: LockMemory,
}

/// How much memory may be locked: kept from swap by who uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMemory {
    /// All there is.
    Unlimited,
    /// So much.
    Most(ByteCount),
}

/// Hardening that costs something, and is therefore asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, in recipes, too")]
pub struct Hardening {
    /// Memory is wiped when it is freed, not only before it is used again.
    pub init_on_free: bool,
    /// One thread per core: no neighbour to listen to.
    pub no_smt: bool,
    /// Only signed kernel modules are loaded: none that is built on the device.
    pub signed_modules: bool,
    /// No user namespaces.
    pub no_user_namespaces: bool,
    /// What root may not do to the kernel.
    pub lockdown: Lockdown,
}

impl Hardening {
    /// Whether the kernel refuses modules that are not signed. Source: kernel_lockdown(7).
    #[must_use]
    pub fn only_signed_modules(&self) -> bool {
        self.signed_modules || self.lockdown != Lockdown::None
    }
}

/// What root may not do to the kernel. Source: kernel_lockdown(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lockdown {
    /// Anything is allowed.
    None,
    /// It may not be changed while it runs.
    Integrity,
    /// Nor may what it holds be read.
    Confidentiality,
}

impl Lockdown {
    /// Its word in recipes and on the kernel's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Formats, sorted, at least one.
    pub formats: Vec<OutputFormat>,
    /// Sector sizes of the disks it is for, sorted, at least one: an image for each.
    pub sector_sizes: Vec<SectorSize>,
    /// How clusters of a qcow2 file are packed.
    pub qcow2_compression: Qcow2Compression,
}

/// A container format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// The disk itself, sparse.
    Raw,
    /// QEMU's copy-on-write format, version 3.
    Qcow2,
}

impl OutputFormat {
    /// The ending of its file names, and its word in recipes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// How clusters of a qcow2 file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Qcow2Compression {
    /// Zstandard: QEMU 5.1 and later.
    Zstd,
    /// Deflate: every QEMU.
    Zlib,
}

#[cfg(test)]
mod tests;
