//! Targets: boards and machines, as `firmware/<target>/target.toml` describes them.

mod boot;
pub mod doc;
pub mod expect;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::DeTable;

use crate::arch::Arch;
use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::{FileId, Sources};
use crate::document::{self, shape};
use crate::gpu::Driven;
use crate::modules::extra::{self, ExtraDoc, ExtraModules};
use crate::modules::{self, Modules};
use crate::name::{
    DeviceTree, FirmwareSetting, ImagePath, KernelWord, ModuleName, Name, PackageName, PackagePattern,
    QemuWord,
};
use crate::recipe;
use crate::size::ByteCount;
use crate::target::doc::{QemuDoc, TargetDoc};
use crate::target::expect::Expected;

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
    /// Packages that come from Debian's backports where those are newer, sorted.
    pub backports: Vec<PackagePattern>,
    /// Packages with firmware of its devices, sorted.
    pub firmware: Vec<PackageName>,
    /// Device trees of the kernel that it may need, and overlays of them, sorted.
    pub device_trees: Vec<DeviceTree>,
    /// Files of the image that its firmware reads beside the kernel, sorted.
    pub firmware_files: Vec<ImagePath>,
    /// What its firmware is told besides, a line each, in order.
    pub firmware_config: Vec<FirmwareSetting>,
    /// Empty files that maintainer scripts of a vendor look for, sorted.
    pub markers: Vec<ImagePath>,
    /// Kernel modules: which are loaded, denied, and with what options.
    pub modules: Modules,
    /// Kernel modules that the kernel's package does not bring.
    pub extra_modules: ExtraModules,
    /// The graphics drivers that it can have, the usual one first.
    pub gpu_drivers: Vec<Name>,
    /// The graphics driver of the image, once one was merged.
    pub gpu: Option<Driven>,
    /// The hardware it is expected to have.
    pub expect: Vec<Expected>,
    /// Facts about it, by name.
    pub traits: BTreeMap<Name, Name>,
    /// How it boots.
    pub boot: BootMethod,
    /// The EFI program of the image that reads `extlinux.conf`; there with that boot method alone.
    pub loader: Option<ImagePath>,
    /// The device for `console=`, if the kernel cannot find it by itself: `ttyS0,115200`.
    pub console: Option<KernelWord>,
    /// Whether the kernel speaks to the screen, too.
    pub screen: bool,
    /// Words for the kernel's command line.
    pub command_line: Vec<KernelWord>,
    /// Kernel modules that must be in the initrd if the kernel has them as modules, in order.
    pub initrd_modules: Vec<ModuleName>,
    /// The machine that is the board in QEMU.
    pub qemu: Option<Qemu>,
    /// The target whose machine, kernel and boot path stand in for a board that QEMU cannot be; with neither,
    /// its images cannot be smoked.
    pub shadow: Option<Name>,
}

/// How a board boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMethod {
    /// UEFI firmware, systemd-boot on the removable path, unified kernel images.
    SystemdBoot,
    /// UEFI firmware, a loader on the removable path that reads `extlinux.conf` of the partition `APP`.
    Extlinux,
    /// The Raspberry Pi's own firmware, which reads `config.txt` of a FAT partition.
    #[serde(rename = "raspberrypi")]
    RaspberryPi,
}

impl BootMethod {
    /// All.
    pub const ALL: [Self; 3] = [Self::SystemdBoot, Self::Extlinux, Self::RaspberryPi];

    /// Its name in a target.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SystemdBoot => "systemd-boot",
            Self::Extlinux => "extlinux",
            Self::RaspberryPi => "raspberrypi",
        }
    }
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

/// Checks one target file by itself and says which target it extends.
///
/// # Errors
/// Every fault of syntax or shape.
pub fn inspect(sources: &Sources, file: FileId) -> Result<Option<Text>, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let extends = table.get("extends");
    Ok(extends
        .and_then(|value| value.get_ref().as_str().map(|text| Spanned::new(value.span(), text.to_owned()))))
}

/// Checks a target and those it extends: first the one asked for, last the one that extends none.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, chain: &[FileId], name: Name) -> Result<Target, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut merged = DeTable::new();
    for file in chain.iter().rev() {
        inspect(sources, *file)?;
        merged = recipe::merge(merged, document::parse(sources, *file)?, &mut faults);
    }
    let Some(file) = chain.first().copied() else { return Err(faults) };
    let doc: TargetDoc = document::read(merged, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    faults.into_iter().for_each(|fault| checker.fault(fault));
    let target = check_doc(&doc, name, &mut checker);
    checker.finish(target).map(|(target, _)| target)
}

fn check_doc(doc: &TargetDoc, name: Name, checker: &mut Checker) -> Option<Target> {
    let summary = checker.sentence(doc.summary.as_ref(), "summary");
    let arch = checker.parse_required(doc.arch.as_ref(), "arch", "amd64 or arm64");
    let kernel = doc.kernel.as_ref().and_then(|kernel| kernel.package.as_ref());
    let kernel = checker.parse_required(kernel, "kernel.package", "such as \"linux-image-amd64\"");
    let packages = checker.set(doc.packages.as_ref());
    let backports = checker.set(doc.backports.as_ref());
    let firmware = checker.set(doc.firmware.as_ref().and_then(|firmware| firmware.packages.as_ref()));
    let device_trees = checker.set(doc.device_trees.as_ref());
    let firmware_files = checker.set(doc.firmware.as_ref().and_then(|firmware| firmware.files.as_ref()));
    let firmware_config = doc.firmware.as_ref().and_then(|firmware| firmware.config.as_deref());
    let firmware_config = checker.list(firmware_config.unwrap_or_default());
    let modules = modules::check(doc.kernel.as_ref().and_then(|kernel| kernel.modules.as_ref()), checker);
    let markers = checker.set(doc.board.as_ref().and_then(|board| board.markers.as_ref()));
    let kernel_doc = doc.kernel.as_ref();
    let extra_modules = ExtraDoc {
        dkms: kernel_doc.and_then(|kernel| kernel.dkms.as_ref()),
        patches: kernel_doc.and_then(|kernel| kernel.dkms_patches.as_ref()),
        files: kernel_doc.and_then(|kernel| kernel.extra_modules.as_ref()),
        sources: kernel_doc.and_then(|kernel| kernel.module_sources.as_ref()),
    };
    let extra_modules = extra::check(extra_modules, checker);
    let gpu_drivers = doc.gpu.as_ref().and_then(|gpu| gpu.drivers.as_deref()).unwrap_or_default();
    let gpu_drivers = checker.list(gpu_drivers);
    let expect = expect::check(doc.expect.as_deref().unwrap_or_default(), checker);
    let traits = doc.traits.iter().flatten();
    let traits =
        traits.filter_map(|(name, value)| Some((checker.parse(name)?, checker.parse(value)?))).collect();
    let boot = checker.choose(doc.boot.as_ref(), "boot", BootMethod::ALL.map(|it| (it.name(), it)));
    let loader = doc.loader.as_ref().and_then(|text| checker.parse(text));
    boot::check(doc, boot, arch, checker);
    let console = doc.console.as_ref().and_then(|text| checker.parse(text));
    let command_line = recipe::command_line(doc.command_line.as_deref().unwrap_or_default(), checker);
    let initrd = doc.initrd.as_ref().and_then(|initrd| initrd.modules.as_deref());
    let initrd_modules = checker.list(initrd.unwrap_or_default());
    let qemu = match &doc.qemu {
        Some(qemu) => Some(check_qemu(qemu, arch, checker)?),
        None => None,
    };
    let shadow = doc.shadow.as_ref().and_then(|text| checker.parse(text));
    if let (Some(text), Some(_)) = (&doc.shadow, &doc.qemu) {
        checker.fault_at(text, "a target with [qemu] is a machine itself, and needs no `shadow`");
    }
    Some(Target {
        name,
        summary: summary?,
        arch: arch?,
        kernel: kernel?,
        packages,
        backports,
        firmware,
        device_trees,
        firmware_files,
        firmware_config,
        markers,
        modules,
        extra_modules,
        gpu_drivers,
        gpu: None,
        expect,
        traits,
        boot,
        loader,
        console,
        screen: doc.screen.unwrap_or(false),
        command_line,
        initrd_modules,
        qemu,
        shadow,
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
        check(&sources, &[file], "board".parse().unwrap())
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
    fn a_target_builds_on_another_key_by_key() {
        let mut sources = Sources::new();
        let lower = format!(
            "{GOOD}packages = [\"kmod\"]\ntraits = {{ soc = \"a\" }}\n[[expect]]\nname = \"disk\"\n\
             modalias = [\"pci:v1\"]\nroot = true\n"
        );
        let upper = "extends = \"other\"\nsummary = \"mine\"\npackages = [\"...\", \"bolt\"]\n\
            kernel = { modules = { load = [\"snd-hda-intel\"], deny = [\"nouveau\"] } }\n\
            traits = { gpu = \"b\" }\n[[expect]]\nname = \"disk\"\nmodalias = [\"pci:v2\"]\n\
            [[expect]]\nname = \"npu\"\ncompatible = [\"acme,npu\"]\nfirmware = []\n";
        let (lower, _) = sources.add("lower.toml", lower.as_bytes());
        let (upper, _) = sources.add("upper.toml", upper.as_bytes());
        assert_eq!(inspect(&sources, upper).unwrap().unwrap().get_ref(), "other");
        let target = check(&sources, &[upper, lower], "mine".parse().unwrap()).unwrap();
        assert_eq!((target.summary.as_str(), target.kernel.as_str()), ("mine", "linux-image-amd64"));
        assert_eq!(target.packages.iter().map(PackageName::as_str).collect::<Vec<_>>(), ["bolt", "kmod"]);
        assert_eq!(target.modules.load[0].as_str(), "snd_hda_intel");
        assert_eq!(target.traits.len(), 2);
        let [disk, npu] = &target.expect[..] else { panic!("{:?}", target.expect) };
        assert_eq!(
            (disk.root, &disk.modaliases[..], &disk.firmware),
            (true, &["pci:v2".to_owned()][..], &None)
        );
        assert_eq!((npu.root, npu.modaliases[0].as_str()), (false, "of:NxTxCacme,npu"));
        assert_eq!(npu.firmware.as_deref(), Some(&[][..]));
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
            (format!("{GOOD}[[expect]]\nname = \"disk\"\n"), "`disk` is expected, but not described"),
            (
                format!("{GOOD}[[expect]]\nname = \"npu\"\ncompatible = [\"npu\"]\n"),
                "a compatible is `vendor,device`",
            ),
            (
                format!("{GOOD}[kernel.modules]\nload = [\"dm-crypt\"]\ndeny = [\"dm_crypt\"]\n")
                    .replace("kernel = { package = \"linux-image-amd64\" }\n", "kernel.package = \"x86\"\n"),
                "module `dm_crypt` is both loaded and denied",
            ),
            (format!("{GOOD}boot = \"grub\"\n"), "`grub` is no value of `boot`"),
            (
                format!("shadow = \"qemu-x86_64\"\n{GOOD}{qemu}"),
                "a target with [qemu] is a machine itself, and needs no `shadow`",
            ),
            (format!("{GOOD}boot = \"extlinux\"\n"), "missing key `loader`"),
            (format!("{GOOD}loader = \"/boot/x.efi\"\n"), "`systemd-boot` brings its own loader"),
            (
                format!("{GOOD}device-trees = [\"acme/desk.dtb\"]\n"),
                "`systemd-boot` boots with the device tree that the firmware has: leave `device-trees` out",
            ),
            (
                format!(
                    "{GOOD}boot = \"extlinux\"\nloader = \"/boot/x.efi\"\n\
                     device-trees = [\"one.dtb\", \"two.dtb\"]\n"
                ),
                "`extlinux` boots with one device tree: FDT names one file",
            ),
            (
                format!("{GOOD}boot = \"extlinux\"\nloader = \"/boot/x.efi\"\ndevice-trees = [\"one.dtbo\"]\n"),
                "`extlinux` lays no overlay over a device tree",
            ),
            (format!("{GOOD}boot = \"raspberrypi\"\ndevice-trees = [\"a.dtb\"]\n"), "`raspberrypi` boots a kernel of arm64"),
            (format!("{GOOD}boot = \"raspberrypi\"\n").replace("amd64", "arm64"), "missing key `device-trees`"),
            (
                format!("{GOOD}boot = \"raspberrypi\"\ndevice-trees = [\"a/a.dtb\", \"b/a.dtb\"]\n").replace("amd64", "arm64"),
                "there are two device trees `a.dtb`",
            ),
            (
                format!("{GOOD}boot = \"raspberrypi\"\nloader = \"/x.efi\"\ndevice-trees = [\"a.dtb\"]\n").replace("amd64", "arm64"),
                "`raspberrypi` has no EFI program: `firmware.files` names what it reads",
            ),
            (
                format!("{GOOD}firmware = {{ config = [\"dtparam=fan\"] }}\n"),
                "`systemd-boot` reads no `firmware.config`: that is for `raspberrypi`",
            ),
            (
                format!("{GOOD}boot = \"raspberrypi\"\ndevice-trees = [\"a.dtb\"]\nfirmware = {{ config = [\"kernel=x\"] }}\n")
                    .replace("amd64", "arm64"),
                "`kernel=x` is not a setting of the firmware: write `key=value` of at most 98 characters, and none of \
                 the keys that the build writes: it names kernel, initrd, command line and device trees itself",
            ),
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
