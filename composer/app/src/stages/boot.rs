//! What the firmware reads: the kernel image with its command line, and the EFI system partition.
//!
//! systemd-boot from the image's own packages sits on the removable path, so that no firmware
//! variable is needed. The kernel image's name carries no boot counter: counting renames, a name on a FAT
//! file system does not change in one write, and the power may fail between two. Source: UAPI.1 Boot
//! Loader Specification, UAPI.5 Unified Kernel Image, systemd-boot(7).

mod words;

use std::collections::BTreeMap;

use goni_disk::cpio::{self, CpioError};
use goni_disk::tree::{Content, FileTree, Inode, Kind, Metadata, Owner, TreeError, TreePath};
use goni_disk::uki::{self, Label, NewProfile, NewSection, UkiError};
use goni_disk::verity::RootHash;
use goni_model::recipe::Recipe;
use goni_model::target::Target;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::stages::initrd::{self, InitrdError, Source};
use crate::stages::state::StateDevice;

/// How hard the initrd is compressed: past this, a second of work saves under a hundredth.
const INITRD_LEVEL: i32 = 9;

/// What every image's kernel is told, and why.
const WORDS: [(&str, &str); 10] = [
    ("ro", "the root is never written"),
    ("gpt", "a partition table cut off while it was written is read from its backup"),
    ("nohibernate", "memory never reaches a disk: not into swap, not into an image of it"),
    ("init_on_alloc=1", "memory is wiped before it is handed out"),
    ("slab_nomerge", "objects of one kind keep to themselves: an overflow finds no others"),
    ("page_alloc.shuffle=1", "free pages are handed out in no order that can be guessed"),
    ("systemd.gpt_auto=no", "partitions are found by identifier, never by type alone"),
    ("rd.systemd.gpt_auto=no", "the same in the initrd"),
    ("systemd.getty_auto=no", "no login on a serial console"),
    ("panic=10", "a node that cannot go on starts again"),
];

/// The word on the command line that makes the initrd erase the state and all keys.
pub const FACTORY_RESET: &str = "goni.factory-reset";

/// systemd-boot's settings: no menu unless a key is held, no editor that could change the command line.
const LOADER: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\nbeep no\n";

/// Why there is nothing to boot.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The initrd could not be cut.
    #[error("cutting the initrd")]
    Initrd(#[from] InitrdError),
    /// An os-release that names no system, by which systemd-boot could not sort.
    #[error("`/usr/lib/os-release` has neither `ID=` nor `IMAGE_ID=`")]
    Nameless,
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
    words.extend(words::promised(recipe, target.arch).into_iter().map(str::to_owned));
    let deny = recipe.kernel.modules.over(&target.modules).deny;
    if !deny.is_empty() {
        // So that the initrd does not load them either, nor anybody by name.
        let names: Vec<&str> = deny.iter().map(|module| module.as_str()).collect();
        words.push(format!("module_blacklist={}", names.join(",")));
    }
    // The last console is the one that systemd writes to.
    words.extend(target.screen.then(|| "console=tty0".to_owned()));
    words.extend(target.console.iter().map(|console| format!("console={}", console.as_str())));
    let added = target.command_line.iter().chain(&recipe.kernel.command_line);
    words.extend(added.map(|word| word.as_str().to_owned()));
    words.join(" ")
}

/// The ways to boot an image, and the command line of each.
///
/// The first is the default, as its place makes it for the stub and `sorted_last` for systemd-boot.
/// The second boots only where somebody chooses it in the menu.
#[must_use]
pub fn profiles(command_line: &str) -> [(Label, String); 2] {
    let label = |id: &str, title: Option<&str>| Label { id: id.into(), title: title.map(Into::into) };
    let reset = label("factory-reset", Some("Factory reset: erases all data of this node"));
    [(label("main", None), command_line.to_owned()), (reset, format!("{command_line} {FACTORY_RESET}"))]
}

/// The os-release of a profile that must never be the default.
///
/// systemd-boot boots the first of its list. It sorts by what os-release calls the system and only then
/// by name, and 257 gets the names wrong: while a file counts its tries, a later profile sorts before
/// the first. A longer word for the system, with the same beginning, sorts behind in every version.
/// Source: systemd-boot(7), `boot_entry_compare` in systemd's boot.c.
fn sorted_last(os_release: &[u8], id: &str) -> Result<Vec<u8>, BootError> {
    let text = String::from_utf8_lossy(os_release);
    let value = |key: &str| {
        let mut values = text.lines().rev().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values
            .next()
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
            .filter(|value| !value.is_empty())
    };
    let system = value("IMAGE_ID").or_else(|| value("ID")).ok_or(BootError::Nameless)?;
    Ok(format!("{}\nIMAGE_ID={system}-{id}\n", text.trim_end()).into_bytes())
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
    state: &StateDevice,
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
    // Where a kernel comes as `linux-binary` and `linux-modules`, its image is beside the modules.
    let image = match read(format!("boot/vmlinuz-{release}")) {
        Err(InitrdError::Missing { .. }) => read(format!("usr/lib/modules/{release}/vmlinuz")),
        found => found,
    };
    Ok(Kernel {
        image: image?,
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
    let [(main, _), (reset, reset_line)] = profiles(command_line);
    let reset_system = sorted_last(&kernel.os_release, &reset.id)?;
    let reset_sections = vec![
        NewSection::bytes(".osrel", &reset_system),
        NewSection::bytes(".cmdline", reset_line.as_bytes()),
    ];
    let profiles = vec![
        NewProfile { label: main, sections: Vec::new() },
        NewProfile { label: reset, sections: reset_sections },
    ];
    let mut image = Vec::new();
    uki::write(&kernel.stub, sections, profiles, &mut image)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_no_default_sorts_behind_the_system() {
        for (os_release, sorted) in [
            ("NAME=x\nID=debian\n", Some("NAME=x\nID=debian\nIMAGE_ID=debian-reset\n")),
            ("ID=\"debian\"\nIMAGE_ID='goni'", Some("ID=\"debian\"\nIMAGE_ID='goni'\nIMAGE_ID=goni-reset\n")),
            ("VERSION_ID=13\nID=\n", None),
        ] {
            let made = sorted_last(os_release.as_bytes(), "reset").ok();
            assert_eq!(made.as_deref(), sorted.map(str::as_bytes), "{os_release}");
        }
    }
}
