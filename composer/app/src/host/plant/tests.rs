use std::collections::BTreeMap;

use goni_disk::tree::{ContentKey, DeviceNumber, Owner};
use goni_model::time::Timestamp;

use super::*;

fn inode(kind: Kind) -> Inode {
    let mtime = Timestamp { seconds: 7, nanoseconds: 9 };
    Inode { metadata: Metadata { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }, kind }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// Plants a tree of one entry `x` under the name given, and returns what it says.
fn plant_one(kind: Kind, name: &'static str) -> Result<(), String> {
    let place = tempfile::tempdir().unwrap();
    let owner = Owner::Stage("test".into());
    let mut tree = FileTree::new(inode(Kind::Directory).metadata, owner.clone());
    tree.insert(path("x"), inode(kind), owner).unwrap();
    let blobs = Blobs::create(&place.path().join("blobs")).unwrap();
    blobs.write("blob", &mut &b"bytes"[..]).unwrap();
    let planted = plant(&tree, &blobs, &place.path().join("root"), &|_| name.as_bytes().to_vec());
    assert!(!place.path().join("y").exists(), "nothing appears beside the root");
    planted.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

#[test]
fn devices_and_contents_that_are_no_blobs_are_not_planted() {
    let device = Kind::CharacterDevice(DeviceNumber { major: 1, minor: 3 });
    let refused = plant_one(device, "x");
    assert_eq!(refused, Err("`/x` is a character device, which is not planted".to_owned()));
    let elsewhere = Content::Stored { key: ContentKey::new(*b"../blobs/blob"), size: 5 };
    let refused = plant_one(Kind::File(elsewhere), "x");
    assert_eq!(refused, Err("`/x` is a file without a blob, which is not planted".to_owned()));
}

#[test]
fn a_name_that_leads_elsewhere_is_not_planted() {
    for name in ["../y", "..", "/y", ""] {
        let refused = plant_one(Kind::Directory, name);
        assert_eq!(refused, Err("`/x` is a name that leads elsewhere, which is not planted".to_owned()));
    }
}

#[test]
fn an_entry_that_is_there_already_is_not_replaced() {
    let place = tempfile::tempdir().unwrap();
    let owner = Owner::Stage("test".into());
    let mut tree = FileTree::new(inode(Kind::Directory).metadata, owner.clone());
    for name in ["a", "b"] {
        let kind = Kind::File(Content::inline(name.as_bytes()));
        tree.insert(path(name), inode(kind), owner.clone()).unwrap();
    }
    let blobs = Blobs::create(&place.path().join("blobs")).unwrap();
    let root = place.path().join("root");
    let error = plant(&tree, &blobs, &root, &|_| b"same".to_vec()).unwrap_err();
    assert_eq!(error.to_string(), "planting `/b`");
    assert_eq!(std::fs::read(root.join("same")).unwrap(), b"a");
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    use std::os::unix::fs::MetadataExt as _;
    let place = tempfile::tempdir().unwrap();
    let owner = Owner::Stage("test".into());
    let mut tree = FileTree::new(inode(Kind::Directory).metadata, owner.clone());
    tree.insert(path("d"), inode(Kind::Directory), owner.clone()).unwrap();
    tree.insert(path("d/l"), inode(Kind::Symlink(b"nowhere".to_vec())), owner).unwrap();
    let blobs = Blobs::create(&place.path().join("blobs")).unwrap();
    let root = place.path().join("root");
    plant(&tree, &blobs, &root, &|path| path.name().to_vec()).unwrap();
    for name in ["", "d", "d/l"] {
        let metadata = std::fs::symlink_metadata(root.join(name)).unwrap();
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (7, 9), "{name}");
    }
}
