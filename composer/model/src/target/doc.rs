//! A target as typed.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::checker::Text;

/// A board or machine for goni-compose: `firmware/<target>/target.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose target")]
pub struct TargetDoc {
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
    /// How it boots. Default: systemd-boot.
    #[schemars(with = "Option<String>", extend("enum" = ["systemd-boot"]))]
    pub boot: Option<Text>,
    /// The serial console, as in `console=`: "ttyS0,115200". Without it, the kernel chooses.
    #[schemars(with = "Option<String>")]
    pub console: Option<Text>,
    /// Words for the kernel's command line, one an entry.
    #[schemars(with = "Option<Vec<String>>")]
    pub command_line: Option<Vec<Text>>,
    /// What goes into the initrd.
    pub initrd: Option<InitrdDoc>,
    /// The machine that stands for the board in QEMU; without it, images cannot be smoked.
    pub qemu: Option<QemuDoc>,
}

/// The kernel of a board.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelDoc {
    /// The package that brings it.
    #[schemars(with = "Option<String>")]
    pub package: Option<Text>,
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
