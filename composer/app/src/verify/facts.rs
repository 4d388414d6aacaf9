//! What an image says of itself, to be compared with what was meant.

use std::fmt::Display;

use goni_disk::verity::RootHash;
use goni_model::arch::Arch;
use goni_model::layout::Role;
use goni_model::number::to_u64;
use goni_model::size::{ByteCount, SectorSize};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::board;
use super::evidence::{BootedAs, Evidence, NodeKind};
use super::mounts;
use super::objection::{Verdict, equal};
use super::packages;

/// What an image says of itself; what could not be read is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// What it runs on.
    pub arch: Option<Arch>,
    /// The size of the disk.
    #[serde(serialize_with = "bytes")]
    pub disk_size: ByteCount,
    /// The bytes of a sector, by the partition table.
    #[serde(serialize_with = "sectors")]
    pub sector_size: Option<SectorSize>,
    /// The partitions, in the order of their numbers.
    pub partitions: Vec<PartitionFact>,
    /// The hash that the root's hash tree leads up to.
    #[serde(serialize_with = "maybe_text")]
    pub root_hash: Option<RootHash>,
    /// The kernel image, as a path on the partition that is booted from.
    pub kernel_image: Option<String>,
    /// The kernel's command line.
    pub command_line: Option<String>,
    /// The ways to boot the kernel image, the default first.
    pub profiles: Vec<ProfileFact>,
    /// The kernel's release.
    pub kernel_release: Option<String>,
    /// The size of the root file system.
    #[serde(serialize_with = "maybe_bytes")]
    pub root_size: Option<ByteCount>,
    /// Regular files of the root, each name of a file counted.
    pub files: u64,
    /// Directories of the root.
    pub directories: u64,
    /// Symbolic links of the root.
    pub symlinks: u64,
    /// Packages in the root.
    pub packages: u64,
    /// Directories that are kept because a recipe says so.
    pub persist: Vec<String>,
    /// The board it is for.
    pub target: Option<String>,
}

/// What a kernel image says of a way to boot it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileFact {
    /// Its name.
    pub id: String,
    /// What the menu calls it, if not as the system.
    pub title: Option<String>,
    /// The kernel's command line then.
    pub command_line: String,
}

/// What an image says of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionFact {
    /// What it is for, if its type is one of ours.
    pub role: Option<Role>,
    /// Its label.
    pub label: String,
    /// Its PARTUUID.
    #[serde(serialize_with = "text")]
    pub guid: Uuid,
    /// Its first byte.
    #[serde(serialize_with = "bytes")]
    pub offset: ByteCount,
    /// Its size.
    #[serde(serialize_with = "bytes")]
    pub size: ByteCount,
}

/// What was meant.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// What it runs on.
    pub arch: Arch,
    /// The size of the disk.
    pub disk_size: ByteCount,
    /// The bytes of a sector.
    pub sector_size: SectorSize,
    /// Every partition in order: role, PARTUUID, offset, size.
    pub partitions: Vec<(Role, Uuid, ByteCount, ByteCount)>,
    /// The root hash, if the root has a hash tree.
    pub root_hash: Option<RootHash>,
    /// The kernel image, as a path on the partition that is booted from.
    pub kernel_image: String,
    /// The kernel's command line.
    pub command_line: String,
    /// Name and command line of each way to boot, the default first.
    pub profiles: Vec<(String, String)>,
    /// The kernel's release.
    pub kernel_release: String,
    /// Directories that are kept because the recipe says so, sorted.
    pub persist: Vec<String>,
    /// The board it is for.
    pub target: String,
}

impl Facts {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let sector_size = evidence.table.found().map(|table| table.sector_size);
        let partition = |partition: &goni_disk::gpt::Partition| {
            let sector_size = sector_size?;
            Some(PartitionFact {
                role: evidence.role(partition),
                label: partition.name.clone(),
                guid: partition.guid,
                offset: partition.first.offset(sector_size)?,
                size: partition.size(sector_size)?,
            })
        };
        let booted = evidence.booted();
        let fact = |way: &BootedAs| ProfileFact {
            id: way.id.clone(),
            title: way.title.clone(),
            command_line: way.command_line.clone(),
        };
        let root = evidence.root.found();
        let count = |kind: NodeKind| {
            to_u64(root.map_or(0, |root| root.nodes().filter(|(_, node)| node.kind() == kind).count()))
        };
        Self {
            arch: evidence.arch,
            disk_size: evidence.size,
            sector_size,
            partitions: evidence.partitions().iter().filter_map(partition).collect(),
            root_hash: evidence.root_hash.found().copied(),
            kernel_image: booted.as_ref().map(|booted| booted.kernel.clone()),
            command_line: booted.as_ref().and_then(|booted| Some(booted.ways.first()?.command_line.clone())),
            profiles: booted.as_ref().map_or_else(Vec::new, |booted| booted.ways.iter().map(fact).collect()),
            kernel_release: booted.map(|booted| booted.release),
            root_size: root.map(super::evidence::Root::size),
            files: count(NodeKind::File),
            directories: count(NodeKind::Directory),
            symlinks: count(NodeKind::Symlink),
            // What is wrong with the database, its own check tells.
            packages: root
                .and_then(|root| packages::packages(root).ok())
                .map_or(0, |packages| to_u64(packages.len())),
            persist: root.and_then(|root| mounts::wished(root).ok()).unwrap_or_default(),
            target: root.and_then(|root| board::board(root).ok()?).map(|board| board.target),
        }
    }

    pub(super) fn compare(&self, expected: &Expectations) -> Verdict {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        equal("an image for", expected.arch.to_string(), shown(self.arch.map(|arch| arch.to_string())))?;
        equal("a disk of", expected.disk_size, self.disk_size)?;
        let found = shown(self.sector_size.map(|size| size.get().to_string()));
        equal("sectors of", expected.sector_size.get().to_string(), found)?;
        let meant =
            expected.partitions.iter().map(|(role, guid, offset, size)| (Some(*role), *guid, *offset, *size));
        let found = self
            .partitions
            .iter()
            .map(|partition| (partition.role, partition.guid, partition.offset, partition.size));
        equal("partitions", list(meant), list(found))?;
        let hash = |hash: Option<RootHash>| shown(hash.map(|hash| hash.to_string()));
        equal("the root hash is", hash(expected.root_hash), hash(self.root_hash))?;
        for (what, meant, found) in [
            ("the kernel image is", &expected.kernel_image, &self.kernel_image),
            ("the command line is", &expected.command_line, &self.command_line),
            ("the kernel's release is", &expected.kernel_release, &self.kernel_release),
            ("the target is", &expected.target, &self.target),
        ] {
            equal(what, meant.clone(), shown(found.clone()))?;
        }
        let listed = |profiles: &mut dyn Iterator<Item = (&String, &String)>| {
            profiles.map(|(id, line)| format!("{id}: {line}")).collect::<Vec<_>>().join("; ")
        };
        let meant = listed(&mut expected.profiles.iter().map(|(id, line)| (id, line)));
        equal(
            "the profiles are",
            meant,
            listed(&mut self.profiles.iter().map(|it| (&it.id, &it.command_line))),
        )?;
        equal("directories that are kept:", expected.persist.join(", "), self.persist.join(", "))
    }
}

fn list(partitions: impl Iterator<Item = (Option<Role>, Uuid, ByteCount, ByteCount)>) -> String {
    let shown = partitions.map(|(role, guid, offset, size)| {
        let role = role.map_or("unknown", Role::name);
        format!("{role} {guid} at {} of {}", offset.get(), size.get())
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn maybe_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn sectors<S: Serializer>(value: &Option<SectorSize>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(SectorSize::get).serialize(serializer)
}

fn bytes<S: Serializer>(value: &ByteCount, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(value.get())
}

fn maybe_bytes<S: Serializer>(value: &Option<ByteCount>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_u64(value.get()),
        None => serializer.serialize_none(),
    }
}
