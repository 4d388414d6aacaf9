//! What boots: EFI programs, kernel images, initrds.

use goni_disk::cpio;
use goni_disk::tree::{FileTree, NoContent};
use goni_disk::uki::{self, Label, NewProfile, NewSection};

use super::modules::module_file;
use super::trees::{add, metadata, owner};

/// The os-release of what systemd-boot is not to boot by itself.
pub(in crate::verify) const SORTED_LAST: &str = "ID=debian\nIMAGE_ID=debian-factory-reset\n";

/// A kernel image with every section and profile.
pub(in crate::verify) fn kernel_image(command_line: &str, release: &str, initrd: &[u8]) -> Vec<u8> {
    let reset = format!("{command_line} goni.factory-reset");
    let own = [(".osrel", SORTED_LAST), (".cmdline", &reset)];
    profiled_image(command_line, release, initrd, &[("main", &[]), ("factory-reset", &own)])
}

/// A kernel image with every section and these profiles: name, and sections of its own.
pub(in crate::verify) fn profiled_image(
    command_line: &str,
    release: &str,
    initrd: &[u8],
    profiles: &[(&str, &[(&'static str, &str)])],
) -> Vec<u8> {
    let sections = vec![
        NewSection::bytes(".osrel", b"ID=debian\n"),
        NewSection::bytes(".cmdline", command_line.as_bytes()),
        NewSection::bytes(".uname", release.as_bytes()),
        NewSection::bytes(".initrd", initrd),
        NewSection::bytes(".linux", b"a kernel"),
    ];
    let profiles = profiles.iter().map(|(id, own)| NewProfile {
        label: Label { id: (*id).to_owned(), title: None },
        sections: own.iter().map(|(name, text)| NewSection::bytes(name, text.as_bytes())).collect(),
    });
    let mut image = Vec::new();
    uki::write(&stub(), sections, profiles.collect(), &mut image).unwrap();
    image
}

/// The modules that the initrd has.
pub(in crate::verify) const DRIVERS: [&str; 2] = ["disk", "bus"];

/// An initrd with these modules.
pub(in crate::verify) fn initrd(modules: &[&str]) -> Vec<u8> {
    packed(&initrd_tree(modules))
}

pub(super) fn initrd_tree(modules: &[&str]) -> FileTree {
    let mut tree = FileTree::new(metadata(0o755, 0, 0), owner());
    for name in modules {
        add(&mut tree, &module_file(name), 0o644, b"a module");
    }
    tree
}

pub(super) fn packed(tree: &FileTree) -> Vec<u8> {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    cpio::write(tree, &NoContent, &mut packed).unwrap();
    packed.finish().unwrap()
}

/// The least that is an EFI program of amd64. Offsets are the PE format's: headers at 64, the optional
/// header 24 behind, the section table 240 behind that.
pub(in crate::verify) fn stub() -> Vec<u8> {
    let mut stub = vec![0; 0x1000];
    let mut put = |offset: usize, bytes: &[u8]| stub[offset..][..bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3C, &64_u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(64 + 4, &0x8664_u16.to_le_bytes()); // Machine
    put(64 + 6, &1_u16.to_le_bytes()); // NumberOfSections
    put(64 + 20, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(88, &0x20B_u16.to_le_bytes()); // Magic
    put(88 + 32, &4096_u32.to_le_bytes()); // SectionAlignment
    put(88 + 36, &512_u32.to_le_bytes()); // FileAlignment
    put(88 + 56, &0x2000_u32.to_le_bytes()); // SizeOfImage
    put(88 + 60, &0x400_u32.to_le_bytes()); // SizeOfHeaders
    put(88 + 68, &10_u16.to_le_bytes()); // Subsystem
    put(88 + 108, &16_u32.to_le_bytes()); // NumberOfRvaAndSizes
    put(328, b".text");
    put(328 + 8, &0xC00_u32.to_le_bytes()); // VirtualSize
    put(328 + 12, &0x1000_u32.to_le_bytes()); // VirtualAddress
    put(328 + 16, &0xC00_u32.to_le_bytes()); // SizeOfRawData
    put(328 + 20, &0x400_u32.to_le_bytes()); // PointerToRawData
    stub
}
