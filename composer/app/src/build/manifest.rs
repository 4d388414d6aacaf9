//! The manifest: what an image is made of, beside the image.

use std::collections::BTreeMap;

use goni_model::digest::Sha256Digest;
use goni_model::layout::Role;
use goni_model::lock::{LockedPackage, LockedSuite};
use goni_model::plan::StageId;
use goni_model::recipe::Archive;
use serde::{Deserialize, Serialize};

use crate::build::plan::Input;
use crate::policy::Breach;
use crate::rules::Ruling;
use crate::stages::configure::probes::Probe;
use crate::stages::image::Written;
use crate::stages::modules::Recorded;

/// What an image is made of.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest<'a> {
    /// The version of this format.
    pub schema: u32,
    /// Name of the image.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its architecture.
    pub arch: String,
    /// Its target.
    pub target: &'a str,
    /// The program that made it.
    pub composer: &'static str,
    /// The latest time of anything in it, in seconds since 1970.
    pub source_date: u64,
    /// What it depends on, digested.
    pub build: StageId,
    /// Programs that are stand-ins, not the real thing.
    pub stand_ins: Vec<String>,
    /// The files, by name: size and digest.
    pub files: BTreeMap<String, OutputFile>,
    /// What tells of these files, by name: bills of materials.
    pub documents: BTreeMap<String, Document>,
    /// The partitions, in order of place.
    pub partitions: Vec<PartitionLine>,
    /// What was decided by writing.
    pub written: &'a Written,
    /// Overlays and payloads, by digest.
    pub inputs: &'a [Input],
    /// Every value of the recipe that applies, and where it comes from.
    pub recipe: BTreeMap<String, Effective>,
    /// The packages.
    pub packages: &'a [LockedPackage],
    /// Kernel modules that the kernel's package does not bring, and where they come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Recorded>,
    /// The packages that modules were built with, and from; none is in the image.
    #[serde(skip_serializing_if = "<[LockedPackage]>::is_empty")]
    pub module_build: &'a [LockedPackage],
    /// The signed suites they come from.
    pub suites: &'a [LockedSuite],
    /// Vendors' archives: their keys, what they may bring, what was waived and overridden, and why.
    pub archives: &'a [Archive],
    /// Rules of compatibility that are broken, and why they do not count.
    pub rules: &'a [Ruling],
    /// Maintainer scripts that look at the machine that they run on, as their lines say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// Packages that the recipe's policy does not allow, and why they are there all the same.
    pub excepted: &'a [Breach],
}

/// A file of the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// The bytes of a sector of the disks it is for.
    pub sector_size: u64,
}

/// A file of the output that tells of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// A partition.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionLine {
    /// What it is for.
    pub role: Role,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its identifier.
    pub uuid: String,
}

/// A value of the recipe.
#[derive(Debug, Clone, Serialize)]
pub struct Effective {
    /// As text.
    pub value: String,
    /// File, below the project's folder, line and column.
    pub origin: String,
}

/// As much of a manifest as says whether an image is still what would be built.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Known {
    pub(super) build: Sha256Digest,
    pub(super) files: BTreeMap<String, OutputFile>,
    pub(super) documents: BTreeMap<String, Document>,
    pub(super) written: KnownWritten,
}

/// As much of what was written as a smoke test needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct KnownWritten {
    pub(super) root_hash: Option<String>,
}

/// As much of a manifest as says which image it is of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Titled {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) arch: String,
}
