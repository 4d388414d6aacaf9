//! A small image with everything that checks look for, to be broken one way at a time.
//!
//! Written by the program's own writers and stages; read by others.

mod boot;
mod disks;
mod extlinux;
mod modules;
mod raspberry_pi;
mod root;
mod trees;

use std::io::{BufWriter, Write as _};
use std::path::Path;

use goni_disk::gpt::{self, Attributes, Partition, Table};
use goni_disk::tree::{FileTree, NoContent};
use goni_disk::verity::{self, RootHash};
use goni_disk::{erofs, ext4, fat};
use goni_model::arch::Arch;
use goni_model::layout::{Layout, Role, derived_uuid};
use goni_model::name::ImagePath;
use goni_model::recipe;
use goni_model::size::{ByteCount, SectorSize};
use goni_model::target::BootMethod;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::host::disk_file::DiskFile;
use crate::stages::state;
use boot::{initrd_tree, packed};
use disks::set_length;
use root::root;
use trees::owner;

pub(super) use boot::{DRIVERS, SORTED_LAST, initrd, kernel_image, profiled_image, stub};
pub(super) use disks::{byte, flip, place_of_noise, tail, write_at};
pub(super) use modules::{module, module_file, plain_module};
pub(super) use root::ADDED;
pub(super) use trees::{add, chmod, directory, edit, link, metadata, own, path, put};

const DATE: Timestamp = Timestamp::from_seconds(1_780_000_000);
/// The kernel that the sample has modules of.
pub(super) const RELEASE: &str = "6.12.0-test";
/// Where the sample keeps its kernel image.
pub(super) const IMAGE: &str = "EFI/Linux/goni_0.1.0.efi";
/// The root's largest file, of bytes that repeat nowhere: any of them can be flipped and found.
pub(super) const NOISE: usize = 300_000;

/// A way to break an image, applied to the sample.
#[derive(Clone, Copy)]
pub(super) enum Breakage {
    /// None.
    Nothing,
    /// To the root, finished.
    Root(fn(&mut FileTree)),
    /// To the state.
    State(fn(&mut FileTree)),
    /// To the kernel's command line.
    CommandLine(fn(&str) -> String),
    /// To the initrd.
    Initrd(fn(&mut FileTree)),
    /// To the EFI system partition.
    SystemPartition(fn(&mut FileTree)),
    /// To the partition with `extlinux.conf`.
    App(fn(&mut FileTree)),
    /// To the partition table.
    Table(fn(&mut Table)),
    /// To the size of the EFI system partition's sectors.
    SystemSectors(SectorSize),
    /// To the finished disk.
    Disk(fn(&DiskFile, &Layout)),
    /// To the size of the finished file.
    Length(fn(u64) -> u64),
}

/// What the sample came to.
pub(super) struct Sample {
    pub(super) disk: DiskFile,
    pub(super) layout: Layout,
    pub(super) table: Table,
    pub(super) root_hash: RootHash,
    pub(super) command_line: String,
}

/// Builds the sample for disks of a sector size, broken so.
pub(super) fn build(
    directory: &Path,
    boot: BootMethod,
    sector_size: SectorSize,
    breakage: Breakage,
) -> Sample {
    let layout = layout(boot, sector_size);
    let file = directory.join("sample.raw");
    let disk = DiskFile::create(&file, layout.disk_size).unwrap();

    let mut root = root(boot);
    let wanted = recipe::State {
        size: layout.disk_size,
        encryption: recipe::StateEncryption::None,
        persist: vec![persist()],
    };
    state::write_tables(&mut root, &layout, &wanted, partition_uuid, DATE).unwrap();
    let mut state = state::set_apart(&mut root, &[persist()], DATE).unwrap();
    match breakage {
        Breakage::Root(change) => change(&mut root),
        Breakage::State(change) => {
            change(&mut state);
            state::plant_seed(&mut root, &state, DATE).unwrap();
        }
        _ => {}
    }
    let root_hash = write_root(&disk, &layout, &root);
    let mut command_line =
        format!("roothash={root_hash} ro nohibernate systemd.gpt_auto=no panic=10 console=ttyS0");
    if let Breakage::CommandLine(change) = breakage {
        command_line = change(&command_line);
    }
    let mut initrd = initrd_tree(&DRIVERS);
    if let Breakage::Initrd(change) = breakage {
        change(&mut initrd);
    }
    let initrd = packed(&initrd);
    let mut esp = match boot {
        BootMethod::SystemdBoot => system_partition(&command_line, &initrd),
        BootMethod::Extlinux => extlinux::system_partition(),
        BootMethod::RaspberryPi => raspberry_pi::system_partition(&command_line, &initrd),
    };
    if let Breakage::SystemPartition(change) = breakage {
        change(&mut esp);
    }
    let slot = layout.slot(Role::Esp).unwrap();
    let options = fat::Options {
        size: slot.size,
        sector_size: match breakage {
            Breakage::SystemSectors(other) => other,
            _ => sector_size,
        },
        volume_id: 7,
        label: "GONI-ESP".to_owned(),
        build_time: DATE,
    };
    fat::write(&esp, &NoContent, &options, &mut disk.window(slot.offset, slot.size)).unwrap();
    if let Some(slot) = layout.slot(Role::App) {
        let mut app = extlinux::app(&command_line, &initrd);
        if let Breakage::App(change) = breakage {
            change(&mut app);
        }
        let options = ext4::Options::new(slot.size, partition_uuid(Role::App), DATE);
        ext4::write(&app, &NoContent, &options, &mut disk.window(slot.offset, slot.size)).unwrap();
    }
    let slot = layout.slot(Role::State).unwrap();
    let options = ext4::Options::new(slot.size, partition_uuid(Role::State), DATE);
    ext4::write(&state, &NoContent, &options, &mut disk.window(slot.offset, slot.size)).unwrap();

    let mut table = table(boot, &layout, &root_hash);
    if let Breakage::Table(change) = breakage {
        change(&mut table);
    }
    gpt::write(&mut disk.whole().unwrap(), layout.disk_size, &table).unwrap();
    match breakage {
        Breakage::Disk(change) => change(&disk, &layout),
        Breakage::Length(length) => set_length(&file, length(layout.disk_size.get())),
        _ => {}
    }
    Sample { disk, layout, table, root_hash, command_line }
}

/// What the sample's recipe wants kept.
pub(super) fn persist() -> ImagePath {
    "/var/lib/kept".parse().unwrap()
}

fn layout(boot: BootMethod, sector_size: SectorSize) -> Layout {
    let app = (boot == BootMethod::Extlinux).then_some((Role::App, ByteCount::from_mib(32)));
    let esp = (Role::Esp, ByteCount::from_mib(512));
    let others = [
        (Role::Root, ByteCount::from_mib(16)),
        (Role::RootVerity, ByteCount::from_mib(1)),
        (Role::Swap, ByteCount::from_mib(64)),
        (Role::State, ByteCount::from_mib(64)),
    ];
    let sizes: Vec<_> = std::iter::once(esp).chain(app).chain(others).collect();
    Layout::place(sector_size, &sizes).unwrap()
}

pub(super) fn partition_uuid(role: Role) -> Uuid {
    derived_uuid(&["sample", role.name()])
}

fn table(boot: BootMethod, layout: &Layout, root_hash: &RootHash) -> Table {
    let raspberry_pi = boot == BootMethod::RaspberryPi;
    let arch = if raspberry_pi { Arch::Arm64 } else { Arch::Amd64 };
    let guid = |role| match role {
        Role::Root => root_hash.root_uuid(),
        Role::RootVerity => root_hash.verity_uuid(),
        _ => partition_uuid(role),
    };
    let partition = |slot: &goni_model::layout::Slot| Partition {
        name: slot.role.label().to_owned(),
        type_guid: slot.role.type_guid(arch),
        guid: guid(slot.role),
        first: slot.first,
        last: slot.last,
        attributes: Attributes::new(slot.role.attributes()),
    };
    Table {
        disk_guid: derived_uuid(&["sample"]),
        sector_size: layout.sector_size,
        partitions: layout.slots().map(partition).collect(),
        in_mbr: raspberry_pi.then(|| partition_uuid(Role::Esp)),
    }
}

fn write_root(disk: &DiskFile, layout: &Layout, root: &FileTree) -> RootHash {
    let slot = layout.slot(Role::Root).unwrap();
    let options = erofs::Options {
        compression: erofs::Compression::default(),
        uuid: derived_uuid(&["sample", "root file system"]),
        volume_label: "goni-root".to_owned(),
        build_time: DATE,
        capacity: Some(slot.size),
    };
    let mut output = BufWriter::new(disk.window(slot.offset, slot.size));
    let summary = erofs::write(root, &NoContent, &options, &mut output).unwrap();
    output.flush().unwrap();
    let params = verity::Params { salt: [7; verity::SALT_SIZE], uuid: derived_uuid(&["sample", "verity"]) };
    let tree = layout.slot(Role::RootVerity).unwrap();
    let data = disk.window(slot.offset, summary.size);
    verity::format(data, summary.size, &params, &mut disk.window(tree.offset, tree.size)).unwrap()
}

fn system_partition(command_line: &str, initrd: &[u8]) -> FileTree {
    let mut esp = FileTree::new(metadata(0o755, 0, 0), owner());
    add(&mut esp, "EFI/BOOT/BOOTX64.EFI", 0o644, &stub());
    add(&mut esp, "loader/loader.conf", 0o644, b"timeout 0\neditor no\n");
    add(&mut esp, IMAGE, 0o644, &kernel_image(command_line, RELEASE, initrd));
    esp
}
