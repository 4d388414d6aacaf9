//! Images, read back by a reader that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use goni_model::digest::Sha256Digest;
use goni_model::size::ByteCount;
use goni_model::time::Timestamp;
use uuid::Uuid;

use super::{Compression, Options, Summary, WriteError, write};
use crate::tree::{
    Content, ContentKey, ContentSource, DeviceNumber, FileTree, Inode, Kind, Metadata, NoContent, Owner,
    TreePath,
};

const BUILD_TIME: Timestamp = Timestamp::from_seconds(1_700_000_000);
const BOTH: [Compression; 2] = [Compression::None, Compression::Zstd { level: 3 }];

fn options(compression: Compression) -> Options {
    Options {
        compression,
        uuid: Uuid::from_bytes([0x11; 16]),
        volume_label: "root".into(),
        build_time: BUILD_TIME,
        capacity: None,
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn owner() -> Owner {
    Owner::Stage("test".into())
}

fn metadata(mode: u16) -> Metadata {
    Metadata { mode, uid: 0, gid: 0, mtime: BUILD_TIME, xattrs: BTreeMap::new() }
}

fn empty_tree() -> FileTree {
    FileTree::new(metadata(0o755), owner())
}

fn add(tree: &mut FileTree, name: &str, mode: u16, kind: Kind) {
    tree.insert(path(name), Inode { metadata: metadata(mode), kind }, owner()).unwrap();
}

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content::inline(bytes))
}

/// Bytes that do not compress: a linear congruential generator's.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(seed), step).skip(1).take(length).map(|state| state.to_be_bytes()[0]).collect()
}

/// Bytes that compress.
fn text(length: usize) -> Vec<u8> {
    (0_u64..).flat_map(|number| format!("line {number}\n").into_bytes()).take(length).collect()
}

fn image(tree: &FileTree, options: &Options) -> Vec<u8> {
    let mut output = Cursor::new(Vec::new());
    let summary = write(tree, &NoContent, options, &mut output).unwrap();
    let image = output.into_inner();
    assert_eq!(summary.size, ByteCount::new(image.len().try_into().unwrap()));
    assert_eq!(image.len() % 4096, 0);
    image
}

/// Everything the format can hold, with sizes around every boundary of it.
fn sample() -> FileTree {
    let mut tree = empty_tree();
    add(&mut tree, "dev", 0o755, Kind::Directory);
    add(&mut tree, "dev/console", 0o600, Kind::CharacterDevice(DeviceNumber { major: 5, minor: 1 }));
    add(&mut tree, "dev/disk", 0o660, Kind::BlockDevice(DeviceNumber { major: 4095, minor: 1_048_575 }));
    add(&mut tree, "dev/pipe", 0o622, Kind::Fifo);
    add(&mut tree, "tmp", 0o1777, Kind::Directory);
    for size in [0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 65_536, 65_537, 131_072, 131_073, 200_000, 400_000]
    {
        add(&mut tree, &format!("noise-{size}"), 0o644, file(&noise(size, 7)));
        add(&mut tree, &format!("text-{size}"), 0o4755, file(&text(size)));
    }
    add(&mut tree, "mixed", 0o644, file(&[noise(300_000, 1), vec![0; 600_000], text(70_000)].concat()));
    for length in [1, 4031, 4032, 4033, 4095] {
        add(&mut tree, &format!("link-{length}"), 0o777, Kind::Symlink(vec![b'x'; length]));
    }
    let id = tree.entry(&path("text-4097")).unwrap().inode;
    tree.link(path("tmp/again"), id, owner()).unwrap();
    let odd = &mut tree.get_mut(&path("text-200000")).unwrap().metadata;
    (odd.uid, odd.gid) = (100_000, 4_294_967_294);
    odd.mtime = Timestamp { seconds: -5, nanoseconds: 999_999_999 };
    tree
}

/// What a reader finds at every path, as text.
fn listing(image: &[u8]) -> BTreeMap<String, String> {
    let erofs = EroFS::new(SliceImage::new(image)).unwrap();
    let mut found = BTreeMap::new();
    for entry in erofs.walk_dir("/").unwrap() {
        let entry = entry.unwrap();
        let inode = entry.inode;
        let mut bytes = Vec::new();
        if inode.is_file() {
            erofs.open_inode_file(inode).unwrap().read_to_end(&mut bytes).unwrap();
        } else if inode.is_symlink() {
            bytes = erofs.read_link_inode(inode).unwrap().into_vec();
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&inode.permissions());
        let line = format!(
            "{:?} {mode:o} {}:{} x{} {:?} {:?} {:?} {}",
            inode.file_type(),
            inode.uid(),
            inode.gid(),
            inode.nlink(),
            inode.modified_unix(),
            inode.device(),
            erofs.xattrs_inode(inode).unwrap(),
            Sha256Digest::of(&bytes),
        );
        found.insert(entry.dir_entry.path().to_string_lossy().into_owned(), line);
    }
    found
}

/// What a reader should find.
fn expected(tree: &FileTree) -> BTreeMap<String, String> {
    let mut names: BTreeMap<usize, u32> = BTreeMap::new();
    for (path, entry) in tree.iter() {
        let own = if matches!(tree.inode(entry.inode).kind, Kind::Directory) { 2 } else { 1 };
        *names.entry(entry.inode.index()).or_default() += own;
        if own == 2
            && let Some(parent) = path.parent()
        {
            *names.entry(tree.entry(&parent).unwrap().inode.index()).or_default() += 1;
        }
    }
    tree.iter()
        .filter(|(path, _)| !path.is_root())
        .map(|(path, entry)| {
            let Inode { metadata, kind } = tree.inode(entry.inode);
            let (kind, bytes, device) = match kind {
                Kind::Directory => ("Directory", &b""[..], None),
                Kind::File(Content::Inline(bytes)) => ("RegularFile", &bytes[..], None),
                Kind::File(Content::Stored { .. }) => unreachable!("samples are inline"),
                Kind::Symlink(target) => ("Symlink", &target[..], None),
                Kind::CharacterDevice(device) => {
                    ("CharacterDevice", &b""[..], Some((device.major, device.minor)))
                }
                Kind::BlockDevice(device) => ("BlockDevice", &b""[..], Some((device.major, device.minor))),
                Kind::Fifo => ("Fifo", &b""[..], None),
            };
            let line = format!(
                "{kind} {:o} {}:{} x{} {:?} {device:?} {:?} {}",
                metadata.mode,
                metadata.uid,
                metadata.gid,
                names[&entry.inode.index()],
                (metadata.mtime.seconds, metadata.mtime.nanoseconds),
                metadata.xattrs,
                Sha256Digest::of(bytes),
            );
            (path.to_string(), line)
        })
        .collect()
}

fn assert_reads_back(tree: &FileTree) {
    for compression in BOTH {
        let image = image(tree, &options(compression));
        let (found, expected) = (listing(&image), expected(tree));
        let paths = |lines: &BTreeMap<String, String>| lines.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(paths(&found), paths(&expected));
        for (path, line) in expected {
            assert_eq!(found[&path], line, "{path} with {compression:?}");
        }
    }
}

#[test]
fn another_reader_finds_everything_the_tree_has() {
    assert_reads_back(&sample());
}

#[test]
fn extended_attributes_larger_than_a_block_read_back() {
    let mut tree = sample();
    for name in ["tmp", "noise-1", "noise-4096", "noise-65537", "text-400000", "link-4031", "dev/pipe"] {
        let xattrs = &mut tree.get_mut(&path(name)).unwrap().metadata.xattrs;
        xattrs.insert(b"security.capability".to_vec(), vec![1, 0, 0, 2]);
        xattrs.insert(b"system.posix_acl_access".to_vec(), noise(28, 3));
        xattrs.insert(b"trusted.overlay.opaque".to_vec(), Vec::new());
        xattrs.insert(b"user.long".to_vec(), noise(9001, 4));
    }
    assert_reads_back(&tree);
}

#[test]
fn a_directory_of_many_blocks_reads_back_and_finds_by_name() {
    let mut tree = empty_tree();
    add(&mut tree, "d", 0o755, Kind::Directory);
    let names: Vec<String> = (0..6000).map(|n| format!("d/an entry with a name {n}")).collect();
    for name in names.iter().map(String::as_str).chain(["d/!", "d/-x", "d/...", "d/..a", "d/.a"]) {
        add(&mut tree, name, 0o644, file(name.as_bytes()));
    }
    assert_reads_back(&tree);
    let image = image(&tree, &options(Compression::default()));
    let erofs = EroFS::new(SliceImage::new(&image)).unwrap();
    let mut found = String::new();
    erofs.open("/d/an entry with a name 4711").unwrap().read_to_string(&mut found).unwrap();
    assert_eq!(found, "d/an entry with a name 4711");
}

/// A small tree whose image is taken apart and pinned below.
fn golden() -> FileTree {
    let mut tree = empty_tree();
    add(&mut tree, "a", 0o640, file(b"hello"));
    add(&mut tree, "b", 0o777, Kind::Symlink(b"a".to_vec()));
    tree.get_mut(&path("a")).unwrap().metadata.uid = 70_000;
    tree
}

/// Lines of offset, field and value, from a table of field widths.
fn disassemble(image: &[u8], mut offset: usize, fields: &[(&str, usize)]) -> String {
    let mut lines = String::new();
    for (field, width) in fields {
        let value: String =
            image[offset..offset + width].iter().rev().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{offset:#06x} {field} {value}\n"));
        offset += width;
    }
    lines
}

const SUPER_BLOCK: [(&str, usize); 24] = [
    ("magic", 4),
    ("checksum", 4),
    ("feature_compat", 4),
    ("blkszbits", 1),
    ("sb_extslots", 1),
    ("root_nid", 2),
    ("inos", 8),
    ("build_time", 8),
    ("build_time_nsec", 4),
    ("blocks", 4),
    ("meta_blkaddr", 4),
    ("xattr_blkaddr", 4),
    ("uuid", 16),
    ("volume_name", 16),
    ("feature_incompat", 4),
    ("available_compr_algs", 2),
    ("extra_devices", 2),
    ("devt_slotoff", 2),
    ("dirblkbits", 1),
    ("xattr_prefix_count", 1),
    ("xattr_prefix_start", 4),
    ("packed_nid", 8),
    ("reserved2", 24),
    ("zstd_cfgs", 8),
];

const COMPACT: [(&str, usize); 11] = [
    ("i_format", 2),
    ("i_xattr_icount", 2),
    ("i_mode", 2),
    ("i_nlink", 2),
    ("i_size", 4),
    ("i_reserved", 4),
    ("i_u", 4),
    ("i_ino", 4),
    ("i_uid", 2),
    ("i_gid", 2),
    ("i_reserved2", 4),
];

const EXTENDED: [(&str, usize); 13] = [
    ("i_format", 2),
    ("i_xattr_icount", 2),
    ("i_mode", 2),
    ("i_reserved", 2),
    ("i_size", 8),
    ("i_u", 4),
    ("i_ino", 4),
    ("i_uid", 4),
    ("i_gid", 4),
    ("i_mtime", 8),
    ("i_mtime_nsec", 4),
    ("i_nlink", 4),
    ("fragment", 24),
];

#[test]
fn a_small_image_is_laid_out_as_the_format_says() {
    let image = image(&golden(), &options(Compression::default()));
    let inodes = 2 * 4096;
    let mut lines = disassemble(&image, 1024, &SUPER_BLOCK);
    lines.push_str(&disassemble(&image, inodes + 64, &COMPACT));
    lines.push_str(&disassemble(&image, inodes + 160, &EXTENDED));
    assert_eq!(lines, include_str!("golden.txt"));
}

#[test]
fn images_are_the_bytes_they_were() {
    let digests =
        BOTH.map(|compression| Sha256Digest::of(&image(&sample(), &options(compression))).to_string());
    assert_eq!(
        digests,
        [
            "45ddc6fc31f150b4ce944cab74b942183e5990386f62a4e903df02ff802760fc",
            "b723cdd691d1cf7815ff395795a31b05296c1b3d60d49a85ece3a0824833a949"
        ]
    );
}

#[test]
fn the_number_of_threads_does_not_show() {
    let tree = sample();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| image(&tree, &options(Compression::default())))
    };
    assert!(with(1) == with(3));
}

/// A source of endless zeros under every key, cut at a length.
struct Zeros(u64);

impl ContentSource for Zeros {
    fn open(&self, _: &ContentKey) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(io::repeat(0).take(self.0)))
    }
}

fn stored(size: u64) -> FileTree {
    let mut tree = empty_tree();
    add(&mut tree, "f", 0o644, Kind::File(Content::Stored { key: ContentKey::new(&b"k"[..]), size }));
    tree
}

fn write_stored(declared: u64, found: u64, compression: Compression) -> Result<Summary, WriteError> {
    write(&stored(declared), &Zeros(found), &options(compression), &mut Cursor::new(Vec::new()))
}

#[test]
fn a_source_that_ends_early_or_goes_on_is_refused() {
    for compression in BOTH {
        for size in [5, 4096, 131_072, 9_000_000] {
            let short = write_stored(size, size - 1, compression).unwrap_err().to_string();
            assert_eq!(short, format!("`/f` is declared to have {size} bytes, and ends after {}", size - 1));
            let long = write_stored(size, size + 1, compression).unwrap_err().to_string();
            assert_eq!(long, format!("`/f` is declared to have {size} bytes, and goes on"));
        }
    }
}

#[test]
fn a_key_the_source_does_not_hold_names_the_file() {
    let missing = write(&stored(1), &NoContent, &options(BOTH[1]), &mut Cursor::new(Vec::new())).unwrap_err();
    assert_eq!(missing.to_string(), "reading the content of `/f`");
}

#[test]
fn zeros_take_one_block_however_many_they_are() {
    let summary = write_stored(256 << 20, 256 << 20, Compression::default()).unwrap();
    // Superblock, one block of zeros, and the index: 8 bytes for each of 65536 blocks.
    assert_eq!(summary.size, ByteCount::new((1 + 1 + 129) * 4096));
}

/// A source of the same bytes under every key.
struct Held(Vec<u8>);

impl ContentSource for Held {
    fn open(&self, _: &ContentKey) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(&self.0[..]))
    }
}

#[test]
fn files_with_one_key_share_their_blocks() {
    let held = Held(noise(1 << 20, 5));
    for compression in BOTH {
        let mut tree = stored(1 << 20);
        let one = write(&tree, &held, &options(compression), &mut Cursor::new(Vec::new())).unwrap();
        let kind = tree.get(&path("f")).unwrap().kind.clone();
        add(&mut tree, "g", 0o600, kind);
        let mut output = Cursor::new(Vec::new());
        let two = write(&tree, &held, &options(compression), &mut output).unwrap();
        assert_eq!(two.size, one.size, "{compression:?}");
        let listing = listing(&output.into_inner());
        let digest = Sha256Digest::of(&held.0).to_string();
        assert!(listing["/f"].ends_with(&digest) && listing["/g"].ends_with(&digest));
    }
}

#[test]
fn an_image_over_its_capacity_says_what_it_needs_and_writes_no_further() {
    let tree = sample();
    for compression in BOTH {
        let need = ByteCount::new(image(&tree, &options(compression)).len().try_into().unwrap());
        let have = ByteCount::new(need.get() - 4096);
        let mut output = Cursor::new(Vec::new());
        let tight = Options { capacity: Some(have), ..options(compression) };
        let error = write(&tree, &NoContent, &tight, &mut output).unwrap_err().to_string();
        assert_eq!(error, format!("the EROFS image needs {need}, and has {have}"));
        assert!(output.into_inner().len() <= goni_model::number::to_usize(have.get()));
        let exact = Options { capacity: Some(need), ..options(compression) };
        assert_eq!(write(&tree, &NoContent, &exact, &mut Cursor::new(Vec::new())).unwrap().size, need);
    }
}

/// An output that notes where it was written to.
#[derive(Default)]
struct Recorder {
    position: u64,
    writes: Vec<(u64, u64)>,
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.position + u64::try_from(bytes.len()).unwrap();
        self.writes.push((self.position, end));
        self.position = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Recorder {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(0) => self.position,
            other => panic!("{other:?}"),
        };
        Ok(self.position)
    }
}

#[test]
fn every_block_is_written_once_in_order_and_the_first_one_last() {
    let start = 1 << 20;
    let mut output = Recorder { position: start, ..Recorder::default() };
    let summary = write(&sample(), &NoContent, &options(Compression::default()), &mut output).unwrap();
    let end = start + summary.size.get();
    assert_eq!(output.position, end);
    assert_eq!(output.writes.pop(), Some((start, start + 4096)));
    let reached = output.writes.iter().fold(start + 4096, |reached, (from, to)| {
        assert_eq!(*from, reached);
        *to
    });
    assert_eq!(reached, end);
}

#[test]
fn what_the_format_cannot_hold_is_refused_by_name() {
    let refuse = |change: &dyn Fn(&mut FileTree, &mut Options)| {
        let (mut tree, mut options) = (golden(), options(Compression::None));
        change(&mut tree, &mut options);
        write(&tree, &NoContent, &options, &mut Cursor::new(Vec::new())).unwrap_err().to_string()
    };
    let xattr = |tree: &mut FileTree, name: &[u8], size: usize| {
        tree.get_mut(&path("a")).unwrap().metadata.xattrs.insert(name.to_vec(), vec![0; size]);
    };
    let too_large =
        "`/a` has too many bytes of extended attributes, with `user.x`: 65535 each, 262148 an inode";
    assert_eq!(refuse(&|tree, _| xattr(tree, b"user.x", 65_536)), too_large);
    let unknown = refuse(&|tree, _| xattr(tree, b"system.nfs4_acl", 1));
    assert_eq!(unknown, "EROFS cannot keep the extended attribute `system.nfs4_acl` of `/a`");
    let link = refuse(&|tree, _| add(tree, "c", 0o777, Kind::Symlink(vec![b'x'; 4096])));
    assert!(link.starts_with("the target of symbolic link `/c` has 4096 bytes"), "{link}");
    let device = Kind::BlockDevice(DeviceNumber { major: 4096, minor: 0 });
    let device = refuse(&|tree, _| add(tree, "c", 0o600, device.clone()));
    assert!(device.starts_with("device 4096:0 of `/c` is out of range"), "{device}");
    let label = refuse(&|_, options| options.volume_label = "seventeen letters".into());
    assert_eq!(label, "volume label `seventeen letters` has over 16 bytes");
    let time = refuse(&|_, options| options.build_time = Timestamp::from_seconds(-1));
    assert_eq!(time, "build time -1 is before 1970");
    let level = refuse(&|_, options| options.compression = Compression::Zstd { level: 23 });
    assert_eq!(level, "zstd level 23 is not one of 1 to 22");
    let linked = refuse(&|tree, _| {
        add(tree, "d", 0o755, Kind::Directory);
        let id = tree.entry(&path("d")).unwrap().inode;
        tree.link(path("e"), id, owner()).unwrap();
    });
    assert_eq!(linked, "`/e` is another name of a directory");
}

#[test]
fn what_files_take_adds_up_to_no_more_than_is_written() {
    for compression in BOTH {
        let mut tree = empty_tree();
        add(&mut tree, "noise", 0o644, file(&noise(300_000, 1)));
        add(&mut tree, "small", 0o644, file(&text(3_000)));
        add(&mut tree, "text", 0o644, file(&text(500_000)));
        add(&mut tree, "the same", 0o644, file(&text(500_000)));
        let mut output = Cursor::new(Vec::new());
        let summary = write(&tree, &NoContent, &options(compression), &mut output).unwrap();
        let stored: BTreeMap<String, u64> =
            summary.stored.iter().map(|(path, bytes)| (path.to_string(), *bytes)).collect();
        assert_eq!(stored.keys().collect::<Vec<_>>(), ["/noise", "/small", "/text"]);
        assert!(stored["/noise"] >= 300_000 && stored["/noise"] < 310_000, "{stored:?}");
        let packed = matches!(compression, Compression::Zstd { .. });
        assert_eq!(stored["/text"] < 250_000, packed, "{stored:?}");
        // Packed, it has the share of its length of what it and the end of the noise take together.
        assert!((2_900..=4_096).contains(&stored["/small"]), "{stored:?}");
        let sum: u64 = stored.values().sum();
        assert!(sum <= summary.size.get() && summary.size.get() - sum < 5 * 4096, "{sum} of {summary:?}");
    }
}
