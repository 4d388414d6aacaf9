//! Recipes: as typed ([`doc`]) and as meant ([`Recipe`]).
//!
//! A recipe file and those it `extends` become one table (`merge`), by key and never by
//! index; the table becomes a [`doc::RecipeDoc`], and [`check`] makes the [`Recipe`] of it. Reading
//! the files, and asking whether a target or an overlay exists, is left to the caller.

mod check;
pub mod doc;
mod merge;
pub mod origin;
pub mod persist;

pub(crate) use check::command_line;
pub(crate) use merge::merge;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::arch::Arch;
use crate::digest::Sha256Digest;
use crate::document::checker::{Checker, Text};
use crate::document::fault::{Fault, Place};
use crate::document::source::{FileId, Sources, Span};
use crate::document::{self, shape};
use crate::gpu::Gpu;
use crate::modules::Modules;
use crate::modules::extra::ExtraModules;
use crate::name::{
    ArchiveUri, DebPattern, Fingerprint, ImagePath, KernelWord, Name, PackageName, PackagePattern,
    ProjectPath, SuiteName, Url, Version,
};
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

/// What comes from Debian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// The release.
    pub suite: Suite,
    /// Components of the archive, in order.
    pub components: Vec<SuiteName>,
    /// Packages that must be there, sorted.
    pub packages: Vec<PackageName>,
    /// Packages that must not be there, sorted.
    pub exclude: Vec<PackageName>,
    /// Packages whose job something else in the image does: dependencies on them are met, sorted.
    pub provided: Vec<PackageName>,
    /// Whether Recommends count as Depends.
    pub recommends: bool,
    /// Loose packages of the project, all of which come in; sorted.
    pub local: Vec<DebPattern>,
}

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// The suites that make the release: itself, its updates, its security fixes.
    ///
    /// Each with the archive it belongs to: `debian` or `debian-security`.
    #[must_use]
    pub const fn suites(self) -> [(&'static str, &'static str); 3] {
        match self {
            Self::Trixie => {
                [("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security")]
            }
        }
    }
}

impl Suite {
    /// The suite of newer versions of some of its packages.
    #[must_use]
    pub const fn backports(self) -> &'static str {
        match self {
            Self::Trixie => "trixie-backports",
        }
    }
}

/// A vendor's signed archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// What errors and the lock call it.
    pub name: Name,
    /// Where it is.
    pub uri: ArchiveUri,
    /// The suite below `dists/`.
    pub suite: SuiteName,
    /// Components, in order.
    pub components: Vec<SuiteName>,
    /// The key that must have signed it.
    pub key: ArchiveKey,
    /// The architecture it is for; `None`: whatever its Release file lists.
    pub architecture: Option<Arch>,
    /// The packages it may provide, and no other.
    pub allow: Vec<PackagePattern>,
    /// Packages that it may provide although Debian has them too, sorted.
    pub replace: Vec<PackageName>,
    /// How many days ago it may have been signed at most; `None`: as long as Debian's.
    pub max_age: Option<u16>,
    /// What is accepted of its key although it is weak.
    pub weak_key: Option<WeakKey>,
    /// Dependencies that are not those its packages name, by package.
    pub overrides: BTreeMap<PackageName, Override>,
}

/// A waiver for a weak key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeakKey {
    /// What is accepted, sorted.
    pub accept: Vec<KeyWeakness>,
    /// Why.
    pub reason: String,
}

/// What is weak about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum KeyWeakness {
    /// It vouches for its own parts with SHA-1, which has collided since 2017.
    #[serde(rename = "sha1")]
    Sha1,
    /// It is an RSA or DSA key of fewer than 2048 bits.
    #[serde(rename = "1024-bit")]
    Short,
}

impl KeyWeakness {
    /// Its word in recipes and locks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Short => "1024-bit",
        }
    }

    /// What it means, for messages.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Sha1 => "it vouches for itself by SHA-1",
            Self::Short => "it has fewer than 2048 bits",
        }
    }
}

/// Dependencies in the place of those a package names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Override {
    /// Its Depends, one relation an entry.
    pub depends: Vec<String>,
    /// Why.
    pub reason: String,
}

/// The key of a vendor's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveKey {
    /// Where the certificate is.
    pub source: KeySource,
    /// The fingerprint it must have.
    pub fingerprint: Fingerprint,
}

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// In the project, from its root.
    File(ProjectPath),
    /// On the network; the fingerprint decides.
    Url(Url),
}

/// A program laid into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// Its place in the image.
    pub path: ImagePath,
    /// Where its bytes come from.
    pub source: PayloadSource,
    /// The overlay that is laid where nothing gives the bytes.
    pub stand_in: Option<Name>,
}

/// Where the bytes of a payload come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadSource {
    /// The recipe does not say: the command line does, or the payload's stand-in is laid.
    Open,
    /// A file of the project, from its root.
    File(ProjectPath),
    /// A download.
    Url {
        /// Its address.
        url: Url,
        /// What it must digest to.
        sha256: Sha256Digest,
    },
}

/// The EFI system partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Esp {
    /// Its size, 512 MiB or more.
    pub size: ByteCount,
}

/// The root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Root {
    /// Its format.
    pub filesystem: RootFilesystem,
    /// How its files are packed.
    pub compression: Compression,
    /// The size of its partition, into which it must fit.
    pub size: ByteCount,
    /// How much of it may be used before a build fails; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<ByteCount>,
    /// Whether dm-verity protects it.
    pub verity: bool,
}

/// A format of the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootFilesystem {
    /// EROFS.
    Erofs,
}

/// How the files of the root file system are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard.
    Zstd,
    /// Not at all.
    None,
}

/// The partition that keeps what must outlive an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its size when built.
    pub size: ByteCount,
    /// How it is encrypted.
    pub encryption: StateEncryption,
    /// Directories that are kept on it beside goni's own, sorted.
    pub persist: Vec<ImagePath>,
}

/// How the state partition is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateEncryption {
    /// Not at all.
    None,
    /// LUKS2, made on the device at its first boot, with a key that its TPM holds.
    Tpm2 {
        /// What a device without a TPM does.
        without_tpm: WithoutTpm,
    },
}

/// What a device does whose recipe wants a TPM that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutTpm {
    /// It says why and stops before it writes anything.
    Stop,
    /// It keeps its state in plaintext.
    Plaintext,
}

/// Swap space. There is no plaintext kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swap {
    /// No partition, no swap.
    None,
    /// A partition, encrypted with a new random key at each boot.
    RandomKey {
        /// The size of the partition.
        size: ByteCount,
    },
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
