//! Targets: boards and machines, as `firmware/<target>/target.toml` describes them.

use serde::Serialize;

use crate::arch::Arch;
use crate::name::{KernelWord, ModuleName, Name, PackageName, QemuWord};
use crate::size::ByteCount;

/// A board or machine as meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The name of its folder.
    pub name: Name,
    /// What it is, in a sentence.
    pub summary: String,
    /// The architecture of its programs.
    pub arch: Arch,
    /// The package that brings the kernel.
    pub kernel: PackageName,
    /// Packages that the board needs besides the kernel, sorted.
    pub packages: Vec<PackageName>,
    /// How it boots.
    pub boot: BootMethod,
    /// The device for `console=`, if the kernel cannot find it by itself: `ttyS0,115200`.
    pub console: Option<KernelWord>,
    /// Words for the kernel's command line.
    pub command_line: Vec<KernelWord>,
    /// Kernel modules that must be in the initrd if the kernel has them as modules, in order.
    pub initrd_modules: Vec<ModuleName>,
    /// The machine that stands for the board in QEMU; `None`: it cannot be smoked.
    pub qemu: Option<Qemu>,
}

/// How a board boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMethod {
    /// UEFI firmware, systemd-boot on the removable path, unified kernel images.
    SystemdBoot,
}

/// A machine in QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Qemu {
    /// The value of `-machine`.
    pub machine: QemuWord,
    /// The value of `-cpu`.
    pub cpu: QemuWord,
    /// How many processors.
    pub processors: u16,
    /// How much memory.
    pub memory: ByteCount,
    /// The firmware.
    pub firmware: QemuFirmware,
}

/// Firmware of a machine in QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QemuFirmware {
    /// EDK II for amd64, Debian's package `ovmf`.
    Ovmf,
    /// EDK II for arm64, Debian's package `qemu-efi-aarch64`.
    Aavmf,
}
