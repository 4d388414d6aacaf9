//! The partitions, and what the file systems in them say of themselves.

use goni_disk::gpt::Table;
use goni_model::layout::Role;

use crate::inspection::{FileSystem, Partition};
use crate::verify::evidence::{Evidence, Superblock};

/// Every partition, in the order of the table.
pub(super) fn read(evidence: &Evidence<'_>, table: &Table) -> Vec<Partition> {
    let partitions = (1..).zip(&table.partitions).filter_map(|(number, partition)| {
        let role = evidence.role(partition);
        Some(Partition {
            number,
            role,
            label: partition.name.clone(),
            type_guid: partition.type_guid,
            guid: partition.guid,
            offset: partition.first.offset(table.sector_size)?.get(),
            size: partition.size(table.sector_size)?.get(),
            in_mbr: table.in_mbr == Some(partition.guid),
            content: role.and_then(|role| file_system(evidence, role)),
        })
    });
    partitions.collect()
}

fn file_system(evidence: &Evidence<'_>, role: Role) -> Option<FileSystem> {
    match role {
        Role::Esp => {
            let esp = evidence.esp.found()?;
            Some(FileSystem {
                kind: "vfat",
                label: named(&esp.label),
                // As blkid(8) writes the number.
                uuid: Some(format!("{:04X}-{:04X}", esp.volume_id >> 16, esp.volume_id & 0xFFFF)),
                used: esp.used,
            })
        }
        Role::Root => {
            let root = evidence.root.found()?;
            let (label, uuid) = root.names();
            Some(FileSystem {
                kind: "erofs",
                label: named(&label),
                uuid: Some(uuid.to_string()),
                used: root.size().get(),
            })
        }
        Role::RootVerity => {
            evidence.root_hash.found()?;
            let (_, size) = evidence.extent(role)?;
            Some(FileSystem { kind: "verity", label: None, uuid: None, used: size.get() })
        }
        Role::App => Some(ext4(&evidence.app.found()?.superblock)),
        Role::State => Some(ext4(&evidence.state.found()?.superblock)),
        Role::Swap | Role::Modules => None,
    }
}

fn ext4(superblock: &Superblock) -> FileSystem {
    let label = String::from_utf8_lossy(&superblock.label);
    FileSystem {
        kind: "ext4",
        label: named(label.trim_end_matches('\0')),
        uuid: Some(superblock.uuid.to_string()),
        used: superblock.used,
    }
}

fn named(label: &str) -> Option<String> {
    let label = label.trim();
    (!label.is_empty() && label != "NO NAME").then(|| label.to_owned())
}
