//! The sample, read: what is in it is found, each change of it is told, and damage is no panic.

use std::path::Path;

use goni_disk::qcow2::{self, Compression};
use goni_disk::tree::{FileTree, Kind};
use goni_model::size::{ByteCount, SectorSize};
use goni_model::target::BootMethod;

use super::super::sample::{
    Breakage, IMAGE, RELEASE, Sample, add, build, byte, chmod, edit, link, own, path, write_at,
};
use super::*;
use crate::diff::{Difference, Direction};
use crate::host::disk_file::DiskFile;
use crate::inspection::{Inspection, UnitState};

fn sample(directory: &Path, boot: BootMethod, breakage: Breakage) -> Sample {
    build(directory, boot, SectorSize::B512, breakage)
}

fn inspected(boot: BootMethod, breakage: Breakage) -> Inspection {
    let scratch = tempfile::tempdir().unwrap();
    let sample = sample(scratch.path(), boot, breakage);
    inspect(&Image::of(&sample.disk).unwrap()).unwrap()
}

/// What differs between the sample and one that is broken so.
fn difference(breakage: Breakage) -> Difference {
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let before = sample(directories[0].path(), BootMethod::SystemdBoot, Breakage::Nothing);
    let after = sample(directories[1].path(), BootMethod::SystemdBoot, breakage);
    let (before, after) = (Image::of(&before.disk).unwrap(), Image::of(&after.disk).unwrap());
    if same_bytes(&before, &after).unwrap() {
        return Difference::none();
    }
    let [one, two] = sides(&before, &after).unwrap();
    Difference::between(&one, &two)
}

const DEP5: &[u8] = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
    Files: *\nCopyright: x\nLicense: GPL-2+ and MIT\n";

/// A tree with something of everything that is counted.
fn furnish(root: &mut FileTree) {
    // Debian's own lists name places before the merge of `/usr`.
    link(root, "lib", "usr/lib");
    add(root, "usr/lib/shared", 0o644, &[b'x'; 1000]);
    add(root, "usr/bin/lend", 0o4755, b"lend");
    add(root, "usr/share/doc/base-files/copyright", 0o644, DEP5);
    link(root, "usr/share/doc/systemd", "other");
    add(root, "usr/share/doc/other/copyright", 0o644, b"Do as you please.\n");
    add(root, "var/lib/dpkg/info/base-files.list", 0o644, b"/.\n/lib\n/lib/shared\n/usr/bin/lend\n/gone\n");
    add(
        root,
        "var/lib/dpkg/info/systemd:amd64.list",
        0o644,
        b"/.\n/lib/shared\n/usr/share/doc/other/copyright\n",
    );
    edit(
        root,
        "var/lib/dpkg/status",
        "Package: systemd\nStatus: install ok installed\n",
        "Package: systemd\nStatus: install ok installed\nInstalled-Size: 12\n",
    );
    add(root, "usr/lib/systemd/system/static.service", 0o644, b"[Service]\nExecStart=/bin/true\n");
    add(root, "usr/lib/systemd/system/off.service", 0o644, b"[Install]\nWantedBy=multi-user.target\n");
    add(root, "usr/lib/systemd/system/real.service", 0o644, b"[Install]\nAlias=other.service\n");
    add(root, "usr/lib/systemd/system/also.service", 0o644, b"[Install]\nAlso=off.service\n");
    add(root, "usr/lib/systemd/system/gone.service", 0o644, b"[Install]\nWantedBy=multi-user.target\n");
    link(root, "etc/systemd/system/other.service", "/usr/lib/systemd/system/real.service");
    link(root, "etc/systemd/system/gone.service", "/dev/null");
    link(
        root,
        "etc/systemd/system/getty.target.wants/getty@tty1.service",
        "/usr/lib/systemd/system/getty@.service",
    );
}

#[test]
fn packages_take_what_their_files_take() {
    let image = inspected(BootMethod::SystemdBoot, Breakage::Root(furnish));
    let found: Vec<_> = image
        .packages
        .iter()
        .map(|it| (it.name.as_str(), it.version.as_str(), it.installed_size, it.size, it.files))
        .collect();
    // What two list counts for the first; what is not there, not at all.
    assert_eq!(found, [("base-files", "13", 0, 1004, 2), ("systemd", "257", 12 << 10, 18, 1)]);
    assert_eq!(image.packages[1].architecture, "amd64");
    let named: Vec<_> = image.licences.named.iter().map(|(name, of)| (name.as_str(), of.join(","))).collect();
    assert_eq!(named, [("GPL-2+", "base-files".to_owned()), ("MIT", "base-files".to_owned())]);
    assert_eq!((image.licences.prose, image.licences.missing), (vec!["systemd".to_owned()], vec![]));
    let bare = inspected(BootMethod::SystemdBoot, Breakage::Nothing);
    assert_eq!(bare.licences.missing, ["base-files", "systemd"]);
    assert_eq!(bare.tree.unlisted_size, bare.tree.size);
    assert_eq!(image.tree.size - image.tree.unlisted_size, 1022);
}

#[test]
fn units_are_as_systemctl_calls_them() {
    let image = inspected(BootMethod::SystemdBoot, Breakage::Root(furnish));
    let state = |name: &str| image.units.iter().find(|unit| unit.name == name).map(|unit| unit.state);
    for (name, expected) in [
        ("goni-http.service", UnitState::Enabled),
        ("static.service", UnitState::Static),
        ("off.service", UnitState::Disabled),
        ("real.service", UnitState::Enabled),
        ("other.service", UnitState::Alias),
        ("also.service", UnitState::Indirect),
        ("gone.service", UnitState::Masked),
        ("getty@tty1.service", UnitState::Enabled),
    ] {
        assert_eq!(state(name), Some(expected), "{name}");
    }
    let unit = image.units.iter().find(|unit| unit.name == "goni-http.service").unwrap();
    assert_eq!(unit.wanted_by, ["multi-user.target"]);
}

#[test]
fn an_image_is_told_from_its_table_to_its_users() {
    let image = inspected(BootMethod::SystemdBoot, Breakage::Root(furnish));
    let contents: Vec<_> = image
        .partitions
        .iter()
        .map(|partition| (partition.name(), partition.content.as_ref().map(|content| content.kind)))
        .collect();
    assert_eq!(
        contents,
        [
            ("esp", Some("vfat")),
            ("root", Some("erofs")),
            ("root-verity", Some("verity")),
            ("swap", None),
            ("state", Some("ext4")),
        ]
    );
    let of = |at: usize| image.partitions[at].content.clone().unwrap();
    assert_eq!((of(0).label.as_deref(), of(0).uuid.as_deref()), (Some("GONI-ESP"), Some("0000-0007")));
    assert_eq!(of(1).label.as_deref(), Some("goni-root"));
    assert!(of(4).used > 0 && of(4).used < image.partitions[4].size, "{:?}", of(4));
    assert_eq!(image.boot.kernel_release.as_deref(), Some(RELEASE));
    let profiles: Vec<&str> = image.boot.profiles.iter().map(|profile| profile.id.as_str()).collect();
    assert_eq!(profiles, ["main", "factory-reset"]);
    let linux = image.boot.sections.iter().find(|section| section.name == ".linux").unwrap();
    assert_eq!(linux.sha256, goni_model::digest::Sha256Digest::of(b"a kernel"));
    let own: Vec<_> =
        image.boot.sections.iter().filter(|it| it.profile.as_deref() == Some("factory-reset")).collect();
    assert_eq!(own.len(), 3, "{own:?}");
    assert!(image.boot.files.iter().any(|file| file.path == IMAGE && file.size > 0));
    assert_eq!(image.target.as_deref(), Some("sample"));
    let users: Vec<&str> = image.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(users, ["goni", "nobody", "root"]);
    assert_eq!(image.groups.len(), 5);
    let lending: Vec<_> = image.privileged.iter().map(|file| (file.path.as_str(), file.mode)).collect();
    assert_eq!(lending, [("/usr/bin/lend", 0o4755), ("/usr/bin/su", 0o4755)]);
}

#[test]
fn what_a_loader_boots_from_is_told_too() {
    let image = inspected(BootMethod::Extlinux, Breakage::Nothing);
    assert_eq!(image.boot.method, "extlinux");
    let files: Vec<&str> = image.boot.files.iter().map(|file| file.path.as_str()).collect();
    assert!(files.contains(&"boot/extlinux/extlinux.conf"), "{files:?}");
    assert_eq!(image.boot.profiles.len(), 2);
}

#[test]
fn an_image_differs_from_itself_in_nothing() {
    assert_eq!(difference(Breakage::Nothing), Difference::none());
}

#[test]
fn a_qcow2_image_is_the_same_bytes_as_its_raw_one_until_one_is_flipped() {
    let scratch = tempfile::tempdir().unwrap();
    let sample = sample(scratch.path(), BootMethod::SystemdBoot, Breakage::Nothing);
    let (raw, path) = (&sample.disk, scratch.path().join("sample.qcow2"));
    let file = DiskFile::create(&path, ByteCount::from_mib(256)).unwrap();
    let (data, size, packing) = (raw.extents().unwrap(), sample.layout.disk_size, Compression::Zlib(1));
    qcow2::write(&mut raw.whole().unwrap(), size, &data, packing, &mut file.whole().unwrap()).unwrap();
    let (one, two) = (Image::of(raw).unwrap(), Image::open(&path).unwrap());
    assert!(same_bytes(&one, &two).unwrap());
    let Inspection { format, .. } = inspect(&two).unwrap();
    assert_eq!(Inspection { format, ..inspect(&one).unwrap() }, inspect(&two).unwrap());
    // The last byte of the disk, of the root's partition, of a hole.
    let root = sample.layout.slot(goni_model::layout::Role::Root).unwrap();
    for place in [size.get() - 1, root.offset.get() + root.size.get() - 1, root.offset.get() + (12 << 20)] {
        let before = byte(raw, place);
        write_at(raw, place, &[!before]);
        assert!(!same_bytes(&one, &two).unwrap(), "{place}");
        write_at(raw, place, &[before]);
    }
    assert!(same_bytes(&one, &two).unwrap());
}

#[test]
fn each_change_of_an_image_is_told() {
    let files = |change: fn(&mut FileTree)| -> Vec<String> {
        let difference = difference(Breakage::Root(change));
        assert!(!difference.same_bytes);
        // The file that goes with the root hash is not on the root.
        difference.files.iter().map(|file| format!("{} {}", file.path, file.changed.join("+"))).collect()
    };
    assert_eq!(files(|root| add(root, "usr/new", 0o644, b"new")), ["/usr/new "]);
    assert_eq!(files(|root| chmod(root, "etc/passwd", 0o600)), ["/etc/passwd mode"]);
    assert_eq!(files(|root| own(root, "etc/passwd", 3, 4)), ["/etc/passwd owner"]);
    assert_eq!(files(|root| edit(root, "etc/group", "nogroup", "nogrouq")), ["/etc/group content"]);
    assert_eq!(
        files(|root| {
            let inode = root.get_mut(&path("etc/passwd")).unwrap();
            inode.metadata.xattrs.insert(b"user.x".to_vec(), b"y".to_vec());
        }),
        ["/etc/passwd xattrs"]
    );
    // The largest file is kept apart from small ones.
    let kernel = format!("boot/vmlinuz-{RELEASE}");
    let expected = format!("/{kernel} content");
    assert_eq!(
        files(|root| {
            let inode = root.get_mut(&path(&format!("boot/vmlinuz-{RELEASE}"))).unwrap();
            let Kind::File(goni_disk::tree::Content::Inline(bytes)) = &mut inode.kind else {
                panic!("a file")
            };
            let mut changed = bytes.to_vec();
            changed[200_000] ^= 1;
            *bytes = changed.into();
        }),
        [expected]
    );
}

#[test]
fn what_is_not_a_file_is_told_where_it_belongs() {
    let found = difference(Breakage::Root(|root| {
        edit(root, "var/lib/dpkg/status", "Version: 257", "Version: 258");
        link(root, "etc/systemd/system/goni-http.service", "/dev/null");
        edit(root, "etc/passwd", "goni:x:700:700", "goni:x:701:700");
    }));
    let packages: Vec<_> = found.packages.iter().map(|it| (it.name.as_str(), it.direction)).collect();
    assert_eq!(packages, [("systemd", Direction::Upgraded)]);
    assert_eq!(found.units[0].after.as_deref(), Some("masked, wanted by multi-user.target"));
    assert_eq!(found.users.len(), 1);
    let changed: Vec<&str> = found.boot.iter().map(|change| change.what.as_str()).collect();
    assert!(changed.contains(&"root hash"), "{changed:?}");
    let line = difference(Breakage::CommandLine(|line| format!("{line} quiet")));
    let words: Vec<_> =
        line.command_lines.iter().map(|it| (it.profile.as_str(), it.added.join(" "))).collect();
    assert_eq!(words, [("factory-reset", "quiet".to_owned()), ("main", "quiet".to_owned())]);
    assert!(line.files.is_empty() && line.packages.is_empty());
    let table = difference(Breakage::Table(|table| table.partitions[4].name = "data".to_owned()));
    assert_eq!(table.partitions.len(), 1, "{:?}", table.partitions);
    let mbr = difference(Breakage::Table(|table| table.in_mbr = Some(table.partitions[0].guid)));
    let changed: Vec<&str> = mbr.partitions.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(changed, ["esp in the MBR"]);
    let state = difference(Breakage::State(|state| add(state, "data/x", 0o644, b"x")));
    assert!(state.partitions.iter().any(|change| change.what == "state bytes"), "{:?}", state.partitions);
}

#[test]
fn files_digested_together_have_the_digests_of_each() {
    let scratch = tempfile::tempdir().unwrap();
    let sample = sample(scratch.path(), BootMethod::SystemdBoot, Breakage::Root(furnish));
    let image = Image::of(&sample.disk).unwrap();
    let opened = Opened::open(&image).unwrap();
    let root = opened.root().unwrap();
    let files: Vec<_> = root.nodes().filter(|(_, node)| node.kind() == NodeKind::File).collect();
    let digests = root.digests(&files).unwrap();
    assert_eq!(digests.len(), files.len());
    for ((path, node), digest) in files.iter().zip(digests) {
        assert_eq!(
            goni_model::digest::Sha256Digest::of(&root.content(path, node).unwrap()),
            digest,
            "{path}"
        );
    }
}

#[test]
fn what_is_no_image_of_ours_is_refused() {
    let refused = |breakage: Breakage| {
        let scratch = tempfile::tempdir().unwrap();
        let sample = sample(scratch.path(), BootMethod::SystemdBoot, breakage);
        let error = inspect(&Image::of(&sample.disk).unwrap()).unwrap_err();
        assert_eq!(error.class(), Class::Content);
        error.to_string().replace(&scratch.path().display().to_string(), "")
    };
    let of = "`/sample.raw` is no image that this program makes, or a damaged one: ";
    let short = refused(Breakage::Length(|length| length - (8 << 20)));
    assert!(short.starts_with(&format!("{of}the partition table: ")), "{short}");
    assert!(refused(Breakage::Length(|_| 0)).starts_with(&format!("{of}the partition table: ")));
    let other = refused(Breakage::Table(|table| {
        table.partitions.remove(1);
    }));
    assert_eq!(other, format!("{of}the root: there is no root partition"));
    let damaged = refused(Breakage::Disk(|disk, layout| {
        let root = layout.slot(goni_model::layout::Role::Root).unwrap();
        write_at(disk, root.offset.get() + 1024, &[0; 128]);
    }));
    assert!(damaged.starts_with(&format!("{of}the root: reading the EROFS file system")), "{damaged}");
    let packages = refused(Breakage::Root(|root| {
        root.remove(&path("var/lib/dpkg/status")).unwrap();
    }));
    assert_eq!(
        packages,
        format!("{of}the packages: not a file `/var/lib/dpkg/status` of text: there is none")
    );
}

#[test]
fn whatever_byte_is_wrong_there_is_an_error_or_a_reading() {
    let scratch = tempfile::tempdir().unwrap();
    let sample = sample(scratch.path(), BootMethod::SystemdBoot, Breakage::Root(furnish));
    let image = Image::of(&sample.disk).unwrap();
    let root = sample.layout.slot(goni_model::layout::Role::Root).unwrap();
    let used = inspect(&image).unwrap().partitions[1].content.as_ref().unwrap().used;
    // All of the root: metadata is behind the bytes of files, so the end is looked at more closely.
    let root = (0..used)
        .step_by(4099)
        .chain((used - 60_000..used).step_by(97))
        .map(|place| root.offset.get() + place);
    // Of the others, where they say what they are; and where the first files of the EFI system partition are.
    let others =
        sample.layout.slots().flat_map(|slot| (0..4096).step_by(61).map(|place| slot.offset.get() + place));
    let esp = sample.layout.slot(goni_model::layout::Role::Esp).unwrap().offset.get();
    let files = (0..1 << 20).step_by(4096 * 3 + 7).map(|place| esp + place);
    let table = (0..34 * 512).step_by(53);
    let places: Vec<u64> = root.chain(others).chain(files).chain(table).collect();
    for place in places {
        let before = byte(&sample.disk, place);
        write_at(&sample.disk, place, &[!before]);
        drop(inspect(&image));
        write_at(&sample.disk, place, &[before]);
    }
    assert_eq!(image.size(), ByteCount::new(sample.layout.disk_size.get()));
}
