//! A target as typed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::checker::Text;
use crate::gpu::doc::TargetGpuDoc;
use crate::modules::ModulesDoc;

/// A board or machine for goni-compose: `firmware/<target>/target.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose target")]
pub struct TargetDoc {
    /// Another target that this one is like, by the name of its folder. What this file says wins, key by key.
    #[schemars(with = "Option<String>")]
    pub extends: Option<Text>,
    /// What it is, in one line.
    #[schemars(with = "Option<String>")]
    pub summary: Option<Text>,
    /// The architecture of its programs.
    #[schemars(with = "Option<String>", extend("enum" = ["amd64", "arm64"]))]
    pub arch: Option<Text>,
    /// The kernel.
    pub kernel: Option<KernelDoc>,
    /// Packages that the board needs besides the kernel.
    #[schemars(with = "Option<Vec<String>>")]
    pub packages: Option<Vec<Text>>,
    /// Packages that come from Debian's backports where those are newer; `*` stands for any characters.
    #[schemars(with = "Option<Vec<String>>")]
    pub backports: Option<Vec<Text>>,
    /// Firmware of the board's devices.
    pub firmware: Option<FirmwareDoc>,
    /// Its graphics processor.
    pub gpu: Option<TargetGpuDoc>,
    /// Device trees of the kernel, and overlays of them, below its folder of device trees: laid where the boot
    /// method wants them.
    #[schemars(with = "Option<Vec<String>>")]
    pub device_trees: Option<Vec<Text>>,
    /// Hardware that the board is expected to have: verify proves that an image has what it takes.
    pub expect: Option<Vec<ExpectDoc>>,
    /// Facts about the board, by name: { gpu = "gfx1151" }.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub traits: Option<BTreeMap<Text, Text>>,
    /// Another target, with a machine in QEMU: that, its kernel and its boot path stand in for this one where
    /// images are smoked.
    #[schemars(with = "Option<String>")]
    pub shadow: Option<Text>,
    /// What maintainer scripts of a vendor look for.
    pub board: Option<BoardDoc>,
    /// How it boots. Default: systemd-boot.
    #[schemars(with = "Option<String>", extend("enum" = ["systemd-boot", "extlinux", "raspberrypi"]))]
    pub boot: Option<Text>,
    /// The EFI program that reads extlinux.conf, by its path in the image. For extlinux alone.
    #[schemars(with = "Option<String>")]
    pub loader: Option<Text>,
    /// The serial console, as in `console=`: "ttyS0,115200". Without it, the kernel chooses.
    #[schemars(with = "Option<String>")]
    pub console: Option<Text>,
    /// Whether the kernel speaks to the screen, too, where there is a serial console. Default: false.
    pub screen: Option<bool>,
    /// Words for the kernel's command line, one an entry.
    #[schemars(with = "Option<Vec<String>>")]
    pub command_line: Option<Vec<Text>>,
    /// What goes into the initrd.
    pub initrd: Option<InitrdDoc>,
    /// The machine that the board is in QEMU; without it, and without `shadow`, images cannot be smoked.
    pub qemu: Option<QemuDoc>,
}

/// The kernel of a board.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelDoc {
    /// The package that brings it.
    #[schemars(with = "Option<String>")]
    pub package: Option<Text>,
    /// Modules that are loaded, denied, and their options.
    pub modules: Option<ModulesDoc>,
    /// Packages with sources of modules that DKMS builds for the kernel; never in the image themselves.
    #[schemars(with = "Option<Vec<String>>")]
    pub dkms: Option<Vec<Text>>,
    /// Patches of these sources by package, each a file of the project, applied with `patch -p1`.
    #[schemars(with = "Option<BTreeMap<String, Vec<String>>>")]
    pub dkms_patches: Option<BTreeMap<Text, Vec<Text>>>,
    /// Modules of the project that are built already: files that end in .ko.
    #[schemars(with = "Option<Vec<String>>")]
    pub extra_modules: Option<Vec<Text>>,
    /// Folders of the project with the source of modules, built by kbuild.
    #[schemars(with = "Option<Vec<String>>")]
    pub module_sources: Option<Vec<Text>>,
}

/// Firmware of a board's devices.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FirmwareDoc {
    /// Packages that bring it; most are in the component non-free-firmware, which the recipe must allow.
    #[schemars(with = "Option<Vec<String>>")]
    pub packages: Option<Vec<Text>>,
    /// Files of the image that the board's own firmware reads, laid beside the kernel. For raspberrypi alone.
    #[schemars(with = "Option<Vec<String>>")]
    pub files: Option<Vec<Text>>,
    /// What the board's own firmware is told besides, as lines of config.txt. For raspberrypi alone.
    #[schemars(with = "Option<Vec<String>>")]
    pub config: Option<Vec<Text>>,
}

/// A device that a board is expected to have.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectDoc {
    /// What errors call it; tables of extended targets merge by it.
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// What the device's file `modalias` in /sys says; each must find a driver.
    #[schemars(with = "Option<Vec<String>>")]
    pub modalias: Option<Vec<Text>>,
    /// Its `compatible` in the device tree; each must find a driver.
    #[schemars(with = "Option<Vec<String>>")]
    pub compatible: Option<Vec<Text>>,
    /// Of the firmware that its driver names, the files that this board needs; `*` stands for any characters.
    /// Default: all of it.
    #[schemars(with = "Option<Vec<String>>")]
    pub firmware: Option<Vec<Text>>,
    /// Whether the root is reached through it: its driver must be in the initrd. Default: false.
    pub root: Option<bool>,
}

/// What maintainer scripts find of the board while packages are configured.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BoardDoc {
    /// Empty files by which a vendor's maintainer scripts know that this is no running board.
    #[schemars(with = "Option<Vec<String>>")]
    pub markers: Option<Vec<Text>>,
}

/// What goes into the initrd.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InitrdDoc {
    /// Kernel modules; what they depend on comes along, what the kernel has built in is skipped.
    #[schemars(with = "Option<Vec<String>>")]
    pub modules: Option<Vec<Text>>,
}

/// A machine in QEMU.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QemuDoc {
    /// The value of `-machine`: "q35", "virt".
    #[schemars(with = "Option<String>")]
    pub machine: Option<Text>,
    /// The value of `-cpu`. Default: max.
    #[schemars(with = "Option<String>")]
    pub cpu: Option<Text>,
    /// How many processors. Default: 2.
    #[schemars(with = "Option<i64>", extend("minimum" = 1, "maximum" = 255))]
    pub processors: Option<toml::Spanned<i64>>,
    /// How much memory. Default: 1GiB.
    #[schemars(with = "Option<String>")]
    pub memory: Option<Text>,
    /// The firmware: ovmf for amd64, aavmf for arm64.
    #[schemars(with = "Option<String>", extend("enum" = ["ovmf", "aavmf"]))]
    pub firmware: Option<Text>,
}
