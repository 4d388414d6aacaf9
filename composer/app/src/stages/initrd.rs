//! The initial root: what the kernel runs first, cut from the image's own tree.
//!
//! systemd, udev and what they need to find the disk, open the verity-protected root, make, check and
//! mount the state, and hand over. No second distribution of anything: every file but the script and
//! the few units beside this module is the image's own. What is in it is listed here, with the closure
//! of libraries and kernel modules computed.

pub(in crate::stages) mod elf;
mod modules;
mod state;

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use goni_disk::tree::{
    Content, ContentSource, FileTree, Inode, InvalidPath, Kind, Metadata, Owner, TreeError, TreePath,
};
use goni_model::arch::Arch;
use goni_model::recipe::StateEncryption;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::stages::state::StateDevice;

pub(crate) use modules::{closure, kernel_release, module_names};

/// Files taken as they are; libraries follow from them.
const PROGRAMS: [&str; 17] = [
    "usr/bin/kmod",
    "usr/bin/mkdir",
    "usr/bin/mount",
    "usr/bin/systemctl",
    "usr/bin/systemd-machine-id-setup",
    "usr/bin/udevadm",
    "usr/bin/umount",
    "usr/lib/systemd/system-generators/systemd-fstab-generator",
    "usr/lib/systemd/system-generators/systemd-veritysetup-generator",
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-executor",
    "usr/lib/systemd/systemd-fsck",
    "usr/lib/systemd/systemd-journald",
    "usr/lib/systemd/systemd-shutdown",
    "usr/lib/systemd/systemd-sysroot-fstab-check",
    "usr/lib/systemd/systemd-veritysetup",
    "usr/sbin/e2fsck",
];

/// More programs, of packages that put them elsewhere in later releases.
const SYSTEM_PROGRAMS: [&str; 2] = ["usr/sbin/dmsetup", "usr/sbin/fsck"];

/// Features whose libraries are loaded when used: without them modules stay compressed and verity closed.
const FEATURES: [&str; 3] = ["cryptsetup", "kmod", "xz"];

/// Units of systemd's own.
const UNITS: [&str; 46] = [
    "basic.target",
    "emergency.target",
    "final.target",
    "initrd-cleanup.service",
    "initrd-fs.target",
    "initrd-parse-etc.service",
    "initrd-root-device.target",
    "initrd-root-fs.target",
    "initrd-switch-root.service",
    "initrd-switch-root.target",
    "initrd-udevadm-cleanup-db.service",
    "initrd-usr-fs.target",
    "initrd.target",
    "local-fs-pre.target",
    "local-fs.target",
    "modprobe@.service",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "system-systemd\\x2dveritysetup.slice",
    "systemd-fsck-root.service",
    "systemd-fsck@.service",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-poweroff.service",
    "systemd-reboot.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
    "timers.target",
    "umount.target",
    "veritysetup-pre.target",
    "veritysetup.target",
    "cryptsetup-pre.target",
    "cryptsetup.target",
    "blockdev@.target",
    "time-set.target",
    "remote-fs-pre.target",
    "remote-fs.target",
];

/// Rules that name disks and partitions and load their drivers.
const RULES: [&str; 8] = [
    "50-udev-default.rules",
    "55-dm.rules",
    "60-block.rules",
    "60-persistent-storage-dm.rules",
    "60-persistent-storage.rules",
    "80-drivers.rules",
    "95-dm-notify.rules",
    "99-systemd.rules",
];

/// What starts what: a link in the directory of the first for the second.
const WANTED: [(&str, &str); 11] = [
    ("initrd-fs.target.requires", "goni-identity.service"),
    ("initrd-fs.target.requires", "goni-reset.service"),
    ("initrd-fs.target.requires", "sysroot-var.mount"),
    ("sockets.target.wants", "systemd-journald-dev-log.socket"),
    ("sockets.target.wants", "systemd-journald.socket"),
    ("sockets.target.wants", "systemd-udevd-control.socket"),
    ("sockets.target.wants", "systemd-udevd-kernel.socket"),
    ("sysinit.target.wants", "systemd-journald.service"),
    ("sysinit.target.wants", "systemd-udev-trigger.service"),
    ("sysinit.target.wants", "systemd-udevd.service"),
    ("sysinit.target.wants", "veritysetup.target"),
];

/// Links that the initrd has and the root does not.
const LINKS: [(&str, &str); 10] = [
    ("bin", "usr/bin"),
    ("init", "usr/lib/systemd/systemd"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("sbin", "usr/sbin"),
    ("usr/lib/systemd/system/default.target", "initrd.target"),
    ("usr/lib/systemd/systemd-udevd", "../../bin/udevadm"),
    ("usr/sbin/fsck.ext4", "e2fsck"),
    ("usr/sbin/modprobe", "../bin/kmod"),
    ("usr/bin/modprobe", "kmod"),
];

/// Directories that something is mounted on or made in.
const DIRECTORIES: [&str; 9] = ["dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "usr/lib64", "var"];

/// Units of ours; [`StateDevice::fill_in`] says where the state is, in names and texts.
const OWN_UNITS: [(&str, &str); 9] = [
    ("@STATE-UNIT@.device.d/patience.conf", include_str!("initrd/units/patience.conf")),
    ("emergency.service", include_str!("initrd/units/emergency.service")),
    ("goni-identity.service", include_str!("initrd/units/goni-identity.service")),
    ("goni-reset.service", include_str!("initrd/units/goni-reset.service")),
    ("goni-state.service", include_str!("initrd/units/goni-state.service")),
    ("goni-volatile.service", include_str!("initrd/units/goni-volatile.service")),
    ("run-goni-identity.mount", include_str!("initrd/units/run-goni-identity.mount")),
    ("run-goni-volatile.mount", include_str!("initrd/units/run-goni-volatile.mount")),
    ("sysroot-var.mount", include_str!("initrd/units/sysroot-var.mount")),
];

/// Modules of a kernel that is not the root's, mounted over the root's own.
const MODULES_UNIT: &str = "sysroot-usr-lib-modules.mount";
const MODULES_MOUNT: &str = include_str!("initrd/units/sysroot-usr-lib-modules.mount");

/// Users and groups that udev's rules and the journal name.
const ACCOUNTS: [&str; 20] = [
    "audio",
    "cdrom",
    "clock",
    "dialout",
    "disk",
    "floppy",
    "input",
    "kmem",
    "kvm",
    "lp",
    "messages",
    "nobody",
    "nogroup",
    "render",
    "root",
    "sgx",
    "systemd-journal",
    "tape",
    "tty",
    "video",
];

/// The largest file an initrd takes: a library, not a model.
const LARGEST_FILE: u64 = 64 << 20;

/// A tree that an initrd is cut from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The finished root.
    pub tree: &'a FileTree,
    /// Its bytes.
    pub content: &'a dyn ContentSource,
    /// Its architecture.
    pub arch: Arch,
}

/// All that an initrd is cut from.
#[derive(Clone, Copy)]
pub(crate) struct Stock<'a> {
    /// The root: its programs, units and rules.
    pub root: Source<'a>,
    /// Where kernel and modules are: the root, but for a shadow boot.
    pub kernel: Source<'a>,
    /// The partition whose modules are mounted over those of the root, where the kernel is not its own.
    pub modules: Option<Uuid>,
}

impl<'a> Stock<'a> {
    /// A root with its own kernel.
    pub(crate) const fn of(root: Source<'a>) -> Self {
        Self { root, kernel: root, modules: None }
    }
}

/// Why no initrd could be cut.
#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    /// A file the initrd is made of is not in the tree.
    #[error("the initrd needs `{path}`, which the root does not have")]
    Missing {
        /// The file.
        path: TreePath,
    },
    /// A library is nowhere.
    #[error("`{wanted_by}` needs the library `{library}`, which the root does not have")]
    MissingLibrary {
        /// Its soname.
        library: String,
        /// Who needs it.
        wanted_by: TreePath,
    },
    /// A program that is not readable ELF.
    #[error("reading `{path}` as ELF")]
    Elf {
        /// The file.
        path: TreePath,
        /// What is wrong with it.
        #[source]
        error: object::read::Error,
    },
    /// A name that is no module of this kernel.
    #[error("the target's initrd names the kernel module `{name}`, which kernel {release} does not have")]
    UnknownModule {
        /// The name.
        name: String,
        /// The kernel.
        release: String,
    },
    /// The tree has no kernel modules.
    #[error("the root has no kernel: nothing is below /usr/lib/modules")]
    NoKernel,
    /// The tree has more than one kernel.
    #[error("the root has two kernels, {first} and {second}: an image boots one")]
    ManyKernels {
        /// One.
        first: String,
        /// Another.
        second: String,
    },
    /// A file too large for an initrd.
    #[error("`{path}` is {size} bytes: too large for an initrd")]
    TooLarge {
        /// The file.
        path: TreePath,
        /// Its size.
        size: u64,
    },
    /// Text that is not UTF-8.
    #[error("`{path}` is not UTF-8")]
    NotText {
        /// The file.
        path: TreePath,
    },
    /// Bytes could not be read.
    #[error("reading `{path}`")]
    Read {
        /// The file.
        path: TreePath,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A name that makes no path.
    #[error("placing a file in the initrd")]
    Path(#[source] InvalidPath),
    /// A place that the tree of the initrd cannot take.
    #[error("placing a file in the initrd")]
    Tree(#[source] TreeError),
}

impl Classify for InitrdError {
    fn class(&self) -> Class {
        match self {
            Self::UnknownModule { .. } => Class::Recipe,
            Self::Read { .. } => Class::Environment,
            _ => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::MissingLibrary { .. } => {
                Some("the overlay `base` brings the packages that an initrd is made of".to_owned())
            }
            Self::UnknownModule { .. } => {
                Some("correct [initrd] modules in the target's target.toml".to_owned())
            }
            Self::NoKernel => Some("name a kernel package in the target's target.toml".to_owned()),
            _ => None,
        }
    }
}

impl Source<'_> {
    /// The same path with its directories' links followed: where the entry itself is.
    pub(crate) fn canonical(&self, path: &TreePath) -> Result<TreePath, InitrdError> {
        let missing = || InitrdError::Missing { path: path.clone() };
        let parent = path.parent().and_then(|parent| self.tree.resolve(&parent)).ok_or_else(missing)?;
        parent.join(path.name()).map_err(InitrdError::Path)
    }

    /// The bytes of a file, whole.
    pub(crate) fn read(&self, path: &TreePath, content: &Content) -> Result<Vec<u8>, InitrdError> {
        if content.size() > LARGEST_FILE {
            return Err(InitrdError::TooLarge { path: path.clone(), size: content.size() });
        }
        let mut bytes = Vec::new();
        content
            .open(self.content)
            .and_then(|mut reader| reader.read_to_end(&mut bytes))
            .map_err(|error| InitrdError::Read { path: path.clone(), error })?;
        Ok(bytes)
    }

    /// The bytes of the file a path leads to.
    pub(crate) fn read_path(&self, path: &TreePath) -> Result<Vec<u8>, InitrdError> {
        let missing = || InitrdError::Missing { path: path.clone() };
        let real = self.tree.resolve(path).ok_or_else(missing)?;
        match self.tree.get(&real).map(|inode| &inode.kind) {
            Some(Kind::File(content)) => self.read(&real, content),
            _ => Err(missing()),
        }
    }

    /// The text of the file a path leads to.
    pub(crate) fn read_text(&self, path: &TreePath) -> Result<String, InitrdError> {
        String::from_utf8(self.read_path(path)?).map_err(|_| InitrdError::NotText { path: path.clone() })
    }
}

/// A path of this program's own making.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("paths written in this program are canonical")
}

/// Cuts the initrd from a finished root: the tree that becomes its cpio archive.
///
/// `modules` are the target's, `state` is where the state is, `date` the time of what has none of its
/// own.
///
/// # Errors
/// [`InitrdError`].
pub(crate) fn cut(
    stock: &Stock<'_>,
    modules: &[String],
    state: &StateDevice,
    date: Timestamp,
) -> Result<FileTree, InitrdError> {
    let Stock { root: source, kernel, modules: foreign } = stock;
    let release = kernel_release(kernel)?;
    let mut initrd = Initrd::new(date);
    for directory in DIRECTORIES {
        initrd.directory(&path(directory))?;
    }
    let programs = PROGRAMS.iter().chain(&SYSTEM_PROGRAMS).map(|program| path(program));
    let programs = programs.chain(state::files(state.encryption, source.arch));
    let mut features = FEATURES.to_vec();
    if state.encryption != StateEncryption::None {
        features.push(state::FEATURE);
    }
    for file in elf::close(source, programs, &features)? {
        initrd.take(source, &file)?;
    }
    let more = state::modules(state.encryption, source.arch).map(str::to_owned);
    let modules: Vec<String> = modules.iter().cloned().chain(more).collect();
    for file in modules::select(kernel, &release, &modules)? {
        // Of whichever tree: their bytes come along, so that one source has all the rest.
        initrd.file(&file, kernel.read_path(&file)?)?;
        initrd.own(kernel, &file);
    }
    let units = path("usr/lib/systemd/system");
    for unit in UNITS {
        // Some exist only in later releases of systemd; the ones that matter are missed at boot.
        let unit = units.join(unit.as_bytes()).map_err(InitrdError::Path)?;
        if source.tree.get(&unit).is_some() {
            initrd.take(source, &unit)?;
        }
    }
    for rule in RULES {
        initrd.take(source, &path(&format!("usr/lib/udev/rules.d/{rule}")))?;
    }
    for (name, text) in OWN_UNITS {
        let place = units.join(state.fill_in(name).as_bytes()).map_err(InitrdError::Path)?;
        initrd.file(&place, state.fill_in(text).into_bytes())?;
    }
    if let Some(partition) = foreign {
        let text = MODULES_MOUNT.replace("@MODULES@", &partition.hyphenated().to_string());
        let place = units.join(MODULES_UNIT.as_bytes()).map_err(InitrdError::Path)?;
        initrd.file(&place, text.into_bytes())?;
        let wanted = format!("initrd-fs.target.requires/{MODULES_UNIT}");
        let link = units.join(wanted.as_bytes()).map_err(InitrdError::Path)?;
        initrd.link(&link, &format!("../{MODULES_UNIT}"))?;
    }
    initrd.program(&path(state::SCRIPT_PLACE), state::SCRIPT)?;
    for (directory, unit) in WANTED {
        let link = units.join(format!("{directory}/{unit}").as_bytes()).map_err(InitrdError::Path)?;
        initrd.link(&link, &format!("../{unit}"))?;
    }
    for (link, target) in LINKS {
        initrd.link(&path(link), target)?;
    }
    initrd.file(&path("etc/passwd"), accounts(&source.read_text(&path("etc/passwd"))?))?;
    initrd.file(&path("etc/group"), accounts(&source.read_text(&path("etc/group"))?))?;
    // Its presence tells systemd that this is an initrd. Source: INITRD_INTERFACE, systemd.io.
    initrd.file(&path("etc/initrd-release"), source.read_path(&path("usr/lib/os-release"))?)?;
    initrd.link(&path("etc/os-release"), "initrd-release")?;
    Ok(initrd.tree)
}

/// The lines of a passwd or group file whose names an initrd needs.
fn accounts(text: &str) -> Vec<u8> {
    text.split_inclusive('\n')
        .filter(|line| line.split(':').next().is_some_and(|name| ACCOUNTS.contains(&name)))
        .collect::<String>()
        .into_bytes()
}

/// An initrd in the making.
struct Initrd {
    tree: FileTree,
    date: Timestamp,
}

impl Initrd {
    fn new(date: Timestamp) -> Self {
        Self { tree: FileTree::new(metadata(0o755, date), owner()), date }
    }

    /// Makes a directory and those above it.
    fn directory(&mut self, path: &TreePath) -> Result<(), InitrdError> {
        if self.tree.get(path).is_some() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directory(&parent)?;
        }
        self.insert(path, 0o755, Kind::Directory)
    }

    /// Takes a file or link over from the root, under the same path.
    fn take(&mut self, source: &Source<'_>, path: &TreePath) -> Result<(), InitrdError> {
        let inode = source.tree.get(path).ok_or_else(|| InitrdError::Missing { path: path.clone() })?;
        self.insert(path, inode.metadata.mode, inode.kind.clone())?;
        self.own(source, path);
        Ok(())
    }

    /// Lets what was taken over belong to whom it belongs in the root.
    fn own(&mut self, source: &Source<'_>, path: &TreePath) {
        let real = source.tree.resolve(path);
        let hands = source.tree.hands(path);
        if let Some(entry) = source.tree.entry(path).or_else(|| source.tree.entry(real.as_ref()?)) {
            self.tree.set_owner(path, entry.owner.clone());
        }
        if hands.len() > 1 {
            self.tree.set_hands(path.clone(), hands);
        }
    }

    fn file(&mut self, path: &TreePath, bytes: Vec<u8>) -> Result<(), InitrdError> {
        self.insert(path, 0o644, Kind::File(Content::inline(bytes)))
    }

    fn program(&mut self, path: &TreePath, text: &str) -> Result<(), InitrdError> {
        self.insert(path, 0o755, Kind::File(Content::inline(text.as_bytes())))
    }

    fn link(&mut self, path: &TreePath, target: &str) -> Result<(), InitrdError> {
        self.insert(path, 0o777, Kind::Symlink(target.as_bytes().to_vec()))
    }

    fn insert(&mut self, path: &TreePath, mode: u16, kind: Kind) -> Result<(), InitrdError> {
        if let Some(parent) = path.parent() {
            self.directory(&parent)?;
        }
        let inode = Inode { metadata: metadata(mode, self.date), kind };
        self.tree.insert(path.clone(), inode, owner()).map(drop).map_err(InitrdError::Tree)
    }
}

fn metadata(mode: u16, mtime: Timestamp) -> Metadata {
    Metadata { mode, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
}

fn owner() -> Owner {
    Owner::Stage("initrd".into())
}
