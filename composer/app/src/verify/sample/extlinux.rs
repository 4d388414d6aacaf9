//! The sample as a loader boots it that reads `extlinux.conf`.

use goni_disk::tree::FileTree;

use super::RELEASE;
use super::boot::stub;
use super::root::noise;
use super::trees::{add, metadata, owner};

/// A device tree, as far as anybody looks.
pub(super) const TREE: &[u8] = b"\xD0\x0D\xFE\xEDa device tree";
/// Where the root has it.
pub(super) const TREE_OF_ROOT: &str = "usr/lib/linux-image-6.12.0-test/acme/board.dtb";

/// The loader, and nothing else.
pub(super) fn system_partition() -> FileTree {
    let mut esp = FileTree::new(metadata(0o755, 0, 0), owner());
    add(&mut esp, "EFI/BOOT/BOOTX64.EFI", 0o644, &stub());
    esp
}

/// What the loader reads.
pub(super) fn app(command_line: &str, initrd: &[u8]) -> FileTree {
    let mut app = FileTree::new(metadata(0o755, 0, 0), owner());
    let files = format!(
        "  LINUX /boot/vmlinuz-{RELEASE}\n  INITRD /boot/initrd-{RELEASE}\n  FDT /boot/dtb/board.dtb\n"
    );
    let config = format!(
        "TIMEOUT 30\nDEFAULT main\nMENU TITLE sample\n\n\
         LABEL main\n  MENU LABEL sample\n{files}  APPEND {command_line}\n\n\
         LABEL factory-reset\n  MENU LABEL Factory reset\n{files}  APPEND {command_line} goni.factory-reset\n"
    );
    add(&mut app, "boot/extlinux/extlinux.conf", 0o644, config.as_bytes());
    add(&mut app, &format!("boot/vmlinuz-{RELEASE}"), 0o644, &noise());
    add(&mut app, &format!("boot/initrd-{RELEASE}"), 0o644, initrd);
    add(&mut app, "boot/dtb/board.dtb", 0o644, TREE);
    app
}
