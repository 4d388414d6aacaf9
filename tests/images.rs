//! Images as others make them, and files that are none: what is read, what is refused, with which exit code.
//!
//! Needs a mirror the first time, and root or user namespaces: `qemu-img` comes from the toolbox.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};

use goni_compose::host::image::Image;

fn program(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_goni-compose")).args(arguments).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn qemu_img(folder: &Path, arguments: &[&str]) {
    let output = program(folder, &[&["toolbox", "--", "qemu-img"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
}

/// A disk of noise, text, holes and zeros that are written, no whole number of large clusters.
fn disk(path: &Path) {
    let size = (37 << 20) + 512;
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    let noise = |length: u32| -> Vec<u8> {
        (0..length).map(|at| at.wrapping_mul(2_654_435_761).rotate_left(at % 31).to_be_bytes()[0]).collect()
    };
    let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(3 << 20).collect();
    file.write_all_at(&noise(1 << 20), 0).unwrap();
    file.write_all_at(&text, (5 << 20) + 100).unwrap();
    file.write_all_at(&vec![0; 2 << 20], 12 << 20).unwrap();
    for place in (20..30).map(|place| place << 20) {
        file.write_all_at(&noise(700), place + 3).unwrap();
    }
    file.write_all_at(&noise(512), size - 512).unwrap();
}

fn bytes(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.whole().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_qemu_img_writes_is_read_as_the_raw_disk() {
    let folder = tempfile::tempdir().unwrap();
    disk(&folder.path().join("raw"));
    let raw = fs::read(folder.path().join("raw")).unwrap();
    let compressed: &[&str] = &["-c"];
    let cases: [(&[&str], &str); 11] = [
        (&[], "compat=1.1"),
        (compressed, "compression_type=zlib"),
        (compressed, "compression_type=zstd"),
        (&[], "cluster_size=512"),
        (compressed, "cluster_size=512,compression_type=zlib"),
        (compressed, "cluster_size=4096,compression_type=zstd"),
        (compressed, "cluster_size=2M,compression_type=zstd"),
        (compressed, "cluster_size=2M,compression_type=zlib"),
        (compressed, "compat=0.10"),
        (&[], "preallocation=metadata"),
        (&[], "lazy_refcounts=on,refcount_bits=1"),
    ];
    for (flags, options) in cases {
        let arguments = [&["convert", "-f", "raw", "-O", "qcow2", "-o", options], flags, &["raw", "qcow2"]];
        qemu_img(folder.path(), &arguments.concat());
        let image = Image::open(&folder.path().join("qcow2")).unwrap();
        assert_eq!(image.format(), "qcow2");
        assert!(bytes(&image) == raw, "{options} {flags:?}");
        // What is outside the extents is zeros.
        let extents = image.extents().unwrap();
        let mut end = 0;
        for extent in extents.iter().chain([&(image.size().get()..image.size().get())]) {
            let hole = usize::try_from(end).unwrap()..usize::try_from(extent.start).unwrap();
            assert!(raw[hole].iter().all(|byte| *byte == 0), "{options} {flags:?}: {extent:?}");
            end = extent.end;
        }
        fs::remove_file(folder.path().join("qcow2")).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_each_verb() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    disk(&here.join("base.raw"));
    qemu_img(here, &["create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "backed"]);
    qemu_img(here, &["create", "-f", "qcow2", "-o", "data_file=data.raw", "external", "1M"]);
    qemu_img(here, &["create", "-f", "qcow2", "-o", "extended_l2=on", "parts", "1M"]);
    let secret = "secret,id=s,data=abc";
    let luks =
        ["create", "-f", "qcow2", "--object", secret, "-o", "encrypt.format=luks,encrypt.key-secret=s"];
    qemu_img(here, &[&luks[..], &["locked", "1M"]].concat());
    qemu_img(here, &["convert", "-f", "raw", "-O", "qcow2", "-c", "base.raw", "whole"]);
    let whole = fs::read(here.join("whole")).unwrap();
    fs::write(here.join("cut"), &whole[..whole.len() / 2]).unwrap();
    fs::write(here.join("packed"), b"\x1f\x8b\x08").unwrap();
    File::create(here.join("zeros")).unwrap().set_len(8 << 20).unwrap();
    File::create(here.join("text")).unwrap().write_all(b"no image").unwrap();
    let foreign = "is no image that this program makes, or a damaged one: the partition table: ";
    for (file, code, message) in [
        ("backed", 2, "caused by: the image has a backing file, `base.raw`, and is nothing without it"),
        ("external", 2, "caused by: the image keeps its bytes in a file of their own, which is not read"),
        ("parts", 2, "caused by: the image has clusters with parts of their own (extended L2 entries)"),
        ("locked", 2, "caused by: the image is encrypted, which is not read"),
        ("packed", 2, "caused by: `packed` is compressed by gzip: raw and qcow2 images are read"),
        ("cut", 5, "caused by: the image is cut short or corrupt: "),
        ("zeros", 5, foreign),
        ("text", 5, foreign),
        ("base.raw", 5, foreign),
        ("whole", 5, foreign),
        ("none", 6, "caused by: reading `none`"),
    ] {
        for arguments in
            [vec!["inspect", file], vec!["diff", file, file], vec!["diff", "--exit-code", file, file]]
        {
            let output = program(here, &arguments);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
            assert!(said.contains(message), "{arguments:?}: {said}");
            assert!(output.stdout.is_empty() && said.starts_with("error: "), "{arguments:?}: {said}");
        }
        // `verify` says what is wrong with an image as its findings; what it cannot open, as the others do.
        let output = program(here, &["verify", file]);
        let code = if message == foreign { 7 } else { code };
        assert_eq!(output.status.code(), Some(code), "verify {file}: {}", said(&output));
    }
}
