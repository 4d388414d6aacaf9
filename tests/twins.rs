//! Programs of this machine in the place of an image's: what they make is what the image's own make.
//! Needs a mirror of Debian the first time, and root. A small system is made twice, with twins and emulated; with
//! `GONI_COMPOSE_TWINS=image`, the whole image of `qemu-aarch64`, too.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "other tests need the rest")]
mod common;
#[expect(dead_code, reason = "other tests need the rest")]
#[path = "archives/vendor.rs"]
mod vendor;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use goni_compose::failure::Classify as _;
use goni_compose::host::clock::SystemClock;
use goni_compose::host::command::System;
use goni_compose::host::contents;
use goni_compose::host::environment::{Environment, arch_of_this_machine};
use goni_compose::host::fetch::http::{HttpFetch, Options};
use goni_compose::host::interrupt::Interrupt;
use goni_compose::host::mirror::Mirrors;
use goni_compose::host::sandbox::Emulator;
use goni_compose::host::store::Store;
use goni_compose::host::toolbox;
use goni_compose::progress::Silent;
use goni_compose::resolve::resolve_request;
use goni_compose::stages;
use goni_compose::stages::configure::{Configured, Foreign, configure};
use goni_compose::stages::fetch::{Sources, fetch_packages};
use goni_compose::stages::twins::Twins;
use goni_compose::stages::unpack::{DebFile, Part, unpack};
use goni_disk::tree::Kind;
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::{Lock, LockRequest, LockedPackage};
use goni_model::time::Timestamp;

use common::{Project, alone, good, in_private_mounts, is_root, said};

/// Tells which processor the shell is for that runs it, where the comparison finds it, and which kernel runs, by
/// `uname` and as an emulated program is told by the kernel itself; and has a program run as its owner, as scripts of
/// some packages do.
const WITNESS: &str = "#!/bin/sh
set -e
od -An -tx1 -j18 -N2 /usr/bin/dash > /usr/share/vendor/machine
uname -r > /usr/share/vendor/kernel
/run/kernel/uname -r >> /usr/share/vendor/kernel
chown 0:5 /usr/bin/kmod
chmod 4710 /usr/bin/kmod
";

/// The architecture that this machine has to emulate.
fn other() -> Arch {
    match arch_of_this_machine() {
        Some(Arch::Arm64) => Arch::Amd64,
        _ => Arch::Arm64,
    }
}

/// Packages of a small system for another architecture, with the witness; those of its twins; the emulator.
struct Inputs {
    packages: Vec<DebFile>,
    twins: Vec<DebFile>,
    emulator: Emulator,
    date: Timestamp,
}

fn inputs(place: &Path) -> Inputs {
    let environment = Environment::of_process();
    let cache = environment.cache_directory(None).unwrap();
    let store = Store::open(&cache).unwrap();
    let fetch = HttpFetch::new(Options::of(&environment).unwrap(), Interrupt::default()).unwrap();
    let mirrors = Mirrors::discover(None, &environment, Path::new("/etc/apt")).unwrap();
    let sources = Sources { mirrors: &mirrors, store: &store, fetch: &fetch, progress: &Silent };
    let tools = stages::toolbox::open(&cache, sources, &SystemClock).unwrap();
    let request = LockRequest {
        packages: vec!["kmod".to_owned()],
        archives: toolbox::lock().unwrap().request.archives,
        ..LockRequest::default()
    };
    let arches = (other(), arch_of_this_machine());
    let lock = resolve_request("twins", arches, request, None, sources, &SystemClock).unwrap();
    let debs = |packages: &[LockedPackage]| -> Vec<DebFile> {
        let fetched = fetch_packages(packages, sources).unwrap();
        fetched.into_iter().map(|(locked, path)| DebFile { locked, path, depends: None }).collect()
    };
    let witness = vendor::Package {
        arch: "all",
        preinst: Some(WITNESS),
        files: vec![("usr/lib/modules/9.8.7-board/modules.order".to_owned(), String::new())],
        ..vendor::Package::new("witness", "")
    };
    let mut packages = debs(&lock.packages);
    packages.push(loose(place, &witness));
    let emulator = match other() {
        Arch::Amd64 => "usr/bin/qemu-x86_64",
        Arch::Arm64 => "usr/bin/qemu-aarch64",
    };
    Inputs {
        packages,
        twins: debs(&lock.twins),
        emulator: Emulator { program: tools.root().join(emulator), arch: other() },
        date: Timestamp::from_seconds(lock.source_date.try_into().unwrap()),
    }
}

fn loose(place: &Path, package: &vendor::Package) -> DebFile {
    let (bytes, path) = (package.deb(), place.join(package.file_name()));
    fs::write(&path, &bytes).unwrap();
    let locked = LockedPackage {
        name: package.name.to_owned(),
        version: package.version.to_owned(),
        arch: package.arch.to_owned(),
        archive: "local".to_owned(),
        path: package.file_name(),
        size: bytes.len().try_into().unwrap(),
        sha256: Sha256Digest::of(&bytes),
    };
    DebFile { locked, path, depends: None }
}

/// Every entry of a configured system: kind, mode, owner, time, attributes, and what it holds.
fn entries(configured: &Configured) -> BTreeMap<String, String> {
    let tree = &configured.tree;
    let entry = |(path, entry): (&goni_disk::tree::TreePath, &goni_disk::tree::Entry)| {
        let inode = tree.inode(entry.inode);
        let held = match &inode.kind {
            Kind::File(content) => {
                let mut bytes = Vec::new();
                content.open(&configured.contents).unwrap().read_to_end(&mut bytes).unwrap();
                format!("file {}", Sha256Digest::of(&bytes))
            }
            other => format!("{other:?}"),
        };
        let (metadata, names) = (&inode.metadata, tree.links(path));
        (path.to_string(), format!("{metadata:?} {} {names} {held}", entry.owner))
    };
    tree.iter().map(entry).collect()
}

/// The paths that two systems do not have alike.
fn differences(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let paths = one.keys().chain(other.keys().filter(|path| !one.contains_key(*path)));
    paths.filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

#[test]
fn a_system_is_the_same_whether_twins_configure_it_or_its_own_programs() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let Inputs { packages, twins, emulator, date } = inputs(place.path());
    assert!(twins.len() * 10 > packages.len() * 7, "{} twins of {}", twins.len(), packages.len());
    let made = |name: &str, twins: Option<(Twins, PathBuf)>| {
        let root = place.path().join(name);
        let blobs = place.path().join("blobs");
        let unpacked = unpack(&packages, Part::WHOLE, &[], &blobs, &root, &Silent).unwrap();
        let foreign = Foreign { emulator: emulator.clone(), twins };
        let runner = System::new(env!("CARGO_BIN_EXE_goni-compose"));
        let began = Instant::now();
        let configured = configure(&root, &unpacked.tree, date, Some(&foreign), &runner, &Silent).unwrap();
        (entries(&configured), began.elapsed(), configured)
    };
    let directory = place.path().join("twins");
    fs::create_dir(&directory).unwrap();
    let twins = Twins::make(&twins, arch_of_this_machine().unwrap(), &directory, &Silent).unwrap();
    for program in ["usr/bin/dash", "usr/bin/perl", "usr/bin/kmod"] {
        assert!(twins.programs.iter().any(|twin| twin.path == program), "{program}");
    }
    assert!(!twins.programs.iter().any(|twin| twin.path == "usr/bin/dpkg"));
    let (with, fast, configured) = made("with", Some((twins, place.path().join("covers"))));
    let (without, slow, emulated) = made("without", None);
    eprintln!("configured in {:.1} s with twins, {:.1} s emulated", fast.as_secs_f64(), slow.as_secs_f64());
    // The one that was made to differ: twins were there, and the comparison sees what they change.
    assert_eq!(differences(&with, &without), ["/usr/share/vendor/machine"]);
    for configured in [&configured, &emulated] {
        assert_eq!(
            configured.contents.read("usr/share/vendor/kernel").unwrap(),
            b"9.8.7-board\n9.8.7-board\n"
        );
    }
    let machine = |configured: &Configured| configured.contents.read("usr/share/vendor/machine").unwrap();
    let tells = |arch: Arch| {
        let [low, high] = arch.elf_machine().to_le_bytes();
        format!(" {low:02x} {high:02x}\n").into_bytes()
    };
    assert_eq!(machine(&configured), tells(arch_of_this_machine().unwrap()));
    assert_eq!(machine(&emulated), tells(other()));
    let expected = format!("Metadata {{ mode: {}, uid: 0, gid: 5,", 0o4710);
    assert!(with["/usr/bin/kmod"].starts_with(&expected), "{}", with["/usr/bin/kmod"]);
    assert!(fast * 2 < slow, "twins: {fast:?}, emulated: {slow:?}");
}

#[test]
fn a_script_that_fails_under_emulation_is_named_with_what_it_said() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let Inputs { mut packages, emulator, date, .. } = inputs(place.path());
    // A shell, what it needs, and a place for the program's own files; the package's script comes before all others.
    packages
        .retain(|package| ["dash", "init-system-helpers", "libc6"].contains(&package.locked.name.as_str()));
    let script = "#!/bin/sh\necho looking for the board\necho not here >&2\nexit 3\n";
    let broken = vendor::Package { arch: "all", preinst: Some(script), ..vendor::Package::new("broken", "") };
    packages.push(loose(place.path(), &broken));
    let root = place.path().join("root");
    let unpacked = unpack(&packages, Part::WHOLE, &[], &place.path().join("blobs"), &root, &Silent).unwrap();
    let foreign = Foreign { emulator, twins: None };
    let runner = System::new(env!("CARGO_BIN_EXE_goni-compose"));
    let error = configure(&root, &unpacked.tree, date, Some(&foreign), &runner, &Silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "package `broken`: its preinst script failed: looking for the board\nnot here"
    );
    assert_eq!(error.class().exit_code(), 5);
    assert_eq!(error.hint().unwrap(), format!("its programs ran under an emulator of {}", other()));
}

/// What twins made is never taken for what the image's own programs made.
#[test]
fn a_plan_depends_on_its_twins_and_on_whether_they_are_used() {
    let project = Project::new();
    let lock = project.path().join("recipes/qemu-aarch64.lock");
    let stages = |arguments: &[&str]| -> Vec<(String, String)> {
        let plan = ["plan", "recipes/qemu-aarch64.toml", "--report", "json"];
        let output = good(project.program(&plan).args(arguments).output().unwrap());
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let stages = plan["stages"].as_array().unwrap().iter();
        stages.map(|stage| (text(&stage["id"]), text(&stage["note"]))).collect()
    };
    let (with, without) = (stages(&[]), stages(&["--emulate"]));
    let text = fs::read_to_string(&lock).unwrap();
    let mut fewer: Lock = text.parse().unwrap();
    fewer.twins.pop();
    let foreign = fewer.twins.iter().all(|twin| {
        arch_of_this_machine().is_some_and(|machine| machine != fewer.arch && twin.arch == machine.debian())
    });
    if !foreign || fewer.twins.is_empty() {
        assert_eq!(with, without);
        eprintln!("skipped: the repository's lock has no twins for this machine");
        return;
    }
    let count = fewer.twins.len() + 1;
    assert!(with[0].1.ends_with(&format!(", {count} twins for this machine")), "{with:?}");
    assert!(!without[0].1.contains("twins"), "{without:?}");
    fs::write(&lock, fewer.to_string()).unwrap();
    let fewer = stages(&[]);
    for (with, (without, fewer)) in with.iter().zip(without.iter().zip(&fewer)) {
        assert!(with.0 != without.0 && with.0 != fewer.0 && without.0 != fewer.0);
    }
}

/// Minutes: three builds of all there is, one of them emulated, one of an ordinary user's.
#[test]
fn a_whole_image_has_the_same_bytes_with_and_without_twins() {
    if std::env::var("GONI_COMPOSE_TWINS").as_deref() != Ok("image") {
        eprintln!("skipped: takes minutes; GONI_COMPOSE_TWINS=image runs it");
        return;
    }
    let _alone = alone();
    let project = Project::new();
    drop(fs::remove_file(project.path().join("recipes/qemu-aarch64.lock")));
    // One tree is kept per image: the second build makes its own.
    let build = |arguments: &[&str]| {
        let began = Instant::now();
        let output = project.program(&["build", "recipes/qemu-aarch64.toml"]).args(arguments).output();
        let said = said(&good(output.unwrap()));
        eprintln!("build {}: {:.0} s\n{said}", arguments.join(" "), began.elapsed().as_secs_f64());
        let raw = project.out().join("goni-qemu_0.1.0_arm64.raw");
        (said, contents::inspect(&raw).unwrap().sha256)
    };
    let (said, emulated) = build(&["--emulate"]);
    assert!(!said.contains("] twins"), "{said}");
    let (said, with) = build(&[]);
    assert!(said.contains("] twins") && !said.contains("configure           0.0s"), "{said}");
    assert_eq!(with, emulated);
    let sums = fs::read_to_string(project.out().join("SHA256SUMS")).unwrap();
    let line = |sums: &str| sums.lines().find(|line| line.ends_with(".raw")).map(str::to_owned).unwrap();
    if is_root() {
        assert_eq!(line(&as_an_ordinary_user(&project)), line(&sums));
    }
}

/// Builds the image once more, with a cache of the user's own; what its `SHA256SUMS` then say.
fn as_an_ordinary_user(project: &Project) -> String {
    let cache = Environment::of_process().cache_directory(None).unwrap();
    let lock = fs::read_to_string(project.path().join("recipes/qemu-aarch64.lock")).unwrap();
    let lock: Lock = lock.parse().unwrap();
    for package in lock.packages.iter().chain(&lock.twins) {
        let sha256 = package.sha256.to_string();
        let folder = Path::new("store/sha256").join(&sha256[..2]);
        fs::create_dir_all(project.path().join("own").join(&folder)).unwrap();
        let file = folder.join(sha256);
        fs::copy(cache.join(&file), project.path().join("own").join(&file)).unwrap();
    }
    fs::create_dir(project.path().join("own/toolbox")).unwrap();
    fs::set_permissions(project.path().join("own"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_goni-compose"), project.path().join("program")).unwrap();
    fs::write(project.path().join("ranges"), "65534:700000:65536\n").unwrap();
    let script = "cd \"$1\"; chown -R 65534:65534 .; touch /etc/subuid /etc/subgid
        mount --bind ranges /etc/subuid; mount --bind ranges /etc/subgid; mount --bind \"$2\" own/toolbox
        exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=\"$PATH\" \
            ./program build recipes/qemu-aarch64.toml --cache own --out theirs --offline";
    let output = in_private_mounts(script, &[project.path(), &cache.join("toolbox")]).output().unwrap();
    let said = said(&good(output));
    assert!(said.contains("] twins") && said.contains("] configure"), "{said}");
    fs::read_to_string(project.path().join("theirs/SHA256SUMS")).unwrap()
}
