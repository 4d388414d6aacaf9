//! The sample passes; broken in any one way, exactly the check that is for it turns red.

mod extlinux;
mod planted;
mod raspberry_pi;

use std::io::{Seek as _, SeekFrom, Write as _};

use goni_disk::gpt::Attributes;
use goni_disk::qcow2::{self, Compression};
use goni_disk::tree::{Content, DeviceNumber, FileTree, Kind};
use goni_disk::uki;
use goni_model::arch::Arch;
use goni_model::layout::Role;
use goni_model::report::{Finding, Outcome};
use goni_model::size::{ByteCount, SectorSize};
use goni_model::target::BootMethod;
use uuid::Uuid;

use super::evidence::Evidence;
use super::sample::{
    ADDED, Breakage, DRIVERS, IMAGE, RELEASE, SORTED_LAST, Sample, add, build, byte, chmod, directory, edit,
    flip, initrd, kernel_image, link, metadata, module, module_file, own, partition_uuid, path,
    place_of_noise, plain_module, profiled_image, put, stub, tail, write_at,
};
use super::{CHECKS, Expectations, Findings, VerifyError, inspect};
use crate::host::disk_file::DiskFile;
use crate::host::image::Image;
use crate::progress::Silent;
use crate::stages::board::BOARD;
use crate::stages::modules::RECORD;

const BUILDER: &str = "buildhost";

/// Everything here is so whatever the size of the disk's sectors.
const SECTOR_SIZES: [SectorSize; 2] = [SectorSize::B512, SectorSize::B4096];

fn verified(sector_size: SectorSize, breakage: Breakage) -> Result<(Sample, Findings), VerifyError> {
    verified_by(BootMethod::SystemdBoot, sector_size, breakage)
}

fn verified_by(
    boot: BootMethod,
    sector_size: SectorSize,
    breakage: Breakage,
) -> Result<(Sample, Findings), VerifyError> {
    let scratch = tempfile::tempdir().unwrap();
    let sample = build(scratch.path(), boot, sector_size, breakage);
    let findings = inspect(&Image::of(&sample.disk)?, BUILDER, None, &Silent)?;
    Ok((sample, findings))
}

fn failed(findings: &Findings) -> Vec<&str> {
    findings.failures().map(|finding| finding.check.as_str()).collect()
}

fn outcome<'a>(findings: &'a Findings, check: &str) -> &'a Outcome {
    &findings.findings.iter().find(|finding| finding.check.as_str() == check).unwrap().outcome
}

const KEY: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";

/// What is broken, how, the one check that must fail, and what it must have seen.
#[rustfmt::skip]
const BREAKAGES: &[(&str, Breakage, &str, &str)] = &[
    // The table.
    ("damaged primary table", Breakage::Disk(|disk, layout| write_at(disk, 2 * layout.sector_size.get() + 56, b"x")), "partition-table", "CRC mismatch"),
    ("damaged backup table", Breakage::Disk(|disk, layout| {
        let entries = (16 << 10) + layout.sector_size.get();
        let byte = !tail(disk, entries)[60];
        write_at(disk, layout.disk_size.get() - entries + 60, &[byte]);
    }), "partition-table", ""),
    ("no primary header", Breakage::Disk(|disk, layout| write_at(disk, layout.sector_size.get(), &[0; 512])), "partition-table", ""),
    ("no backup header", Breakage::Disk(|disk, layout| {
        write_at(disk, layout.disk_size.get() - layout.sector_size.get(), &[0; 512]);
    }), "partition-table", "backup header"),
    ("no protective MBR", Breakage::Disk(|disk, _| write_at(disk, 0, &[0; 512])), "partition-table", "protective MBR"),
    ("cut short", Breakage::Length(|length| length - (8 << 20)), "partition-table", "protective MBR has size in sectors"),
    ("cut within the root", Breakage::Length(|_| 514 << 20), "partition-table", ""),
    ("empty file", Breakage::Length(|_| 0), "partition-table", "cannot hold a partition table"),
    ("another label", Breakage::Table(|table| table.partitions[4].name = "data".to_owned()), "partition-table", "data"),
    ("another order", Breakage::Table(|table| table.partitions.swap(3, 4)), "partition-table", "state, swap"),
    ("a partition of an unknown type", Breakage::Table(|table| table.partitions[0].type_guid = Uuid::from_u128(5)), "partition-table", "goni-esp"),
    ("a writable root", Breakage::Table(|table| table.partitions[1].attributes = Attributes::NONE), "partition-table", "0x0"),
    ("no EFI system partition", Breakage::Table(|table| { table.partitions.remove(0); }), "partition-table", "there is none"),
    // What boots.
    ("no loader", Breakage::SystemPartition(|esp| { esp.remove(&path("EFI/BOOT/BOOTX64.EFI")).unwrap(); }), "esp", "there is none"),
    ("a loader for another machine", Breakage::SystemPartition(|esp| {
        let mut stub = stub();
        stub[68..70].copy_from_slice(&0xAA64_u16.to_le_bytes());
        add(esp, "EFI/BOOT/BOOTX64.EFI", 0o644, &stub);
    }), "esp", "arm64"),
    ("a loader that is none", Breakage::SystemPartition(|esp| add(esp, "EFI/BOOT/BOOTX64.EFI", 0o644, b"MZ")), "esp", "corrupt PE file"),
    ("a second kernel image", Breakage::SystemPartition(|esp| add(esp, "EFI/Linux/goni_0.0.9.efi", 0o644, &kernel_image("ro", RELEASE, &initrd(&DRIVERS)))), "esp", "2: "),
    ("an image whose tries are counted", Breakage::SystemPartition(|esp| {
        let inode = esp.get(&path(IMAGE)).unwrap().clone();
        esp.remove(&path(IMAGE)).unwrap();
        put(esp, "EFI/Linux/goni_0.1.0+2-1.efi", inode.metadata, inode.kind);
    }), "esp", "0: "),
    ("an editor", Breakage::SystemPartition(|esp| edit(esp, "loader/loader.conf", "editor no", "editor yes")), "esp", "yes"),
    ("a credential", Breakage::SystemPartition(|esp| add(esp, "loader/credentials/x.cred", 0o644, b"x")), "esp", "x.cred"),
    ("a seed", Breakage::SystemPartition(|esp| add(esp, "loader/random-seed", 0o644, b"x")), "esp", "random-seed"),
    ("no FAT", Breakage::Disk(|disk, layout| flip(disk, layout, Role::Esp, 510)), "esp", ""),
    ("the wrong root hash", Breakage::CommandLine(|line| {
        let (digit, rest) = line["roothash=".len()..].split_at(1);
        format!("roothash={}{rest}", if digit == "0" { "1" } else { "0" })
    }), "uki", ""),
    ("no root hash", Breakage::CommandLine(|line| line.split_once(' ').unwrap().1.to_owned()), "uki", "0 times"),
    ("two root hashes", Breakage::CommandLine(|line| format!("{line} roothash={}", "0".repeat(64))), "uki", "2 times"),
    ("root by name", Breakage::CommandLine(|line| format!("{line} root=/dev/vda2")), "uki", "/dev/vda2"),
    ("a writable root", Breakage::CommandLine(|line| format!("{line} rw")), "uki", "`rw`"),
    ("another init", Breakage::CommandLine(|line| format!("{line} init=/bin/sh")), "uki", "`init=/bin/sh`"),
    ("a debug shell", Breakage::CommandLine(|line| format!("{line} systemd.debug_shell")), "uki", "`systemd.debug_shell`"),
    ("a root that may be corrupt", Breakage::CommandLine(|line| format!("{line} systemd.verity-root-options=ignore-corruption")), "uki", "`systemd.verity-root-options"),
    ("a shell in the initrd", Breakage::CommandLine(|line| format!("{line} rd.systemd.debug-shell")), "uki", "`rd.systemd.debug-shell`"),
    ("one user alone", Breakage::CommandLine(|line| format!("{line} S")), "uki", "`S`"),
    ("a break in the initrd", Breakage::CommandLine(|line| format!("{line} rd.break=pre-mount")), "uki", "`rd.break=pre-mount`"),
    ("hibernation", Breakage::CommandLine(|line| line.replace(" nohibernate", "")), "uki", "no `nohibernate`"),
    ("no profiles", Breakage::SystemPartition(|esp| profiles(esp, |_| Vec::new())), "uki", ""),
    ("a factory reset by default", Breakage::SystemPartition(|esp| profiles(esp, |line| {
        vec![reset(line), ("main", vec![])]
    })), "uki", "factory-reset, main"),
    ("a factory reset in what all share", Breakage::CommandLine(|line| format!("{line} goni.factory-reset")), "uki", "`goni.factory-reset`"),
    ("a factory reset that may sort first", Breakage::SystemPartition(|esp| profiles(esp, |line| {
        let (id, mut own) = reset(line);
        own[0].1 = "ID=debian\n".to_owned();
        vec![("main", vec![]), (id, own)]
    })), "uki", "sorted as `debian`"),
    ("a profile that does more", Breakage::SystemPartition(|esp| profiles(esp, |line| {
        vec![("main", vec![]), reset(&format!("{line} init=/bin/sh"))]
    })), "uki", "init=/bin/sh goni.factory-reset"),
    ("a profile with an initrd of its own", Breakage::SystemPartition(|esp| profiles(esp, |line| {
        vec![("main", vec![(".initrd", "another".to_owned())]), reset(line)]
    })), "uki", ".profile, .initrd"),
    ("a third profile", Breakage::SystemPartition(|esp| profiles(esp, |line| {
        vec![("main", vec![]), reset(line), ("x", vec![])]
    })), "uki", "main, factory-reset, x"),
    ("another kernel's modules", Breakage::Root(|root| {
        root.remove(&path(&format!("usr/lib/modules/{RELEASE}"))).unwrap();
        add(root, "usr/lib/modules/6.1.0/modules.dep", 0o644, b"");
    }), "uki", "/usr/lib/modules/6.1.0"),
    // The board.
    ("no driver for a device", Breakage::Root(|root| edit(root, &modules("modules.alias"), "sc08i02", "sc06i01")), "board", "storage: no module of the kernel knows `pci:v00001AF4d00001042bc01sc08i02`"),
    ("a driver that is built in no more", Breakage::Root(|root| edit(root, &modules("modules.builtin.modinfo"), "usb:v*p*", "usb:x")), "board", "keyboard: no module"),
    ("a driver without its file", Breakage::Root(|root| { root.remove(&path(&module_file("gpu"))).unwrap(); }), "board", "gpu.ko.xz` is missing"),
    ("a driver that builds on what is not there", Breakage::Root(|root| { root.remove(&path(&module_file("bus"))).unwrap(); }), "board", "storage: `/usr/lib/modules/6.12.0-test/kernel/bus.ko.xz` is missing"),
    ("a driver for another kernel", Breakage::Root(|root| add(root, &module_file("gpu"), 0o644, &module("6.11.0", &["amdgpu/a.bin"]))), "board", "gpu.ko.xz` is for kernel `6.11.0`"),
    ("a driver that is no module", Breakage::Root(|root| add(root, &module_file("gpu"), 0o644, b"x")), "board", ""),
    ("firmware that is not there", Breakage::Root(|root| { root.remove(&path("usr/lib/firmware/amdgpu/a.bin.xz")).unwrap(); }), "board", "graphics: `gpu` needs firmware `amdgpu/a.bin`, of package firmware-amd-graphics"),
    ("firmware that is a link to nothing", Breakage::Root(|root| {
        root.remove(&path("usr/lib/firmware/amdgpu/a.bin.xz")).unwrap();
        link(root, "usr/lib/firmware/amdgpu/a.bin", "../amdgpu/b.bin");
    }), "board", "`amdgpu/a.bin`"),
    ("firmware that no driver names", Breakage::Root(|root| add(root, &module_file("gpu"), 0o644, &module(RELEASE, &[]))), "board", "`gpu` names no firmware `amdgpu/a*`"),
    ("an initrd without a driver of the root", Breakage::SystemPartition(|esp| carry(esp, &initrd(&["bus"]))), "board", "the initrd lacks `/usr/lib/modules/6.12.0-test/kernel/disk.ko.xz`"),
    ("an initrd without what a driver builds on", Breakage::SystemPartition(|esp| carry(esp, &initrd(&["disk"]))), "board", "bus.ko.xz`, which `disk` needs"),
    ("an initrd that is none", Breakage::SystemPartition(|esp| carry(esp, b"an initrd")), "board", ""),
    ("a module for the initrd that nobody knows", Breakage::Root(|root| edit(root, BOARD, "\"initrd\":[\"disk\"]", "\"initrd\":[\"disc\"]")), "board", "no module `disc`"),
    ("a board that is none", Breakage::Root(|root| add(root, BOARD, 0o644, b"{}")), "board", "missing field"),
    ("a graphics driver without its user space", Breakage::Root(|root| { root.remove(&path("usr/share/vulkan/icd.d/own_icd.json")).unwrap(); }), "board", "graphics driver `own`: no file is `/usr/share/vulkan/icd.d/own_icd*.json`"),
    ("a graphics driver that nobody knows", Breakage::Root(|root| edit(root, BOARD, "\"modules\":[\"gpu\"]", "\"modules\":[\"cpu\"]")), "board", "graphics driver `own`: the kernel has no module `cpu`"),
    ("a denied module that is let in", Breakage::Root(|root| edit(root, BOARD, "\"deny\":[]", "\"deny\":[\"nouveau\"]")), "board", "the command line does not deny `nouveau`"),
    // Modules that were added.
    ("an added module that is gone", Breakage::Root(|root| { root.remove(&path(ADDED)).unwrap(); }), "modules", "`/usr/lib/modules/6.12.0-test/updates/dkms/own.ko`, of package `own-dkms=1.0`, is missing"),
    ("an added module for another kernel", Breakage::Root(|root| add(root, ADDED, 0o644, &plain_module("6.11.0", &[]))), "modules", "own.ko` is for kernel `6.11.0`"),
    ("an added module with other bytes", Breakage::Root(|root| add(root, ADDED, 0o644, &plain_module(RELEASE, &["x"]))), "modules", "has other bytes than were written down"),
    ("an added module that is not signed", Breakage::Root(|root| edit(root, RECORD, "\"signed\":false", "\"signed\":true")), "modules", "own.ko` is not signed"),
    ("an added module without a place in the index", Breakage::Root(|root| edit(root, &modules("modules.dep"), "updates/dkms/own.ko:\n", "")), "modules", "own.ko` is not in modules.dep"),
    ("a module of which nobody knows", Breakage::Root(|root| add(root, &format!("usr/lib/modules/{RELEASE}/updates/odd.ko"), 0o644, b"x")), "modules", "updates/odd.ko`: nobody wrote down where it comes from"),
    ("headers in the image", Breakage::Root(|root| add(root, "usr/src/linux-headers-6.12/Makefile", 0o644, b"x")), "modules", "is left of building modules"),
    ("a package of sources in the image", Breakage::Root(|root| edit(root, "var/lib/dpkg/status", "Package: systemd\n", "Package: own-dkms\n")), "modules", "package `own-dkms`, the source of modules, is installed"),
    // The root.
    ("a flipped bit of the root", Breakage::Disk(|disk, layout| flip(disk, layout, Role::Root, place_of_noise(disk, layout))), "verity", "corrupt data: block"),
    ("a flipped bit of the tree", Breakage::Disk(|disk, layout| flip(disk, layout, Role::RootVerity, 4096 + 32)), "verity", "corrupt data: block 1 "),
    ("a superblock of no tree", Breakage::Disk(|disk, layout| flip(disk, layout, Role::RootVerity, 0)), "verity", "no verity signature"),
    ("a root by another name", Breakage::Table(|table| table.partitions[1].guid = Uuid::from_u128(7)), "verity", "00000000-0000-0000-0000-000000000007"),
    ("a tree by another name", Breakage::Table(|table| table.partitions[2].guid = Uuid::from_u128(7)), "verity", "00000000-0000-0000-0000-000000000007"),
    ("no place for /proc", Breakage::Root(|root| { root.remove(&path("proc")).unwrap(); }), "root", "/proc"),
    ("a file that all may write", Breakage::Root(|root| chmod(root, "usr/bin/su", 0o666)), "root-owners-and-modes", "`/usr/bin/su` 0666"),
    ("a directory that all may write", Breakage::Root(|root| chmod(root, "var/tmp", 0o777)), "root-owners-and-modes", "`/var/tmp` 0777"),
    ("a set-user-id program", Breakage::Root(|root| add(root, "usr/bin/oops", 0o4755, b"x")), "root-owners-and-modes", "`/usr/bin/oops` 4755"),
    ("a program with capabilities", Breakage::Root(|root| {
        let xattrs = &mut root.get_mut(&path("opt/goni/bin/goni-http")).unwrap().metadata.xattrs;
        xattrs.insert(b"security.capability".to_vec(), [1, 0, 0, 2].repeat(5));
    }), "root-owners-and-modes", "goni-http"),
    ("a device", Breakage::Root(|root| put(root, "dev/sda", metadata(0o600, 0, 0), Kind::BlockDevice(DeviceNumber { major: 8, minor: 0 }))), "root-owners-and-modes", "/dev/sda"),
    ("a pipe", Breakage::Root(|root| put(root, "run/pipe", metadata(0o600, 0, 0), Kind::Fifo)), "root-owners-and-modes", "/run/pipe"),
    ("somebody unknown", Breakage::Root(|root| own(root, "usr/bin/su", 1000, 0)), "root-owners-and-modes", "1000:0"),
    ("/var/lib/goni of another", Breakage::Root(|root| own(root, "var/lib/goni", 0, 0)), "root-owners-and-modes", "0700 0:0"),
    ("models that all may read", Breakage::Root(|root| chmod(root, "opt/goni/models", 0o755)), "root-owners-and-modes", "0755 700:700"),
    // Who and what is in it.
    ("a key of a user", Breakage::Root(|root| add(root, "root/key", 0o600, KEY)), "no-secrets", "/root/key"),
    ("a key in the configuration", Breakage::Root(|root| add(root, "etc/ssl/x.pem", 0o600, b"x\n-----BEGIN EC PRIVATE KEY-----\n")), "no-secrets", "/etc/ssl/x.pem"),
    ("a key on the state partition", Breakage::State(|state| add(state, "data/key", 0o600, KEY)), "no-secrets", "/data/key"),
    ("a host key", Breakage::Root(|root| add(root, "etc/ssh/ssh_host_rsa_key", 0o600, b"x")), "no-secrets", "ssh_host_rsa_key"),
    ("a history", Breakage::Root(|root| add(root, "root/.bash_history", 0o600, b"ls\n")), "no-secrets", ".bash_history"),
    ("a password file", Breakage::Root(|root| add(root, "root/.netrc", 0o600, b"x")), "no-secrets", ".netrc"),
    ("a repository", Breakage::Root(|root| directory(root, "opt/x/.git", 0o755, 0, 0)), "no-secrets", "/opt/x/.git"),
    ("a password of apt", Breakage::Root(|root| add(root, "etc/apt/auth.conf", 0o600, b"x")), "no-secrets", "auth.conf"),
    ("a machine id", Breakage::Root(|root| add(root, "etc/machine-id", 0o444, b"0123456789abcdef0123456789abcdef\n")), "identity", "an identifier"),
    ("a machine id of dbus", Breakage::Root(|root| add(root, "var/lib/dbus/machine-id", 0o444, b"x")), "identity", "/var/lib/dbus/machine-id"),
    ("a machine id on the state partition", Breakage::State(|state| add(state, "identity/etc/machine-id", 0o444, b"x")), "identity", "/identity/etc/machine-id"),
    ("the builder's name", Breakage::Root(|root| add(root, "etc/hosts", 0o644, b"127.0.1.1 buildhost.example\n")), "identity", "buildhost"),
    ("a password", Breakage::Root(|root| edit(root, "etc/shadow", "root:*", "root:$y$j9T$salt$hash")), "no-login", "`root` has one"),
    ("no password at all", Breakage::Root(|root| edit(root, "etc/shadow", "goni:!*", "goni:")), "no-login", "`goni` needs none"),
    ("a password for all to see", Breakage::Root(|root| edit(root, "etc/passwd", "root:x", "root:")), "no-login", "`root` has one, or needs none"),
    ("a password beside the shadow", Breakage::Root(|root| edit(root, "etc/passwd", "nobody:*", "nobody:$y$j9T$x$y")), "no-login", "`nobody` has one, or needs none"),
    ("a user without shadow", Breakage::Root(|root| edit(root, "etc/shadow", "goni:!*:20000::::::\n", "")), "no-login", "none for `goni`"),
    ("a password of a group", Breakage::Root(|root| edit(root, "etc/gshadow", "goni:!", "goni:$y$j9T")), "no-login", "`goni` has one"),
    ("a way in", Breakage::Root(|root| add(root, "usr/sbin/sshd", 0o755, b"x")), "no-login", "/usr/sbin/sshd"),
    ("a login at a terminal", Breakage::Root(|root| link(root, "etc/systemd/system/getty.target.wants/getty@tty1.service", "/x")), "no-login", "getty@tty1"),
    ("a second superuser", Breakage::Root(|root| {
        edit(root, "etc/passwd", "nobody:*:65534:65534", "nobody:*:0:65534");
    }), "accounts", "0: root, nobody"),
    ("somebody else in the group goni", Breakage::Root(|root| edit(root, "etc/group", "goni:x:700:", "goni:x:700:nobody")), "accounts", "`nobody`"),
    ("a service that does not start", Breakage::Root(|root| { root.remove(&path("etc/systemd/system/multi-user.target.wants/goni-http.service")).unwrap(); }), "boot-units", "it is not"),
    ("a masked service", Breakage::Root(|root| link(root, "etc/systemd/system/goni-http.service", "/dev/null")), "boot-units", "replaces it"),
    ("a service without a program", Breakage::Root(|root| { root.remove(&path("opt/goni/bin/goni-http")).unwrap(); }), "boot-units", "there is none"),
    ("a package half installed", Breakage::Root(|root| edit(root, "var/lib/dpkg/status", "Status: install ok installed\nVersion: 257", "Status: install ok half-configured\nVersion: 257")), "packages", "systemd is `install ok half-configured`"),
    ("an update of dpkg", Breakage::Root(|root| add(root, "var/lib/dpkg/updates/0001", 0o644, b"x")), "packages", "0001"),
    // What is mounted.
    ("swap in plain text", Breakage::Root(|root| edit(root, "etc/fstab", "/dev/mapper/swap", "PARTUUID=00000000-0000-0000-0000-000000000001")), "mounts", "swap nofail"),
    ("a swap unit", Breakage::Root(|root| add(root, "usr/lib/systemd/system/dev-vda4.swap", 0o644, b"x")), "mounts", "dev-vda4.swap"),
    ("a key of swap that stays", Breakage::Root(|root| edit(root, "etc/crypttab", "/dev/urandom", "/etc/swap.key")), "mounts", "/etc/swap.key"),
    ("another partition for swap", Breakage::Table(|table| table.partitions[3].guid = Uuid::from_u128(9)), "mounts", "PARTUUID="),
    ("programs on the state partition", Breakage::Root(|root| edit(root, "etc/fstab", "noexec,", "")), "mounts", "no `noexec`"),
    ("programs in a kept directory", Breakage::Root(|root| edit(root, "etc/fstab", "noexec,noatime,X-mount.subdir=persist", "noatime,X-mount.subdir=persist")), "mounts", "no `noexec`"),
    ("a kept directory at another's place", Breakage::Root(|root| edit(root, "etc/fstab", "subdir=persist/var/lib/kept", "subdir=data")), "mounts", "no `X-mount.subdir=persist/var/lib/kept`"),
    ("the state of another", Breakage::Table(|table| table.partitions[4].guid = Uuid::from_u128(9)), "mounts", "/dev/goni/"),
    ("state by an identifier of any disk", Breakage::Root(|root| edit(root, "etc/fstab", "/dev/goni/", "/dev/disk/by-partuuid/")), "mounts", "/dev/disk/by-partuuid/"),
    ("something in the swap partition", Breakage::Disk(|disk, layout| flip(disk, layout, Role::Swap, 5_000_000)), "swap-empty", "offset 5000000"),
    // The state.
    ("data of another", Breakage::State(|state| own(state, "data", 0, 700)), "state", "0700 0:700"),
    ("settings that all may read", Breakage::State(|state| chmod(state, "config/goni.env", 0o644)), "state", "0644 0:700"),
    ("no settings", Breakage::State(|state| { state.remove(&path("config/goni.env")).unwrap(); }), "state", "there is none"),
    ("something else", Breakage::State(|state| add(state, "extra", 0o600, b"x")), "state", "/extra"),
    ("a kept directory of another", Breakage::State(|state| own(state, "persist/var/lib/kept", 0, 105)), "state", "2770 0:105"),
    ("a kept directory of another in the seed", Breakage::Root(|root| own(root, "usr/share/goni/state/persist/var/lib/kept", 0, 105)), "state", "2770 0:105"),
    ("a kept directory that is a file", Breakage::State(|state| {
        state.remove(&path("persist/var/lib/kept")).unwrap();
        add(state, "persist/var/lib/kept", 0o600, b"x");
    }), "state", "no directory"),
    ("a kept directory nobody asked for", Breakage::State(|state| directory(state, "persist/var/lib/other", 0o755, 0, 0)), "state", "/persist/var/lib/other"),
    ("a seed that all may read", Breakage::Root(|root| chmod(root, "usr/share/goni/state", 0o755)), "state", "0755 0:0"),
    ("a seed without settings", Breakage::Root(|root| { root.remove(&path("usr/share/goni/state/config/goni.env")).unwrap(); }), "state", "there is none"),
    ("a seed of something else", Breakage::Root(|root| add(root, "usr/share/goni/state/data/x", 0o600, b"x")), "state", "data/x 0600 0:0"),
    ("an encrypted state that is there already", Breakage::Root(|root| {
        let state = format!("/dev/goni/{}", partition_uuid(Role::State));
        edit(root, "etc/fstab", &state, "/dev/mapper/state");
    }), "state", "something at offset"),
    ("a journal to replay", Breakage::Disk(|disk, layout| {
        let slot = layout.slot(Role::State).unwrap();
        let mut window = disk.window(slot.offset, slot.size);
        // The state of the file system: no longer valid. The checksum is not what is looked at first.
        window.seek(SeekFrom::Start(1024 + 0x3A)).unwrap();
        window.write_all(&[0, 0]).unwrap();
    }), "state", ""),
];

/// A profile, and the sections that it has for itself.
type ProfileOf = (&'static str, Vec<(&'static str, String)>);

/// The profile that is never the default, as it should be.
fn reset(line: &str) -> ProfileOf {
    let line = format!("{line} goni.factory-reset");
    ("factory-reset", vec![(".osrel", SORTED_LAST.to_owned()), (".cmdline", line)])
}

/// Replaces the kernel image by one with another initrd.
fn carry(esp: &mut FileTree, initrd: &[u8]) {
    let image = kernel_image(&command_line(esp), RELEASE, initrd);
    add(esp, IMAGE, 0o644, &image);
}

/// The command line that all profiles share.
fn command_line(esp: &FileTree) -> String {
    let Kind::File(Content::Inline(bytes)) = &esp.get(&path(IMAGE)).unwrap().kind else { panic!("no file") };
    let mut file = std::io::Cursor::new(bytes);
    let line = uki::inspect(&mut file).unwrap().section(".cmdline").unwrap().read(&mut file).unwrap();
    String::from_utf8(line).unwrap()
}

/// Where an index of the kernel's modules is.
fn modules(name: &str) -> String {
    format!("usr/lib/modules/{RELEASE}/{name}")
}

/// Replaces the kernel image by one of other profiles, made from the command line that all share.
fn profiles(esp: &mut FileTree, make: fn(&str) -> Vec<ProfileOf>) {
    let line = command_line(esp);
    let made = make(&line);
    let own: Vec<Vec<_>> =
        made.iter().map(|(_, own)| own.iter().map(|(name, text)| (*name, text.as_str())).collect()).collect();
    let all: Vec<_> = made.iter().zip(&own).map(|((id, _), own)| (*id, own.as_slice())).collect();
    let image = profiled_image(&line, RELEASE, &initrd(&DRIVERS), &all);
    add(esp, IMAGE, 0o644, &image);
}

/// Sees that an unbroken image passes every check but those that are about something else.
fn passes(boot: BootMethod, sector_size: SectorSize) -> (Sample, Findings) {
    let (sample, findings) = verified_by(boot, sector_size, Breakage::Nothing).unwrap();
    let others = [BootMethod::SystemdBoot, BootMethod::Extlinux, BootMethod::RaspberryPi];
    let others = others.into_iter().filter(|other| *other != boot).map(|other| match other {
        BootMethod::SystemdBoot => ("uki", boot.name()),
        BootMethod::Extlinux => ("extlinux", boot.name()),
        BootMethod::RaspberryPi => ("raspberrypi", boot.name()),
    });
    let of_builds = ["builder-paths", "owned"].map(|check| (check, "only a build"));
    let skipped: Vec<(&str, &str)> = others.chain(of_builds).collect();
    for Finding { check, outcome, .. } in &findings.findings {
        match (skipped.iter().find(|(skipped, _)| *skipped == check.as_str()), outcome) {
            (Some((_, why)), Outcome::Skipped { reason }) if reason.contains(why) => {}
            (None, Outcome::Passed) => {}
            _ => panic!("{} of {sector_size:?}: {outcome:?}", check.as_str()),
        }
    }
    (sample, findings)
}

/// Sees that each breakage turns exactly its check red, which saw what it should.
fn turn_red(boot: BootMethod, sector_sizes: &[SectorSize], breakages: &[(&str, Breakage, &str, &str)]) {
    let mut wrong = Vec::new();
    for (sector_size, (what, breakage, check, seen)) in
        sector_sizes.iter().flat_map(|size| breakages.iter().map(move |it| (*size, it)))
    {
        let (_, findings) = verified_by(boot, sector_size, *breakage).unwrap();
        let shown = outcome(&findings, check);
        let told = matches!(shown, Outcome::Failed { observed, .. } if observed.contains(seen));
        if failed(&findings) != [*check] || !told {
            let all: Vec<_> = findings.failures().collect();
            wrong.push(format!("{what}, {sector_size:?}: {check} should have seen `{seen}`: {all:?}"));
        }
    }
    let tried = sector_sizes.len() * breakages.len();
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_good_image_passes_every_check() {
    for sector_size in SECTOR_SIZES {
        let (_, findings) = passes(BootMethod::SystemdBoot, sector_size);
        let names: Vec<&str> = findings.findings.iter().map(|finding| finding.check.as_str()).collect();
        assert!(names.is_sorted() && names.len() == CHECKS.len(), "{names:?}");
        let facts = &findings.facts;
        assert_eq!((facts.arch, facts.packages, facts.symlinks), (Some(Arch::Amd64), 2, 1));
        assert_eq!(facts.sector_size, Some(sector_size));
        assert_eq!(facts.kernel_release.as_deref(), Some(RELEASE));
        assert_eq!(facts.partitions[1].label, "goni-root");
    }
}

#[test]
fn a_file_system_of_other_sectors_than_the_disk_is_found() {
    for (of_disk, of_system) in [(SectorSize::B512, SectorSize::B4096), (SectorSize::B4096, SectorSize::B512)]
    {
        let (_, findings) = verified(of_disk, Breakage::SystemSectors(of_system)).unwrap();
        assert_eq!(failed(&findings), ["esp"]);
        let Outcome::Failed { expected, observed } = outcome(&findings, "esp") else { panic!() };
        assert_eq!(*expected, format!("a file system with sectors of {}", of_disk.get()));
        assert_eq!(*observed, of_system.get().to_string());
    }
}

#[test]
fn each_breakage_turns_exactly_its_check_red() {
    turn_red(BootMethod::SystemdBoot, &SECTOR_SIZES, BREAKAGES);
    for check in CHECKS {
        let mut all = BREAKAGES
            .iter()
            .chain(extlinux::BREAKAGES)
            .chain(raspberry_pi::BREAKAGES)
            .chain(planted::BREAKAGES);
        // What only a build knows is broken in `planted`.
        let built = ["builder-paths", "owned"].contains(&check.name);
        assert!(built || all.any(|(_, _, broken, _)| *broken == check.name), "{}", check.name);
    }
}

#[test]
fn what_was_meant_is_compared_with_what_is_there() {
    let (sample, mut findings) = verified(SectorSize::B512, Breakage::Nothing).unwrap();
    let slots = sample.layout.slots();
    let mut meant = Expectations {
        arch: Arch::Amd64,
        disk_size: sample.layout.disk_size,
        sector_size: SectorSize::B512,
        partitions: std::iter::zip(slots, &sample.table.partitions)
            .map(|(slot, partition)| (slot.role, partition.guid, slot.offset, slot.size))
            .collect(),
        root_hash: Some(sample.root_hash),
        kernel_image: IMAGE.to_owned(),
        command_line: sample.command_line.clone(),
        profiles: vec![
            ("main".to_owned(), sample.command_line.clone()),
            ("factory-reset".to_owned(), format!("{} goni.factory-reset", sample.command_line)),
        ],
        kernel_release: RELEASE.to_owned(),
        persist: vec!["/var/lib/kept".to_owned()],
        target: "sample".to_owned(),
    };
    let mut other = findings.clone();
    findings.compare(&meant);
    assert_eq!(outcome(&findings, "plan"), &Outcome::Passed);
    meant.sector_size = SectorSize::B4096;
    let mut sectors = other.clone();
    sectors.compare(&meant);
    assert_eq!(failed(&sectors), ["plan"]);
    meant.sector_size = SectorSize::B512;
    meant.command_line.push_str(" quiet");
    other.compare(&meant);
    assert_eq!(failed(&other), ["plan"]);
    let (_, mut forgetful) = verified(SectorSize::B512, Breakage::Nothing).unwrap();
    meant.command_line = sample.command_line;
    meant.persist.push("/var/lib/other".to_owned());
    forgetful.compare(&meant);
    assert_eq!(failed(&forgetful), ["plan"]);
}

#[test]
fn a_qcow2_image_is_found_as_the_raw_one_is() {
    for breakage in [
        Breakage::Nothing,
        Breakage::Disk(|disk, layout| flip(disk, layout, Role::Root, place_of_noise(disk, layout))),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let sample = build(scratch.path(), BootMethod::SystemdBoot, SectorSize::B512, breakage);
        let path = scratch.path().join("sample.qcow2");
        let file = DiskFile::create(&path, ByteCount::from_mib(256)).unwrap();
        let (raw, size) = (&sample.disk, sample.layout.disk_size);
        let (data, packing) = (raw.extents().unwrap(), Compression::Zstd(1));
        qcow2::write(&mut raw.whole().unwrap(), size, &data, packing, &mut file.whole().unwrap()).unwrap();
        let found = |image: Image| {
            let mut findings = inspect(&image, BUILDER, None, &Silent).unwrap();
            findings.findings.iter_mut().for_each(|finding| finding.milliseconds = 0);
            serde_json::to_string_pretty(&findings).unwrap()
        };
        let image = Image::open(&path).unwrap();
        assert_eq!(image.format(), "qcow2");
        assert_eq!(found(image), found(Image::of(raw).unwrap()));
    }
}

/// Where the root directory of the EFI system partition is: in the first cluster.
fn root_directory(sample: &Sample) -> u64 {
    let start = sample.layout.slot(Role::Esp).unwrap().offset.get();
    let field = |offset: u64, length: u64| {
        (0..length).rev().fold(0, |value, at| value << 8 | u64::from(byte(&sample.disk, start + offset + at)))
    };
    start + (field(14, 2) + 2 * field(36, 4)) * sample.layout.sector_size.get()
}

#[test]
fn damage_to_what_describes_a_file_system_is_no_panic() {
    for sector_size in SECTOR_SIZES {
        damage_everything(sector_size);
    }
}

fn damage_everything(sector_size: SectorSize) {
    let scratch = tempfile::tempdir().unwrap();
    let sample = build(scratch.path(), BootMethod::SystemdBoot, sector_size, Breakage::Nothing);
    let image = Image::of(&sample.disk).unwrap();
    let sector = sector_size.get();
    let at = |role: Role, offset: u64| sample.layout.slot(role).unwrap().offset.get() + offset;
    let places = [
        (sector, 92),
        (at(Role::Esp, 0), 96),
        (at(Role::Esp, sector), 8),
        (at(Role::Esp, sector + 484), 16),
        // The first entries of the table, then the root directory: where it is, the boot sector says.
        (at(Role::Esp, u64::from(byte(&sample.disk, at(Role::Esp, 14))) * sector), 32),
        (root_directory(&sample), 256),
        (at(Role::Root, 1024), 128),
        (at(Role::RootVerity, 0), 120),
        (at(Role::State, 1024), 256),
        (at(Role::State, 4096), 64),
    ];
    for (start, length) in places {
        for offset in start..start + length {
            for value in [0, 0x7F, 0xFF] {
                let before = byte(&sample.disk, offset);
                write_at(&sample.disk, offset, &[value]);
                drop(Evidence::gather(&image, BUILDER).unwrap());
                write_at(&sample.disk, offset, &[before]);
            }
        }
    }
}
