use goni_model::name::ProjectPath;

use super::*;

fn file(path: &str) -> Origin {
    let path: ProjectPath = path.parse().unwrap();
    Origin::File { path: path.to_string() }
}

/// A module with this magic for this machine: an ELF header, `.modinfo`, and the names of sections.
fn elf(machine: u16, magic: &str) -> Vec<u8> {
    let modinfo = format!("license=GPL\0vermagic={magic} SMP mod_unload\0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    let names_at = 64 + modinfo.len();
    let sections_at = names_at + names.len();
    for half in [1, machine] {
        bytes.extend(u16::to_le_bytes(half));
    }
    bytes.extend(1_u32.to_le_bytes());
    for word in [0, 0, u64::try_from(sections_at).unwrap()] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64, 0, 0, 64, 3, 2] {
        bytes.extend(u16::to_le_bytes(half));
    }
    bytes.extend(modinfo.as_bytes());
    bytes.extend(names);
    let mut section = |name: u32, kind: u32, at: usize, size: usize| {
        bytes.extend(name.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for word in [0, 0, u64::try_from(at).unwrap(), u64::try_from(size).unwrap(), 0, 1, 0] {
            bytes.extend(word.to_le_bytes());
        }
    };
    section(0, 0, 0, 0);
    section(1, 1, 64, modinfo.len());
    section(10, 3, names_at, names.len());
    bytes
}

fn checked(bytes: Vec<u8>) -> Result<Module, ModulesError> {
    module("foo", file("modules/foo.ko"), bytes, "6.12.117+deb13-amd64", Arch::Amd64)
}

#[test]
fn a_module_for_this_kernel_is_taken_as_it_is() {
    let bytes = elf(62, "6.12.117+deb13-amd64");
    let taken = checked(bytes.clone()).unwrap();
    assert_eq!((taken.bytes.len(), taken.recorded.signed), (bytes.len(), false));
    assert_eq!(taken.recorded.sha256, Sha256Digest::of(&bytes));
    let expected = "usr/lib/modules/6.12.117+deb13-amd64/updates/foo.ko";
    assert_eq!(place("6.12.117+deb13-amd64", &taken.recorded), expected);
    let signed = [bytes, b"~Module signature appended~\n".to_vec()].concat();
    assert!(checked(signed).unwrap().recorded.signed);
}

#[test]
fn a_module_for_another_kernel_or_machine_is_refused() {
    for (bytes, message) in [
        (
            elf(62, "6.1.0-amd64"),
            "module `foo` of file `modules/foo.ko` is for kernel `6.1.0-amd64`, the image has \
             `6.12.117+deb13-amd64`",
        ),
        (
            elf(183, "6.12.117+deb13-amd64"),
            "module `foo` of file `modules/foo.ko` is for machine 183 of ELF, not for amd64",
        ),
        (b"#!/bin/sh\n".to_vec(), "module `foo` of file `modules/foo.ko` is no kernel module"),
    ] {
        let error = checked(bytes).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.class().exit_code()), (message, 5));
    }
}

#[test]
fn two_modules_of_one_name_are_refused() {
    let one = checked(elf(62, "6.12.117+deb13-amd64")).unwrap();
    let mut other = one.clone();
    other.recorded.from = file("other/foo.ko");
    let error = check_names(&[one, other]).unwrap_err();
    let expected = "module `foo` comes from file `modules/foo.ko` and from file `other/foo.ko`";
    assert_eq!(error.to_string(), expected);
}
