use std::io::Write as _;

use super::*;

const STANZA: &str = "Package: bash\nVersion: 5.2-1\nArchitecture: amd64\nEssential: yes\nPriority: required\n\
    Pre-Depends: libc6 (>= 2.38)\nInstalled-Size: 7000\nFilename: pool/main/b/bash/bash_5.2-1_amd64.deb\nSize: 1498\n\
    SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nDescription: shell\n";

fn parse(text: &str) -> Result<Vec<String>, String> {
    let index = Index::parse(text.as_bytes(), Arch::Amd64);
    index.map(|i| i.packages().iter().map(|p| p.name.to_owned()).collect()).map_err(|e| e.to_string())
}

#[test]
fn a_package_is_read_with_all_that_matters() {
    let index = Index::parse(STANZA.as_bytes(), Arch::Amd64).unwrap();
    let package = &index.packages()[0];
    assert_eq!((package.name, package.version.as_str(), package.size), ("bash", "5.2-1", 1498));
    assert_eq!((package.essential, package.priority, package.installed_size), (true, "required", Some(7000)));
    assert_eq!(package.pre_depends().unwrap()[0].to_string(), "libc6 (>= 2.38)");
    assert_eq!(package.depends(), Ok(vec![]));
}

#[test]
fn packages_of_another_architecture_are_left_out() {
    let other = STANZA.replace("bash", "zsh").replace("Architecture: amd64", "Architecture: i386");
    assert_eq!(parse(&format!("{other}\n{STANZA}")), Ok(vec!["bash".to_owned()]));
}

#[test]
fn hostile_values_are_refused_by_name() {
    for (from, to, message) in [
        ("Package: bash\n", "", "the stanza that ends before line 11 has no `Package`"),
        (
            "Package: bash",
            "Package: a/../../b",
            "package `a/../../b`: `Package` is `a/../../b`: has characters other than a-z 0-9 + - .",
        ),
        (
            "Package: bash",
            "Package: -rf",
            "package `-rf`: `Package` is `-rf`: does not start with a lowercase letter or a digit",
        ),
        (
            "Package: bash",
            "Package: Bash",
            "package `Bash`: `Package` is `Bash`: does not start with a lowercase letter or a digit",
        ),
        ("5.2-1\n", "1:;rm\n", "package `bash`"),
        (
            "Size: 1498",
            "Size: 9223372036854775808",
            "package `bash`: `Size` is `9223372036854775808`: it is not between 1 byte and 16 GiB",
        ),
        ("Size: 1498", "Size: +1", "package `bash`: `Size` is `+1`: it is not between 1 byte and 16 GiB"),
        ("Size: 7000", "Size: -1", "package `bash`: `Installed-Size` is `-1`: it is not a number"),
        ("\nSize: 1498", "", "package `bash` has no `Size`"),
        (
            "SHA256: e3",
            "SHA256: E3",
            "package `bash`: `SHA256` is `E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`: it is not 64 lowercase hexadecimal digits",
        ),
        ("SHA256", "SHA1", "package `bash` has no `SHA256`"),
        (
            "pool/",
            "../pool/",
            "package `bash`: `Filename` is `../pool/main/b/bash/bash_5.2-1_amd64.deb`: has an empty, `.` or `..` component",
        ),
        (
            "pool/",
            "//host/",
            "package `bash`: `Filename` is `//host/main/b/bash/bash_5.2-1_amd64.deb`: is an absolute path",
        ),
        ("Version", "Size: 1\nVersion", "the index is malformed"),
    ] {
        let text = STANZA.replacen(from, to, 1);
        assert_ne!(text, STANZA, "{from}");
        assert_eq!(parse(&text), Err(message.to_owned()), "{from} -> {to}");
    }
}

#[test]
fn what_comes_out_of_a_stream_has_an_end() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(STANZA.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(STANZA.as_bytes()).unwrap();
    let xz = xz.finish().unwrap();
    let zst = zstd::bulk::compress(STANZA.as_bytes(), 1).unwrap();
    let size = to_u64(STANZA.len());
    for (compression, bytes) in [
        (Compression::None, STANZA.as_bytes().to_vec()),
        (Compression::Gzip, gzip),
        (Compression::Xz, xz),
        (Compression::Zstd, zst),
    ] {
        for expected in [None, Some(size)] {
            assert_eq!(compression.decompress(&bytes, expected).unwrap(), STANZA.as_bytes());
        }
        let error = compression.decompress(&bytes, Some(10)).unwrap_err();
        assert_eq!(error.to_string(), "the index decompresses to 11 bytes; the Release file says 10");
        if compression != Compression::None {
            let cut = bytes.get(..bytes.len() - 9).unwrap();
            assert!(matches!(compression.decompress(cut, None), Err(DecompressError::Corrupt { .. })));
        }
    }
}

use goni_model::number::to_u64;
