//! The disk of a shadow boot, from a finished image: everything at its place, but for the boot partition,
//! which is another, and the state, which makes room for the kernel's modules.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use goni_disk::erofs::{self, Compression};
use goni_disk::fat;
use goni_disk::gpt::{self, Attributes, GptError, Partition, Table};
use goni_disk::tree::{FileTree, TreePath};
use goni_model::layout::{Layout, LayoutError, Role, Slot, derived_uuid};
use goni_model::size::{ByteCount, SectorSize};
use goni_model::target::Target;
use uuid::Uuid;

use super::STAGE;
use super::kernel::Kernel;
use crate::build::Finished;
use crate::failure::{Class, Classify, Failure};
use crate::host::disk_file::DiskFile;
use crate::host::files::full_disk_hint;
use crate::progress::{Progress, Unit};
use crate::project::Project;
use crate::smoke::expectations::{Expectations, Promises};
use crate::stages::boot::{self, BootError};
use crate::stages::image;
use crate::stages::initrd::{Source, Stock};
use crate::stages::state::StateDevice;

/// Room for the modules of a kernel: Debian's take under a third. What is not written takes no space.
const MODULES: ByteCount = ByteCount::from_mib(512);

/// Where modules are.
const PLACE: &str = "usr/lib/modules";

/// Why there is no disk for a shadow boot.
#[derive(Debug, thiserror::Error)]
pub enum ShadowDiskError {
    /// Reading the image or writing the disk.
    #[error("making `{path}`")]
    Io {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the image is like.
    #[error("reading the partition table of `{path}`")]
    Table {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        source: GptError,
    },
    /// A partition that every image has.
    #[error("`{path}` has no {role} partition of this recipe")]
    NoPartition {
        /// The image.
        path: PathBuf,
        /// The partition.
        role: Role,
    },
    /// What boots.
    #[error("preparing what boots")]
    Boot(#[from] BootError),
    /// The modules.
    #[error("writing the modules of the kernel")]
    Modules(#[source] Box<erofs::WriteError>),
    /// The EFI system partition.
    #[error("writing the EFI system partition")]
    Esp(#[source] Box<fat::WriteError>),
    /// No place for everything.
    #[error("placing the partitions")]
    Layout(#[from] LayoutError),
    /// The partition table.
    #[error("writing the partition table")]
    Write(#[source] GptError),
}

impl Classify for ShadowDiskError {
    fn class(&self) -> Class {
        match self {
            Self::Boot(error) => error.class(),
            Self::NoPartition { .. } | Self::Table { .. } => Class::Content,
            Self::Layout(_) => Class::Bug,
            _ => Class::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Boot(error) => error.hint(),
            Self::Io { source, .. } => full_disk_hint(source),
            Self::NoPartition { .. } => Some("build the image anew: the recipe has changed since".to_owned()),
            _ => None,
        }
    }
}

/// What disks are made of.
#[derive(Clone, Copy)]
pub(super) struct Cast<'a> {
    pub(super) project: &'a Project,
    pub(super) shadow: &'a Target,
    pub(super) tree: &'a Finished,
    pub(super) kernel: &'a Kernel,
}

/// The disks, and the kernel that is on them.
pub(super) struct Disks {
    pub(super) images: Vec<(SectorSize, PathBuf)>,
    pub(super) release: String,
}

impl Cast<'_> {
    /// Writes a disk for each image.
    pub(super) fn write(
        &self,
        images: &[(SectorSize, PathBuf)],
        scratch: &Path,
        progress: &dyn Progress,
    ) -> Result<Disks, Failure> {
        progress.begin(STAGE, None, Unit::Steps);
        let Self { project, shadow, tree, kernel } = self;
        let root = Source { tree: &tree.root, content: &tree.contents, arch: shadow.arch };
        let stock = Stock { root, kernel: kernel.source(shadow), modules: Some(self.uuid(Role::Modules)) };
        let partition = image::partition_uuid(&project.recipe, &project.target, Role::State);
        let state = StateDevice { partition, encryption: project.recipe.state.encryption };
        let (boot, _) = boot::prepare(&stock, shadow, &state, tree.date).map_err(ShadowDiskError::from)?;
        let mut written = Vec::new();
        for (sectors, image) in images {
            let stem = image.file_stem().unwrap_or_default().to_string_lossy();
            let path = scratch.join(format!("{stem}.shadow.raw"));
            self.write_one(image, &path, *sectors, &boot)?;
            written.push((*sectors, path));
        }
        let release = boot.release().to_owned();
        progress.end(STAGE, &format!("kernel {release} of `{}`, the root as it is", shadow.name));
        Ok(Disks { images: written, release })
    }

    fn write_one(
        &self,
        image: &Path,
        path: &Path,
        sectors: SectorSize,
        boot: &boot::Kernel,
    ) -> Result<(), ShadowDiskError> {
        let io = |source| ShadowDiskError::Io { path: path.to_owned(), source };
        let unreadable = |source| ShadowDiskError::Table { path: image.to_owned(), source };
        let from = DiskFile::open(image).map_err(io)?;
        let size = from.size().map_err(io)?;
        let table = gpt::read(&mut from.whole().map_err(io)?, size, sectors).map_err(unreadable)?;
        let before = self.sizes(image, &table)?;
        let old = Layout::place(sectors, &before)?;
        let mut sizes = before;
        let last = sizes.pop();
        sizes.push((Role::Modules, MODULES));
        sizes.extend(last);
        let new = Layout::place(sectors, &sizes)?;
        let disk = DiskFile::create(path, new.disk_size).map_err(io)?;
        for (old, new) in old.slots().filter_map(|old| Some((old, new.slot(old.role)?))) {
            let part = old.offset.get()..old.offset.get() + old.size.get();
            match old.role {
                Role::Esp | Role::App => {}
                Role::State => {
                    disk.copy_moved(&from, part, new.offset.get() - old.offset.get()).map_err(io)?
                }
                _ => disk.copy_from(&from, part).map_err(io)?,
            }
        }
        let promises = Promises::of(self.project);
        let root_hash = Expectations::of_table(&table, promises).root_hash;
        let root_hash = root_hash.and_then(|hash| hash.to_string().parse().ok());
        let root = self.partition(image, &table, Role::Root)?.guid;
        let Self { project, shadow, tree, .. } = self;
        let line = self.command_line(&boot::command_line(&project.recipe, shadow, root_hash.as_ref(), root));
        let files = boot::fill(boot, &project.recipe, shadow, &line, tree.date)?;
        for (role, files) in files.iter().filter(|(role, _)| *role == Role::Esp) {
            self.write_esp(&disk, slot(&new, *role, image)?, sectors, files)?;
        }
        self.write_modules(&disk, slot(&new, Role::Modules, image)?)?;
        let table = self.table(&table, &old, &new);
        gpt::write(&mut disk.whole().map_err(io)?, new.disk_size, &table).map_err(ShadowDiskError::Write)
    }

    /// The sizes of an image's partitions, which must be those of this recipe.
    fn sizes(&self, image: &Path, table: &Table) -> Result<Vec<(Role, ByteCount)>, ShadowDiskError> {
        let Self { project, .. } = self;
        let wanted = image::sizes(&project.recipe, &project.target).unwrap_or_default();
        let found = |(role, size): (Role, ByteCount)| {
            let missing = || ShadowDiskError::NoPartition { path: image.to_owned(), role };
            let partition = self.partition(image, table, role)?;
            let same = partition.size(table.sector_size) == Some(size);
            if same { Ok((role, size)) } else { Err(missing()) }
        };
        wanted.into_iter().map(found).collect()
    }

    fn partition<'t>(
        &self,
        image: &Path,
        table: &'t Table,
        role: Role,
    ) -> Result<&'t Partition, ShadowDiskError> {
        let wanted = (role.label(), role.type_guid(self.shadow.arch));
        let mut partitions = table.partitions.iter();
        let found = partitions.find(|partition| (partition.name.as_str(), partition.type_guid) == wanted);
        found.ok_or_else(|| ShadowDiskError::NoPartition { path: image.to_owned(), role })
    }

    /// Modules that the image loads at boot are those of its own kernel.
    fn command_line(&self, line: &str) -> String {
        let Self { project, .. } = self;
        let modules = project.recipe.kernel.modules.over(&project.target.modules);
        if modules.load.is_empty() {
            return line.to_owned();
        }
        format!("{line} systemd.mask=systemd-modules-load.service")
    }

    fn write_esp(
        &self,
        disk: &DiskFile,
        slot: &Slot,
        sector_size: SectorSize,
        files: &FileTree,
    ) -> Result<(), ShadowDiskError> {
        let options = fat::Options {
            size: slot.size,
            sector_size,
            volume_id: 0,
            label: "SHADOW-ESP".to_owned(),
            build_time: self.tree.date,
        };
        fat::write(files, &self.kernel.contents, &options, &mut disk.window(slot.offset, slot.size))
            .map(drop)
            .map_err(|error| ShadowDiskError::Esp(Box::new(error)))
    }

    /// The modules, as they are mounted over the root's.
    fn write_modules(&self, disk: &DiskFile, slot: &Slot) -> Result<(), ShadowDiskError> {
        let options = erofs::Options {
            // They are packed themselves.
            compression: Compression::None,
            uuid: self.uuid(Role::Modules),
            volume_label: "goni-modules".to_owned(),
            build_time: self.tree.date,
            capacity: Some(slot.size),
        };
        let wrong = |error| ShadowDiskError::Modules(Box::new(error));
        let mut output = io::BufWriter::with_capacity(1 << 20, disk.window(slot.offset, slot.size));
        erofs::write(&modules(&self.kernel.tree), &self.kernel.contents, &options, &mut output)
            .map_err(wrong)?;
        output.flush().map_err(|error| wrong(erofs::WriteError::Output(error)))
    }

    fn table(&self, table: &Table, old: &Layout, new: &Layout) -> Table {
        let old_partitions: Vec<(Role, &Partition)> =
            old.slots().map(|slot| slot.role).zip(&table.partitions).collect();
        let partition = |slot: &Slot| {
            let own = old_partitions.iter().find(|(role, _)| *role == slot.role).map(|(_, own)| *own);
            Partition {
                name: slot.role.label().to_owned(),
                type_guid: slot.role.type_guid(self.shadow.arch),
                guid: own.map_or_else(|| self.uuid(slot.role), |own| own.guid),
                first: slot.first,
                last: slot.last,
                attributes: Attributes::new(slot.role.attributes()),
            }
        };
        Table {
            disk_guid: table.disk_guid,
            sector_size: table.sector_size,
            partitions: new.slots().map(partition).collect(),
            in_mbr: None,
        }
    }

    fn uuid(&self, role: Role) -> Uuid {
        derived_uuid(&[self.project.recipe.name.as_str(), "shadow", role.name()])
    }
}

fn slot<'l>(layout: &'l Layout, role: Role, image: &Path) -> Result<&'l Slot, ShadowDiskError> {
    layout.slot(role).ok_or_else(|| ShadowDiskError::NoPartition { path: image.to_owned(), role })
}

/// What is below the directory of modules, as a tree of its own.
fn modules(kernel: &FileTree) -> FileTree {
    let top = TreePath::parse(PLACE.as_bytes()).expect("a path written in this program is canonical");
    let inode = kernel.get(&top).expect("the kernel has modules, which were indexed");
    let owner = kernel.entry(&top).map(|entry| entry.owner.clone());
    let mut tree = FileTree::new(
        inode.metadata.clone(),
        owner.unwrap_or_else(|| goni_disk::tree::Owner::Stage(STAGE.into())),
    );
    for (path, entry) in kernel.below(&top).filter(|(path, _)| **path != top) {
        let below = path.as_bytes().get(PLACE.len() + 1..).unwrap_or_default();
        let place = TreePath::parse(below).expect("the end of a canonical path is one");
        let inode = kernel.inode(entry.inode).clone();
        tree.insert(place, inode, entry.owner.clone()).expect("a tree within a tree is one");
    }
    tree
}
