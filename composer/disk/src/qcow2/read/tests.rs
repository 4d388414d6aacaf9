use std::io::Cursor;

use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use super::super::{Compression, write};
use super::*;

const CLUSTER: u64 = 1 << 16;
const BOTH: [Compression; 2] = [Compression::Zstd(3), Compression::Zlib(6)];

/// Bytes that no compressor makes smaller, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(1), step).map(|state| state.to_be_bytes()[0]).take(length).collect()
}

/// Text, zeros, noise, and a last cluster that is cut short.
fn disk() -> Vec<u8> {
    let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(150_000).collect();
    let mut disk = [&text[..], &vec![0; 300_000], &noise(100_000), &text].concat();
    disk.resize(disk.len().next_multiple_of(512), 0);
    disk
}

fn image(compression: Compression) -> Vec<u8> {
    let disk = disk();
    let size = to_u64(disk.len());
    let mut output = Cursor::new(Vec::new());
    let data = 0..size;
    let data = std::slice::from_ref(&data);
    write(&mut Cursor::new(&disk), ByteCount::new(size), data, compression, &mut output).unwrap();
    output.into_inner()
}

fn read(image: Vec<u8>) -> io::Result<Vec<u8>> {
    let reader = Reader::open(image).map_err(io::Error::other)?;
    let mut bytes = vec![1; to_usize(reader.size())];
    reader.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn put(image: &mut [u8], offset: u64, bytes: &[u8]) {
    image[to_usize(offset)..][..bytes.len()].copy_from_slice(bytes);
}

fn long(image: &[u8], offset: u64) -> u64 {
    u64::from_be_bytes(*image[to_usize(offset)..].first_chunk().unwrap())
}

/// Where the one L2 table is.
fn table(image: &[u8]) -> u64 {
    long(image, long(image, 40)) & OFFSET
}

#[test]
fn a_disk_reads_as_it_was_written() {
    for compression in BOTH {
        assert!(read(image(compression)).unwrap() == disk(), "{compression:?}");
    }
}

#[test]
fn any_part_reads_as_it_was_written() {
    let disk = disk();
    let reader = Reader::open(image(BOTH[0])).unwrap();
    for (offset, length) in [(0, 1), (65_535, 2), (149_999, 70_000), (447_000, 9_000), (disk.len() - 3, 3)] {
        let mut bytes = vec![1; length];
        reader.read_exact_at(&mut bytes, to_u64(offset)).unwrap();
        assert!(bytes == disk[offset..][..length], "{length} at {offset}");
    }
    for (offset, length) in [(to_u64(disk.len()), 1), (to_u64(disk.len()) - 1, 2), (u64::MAX, 2)] {
        let error = reader.read_exact_at(&mut vec![0; length], offset).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn extents_are_where_there_are_bytes() {
    let reader = Reader::open(image(BOTH[0])).unwrap();
    let end = to_u64(disk().len());
    assert_eq!(reader.extents().unwrap(), [0..3 * CLUSTER, 6 * CLUSTER..end]);
}

#[test]
fn clusters_of_zeros_are_zeros_whatever_is_there() {
    let mut image = image(BOTH[0]);
    let table = table(&image);
    // The first kept as it is, as `qemu-img` preallocates; and it is noise, so it would show.
    let number = (0..20).find(|number| long(&image, table + number * 8) >> 62 == 2).unwrap();
    let entry = long(&image, table + number * 8) | ZEROS;
    put(&mut image, table + number * 8, &entry.to_be_bytes());
    let found = read(image.clone()).unwrap();
    assert!(found[to_usize(number * CLUSTER)..][..to_usize(CLUSTER)].iter().all(|byte| *byte == 0));
    // Version 2 has no such clusters.
    put(&mut image, 4, &2_u32.to_be_bytes());
    let error = read(image).unwrap_err();
    assert!(error.to_string().contains("an entry of an L2 table"), "{error}");
}

#[test]
fn version_2_is_read_by_its_own_header() {
    let mut image = image(BOTH[1]);
    put(&mut image, 4, &2_u32.to_be_bytes());
    // There is no such field in version 2.
    put(&mut image, 72, &u64::MAX.to_be_bytes());
    assert!(read(image).unwrap() == disk());
}

type Change = fn(&mut Vec<u8>);

#[test]
fn what_is_not_read_is_refused_with_the_reason() {
    let cases: &[(Change, &str)] = &[
        (|image| put(image, 0, b"QFI\0"), "it does not begin as a qcow2 image does"),
        (|image| image.clear(), "it does not begin as a qcow2 image does"),
        (
            |image| image.truncate(100),
            "the image is cut short or corrupt: the header at 0 ends at 104, the file at 100",
        ),
        (|image| put(image, 4, &4_u32.to_be_bytes()), "the image is of version 4, which is not read"),
        (
            |image| {
                put(image, 8, &[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8]);
                put(image, 256, b"base.raw");
            },
            "the image has a backing file, `base.raw`, and is nothing without it",
        ),
        (|image| put(image, 8, &u64::MAX.to_be_bytes()), "reading the name of the backing file"),
        (|image| put(image, 32, &1_u32.to_be_bytes()), "the image is encrypted, which is not read"),
        (|image| image[79] |= 2, "the image is corrupt at offset 72: it is marked as corrupt"),
        (|image| image[79] |= 4, "the image keeps its bytes in a file of their own, which is not read"),
        (
            |image| image[79] |= 16,
            "the image has clusters with parts of their own (extended L2 entries), which is not read",
        ),
        (
            |image| image[72] = 0x80,
            "the image has the incompatible features 0x8000000000000000, which is not read",
        ),
        (|image| image[104] = 2, "the image is compressed by method 2, which is not read"),
        (
            |image| put(image, 20, &22_u32.to_be_bytes()),
            "the image is corrupt at offset 20: clusters of 2^22 bytes",
        ),
        (
            |image| put(image, 24, &(1_u64 << 60).to_be_bytes()),
            "the image is of a disk of 1152921504606846976 bytes in clusters of 65536, which is not read",
        ),
        (
            |image| put(image, 24, &(1_u64 << 30).to_be_bytes()),
            "the image is corrupt at offset 36: 1 entries of the L1 table are too few for a disk of 1073741824 \
             bytes",
        ),
        (
            |image| put(image, 40, &513_u64.to_be_bytes()),
            "the image is corrupt at offset 40: the L1 table is at 513",
        ),
        (
            |image| put(image, 40, &(1_u64 << 40).to_be_bytes()),
            "the image is cut short or corrupt: the L1 table at 1099511627776 ends at 1099511627784, the file \
             at 524288",
        ),
    ];
    for (change, expected) in cases {
        let mut image = image(BOTH[0]);
        change(&mut image);
        assert_eq!(Reader::open(image).unwrap_err().to_string(), *expected);
    }
}

#[test]
fn tables_that_lead_out_of_the_file_are_refused() {
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = image(BOTH[0]);
        change(&mut image);
        Reader::open(image).unwrap_err().to_string()
    };
    let l1 = |entry: u64| {
        refused(&|image| {
            let at = long(image, 40);
            put(image, at, &entry.to_be_bytes());
        })
    };
    assert!(l1(1 << 40).contains("an L2 table at 1099511627776 ends at"), "{}", l1(1 << 40));
    assert!(l1(1).ends_with("an entry of the L1 table is 0x1"));
    assert!(l1(1 << 10).ends_with("an entry of the L1 table is 0x400"));
    let l2 = |entry: u64| {
        refused(&|image| {
            let at = table(image);
            put(image, at, &entry.to_be_bytes());
        })
    };
    assert!(l2(COPIED | 1 << 40).contains("a cluster at 1099511627776 ends at"));
    assert!(l2(COMPRESSED | 1 << 40).contains("a compressed cluster at 1099511627776 ends at"));
    assert!(l2(1 << 58).contains("an entry of an L2 table is"));
    assert!(l2(COMPRESSED).contains("an entry of an L2 table is"));
}

#[test]
fn a_table_is_not_read_a_second_time() {
    let mut image = image(BOTH[0]);
    let l1 = long(&image, 40);
    let entry = long(&image, l1);
    put(&mut image, 24, &(1_u64 << 30).to_be_bytes());
    put(&mut image, 36, &2_u32.to_be_bytes());
    put(&mut image, l1 + 8, &entry.to_be_bytes());
    let message = Reader::open(image).unwrap_err().to_string();
    assert!(message.ends_with("is referred to twice"), "{message}");
}

#[test]
fn an_image_cut_short_anywhere_is_refused() {
    let whole = image(BOTH[0]);
    // The reference counts at the end are not needed.
    let needed = to_usize(long(&whole, 40)) + 8;
    for length in (0..needed).step_by(4099).chain([needed - 1]) {
        assert!(Reader::open(whole[..length].to_vec()).is_err(), "{length} bytes");
    }
    assert!(read(whole[..needed].to_vec()).unwrap() == disk());
}

#[test]
fn whatever_byte_is_wrong_there_is_an_error_or_a_disk() {
    for compression in BOTH {
        let whole = image(compression);
        let (l1, l2) = (to_usize(long(&whole, 40)), to_usize(table(&whole)));
        let places = (0..112).chain(l1..l1 + 8).chain(l2..l2 + 16 * 8).chain((65_536..l2).step_by(997));
        for place in places {
            for flip in [0xFF, 0x01, 0x80] {
                let mut image = whole.clone();
                image[place] ^= flip;
                // A flipped size may be large: what matters is that opening and reading come to an end.
                if let Ok(reader) = Reader::open(image) {
                    let size = reader.size().min(to_u64(disk().len()));
                    drop(reader.read_exact_at(&mut vec![0; to_usize(size)], 0));
                    drop(reader.extents());
                }
            }
        }
    }
}

#[test]
fn a_cluster_that_does_not_expand_is_an_error() {
    for compression in BOTH {
        let mut image = image(compression);
        image[to_usize(CLUSTER)..][..64].fill(0xFF);
        let error = read(image).unwrap_err();
        assert!(
            error.to_string().starts_with("the compressed cluster at 65536 cannot be expanded"),
            "{error}"
        );
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
