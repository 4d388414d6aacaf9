//! What the firmware reads: kernel, initrd and command line, where the target's boot method wants them.
//!
//! What is the same for all methods is here: the initrd, the command line, the ways to boot. A module each
//! has what a method makes of it, behind `method::Method`.

mod device_trees;
mod extlinux;
pub(crate) mod method;
mod raspberry_pi;
#[cfg(test)]
mod sample;
mod systemd_boot;
mod words;

use goni_disk::cpio::{self, CpioError};
use goni_disk::tree::{FileTree, TreeError};
use goni_disk::uki::{Label, UkiError};
use goni_disk::verity::RootHash;
use goni_disk::zboot::KernelError;
use goni_model::layout::Role;
use goni_model::recipe::Recipe;
use goni_model::size::ByteCount;
use goni_model::target::Target;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::stages::initrd::{self, InitrdError, Source, Stock};
use crate::stages::state::StateDevice;
use method::{BootPartition, Order, Taken};

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
    /// The tree of a boot partition could not take a file.
    #[error("filling the boot partition")]
    Tree(#[from] TreeError),
    /// The image has not the loader that its target names.
    #[error("the target's `loader` is `{path}`")]
    Loader {
        /// Its path.
        path: String,
        /// Why it cannot be had.
        #[source]
        error: InitrdError,
    },
    /// The image has not what the board's firmware is to read.
    #[error("the target's `firmware.files` name `{path}`")]
    FirmwareFile {
        /// Its path.
        path: String,
        /// Why it cannot be had.
        #[source]
        error: InitrdError,
    },
    /// A kernel that the board's firmware cannot load.
    #[error("the kernel is to be loaded by the board's own firmware")]
    Kernel(#[from] KernelError),
    /// The kernel has no such device tree.
    #[error("the target's `device-trees` name `{tree}`, which kernel {release} does not have")]
    NoDeviceTree {
        /// As the target has it.
        tree: String,
        /// The kernel.
        release: String,
    },
    /// A file that is no device tree.
    #[error("`{tree}` of the target's `device-trees` is no device tree")]
    NotDeviceTree {
        /// As the target has it.
        tree: String,
    },
}

impl Classify for BootError {
    fn class(&self) -> Class {
        match self {
            Self::Initrd(error) => error.class(),
            Self::Compress(_) => Class::Environment,
            Self::Loader { .. } | Self::FirmwareFile { .. } | Self::NoDeviceTree { .. } => Class::Recipe,
            _ => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Initrd(error) => error.hint(),
            Self::Loader { .. } | Self::FirmwareFile { .. } => {
                Some("name a file that one of the image's packages brings".to_owned())
            }
            Self::NoDeviceTree { .. } => Some(
                "write its path below the kernel's device trees, such as `broadcom/bcm2712-rpi-5-b.dtb`"
                    .to_owned(),
            ),
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

/// The initrd, packed and compressed, and the kernel it belongs to: all of the boot that does not
/// depend on the root's hash.
#[derive(Debug)]
pub struct Kernel {
    release: String,
    image: Vec<u8>,
    initrd: Vec<u8>,
    taken: Taken,
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

    /// A file that the boot method took from the root.
    fn taken(&self, name: &str) -> &[u8] {
        self.taken.get(name).expect("a method asks for what it took")
    }
}

/// Prepares everything that boots, from the finished root and its kernel; the tree is that of the initrd.
///
/// # Errors
/// [`BootError`].
pub(crate) fn prepare(
    stock: &Stock<'_>,
    target: &Target,
    state: &StateDevice,
    date: Timestamp,
) -> Result<(Kernel, FileTree), BootError> {
    let modules: Vec<String> =
        target.initrd_modules.iter().map(|module| module.as_str().to_owned()).collect();
    let tree = initrd::cut(stock, &modules, state, date)?;
    let mut encoder = zstd::Encoder::new(Vec::new(), INITRD_LEVEL).map_err(BootError::Compress)?;
    cpio::write(&tree, stock.root.content, &mut encoder)?;
    let initrd = encoder.finish().map_err(BootError::Compress)?;
    let release = initrd::kernel_release(&stock.kernel)?;
    let taken = method::of(target.boot).take(stock, target, &release)?;
    Ok((Kernel { image: kernel_image(&stock.kernel, &release)?, release, initrd, taken }, tree))
}

/// The kernel itself, wherever its package has it.
fn kernel_image(source: &Source<'_>, release: &str) -> Result<Vec<u8>, InitrdError> {
    for place in kernel_places(release) {
        match source.read_path(&initrd::path(&place)) {
            Err(InitrdError::Missing { .. }) => {}
            read => return read,
        }
    }
    // Where most kernels are.
    Err(InitrdError::Missing { path: initrd::path(&format!("boot/vmlinuz-{release}")) })
}

/// Where packages have a kernel: Debian's, Debian's where a kernel comes as `linux-binary` and
/// `linux-modules`, NVIDIA's.
#[must_use]
pub fn kernel_places(release: &str) -> [String; 3] {
    [format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz"), "boot/Image".to_owned()]
}

/// What is on the partitions of the target's boot method.
///
/// # Errors
/// [`BootError`].
pub(crate) fn fill(
    kernel: &Kernel,
    recipe: &Recipe,
    target: &Target,
    command_line: &str,
    date: Timestamp,
) -> Result<Vec<BootPartition>, BootError> {
    let profiles = profiles(command_line);
    method::of(target.boot).fill(&Order { kernel, recipe, target, profiles: &profiles, date })
}

/// The partitions of the target's boot method, in the order of the disk, and how large they are.
#[must_use]
pub fn partitions(recipe: &Recipe, target: &Target) -> Vec<(Role, ByteCount)> {
    method::of(target.boot).partitions(recipe)
}

/// The partition that the MBR names as well, where the target's boot method wants one.
#[must_use]
pub fn in_mbr(target: &Target) -> Option<Role> {
    method::of(target.boot).in_mbr()
}

/// Where the kernel of a release is, on the partition that the target boots from.
#[must_use]
pub fn kernel_path(recipe: &Recipe, target: &Target, release: &str) -> String {
    method::of(target.boot).kernel(recipe, release)
}
