//! Targets: boards and machines, as `firmware/<target>/target.toml` describes them.

pub mod doc;

use serde::Serialize;

use crate::arch::Arch;
use crate::document::checker::Checker;
use crate::document::fault::Fault;
use crate::document::source::{FileId, Sources};
use crate::document::{self, shape};
use crate::name::{KernelWord, ModuleName, Name, PackageName, QemuWord};
use crate::recipe;
use crate::size::ByteCount;
use crate::target::doc::{QemuDoc, TargetDoc};

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

impl QemuFirmware {
    /// The architecture it is for.
    #[must_use]
    pub const fn arch(self) -> Arch {
        match self {
            Self::Ovmf => Arch::Amd64,
            Self::Aavmf => Arch::Arm64,
        }
    }
}

/// The JSON Schema of a target.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<TargetDoc>()
}

/// Checks the target that a file describes.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, file: FileId, name: Name) -> Result<Target, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: TargetDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let target = check_doc(&doc, name, &mut checker);
    checker.finish(target).map(|(target, _)| target)
}

fn check_doc(doc: &TargetDoc, name: Name, checker: &mut Checker) -> Option<Target> {
    let summary = checker.sentence(doc.summary.as_ref(), "summary");
    let arch = checker.parse_required(doc.arch.as_ref(), "arch", "amd64 or arm64");
    let kernel = doc.kernel.as_ref().and_then(|kernel| kernel.package.as_ref());
    let kernel = checker.parse_required(kernel, "kernel.package", "such as \"linux-image-amd64\"");
    let packages = checker.set(doc.packages.as_ref());
    let boot = checker.choose(doc.boot.as_ref(), "boot", [("systemd-boot", BootMethod::SystemdBoot)]);
    let console = doc.console.as_ref().and_then(|text| checker.parse(text));
    let command_line = recipe::command_line(doc.command_line.as_deref().unwrap_or_default(), checker);
    let modules = doc.initrd.as_ref().and_then(|initrd| initrd.modules.as_deref());
    let initrd_modules = checker.list(modules.unwrap_or_default());
    let qemu = match &doc.qemu {
        Some(qemu) => Some(check_qemu(qemu, arch, checker)?),
        None => None,
    };
    Some(Target {
        name,
        summary: summary?,
        arch: arch?,
        kernel: kernel?,
        packages,
        boot,
        console,
        command_line,
        initrd_modules,
        qemu,
    })
}

fn check_qemu(doc: &QemuDoc, arch: Option<Arch>, checker: &mut Checker) -> Option<Qemu> {
    let machine = checker.parse_required(doc.machine.as_ref(), "qemu.machine", "such as \"q35\" or \"virt\"");
    let cpu = match &doc.cpu {
        Some(text) => checker.parse(text),
        None => "max".parse().ok(),
    };
    let processors = match &doc.processors {
        Some(number) => {
            let count = u16::try_from(*number.get_ref()).ok().filter(|count| (1..=255).contains(count));
            if count.is_none() {
                checker.fault_at(number, format!("`qemu.processors` is {number}; it may be 1 to 255"));
            }
            count
        }
        None => Some(2),
    };
    let memory = checker.parse_or(doc.memory.as_ref(), "qemu.memory", ByteCount::from_mib(1024));
    if let Some(text) = doc.memory.as_ref().filter(|_| memory < ByteCount::from_mib(256)) {
        checker.fault_at(text, format!("`qemu.memory` is {memory}; nothing boots in less than 256MiB"));
    }
    let hint = "ovmf for amd64, aavmf for arm64";
    let text = checker.require(doc.firmware.as_ref(), "qemu.firmware", hint);
    let choices = [("ovmf", QemuFirmware::Ovmf), ("aavmf", QemuFirmware::Aavmf)];
    let firmware = text.and_then(|text| checker.choice(text, "qemu.firmware", &choices));
    if let (Some(text), Some(firmware), Some(arch)) = (text, firmware, arch)
        && firmware.arch() != arch
    {
        checker
            .fault_at(text, format!("`{}` is firmware for {}, the target is {arch}", text, firmware.arch()));
    }
    Some(Qemu { machine: machine?, cpu: cpu?, processors: processors?, memory, firmware: firmware? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fault::Faults;

    const GOOD: &str =
        "summary = \"a board\"\narch = \"amd64\"\nkernel = { package = \"linux-image-amd64\" }\n";

    fn checked(text: &str) -> Result<Target, String> {
        let mut sources = Sources::new();
        let (file, _) = sources.add("target.toml", text.as_bytes());
        check(&sources, file, "board".parse().unwrap())
            .map_err(|faults| Faults::new(sources, faults).to_string())
    }

    #[test]
    fn the_least_target_has_no_machine_and_systemd_boot() {
        let target = checked(GOOD).unwrap();
        assert_eq!((target.arch, target.boot, target.qemu), (Arch::Amd64, BootMethod::SystemdBoot, None));
    }

    #[test]
    fn a_machine_has_two_processors_and_a_gibibyte_unless_told() {
        let target = checked(&format!("{GOOD}[qemu]\nmachine = \"q35\"\nfirmware = \"ovmf\"\n")).unwrap();
        let qemu = target.qemu.unwrap();
        assert_eq!((qemu.processors, qemu.memory, qemu.cpu.as_str()), (2, ByteCount::from_mib(1024), "max"));
    }

    #[test]
    fn what_a_target_may_not_say() {
        let qemu = "[qemu]\nmachine = \"q35\"\nfirmware = \"ovmf\"\n";
        for (text, message) in [
            (GOOD.replace("amd64\"\nk", "amd46\"\nk"), "unknown architecture `amd46`: use amd64 or arm64"),
            (
                GOOD.replace("kernel = { package = \"linux-image-amd64\" }\n", ""),
                "missing key `kernel.package`",
            ),
            (format!("{GOOD}boot = \"grub\"\n"), "`grub` is no value of `boot`"),
            (format!("{GOOD}command-line = [\"rw\"]\n"), "`rw` is written by the build itself"),
            (format!("{GOOD}{qemu}processors = 0\n"), "`qemu.processors` is 0; it may be 1 to 255"),
            (
                format!("{GOOD}{qemu}memory = \"1MiB\"\n"),
                "`qemu.memory` is 1MiB; nothing boots in less than 256MiB",
            ),
            (
                format!("{GOOD}{}", qemu.replace("ovmf", "aavmf")),
                "`aavmf` is firmware for arm64, the target is amd64",
            ),
        ] {
            let error = checked(&text).unwrap_err();
            assert!(error.ends_with(message), "{error}");
        }
    }
}
