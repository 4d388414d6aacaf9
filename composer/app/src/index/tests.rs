//! Indexes of a small image of the repository's own recipe.

use std::collections::BTreeMap;

use goni_disk::gpt::{self, Attributes, Partition, Table};
use goni_disk::qcow2::{self, Compression};
use goni_disk::tree::{
    Content, Deed, FileTree, Hand, Inode, Kind as TreeKind, Metadata, NoContent, Owner, TreePath,
};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::layout::Role;
use goni_model::lock::{Lock, LockRequest, LockedPackage};
use goni_model::size::{ByteCount, Lba, SectorSize};
use goni_model::time::Timestamp;

use super::*;
use crate::host::disk_file::DiskFile;
use crate::host::project::ProjectFiles;
use crate::project::{self, Project};

const STATUS: &str = "Package: libcap2\nArchitecture: amd64\nVersion: 1:2.75\n\n\
    Package: linux-image-amd64\nArchitecture: amd64\nVersion: 6.12\n\n\
    Package: mawk\nArchitecture: amd64\nVersion: 1.3\nEssential: yes\nDepends: libcap2\n\n\
    Package: systemd\nArchitecture: amd64\nVersion: 257\nDepends: libsystemd-shared (= 257)\n\n\
    Package: libsystemd-shared\nArchitecture: amd64\nVersion: 257\nDepends: libcap2 (>= 1:2.10)\n";

fn project() -> Project {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/qemu-x86_64.toml");
    project::load(&ProjectFiles, &recipe).unwrap()
}

fn lock() -> Lock {
    let package = |name: &str| LockedPackage {
        name: name.to_owned(),
        version: "1".to_owned(),
        arch: "amd64".to_owned(),
        archive: "debian".to_owned(),
        path: format!("pool/{name}.deb"),
        size: 1,
        sha256: Sha256Digest::of(name.as_bytes()),
    };
    Lock {
        recipe: "goni-qemu".to_owned(),
        arch: Arch::Amd64,
        source_date: 7,
        request: LockRequest::default(),
        suites: Vec::new(),
        signed: Vec::new(),
        inputs: Vec::new(),
        ids: Vec::new(),
        packages: ["libcap2", "libsystemd-shared", "linux-image-amd64", "mawk", "systemd"]
            .map(package)
            .to_vec(),
        build: Vec::new(),
        twins: Vec::new(),
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn put(tree: &mut FileTree, name: &str, owner: Owner, kind: TreeKind) {
    let metadata = || Metadata {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Timestamp::from_seconds(1),
        xattrs: BTreeMap::new(),
    };
    let mut above: Vec<TreePath> = std::iter::successors(path(name).parent(), TreePath::parent).collect();
    above.reverse();
    for directory in above {
        if tree.entry(&directory).is_none() {
            let inode = Inode { metadata: metadata(), kind: TreeKind::Directory };
            tree.insert(directory, inode, package("mawk")).unwrap();
        }
    }
    tree.insert(path(name), Inode { metadata: metadata(), kind }, owner).unwrap();
}

fn package(name: &str) -> Owner {
    Owner::Package(name.into())
}

fn file(text: &str) -> TreeKind {
    TreeKind::File(Content::inline(text.as_bytes()))
}

fn empty() -> FileTree {
    let mtime = Timestamp::from_seconds(1);
    let root = Metadata { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() };
    FileTree::new(root, package("mawk"))
}

fn root() -> FileTree {
    let mut root = empty();
    put(&mut root, "var/lib/dpkg/status", Owner::Stage("unpack".into()), file(STATUS));
    put(&mut root, "usr/lib/libcap.so.2", package("libcap2"), TreeKind::Symlink("libcap.so.2.75".into()));
    put(&mut root, "usr/lib/libcap.so.2.75", package("libcap2"), file("cap"));
    put(&mut root, "lib", Owner::Stage("unpack".into()), TreeKind::Symlink("usr/lib".into()));
    put(&mut root, "etc/issue", package("mawk"), file("Debian"));
    put(&mut root, "etc/issue", Owner::Overlay("base".into()), file("goni"));
    put(&mut root, "etc/fstab", Owner::Stage("state".into()), file("x"));
    put(&mut root, "etc/goni", Owner::Overlay("goni".into()), TreeKind::Directory);
    put(&mut root, "var/log/dpkg.log", package("mawk"), file("x"));
    let why = "`/var/log/**`: logs of the build".into();
    root.take_out(&path("var/log/dpkg.log"), &Owner::Stage("configure".into()), &why).unwrap();
    root.note(
        &path("etc/fstab"),
        Hand::because(package("libcap2"), Deed::Changed, "its postinst script names it"),
    );
    root
}

fn made(root: &FileTree) -> Result<Index, UnownedError> {
    let (project, lock) = (project(), lock());
    let mut state = empty();
    put(&mut state, "config/goni.env", Owner::Overlay("goni".into()), file("LLM_STUB=1"));
    let mut initrd = empty();
    put(
        &mut initrd,
        "init",
        Owner::Stage("initrd".into()),
        TreeKind::Symlink("usr/lib/systemd/systemd".into()),
    );
    put(&mut initrd, "usr/lib/libcap.so.2.75", package("libcap2"), file("cap"));
    let mut esp = empty();
    put(&mut esp, "loader/loader.conf", Owner::Stage("boot".into()), file("editor no"));
    let laid = Laid { overlays: vec!["base".to_owned(), "goni".to_owned()], payloads: Vec::new() };
    let source = Source {
        project: &project,
        lock: &lock,
        root,
        state: &state,
        content: &NoContent,
        modules: &[],
        laid: &laid,
    };
    let boot = [(Role::Esp, esp)];
    let stored = [(path("usr/lib/libcap.so.2.75"), 3 << 20), (path("etc/issue"), 4096)];
    make(&source, &Written { initrd: &initrd, boot: &boot, stored: &stored, root_used: 5 << 20 })
}

/// Every hand in every place, a line each.
fn told(index: &Index, asked: &str) -> Vec<String> {
    let answer = index.why(Asked::Path(asked));
    let hand = |found: &Found, hand: &HandAnswer| {
        let why = hand.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!(
            "{}:{} {} by {} {}{why}",
            found.place.name(),
            found.path,
            hand.deed,
            hand.by.kind.name(),
            hand.by.name
        )
    };
    answer.found.iter().flat_map(|found| found.hands.iter().map(|it| hand(found, it))).collect()
}

#[test]
fn a_path_is_found_where_it_is_and_where_it_leads() {
    let index = made(&root()).unwrap();
    for (asked, expected) in [
        (
            "/lib/libcap.so.2",
            &[
                "root:/usr/lib/libcap.so.2 brought by package libcap2",
                "root:/usr/lib/libcap.so.2.75 brought by package libcap2",
            ][..],
        ),
        (
            "/etc/issue",
            &["root:/etc/issue brought by package mawk", "root:/etc/issue replaced by overlay base"],
        ),
        ("/etc/goni/goni.env", &["state:/config/goni.env brought by overlay goni"]),
        ("state:/config/goni.env", &["state:/config/goni.env brought by overlay goni"]),
        ("/config/goni.env", &[]),
        ("initrd:/init", &["initrd:/init made by stage initrd"]),
        ("/efi/loader/loader.conf", &["esp:/loader/loader.conf made by stage boot"]),
        (
            "/var/log/dpkg.log",
            &[
                "root:/var/log/dpkg.log brought by package mawk",
                "root:/var/log/dpkg.log removed by stage configure: `/var/log/**`: logs of the build",
            ],
        ),
        (
            "/etc/fstab",
            &[
                "root:/etc/fstab made by stage state",
                "root:/etc/fstab changed by package libcap2: its postinst script names it",
            ],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(told(&index, asked), expected, "{asked}");
    }
}

#[test]
fn the_shortest_way_from_a_wish_is_told_with_file_and_line() {
    let index = made(&root()).unwrap();
    let answer = index.why(Asked::Package("libcap2"));
    let Chain { wished, wish, links, recipe } = answer.package.unwrap().chain.unwrap();
    // Of two ways the shorter, although nobody chose what it begins with.
    assert_eq!((wished.as_str(), wish.by.as_str()), ("mawk", "every Debian system: it is Essential"));
    assert_eq!((links[0].kind.as_str(), links[0].relation.as_str()), ("Depends", "libcap2"));
    assert_eq!(recipe, None);
    let shared = index.why(Asked::Package("libsystemd-shared")).package.unwrap().chain.unwrap();
    assert_eq!((shared.wished.as_str(), shared.wish.by.as_str()), ("systemd", "overlay base"));
    let place = shared.wish.place.unwrap();
    assert!(place.starts_with("overlays/base/overlay.toml:"), "{place}");
    let brought = shared.recipe.unwrap();
    assert_eq!(brought.key, "overlays[base]");
    assert_eq!(brought.origin, "recipes/_base/appliance.toml:3:13");
    let kernel = index.why(Asked::Package("linux-image-amd64")).package.unwrap().chain.unwrap();
    assert_eq!(kernel.wish.by, "target qemu-x86_64");
    assert!(kernel.wish.place.unwrap().starts_with("firmware/qemu-x86_64/target.toml:"));
    assert_eq!(kernel.recipe.unwrap().key, "target");
}

#[test]
fn what_is_not_there_brings_what_may_have_been_meant() {
    let index = made(&root()).unwrap();
    for (asked, near) in [
        (Asked::Path("/etc/isue"), "/etc/issue"),
        (Asked::Path("/usr/bin/fstab"), "/etc/fstab"),
        (Asked::Package("libcap"), "libcap2"),
    ] {
        let answer = index.why(asked);
        assert!(answer.found.is_empty() && answer.package.is_none());
        assert_eq!(answer.near, [near], "{asked:?}");
    }
}

#[test]
fn a_path_that_nobody_owns_is_no_image() {
    for (owner, said) in [
        (package("bash"), "package bash"),
        (Owner::Overlay("left".into()), "overlay left"),
        (Owner::Payload("left".into()), "payload left"),
        (Owner::Stage("unknown".into()), "stage unknown"),
    ] {
        let mut root = root();
        put(&mut root, "usr/bin/planted", owner, file("x"));
        let error = made(&root).unwrap_err();
        let expected = format!("nobody owns `/usr/bin/planted` of the root: {said} is none of this image");
        assert_eq!((error.to_string(), error.class()), (expected, Class::Check));
    }
}

#[test]
fn an_index_comes_back_as_it_was_and_is_the_same_each_time() {
    let index = made(&root()).unwrap();
    let guids = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let bytes = pack(&index, &guids).unwrap();
    assert_eq!(bytes, pack(&made(&root()).unwrap(), &guids).unwrap());
    assert_eq!(unpack(&bytes, "x.index.zst", Some(("x.raw", &guids))).unwrap(), index);
}

#[test]
fn an_index_of_another_image_or_none_is_refused() {
    let index = made(&root()).unwrap();
    let bytes = pack(&index, &[Uuid::from_u128(1)]).unwrap();
    let refused = |bytes: &[u8], guid: u128| {
        let guids = [Uuid::from_u128(guid)];
        unpack(bytes, "i", Some(("x.raw", &guids))).map(drop).unwrap_err().to_string()
    };
    assert_eq!(refused(&bytes, 2), "`i` is the index of another image than `x.raw`");
    let packed = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let head =
        |schema| format!("{{\"format\":\"goni-compose index\",\"schema\":{schema},\"partitions\":[]}}\n");
    let none = [
        (bytes[..bytes.len() / 2].to_vec(), "it cannot be decompressed"),
        (b"no zstd".to_vec(), "it cannot be decompressed"),
        (packed("x"), "it has no lines"),
        (packed("{}\n{}"), "its first line: missing field `format`"),
        (packed("{\"format\":\"x\",\"schema\":1,\"partitions\":[]}\n{}"), "it calls itself `x`"),
    ];
    for (bytes, reason) in none {
        let said = refused(&bytes, 1);
        assert!(said.starts_with(&format!("`i` is no index of an image: {reason}")), "{said}");
    }
    assert_eq!(refused(&packed(&head(2)), 1), "`i` has version 2; this program reads version 1");
    let mut lost = index.clone();
    lost.hands.clear();
    let said = refused(&pack(&lost, &[Uuid::from_u128(1)]).unwrap(), 1);
    assert_eq!(said, "`i` is no index of an image: `/` has nobody that it lists");
}

#[test]
fn images_are_told_apart_by_their_first_bytes_whatever_their_format() {
    let place = tempfile::tempdir().unwrap();
    for sector_size in [SectorSize::B512, SectorSize::B4096] {
        let size = ByteCount::from_mib(8);
        let raw = place.path().join(format!("{}.raw", sector_size.get()));
        let disk = DiskFile::create(&raw, size).unwrap();
        let guid = Uuid::from_u128(u128::from(sector_size.get()));
        let partition = Partition {
            name: "goni-root".to_owned(),
            type_guid: Role::Root.type_guid(Arch::Amd64),
            guid,
            first: Lba::new((1 << 20) / sector_size.get()),
            last: Lba::new((2 << 20) / sector_size.get() - 1),
            attributes: Attributes::NONE,
        };
        let table =
            Table { disk_guid: Uuid::from_u128(9), sector_size, partitions: vec![partition], in_mbr: None };
        gpt::write(&mut disk.whole().unwrap(), size, &table).unwrap();
        assert_eq!(identity::partitions(&raw).unwrap(), [guid]);
        for (name, compression) in [("zstd", Compression::Zstd(3)), ("zlib", Compression::Zlib(6))] {
            let image = place.path().join(format!("{}.{name}.qcow2", sector_size.get()));
            let mut output = files::create(&image).unwrap();
            let extents = disk.extents().unwrap();
            qcow2::write(&mut disk.whole().unwrap(), size, &extents, compression, &mut output).unwrap();
            assert_eq!(identity::partitions(&image).unwrap(), [guid], "{name}");
        }
    }
    let none = place.path().join("none.raw");
    files::replace(&none, b"x", 0o644).unwrap();
    assert!(identity::partitions(&none).is_err());
}

#[test]
fn an_index_is_beside_its_image() {
    for image in ["o/a_1_amd64.raw", "o/a_1_amd64.qcow2", "o/a_1_amd64.4k.raw", "o/a_1_amd64.4k.qcow2"] {
        assert_eq!(beside(Path::new(image)), Path::new("o/a_1_amd64.index.zst"));
    }
}

#[test]
fn sizes_are_told_by_whose_put_a_file_there_last() {
    let index = made(&root()).unwrap();
    let sizes = index.sizes(None);
    let told = |sizes: &sizes::Sizes| -> Vec<String> {
        let tell = |it: &sizes::Share| format!("{} {} {} {}", it.name, it.files, it.bytes, it.stored);
        sizes.shares.iter().map(tell).collect()
    };
    let status = format!("unpack 1 {} 0", STATUS.len());
    assert_eq!(told(&sizes), ["libcap2 1 3 3145728", "base 1 4 4096", &status, "state 1 1 0"]);
    assert_eq!((sizes.used, sizes.unattributed), (5 << 20, (2 << 20) - 4096));
}

#[test]
fn what_grew_is_told_before_what_shrank() {
    let before = made(&root()).unwrap();
    let mut after = before.clone();
    let lines = &mut after.trees[0].lines;
    for (path, stored) in [("/etc/issue", 2 << 20), ("/usr/lib/libcap.so.2.75", 1 << 20)] {
        lines.iter_mut().find(|line| line.0 == path).unwrap().5 = stored;
    }
    after.root_used = 4 << 20;
    after.root_budget = Some(4 << 20);
    let sizes = after.sizes(Some(&before));
    let since = sizes.since.as_ref().unwrap();
    let changes: Vec<String> =
        since.changes.iter().map(|it| format!("{} {}", it.name, sizes::signed(it.difference()))).collect();
    assert_eq!(changes, ["base +1.9 MiB", "libcap2 −2.0 MiB"]);
    assert_eq!(since.grown(5), ["overlay base +1.9 MiB"]);
    assert!(sizes.within_budget().is_ok());
    after.root_budget = Some(3 << 20);
    let error = after.sizes(Some(&before)).within_budget().unwrap_err();
    let expected = "the root uses 4.0 MiB, and its budget is 3MiB; largest: overlay base 2.0 MiB, package \
        libcap2 1.0 MiB, stage unpack 0.0 MiB, stage state 0.0 MiB; grew since the last build: overlay base +1.9 MiB";
    assert_eq!((error.to_string().as_str(), error.class().exit_code()), (expected, 7));
    let same = after.sizes(Some(&after)).within_budget().unwrap_err().to_string();
    assert!(same.ends_with("; nothing grew since the last build"), "{same}");
}
