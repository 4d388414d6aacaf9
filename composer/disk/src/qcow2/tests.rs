use std::io::Cursor;

use goni_model::digest::Sha256Digest;

use super::*;

/// Bytes that no compressor makes smaller, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..length.div_ceil(8))
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(length)
        .collect()
}

/// Text, zeros, noise, text and a last cluster that is cut short.
fn disk() -> Vec<u8> {
    let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(3 * CLUSTER + 100).collect();
    let zeros = vec![0; 5 * CLUSTER];
    [&text[..], &zeros, &noise(2 * CLUSTER), &text, &zeros[..1536 - 200]].concat()
}

fn written(disk: &[u8], data: &[Range<u64>], compression: Compression) -> Vec<u8> {
    let mut output = Cursor::new(Vec::new());
    let size = ByteCount::new(to_u64(disk.len()));
    write(&mut Cursor::new(disk), size, data, compression, &mut output).unwrap();
    output.into_inner()
}

fn whole(disk: &[u8]) -> Vec<Range<u64>> {
    std::iter::once(0..to_u64(disk.len())).collect()
}

const BOTH: [Compression; 2] = [Compression::Zstd(3), Compression::Zlib(6)];

/// A reader of what the specification says, that counts every reference to a cluster itself.
struct Reader<'a> {
    image: &'a [u8],
    counted: Vec<u16>,
}

impl Reader<'_> {
    fn long(&self, offset: u64) -> u64 {
        u64::from_be_bytes(*self.image[to_usize(offset)..].first_chunk().unwrap())
    }

    fn word(&self, offset: u64) -> u32 {
        u32::from_be_bytes(*self.image[to_usize(offset)..].first_chunk().unwrap())
    }

    fn count(&mut self, range: Range<u64>) {
        for host in range.start / CLUSTER_SIZE..range.end.div_ceil(CLUSTER_SIZE) {
            self.counted[to_usize(host)] += 1;
        }
    }

    fn read_disk(image: &[u8]) -> Vec<u8> {
        assert_eq!(image.len() % CLUSTER, 0, "an image is whole clusters");
        let mut reader = Reader { image, counted: vec![0; image.len() / CLUSTER] };
        assert_eq!(&image[..8], b"QFI\xfb\0\0\0\x03");
        let size = reader.long(24);
        let zstd = reader.long(72) == 8;
        assert_eq!(image[104], u8::from(zstd));
        let mut disk = vec![0; to_usize(size.next_multiple_of(CLUSTER_SIZE))];
        let (l1_size, l1) = (u64::from(reader.word(36)), reader.long(40));
        reader.count(0..CLUSTER_SIZE);
        reader.count(l1..l1 + (l1_size * 8).max(1));
        for (number, cluster) in disk.chunks_mut(CLUSTER).enumerate() {
            let (l1_index, l2_index) = (to_u64(number) / 8192, to_u64(number) % 8192);
            let l2 = reader.long(l1 + l1_index * 8) & !(1 << 63);
            if l2 == 0 {
                continue;
            }
            if l2_index == 0 {
                reader.count(l2..l2 + CLUSTER_SIZE);
            }
            let entry = reader.long(l2 + l2_index * 8);
            let plain = entry & ((1 << 62) - 1);
            if entry >> 62 == 1 {
                let (offset, sectors) = (plain & ((1 << 54) - 1), (plain >> 54) + 1);
                let end = (offset / 512 + sectors) * 512;
                reader.count(offset..end);
                let bytes = &image[to_usize(offset)..to_usize(end)];
                if zstd {
                    let mut bytes = bytes;
                    let mut decoder =
                        zstd::stream::read::Decoder::with_buffer(&mut bytes).unwrap().single_frame();
                    decoder.read_exact(cluster).unwrap();
                } else {
                    let mut inflate = flate2::Decompress::new_with_window_bits(false, 12);
                    let status = inflate.decompress(bytes, cluster, flate2::FlushDecompress::Finish).unwrap();
                    assert_eq!((status, inflate.total_out()), (flate2::Status::StreamEnd, CLUSTER_SIZE));
                }
            } else if entry != 0 {
                assert_eq!((entry >> 63, plain % CLUSTER_SIZE), (1, 0), "a whole cluster of its own");
                reader.count(plain..plain + CLUSTER_SIZE);
                cluster.copy_from_slice(&image[to_usize(plain)..][..CLUSTER]);
            }
        }
        reader.check_refcounts();
        disk.truncate(to_usize(size));
        disk
    }

    fn check_refcounts(mut self) {
        let (table, clusters) = (self.long(48), u64::from(self.word(56)));
        self.count(table..table + clusters * CLUSTER_SIZE);
        let blocks: Vec<u64> = (0..clusters * 8192)
            .map(|index| self.long(table + index * 8))
            .filter(|block| *block != 0)
            .collect();
        blocks.iter().for_each(|block| self.count(*block..block + CLUSTER_SIZE));
        let stated: Vec<u16> = blocks
            .iter()
            .flat_map(|block| self.image[to_usize(*block)..][..CLUSTER].as_chunks().0)
            .map(|count| u16::from_be_bytes(*count))
            .collect();
        assert_eq!(stated[..self.counted.len()], self.counted);
        assert!(stated[self.counted.len()..].iter().all(|count| *count == 0));
    }
}

#[test]
fn a_disk_reads_as_it_was_written() {
    let disk = disk();
    for compression in BOTH {
        let image = written(&disk, &whole(&disk), compression);
        assert!(Reader::read_disk(&image) == disk, "{compression:?}");
    }
}

#[test]
fn a_disk_of_nothing_or_of_zeros_is_tables_alone() {
    for disk in [vec![], vec![0; 3 * CLUSTER + 512]] {
        for compression in BOTH {
            let image = written(&disk, &whole(&disk), compression);
            assert_eq!(image.len(), 4 * CLUSTER, "header, L1 table, table and block of counts");
            assert_eq!(Reader::read_disk(&image), disk);
        }
    }
}

#[test]
fn clusters_of_many_batches_and_tables_find_their_place() {
    // Four batches at the front, and single clusters at both ends of the second table and in a third.
    struct Sparse(u64);
    impl Read for Sparse {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(u8::try_from(self.0 / CLUSTER_SIZE % 251).unwrap() + 1);
            self.0 += to_u64(buffer.len());
            Ok(buffer.len())
        }
    }
    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            let SeekFrom::Start(place) = to else { return Err(io::ErrorKind::Unsupported.into()) };
            self.0 = place;
            Ok(place)
        }
    }
    let table = 512 << 20;
    let data = [0..200 * CLUSTER_SIZE, table..table + 1, 2 * table - 1..2 * table + 1];
    let mut image = Cursor::new(Vec::new());
    write(&mut Sparse(0), ByteCount::new(2 * table + CLUSTER_SIZE), &data, BOTH[0], &mut image).unwrap();
    let disk = Reader::read_disk(&image.into_inner());
    for (number, cluster) in disk.chunks(CLUSTER).enumerate() {
        let written = number < 200 || [8192, 2 * 8192 - 1, 2 * 8192].contains(&number);
        let expected = if written { u8::try_from(number % 251).unwrap() + 1 } else { 0 };
        assert!(cluster == [expected; CLUSTER], "{number}");
    }
}

#[test]
fn only_what_the_map_names_is_read() {
    let disk = disk();
    let cluster = CLUSTER_SIZE;
    // Two extents in one cluster, an empty one, and the noise without what is behind it.
    let data = [10..20, 30..40, 50..50, 8 * cluster + 100..9 * cluster + 100];
    let image = written(&disk, &data, Compression::Zstd(3));
    let mut expected = vec![0; disk.len()];
    for range in [0..CLUSTER, 8 * CLUSTER..10 * CLUSTER] {
        expected[range.clone()].copy_from_slice(&disk[range]);
    }
    assert!(Reader::read_disk(&image) == expected);
}

#[test]
fn an_image_is_these_bytes_and_keeps_its_digest() {
    let disk = disk();
    let image = written(&disk, &whole(&disk), Compression::Zlib(6));
    let shown = [
        ("magic, version", 0, 8),
        ("backing file", 8, 12),
        ("cluster_bits", 20, 4),
        ("size", 24, 8),
        ("crypt_method", 32, 4),
        ("l1_size", 36, 4),
        ("l1_table_offset", 40, 8),
        ("refcount_table_offset", 48, 8),
        ("refcount_table_clusters", 56, 4),
        ("snapshots", 60, 12),
        ("features", 72, 24),
        ("refcount_order", 96, 4),
        ("header_length", 100, 4),
        ("compression_type", 104, 8),
        ("end of extensions", 112, 8),
    ]
    .map(|(field, offset, length)| {
        let bytes: String = image[offset..][..length].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{offset:>3} {field} {bytes}")
    });
    assert_eq!(
        shown,
        [
            "  0 magic, version 514649fb00000003",
            "  8 backing file 000000000000000000000000",
            " 20 cluster_bits 00000010",
            " 24 size 00000000000d0600",
            " 32 crypt_method 00000000",
            " 36 l1_size 00000001",
            " 40 l1_table_offset 0000000000060000",
            " 48 refcount_table_offset 0000000000070000",
            " 56 refcount_table_clusters 00000001",
            " 60 snapshots 000000000000000000000000",
            " 72 features 000000000000000000000000000000000000000000000000",
            " 96 refcount_order 00000004",
            "100 header_length 00000070",
            "104 compression_type 0000000000000000",
            "112 end of extensions 0000000000000000"
        ]
    );
    for (compression, digest) in BOTH.into_iter().zip([
        "4176b60c191cd7e71495d29b98ca11a986d4c9d9adfc20c1fde151441994e6c7",
        "e8f7021122f619e20d12febbc8d2dd3cdd68f43222182c30543eec34ccdad892",
    ]) {
        let image = written(&disk, &whole(&disk), compression);
        assert_eq!(Sha256Digest::of(&image).to_string(), digest, "{compression:?}");
    }
}

#[test]
fn sizes_maps_and_disks_that_do_not_fit_are_refused() {
    let refused = |size: u64, data: &[Range<u64>]| {
        let mut output = Cursor::new(Vec::new());
        let mut disk = Cursor::new([1; 1024]);
        write(&mut disk, ByteCount::new(size), data, BOTH[0], &mut output).unwrap_err()
    };
    let map = "data at 512 to 1025 is out of order or past the end of a disk of 1KiB";
    assert_eq!(refused(1024, std::slice::from_ref(&(512..1025))).to_string(), map);
    assert_eq!(
        refused(1024, &[512..600, 599..700]).to_string(),
        "data at 599 to 700 is out of order or past the end of a disk of 1KiB"
    );
    for size in [513, tables::LARGEST_DISK + 512] {
        let message = format!(
            "a disk of {} is no whole number of sectors of 512 bytes up to 2048TiB",
            ByteCount::new(size)
        );
        assert_eq!(refused(size, &[]).to_string(), message);
    }
    let Qcow2Error::Io { source, .. } = refused(2048, std::slice::from_ref(&(0..2048))) else {
        panic!("a short disk is an I/O error")
    };
    assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
}
