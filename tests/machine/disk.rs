//! A small disk as images have it, and what is found on it after it was written to.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use goni_compose::host::command::{Run as _, System};
use goni_compose::host::disk_file::DiskFile;
use goni_compose::host::qemu::{Afterwards, Canaries, RunDirectory};
use goni_compose::host::toolbox::Toolbox;
use goni_compose::smoke::evidence::canary::Canary;
use goni_compose::smoke::preparation::Preparation;
use goni_disk::gpt::{Attributes, Partition, Table};
use goni_disk::tree::{FileTree, Metadata, NoContent, Owner};
use goni_disk::{ext4, fat, gpt};
use goni_model::arch::Arch;
use goni_model::layout::{Layout, Role, derived_uuid};
use goni_model::report::Outcome;
use goni_model::size::{ByteCount, SectorSize};
use goni_model::time::Timestamp;

const DATE: Timestamp = Timestamp::from_seconds(1_780_000_000);
const SECTORS: SectorSize = SectorSize::B512;
/// How long looking at a disk of 3 GiB may take on a host that has other things to do.
const SEARCH: Duration = Duration::from_secs(30);

struct Device {
    directory: tempfile::TempDir,
    tools: Toolbox,
    system: System,
    run: RunDirectory,
    layout: Layout,
}

fn empty_tree() -> FileTree {
    let metadata = Metadata { mode: 0o755, uid: 0, gid: 0, mtime: DATE, xattrs: Default::default() };
    FileTree::new(metadata, Owner::Stage("test".into()))
}

/// 3 GiB, most of them of nobody.
fn image(path: &Path) -> Layout {
    let sizes = [
        (Role::Esp, ByteCount::from_mib(128)),
        (Role::Root, ByteCount::from_mib(4)),
        (Role::RootVerity, ByteCount::from_mib(1)),
        (Role::Swap, ByteCount::from_mib(1024)),
        (Role::State, ByteCount::from_mib(1900)),
    ];
    let layout = Layout::place(SECTORS, &sizes).unwrap();
    let disk = DiskFile::create(path, layout.disk_size).unwrap();
    let partition = |slot: &goni_model::layout::Slot| Partition {
        name: slot.role.label().into(),
        type_guid: slot.role.type_guid(Arch::Amd64),
        guid: derived_uuid(&["test", slot.role.name()]),
        first: slot.first,
        last: slot.last,
        attributes: Attributes::NONE,
    };
    let partitions = layout.slots().map(partition).collect();
    let table = Table { disk_guid: derived_uuid(&["test"]), sector_size: SECTORS, partitions, in_mbr: None };
    gpt::write(&mut disk.whole().unwrap(), layout.disk_size, &table).unwrap();
    let esp = layout.slot(Role::Esp).unwrap();
    let options = fat::Options {
        size: esp.size,
        sector_size: SECTORS,
        volume_id: 7,
        label: "GONI-ESP".into(),
        build_time: DATE,
    };
    fat::write(&empty_tree(), &NoContent, &options, &mut disk.window(esp.offset, esp.size)).unwrap();
    let state = layout.slot(Role::State).unwrap();
    let options = ext4::Options::new(state.size, derived_uuid(&["test"]), DATE);
    ext4::write(&empty_tree(), &NoContent, &options, &mut disk.window(state.offset, state.size)).unwrap();
    layout
}

impl Device {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.raw");
        let layout = image(&path);
        let (tools, system) = (super::tools(), System::new(env!("CARGO_BIN_EXE_goni-compose")));
        let variables = Path::new("/usr/share/OVMF/OVMF_VARS_4M.fd");
        let run = RunDirectory::prepare(directory.path(), &path, variables, &tools, &system).unwrap();
        Self { directory, tools, system, run, layout }
    }

    /// Writes to the disk as a guest would.
    fn write(&self, role: Role, offset: u64, how: &str, length: u64) {
        let at = self.layout.slot(role).unwrap().offset.get() + offset;
        let write = format!("write -q {how} {at} {length}");
        let command = self.run.command(&self.tools, "qemu-io").unwrap();
        let command = command.args(["-f", "qcow2", "-c", &write]).arg(self.run.disk());
        self.system.run(&command).unwrap().success(&command).unwrap();
    }

    fn write_bytes(&self, role: Role, offset: u64, bytes: &[u8]) {
        let from = self.run.write("bytes", bytes).unwrap();
        self.write(role, offset, &format!("-s {}", from.display()), u64::try_from(bytes.len()).unwrap());
    }

    fn afterwards(&self) -> Afterwards<'_> {
        self.run.afterwards(0, SECTORS, Arch::Amd64, &self.tools, &self.system).unwrap()
    }

    fn filesystems(&self) -> Outcome {
        self.afterwards().filesystems(&self.tools, &self.system).unwrap()
    }

    fn prepare(&self, preparation: Preparation) -> goni_compose::smoke::preparation::Prepared {
        self.run.prepare_disk(preparation, SECTORS, Arch::Amd64, &self.tools, &self.system).unwrap()
    }
}

fn observed(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed { observed, .. } => observed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_to_a_disk_is_found_afterwards_and_in_time() {
    let device = Device::new();
    let canary = Canary::new(*b"a canary of thirty-two bytes....");
    let absent = Canary::new([0x33; 32]);
    device.write(Role::Swap, 0, "-P 0x5a", 700 << 20);
    let clean = |canaries: Canaries| assert_eq!(canaries.disk, canaries.files, "{canaries:?}");
    clean(device.afterwards().canaries(&[canary, absent]).unwrap());
    device.write_bytes(Role::Swap, (500 << 20) + 77, canary.as_bytes());
    let began = Instant::now();
    let found = device.afterwards().canaries(&[absent, canary]).unwrap();
    let took = began.elapsed();
    println!("searched after {} ms", took.as_millis());
    assert_eq!(
        (&found.disk[0], &found.files[..]),
        (&Outcome::Passed, &[Outcome::Passed, Outcome::Passed][..])
    );
    assert!(observed(&found.disk[1]).starts_with("once, at byte "), "{found:?}");
    assert!(took < SEARCH, "{took:?}");
    // Of an encrypted state only the bytes can be searched, and nobody judges it.
    assert_eq!(device.filesystems(), Outcome::Passed);
    device.write_bytes(Role::State, 0, b"LUKS\xba\xbe");
    let skipped = device.afterwards().canaries(&[absent]).unwrap();
    let reason = "the state is encrypted: its files cannot be read from outside".to_owned();
    assert_eq!(
        (&skipped.disk[..], skipped.files),
        (&[Outcome::Passed][..], vec![Outcome::Skipped { reason }])
    );
    assert_eq!(device.filesystems(), Outcome::Passed);
}

#[test]
fn file_systems_with_faults_are_told_by_name() {
    let device = Device::new();
    assert_eq!(device.filesystems(), Outcome::Passed);
    // The second entry of the first table alone: the root directory's.
    let reserved = 32 * 512;
    device.write(Role::Esp, reserved + 8, "-P 0x00", 4);
    assert!(observed(&device.filesystems()).starts_with("esp: `fsck.fat -n` ended with exit code 1: "));
    // The descriptors of the first groups.
    device.write(Role::State, 4096, "-P 0xff", 256);
    let both = device.filesystems();
    assert!(observed(&both).contains("state: `e2fsck -fn` ended with "), "{both:?}");
    assert!(observed(&both).contains("; esp: `fsck.fat -n` ended with exit code 1: "), "{both:?}");
    let files = device.afterwards().canaries(&[Canary::new([1; 32])]).unwrap().files;
    let Outcome::Failed { expected, .. } = &files[0] else { panic!("{files:?}") };
    assert_eq!(expected, "a state whose files can be read");
}

#[test]
fn preparations_change_the_overlay_alone_and_what_they_plant_is_watched() {
    let device = Device::new();
    let image = device.directory.path().join("image.raw");
    let place = |role| device.layout.slot(role).unwrap().offset;
    let byte = |disk: &mut dyn std::io::Read| {
        let mut byte = [9];
        disk.read_exact(&mut byte).unwrap();
        byte[0]
    };

    device.prepare(Preparation::FlipRoot);
    let one = ByteCount::new(1);
    assert_eq!(byte(&mut device.afterwards().window(place(Role::Root), one)), 1);
    assert_eq!(byte(&mut DiskFile::open(&image).unwrap().window(place(Role::Root), one)), 0);

    let foreign = device.prepare(Preparation::ForeignSwap).planted.unwrap();
    let twin = device.prepare(Preparation::TwinDisk);
    let twins = twin.planted.unwrap();
    for planted in [&foreign, &twins] {
        assert_eq!(device.afterwards().judge_planted(planted).unwrap(), Outcome::Passed);
    }
    let second = device.run.outside(&twin.second_disk.unwrap());
    let disk = DiskFile::open(&second).unwrap();
    let table = gpt::read(&mut disk.whole().unwrap(), disk.size().unwrap(), SECTORS).unwrap();
    let found: Vec<_> = table.partitions.iter().map(|found| (found.guid, found.type_guid)).collect();
    let twins_of = |role: Role| (derived_uuid(&["test", role.name()]), role.type_guid(Arch::Amd64));
    assert_eq!(found, [Role::Swap, Role::State].map(twins_of));

    device.write(Role::Swap, foreign.size.get() - 1, "-P 0x77", 1);
    let mut bytes = fs::read(&second).unwrap();
    bytes[(1 << 20) + 1080] ^= 1;
    fs::write(&second, bytes).unwrap();
    for (planted, name) in [(&foreign, "foreign-swap"), (&twins, "twin-disk")] {
        let judged = device.afterwards().judge_planted(planted).unwrap();
        let Outcome::Failed { expected, .. } = judged else { panic!("{judged:?}") };
        assert!(expected.starts_with(&format!("what `{name}` put at byte ")), "{expected}");
    }
}
