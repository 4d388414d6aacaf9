//! What a boot method needs of its target, and what it has no use for.

use super::BootMethod;
use super::doc::TargetDoc;
use crate::arch::Arch;
use crate::document::checker::{Checker, Text};

/// Checks what a target says for its boot method.
pub(super) fn check(doc: &TargetDoc, boot: BootMethod, arch: Option<Arch>, checker: &mut Checker) {
    check_loader(doc, boot, checker);
    let trees = doc.device_trees.as_deref().unwrap_or_default();
    match boot {
        BootMethod::SystemdBoot => {
            if let Some(first) = trees.first() {
                checker.fault_at(
                    first,
                    "`systemd-boot` boots with the device tree that the firmware has: leave `device-trees` out",
                );
            }
        }
        BootMethod::Extlinux => {
            if let Some(overlay) = trees.iter().find(|tree| is_overlay(tree)) {
                checker.fault_at(overlay, "`extlinux` lays no overlay over a device tree");
            }
            if let Some(second) = trees.get(1) {
                checker.fault_at(second, "`extlinux` boots with one device tree: FDT names one file");
            }
        }
        BootMethod::RaspberryPi => check_raspberry_pi(doc, trees, arch, checker),
    }
    if boot != BootMethod::RaspberryPi
        && let Some(firmware) = &doc.firmware
    {
        let files = firmware.files.iter().flatten().map(|text| (text, "files"));
        let config = firmware.config.iter().flatten().map(|text| (text, "config"));
        if let Some((text, key)) = files.chain(config).next() {
            let boot = boot.name();
            checker.fault_at(text, format!("`{boot}` reads no `firmware.{key}`: that is for `raspberrypi`"));
        }
    }
}

fn check_loader(doc: &TargetDoc, boot: BootMethod, checker: &mut Checker) {
    match (boot, &doc.loader) {
        (BootMethod::Extlinux, None) => checker.missing(
            "loader",
            "`extlinux` needs the EFI program that reads extlinux.conf, by its path in the image",
        ),
        (BootMethod::SystemdBoot, Some(text)) => {
            checker.fault_at(text, format!("`{}` brings its own loader", boot.name()));
        }
        (BootMethod::RaspberryPi, Some(text)) => {
            checker.fault_at(text, "`raspberrypi` has no EFI program: `firmware.files` names what it reads");
        }
        (BootMethod::Extlinux, Some(_)) | (BootMethod::SystemdBoot | BootMethod::RaspberryPi, None) => {}
    }
}

/// The firmware loads a 64-bit kernel, and a device tree that it must be given.
fn check_raspberry_pi(doc: &TargetDoc, trees: &[Text], arch: Option<Arch>, checker: &mut Checker) {
    if let (Some(text), Some(Arch::Amd64)) = (&doc.arch, arch) {
        checker.fault_at(text, "`raspberrypi` boots a kernel of arm64");
    }
    if trees.iter().all(is_overlay) {
        checker.missing(
            "device-trees",
            "the Raspberry Pi's firmware is given the board's, such as \"broadcom/bcm2712-rpi-5-b.dtb\"",
        );
    }
    // All of them lie beside each other.
    let file = |text: &Text| text.get_ref().rsplit('/').next().unwrap_or_default().to_owned();
    for (index, tree) in trees.iter().enumerate() {
        if trees[..index].iter().any(|other| file(other) == file(tree)) {
            checker.fault_at(tree, format!("there are two device trees `{}`", file(tree)));
        }
    }
}

/// Whether a device tree is laid over another.
fn is_overlay(tree: &Text) -> bool {
    tree.get_ref().ends_with(".dtbo")
}
