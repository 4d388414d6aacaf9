use std::io::Cursor;

use goni_model::digest::Sha256Digest;

use super::*;

const DISK: ByteCount = ByteCount::from_mib(8);

fn guid(last: u128) -> Uuid {
    Uuid::from_u128(0x11111111_2222_4333_8444_555555555500 + last)
}

/// A partition from one MiB to another, the end not included.
fn partition(name: &str, number: u128, mib: std::ops::Range<u64>, sector_size: SectorSize) -> Partition {
    let sectors = (1 << 20) / sector_size.get();
    Partition {
        name: name.into(),
        type_guid: Uuid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709),
        guid: guid(number),
        first: Lba::new(mib.start * sectors),
        last: Lba::new(mib.end * sectors - 1),
        attributes: Attributes::NONE,
    }
}

fn table(sector_size: SectorSize) -> Table {
    let mut root = partition("root_0.1.0", 2, 3..5, sector_size);
    root.attributes = Attributes::READ_ONLY.and(Attributes::NO_AUTO);
    Table {
        disk_guid: Uuid::from_u128(0xaaaaaaaa_bbbb_4ccc_8ddd_eeeeeeeeeeee),
        sector_size,
        partitions: vec![
            partition("esp", 1, 1..3, sector_size),
            root,
            // 36 UTF-16 units, of which the last character takes two.
            partition(&format!("{}é日🛰", "x".repeat(32)), 3, 5..7, sector_size),
        ],
        in_mbr: None,
    }
}

fn written(table: &Table) -> Vec<u8> {
    let mut disk = Cursor::new(vec![0xA5; 1 << 20]);
    write(&mut disk, DISK, table).unwrap();
    disk.into_inner()
}

fn read_error(disk: Vec<u8>) -> String {
    read(&mut Cursor::new(disk), DISK, SectorSize::B512).unwrap_err().to_string()
}

#[test]
fn a_table_reads_as_it_was_written() {
    for sector_size in [SectorSize::B512, SectorSize::B4096] {
        let disk = written(&table(sector_size));
        assert_eq!(to_u64(disk.len()), DISK.get());
        assert_eq!(super::sector_size(&mut Cursor::new(&disk)).unwrap(), sector_size);
        assert_eq!(read(&mut Cursor::new(disk), DISK, sector_size).unwrap(), table(sector_size));
    }
}

#[test]
fn a_table_is_these_bytes() {
    let disk = written(&table(SectorSize::B512));
    let bytes = |offset: usize, length: usize| {
        disk[offset..][..length].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    };
    let shown = [
        ("mbr partition", 446, 16),
        ("mbr signature", 510, 2),
        ("Signature", 512, 8),
        ("Revision, HeaderSize", 520, 8),
        ("MyLBA", 536, 8),
        ("AlternateLBA", 544, 8),
        ("FirstUsableLBA", 552, 8),
        ("LastUsableLBA", 560, 8),
        ("DiskGUID", 568, 16),
        ("PartitionEntryLBA", 584, 8),
        ("entries and their size", 592, 8),
        ("PartitionTypeGUID", 1152, 16),
        ("UniquePartitionGUID", 1168, 16),
        ("StartingLBA", 1184, 8),
        ("EndingLBA", 1192, 8),
        ("Attributes", 1200, 8),
        ("PartitionName", 1208, 18),
    ]
    .map(|(field, offset, length)| format!("{offset:>4} {field} {}", bytes(offset, length)));
    assert_eq!(
        shown,
        [
            " 446 mbr partition 00 00 02 00 ee ff ff ff 01 00 00 00 ff 3f 00 00",
            " 510 mbr signature 55 aa",
            " 512 Signature 45 46 49 20 50 41 52 54",
            " 520 Revision, HeaderSize 00 00 01 00 5c 00 00 00",
            " 536 MyLBA 01 00 00 00 00 00 00 00",
            " 544 AlternateLBA ff 3f 00 00 00 00 00 00",
            " 552 FirstUsableLBA 22 00 00 00 00 00 00 00",
            " 560 LastUsableLBA de 3f 00 00 00 00 00 00",
            " 568 DiskGUID aa aa aa aa bb bb cc 4c 8d dd ee ee ee ee ee ee",
            " 584 PartitionEntryLBA 02 00 00 00 00 00 00 00",
            " 592 entries and their size 80 00 00 00 80 00 00 00",
            "1152 PartitionTypeGUID e3 bc 68 4f cd e8 b1 4d 96 e7 fb ca f9 84 b7 09",
            "1168 UniquePartitionGUID 11 11 11 11 22 22 33 43 84 44 55 55 55 55 55 02",
            "1184 StartingLBA 00 18 00 00 00 00 00 00",
            "1192 EndingLBA ff 27 00 00 00 00 00 00",
            "1200 Attributes 00 00 00 00 00 00 00 90",
            "1208 PartitionName 72 00 6f 00 6f 00 74 00 5f 00 30 00 2e 00 31 00 2e 00",
        ]
    );
}

#[test]
fn tables_keep_their_digest_and_the_space_between_its_bytes() {
    for (sector_size, digest) in [
        (SectorSize::B512, "6aa43a5ad6c67eb6565288c3181061f2a02b6351a2aee7d508254e3167ccbca2"),
        (SectorSize::B4096, "02f14d7675a6a0afc2f2fe1f3a9379e978b87ee9154eac19a20549ccfc9e0a35"),
    ] {
        let disk = written(&table(sector_size));
        let from = usize::try_from(first_usable(sector_size).get() * sector_size.get()).unwrap();
        assert!(disk[from..1 << 20].iter().all(|byte| *byte == 0xA5), "the table alone is written");
        let mut table_alone = disk;
        table_alone[from..1 << 20].fill(0);
        assert_eq!(Sha256Digest::of(&table_alone).to_string(), digest);
    }
}

#[test]
fn usable_sectors_are_those_of_the_specification() {
    assert_eq!(first_usable(SectorSize::B512), Lba::new(34));
    assert_eq!(first_usable(SectorSize::B4096), Lba::new(6));
    assert_eq!(last_usable(DISK, SectorSize::B512), Ok(Lba::new(16384 - 34)));
    assert_eq!(last_usable(DISK, SectorSize::B4096), Ok(Lba::new(2048 - 6)));
    let tiny = last_usable(ByteCount::new(34304), SectorSize::B512).unwrap_err();
    assert_eq!(tiny.to_string(), "a disk of 34304B with sectors of 512 bytes cannot hold a partition table");
    assert_eq!(last_usable(ByteCount::new(34816), SectorSize::B512), Ok(Lba::new(34)));
    assert!(last_usable(ByteCount::new(DISK.get() + 1), SectorSize::B512).is_err());
}

#[test]
fn impossible_tables_are_refused_by_name() {
    type Change = fn(&mut Table);
    let cases: [(Change, &str); 11] = [
        (
            |table| table.partitions[1].first = Lba::new(4096),
            "partitions `esp` and `root_0.1.0` overlap: `esp` ends at sector 6143, `root_0.1.0` begins at 4096",
        ),
        (
            |table| table.partitions[0].last = Lba::new(16000),
            "partitions `esp` and `root_0.1.0` overlap: `esp` ends at sector 16000, `root_0.1.0` begins at 6144",
        ),
        (
            |table| table.partitions[0].last = Lba::new(16351),
            "partition `esp` takes sectors 2048 to 16351; the disk has 34 to 16350 for partitions",
        ),
        (
            |table| table.partitions[0].first = Lba::new(33),
            "partition `esp` takes sectors 33 to 6143; the disk has 34 to 16350 for partitions",
        ),
        (
            |table| table.partitions[0].first = Lba::new(2049),
            "partition `esp` begins at sector 2049, off the grain of 1MiB",
        ),
        (
            |table| table.partitions[0].last = Lba::new(2047),
            "partition `esp` ends at sector 2047, before its first, 2048",
        ),
        (
            |table| table.partitions[0].name = "n".repeat(37),
            "partition name `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn` is over 36 UTF-16 units or holds a NUL",
        ),
        (
            |table| table.partitions[0].name = "a\0b".into(),
            "partition name `a\0b` is over 36 UTF-16 units or holds a NUL",
        ),
        (|table| table.partitions[0].type_guid = Uuid::nil(), "partition `esp` has a type GUID of zeros"),
        (
            |table| table.partitions[1].guid = guid(1),
            "partitions `esp` and `root_0.1.0` have the same GUID 11111111-2222-4333-8444-555555555501",
        ),
        (
            |table| table.partitions = vec![table.partitions[0].clone(); 129],
            "129 partitions are more than the 128 a table holds",
        ),
    ];
    for (change, message) in cases {
        let mut table = table(SectorSize::B512);
        change(&mut table);
        let mut disk = Cursor::new(Vec::new());
        assert_eq!(write(&mut disk, DISK, &table).unwrap_err().to_string(), message);
        assert!(disk.into_inner().is_empty(), "nothing is written before the table is checked");
    }
}

#[test]
fn a_changed_bit_anywhere_in_the_table_is_found() {
    let disk = written(&table(SectorSize::B512));
    let end = disk.len();
    // MBR type, MBR size, header fields and sums of both copies, entries of both copies.
    for (offset, message) in [
        (450, "protective MBR has type 239, expected 238"),
        (458, "protective MBR has size in sectors 16382, expected 16383"),
        (466, "protective MBR has partitions: 2, expected 1"),
        (510, "protective MBR is corrupt: invalid MBR signature"),
        (512, "primary header is corrupt: no signature `EFI PART`"),
        (524, "primary header has HeaderSize 93, expected 92"),
        (
            568,
            "partition table is corrupt: GPT Header Error: CRC32 Checksum Mismatch, the header is corrupted",
        ),
        (592, "primary header has NumberOfPartitionEntries 129, expected 128"),
        (596, "primary header has SizeOfPartitionEntry 129, expected 128"),
        (1152, "partition table is corrupt: partition table CRC mismatch"),
        (end - 512, "backup header is corrupt: no signature `EFI PART`"),
        (
            end - 512 + 56,
            "partition table is corrupt: GPT Header Error: CRC32 Checksum Mismatch, the header is corrupted",
        ),
        (end - 512 * 33, "partition table is corrupt: partition table CRC mismatch"),
    ] {
        let mut disk = disk.clone();
        // Flips the lowest bit of 0xEE up, of others as it comes; offset 466 makes a second partition.
        disk[offset] ^= 1;
        assert_eq!(read_error(disk), message, "{offset}");
    }
}

#[test]
fn copies_that_are_each_right_but_differ_are_refused() {
    let disk = written(&table(SectorSize::B512));
    let mut other = table(SectorSize::B512);
    other.partitions[0].name = "ESP".into();
    let other = written(&other);
    let split = disk.len() / 2;
    assert_eq!(
        read_error([&disk[..split], &other[split..]].concat()),
        "backup of the partition table is corrupt: it differs from the primary"
    );
}

#[test]
fn a_disk_of_another_size_is_refused() {
    let disk = written(&table(SectorSize::B512));
    let longer = [&disk[..], &[0; 1 << 20]].concat();
    let size = ByteCount::from_mib(9);
    let error = read(&mut Cursor::new(longer), size, SectorSize::B512).unwrap_err();
    assert_eq!(error.to_string(), "protective MBR has size in sectors 16383, expected 18431");
    let error = read(&mut Cursor::new(&disk[..1 << 20]), DISK, SectorSize::B512).unwrap_err();
    assert_eq!(error.to_string(), "reading a header of the partition table");
    let error = read(&mut Cursor::new(&disk[..]), DISK, SectorSize::B4096).unwrap_err();
    assert_eq!(error.to_string(), "protective MBR has size in sectors 16383, expected 2047");
}

#[test]
fn no_byte_of_a_header_can_be_wild() {
    let disk = written(&table(SectorSize::B512));
    let backup = disk.len() - 512;
    for offset in (512..512 + 92).chain(backup..backup + 92) {
        for flip in [0x01, 0x80, 0xFF] {
            let mut disk = disk.clone();
            disk[offset] ^= flip;
            assert!(read(&mut Cursor::new(disk), DISK, SectorSize::B512).is_err(), "{offset}");
        }
    }
}

#[test]
fn either_copy_is_enough_and_none_is_not() {
    let either = |disk: &[u8]| read_either(&mut Cursor::new(disk), DISK, SectorSize::B512);
    for sector_size in [SectorSize::B512, SectorSize::B4096] {
        let disk = written(&table(sector_size));
        let found = read_either(&mut Cursor::new(disk), DISK, sector_size).unwrap();
        assert_eq!(found, (table(sector_size), Copy::Primary));
    }
    let whole = written(&table(SectorSize::B512));
    let end = whole.len();
    // A header's byte, an entry's byte, the whole of both.
    for torn in [512 + 20..512 + 21, 1024 + 8..1024 + 9, 0..17 << 10] {
        let mut disk = whole.clone();
        disk[torn.clone()].fill(0x5A);
        assert_eq!(either(&disk).unwrap(), (table(SectorSize::B512), Copy::Backup));
        let backup = end - (17 << 10)..end;
        disk[backup].fill(0x5A);
        assert!(either(&disk).is_err(), "{torn:?}");
    }
}

#[test]
fn a_disk_that_grew_has_its_primary_copy_alone() {
    let mut disk = written(&table(SectorSize::B512));
    let grown = ByteCount::from_mib(16);
    disk.resize(goni_model::number::to_usize(grown.get()), 0);
    let found = read_either(&mut Cursor::new(&disk), grown, SectorSize::B512).unwrap();
    assert_eq!(found, (table(SectorSize::B512), Copy::Primary));
    disk[512] = 0;
    let error = read_either(&mut Cursor::new(&disk), grown, SectorSize::B512).unwrap_err();
    assert_eq!(error.to_string(), "primary header is corrupt: no signature `EFI PART`");
}

/// The same table, whose first partition the MBR names as well.
fn hybrid() -> Table {
    Table { in_mbr: Some(guid(1)), ..table(SectorSize::B512) }
}

#[test]
fn a_hybrid_mbr_names_one_partition_before_what_protects_the_table() {
    let disk = written(&hybrid());
    assert_eq!(read(&mut Cursor::new(&disk[..]), DISK, SectorSize::B512).unwrap(), hybrid());
    assert!(disk[..446].iter().all(|byte| *byte == 0), "no boot code, no signature");
    #[rustfmt::skip]
    let entries: [u8; 66] = [
        // boot, first CHS, type, last CHS, first sector, sectors
        0, 0xFF, 0xFF, 0xFF, 0x0C, 0xFF, 0xFF, 0xFF, 0x00, 0x08, 0, 0, 0x00, 0x10, 0, 0,
        0, 0xFF, 0xFF, 0xFF, 0xEE, 0xFF, 0xFF, 0xFF, 0x01, 0, 0, 0, 0xFF, 0x07, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x55, 0xAA,
    ];
    assert_eq!(disk[446..512], entries);
    // The rest is as without.
    assert_eq!(disk[512..], written(&table(SectorSize::B512))[512..]);
}

#[test]
fn a_hybrid_mbr_that_says_other_than_the_table_is_found() {
    let disk = written(&hybrid());
    for (offset, bits, message) in [
        (446, 0x80, "hybrid MBR has an active first partition 128, expected 0"),
        (450, 1, "hybrid MBR has type of the first partition 13, expected 12"),
        (454, 1, "hybrid MBR has sectors of the second 2047, expected 2048"),
        (458, 1, "hybrid MBR has sectors of the first 4097, expected 4096"),
        (466, 1, "protective MBR has partitions: 2, expected 1"),
        (470, 1, "hybrid MBR has first sector of the second 0, expected 1"),
        (474, 1, "hybrid MBR has sectors of the second 2046, expected 2047"),
        (510, 1, "protective MBR is corrupt: invalid MBR signature"),
    ] {
        let mut disk = disk.clone();
        disk[offset] ^= bits;
        assert_eq!(read_error(disk), message, "{offset}");
    }
    // Both moved, so that they agree with each other.
    let mut moved = disk;
    (moved[455], moved[475]) = (9, 8);
    let message = "hybrid MBR is corrupt: it names a partition from sector 2304, where the table has none";
    assert_eq!(read_error(moved), message);
}

#[test]
fn an_mbr_cannot_name_just_any_partition() {
    let check = |table: &Table, size| table.check(size).unwrap_err().to_string();
    let stranger = Table { in_mbr: Some(guid(9)), ..table(SectorSize::B512) };
    let message = "the MBR is to name a partition 11111111-2222-4333-8444-555555555509, which the table does \
                   not have";
    assert_eq!(check(&stranger, DISK), message);
    let mut far = hybrid();
    let terabytes = 5 << 40;
    far.partitions[0].first = Lba::new((3 << 40) / 512);
    far.partitions[0].last = Lba::new((4 << 40) / 512 - 1);
    let message = "partition `esp` ends at sector 8589934591, past what an MBR can name";
    assert_eq!(check(&far, ByteCount::new(terabytes)), message);
}
