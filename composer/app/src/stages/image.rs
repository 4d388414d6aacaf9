//! The disk is written: every file system straight into its place in one sparse file.
//!
//! The root comes first, for its hash is in the kernel's command line and in two partition
//! identifiers; while it is packed, the initrd is cut on the other core. Nothing is copied: writers
//! write through windows onto the disk. What the disk is like with sectors of another size, `variant`
//! makes of the finished one.

mod variant;

use std::io;
use std::path::{Path, PathBuf};

use goni_disk::erofs::{self, Compression};
use goni_disk::gpt::{self, Attributes, GptError, Partition, Table};
use goni_disk::tree::{ContentSource, FileTree, TreePath};
use goni_disk::verity::{self, Params, RootHash, VerityError};
use goni_disk::{ext4, fat};
use goni_model::digest::Sha256Digest;
use goni_model::layout::{Layout, Role, derived_uuid};
use goni_model::number::to_u64;
use goni_model::recipe::{self, Recipe, StateEncryption};
use goni_model::size::ByteCount;
use goni_model::target::Target;
use goni_model::time::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::host::disk_file::DiskFile;
use crate::host::files::full_disk_hint;
use crate::progress::{Progress, Unit};
use crate::stages::boot::{self, BootError};
use crate::stages::initrd::{Source, Stock};
use crate::stages::state::StateDevice;

pub use variant::Variant;

/// The name of this stage where progress is told.
const STAGE: &str = "image";

/// Everything a disk is made of.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Its target.
    pub target: &'a Target,
    /// Where everything goes.
    pub layout: &'a Layout,
    /// The root, finished.
    pub root: &'a FileTree,
    /// The state.
    pub state: &'a FileTree,
    /// The bytes of both.
    pub content: &'a dyn ContentSource,
    /// The latest time of anything.
    pub date: Timestamp,
}

impl std::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("recipe", &self.recipe.name)
            .field("layout", self.layout)
            .finish_non_exhaustive()
    }
}

/// What was written, as far as it could not be known before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The root's hash, if verity protects it.
    #[serde(serialize_with = "as_text")]
    pub root_hash: Option<RootHash>,
    /// The kernel's command line.
    pub command_line: String,
    /// The release of the kernel.
    pub kernel: String,
    /// Size of the root file system.
    pub root_size: ByteCount,
    /// Size of the compressed initrd.
    pub initrd_size: ByteCount,
    /// Identifier of each partition, in order of place.
    pub partitions: Vec<(Role, Uuid)>,
}

/// What boots an image: the trees that were written beside its root and state.
#[derive(Debug)]
pub struct Booting {
    /// What is in the initrd.
    pub initrd: FileTree,
    /// What is on the partitions of the boot method.
    pub partitions: Vec<(Role, FileTree)>,
    /// What each file takes of the root file system, by its first path.
    pub stored: Vec<(TreePath, u64)>,
}

fn as_text<S: serde::Serializer>(hash: &Option<RootHash>, serializer: S) -> Result<S::Ok, S::Error> {
    hash.as_ref().map(ToString::to_string).serialize(serializer)
}

/// Why the disk was not written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file of the disk.
    #[error("writing `{path}`")]
    File {
        /// It.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of the disk, in the middle of something.
    #[error("writing `{path}`")]
    Disk {
        /// It.
        path: PathBuf,
        /// What, and why.
        source: Box<Self>,
    },
    /// A layout without a partition that every image has.
    #[error("the layout has no {0} partition")]
    NoPartition(Role),
    /// The root file system.
    #[error("writing the root file system")]
    Root(#[source] Box<erofs::WriteError>),
    /// Its hash tree.
    #[error("hashing the root file system")]
    Verity(#[from] VerityError),
    /// The EFI system partition.
    #[error("writing the EFI system partition")]
    Esp(#[source] Box<fat::WriteError>),
    /// The partition that a boot method reads from ext4.
    #[error("writing the app partition")]
    App(#[source] Box<ext4::WriteError>),
    /// The state partition.
    #[error("writing the state partition")]
    State(#[source] Box<ext4::WriteError>),
    /// What boots.
    #[error("preparing what boots")]
    Boot(#[from] BootError),
    /// The partition table.
    #[error("writing the partition table")]
    Table(#[from] GptError),
}

impl Classify for ImageError {
    fn class(&self) -> Class {
        match self {
            Self::File { .. } => Class::Environment,
            Self::Disk { source, .. } => source.class(),
            Self::Table(GptError::Io { .. }) => Class::Environment,
            Self::NoPartition(_) | Self::Table(_) => Class::Bug,
            Self::Root(error) => match **error {
                erofs::WriteError::Output(_) | erofs::WriteError::Content { .. } => Class::Environment,
                erofs::WriteError::TooLarge { .. } => Class::Recipe,
                _ => Class::Content,
            },
            Self::Verity(VerityError::Io { .. }) => Class::Environment,
            Self::Verity(_) => Class::Bug,
            Self::Esp(error) => match **error {
                fat::WriteError::Output(_) | fat::WriteError::Content { .. } => Class::Environment,
                fat::WriteError::TooSmall { .. } => Class::Recipe,
                _ => Class::Content,
            },
            Self::App(error) | Self::State(error) => match **error {
                ext4::WriteError::Output(_) | ext4::WriteError::Content { .. } => Class::Environment,
                ext4::WriteError::TooSmall { .. } => Class::Recipe,
                _ => Class::Content,
            },
            Self::Boot(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, .. } => full_disk_hint(source),
            Self::Disk { source, .. } => source.hint(),
            Self::Verity(VerityError::Io { source, .. }) | Self::Table(GptError::Io { source, .. }) => {
                full_disk_hint(source)
            }
            Self::Root(error) => match &**error {
                erofs::WriteError::TooLarge { .. } => Some("give [root] a larger `size`".to_owned()),
                erofs::WriteError::Output(error) => full_disk_hint(error),
                _ => None,
            },
            Self::Esp(error) => match &**error {
                fat::WriteError::TooSmall { .. } => Some("give [esp] a larger `size`".to_owned()),
                fat::WriteError::Output(error) => full_disk_hint(error),
                _ => None,
            },
            Self::State(error) => match &**error {
                ext4::WriteError::TooSmall { .. } => Some("give [state] a larger `size`".to_owned()),
                ext4::WriteError::Output(error) => full_disk_hint(error),
                _ => None,
            },
            Self::Boot(error) => error.hint(),
            _ => None,
        }
    }
}

/// The identifier of a partition that keeps it over versions: of all but root and hash tree.
#[must_use]
pub fn partition_uuid(recipe: &Recipe, target: &Target, role: Role) -> Uuid {
    derived_uuid(&[recipe.name.as_str(), target.arch.debian(), role.name()])
}

/// Identifiers and seeds within the image, which change with its version.
fn uuid_of(parts: &Parts<'_>, what: &str) -> Uuid {
    let Recipe { name, version, .. } = parts.recipe;
    derived_uuid(&[name.as_str(), version.as_str(), parts.target.arch.debian(), what])
}

/// Writes a disk to a file that is not there yet, and the same disk with other sectors to others. The
/// first disk of the outcome is that of [`Parts::layout`], the others follow in their order.
///
/// # Errors
/// [`ImageError`]; what is there of the files is then of no use.
pub fn write(
    path: &Path,
    parts: &Parts<'_>,
    variants: &[Variant<'_>],
    progress: &dyn Progress,
) -> Result<(Vec<DiskFile>, Written, Booting), ImageError> {
    write_disks(path, parts, variants, progress).map_err(|error| match error {
        // A full disk says which.
        ImageError::Root(_)
        | ImageError::Verity(_)
        | ImageError::Esp(_)
        | ImageError::App(_)
        | ImageError::State(_)
        | ImageError::Table(_)
            if error.class() == Class::Environment =>
        {
            ImageError::Disk { path: path.to_owned(), source: Box::new(error) }
        }
        error => error,
    })
}

fn write_disks(
    path: &Path,
    parts: &Parts<'_>,
    variants: &[Variant<'_>],
    progress: &dyn Progress,
) -> Result<(Vec<DiskFile>, Written, Booting), ImageError> {
    let failed = |source| ImageError::File { path: path.to_owned(), source };
    let total = parts.root.inode_count();
    progress.begin(STAGE, Some(to_u64(total)), Unit::Steps);
    let disk = DiskFile::create(path, parts.layout.disk_size).map_err(failed)?;
    let state_uuid = partition_uuid(parts.recipe, parts.target, Role::State);
    let (kernel, root) = rayon::join(
        || {
            let source = Source { tree: parts.root, content: parts.content, arch: parts.target.arch };
            let state = StateDevice { partition: state_uuid, encryption: parts.recipe.state.encryption };
            boot::prepare(&Stock::of(source), parts.target, &state, parts.date)
        },
        || write_root(&disk, parts),
    );
    let (erofs::Summary { size: root_size, stored, .. }, root_hash) = root?;
    let (kernel, initrd) = kernel?;
    let root_uuid = root_hash.as_ref().map_or_else(|| uuid_of(parts, "root"), RootHash::root_uuid);
    let command_line = boot::command_line(parts.recipe, parts.target, root_hash.as_ref(), root_uuid);
    let boot = boot::fill(&kernel, parts.recipe, parts.target, &command_line, parts.date)?;
    for (role, tree) in &boot {
        write_boot(&disk, parts, parts.layout, *role, tree)?;
    }
    // An encrypted one is made on the device: until then it is empty.
    if parts.recipe.state.encryption == StateEncryption::None {
        write_state(&disk, parts, state_uuid)?;
    }
    let table = table(parts, parts.layout, root_hash.as_ref());
    gpt::write(&mut disk.whole().map_err(failed)?, parts.layout.disk_size, &table)?;
    let others = variants
        .iter()
        .map(|variant| variant.write(&disk, parts, &boot, root_hash.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let written = Written {
        root_hash,
        command_line,
        kernel: kernel.release().to_owned(),
        root_size,
        initrd_size: ByteCount::new(to_u64(kernel.initrd_size())),
        partitions: std::iter::zip(parts.layout.slots(), &table.partitions)
            .map(|(slot, it)| (slot.role, it.guid))
            .collect(),
    };
    progress.end(
        STAGE,
        &format!("root {}, initrd {}", mebibytes(written.root_size), mebibytes(written.initrd_size)),
    );
    let booting = Booting { initrd, partitions: boot, stored };
    Ok((std::iter::once(disk).chain(others).collect(), written, booting))
}

/// A size for people.
fn mebibytes(size: ByteCount) -> String {
    let tenths = size.get() / (1 << 20) * 10 + size.get() % (1 << 20) * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn slot<'a>(parts: &Parts<'a>, role: Role) -> Result<&'a goni_model::layout::Slot, ImageError> {
    parts.layout.slot(role).ok_or(ImageError::NoPartition(role))
}

/// Writes the root and, behind it in its own partition, its hash tree.
fn write_root(disk: &DiskFile, parts: &Parts<'_>) -> Result<(erofs::Summary, Option<RootHash>), ImageError> {
    let slot_of_root = slot(parts, Role::Root)?;
    let options = erofs::Options {
        compression: match parts.recipe.root.compression {
            recipe::Compression::Zstd => Compression::default(),
            recipe::Compression::None => Compression::None,
        },
        uuid: uuid_of(parts, "root file system"),
        volume_label: "goni-root".to_owned(),
        build_time: parts.date,
        capacity: Some(slot_of_root.size),
    };
    let window = disk.window(slot_of_root.offset, slot_of_root.size);
    let mut output = io::BufWriter::with_capacity(1 << 20, window);
    let summary = erofs::write(parts.root, parts.content, &options, &mut output)
        .map_err(|error| ImageError::Root(Box::new(error)))?;
    output
        .into_inner()
        .map_err(|error| ImageError::File { path: disk.path().to_owned(), source: error.into_error() })?;
    let Some(slot_of_tree) = parts.layout.slot(Role::RootVerity) else { return Ok((summary, None)) };
    // Salted by what the image is, so that no table of hashes made for one serves for another.
    let salt = *Sha256Digest::of(uuid_of(parts, "verity salt").as_bytes()).as_bytes();
    let params = Params { salt, uuid: uuid_of(parts, "verity") };
    let data = disk.window(slot_of_root.offset, summary.size);
    let mut output =
        io::BufWriter::with_capacity(1 << 20, disk.window(slot_of_tree.offset, slot_of_tree.size));
    let hash = verity::format(data, summary.size, &params, &mut output)?;
    output
        .into_inner()
        .map_err(|error| ImageError::File { path: disk.path().to_owned(), source: error.into_error() })?;
    Ok((summary, Some(hash)))
}

/// Writes a partition that the board boots from.
fn write_boot(
    disk: &DiskFile,
    parts: &Parts<'_>,
    layout: &Layout,
    role: Role,
    tree: &FileTree,
) -> Result<(), ImageError> {
    let slot = layout.slot(role).ok_or(ImageError::NoPartition(role))?;
    let mut output = disk.window(slot.offset, slot.size);
    if role == Role::App {
        let mut options = ext4::Options::new(slot.size, uuid_of(parts, "app"), parts.date);
        options.label = "goni-app".to_owned();
        // It never grows.
        options.grow_to = slot.size;
        return ext4::write(tree, parts.content, &options, &mut output)
            .map(drop)
            .map_err(|error| ImageError::App(Box::new(error)));
    }
    let serial = uuid_of(parts, "esp").as_u128() & u128::from(u32::MAX);
    let options = fat::Options {
        size: slot.size,
        sector_size: layout.sector_size,
        volume_id: u32::try_from(serial).unwrap_or_default(),
        label: "GONI-ESP".to_owned(),
        build_time: parts.date,
    };
    fat::write(tree, parts.content, &options, &mut output)
        .map_err(|error| ImageError::Esp(Box::new(error)))?;
    Ok(())
}

fn write_state(disk: &DiskFile, parts: &Parts<'_>, uuid: Uuid) -> Result<(), ImageError> {
    let slot = slot(parts, Role::State)?;
    let mut options = ext4::Options::new(slot.size, uuid, parts.date);
    options.label = "goni-state".to_owned();
    let mut output = disk.window(slot.offset, slot.size);
    ext4::write(parts.state, parts.content, &options, &mut output)
        .map_err(|error| ImageError::State(Box::new(error)))?;
    Ok(())
}

fn table(parts: &Parts<'_>, layout: &Layout, root_hash: Option<&RootHash>) -> Table {
    let guid = |role| match (role, root_hash) {
        (Role::Root, Some(hash)) => hash.root_uuid(),
        (Role::RootVerity, Some(hash)) => hash.verity_uuid(),
        (Role::Root | Role::RootVerity, None) => uuid_of(parts, "root"),
        _ => partition_uuid(parts.recipe, parts.target, role),
    };
    let partitions = layout.slots().map(|slot| Partition {
        name: slot.role.label().to_owned(),
        type_guid: slot.role.type_guid(parts.target.arch),
        guid: guid(slot.role),
        first: slot.first,
        last: slot.last,
        attributes: Attributes::new(slot.role.attributes()),
    });
    Table {
        disk_guid: uuid_of(parts, "disk"),
        sector_size: layout.sector_size,
        partitions: partitions.collect(),
        in_mbr: boot::in_mbr(parts.target).map(guid),
    }
}

/// The sizes of an image's partitions, in order of place.
///
/// # Errors
/// `Verity` if the root is larger than a hash tree can cover.
pub fn sizes(recipe: &Recipe, target: &Target) -> Result<Vec<(Role, ByteCount)>, VerityError> {
    let mut sizes = boot::partitions(recipe, target);
    sizes.push((Role::Root, recipe.root.size));
    if recipe.root.verity {
        let tree = verity::tree_size(recipe.root.size)?;
        // Rounded up to the whole mebibytes that partitions are made of.
        let mebibytes = tree.get().div_ceil(1 << 20);
        sizes.push((Role::RootVerity, ByteCount::from_mib(u32::try_from(mebibytes).unwrap_or(u32::MAX))));
    }
    if let recipe::Swap::RandomKey { size } = recipe.swap {
        sizes.push((Role::Swap, size));
    }
    sizes.push((Role::State, recipe.state.size));
    Ok(sizes)
}
