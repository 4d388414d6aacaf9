//! What the firmware reads: the kernel image with its command line, and the EFI system partition.
//!
//! systemd-boot from the image's own packages sits on the removable path, so that no firmware
//! variable is needed. The kernel image's name carries no boot counter: counting renames, a name on a FAT
//! file system does not change in one write, and the power may fail between two. Source: UAPI.1 Boot
//! Loader Specification, UAPI.5 Unified Kernel Image, systemd-boot(7).

use std::collections::BTreeMap;

use goni_disk::cpio::{self, CpioError};
use goni_disk::tree::{Content, FileTree, Inode, Kind, Metadata, Owner, TreeError, TreePath};
use goni_disk::uki::{self, NewSection, UkiError};
use goni_disk::verity::RootHash;
use goni_model::recipe::Recipe;
use goni_model::target::Target;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::stages::initrd::{self, InitrdError, Source};

/// How hard the initrd is compressed: past this, a second of work saves under a hundredth.
const INITRD_LEVEL: i32 = 9;

/// What every image's kernel is told, and why.
const WORDS: [(&str, &str); 6] = [
    ("ro", "the root is never written"),
    ("nohibernate", "memory never reaches a disk: not into swap, not into an image of it"),
    ("systemd.gpt_auto=no", "partitions are found by identifier, never by type alone"),
    ("rd.systemd.gpt_auto=no", "the same in the initrd"),
    ("systemd.getty_auto=no", "no login on a serial console"),
    ("panic=10", "a node that cannot go on starts again"),
];

/// systemd-boot's settings: no menu, no editor that could change the command line.
const LOADER: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\nbeep no\n";

/// Why there is nothing to boot.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The initrd could not be cut.
    #[error("cutting the initrd")]
    Initrd(#[from] InitrdError),
    /// The initrd could not be packed.
    #[error("packing the initrd")]
    Pack(#[from] CpioError),
    /// The initrd could not be compressed.
    #[error("compressing the initrd")]
    Compress(#[source] std::io::Error),
    /// The kernel image could not be written.
    #[error("writing the unified kernel image")]
    Uki(#[from] UkiError),
    /// The tree of the ESP could not take a file.
    #[error("filling the EFI system partition")]
    Tree(#[from] TreeError),
}

impl Classify for BootError {
    fn class(&self) -> Class {
        match self {
            Self::Initrd(error) => error.class(),
            Self::Compress(_) => Class::Environment,
            _ => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Initrd(error) => error.hint(),
            _ => None,
        }
    }
}

/// The kernel's command line, without an end: the root's hash first, then what the target and the
/// recipe add.
#[must_use]
pub fn command_line(recipe: &Recipe, target: &Target, root: Option<&RootHash>, root_uuid: Uuid) -> String {
    let mut words = vec![match root {
        Some(hash) => format!("roothash={hash}"),
        None => format!("root=PARTUUID={root_uuid} rootfstype=erofs"),
    }];
    words.extend(WORDS.iter().map(|(word, _)| (*word).to_owned()));
    // The last console is the one that systemd writes to.
    words.extend(target.console.iter().map(|console| format!("console={}", console.as_str())));
    let added = target.command_line.iter().chain(&recipe.kernel.command_line);
    words.extend(added.map(|word| word.as_str().to_owned()));
    words.join(" ")
}

/// The initrd, packed and compressed, and the kernel it belongs to: all of the boot that does not
/// depend on the root's hash.
#[derive(Debug)]
pub struct Kernel {
    release: String,
    image: Vec<u8>,
    initrd: Vec<u8>,
    os_release: Vec<u8>,
    stub: Vec<u8>,
    loader: Vec<u8>,
}

impl Kernel {
    /// The release of the kernel.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The size of the compressed initrd in bytes.
    #[must_use]
    pub fn initrd_size(&self) -> usize {
        self.initrd.len()
    }
}

/// Prepares everything that boots, from the finished root.
///
/// # Errors
/// [`BootError`].
pub(crate) fn prepare(
    source: &Source<'_>,
    target: &Target,
    state: Uuid,
    date: Timestamp,
) -> Result<Kernel, BootError> {
    let modules: Vec<String> =
        target.initrd_modules.iter().map(|module| module.as_str().to_owned()).collect();
    let tree = initrd::cut(source, &modules, state, date)?;
    let mut encoder = zstd::Encoder::new(Vec::new(), INITRD_LEVEL).map_err(BootError::Compress)?;
    cpio::write(&tree, source.content, &mut encoder)?;
    let initrd = encoder.finish().map_err(BootError::Compress)?;
    let release = initrd::kernel_release(source)?;
    let efi = source.arch.efi();
    let read = |place: String| source.read_path(&initrd::path(&place));
    Ok(Kernel {
        image: read(format!("boot/vmlinuz-{release}"))?,
        os_release: read("usr/lib/os-release".to_owned())?,
        stub: read(format!("usr/lib/systemd/boot/efi/linux{efi}.efi.stub"))?,
        loader: read(format!("usr/lib/systemd/boot/efi/systemd-boot{efi}.efi"))?,
        release,
        initrd,
    })
}

/// The content of the EFI system partition.
///
/// # Errors
/// [`BootError`].
pub fn system_partition(
    kernel: &Kernel,
    recipe: &Recipe,
    target: &Target,
    command_line: &str,
    date: Timestamp,
) -> Result<FileTree, BootError> {
    let sections = vec![
        NewSection::bytes(".osrel", &kernel.os_release),
        NewSection::bytes(".cmdline", command_line.as_bytes()),
        NewSection::bytes(".uname", kernel.release.as_bytes()),
        NewSection::bytes(".initrd", &kernel.initrd),
        NewSection::bytes(".linux", &kernel.image),
    ];
    let mut image = Vec::new();
    uki::write(&kernel.stub, sections, &mut image)?;
    let efi = target.arch.efi();
    let mut esp = FileTree::new(metadata(0o755, date), owner());
    for directory in ["EFI", "EFI/BOOT", "EFI/Linux", "loader"] {
        esp.insert(
            path(directory),
            Inode { metadata: metadata(0o755, date), kind: Kind::Directory },
            owner(),
        )?;
    }
    for (place, bytes) in [
        (format!("EFI/BOOT/BOOT{}.EFI", efi.to_ascii_uppercase()), kernel.loader.clone()),
        (image_path(recipe), image),
        ("loader/loader.conf".to_owned(), LOADER.into()),
    ] {
        let inode = Inode { metadata: metadata(0o644, date), kind: Kind::File(Content::inline(bytes)) };
        esp.insert(path(&place), inode, owner())?;
    }
    Ok(esp)
}

/// Where the kernel image is on the EFI system partition.
///
/// Without `+3` in the name, which would have systemd-boot count its tries: while it is the only one
/// there is nothing to turn to, and a power cut while systemd-bless-boot renames it leaves none. Linux
/// writes the new name first as that of an empty file (`vfat_rename`), and only then what is in it.
#[must_use]
pub fn image_path(recipe: &Recipe) -> String {
    format!("EFI/Linux/goni_{}.efi", recipe.version.as_str())
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("paths of checked names are canonical")
}

fn metadata(mode: u16, mtime: Timestamp) -> Metadata {
    Metadata { mode, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
}

fn owner() -> Owner {
    Owner::Stage("boot".into())
}
