//! File systems with canaries in them.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use goni_disk::ext4;
use goni_disk::tree::{Content, FileTree, Inode, Kind, Metadata, NoContent, Owner, TreePath};
use goni_model::report::Outcome;
use goni_model::time::Timestamp;
use uuid::Uuid;

use super::*;
use crate::smoke::evidence::canary::LENGTH;

const CANARY: Canary = Canary::new(*b"\xfe\x01canary:canary:canary:canary:c\n");

fn metadata(mode: u16) -> Metadata {
    Metadata { mode, uid: 0, gid: 0, mtime: Timestamp::from_seconds(1), xattrs: BTreeMap::new() }
}

/// A file system with one file besides an innocent one.
fn volume(name: &str, bytes: Vec<u8>) -> Box<dyn Ext4Read> {
    let owner = || Owner::Stage("test".into());
    let mut tree = FileTree::new(metadata(0o755), owner());
    for (name, bytes) in [("innocent", b"\x1f\x8b\x08 no stream".to_vec()), (name, bytes)] {
        let path = TreePath::parse(name.as_bytes()).unwrap();
        let kind = Kind::File(Content::inline(bytes));
        tree.insert(path, Inode { metadata: metadata(0o644), kind }, owner()).unwrap();
    }
    let size = ByteCount::from_mib(16);
    let options = ext4::Options::new(size, Uuid::from_bytes([3; 16]), Timestamp::from_seconds(1));
    let mut disk = Cursor::new(vec![0; 16 << 20]);
    ext4::write(&tree, &NoContent, &options, &mut disk).unwrap();
    Box::new(disk.into_inner())
}

fn outcome(bytes: Vec<u8>, bounds: Bounds) -> Outcome {
    search(volume("system.journal", bytes), &[CANARY], bounds).unwrap().outcome(0)
}

fn failed(expected: &str, observed: impl Into<String>) -> Outcome {
    Outcome::Failed { expected: expected.into(), observed: observed.into() }
}

/// 3000 bytes with the canary at 2000.
fn content() -> Vec<u8> {
    let mut bytes = vec![b'-'; 3000];
    bytes[2000..2000 + LENGTH].copy_from_slice(CANARY.as_bytes());
    bytes
}

fn packed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Zstd => zstd::encode_all(bytes, 3).unwrap(),
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

#[test]
fn a_file_system_without_the_canary_passes() {
    assert_eq!(outcome(b"nothing".to_vec(), Bounds::default()), Outcome::Passed);
}

#[test]
fn the_canary_is_found_in_plain_bytes() {
    let found = failed("no trace of the canary", "once, at byte 2000 of `/system.journal`");
    assert_eq!(outcome(content(), Bounds::default()), found);
}

#[test]
fn the_canary_is_found_in_every_stream_wherever_it_begins_and_even_if_it_is_cut() {
    for compression in Compression::ALL {
        for cut in [0, 1] {
            // Several blocks of what no method makes smaller: a block that is cut is lost as a whole.
            let mut bytes = content();
            bytes.extend((0..200_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()));
            let mut file = b"other objects".to_vec();
            let stream = packed(compression, &bytes);
            file.extend(&stream[..stream.len() - cut]);
            file.extend(b"and the next");
            let name = compression.name();
            let place = format!("byte 2000 of what unpacks from {name} at byte 13 of `/system.journal`");
            // LZ4 keeps what repeats nowhere as it is: there the canary lies open in the stream, too.
            let observed = match memchr::memmem::find(&file, CANARY.as_bytes()) {
                None => format!("once, at {place}"),
                Some(at) => format!("2 times, first at byte {at} of `/system.journal`"),
            };
            assert_eq!(observed.starts_with("once"), compression != Compression::Lz4, "{name}");
            let found = failed("no trace of the canary", observed);
            assert_eq!(outcome(file, Bounds::default()), found, "{name} without {cut}");
        }
    }
}

#[test]
fn what_was_not_looked_at_is_not_called_clean() {
    let zeros = packed(Compression::Zstd, &vec![0; 3 << 20]);
    let bounds = Bounds { stream: ByteCount::from_mib(2), ..Bounds::default() };
    let observed = "2MiB or more in zstd at byte 0 of `/system.journal`";
    assert_eq!(outcome(zeros, bounds), failed("all of it searched", observed));
    let bounds = Bounds { total: ByteCount::from_mib(1), ..Bounds::default() };
    let observed = "1MiB or more of files";
    assert_eq!(outcome(vec![b'-'; 1 << 20], bounds), failed("all of it searched", observed));
}

#[test]
fn what_is_no_file_system_is_an_error() {
    let error = search(Box::new(vec![0; 1 << 20]), &[CANARY], Bounds::default()).unwrap_err();
    assert!(error.to_string().contains("magic"), "{error}");
}
