use std::io::Cursor;

use goni_model::digest::Sha256Digest;

use super::*;

/// A stub of two sections: headers at 64, of which the section table begins at 64 + 24 + 240 = 328.
fn stub() -> Vec<u8> {
    let mut stub = vec![0; 0x1000];
    let mut put = |offset: usize, bytes: &[u8]| stub[offset..][..bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3C, &64_u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(64 + 4, &0x8664_u16.to_le_bytes()); // Machine
    put(64 + 6, &2_u16.to_le_bytes()); // NumberOfSections
    put(64 + 20, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(64 + 24, &0x20B_u16.to_le_bytes()); // Magic
    put(64 + 24 + 32, &4096_u32.to_le_bytes()); // SectionAlignment
    put(64 + 24 + 36, &512_u32.to_le_bytes()); // FileAlignment
    put(64 + 24 + 56, &0x3000_u32.to_le_bytes()); // SizeOfImage
    put(64 + 24 + 60, &0x400_u32.to_le_bytes()); // SizeOfHeaders
    put(64 + 24 + 64, &0xDEAD_u32.to_le_bytes()); // CheckSum
    put(64 + 24 + 68, &10_u16.to_le_bytes()); // Subsystem
    put(64 + 24 + 70, &0x160_u16.to_le_bytes()); // DllCharacteristics
    put(64 + 24 + 108, &16_u32.to_le_bytes()); // NumberOfRvaAndSizes
    for (place, name, size, address, raw_size, raw_offset) in [
        (328, b".text", 0x700_u32, 0x1000_u32, 0x800_u32, 0x400_u32),
        (368, b".sbat", 5, 0x2000, 0x400, 0xC00),
    ] {
        put(place, name);
        put(place + 8, &size.to_le_bytes());
        put(place + 12, &address.to_le_bytes());
        put(place + 16, &raw_size.to_le_bytes());
        put(place + 20, &raw_offset.to_le_bytes());
    }
    put(0x400, &[0x90; 0x700]);
    stub
}

fn stub_with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut stub = stub();
    stub[offset..][..bytes.len()].copy_from_slice(bytes);
    stub
}

fn initrd() -> Vec<u8> {
    (0..5000_u32).map(|number| number.to_le_bytes()[0]).collect()
}

fn written(stub: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let initrd = initrd();
    let sections = vec![
        NewSection::bytes(".osrel", b"ID=debian\n"),
        NewSection::bytes(".cmdline", b"roothash=00"),
        NewSection::stream(".initrd", ByteCount::new(5000), &initrd[..]),
        NewSection::bytes(".linux", b"no kernel"),
    ];
    write(stub, sections, Vec::new(), &mut output).unwrap();
    output
}

fn error(stub: &[u8], sections: Vec<NewSection<'_>>) -> String {
    write(stub, sections, Vec::new(), &mut Vec::new()).unwrap_err().to_string()
}

#[test]
fn sections_read_as_they_were_written() {
    let mut file = Cursor::new(written(&stub()));
    let image = inspect(&mut file).unwrap();
    assert_eq!(image.arch, Arch::Amd64);
    for (name, content) in [
        (".sbat", &[0; 5][..]),
        (".osrel", b"ID=debian\n"),
        (".cmdline", b"roothash=00"),
        (".initrd", &initrd()),
        (".linux", b"no kernel"),
    ] {
        assert_eq!(image.section(name).unwrap().read(&mut file).unwrap(), content, "{name}");
    }
    assert_eq!(image.section(".dtb"), None);
}

#[test]
fn an_image_is_these_headers() {
    let bytes = written(&stub());
    let image = inspect(&mut Cursor::new(&bytes)).unwrap();
    let shown: Vec<String> = image
        .sections
        .iter()
        .map(|section| {
            let Section { name, offset, size, address } = section;
            format!("{name} offset {offset:#x} size {size:#x} address {address:#x}")
        })
        .collect();
    assert_eq!(
        shown,
        [
            ".text offset 0x400 size 0x700 address 0x1000",
            ".sbat offset 0xc00 size 0x5 address 0x2000",
            ".osrel offset 0x1000 size 0xa address 0x3000",
            ".cmdline offset 0x2000 size 0xb address 0x4000",
            ".initrd offset 0x3000 size 0x1388 address 0x5000",
            ".linux offset 0x5000 size 0x9 address 0x7000",
        ]
    );
    let long = |offset: usize| u32::from_le_bytes(*bytes[64 + 24 + offset..].first_chunk().unwrap());
    assert_eq!(bytes[64 + 6], 6, "NumberOfSections");
    assert_eq!(long(8), 0x13A6, "SizeOfInitializedData");
    assert_eq!(long(56), 0x8000, "SizeOfImage");
    assert_eq!(long(64), 0, "CheckSum");
    assert_eq!(bytes.len(), 0x6000, "every byte is of a header or of a section");
    assert_eq!(bytes[0x400..0x1000], stub()[0x400..], "nothing of the stub's content changes");
}

#[test]
fn an_image_keeps_its_digest() {
    assert_eq!(
        Sha256Digest::of(&written(&stub())).to_string(),
        "1010ac1a93b0cbd73fc92662093474f2b29b2b54f0a5c3b4f5f7e2d1efa2eb13"
    );
}

#[test]
fn a_kernel_that_may_need_writable_code_withdraws_the_promise_of_the_stub() {
    let flags = |image: &[u8]| u16::from_le_bytes(*image[64 + 24 + 70..].first_chunk().unwrap());
    for (kernel, expected) in [
        (stub(), 0x160),
        (stub_with(64 + 24 + 70, &[0x60, 0]), 0x060),
        (b"no PE file".to_vec(), 0x160),
        (b"MZ".to_vec(), 0x160),
    ] {
        let mut image = Vec::new();
        write(&stub(), vec![NewSection::bytes(".linux", &kernel)], Vec::new(), &mut image).unwrap();
        assert_eq!(flags(&image), expected);
        let section = inspect(&mut Cursor::new(&image)).unwrap().section(".linux").unwrap().clone();
        assert_eq!(section.read(&mut Cursor::new(&image)).unwrap(), kernel);
    }
}

#[test]
fn sections_that_do_not_go_together_are_refused() {
    let section = |name| NewSection::bytes(name, b"x");
    for (sections, message) in [
        (vec![section(".osrel"), section(".osrel")], "section `.osrel` is there twice"),
        (vec![section(".text")], "section `.text` is there twice"),
        (vec![section("osrel")], "`osrel` is no section name: a dot and up to seven letters or digits"),
        (
            vec![section(".toolong1")],
            "`.toolong1` is no section name: a dot and up to seven letters or digits",
        ),
        (vec![NewSection::bytes(".dtb", b"")], "section `.dtb` is empty"),
        (
            vec![NewSection::stream(".initrd", ByteCount::new(1 << 32), io::empty())],
            "with section `.initrd` of 4GiB the image is over 4 GiB",
        ),
        (
            vec![NewSection::stream(".initrd", ByteCount::new(u64::MAX), io::empty())],
            "with section `.initrd` of 18446744073709551615B the image is over 4 GiB",
        ),
        (
            vec![NewSection::stream(".initrd", ByteCount::new(4), &b"longer"[..])],
            "section `.initrd` is longer than the 4B it was said to be",
        ),
        (vec![NewSection::stream(".initrd", ByteCount::new(9), &b"short"[..])], "copying section `.initrd`"),
        (
            vec![NewSection::stream(".linux", ByteCount::new(2), &b"long"[..])],
            "section `.linux` is longer than the 2B it was said to be",
        ),
    ] {
        assert_eq!(error(&stub(), sections), message);
    }
    let names: Vec<String> = (0..20).map(|number| format!(".s{number}")).collect();
    let sections = names.iter().map(|name| section(name)).collect();
    assert_eq!(error(&stub(), sections), "the stub has room for 15 more section headers, not for 20");
}

#[test]
fn what_is_no_stub_is_refused() {
    for (offset, bytes, message) in [
        (0, &b"ZM"[..], "corrupt PE file: no signature `MZ` at offset 0"),
        (
            0x3C,
            &[0xFF; 4],
            "corrupt PE file: the file, or the room for its headers, ends at offset 4294967295",
        ),
        (65, b"X", "corrupt PE file: no signature `PE` at offset 64"),
        (68, &[0x4C, 1], "PE file has Machine 0x14c, expected 0x8664 or 0xaa64"),
        (88, &[0x0B, 1], "PE file has Magic 0x10b, expected 0x20b, that of PE32+"),
        (88 + 68, &[3], "PE file has Subsystem 0x3, expected 0xa, an EFI application"),
        (88 + 36, &[1], "PE file has FileAlignment 0x201, expected a power of two from 512 to 65536"),
        (88 + 32, &[0; 4], "PE file has SectionAlignment 0x0, expected a power of two from 4096 to 65536"),
        (84, &[0, 0], "corrupt PE file: headers that do not fit their own sizes at offset 64"),
        (70, &[0xFF, 0xFF], "corrupt PE file: headers that do not fit their own sizes at offset 64"),
        (328 + 16, &[0xFF; 4], "corrupt PE file: a section that lies past the end of the file at offset 328"),
        (
            328 + 20,
            &[0; 4],
            "corrupt PE file: a section that overlaps what is before it in the file at offset 328",
        ),
        (
            368 + 12,
            &[0; 4],
            "corrupt PE file: a section that overlaps the one before it in memory at offset 368",
        ),
        (368 + 8, &[0xFF; 4], "corrupt PE file: sections past 4 GiB at offset 328"),
        (64 + 12, &[1], "PE file has PointerToSymbolTable 0x1, expected none"),
        (88 + 108, &[4], "PE file has NumberOfRvaAndSizes 0x4, expected 5 or more"),
        (88 + 144, &[1], "PE file has Certificate Table 0x1, expected none: the stub must not be signed"),
        (420, &[1], "corrupt PE file: something where further section headers would go at offset 408"),
    ] {
        assert_eq!(error(&stub_with(offset, bytes), Vec::new()), message);
    }
}

#[test]
fn a_file_cut_anywhere_or_with_any_byte_wild_does_no_harm() {
    let image = written(&stub());
    for length in 0..image.len() {
        assert!(inspect(&mut Cursor::new(&image[..length])).is_err(), "{length}");
    }
    for offset in 0..0x400 {
        for byte in [0, 1, 0x7F, 0xFF] {
            let stub = stub_with(offset, &[byte]);
            // Whatever it makes of it, it must not panic, and must read what it wrote.
            let mut output = Vec::new();
            let sections = vec![NewSection::bytes(".cmdline", b"quiet")];
            if let Ok(image) = write(&stub, sections, Vec::new(), &mut output) {
                assert_eq!(inspect(&mut Cursor::new(&output)).unwrap(), image, "{offset} {byte}");
            }
        }
    }
}

fn label(id: &str, title: Option<&str>) -> Label {
    Label { id: id.to_owned(), title: title.map(str::to_owned) }
}

fn with_profiles() -> Vec<u8> {
    let mut output = Vec::new();
    let base = vec![NewSection::bytes(".cmdline", b"ro"), NewSection::bytes(".linux", b"no kernel")];
    let profiles = vec![
        NewProfile { label: label("main", None), sections: Vec::new() },
        NewProfile {
            label: label("reset", Some("Erase: everything")),
            sections: vec![NewSection::bytes(".cmdline", b"ro reset")],
        },
    ];
    write(&stub(), base, profiles, &mut output).unwrap();
    output
}

#[test]
fn a_profile_has_its_own_sections_and_those_that_all_share() {
    let bytes = with_profiles();
    let mut file = Cursor::new(&bytes);
    let image = inspect(&mut file).unwrap();
    let shown: Vec<String> = image
        .sections
        .iter()
        .map(|section| format!("{} offset {:#x} size {:#x}", section.name, section.offset, section.size))
        .collect();
    assert_eq!(
        shown,
        [
            ".text offset 0x400 size 0x700",
            ".sbat offset 0xc00 size 0x5",
            ".cmdline offset 0x1000 size 0x2",
            ".linux offset 0x2000 size 0x9",
            ".profile offset 0x3000 size 0x8",
            ".profile offset 0x4000 size 0x23",
            ".cmdline offset 0x5000 size 0x8",
        ]
    );
    let texts = ["ID=main\n", "ID=reset\nTITLE=\"Erase: everything\"\n"];
    let labels = [label("main", None), label("reset", Some("Erase: everything"))];
    let command_lines = ["ro", "ro reset"];
    assert_eq!(image.profiles().count(), 2);
    for (index, profile) in image.profiles().enumerate() {
        let read = |name| {
            String::from_utf8(profile.section(name).unwrap().read(&mut Cursor::new(&bytes)).unwrap()).unwrap()
        };
        assert_eq!(read(".profile"), texts[index]);
        assert_eq!(Label::parse(&read(".profile")), labels[index]);
        assert_eq!(read(".cmdline"), command_lines[index]);
        assert_eq!(read(".linux"), "no kernel");
    }
    assert_eq!(image.section(".cmdline").unwrap().read(&mut file).unwrap(), b"ro");
    assert_eq!(image.section(".profile"), None, "it is of no profile");
    assert_eq!(
        Sha256Digest::of(&bytes).to_string(),
        "e7608c8f931a2bc31dea1efe3a3d60b0c91eabdfc87279fecfe3008a12ff47d8"
    );
}

#[test]
fn profiles_that_do_not_go_together_are_refused() {
    let profile = |id: &str, title, names: &[&'static str]| NewProfile {
        label: label(id, title),
        sections: names.iter().map(|name| NewSection::bytes(name, b"x")).collect(),
    };
    for (profiles, message) in [
        (vec![profile("a", None, &[]), profile("a", None, &[])], "profile `a` is there twice"),
        (vec![profile("", None, &[])], "`` is no name of a profile: letters, digits, `.`, `_` and `-`"),
        (vec![profile("a b", None, &[])], "`a b` is no name of a profile: letters, digits, `.`, `_` and `-`"),
        (
            vec![profile("a", Some("two\nlines"), &[])],
            "`two\nlines` is no title of a profile: one line without quotes, `\\` and `$`",
        ),
        (vec![profile("a", None, &[".profile"])], "section `.profile` is there twice"),
        (vec![profile("a", None, &[".cmdline", ".cmdline"])], "section `.cmdline` is there twice"),
        (vec![profile("a", None, &[".text"])], "section `.text` is there twice"),
    ] {
        let base = vec![NewSection::bytes(".cmdline", b"x")];
        assert_eq!(write(&stub(), base, profiles, &mut Vec::new()).unwrap_err().to_string(), message);
    }
}
