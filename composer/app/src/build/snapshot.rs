//! A configured tree, kept: metadata in one file beside the directory that holds the bytes.

use std::collections::BTreeMap;

use goni_disk::tree::{
    Content, ContentKey, Deed, DeviceNumber, FileTree, Hand, Inode, InodeId, Kind, Metadata, Owner, TreePath,
};
use goni_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A tree as text: entries in order; the first of an inode carries it, later ones name the first. Behind
/// them, what befell the paths of which there is more to say than their owner.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot(Vec<Line>, Vec<(Vec<u8>, Vec<KeptHand>)>);

/// A deed: whose, which of [`Deed::ALL`], and why.
#[derive(Debug, Serialize, Deserialize)]
struct KeptHand(Kept, usize, Option<String>);

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    path: Vec<u8>,
    owner: Kept,
    inode: Result<KeptInode, usize>,
}

/// Who put an entry there: kind and name.
#[derive(Debug, Serialize, Deserialize)]
enum Kept {
    Package(String),
    Overlay(String),
    Payload(String),
    Stage(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptInode {
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    kind: KeptKind,
}

#[derive(Debug, Serialize, Deserialize)]
enum KeptKind {
    Directory,
    Inline(Vec<u8>),
    Stored { key: Vec<u8>, size: u64 },
    Symlink(Vec<u8>),
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// Text that is no tree.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// Not the text of one.
    #[error("reading a kept tree")]
    Text(#[from] serde_json::Error),
    /// A path, a link or an order that no tree has.
    #[error("a kept tree contradicts itself at entry {0}")]
    Entry(usize),
}

/// The text of a tree.
pub(super) fn write(tree: &FileTree) -> Result<Vec<u8>, SnapshotError> {
    let mut first: BTreeMap<InodeId, usize> = BTreeMap::new();
    let lines = tree.iter().enumerate().map(|(index, (path, entry))| Line {
        path: path.as_bytes().to_vec(),
        owner: kept_owner(&entry.owner),
        inode: match first.get(&entry.inode) {
            Some(first) => Err(*first),
            None => {
                first.insert(entry.inode, index);
                Ok(keep(tree.inode(entry.inode)))
            }
        },
    });
    let hand = |hand: &Hand| {
        let deed = Deed::ALL.iter().position(|deed| *deed == hand.deed).unwrap_or_default();
        KeptHand(kept_owner(&hand.owner), deed, hand.why.as_deref().map(str::to_owned))
    };
    let history = tree
        .histories()
        .map(|(path, hands)| (path.as_bytes().to_vec(), hands.iter().map(hand).collect()))
        .collect();
    Ok(serde_json::to_vec(&Snapshot(lines.collect(), history))?)
}

fn kept_owner(owner: &Owner) -> Kept {
    match owner {
        Owner::Package(name) => Kept::Package(name.to_string()),
        Owner::Overlay(name) => Kept::Overlay(name.to_string()),
        Owner::Payload(name) => Kept::Payload(name.to_string()),
        Owner::Stage(name) => Kept::Stage(name.to_string()),
    }
}

fn keep(inode: &Inode) -> KeptInode {
    let Metadata { mode, uid, gid, mtime, xattrs } = &inode.metadata;
    let kind = match &inode.kind {
        Kind::Directory => KeptKind::Directory,
        Kind::File(Content::Inline(bytes)) => KeptKind::Inline(bytes.to_vec()),
        Kind::File(Content::Stored { key, size }) => {
            KeptKind::Stored { key: key.as_bytes().to_vec(), size: *size }
        }
        Kind::Symlink(target) => KeptKind::Symlink(target.clone()),
        Kind::CharacterDevice(number) => {
            KeptKind::CharacterDevice { major: number.major, minor: number.minor }
        }
        Kind::BlockDevice(number) => KeptKind::BlockDevice { major: number.major, minor: number.minor },
        Kind::Fifo => KeptKind::Fifo,
    };
    let xattrs = xattrs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    KeptInode { mode: *mode, uid: *uid, gid: *gid, mtime: *mtime, xattrs, kind }
}

/// The tree of a text.
pub(super) fn read(text: &[u8]) -> Result<FileTree, SnapshotError> {
    let Snapshot(lines, history) = serde_json::from_slice(text)?;
    let behind = lines.len();
    let mut lines = lines.into_iter().enumerate();
    let Some((_, Line { inode: Ok(root), owner, .. })) = lines.next() else {
        return Err(SnapshotError::Entry(0));
    };
    let mut tree = FileTree::new(restore(root).metadata, owner_of(owner));
    let mut ids: BTreeMap<usize, InodeId> = BTreeMap::new();
    for (index, line) in lines {
        let wrong = || SnapshotError::Entry(index);
        let path = TreePath::parse(&line.path).map_err(|_| wrong())?;
        let owner = owner_of(line.owner);
        match line.inode {
            Ok(inode) => {
                let id = tree.insert(path, restore(inode), owner).map_err(|_| wrong())?;
                ids.insert(index, id);
            }
            Err(first) => {
                let id = ids.get(&first).copied().ok_or_else(wrong)?;
                tree.link(path, id, owner).map_err(|_| wrong())?;
            }
        }
    }
    for (path, hands) in history {
        let wrong = || SnapshotError::Entry(behind);
        let path = TreePath::parse(&path).map_err(|_| wrong())?;
        let hand = |KeptHand(owner, deed, why): KeptHand| {
            let deed = *Deed::ALL.get(deed).ok_or_else(wrong)?;
            Ok(Hand { owner: owner_of(owner), deed, why: why.map(Into::into) })
        };
        tree.set_hands(path, hands.into_iter().map(hand).collect::<Result<_, SnapshotError>>()?);
    }
    Ok(tree)
}

fn owner_of(kept: Kept) -> Owner {
    match kept {
        Kept::Package(name) => Owner::Package(name.into()),
        Kept::Overlay(name) => Owner::Overlay(name.into()),
        Kept::Payload(name) => Owner::Payload(name.into()),
        Kept::Stage(name) => Owner::Stage(name.into()),
    }
}

fn restore(kept: KeptInode) -> Inode {
    let KeptInode { mode, uid, gid, mtime, xattrs, kind } = kept;
    let kind = match kind {
        KeptKind::Directory => Kind::Directory,
        KeptKind::Inline(bytes) => Kind::File(Content::inline(bytes)),
        KeptKind::Stored { key, size } => Kind::File(Content::Stored { key: ContentKey::new(key), size }),
        KeptKind::Symlink(target) => Kind::Symlink(target),
        KeptKind::CharacterDevice { major, minor } => Kind::CharacterDevice(DeviceNumber { major, minor }),
        KeptKind::BlockDevice { major, minor } => Kind::BlockDevice(DeviceNumber { major, minor }),
        KeptKind::Fifo => Kind::Fifo,
    };
    Inode { metadata: Metadata { mode, uid, gid, mtime, xattrs: xattrs.into_iter().collect() }, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_comes_back_as_it_was() {
        let metadata = || Metadata {
            mode: 0o4755,
            uid: 1,
            gid: 2,
            mtime: Timestamp { seconds: 3, nanoseconds: 4 },
            xattrs: BTreeMap::from([(b"security.capability".to_vec(), vec![0, 255])]),
        };
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        let owner = || Owner::Package("bash".into());
        let mut tree = FileTree::new(metadata(), Owner::Stage("x".into()));
        let mut put = |name: &str, kind| {
            tree.insert(path(name), Inode { metadata: metadata(), kind }, owner()).unwrap()
        };
        put("d", Kind::Directory);
        let file =
            put("d/\u{e9}", Kind::File(Content::Stored { key: ContentKey::new(&b"k\xff"[..]), size: 9 }));
        put("i", Kind::File(Content::inline(&b"bytes"[..])));
        put("l", Kind::Symlink(b"../x".to_vec()));
        put("c", Kind::CharacterDevice(DeviceNumber { major: 1, minor: 3 }));
        put("p", Kind::Fifo);
        tree.link(path("hard"), file, Owner::Overlay("o".into())).unwrap();
        tree.note(&path("i"), Hand::because(Owner::Stage("y".into()), Deed::Changed, "why"));
        tree.take_out(&path("p"), &Owner::Stage("y".into()), &"no".into()).unwrap();
        let again = read(&write(&tree).unwrap()).unwrap();
        let flat = |tree: &FileTree| -> Vec<(String, String, Inode)> {
            tree.iter()
                .map(|(p, e)| (p.to_string(), e.owner.to_string(), tree.inode(e.inode).clone()))
                .collect()
        };
        assert_eq!(flat(&again), flat(&tree));
        assert_eq!(again.links(&path("hard")), 2);
        assert_eq!(again.histories().collect::<Vec<_>>(), tree.histories().collect::<Vec<_>>());
        assert_eq!(again.hands(&path("p")).len(), 2);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        assert_eq!(read(b"{").unwrap_err().to_string(), "reading a kept tree");
        assert_eq!(read(b"[[],[]]").unwrap_err().to_string(), "a kept tree contradicts itself at entry 0");
    }
}
