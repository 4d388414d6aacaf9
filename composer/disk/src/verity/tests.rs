use std::io::{Cursor, ErrorKind};

use super::*;

fn params() -> Params {
    Params { salt: [7; SALT_SIZE], uuid: Uuid::from_u128(0x22222222_2222_2222_2222_222222222222) }
}

/// Blocks that differ from each other.
fn data(blocks: u64) -> Vec<u8> {
    (0..blocks).flat_map(|block| [block.to_le_bytes(); BLOCK / 8]).flatten().collect()
}

fn tree_of(data: &[u8]) -> (Vec<u8>, RootHash) {
    let mut tree = Cursor::new(Vec::new());
    let root = format(data, ByteCount::new(to_u64(data.len())), &params(), &mut tree).unwrap();
    (tree.into_inner(), root)
}

#[test]
fn a_tree_vouches_for_its_data() {
    // One block and no level, one level of one block, its last full one, two levels, a whole batch and
    // one block more, three levels.
    for blocks in [1, 2, 128, 129, 1024, 1025, 16_385] {
        let data = data(blocks);
        let (tree, root) = tree_of(&data);
        let size = ByteCount::new(to_u64(data.len()));
        assert_eq!(tree_size(size).unwrap().get(), to_u64(tree.len()), "{blocks}");
        let protected = check(&data[..], &tree[..], &root).unwrap();
        assert_eq!(protected, Protected { params: params(), data_size: size });
        assert_eq!(claimed_root(&data[..], &tree[..]).unwrap(), root);
    }
}

#[test]
fn trees_are_byte_for_byte_those_of_veritysetup() {
    // Made by: veritysetup format --salt=0707… --uuid=22222222-2222-2222-2222-222222222222
    for (blocks, root_hash, tree_digest) in [
        (
            1,
            "69ecf24343646bcbcebaad0b41765fd203dfb85bb15c25d51e4d92ca4fdb1b7b",
            "b9e7dc0bdf440fe266611d6208b953aaa89840d7edfbad8e3e95af7194191a07",
        ),
        (
            2,
            "ac79e3a50a1956556105a3b7e36a971480f9041bb394958aab3f5ef0e7ce0125",
            "19dfd9e687cd37499887fa9c3281d3095edee4d3aac9c422d2d7d216fa0a95ba",
        ),
        (
            128,
            "6cc5828518864cdb79732d99c09d0c76e9a1bb2868a89cc24b9786780a8b7a29",
            "7926d5c7400fc3ed8d5c9d206f5efd1140d0e7347b18dfcfb4e01845ae618632",
        ),
        (
            129,
            "302fcb701b096fa5b1b6c43157fde7614a19600329280c57f4e9b778fb543346",
            "0558d5ecb5c0416314ba74a6e4c17043f1c91d77c00b00708aee05a401acc13a",
        ),
        (
            16_385,
            "49f75294a3b3d55a1678d09b559653a70f2fd1291d8e75aea877475c329e859a",
            "b3de5184f5019b4c88153e6c3967cc410528089ba1d0031427026ab3caf80859",
        ),
    ] {
        let (tree, root) = tree_of(&data(blocks));
        assert_eq!(root.to_string(), root_hash, "{blocks}");
        assert_eq!(Sha256Digest::of(&tree).to_string(), tree_digest, "{blocks}");
    }
}

#[test]
fn the_superblock_holds_what_it_says() {
    let (tree, _) = tree_of(&data(129));
    let shown: Vec<String> = [
        ("signature", 0, 8),
        ("version", 8, 4),
        ("hash_type", 12, 4),
        ("uuid", 16, 16),
        ("algorithm", 32, 6),
        ("data_block_size", 64, 4),
        ("hash_block_size", 68, 4),
        ("data_blocks", 72, 8),
        ("salt_size", 80, 2),
        ("salt", 88, 4),
    ]
    .map(|(field, offset, length)| format!("{offset:>3} {field} {}", tree[offset..][..length].escape_ascii()))
    .to_vec();
    assert_eq!(
        shown,
        [
            r"  0 signature verity\x00\x00",
            r"  8 version \x01\x00\x00\x00",
            r" 12 hash_type \x01\x00\x00\x00",
            &format!(" 16 uuid {}", r#"\""#.repeat(16)),
            r" 32 algorithm sha256",
            r" 64 data_block_size \x00\x10\x00\x00",
            r" 68 hash_block_size \x00\x10\x00\x00",
            r" 72 data_blocks \x81\x00\x00\x00\x00\x00\x00\x00",
            r" 80 salt_size  \x00",
            r" 88 salt \x07\x07\x07\x07",
        ]
    );
    assert!(tree[120..BLOCK].iter().all(|byte| *byte == 0), "nothing follows the salt");
}

#[test]
fn partition_uuids_are_the_halves_of_the_root_hash() {
    let root: RootHash = "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0".parse().unwrap();
    assert_eq!(root.root_uuid().to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(root.verity_uuid().to_string(), "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0");
}

#[test]
fn data_of_another_length_than_said_is_refused() {
    let data = data(3);
    let formatted = |size: u64| {
        format(&data[..], ByteCount::new(size), &params(), &mut Cursor::new(Vec::new())).unwrap_err()
    };
    assert_eq!(formatted(0).to_string(), "data of 0B is not one or more blocks of 4096 bytes");
    assert_eq!(formatted(5000).to_string(), "data of 5000B is not one or more blocks of 4096 bytes");
    assert_eq!(formatted(8192).to_string(), "data is longer than the 8KiB it was said to be");
    let VerityError::Io { source, .. } = formatted(16384) else { panic!("short data is an I/O error") };
    assert_eq!(source.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn the_first_corrupt_block_of_the_data_is_named() {
    let mut data = data(2000);
    let (tree, root) = tree_of(&data);
    data[1500 * BLOCK + 17] ^= 1;
    data[1700 * BLOCK] ^= 1;
    let error = check(&data[..], &tree[..], &root).unwrap_err();
    assert_eq!(error.to_string(), "corrupt data: block 1500 at offset 6144000 does not match the hash tree");
}

#[test]
fn a_corrupt_block_of_the_tree_is_named() {
    let data = data(129);
    let (tree, root) = tree_of(&data);
    // Superblock, one block of level 1, two of level 0.
    for (offset, level, number) in [(BLOCK, 1, 0), (2 * BLOCK, 0, 0), (4 * BLOCK - 1, 0, 1)] {
        let mut tree = tree.clone();
        tree[offset] ^= 1;
        let error = check(&data[..], &tree[..], &root).unwrap_err();
        let VerityError::CorruptTree { level: found, block } = error else { panic!("{error}") };
        assert_eq!((found, block), (level, number));
    }
    let other = RootHash::new([0; 32]);
    let error = check(&data[..], &tree[..], &other).unwrap_err();
    assert!(matches!(error, VerityError::CorruptTree { level: 1, block: 0 }), "{error}");
}

#[test]
fn a_superblock_of_another_kind_is_refused() {
    let data = data(2);
    let (tree, root) = tree_of(&data);
    for (offset, value, message) in [
        (0, 0, "corrupt superblock: no verity signature"),
        (8, 2, "hash tree has version 2, expected 1"),
        (12, 0, "hash tree has hash_type 0, expected 1"),
        (68, 1, "hash tree has hash_block_size 4097, expected 4096"),
        (72, 0, "corrupt superblock: no possible number of data blocks"),
        (79, 255, "corrupt superblock: no possible number of data blocks"),
        (80, 31, "hash tree has salt_size 31, expected 32"),
    ] {
        let mut tree = tree.clone();
        tree[offset] = value;
        assert_eq!(check(&data[..], &tree[..], &root).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_tree_or_data_that_ends_early_is_refused() {
    let data = data(129);
    let (tree, root) = tree_of(&data);
    for (data, tree) in [(&data[..], &tree[..tree.len() - 1]), (&data[1..], &tree[..]), (&data, &tree[..9])] {
        let error = check(data, tree, &root).unwrap_err();
        let VerityError::Io { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), ErrorKind::UnexpectedEof);
    }
}
