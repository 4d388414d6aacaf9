//! A small image with everything that checks look for, to be broken one way at a time.
//!
//! Written by the program's own writers and stages; read by others.

mod extlinux;
mod raspberry_pi;

use std::collections::BTreeMap;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use goni_disk::gpt::{self, Attributes, Partition, Table};
use goni_disk::tree::{Content, FileTree, Inode, Kind, Metadata, NoContent, Owner, TreePath};
use goni_disk::uki::{self, Label, NewProfile, NewSection};
use goni_disk::verity::{self, RootHash};
use goni_disk::{cpio, erofs, ext4, fat};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::gpu::Driven;
use goni_model::layout::{Layout, Role, derived_uuid};
use goni_model::name::ImagePath;
use goni_model::number::{to_u64, to_usize};
use goni_model::recipe;
use goni_model::size::{ByteCount, SectorSize};
use goni_model::target::BootMethod;
use goni_model::target::expect::{Board, Expected};
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::host::disk_file::DiskFile;
use crate::stages::board::BOARD;
use crate::stages::modules::{Origin, RECORD, Record, Recorded};
use crate::stages::state;

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

#[expect(clippy::disallowed_methods, reason = "a test cuts its own file")]
fn set_length(path: &Path, length: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
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

/// The os-release of what systemd-boot is not to boot by itself.
pub(super) const SORTED_LAST: &str = "ID=debian\nIMAGE_ID=debian-factory-reset\n";

/// A kernel image with every section and profile.
pub(super) fn kernel_image(command_line: &str, release: &str, initrd: &[u8]) -> Vec<u8> {
    let reset = format!("{command_line} goni.factory-reset");
    let own = [(".osrel", SORTED_LAST), (".cmdline", &reset)];
    profiled_image(command_line, release, initrd, &[("main", &[]), ("factory-reset", &own)])
}

/// A kernel image with every section and these profiles: name, and sections of its own.
pub(super) fn profiled_image(
    command_line: &str,
    release: &str,
    initrd: &[u8],
    profiles: &[(&str, &[(&'static str, &str)])],
) -> Vec<u8> {
    let sections = vec![
        NewSection::bytes(".osrel", b"ID=debian\n"),
        NewSection::bytes(".cmdline", command_line.as_bytes()),
        NewSection::bytes(".uname", release.as_bytes()),
        NewSection::bytes(".initrd", initrd),
        NewSection::bytes(".linux", b"a kernel"),
    ];
    let profiles = profiles.iter().map(|(id, own)| NewProfile {
        label: Label { id: (*id).to_owned(), title: None },
        sections: own.iter().map(|(name, text)| NewSection::bytes(name, text.as_bytes())).collect(),
    });
    let mut image = Vec::new();
    uki::write(&stub(), sections, profiles.collect(), &mut image).unwrap();
    image
}

/// The modules that the initrd has.
pub(super) const DRIVERS: [&str; 2] = ["disk", "bus"];

/// An initrd with these modules.
pub(super) fn initrd(modules: &[&str]) -> Vec<u8> {
    packed(&initrd_tree(modules))
}

fn initrd_tree(modules: &[&str]) -> FileTree {
    let mut tree = FileTree::new(metadata(0o755, 0, 0), owner());
    for name in modules {
        add(&mut tree, &module_file(name), 0o644, b"a module");
    }
    tree
}

fn packed(tree: &FileTree) -> Vec<u8> {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    cpio::write(tree, &NoContent, &mut packed).unwrap();
    packed.finish().unwrap()
}

/// Where a module is.
pub(super) fn module_file(name: &str) -> String {
    format!("usr/lib/modules/{RELEASE}/kernel/{name}.ko.xz")
}

/// The least that `modinfo` reads: an ELF file with a section `.modinfo`, packed. Offsets are ELF's: the
/// header's 64 bytes, the texts, the names of sections, then three headers of 64 bytes.
pub(super) fn module(release: &str, firmware: &[&str]) -> Vec<u8> {
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new(&plain_module(release, firmware)[..], 1).read_to_end(&mut packed).unwrap();
    packed
}

/// The same, not packed.
pub(super) fn plain_module(release: &str, firmware: &[&str]) -> Vec<u8> {
    let firmware: String = firmware.iter().map(|file| format!("firmware={file}\0")).collect();
    let texts = format!("license=GPL\0{firmware}vermagic={release} SMP mod_unload \0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    elf.extend(texts.bytes().chain(*names));
    elf.resize(elf.len().next_multiple_of(8), 0);
    let headers = to_u64(elf.len());
    elf[16..20].copy_from_slice(&[1, 0, 62, 0]); // e_type, e_machine
    elf[20] = 1; // e_version
    elf[40..48].copy_from_slice(&headers.to_le_bytes()); // e_shoff
    elf[52..64].copy_from_slice(&[64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]); // sizes, e_shnum, e_shstrndx
    let (start, length) = (64, to_u64(texts.len()));
    let section = |name: u32, kind: u32, offset: u64, size: u64| {
        let words = [0, 0, offset, size, 0, 1, 0].map(u64::to_le_bytes).concat();
        [&name.to_le_bytes()[..], &kind.to_le_bytes(), &words].concat()
    };
    elf.extend(section(0, 0, 0, 0));
    elf.extend(section(1, 1, start, length));
    elf.extend(section(10, 3, start + length, to_u64(names.len())));
    elf
}

/// The place of the module that was added to the kernel's.
pub(super) const ADDED: &str = "usr/lib/modules/6.12.0-test/updates/dkms/own.ko";

/// What the sample says of the module that was added.
fn record() -> String {
    let bytes = plain_module(RELEASE, &[]);
    let from = Origin::Dkms {
        package: "own-dkms".to_owned(),
        version: "1.0".to_owned(),
        sha256: Sha256Digest::of(b"own-dkms"),
    };
    let sha256 = Sha256Digest::of(&bytes);
    let module = Recorded { name: "own".to_owned(), from, sha256, signed: false };
    serde_json::to_string(&Record { kernel: RELEASE.to_owned(), modules: vec![module] }).unwrap()
}

/// What the sample's board has.
fn board(boot: BootMethod) -> String {
    let expected = |name: &str, alias: &str, firmware: Option<&str>, root| Expected {
        name: name.to_owned(),
        modaliases: vec![alias.to_owned()],
        firmware: firmware.map(|pattern| vec![pattern.to_owned()]),
        root,
    };
    let expect = vec![
        expected("storage", "pci:v00001AF4d00001042bc01sc08i02", None, true),
        expected("graphics", "pci:v00001002d00001586bc03sc80i00", Some("amdgpu/a*"), false),
        expected("keyboard", "usb:v046Dp0001", None, false),
    ];
    serde_json::to_string(&Board {
        target: "sample".to_owned(),
        boot,
        initrd: vec!["disk".to_owned()],
        expect,
        deny: Vec::new(),
        gpu: Some(Driven {
            driver: "own".to_owned(),
            modules: vec!["gpu".to_owned()],
            files: vec!["usr/share/vulkan/icd.d/own_icd*.json".to_owned()],
        }),
        firmware_config: match boot {
            BootMethod::RaspberryPi => vec![raspberry_pi::SETTING.to_owned()],
            _ => Vec::new(),
        },
    })
    .unwrap()
}

/// The least that is an EFI program of amd64. Offsets are the PE format's: headers at 64, the optional
/// header 24 behind, the section table 240 behind that.
pub(super) fn stub() -> Vec<u8> {
    let mut stub = vec![0; 0x1000];
    let mut put = |offset: usize, bytes: &[u8]| stub[offset..][..bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3C, &64_u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(64 + 4, &0x8664_u16.to_le_bytes()); // Machine
    put(64 + 6, &1_u16.to_le_bytes()); // NumberOfSections
    put(64 + 20, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(88, &0x20B_u16.to_le_bytes()); // Magic
    put(88 + 32, &4096_u32.to_le_bytes()); // SectionAlignment
    put(88 + 36, &512_u32.to_le_bytes()); // FileAlignment
    put(88 + 56, &0x2000_u32.to_le_bytes()); // SizeOfImage
    put(88 + 60, &0x400_u32.to_le_bytes()); // SizeOfHeaders
    put(88 + 68, &10_u16.to_le_bytes()); // Subsystem
    put(88 + 108, &16_u32.to_le_bytes()); // NumberOfRvaAndSizes
    put(328, b".text");
    put(328 + 8, &0xC00_u32.to_le_bytes()); // VirtualSize
    put(328 + 12, &0x1000_u32.to_le_bytes()); // VirtualAddress
    put(328 + 16, &0xC00_u32.to_le_bytes()); // SizeOfRawData
    put(328 + 20, &0x400_u32.to_le_bytes()); // PointerToRawData
    stub
}

/// A root with its state still in it.
fn root(boot: BootMethod) -> FileTree {
    let mut tree = FileTree::new(metadata(0o755, 0, 0), owner());
    for place in ["dev", "proc", "run", "sys", "var/tmp", "usr/local/bin", "root"] {
        directory(&mut tree, place, 0o755, 0, 0);
    }
    directory(&mut tree, "tmp", 0o1777, 0, 0);
    directory(&mut tree, "var/lib/goni", 0o700, 700, 700);
    directory(&mut tree, "opt/goni/models", 0o750, 700, 700);
    directory(&mut tree, "etc/goni", 0o750, 0, 700);
    directory(&mut tree, "var/lib/kept", 0o2770, 700, 105);
    add(&mut tree, "var/lib/kept/seed", 0o600, b"seed");
    directory(&mut tree, "var/lib/systemd", 0o755, 0, 0);
    directory(&mut tree, "var/log/journal", 0o2755, 0, 999);
    add(&mut tree, "etc/passwd", 0o644, PASSWD.as_bytes());
    add(&mut tree, "etc/group", 0o644, GROUP.as_bytes());
    add(&mut tree, "etc/shadow", 0o640, SHADOW.as_bytes());
    add(&mut tree, "etc/gshadow", 0o640, b"root:*::\ngoni:!::\nsystemd-journal:!::\n");
    add(&mut tree, "etc/machine-id", 0o444, b"");
    add(&mut tree, "etc/hostname", 0o644, b"goni\n");
    add(&mut tree, "etc/goni/goni.env", 0o640, b"LLM_STUB=1\n");
    own(&mut tree, "etc/goni/goni.env", 0, 700);
    add(&mut tree, "opt/goni/bin/goni-http", 0o755, b"#!/usr/bin/perl\n");
    add(&mut tree, "usr/bin/su", 0o4755, b"su");
    add(&mut tree, "usr/lib/systemd/system/goni-http.service", 0o644, UNIT.as_bytes());
    let wants = "etc/systemd/system/multi-user.target.wants/goni-http.service";
    link(&mut tree, wants, "/usr/lib/systemd/system/goni-http.service");
    for (name, text) in MODULES {
        add(&mut tree, &format!("usr/lib/modules/{RELEASE}/{name}"), 0o644, text.as_bytes());
    }
    add(&mut tree, &module_file("disk"), 0o644, &module(RELEASE, &[]));
    add(&mut tree, &module_file("bus"), 0o644, &module(RELEASE, &[]));
    add(&mut tree, &module_file("gpu"), 0o644, &module(RELEASE, &["amdgpu/a.bin", "amdgpu/other.bin"]));
    add(&mut tree, "usr/lib/firmware/amdgpu/a.bin.xz", 0o644, b"firmware");
    add(&mut tree, BOARD, 0o644, board(boot).as_bytes());
    add(&mut tree, "usr/share/vulkan/icd.d/own_icd.json", 0o644, b"{}");
    add(&mut tree, ADDED, 0o644, &plain_module(RELEASE, &[]));
    add(&mut tree, RECORD, 0o644, record().as_bytes());
    let kernel = if boot == BootMethod::RaspberryPi { raspberry_pi::kernel() } else { noise() };
    add(&mut tree, &format!("boot/vmlinuz-{RELEASE}"), 0o644, &kernel);
    add(&mut tree, raspberry_pi::FIRMWARE_OF_ROOT, 0o644, b"firmware");
    add(&mut tree, raspberry_pi::OVERLAY_OF_ROOT, 0o644, raspberry_pi::OVERLAY);
    add(&mut tree, extlinux::TREE_OF_ROOT, 0o644, extlinux::TREE);
    add(&mut tree, "var/lib/dpkg/status", 0o644, STATUS.as_bytes());
    tree
}

/// What depmod and the kernel's own build list.
const MODULES: [(&str, &str); 4] = [
    (
        "modules.dep",
        "kernel/disk.ko.xz: kernel/bus.ko.xz\nkernel/bus.ko.xz:\nkernel/gpu.ko.xz:\nupdates/dkms/own.ko:\n",
    ),
    ("modules.alias", "# Aliases\nalias pci:v*d*bc01sc08i02* disk\nalias pci:v00001002d*bc03* gpu\n"),
    ("modules.builtin", "kernel/hid.ko\n"),
    ("modules.builtin.modinfo", "hid.alias=usb:v*p*\0hid.license=GPL\0"),
];
const PASSWD: &str = "root:x:0:0:root:/root:/usr/sbin/nologin\n\
    nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
    goni:x:700:700:goni service:/var/lib/goni:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsystemd-journal:x:999:\ngoni:x:700:\nrender:x:105:goni\nnogroup:x:65534:\n";
const SHADOW: &str = "root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\ngoni:!*:20000::::::\n";
const UNIT: &str = "[Service]\nExecStart=/opt/goni/bin/goni-http\n[Install]\nWantedBy=multi-user.target\n";
const STATUS: &str = "Package: base-files\nStatus: install ok installed\nArchitecture: amd64\nVersion: 13\n\n\
    Package: systemd\nStatus: install ok installed\nVersion: 257\nArchitecture: amd64\nConffiles:\n /etc/x 0123\n";

/// Bytes that do not compress: a linear congruential generator's.
fn noise() -> Vec<u8> {
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(1), step).map(|state| state.to_be_bytes()[0]).take(NOISE).collect()
}

/// Adds a file of root's, and the directories above it; or replaces one.
pub(super) fn add(tree: &mut FileTree, place: &str, mode: u16, bytes: &[u8]) {
    put(tree, place, metadata(mode, 0, 0), Kind::File(Content::inline(bytes)));
}

/// Adds a symbolic link.
pub(super) fn link(tree: &mut FileTree, place: &str, target: &str) {
    put(tree, place, metadata(0o777, 0, 0), Kind::Symlink(target.as_bytes().to_vec()));
}

/// Adds a directory, and those above it.
pub(super) fn directory(tree: &mut FileTree, place: &str, mode: u16, uid: u32, gid: u32) {
    put(tree, place, metadata(mode, uid, gid), Kind::Directory);
}

/// Gives an entry another owner.
pub(super) fn own(tree: &mut FileTree, place: &str, uid: u32, gid: u32) {
    let inode = tree.get_mut(&path(place)).unwrap();
    (inode.metadata.uid, inode.metadata.gid) = (uid, gid);
}

/// Gives an entry another mode.
pub(super) fn chmod(tree: &mut FileTree, place: &str, mode: u16) {
    tree.get_mut(&path(place)).unwrap().metadata.mode = mode;
}

/// Replaces text in a file.
pub(super) fn edit(tree: &mut FileTree, place: &str, from: &str, to: &str) {
    let Kind::File(Content::Inline(bytes)) = &mut tree.get_mut(&path(place)).unwrap().kind else {
        panic!("`{place}` is no file")
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "`{place}` has no `{from}`");
    *bytes = text.replace(from, to).into_bytes().into();
}

/// Adds anything.
pub(super) fn put(tree: &mut FileTree, place: &str, metadata: Metadata, kind: Kind) {
    let path = path(place);
    let mut above: Vec<TreePath> = std::iter::successors(path.parent(), TreePath::parent).collect();
    above.reverse();
    for directory in above {
        if tree.get(&directory).is_none() {
            let inode = Inode { metadata: self::metadata(0o755, 0, 0), kind: Kind::Directory };
            tree.insert(directory, inode, owner()).unwrap();
        }
    }
    tree.insert(path, Inode { metadata, kind }, owner()).unwrap();
}

/// A path.
pub(super) fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// Of a mode and owner.
pub(super) fn metadata(mode: u16, uid: u32, gid: u32) -> Metadata {
    Metadata { mode, uid, gid, mtime: DATE, xattrs: BTreeMap::new() }
}

fn owner() -> Owner {
    Owner::Stage("sample".into())
}

/// Inverts a byte at an offset of a partition.
pub(super) fn flip(disk: &DiskFile, layout: &Layout, role: Role, offset: u64) {
    let slot = layout.slot(role).unwrap();
    let mut window = disk.window(slot.offset, slot.size);
    let mut byte = [0];
    window.seek(SeekFrom::Start(offset)).unwrap();
    window.read_exact(&mut byte).unwrap();
    window.seek(SeekFrom::Start(offset)).unwrap();
    window.write_all(&[!byte[0]]).unwrap();
}

/// Where in the root the bytes of its largest file are: they do not compress.
pub(super) fn place_of_noise(disk: &DiskFile, layout: &Layout) -> u64 {
    let slot = layout.slot(Role::Root).unwrap();
    let mut bytes = Vec::new();
    disk.window(slot.offset, slot.size).read_to_end(&mut bytes).unwrap();
    let wanted = &noise()[4096..4096 + 64];
    to_u64(memchr::memmem::find(&bytes, wanted).expect("it is stored as it is"))
}

/// Writes over the disk.
pub(super) fn write_at(disk: &DiskFile, offset: u64, bytes: &[u8]) {
    let mut whole = disk.whole().unwrap();
    whole.seek(SeekFrom::Start(offset)).unwrap();
    whole.write_all(bytes).unwrap();
}

/// A byte of the disk.
pub(super) fn byte(disk: &DiskFile, offset: u64) -> u8 {
    let mut window = disk.window(ByteCount::new(offset), ByteCount::new(1));
    let mut byte = [0];
    window.read_exact(&mut byte).unwrap();
    byte[0]
}

/// So many bytes of the end of the disk.
pub(super) fn tail(disk: &DiskFile, length: u64) -> Vec<u8> {
    let mut whole = disk.whole().unwrap();
    whole.seek(SeekFrom::Start(disk.size().unwrap().get() - length)).unwrap();
    let mut bytes = vec![0; to_usize(length)];
    whole.read_exact(&mut bytes).unwrap();
    bytes
}
