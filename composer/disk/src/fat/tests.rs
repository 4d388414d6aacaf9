//! Tests of the whole writer, against an independent reader.

use std::collections::BTreeMap;
use std::io::Cursor;

use goni_model::digest::Sha256Digest;

use super::*;
use crate::tree::{Inode, Kind, Metadata, NoContent, Owner};

fn add(tree: &mut FileTree, path: &str, kind: Kind) {
    let metadata = root();
    let path = TreePath::parse(path.as_bytes()).unwrap();
    tree.insert(path, Inode { metadata, kind }, Owner::Stage("test".into())).unwrap();
}

fn root() -> Metadata {
    Metadata { mode: 0o755, uid: 0, gid: 0, mtime: Timestamp::from_seconds(0), xattrs: BTreeMap::new() }
}

fn empty() -> FileTree {
    FileTree::new(root(), Owner::Stage("test".into()))
}

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content::inline(bytes))
}

const LONG: &str = "ünï — a name far longer than eight and three.text";

fn sample() -> FileTree {
    let mut tree = empty();
    add(&mut tree, "EFI", Kind::Directory);
    add(&mut tree, "EFI/BOOT", Kind::Directory);
    add(&mut tree, "EFI/BOOT/BOOTX64.EFI", file(&[7; 70_000]));
    add(&mut tree, "empty", file(b""));
    add(&mut tree, LONG, file(b"long"));
    tree
}

fn options(mebibytes: u32, sector_size: SectorSize) -> Options {
    Options {
        size: ByteCount::from_mib(mebibytes),
        sector_size,
        volume_id: 0x1234_5678,
        label: "ESP".to_owned(),
        build_time: Timestamp::from_seconds(1_780_000_000),
    }
}

fn image(tree: &FileTree, options: &Options) -> Result<Vec<u8>, WriteError> {
    let mut output = Cursor::new(vec![0; usize::try_from(options.size.get()).unwrap()]);
    write(tree, &NoContent, options, &mut output)?;
    Ok(output.into_inner())
}

#[test]
fn an_independent_reader_finds_what_the_tree_has() {
    for options in [options(64, SectorSize::B512), options(300, SectorSize::B4096)] {
        let bytes = image(&sample(), &options).unwrap();
        let disk = fatfs::FileSystem::new(Cursor::new(bytes), fatfs::FsOptions::new()).unwrap();
        assert_eq!((disk.volume_label(), disk.volume_id()), ("ESP".to_owned(), 0x1234_5678));
        assert_eq!(disk.fat_type(), fatfs::FatType::Fat32);
        let names: Vec<String> = disk.root_dir().iter().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["EFI", "empty", LONG]);
        for (path, content) in [("EFI/BOOT/BOOTX64.EFI", &[7; 70_000][..]), ("empty", b""), (LONG, b"long")] {
            let mut read = Vec::new();
            disk.root_dir().open_file(path).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == content, "{path}");
        }
    }
}

#[test]
fn the_boot_sector_says_what_was_asked_for() {
    let bytes = image(&empty(), &options(512, SectorSize::B512)).unwrap();
    let word = |offset: usize| u32::from_le_bytes(bytes[offset..][..4].try_into().unwrap());
    for (offset, field, value) in [
        (32, "BPB_TotSec32", 1_048_576),
        (36, "BPB_FATSz32", 1022),
        (44, "BPB_RootClus", 2),
        (67, "BS_VolID", 0x1234_5678),
        (512 + 488, "FSI_Free_Count", 130_811),
        (512 + 492, "FSI_Nxt_Free", 3),
    ] {
        assert_eq!(word(offset), value, "{offset} {field}");
    }
    assert_eq!((bytes[13], bytes[16], &bytes[510..512]), (8, 2, &[0x55, 0xAA][..]));
    assert_eq!(bytes[..1024], bytes[6 * 512..8 * 512]);
}

#[test]
fn the_same_tree_makes_the_same_bytes() {
    let bytes = image(&sample(), &options(64, SectorSize::B512)).unwrap();
    assert_eq!(Sha256Digest::of(&bytes).to_string(), PINNED);
}

const PINNED: &str = "e358ea3977a88581fd8fb9defbbb364635dcb5cbec0201ef5bcb1d9d07c143be";

#[test]
fn a_size_that_fat32_does_not_come_in_is_refused() {
    let error = image(&empty(), &options(64, SectorSize::B4096)).unwrap_err();
    assert_eq!(error.to_string(), "the file system needs 262816KiB, and has 64MiB");
    let mut tree = empty();
    add(&mut tree, "f", file(&vec![1; 64 << 20]));
    let error = image(&tree, &options(64, SectorSize::B512)).unwrap_err();
    let WriteError::TooSmall { need, .. } = error else { panic!("{error}") };
    let roomy = Options { size: need, ..options(64, SectorSize::B512) };
    assert!(image(&tree, &roomy).is_ok());
}

#[test]
fn what_fat_cannot_hold_names_its_path() {
    for (path, kind, message) in [
        ("l", Kind::Symlink(b"x".to_vec()), "`/l` is a symbolic link, which FAT cannot hold"),
        ("p", Kind::Fifo, "`/p` is a named pipe, which FAT cannot hold"),
        ("a:b", file(b""), "`/a:b` cannot be named so on FAT"),
        ("dot.", file(b""), "`/dot.` cannot be named so on FAT"),
        ("efi", file(b""), "`/efi` and `/EFI` are one name on FAT"),
    ] {
        let mut tree = sample();
        add(&mut tree, path, kind);
        let error = image(&tree, &options(64, SectorSize::B512)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}
