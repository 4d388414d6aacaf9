use std::fmt::Write as _;
use std::io::Write as _;

use super::testing::{Tar, ar, control, deb};
use super::*;

type Compress = fn(&[u8]) -> Vec<u8>;

/// Reads a whole package: a line per member, its content behind it.
fn listing(package: &[u8]) -> Result<String, DebError> {
    listing_within(package, 1 << 20, 1)
}

fn listing_within(package: &[u8], cap: u64, threads: u32) -> Result<String, DebError> {
    let mut text = String::new();
    let size = package.len().try_into().unwrap();
    Deb::open(package, size)?.read_data(cap, threads, |member, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(DebError::from_read)?;
        let what = match member.kind {
            MemberKind::File { size } => format!("file of {size}: {}", bytes.escape_ascii()),
            MemberKind::Directory => "directory".to_owned(),
            MemberKind::Symlink(target) => format!("link to {}", target.escape_ascii()),
            MemberKind::HardLink(path) => format!("same as {path}"),
        };
        writeln!(text, "{} {:o} {what}", member.path, member.mode).unwrap();
        Ok::<(), DebError>(())
    })?;
    Ok(text)
}

fn refusal(package: &[u8]) -> String {
    listing(package).unwrap_err().to_string()
}

fn plain() -> Vec<u8> {
    control("p", "", &[])
}

fn with_data(data: &[u8]) -> Vec<u8> {
    deb(&plain(), data)
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn sample() -> Tar {
    Tar::default()
        .directory("./")
        .directory("./usr/")
        .file("./usr/a", 0o4755, b"abc")
        .symlink("./usr/s", "/etc/a")
        .hard_link("./usr/h", "./usr/a")
}

const SAMPLE: &str = "/ 755 directory\n/usr 755 directory\n/usr/a 4755 file of 3: abc\n\
    /usr/s 777 link to /etc/a\n/usr/h 644 same as /usr/a\n";

#[test]
fn a_package_reads_the_same_in_every_compression() {
    let data = sample().end();
    let compressions: [(_, Compress); 4] = [
        ("", <[u8]>::to_vec),
        (".gz", gz),
        (".xz", xz),
        (".zst", |bytes| zstd::encode_all(bytes, 3).unwrap()),
    ];
    for (suffix, compress) in compressions {
        let package = ar(&[
            ("debian-binary/", b"2.0\n"),
            (&format!("control.tar{suffix}"), &compress(&plain())),
            (&format!("data.tar{suffix}"), &compress(&data)),
            ("_signature", b"odd"),
        ]);
        for threads in [1, 2] {
            assert_eq!(listing_within(&package, 1 << 20, threads).unwrap(), SAMPLE, "{suffix}");
        }
    }
}

#[test]
fn long_names_and_bytes_that_are_no_text_are_kept() {
    let long = format!("./{}/{}", "d".repeat(90), "f".repeat(90));
    let data = Tar::default()
        .raw(b'L', b"././@LongLink", b"", 0o644, format!("{long}\0").as_bytes(), |_| {})
        .file(&long, 0o644, b"")
        .raw(b'K', b"././@LongLink", b"", 0o644, "t".repeat(300).as_bytes(), |_| {})
        .symlink("./l", "t")
        .raw(b'0', b"./caf\xe9", b"", 0o644, b"", |_| {})
        .end();
    let expected = format!(
        "/{} 644 file of 0: \n/l 777 link to {}\n/caf\\xe9 644 file of 0: \n",
        &long[2..],
        "t".repeat(300)
    );
    assert_eq!(listing(&with_data(&data)).unwrap(), expected);
}

#[test]
fn a_container_that_is_not_exactly_a_package_is_refused() {
    let (control, data) = (plain(), sample().end());
    let format: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    let whole = with_data(&data);
    let mut unpadded = ar(&[format, ("control.tar", &control), ("data.tar", &data), ("_x", b"odd")]);
    unpadded.pop();
    let cases: [(&[u8], &str); 12] = [
        (b"!<arch>", "not an ar archive"),
        (b"PK\x03\x04 and more", "not an ar archive"),
        (&whole[..40], "ar archive ends within the header at offset 8"),
        (&whole[..72], "ar archive ends before `control.tar`"),
        (
            &whole[..whole.len() - 512],
            "ar member `data.tar` of 4096 bytes reaches beyond the end of the file",
        ),
        (&unpadded, "ar member `_x` is not padded to an even size"),
        (
            &ar(&[format, ("data.tar", &data), ("control.tar", &control)]),
            "ar member `data.tar` where `control.tar` belongs",
        ),
        (
            &ar(&[format, ("control.tar", &control), ("data.tar", &data), ("data.tar", &data)]),
            "ar member `data.tar` where `the end` belongs",
        ),
        (&ar(&[("debian-binary", b"3.0\n")]), "package format `3.0` is not 2.0"),
        (
            &ar(&[format, ("control.tar.bz2", b"")]),
            "ar member `control.tar.bz2` is compressed in an unsupported way",
        ),
        (&ar(&[format]), "ar archive ends before `control.tar`"),
        (
            &ar(&[format, ("control.tar", &control), ("extra", b"")]),
            "ar member `extra` where `data.tar` belongs",
        ),
    ];
    for (package, expected) in cases {
        assert_eq!(refusal(package), expected);
    }
}

#[test]
fn a_member_with_an_unsafe_name_is_refused() {
    for (name, fault) in [
        ("../x", "the name climbs with `..`"),
        ("/x", "the name is absolute"),
        ("a/../../x", "the name climbs with `..`"),
        (".//x", "the name has an empty component"),
        ("a/./x", "the name has an empty component"),
        ("a/", "the name has an empty component"),
        ("a\u{7f}b", "the name holds a control character"),
    ] {
        let data = Tar::default().file(name, 0o644, b"").end();
        let shown = name.replace('\u{7f}', "\\x7f");
        let expected = format!("member `{shown}` of the data archive: {fault}");
        assert_eq!(refusal(&with_data(&data)), expected);
    }
    let newline = Tar::default().file("./a\nb", 0o644, b"").end();
    assert_eq!(
        refusal(&with_data(&newline)),
        "member `./a\\nb` of the data archive: the name holds a control character"
    );
}

#[test]
fn a_member_of_a_kind_packages_do_not_hold_is_refused() {
    for (flag, fault) in [
        (b'x', "PAX headers are not allowed in packages"),
        (b'g', "PAX headers are not allowed in packages"),
        (b'3', "character devices are not allowed in packages"),
        (b'4', "block devices are not allowed in packages"),
        (b'6', "named pipes are not allowed in packages"),
        (b'S', "sparse files are not allowed in packages"),
        (b'M', "parts of multi-volume archives are not allowed in packages"),
        (b'Z', "unknown type flag 0x5a"),
    ] {
        let data = Tar::default().raw(flag, b"./x", b"", 0o644, b"", |_| {}).end();
        assert_eq!(refusal(&with_data(&data)), format!("member `./x` of the data archive: {fault}"));
    }
}

#[test]
fn numbers_that_are_negative_or_none_are_refused() {
    let negative = Tar::default().raw(b'0', b"./x", b"", 0o644, b"", |header| header[124..136].fill(0xff));
    assert_eq!(refusal(&with_data(&negative.end())), "member `./x` of the data archive: size is negative");
    let letters =
        Tar::default().raw(b'0', b"./x", b"", 0o644, b"", |header| header[124..127].copy_from_slice(b"0x1"));
    assert_eq!(
        refusal(&with_data(&letters.end())),
        "member `./x` of the data archive: size is not a number in range"
    );
    let huge = Tar::default().raw(b'0', b"./x", b"", 0o644, b"", |header| {
        header[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    });
    assert_eq!(
        refusal(&with_data(&huge.end())),
        "member `./x` of the data archive: the archive ends within it"
    );
    let mut checksum = sample().end();
    checksum[0] = b'X';
    assert_eq!(refusal(&with_data(&checksum)), "member `X/` of the data archive: header checksum is wrong");
}

#[test]
fn links_that_point_to_nothing_of_their_own_are_refused() {
    let cases = [
        (Tar::default().hard_link("./x", "/etc/shadow"), "hard link target: the name is absolute"),
        (
            Tar::default().hard_link("./x", "./later").file("./later", 0o644, b""),
            "hard link to `/later`, which is no earlier regular file of this package",
        ),
        (
            Tar::default().directory("./d").hard_link("./x", "./d"),
            "hard link to `/d`, which is no earlier regular file of this package",
        ),
        (
            Tar::default().symlink("./s", "t").hard_link("./x", "./s"),
            "hard link to `/s`, which is no earlier regular file of this package",
        ),
        (
            Tar::default().symlink("./x", ""),
            "symbolic link target is empty, over 4095 bytes or holds a control character",
        ),
        (Tar::default().file("./x", 0o644, b"").file("./x", 0o644, b""), "occurs twice"),
        (Tar::default().raw(b'5', b"./x", b"", 0o755, b"y", |_| {}), "a directory with 1 bytes of content"),
    ];
    for (tar, fault) in cases {
        let expected = format!("member `./x` of the data archive: {fault}");
        assert_eq!(refusal(&with_data(&tar.end())), expected);
    }
}

#[test]
fn a_long_name_is_bounded_and_belongs_to_a_member() {
    let long = vec![b'n'; 64 << 10];
    let huge = Tar::default().raw(b'L', b"L", b"", 0o644, &long, |_| {}).end();
    assert_eq!(
        refusal(&with_data(&huge)),
        "member `L` of the data archive: long name of 65536 bytes: at most 4096"
    );
    let stray = Tar::default().raw(b'L', b"L", b"", 0o644, b"n", |_| {}).end();
    assert_eq!(
        refusal(&with_data(&stray)),
        "member `L` of the data archive: long name is malformed or belongs to no member"
    );
    let component = format!("./{}", "n".repeat(256));
    let too_long = Tar::default().raw(b'L', b"L", b"", 0o644, component.as_bytes(), |_| {});
    assert_eq!(
        refusal(&with_data(&too_long.file("n", 0o644, b"").end())),
        format!(
            "member `{component}` of the data archive: the name is too long: 255 bytes a component, 4095 in all"
        )
    );
}

#[test]
fn an_archive_without_its_end_or_with_more_behind_it_is_refused() {
    let no_end = "the data archive ends without the two zero blocks that end a tar archive";
    assert_eq!(refusal(&with_data(&sample().0)), no_end);
    let mut one_block = sample().0;
    one_block.extend([0; 512]);
    assert_eq!(refusal(&with_data(&one_block)), no_end);
    let mut more = sample().end();
    more.extend(sample().0);
    assert_eq!(refusal(&with_data(&more)), "bytes follow the end of the data archive");
    let cut = Tar::default().file("./x", 0o644, &[b'x'; 600]).0;
    assert_eq!(
        refusal(&with_data(&cut[..900])),
        "member `./x` of the data archive: the archive ends within it"
    );
}

#[test]
fn bytes_behind_a_compressed_stream_are_refused() {
    let stream = xz(&sample().end());
    let twice = [&stream[..], &stream].concat();
    let garbage = [&stream[..], b"garbage!"].concat();
    let frame = zstd::encode_all(&sample().end()[..], 3).unwrap();
    let frames = [&frame[..], &frame].concat();
    for (name, data) in [("data.tar.xz", twice), ("data.tar.xz", garbage), ("data.tar.zst", frames)] {
        let package = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &plain()), (name, &data)]);
        assert_eq!(refusal(&package), format!("bytes follow the compressed stream of `{name}`"));
    }
}

#[test]
fn a_stream_that_is_cut_off_ends_instead_of_waiting() {
    let frame = zstd::encode_all(&sample().end()[..], 3).unwrap();
    let stream = xz(&sample().end());
    for (name, data) in [
        ("data.tar.zst", &frame[..frame.len() - 3]),
        ("data.tar.xz", &stream[..stream.len() - 20]),
        ("data.tar.zst", &frame[..0]),
    ] {
        let package = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &plain()), (name, data)]);
        let error = listing(&package).unwrap_err();
        let is_expected = matches!(
            &error,
            DebError::Container(
                ContainerFault::Stream { archive: "data archive", .. } | ContainerFault::NoEnd { .. }
            )
        );
        assert!(is_expected, "{name}: {error:?}");
    }
}

#[test]
fn a_bomb_is_stopped_at_its_cap() {
    let zeros = Tar::default().file("./x", 0o644, &vec![0; 8 << 20]).end();
    for (name, data) in [
        ("data.tar.xz", xz(&zeros)),
        ("data.tar.gz", gz(&zeros)),
        ("data.tar.zst", zstd::encode_all(&zeros[..], 3).unwrap()),
    ] {
        assert!(data.len() < 256 << 10, "{name} is a bomb");
        let package = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &plain()), (name, &data)]);
        assert_eq!(refusal(&package), "the data archive unpacks to more than 1048576 bytes");
    }
    let cap = Deb::open(&with_data(b"")[..], 1 << 20).unwrap().data_cap();
    assert_eq!(cap, 64 << 20);
}

#[test]
fn control_information_that_is_wrong_is_refused() {
    let cases = [
        (
            control("p", "", &[("postinst", 0o755, "echo x\n")]),
            "maintainer script `postinst` does not begin with `#!` and an interpreter",
        ),
        (
            control("p", "", &[("preinst", 0o755, "#!/bin/sh\r\n")]),
            "maintainer script `preinst` has a carriage return in its `#!` line",
        ),
        (control("p", "", &[("prerm", 0o644, "#!/bin/sh\n")]), "maintainer script `prerm` is not executable"),
        (
            control("p", "", &[("conffiles", 0o644, "/etc/a\n/etc/../b\n")]),
            "conffiles, line 2: `/etc/../b` is no absolute path",
        ),
        (control("p", "Package: q\n", &[]), "control file, line 4: a field that occurred before"),
        (control("p", "\nPackage: q\n", &[]), "control file, line 5: text after the end of the stanza"),
        (control("../p", "", &[]), "control field `Package` cannot be `../p`"),
        (Tar::default().directory("./").end(), "control archive holds no `control` file"),
        (
            Tar::default().symlink("./control", "/etc/passwd").end(),
            "control archive holds `/control`, which is no plain file at its top",
        ),
        (
            Tar::default().file("./a/b", 0o644, b"").end(),
            "control archive holds `/a/b`, which is no plain file at its top",
        ),
    ];
    for (control, expected) in cases {
        assert_eq!(refusal(&deb(&control, &sample().end())), expected);
    }
}

#[test]
fn another_package_than_the_locked_one_is_told_by_field() {
    let package = with_data(&sample().end());
    let deb = Deb::open(&package[..], package.len().try_into().unwrap()).unwrap();
    assert!(deb.control().check_identity("p", "1.0", "all").is_ok());
    for ((name, version, arch), expected) in [
        (("q", "1.0", "all"), "Package is `p`, not `q` as locked"),
        (("p", "1.1", "all"), "Version is `1.0`, not `1.1` as locked"),
        (("p", "1.0", "amd64"), "Architecture is `all`, not `amd64` as locked"),
    ] {
        let error = deb.control().check_identity(name, version, arch).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn no_byte_changed_or_missing_makes_the_reader_panic() {
    let package = with_data(&sample().end());
    for at in 0..package.len() {
        for change in [0x01, 0x80] {
            let mut changed = package.clone();
            changed[at] ^= change;
            drop(listing(&changed));
        }
        if at % 7 == 0 {
            assert!(listing(&package[..at]).is_err(), "cut off at {at}");
        }
    }
}
