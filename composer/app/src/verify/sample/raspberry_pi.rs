//! The sample as the Raspberry Pi's firmware boots it.

use goni_disk::tree::FileTree;

use super::RELEASE;
use super::root::noise;
use super::trees::{add, metadata, owner};

/// What the target tells the firmware besides.
pub(super) const SETTING: &str = "usb_max_current_enable=1";
/// Where the root has the file that the firmware reads.
pub(super) const FIRMWARE_OF_ROOT: &str = "usr/lib/raspi-firmware/start4.elf";
/// Where the root has the overlay.
pub(super) const OVERLAY_OF_ROOT: &str = "usr/lib/linux-image-6.12.0-test/overlays/fan.dtbo";
/// An overlay, as far as anybody looks.
pub(super) const OVERLAY: &[u8] = b"\xD0\x0D\xFE\xEDan overlay";

/// A kernel of arm64.
pub(super) fn kernel() -> Vec<u8> {
    let mut kernel = noise();
    kernel[56..60].copy_from_slice(b"ARM\x64");
    kernel
}

/// What the firmware reads.
pub(super) fn system_partition(command_line: &str, initrd: &[u8]) -> FileTree {
    let mut esp = FileTree::new(metadata(0o755, 0, 0), owner());
    let config = format!(
        "# a comment\n[all]\narm_64bit=1\nkernel=vmlinuz-{RELEASE}\ninitramfs initrd-{RELEASE} followkernel\n\
         cmdline=cmdline.txt\ndevice_tree=board.dtb\ndtoverlay=fan\n{SETTING}\n"
    );
    add(&mut esp, "config.txt", 0o644, config.as_bytes());
    add(&mut esp, "cmdline.txt", 0o644, format!("{command_line}\n").as_bytes());
    add(&mut esp, "factory-reset.txt", 0o644, format!("{command_line} goni.factory-reset\n").as_bytes());
    add(&mut esp, &format!("vmlinuz-{RELEASE}"), 0o644, &kernel());
    add(&mut esp, &format!("initrd-{RELEASE}"), 0o644, initrd);
    add(&mut esp, "board.dtb", 0o644, super::extlinux::TREE);
    add(&mut esp, "overlays/fan.dtbo", 0o644, OVERLAY);
    add(&mut esp, "start4.elf", 0o644, b"firmware");
    esp
}
