//! The same of an image that boots by `extlinux.conf`.

use goni_disk::tree::FileTree;
use goni_model::layout::{Layout, Role};
use goni_model::report::Outcome;
use goni_model::size::SectorSize;
use goni_model::target::BootMethod;

use super::{
    BOARD, Breakage, IMAGE, KEY, RELEASE, add, byte, edit, flip, initrd, outcome, passes, path, turn_red,
    verified_by, write_at,
};
use crate::host::disk_file::DiskFile;

const CONFIG: &str = "boot/extlinux/extlinux.conf";

/// What is broken, how, the one check that must fail, and what it must have seen.
#[rustfmt::skip]
pub(super) const BREAKAGES: &[(&str, Breakage, &str, &str)] = &[
    ("no app partition", Breakage::Table(|table| { table.partitions.remove(1); }), "partition-table", "there is none"),
    ("an app partition of another name", Breakage::Table(|table| table.partitions[1].name = "app".to_owned()), "partition-table", "app"),
    ("no loader", Breakage::SystemPartition(|esp| { esp.remove(&path("EFI/BOOT/BOOTX64.EFI")).unwrap(); }), "esp", "there is none"),
    ("a kernel image beside the loader", Breakage::SystemPartition(|esp| add(esp, IMAGE, 0o644, b"x")), "esp", "goni_0.1.0.efi"),
    ("no ext4", Breakage::Disk(|disk, layout| flip(disk, layout, Role::App, 1024 + 0x38)), "extlinux", ""),
    ("a feature that EDK II does not know", Breakage::Disk(orphan_file), "extlinux", "0x1000 more"),
    ("no configuration", Breakage::App(|app| { app.remove(&path(CONFIG)).unwrap(); }), "extlinux", "there is none"),
    ("a folder of device trees", Breakage::App(|app| config(app, "  FDT /boot/dtb/board.dtb", "  FDTDIR /boot/dtb")), "extlinux", "`FDTDIR /boot/dtb`"),
    ("a relative path", Breakage::App(|app| config(app, "LINUX /boot", "LINUX boot")), "extlinux", "`LINUX boot/vmlinuz"),
    ("a path that climbs", Breakage::App(|app| config(app, "INITRD /boot/", "INITRD /boot/../boot/")), "extlinux", "boot/../boot"),
    ("two kernels in an entry", Breakage::App(|app| config(app, "  INITRD", "  LINUX /boot/other\n  INITRD")), "extlinux", "`LINUX /boot/other`"),
    ("eleven entries", Breakage::App(|app| config(app, "LABEL factory-reset", &format!("{}LABEL factory-reset", "LABEL x\n".repeat(9)))), "extlinux", "11"),
    ("a third entry", Breakage::App(|app| config(app, "LABEL factory-reset", "LABEL x\nLABEL factory-reset")), "extlinux", "main, x, factory-reset"),
    ("a factory reset by default", Breakage::App(|app| config(app, "DEFAULT main", "DEFAULT factory-reset")), "extlinux", "factory-reset"),
    ("no default", Breakage::App(|app| config(app, "DEFAULT main\n", "")), "extlinux", "not named"),
    ("a factory reset that is none", Breakage::App(|app| config(app, " goni.factory-reset\n", "\n")), "extlinux", "roothash="),
    ("a reset by what all share", Breakage::CommandLine(|line| format!("{line} goni.factory-reset")), "extlinux", "`goni.factory-reset`"),
    ("another initrd for the reset", Breakage::App(|app| {
        let (main, reset) = ("INITRD /boot/initrd-", "LABEL Factory reset\n  LINUX /boot/vmlinuz-6.12.0-test\n  ");
        config(app, &format!("{reset}{main}"), &format!("{reset}INITRD /boot/other-"));
    }), "extlinux", "/boot/other-"),
    ("another init", Breakage::CommandLine(|line| format!("{line} init=/bin/sh")), "extlinux", "`init=/bin/sh`"),
    ("the wrong root hash", Breakage::CommandLine(|line| {
        let (digit, rest) = line["roothash=".len()..].split_at(1);
        format!("roothash={}{rest}", if digit == "0" { "1" } else { "0" })
    }), "extlinux", ""),
    ("no initrd", Breakage::App(|app| { app.remove(&path(&format!("boot/initrd-{RELEASE}"))).unwrap(); }), "extlinux", "there is none"),
    ("an empty device tree", Breakage::App(|app| add(app, "boot/dtb/board.dtb", 0o644, b"")), "extlinux", "it is empty"),
    ("another device tree", Breakage::App(|app| add(app, "boot/dtb/board.dtb", 0o644, b"another")), "extlinux", "it differs"),
    ("a device tree that the root does not have", Breakage::Root(|root| { root.remove(&path("usr/lib/linux-image-6.12.0-test/acme/board.dtb")).unwrap(); }), "extlinux", "the root has none"),
    ("another kernel", Breakage::App(|app| add(app, &format!("boot/vmlinuz-{RELEASE}"), 0o644, b"another")), "extlinux", "it differs"),
    ("something else", Breakage::App(|app| add(app, "boot/extlinux/extlinux.conf.old", 0o644, b"x")), "extlinux", "extlinux.conf.old"),
    ("a token where the loader reads", Breakage::App(|app| config(app, "TIMEOUT 30", "# https://me:hunter22@example.org/\nTIMEOUT 30")), "no-tokens", "`app:/boot/extlinux/extlinux.conf`"),
    ("a key in the initrd", Breakage::Initrd(|initrd| add(initrd, "etc/x", 0o600, KEY)), "no-secrets", "`initrd:/etc/x`"),
    ("an initrd without a driver of the root", Breakage::App(|app| add(app, &format!("boot/initrd-{RELEASE}"), 0o644, &initrd(&["bus"]))), "board", "disk.ko.xz"),
];

/// Sets the feature `orphan_file` in the superblock, which is summed anew. Source: Linux, ext4/super.rst.
fn orphan_file(disk: &DiskFile, layout: &Layout) {
    let start = layout.slot(Role::App).unwrap().offset.get() + 1024;
    let mut superblock: Vec<u8> = (0..1024).map(|at| byte(disk, start + at)).collect();
    superblock[0x5D] |= 0x10;
    let sum = !crc32c(&superblock[..1020]);
    superblock[1020..].copy_from_slice(&sum.to_le_bytes());
    write_at(disk, start, &superblock);
}

/// CRC-32C. Source: RFC 3720 appendix B.4, the polynomial turned around.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), bit))
}

/// Replaces text of the configuration, wherever it is.
fn config(app: &mut FileTree, from: &str, to: &str) {
    edit(app, CONFIG, from, to);
}

#[test]
fn an_image_of_a_loader_that_reads_extlinux_passes() {
    let (_, findings) = passes(BootMethod::Extlinux, SectorSize::B512);
    let facts = &findings.facts;
    assert_eq!(facts.kernel_image.as_deref(), Some(format!("boot/vmlinuz-{RELEASE}").as_str()));
    assert_eq!(facts.kernel_release.as_deref(), Some(RELEASE));
    assert_eq!(facts.profiles[1].id, "factory-reset");
    assert_eq!(facts.partitions[1].label, "APP");
}

#[test]
fn each_breakage_of_it_turns_exactly_its_check_red() {
    turn_red(BootMethod::Extlinux, &[SectorSize::B512], BREAKAGES);
}

#[test]
fn an_app_partition_is_not_for_an_image_of_systemd_boot() {
    let another =
        Breakage::Root(|root| edit(root, BOARD, "\"boot\":\"extlinux\"", "\"boot\":\"systemd-boot\""));
    let (_, findings) = verified_by(BootMethod::Extlinux, SectorSize::B512, another).unwrap();
    let Outcome::Failed { expected, observed } = outcome(&findings, "partition-table") else { panic!() };
    assert_eq!(
        (expected.as_str(), observed.as_str()),
        ("the partitions of boot method `systemd-boot`", "app")
    );
}
