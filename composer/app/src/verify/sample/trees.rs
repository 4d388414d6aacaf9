//! Changes to trees.

use std::collections::BTreeMap;

use goni_disk::tree::{Content, FileTree, Inode, Kind, Metadata, Owner, TreePath};

use super::DATE;

/// Adds a file of root's, and the directories above it; or replaces one.
pub(in crate::verify) fn add(tree: &mut FileTree, place: &str, mode: u16, bytes: &[u8]) {
    put(tree, place, metadata(mode, 0, 0), Kind::File(Content::inline(bytes)));
}

/// Adds a symbolic link.
pub(in crate::verify) fn link(tree: &mut FileTree, place: &str, target: &str) {
    put(tree, place, metadata(0o777, 0, 0), Kind::Symlink(target.as_bytes().to_vec()));
}

/// Adds a directory, and those above it.
pub(in crate::verify) fn directory(tree: &mut FileTree, place: &str, mode: u16, uid: u32, gid: u32) {
    put(tree, place, metadata(mode, uid, gid), Kind::Directory);
}

/// Gives an entry another owner.
pub(in crate::verify) fn own(tree: &mut FileTree, place: &str, uid: u32, gid: u32) {
    let inode = tree.get_mut(&path(place)).unwrap();
    (inode.metadata.uid, inode.metadata.gid) = (uid, gid);
}

/// Gives an entry another mode.
pub(in crate::verify) fn chmod(tree: &mut FileTree, place: &str, mode: u16) {
    tree.get_mut(&path(place)).unwrap().metadata.mode = mode;
}

/// Replaces text in a file.
pub(in crate::verify) fn edit(tree: &mut FileTree, place: &str, from: &str, to: &str) {
    let Kind::File(Content::Inline(bytes)) = &mut tree.get_mut(&path(place)).unwrap().kind else {
        panic!("`{place}` is no file")
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "`{place}` has no `{from}`");
    *bytes = text.replace(from, to).into_bytes().into();
}

/// Adds anything.
pub(in crate::verify) fn put(tree: &mut FileTree, place: &str, metadata: Metadata, kind: Kind) {
    let path = path(place);
    let mut above: Vec<TreePath> = std::iter::successors(path.parent(), TreePath::parent).collect();
    above.reverse();
    for directory in above {
        if tree.get(&directory).is_none() {
            let inode = Inode { metadata: self::metadata(0o755, 0, 0), kind: Kind::Directory };
            tree.insert(directory, inode, owner()).unwrap();
        }
    }
    tree.insert(path, Inode { metadata, kind }, owner()).unwrap();
}

/// A path.
pub(in crate::verify) fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// Of a mode and owner.
pub(in crate::verify) fn metadata(mode: u16, uid: u32, gid: u32) -> Metadata {
    Metadata { mode, uid, gid, mtime: DATE, xattrs: BTreeMap::new() }
}

pub(super) fn owner() -> Owner {
    Owner::Stage("sample".into())
}
