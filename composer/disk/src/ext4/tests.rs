//! Tests of the whole writer, against an independent reader.

use std::collections::BTreeMap;
use std::io::Cursor;

use ext4_view::Ext4;
use goni_model::digest::Sha256Digest;

use super::*;
use crate::tree::{Content, DeviceNumber};
use crate::tree::{ContentKey, Inode, InodeId, Kind, Metadata, NoContent, Owner};

fn metadata(mode: u16) -> Metadata {
    // In 2137, with an epoch bit; the reader takes no time whose low half is negative.
    let mtime = Timestamp { seconds: (1 << 32) + 1_000_000_000, nanoseconds: 123_456_789 };
    Metadata { mode, uid: 70_000, gid: 80_000, mtime, xattrs: BTreeMap::new() }
}

fn add(tree: &mut FileTree, path: &str, mode: u16, kind: Kind) -> InodeId {
    let path = TreePath::parse(path.as_bytes()).unwrap();
    tree.insert(path, Inode { metadata: metadata(mode), kind }, Owner::Stage("test".into())).unwrap()
}

fn empty() -> FileTree {
    FileTree::new(metadata(0o755), Owner::Stage("test".into()))
}

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content::inline(bytes))
}

/// A byte in every second block: as many extents as bytes, more than a tree of depth one holds.
fn scattered() -> Vec<u8> {
    let mut bytes = vec![0; 2 * BLOCK_LENGTH * 1500];
    bytes.iter_mut().step_by(2 * BLOCK_LENGTH).for_each(|byte| *byte = 1);
    bytes
}

const BLOCK_LENGTH: usize = geometry::BLOCK_LENGTH;

fn sample() -> FileTree {
    let mut tree = empty();
    add(&mut tree, "d", 0o750, Kind::Directory);
    let id = add(&mut tree, "d/file", 0o4640, file(b"content"));
    tree.link(TreePath::parse(b"link").unwrap(), id, Owner::Stage("test".into())).unwrap();
    add(&mut tree, "scattered", 0o644, file(&scattered()));
    add(&mut tree, "short", 0o777, Kind::Symlink(b"d/file".to_vec()));
    add(&mut tree, "long", 0o777, Kind::Symlink([&b"./".repeat(40)[..], b"d/file"].concat()));
    add(&mut tree, "null", 0o666, Kind::CharacterDevice(DeviceNumber { major: 1, minor: 3 }));
    add(&mut tree, "pipe", 0o600, Kind::Fifo);
    for number in 0..500 {
        add(&mut tree, &format!("d/a file with a longer name, number {number}"), 0o600, file(&[]));
    }
    tree
}

fn options() -> Options {
    let mut options = Options::new(
        ByteCount::from_mib(64),
        Uuid::from_bytes([7; 16]),
        Timestamp::from_seconds(1_780_000_000),
    );
    options.label = "state".to_owned();
    options
}

fn image(tree: &FileTree, options: &Options) -> Result<(Vec<u8>, Summary), WriteError> {
    let mut output = Cursor::new(vec![0; usize::try_from(options.size.get()).unwrap()]);
    let summary = write(tree, &NoContent, options, &mut output)?;
    Ok((output.into_inner(), summary))
}

#[test]
fn an_independent_reader_finds_what_the_tree_has() {
    let (bytes, _) = image(&sample(), &options()).unwrap();
    let read = Ext4::load(Box::new(bytes)).unwrap();
    assert_eq!(read.read("/d/file").unwrap(), b"content");
    assert_eq!(read.read("/link").unwrap(), b"content");
    assert_eq!(read.read("/short").unwrap(), b"content");
    assert_eq!(read.read("/long").unwrap(), b"content");
    assert!(read.read("/scattered").unwrap() == scattered());
    assert_eq!(read.read_dir("/d").unwrap().count(), 2 + 501);
    assert_eq!(read.read_dir("/").unwrap().count(), 2 + 9 - 1);
    let metadata = read.metadata("/d/file").unwrap();
    assert_eq!((metadata.mode(), metadata.uid(), metadata.gid()), (0o4640, 70_000, 80_000));
    assert_eq!(metadata.modified().seconds(), (1 << 32) + 1_000_000_000);
    assert_eq!(metadata.modified().nanoseconds(), 123_456_789);
    assert!(read.symlink_metadata("/short").unwrap().is_symlink());
}

#[test]
fn the_first_superblock_says_what_was_asked_for() {
    let (bytes, summary) = image(&empty(), &options()).unwrap();
    let word = |offset: usize| u32::from_le_bytes(bytes[1024 + offset..][..4].try_into().unwrap());
    let golden = [
        (0x00, "s_inodes_count", 1040),
        (0x04, "s_blocks_count_lo", 16_384),
        (0x0C, "s_free_blocks_count_lo", 15_281),
        (0x10, "s_free_inodes_count", 1029),
        (0x28, "s_inodes_per_group", 1040),
        (0x30, "s_wtime", 1_780_000_000),
        (0x5C, "s_feature_compat", 0x3C),
        (0x60, "s_feature_incompat", 0x2C2),
        (0x64, "s_feature_ro_compat", 0x46B),
        (0x78, "s_volume_name", u32::from_le_bytes(*b"stat")),
        (0xCC, "s_prealloc and s_reserved_gdt_blocks", 7 << 16),
        (0xE0, "s_journal_inum", 8),
        (0x15C, "s_min_extra_isize and s_want_extra_isize", 0x0020_0020),
    ];
    for (offset, field, value) in golden {
        assert_eq!(word(offset), value, "{offset:#x} {field}");
    }
    assert_eq!(summary.free.get(), 15_281 * 4096);
    assert_eq!(summary.free_inodes, 1029);
    assert!(summary.written.get() < 64 << 10, "{summary:?}");
}

#[test]
fn the_same_tree_makes_the_same_bytes() {
    let (bytes, _) = image(&sample(), &options()).unwrap();
    assert_eq!(Sha256Digest::of(&bytes).to_string(), PINNED);
}

const PINNED: &str = "845ac899c79cff9995e80a5f88c6c867564f727e5a77319d8c08ea9bdbfac617";

struct Bytes(&'static [u8]);

impl ContentSource for Bytes {
    fn open(&self, _key: &ContentKey) -> io::Result<Box<dyn io::Read + Send + '_>> {
        Ok(Box::new(self.0))
    }
}

#[test]
fn content_of_another_length_than_promised_is_refused() {
    for (size, message) in [
        (3, "`/f` holds more than the 3 bytes it should"),
        (5, "`/f` holds less than the 5 bytes it should"),
        (0, "`/f` holds more than the 0 bytes it should"),
    ] {
        let mut tree = empty();
        let key = ContentKey::new(&b"key"[..]);
        add(&mut tree, "f", 0o644, Kind::File(Content::Stored { key, size }));
        let mut output = Cursor::new(Vec::new());
        let error = write(&tree, &Bytes(b"four"), &options(), &mut output).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn too_small_a_size_says_how_much_it_takes() {
    let mut tree = empty();
    add(&mut tree, "f", 0o644, file(&vec![1; 60 << 20]));
    let error = image(&tree, &options()).unwrap_err();
    let WriteError::TooSmall { need, have } = error else { panic!("{error}") };
    assert_eq!(have, ByteCount::from_mib(64));
    assert!(need > have, "{need}");
    let roomy = Options { size: need.round_up(goni_model::size::Alignment::MIB).unwrap(), ..options() };
    assert!(image(&tree, &roomy).is_ok());
}

#[test]
fn what_ext4_cannot_hold_names_its_path() {
    for (kind, message) in [
        (Kind::Symlink(vec![]), "`/x` is a symbolic link to 0 bytes: 1 to 4095 are possible"),
        (
            Kind::BlockDevice(DeviceNumber { major: 4096, minor: 0 }),
            "`/x` is device 4096:0: possible is below 4096:1048576",
        ),
    ] {
        let mut tree = empty();
        add(&mut tree, "x", 0o644, kind);
        assert_eq!(image(&tree, &options()).unwrap_err().to_string(), message);
    }
}

#[test]
fn seconds_split_over_the_whole_range() {
    let split = |seconds| bytes::split_seconds(seconds).map(|(low, epoch)| (i32::from_le_bytes(low), epoch));
    assert_eq!(split(-1), Some((-1, 0)));
    assert_eq!(split(2_208_988_800), Some((-2_085_978_496, 1)));
    assert_eq!(split(15_032_385_535), Some((i32::MAX, 3)));
    assert_eq!(split(15_032_385_536), None);
    assert_eq!(split(-2_147_483_649), None);
}
