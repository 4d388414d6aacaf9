//! Kernel modules, as far as anybody looks.

use std::io::Read as _;

use goni_model::number::to_u64;

use super::RELEASE;

/// Where a module is.
pub(in crate::verify) fn module_file(name: &str) -> String {
    format!("usr/lib/modules/{RELEASE}/kernel/{name}.ko.xz")
}

/// The least that `modinfo` reads: an ELF file with a section `.modinfo`, packed. Offsets are ELF's: the
/// header's 64 bytes, the texts, the names of sections, then three headers of 64 bytes.
pub(in crate::verify) fn module(release: &str, firmware: &[&str]) -> Vec<u8> {
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new(&plain_module(release, firmware)[..], 1).read_to_end(&mut packed).unwrap();
    packed
}

/// The same, not packed.
pub(in crate::verify) fn plain_module(release: &str, firmware: &[&str]) -> Vec<u8> {
    let firmware: String = firmware.iter().map(|file| format!("firmware={file}\0")).collect();
    let texts = format!("license=GPL\0{firmware}vermagic={release} SMP mod_unload \0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    elf.extend(texts.bytes().chain(*names));
    elf.resize(elf.len().next_multiple_of(8), 0);
    let headers = to_u64(elf.len());
    elf[16..20].copy_from_slice(&[1, 0, 62, 0]); // e_type, e_machine
    elf[20] = 1; // e_version
    elf[40..48].copy_from_slice(&headers.to_le_bytes()); // e_shoff
    elf[52..64].copy_from_slice(&[64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]); // sizes, e_shnum, e_shstrndx
    let (start, length) = (64, to_u64(texts.len()));
    let section = |name: u32, kind: u32, offset: u64, size: u64| {
        let words = [0, 0, offset, size, 0, 1, 0].map(u64::to_le_bytes).concat();
        [&name.to_le_bytes()[..], &kind.to_le_bytes(), &words].concat()
    };
    elf.extend(section(0, 0, 0, 0));
    elf.extend(section(1, 1, start, length));
    elf.extend(section(10, 3, start + length, to_u64(names.len())));
    elf
}
