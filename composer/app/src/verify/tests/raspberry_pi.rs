//! The same of an image that the Raspberry Pi's firmware boots.

use goni_disk::tree::FileTree;
use goni_disk::zboot;
use goni_model::layout::Role;
use goni_model::size::SectorSize;
use goni_model::target::BootMethod;

use super::{
    BOARD, Breakage, KEY, RELEASE, add, edit, failed, flip, initrd, partition_uuid, passes, path, turn_red,
    verified_by, write_at,
};

const CONFIG: &str = "config.txt";

/// What is broken, how, the one check that must fail, and what it must have seen.
#[rustfmt::skip]
pub(super) const BREAKAGES: &[(&str, Breakage, &str, &str)] = &[
    ("a protective MBR", Breakage::Table(|table| table.in_mbr = None), "partition-table", "none"),
    ("an MBR that names another partition", Breakage::Table(|table| table.in_mbr = Some(partition_uuid(Role::State))), "partition-table", "state"),
    ("an MBR of another type", Breakage::Disk(|disk, _| write_at(disk, 450, &[0x0B])), "partition-table", "type of the first partition 11"),
    ("an MBR of another size", Breakage::Disk(|disk, _| write_at(disk, 458, &[1])), "partition-table", "sectors of the first"),
    ("an active partition", Breakage::Disk(|disk, _| write_at(disk, 446, &[0x80])), "partition-table", "active"),
    ("no FAT", Breakage::Disk(|disk, layout| flip(disk, layout, Role::Esp, 510)), "esp", ""),
    ("no config.txt", Breakage::SystemPartition(|esp| { esp.remove(&path(CONFIG)).unwrap(); }), "raspberrypi", "there is none"),
    ("a filter", Breakage::SystemPartition(|esp| config(esp, "[all]\n", "[all]\n[pi4]\n")), "raspberrypi", "`[pi4]`"),
    ("a setting before the filter", Breakage::SystemPartition(|esp| config(esp, "[all]\narm_64bit=1\n", "arm_64bit=1\n[all]\n")), "raspberrypi", "`arm_64bit=1`"),
    ("an included file", Breakage::SystemPartition(|esp| config(esp, "[all]\n", "[all]\ninclude other.txt\n")), "raspberrypi", "`include other.txt`"),
    ("a long line", Breakage::SystemPartition(|esp| config(esp, "[all]\n", &format!("[all]\na={}\n", "x".repeat(97)))), "raspberrypi", "xxx"),
    ("two kernels", Breakage::SystemPartition(|esp| config(esp, "[all]\n", "[all]\nkernel=other\n")), "raspberrypi", "`kernel=vmlinuz-"),
    ("a kernel elsewhere", Breakage::SystemPartition(|esp| config(esp, "kernel=", "kernel=../")), "raspberrypi", "`kernel=../"),
    ("an initrd at an address", Breakage::SystemPartition(|esp| config(esp, " followkernel", " 0x1000")), "raspberrypi", "0x1000"),
    ("32 bits", Breakage::SystemPartition(|esp| config(esp, "arm_64bit=1", "arm_64bit=0")), "raspberrypi", "0"),
    ("the other command line", Breakage::SystemPartition(|esp| config(esp, "cmdline=cmdline.txt", "cmdline=factory-reset.txt")), "raspberrypi", "factory-reset.txt"),
    ("another setting", Breakage::SystemPartition(|esp| config(esp, "usb_max_current_enable=1", "usb_max_current_enable=1\nover_voltage=8")), "raspberrypi", "over_voltage=8"),
    ("no setting of the target", Breakage::SystemPartition(|esp| config(esp, "usb_max_current_enable=1\n", "")), "raspberrypi", ""),
    ("no command line", Breakage::SystemPartition(|esp| { esp.remove(&path("cmdline.txt")).unwrap(); }), "raspberrypi", "there is none"),
    ("two lines", Breakage::SystemPartition(|esp| edit(esp, "cmdline.txt", " ro ", " ro\n")), "raspberrypi", "2"),
    ("a factory reset that is none", Breakage::SystemPartition(|esp| edit(esp, "factory-reset.txt", " goni.factory-reset", "")), "raspberrypi", "roothash="),
    ("a reset by what all share", Breakage::CommandLine(|line| format!("{line} goni.factory-reset")), "raspberrypi", "`goni.factory-reset`"),
    ("another init", Breakage::CommandLine(|line| format!("{line} init=/bin/sh")), "raspberrypi", "`init=/bin/sh`"),
    ("a very long command line", Breakage::CommandLine(|line| format!("{line} {}", "x".repeat(1500))), "raspberrypi", "16"),
    ("the wrong root hash", Breakage::CommandLine(|line| {
        let (digit, rest) = line["roothash=".len()..].split_at(1);
        format!("roothash={}{rest}", if digit == "0" { "1" } else { "0" })
    }), "raspberrypi", ""),
    ("another kernel", Breakage::SystemPartition(|esp| add(esp, &format!("vmlinuz-{RELEASE}"), 0o644, &another_kernel())), "raspberrypi", "it differs"),
    ("a kernel that only EFI starts", Breakage::SystemPartition(|esp| add(esp, &format!("vmlinuz-{RELEASE}"), 0o644, b"MZ\0\0zimg")), "raspberrypi", "it is neither"),
    ("an empty kernel", Breakage::SystemPartition(|esp| add(esp, &format!("vmlinuz-{RELEASE}"), 0o644, b"")), "raspberrypi", "it is empty"),
    ("no device tree", Breakage::SystemPartition(|esp| { esp.remove(&path("board.dtb")).unwrap(); }), "raspberrypi", "there is none"),
    ("another device tree", Breakage::SystemPartition(|esp| add(esp, "board.dtb", 0o644, b"another")), "raspberrypi", "it differs"),
    ("a device tree that is not named", Breakage::SystemPartition(|esp| config(esp, "device_tree=board.dtb\n", "")), "raspberrypi", "not said"),
    ("one named of two", Breakage::SystemPartition(|esp| add(esp, "more.dtb", 0o644, b"x")), "raspberrypi", "`board.dtb`"),
    ("an overlay that nobody asked for", Breakage::SystemPartition(|esp| add(esp, "overlays/more.dtbo", 0o644, b"x")), "raspberrypi", "fan"),
    ("an overlay that is not there", Breakage::SystemPartition(|esp| { esp.remove(&path("overlays/fan.dtbo")).unwrap(); }), "raspberrypi", "fan"),
    ("another overlay", Breakage::SystemPartition(|esp| add(esp, "overlays/fan.dtbo", 0o644, b"x")), "raspberrypi", "it differs"),
    ("other firmware", Breakage::SystemPartition(|esp| add(esp, "start4.elf", 0o644, b"x")), "raspberrypi", "it differs"),
    ("something else", Breakage::SystemPartition(|esp| add(esp, "autoboot.txt", 0o644, b"x")), "raspberrypi", "the root has none"),
    ("a token where the loader reads", Breakage::SystemPartition(|esp| config(esp, "# a comment", "# https://me:hunter22@example.org/")), "no-tokens", "`esp:/config.txt`"),
    ("a key in the initrd", Breakage::Initrd(|initrd| add(initrd, "etc/x", 0o600, KEY)), "no-secrets", "`initrd:/etc/x`"),
    ("an initrd without a driver of the root", Breakage::SystemPartition(|esp| add(esp, &format!("initrd-{RELEASE}"), 0o644, &initrd(&["bus"]))), "board", "disk.ko.xz"),
];

/// A kernel of arm64 that is not the root's.
fn another_kernel() -> Vec<u8> {
    let mut kernel = vec![0; 64];
    kernel[56..60].copy_from_slice(b"ARM\x64");
    assert!(zboot::loadable(&kernel).is_ok());
    kernel
}

/// Replaces text of the configuration.
fn config(esp: &mut FileTree, from: &str, to: &str) {
    edit(esp, CONFIG, from, to);
}

#[test]
fn an_image_of_the_raspberry_pi_passes() {
    let (sample, findings) = passes(BootMethod::RaspberryPi, SectorSize::B512);
    let facts = &findings.facts;
    assert_eq!(facts.kernel_image.as_deref(), Some(format!("vmlinuz-{RELEASE}").as_str()));
    assert_eq!(facts.kernel_release.as_deref(), Some(RELEASE));
    assert_eq!(facts.profiles[0].command_line, sample.command_line);
    assert_eq!(facts.profiles[1].id, "factory-reset");
}

#[test]
fn each_breakage_of_it_turns_exactly_its_check_red() {
    turn_red(BootMethod::RaspberryPi, &[SectorSize::B512], BREAKAGES);
}

#[test]
fn a_hybrid_mbr_is_not_for_an_image_of_systemd_boot() {
    let hybrid = Breakage::Table(|table| table.in_mbr = Some(partition_uuid(Role::Esp)));
    let (_, findings) = verified_by(BootMethod::SystemdBoot, SectorSize::B512, hybrid).unwrap();
    assert_eq!(failed(&findings), ["partition-table"]);
    let another =
        Breakage::Root(|root| edit(root, BOARD, "\"boot\":\"raspberrypi\"", "\"boot\":\"systemd-boot\""));
    let (_, findings) = verified_by(BootMethod::RaspberryPi, SectorSize::B512, another).unwrap();
    assert!(failed(&findings).contains(&"partition-table"), "{:?}", failed(&findings));
}
