//! What must survive moves from the root to the state partition, and the mount tables say so.
//!
//! Each persistent directory is a subdirectory of the one state file system, mounted directly at its
//! place (`X-mount.subdir`, util-linux): the file system's own root is mounted nowhere, so nobody who
//! owns one of them can reach the others through it.
//!
//! A copy of what the partition begins with stays in the root, for root alone: the seed, of which a
//! device makes its state itself where it is encrypted or was wiped. What does that is `goni-state` of
//! the initrd.

mod device;

use std::collections::BTreeMap;

use goni_disk::tree::{
    Content, Deed, FileTree, Hand, Inode, InvalidPath, Kind, Metadata, Owner, TreeError, TreePath,
};
use goni_model::layout::{Layout, Role};
use goni_model::name::ImagePath;
use goni_model::recipe;
use goni_model::recipe::persist::{self, Persistent};
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::failure::{Class, Classify};

pub use device::StateDevice;

/// Where the initrd keeps this node's machine id: `identity/etc/machine-id`, as
/// systemd-machine-id-setup(1) writes it below a root.
const IDENTITY: [&str; 2] = ["identity", "identity/etc"];

/// Where the root keeps the seed.
const SEED: &str = "usr/share/goni/state";

/// How the state is mounted: data, never programs or devices; no write for a read.
const STATE_OPTIONS: &str = "rw,nosuid,nodev,noexec,noatime";

/// How the EFI system partition is mounted: when somebody looks, for root alone, never in the way, and
/// never to be written: what a power cut leaves of a FAT file system that is, may not boot.
const ESP_OPTIONS: &str =
    "ro,nosuid,nodev,noexec,umask=0077,nofail,x-systemd.automount,x-systemd.idle-timeout=2min";

/// Why the state cannot be set apart.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A persistent directory that no overlay makes.
    #[error("`{path}` is to persist, but the tree has no such directory")]
    NoDirectory {
        /// The path.
        path: TreePath,
    },
    /// Something of the tree that is no directory, where a recipe wants one.
    #[error("`{path}` is to persist, but `{other}` is no directory")]
    InTheWay {
        /// The directory.
        path: TreePath,
        /// What is there: it, or one it is in.
        other: TreePath,
    },
    /// A hard link between what persists and what does not.
    #[error("`{path}` persists, but has a hard link outside of it")]
    HardLink {
        /// The path.
        path: TreePath,
    },
    /// An entry the tree cannot take.
    #[error("setting the state apart")]
    Tree(#[from] TreeError),
    /// A name that makes no path.
    #[error("setting the state apart")]
    Path(#[from] InvalidPath),
}

impl Classify for StateError {
    fn class(&self) -> Class {
        Class::Content
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDirectory { .. } => {
                Some("the overlays `base` and `goni` declare these directories".to_owned())
            }
            Self::InTheWay { .. } => {
                Some("name a directory of `state.persist` by the path that no link leads to".to_owned())
            }
            _ => None,
        }
    }
}

/// Moves what is below the persistent directories, those of a recipe among them, into a tree of its
/// own; in the root their mount points stay, with owner and mode, empty, and the seed is added.
///
/// # Errors
/// [`StateError`].
pub fn set_apart(
    root: &mut FileTree,
    persist: &[ImagePath],
    date: Timestamp,
) -> Result<FileTree, StateError> {
    let mut state = FileTree::new(metadata(0o755, date), owner());
    for name in IDENTITY {
        let inode = Inode { metadata: metadata(0o755, date), kind: Kind::Directory };
        state.insert(path(name), inode, owner())?;
    }
    for directory in persist::all(persist) {
        let (place, name) = (parse(&directory.place)?, parse(&directory.name)?);
        if directory.wished {
            no_link_to(root, &place)?;
            make(root, &place, date)?;
            make(&mut state, &name, date)?;
        }
        let Some(inode) = root.get(&place).filter(|inode| matches!(inode.kind, Kind::Directory)).cloned()
        else {
            return Err(StateError::NoDirectory { path: place });
        };
        let owner_of_place = root.entry(&place).map_or_else(owner, |entry| entry.owner.clone());
        state.insert(name.clone(), inode, owner_of_place)?;
        state.set_hands(name.clone(), root.hands(&place));
        let moved: Vec<(TreePath, Owner, Inode)> = root
            .below(&place)
            .map(|(path, entry)| (path.clone(), entry.owner.clone(), root.inode(entry.inode).clone()))
            .collect();
        for (path, owner, inode) in moved {
            let below = path.as_bytes().get(place.as_bytes().len() + 1..).unwrap_or_default();
            if root.links(&path) > 1 {
                return Err(StateError::HardLink { path });
            }
            let name = name.join(below)?;
            state.insert(name.clone(), inode, owner)?;
            state.set_hands(name, root.hands(&path));
        }
        let children: Vec<TreePath> = root.children(&place).map(|(path, _)| path.clone()).collect();
        for child in children {
            root.remove(&child)?;
        }
    }
    plant_seed(root, &state, date)?;
    Ok(state)
}

/// Copies the state into the root, behind a directory that only root may enter; a seed that is there
/// already gives way.
///
/// # Errors
/// `Tree` for what the root cannot take.
pub(crate) fn plant_seed(root: &mut FileTree, state: &FileTree, date: Timestamp) -> Result<(), StateError> {
    let seed = path(SEED);
    if root.get(&seed).is_some() {
        root.remove(&seed)?;
    }
    let mut above: Vec<TreePath> = std::iter::successors(seed.parent(), TreePath::parent).collect();
    above.reverse();
    for directory in above.into_iter().filter(|path| *path != TreePath::ROOT) {
        if root.get(&directory).is_none() {
            let inode = Inode { metadata: metadata(0o755, date), kind: Kind::Directory };
            root.insert(directory, inode, owner())?;
        }
    }
    root.insert(seed.clone(), Inode { metadata: metadata(0o700, date), kind: Kind::Directory }, owner())?;
    for (path, entry) in state.iter().filter(|(path, _)| **path != TreePath::ROOT) {
        let copy = seed.join(path.as_bytes())?;
        root.insert(copy.clone(), state.inode(entry.inode).clone(), owner())?;
        let hand = Hand::because(owner(), Deed::Made, format!("a copy of `{path}` of the state partition"));
        root.set_hands(copy, state.hands(path).into_iter().chain([hand]).collect());
    }
    Ok(())
}

/// Writes `/etc/fstab` and `/etc/crypttab` for a layout.
///
/// # Errors
/// `Tree` if the root has no `/etc`.
pub fn write_tables(
    root: &mut FileTree,
    layout: &Layout,
    wanted: &recipe::State,
    uuid: impl Fn(Role) -> Uuid,
    date: Timestamp,
) -> Result<(), StateError> {
    let mut fstab = String::from(
        "# Written by goni-compose. The root is not here: the kernel command line names it by its hash.\n\
         # The initrd mounts /var, whose changes are forgotten, and has checked the state partition.\n",
    );
    let state = StateDevice { partition: uuid(Role::State), encryption: wanted.encryption }.path();
    for (index, Persistent { place, name, .. }) in persist::all(&wanted.persist).into_iter().enumerate() {
        // Any of them grows the file system, if its device has grown, once it is mounted.
        let grow = if index == 0 { ",x-systemd.growfs" } else { "" };
        fstab.push_str(&format!("{state} {place} ext4 {STATE_OPTIONS}{grow},X-mount.subdir={name} 0 0\n"));
    }
    // Nothing of the image looks there; an update remounts it.
    let esp = uuid(Role::Esp).hyphenated();
    fstab.push_str(&format!("PARTUUID={esp} /efi vfat {ESP_OPTIONS} 0 0\n"));
    if layout.slot(Role::Swap).is_some() {
        fstab.push_str("/dev/mapper/swap none swap nofail 0 0\n");
        // A new key from the kernel at each boot: what was swapped out is noise to the next one. The guard
        // of systemd-cryptsetup@swap.service looks at the partition before this overwrites it.
        let crypttab = format!(
            "# Written by goni-compose.\nswap PARTUUID={} /dev/urandom \
             plain,cipher=aes-xts-plain64,size=512,sector-size=4096,swap,nofail\n",
            uuid(Role::Swap).hyphenated()
        );
        write(root, "etc/crypttab", crypttab, date)?;
    }
    write(root, "etc/fstab", fstab, date)
}

/// A directory that a service is to find at its own place: no link may lead elsewhere.
fn no_link_to(root: &FileTree, place: &TreePath) -> Result<(), StateError> {
    let mut on_the_way = Some(place.clone());
    while let Some(here) = on_the_way {
        match root.get(&here).map(|inode| &inode.kind) {
            Some(Kind::Directory) | None => {}
            Some(_) => return Err(StateError::InTheWay { path: place.clone(), other: here }),
        }
        on_the_way = here.parent();
    }
    Ok(())
}

/// Makes a directory that is not there, and those it is in.
fn make(tree: &mut FileTree, place: &TreePath, date: Timestamp) -> Result<(), StateError> {
    if tree.get(place).is_some() {
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        make(tree, &parent, date)?;
    }
    let inode = Inode { metadata: metadata(0o755, date), kind: Kind::Directory };
    tree.insert(place.clone(), inode, owner())?;
    Ok(())
}

fn write(root: &mut FileTree, place: &str, text: String, date: Timestamp) -> Result<(), StateError> {
    let inode =
        Inode { metadata: metadata(0o644, date), kind: Kind::File(Content::inline(text.into_bytes())) };
    root.insert(path(place), inode, owner())?;
    Ok(())
}

fn parse(text: &str) -> Result<TreePath, InvalidPath> {
    TreePath::parse(text.as_bytes())
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("paths written in this program are canonical")
}

fn metadata(mode: u16, mtime: Timestamp) -> Metadata {
    Metadata { mode, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
}

fn owner() -> Owner {
    Owner::Stage("state".into())
}

#[cfg(test)]
mod tests {
    use goni_model::size::{ByteCount, SectorSize};

    use super::*;

    const DATE: Timestamp = Timestamp::from_seconds(7);

    fn root() -> FileTree {
        let mut root = FileTree::new(metadata(0o755, DATE), owner());
        for name in [
            "usr",
            "usr/share",
            "etc",
            "etc/goni",
            "opt",
            "opt/goni",
            "opt/goni/models",
            "var",
            "var/lib",
            "var/lib/goni",
            "var/log",
            "var/lib/systemd",
            "var/log/journal",
        ] {
            let inode = Inode { metadata: metadata(0o750, DATE), kind: Kind::Directory };
            root.insert(path(name), inode, owner()).unwrap();
        }
        write(&mut root, "etc/goni/goni.env", "LLM_STUB=1\n".into(), DATE).unwrap();
        root
    }

    #[test]
    fn what_persists_leaves_only_its_mount_point() {
        let mut root = root();
        let state = set_apart(&mut root, &[], DATE).unwrap();
        assert_eq!(root.get(&path("etc/goni/goni.env")), None);
        assert_eq!(root.get(&path("etc/goni")).unwrap().metadata.mode, 0o750);
        let names: Vec<String> = state.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(
            names,
            [
                "/",
                "/config",
                "/config/goni.env",
                "/data",
                "/identity",
                "/identity/etc",
                "/journal",
                "/models",
                "/systemd"
            ]
        );
        let seed = |name: &str| root.get(&path(&format!("usr/share/goni/state{name}"))).unwrap();
        assert_eq!(seed("").metadata.mode, 0o700);
        for name in &names[1..] {
            assert_eq!(seed(name), state.get(&path(&name[1..])).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_wish_keeps_owner_mode_and_content_or_is_made() {
        let mut root = root();
        let mut mine = metadata(0o2770, DATE);
        (mine.uid, mine.gid) = (7, 8);
        let inode = Inode { metadata: mine.clone(), kind: Kind::Directory };
        root.insert(path("var/lib/mine"), inode, owner()).unwrap();
        write(&mut root, "var/lib/mine/seed", "x".into(), DATE).unwrap();
        let persist = ["/etc/new/deep", "/var/lib/mine"].map(|text| text.parse().unwrap());
        let state = set_apart(&mut root, &persist, DATE).unwrap();
        let kept = |place: &str| state.get(&path(place)).unwrap().metadata.clone();
        assert_eq!(kept("persist/var/lib/mine"), mine);
        assert_eq!(kept("persist/var/lib/mine/seed").mode, 0o644);
        assert_eq!(kept("persist/etc/new/deep"), metadata(0o755, DATE));
        assert_eq!(root.get(&path("var/lib/mine")).unwrap().metadata, mine);
        assert_eq!(root.get(&path("etc/new/deep")).unwrap().metadata, metadata(0o755, DATE));
        assert_eq!(root.get(&path("var/lib/mine/seed")), None);
    }

    #[test]
    fn a_wish_that_a_link_or_a_file_is_in_the_way_of_is_refused() {
        let mut root = root();
        let link = Inode { metadata: metadata(0o777, DATE), kind: Kind::Symlink("/run".into()) };
        root.insert(path("var/elsewhere"), link, owner()).unwrap();
        write(&mut root, "var/file", String::new(), DATE).unwrap();
        for (wish, other) in [("/var/elsewhere/foo", "/var/elsewhere"), ("/var/file", "/var/file")] {
            let error = set_apart(&mut root.clone(), &[wish.parse().unwrap()], DATE).unwrap_err();
            assert_eq!(error.to_string(), format!("`{wish}` is to persist, but `{other}` is no directory"));
        }
    }

    #[test]
    fn a_directory_that_nobody_made_is_named() {
        let mut root = root();
        root.remove(&path("opt/goni/models")).unwrap();
        let error = set_apart(&mut root, &[], DATE).unwrap_err();
        assert_eq!(error.to_string(), "`/opt/goni/models` is to persist, but the tree has no such directory");
    }

    #[test]
    fn the_tables_name_partitions_by_their_identifier() {
        let sizes = [(Role::Swap, ByteCount::from_mib(1)), (Role::State, ByteCount::from_mib(1))];
        let layout = Layout::place(SectorSize::B512, &sizes).unwrap();
        let mut root = root();
        let wanted = recipe::State {
            size: ByteCount::from_mib(1),
            encryption: recipe::StateEncryption::None,
            persist: vec!["/var/lib/foo".parse().unwrap()],
        };
        write_tables(&mut root, &layout, &wanted, |_| Uuid::nil(), DATE).unwrap();
        let text = |place: &str| match &root.get(&path(place)).unwrap().kind {
            Kind::File(Content::Inline(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(text("etc/fstab").contains(
            "\n/dev/goni/00000000-0000-0000-0000-000000000000 /etc/goni ext4 rw,nosuid,nodev,noexec,noatime,X-mount.subdir=config 0 0\n"
        ));
        assert!(text("etc/fstab").contains(
            " /var/lib/foo ext4 rw,nosuid,nodev,noexec,noatime,X-mount.subdir=persist/var/lib/foo 0 0\n"
        ));
        assert!(
            text("etc/crypttab")
                .contains("\nswap PARTUUID=00000000-0000-0000-0000-000000000000 /dev/urandom plain,")
        );
    }
}
