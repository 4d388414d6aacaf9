use std::collections::BTreeMap;

use goni_model::digest::Sha256Digest;
use goni_model::time::Timestamp;

use super::*;
use crate::tree::{ContentKey, Metadata, NoContent, Owner};

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn inode(mode: u16, kind: Kind) -> Inode {
    let mtime = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
    Inode { metadata: Metadata { mode, uid: 1, gid: 70000, mtime, xattrs: BTreeMap::new() }, kind }
}

fn owner() -> Owner {
    Owner::Stage("test".into())
}

fn tree_of(entries: Vec<(&str, u16, Kind)>) -> FileTree {
    let mut tree = FileTree::new(inode(0o755, Kind::Directory).metadata, owner());
    for (name, mode, kind) in entries {
        tree.insert(path(name), inode(mode, kind), owner()).unwrap();
    }
    tree
}

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content::inline(bytes))
}

/// One of everything; the set-user-id file has three names.
fn sample() -> FileTree {
    let mut tree = tree_of(vec![
        ("dev", 0o755, Kind::Directory),
        ("dev/console", 0o600, Kind::CharacterDevice(DeviceNumber { major: 5, minor: 1 })),
        ("dev/disk", 0o660, Kind::BlockDevice(DeviceNumber { major: 300, minor: 70000 })),
        ("empty", 0o644, file(b"")),
        ("fifo", 0o600, Kind::Fifo),
        ("init", 0o777, Kind::Symlink(b"usr/lib/systemd/systemd".to_vec())),
        ("first", 0o4755, file(b"hello")),
    ]);
    let id = tree.entry(&path("first")).unwrap().inode;
    tree.link(path("dev/second"), id, owner()).unwrap();
    tree.link(path("third"), id, owner()).unwrap();
    tree
}

fn written(tree: &FileTree) -> Vec<u8> {
    let mut archive = Vec::new();
    write(tree, &NoContent, &mut archive).unwrap();
    archive
}

/// Reads an archive that follows the specification to the letter, as a line for each entry.
fn read(mut archive: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut take = |length: usize| {
        let (taken, rest) = archive.split_at(length);
        archive = rest;
        taken
    };
    loop {
        assert_eq!(take(6), b"070701");
        let [ino, mode, uid, gid, nlink, mtime, filesize, maj, min, rmaj, rmin, namesize, chksum]: [u32; 13] =
            std::array::from_fn(|_| u32::from_str_radix(std::str::from_utf8(take(8)).unwrap(), 16).unwrap());
        assert_eq!((maj, min, chksum), (0, 0, 0));
        let mut aligned = |header: usize, length: u32| {
            let length = usize::try_from(length).unwrap();
            let bytes = take(length);
            let padding = (header + length).next_multiple_of(4) - header - length;
            assert_eq!(take(padding), &[0; 4][..padding]);
            bytes
        };
        let name = aligned(110, namesize).strip_suffix(b"\0").unwrap().escape_ascii();
        let content = aligned(0, filesize).escape_ascii();
        lines.push(format!("{ino} {mode:o} {uid}:{gid} x{nlink} @{mtime} {rmaj},{rmin} {name} `{content}`"));
        if lines.last().unwrap().contains("TRAILER!!!") {
            assert!(archive.is_empty());
            return lines;
        }
    }
}

#[test]
fn an_archive_holds_the_tree() {
    assert_eq!(
        read(&written(&sample())),
        [
            "1 40755 1:70000 x2 @1700000000 0,0 . ``",
            "2 40755 1:70000 x2 @1700000000 0,0 dev ``",
            "3 20600 1:70000 x1 @1700000000 5,1 dev/console ``",
            "4 60660 1:70000 x1 @1700000000 300,70000 dev/disk ``",
            "5 104755 1:70000 x3 @1700000000 0,0 dev/second ``",
            "6 100644 1:70000 x1 @1700000000 0,0 empty ``",
            "7 10600 1:70000 x1 @1700000000 0,0 fifo ``",
            "5 104755 1:70000 x3 @1700000000 0,0 first ``",
            "8 120777 1:70000 x1 @1700000000 0,0 init `usr/lib/systemd/systemd`",
            "5 104755 1:70000 x3 @1700000000 0,0 third `hello`",
            "0 0 0:0 x1 @0 0,0 TRAILER!!! ``",
        ]
    );
}

#[test]
fn an_archive_keeps_its_digest() {
    assert_eq!(
        Sha256Digest::of(&written(&sample())).to_string(),
        "41f2381ff448406922263c558e49e183cbac3779298df6bd0f4157cf803687e2"
    );
}

#[test]
fn inodes_without_a_name_leave_no_gap() {
    let mut tree = tree_of(vec![("a", 0o644, file(b"a")), ("b", 0o644, file(b"b"))]);
    tree.remove(&path("a")).unwrap();
    let lines = read(&written(&tree));
    assert_eq!(lines[1], "2 100644 1:70000 x1 @1700000000 0,0 b `b`");
}

/// A source whose contents are this long, whatever the tree says.
struct Lengths(usize);

impl ContentSource for Lengths {
    fn open(&self, _: &ContentKey) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(io::Cursor::new(vec![b'x'; self.0])))
    }
}

#[test]
fn a_content_of_another_length_than_the_tree_says_is_refused() {
    let key = ContentKey::new(&b"key"[..]);
    let tree = tree_of(vec![("big", 0o644, Kind::File(Content::Stored { key, size: 100_000 }))]);
    let result = |length| write(&tree, &Lengths(length), &mut Vec::new()).map_err(|error| error.to_string());
    assert_eq!(result(100_000), Ok(()));
    assert_eq!(
        result(99_999),
        Err("the content of `/big` is shorter than the 100000 bytes it should have".into())
    );
    assert_eq!(
        result(100_001),
        Err("the content of `/big` is longer than the 100000 bytes it should have".into())
    );
    let missing = write(&tree, &NoContent, &mut Vec::new()).unwrap_err();
    assert_eq!(missing.to_string(), "reading the content of `/big`");
}

#[test]
fn what_the_format_or_the_kernel_cannot_hold_is_refused() {
    let key = ContentKey::new(&b"key"[..]);
    for (kind, message) in [
        (
            Kind::File(Content::Stored { key, size: 1 << 32 }),
            "`/x` has size 4294967296, which a cpio archive cannot hold",
        ),
        (Kind::Symlink(Vec::new()), "symbolic link `/x` has a target of 0 bytes: 1 to 4095 can be unpacked"),
        (
            Kind::Symlink(vec![b'x'; 4096]),
            "symbolic link `/x` has a target of 4096 bytes: 1 to 4095 can be unpacked",
        ),
    ] {
        let tree = tree_of(vec![("x", 0o644, kind)]);
        let error = write(&tree, &NoContent, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    for seconds in [-1, 1 << 32] {
        let mut tree = tree_of(vec![("x", 0o644, Kind::Fifo)]);
        tree.get_mut(&path("x")).unwrap().metadata.mtime = Timestamp::from_seconds(seconds);
        let error = write(&tree, &NoContent, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), format!("`/x` has time {seconds}, which a cpio archive cannot hold"));
    }
}
