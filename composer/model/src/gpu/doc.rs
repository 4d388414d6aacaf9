//! Graphics drivers, and what recipes and targets say of them, as typed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::checker::Text;
use crate::modules::ModulesDoc;
use crate::target::doc::FirmwareDoc;

/// The graphics processor, as a recipe asks for it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GpuDoc {
    /// The driver: a file of firmware/_gpu, or "none". Default: the first that the target lists.
    #[schemars(with = "Option<String>")]
    pub driver: Option<Text>,
    /// How much of the machine's memory graphics may take, where it has none of its own.
    #[schemars(with = "Option<String>")]
    pub memory: Option<Text>,
    /// The interfaces that programs compute through. Default: vulkan.
    #[schemars(with = "Option<Vec<String>>")]
    pub compute: Option<Vec<Text>>,
}

/// The graphics processor of a target.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetGpuDoc {
    /// The drivers that it can have, files of firmware/_gpu or "none"; the first is used unless a recipe says.
    #[schemars(with = "Option<Vec<String>>")]
    pub drivers: Option<Vec<Text>>,
}

/// A graphics driver for goni-compose: `firmware/_gpu/<driver>.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose graphics driver")]
pub struct DriverDoc {
    /// What it is, in one line.
    #[schemars(with = "Option<String>")]
    pub summary: Option<Text>,
    /// The architectures it is for. Default: all.
    #[schemars(with = "Option<Vec<String>>", extend("items" = {"enum": ["amd64", "arm64"], "type": "string"}))]
    pub arch: Option<Vec<Text>>,
    /// Components of Debian that a recipe must allow.
    #[schemars(with = "Option<Vec<String>>")]
    pub components: Option<Vec<Text>>,
    /// Packages that it needs, whatever computes.
    #[schemars(with = "Option<Vec<String>>")]
    pub packages: Option<Vec<Text>>,
    /// Folders below `overlays/`, laid behind the recipe's.
    #[schemars(with = "Option<Vec<String>>")]
    pub overlays: Option<Vec<Text>>,
    /// Words for the kernel's command line, one an entry.
    #[schemars(with = "Option<Vec<String>>")]
    pub command_line: Option<Vec<Text>>,
    /// Its firmware.
    pub firmware: Option<FirmwareDoc>,
    /// Its kernel modules.
    pub kernel: Option<DriverKernelDoc>,
    /// The modules that it is: verify sees that they are in the image.
    #[schemars(with = "Option<Vec<String>>")]
    pub is: Option<Vec<Text>>,
    /// Options by module that say how much memory it may take; "{pages}" and "{mebibytes}" stand for the amount.
    #[schemars(with = "Option<BTreeMap<String, Vec<String>>>")]
    pub memory: Option<BTreeMap<Text, Vec<Text>>>,
    /// The interfaces that programs compute through, by name.
    #[schemars(with = "Option<BTreeMap<String, ComputeDoc>>")]
    pub compute: Option<BTreeMap<Text, ComputeDoc>>,
}

/// The kernel modules of a driver.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DriverKernelDoc {
    /// Modules that are loaded, denied, and their options; below what targets and recipes say.
    pub modules: Option<ModulesDoc>,
    /// Packages with sources of modules that DKMS builds for the kernel.
    #[schemars(with = "Option<Vec<String>>")]
    pub dkms: Option<Vec<Text>>,
    /// Patches of these sources by package, each a file of the project, applied with `patch -p1`.
    #[schemars(with = "Option<BTreeMap<String, Vec<String>>>")]
    pub dkms_patches: Option<BTreeMap<Text, Vec<Text>>>,
}

/// An interface that programs compute through.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ComputeDoc {
    /// Packages with its user space.
    #[schemars(with = "Option<Vec<String>>")]
    pub packages: Option<Vec<Text>>,
    /// Files of it, from the root of the image; `*` stands for any characters. verify sees that they are there.
    #[schemars(with = "Option<Vec<String>>")]
    pub files: Option<Vec<Text>>,
}
