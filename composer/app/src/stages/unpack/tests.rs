use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::progress::Silent;

#[path = "../../../../debian/src/deb/testing.rs"]
mod testing;

use testing::{Tar, control, deb};

/// A place to unpack into, and a sentinel beside it that nothing may touch.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("outside")).unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn unpack(&self, packages: &[(&str, Vec<u8>)]) -> Result<Unpacked, UnpackError> {
        let files: Vec<DebFile> = packages.iter().map(|(name, bytes)| self.store(name, bytes)).collect();
        let result = unpack(&files, Part::WHOLE, &[], &self.0.path().join("scratch"), &self.root(), &Silent);
        assert_eq!(fs::read_dir(self.0.path().join("outside")).unwrap().count(), 0);
        result
    }

    fn store(&self, name: &str, bytes: &[u8]) -> DebFile {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        let locked = LockedPackage {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            arch: "all".to_owned(),
            archive: "debian".to_owned(),
            path: format!("pool/{name}.deb"),
            size: bytes.len().try_into().unwrap(),
            sha256: Sha256Digest::of(bytes),
        };
        DebFile { locked, path, depends: None }
    }

    /// The message of a refusal, its class, and whether the root was left unmade.
    fn refusal(&self, packages: &[(&str, Vec<u8>)]) -> (String, Class) {
        let error = self.unpack(packages).unwrap_err();
        assert!(!self.root().exists(), "a refusal comes before anything is planted");
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let message = causes.fold(error.to_string(), |message, cause| format!("{message}: {cause}"));
        (message, error.class())
    }
}

fn package(name: &str, data: Tar) -> (&str, Vec<u8>) {
    with_fields(name, "", data)
}

fn with_fields<'a>(name: &'a str, fields: &str, data: Tar) -> (&'a str, Vec<u8>) {
    (name, deb(&control(name, fields, &[]), &data.end()))
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn one_file(name: &str, content: &[u8]) -> Tar {
    Tar::default().file(name, 0o644, content)
}

#[test]
fn a_package_becomes_files_with_their_metadata_and_a_database() {
    let files = [("conffiles", 0o644, "/etc/p.conf\n")];
    let data = Tar::default()
        .directory("./")
        .raw(b'5', b"./etc/", b"", 0o2750, b"", |_| {})
        .file("./etc/p.conf", 0o600, b"conf")
        .file("./usr/bin/tool", 0o4755, b"tool")
        .hard_link("./usr/bin/again", "./usr/bin/tool")
        .symlink("./usr/bin/link", "/etc/p.conf");
    let place = Place::new();
    let unpacked = place.unpack(&[("p", deb(&control("p", "", &files), &data.end()))]).unwrap();
    let root = place.root();
    let tool = fs::metadata(root.join("usr/bin/tool")).unwrap();
    assert_eq!(tool.permissions().mode() & 0o7777, 0o4755);
    assert_eq!(tool.mtime(), 0o1750);
    assert_eq!(tool.ino(), fs::metadata(root.join("usr/bin/again")).unwrap().ino());
    assert_eq!(fs::read(root.join("usr/bin/again")).unwrap(), b"tool");
    assert_eq!(fs::read_link(root.join("usr/bin/link")).unwrap(), PathBuf::from("/etc/p.conf"));
    assert_eq!(fs::metadata(root.join("etc")).unwrap().permissions().mode() & 0o7777, 0o2750);
    assert_eq!(fs::metadata(root.join("etc")).unwrap().mtime(), 0o1750);
    assert_eq!(fs::read(root.join("etc/p.conf.dpkg-new")).unwrap(), b"conf");
    assert!(!root.join("etc/p.conf").exists());
    let status = fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap();
    assert!(status.contains("Status: install ok unpacked\n"), "{status}");
    assert!(!place.0.path().join("scratch").exists());

    assert_eq!(unpacked.conffiles, BTreeSet::from([path("etc/p.conf")]));
    let owner = &unpacked.tree.entry(&path("etc/p.conf")).unwrap().owner;
    assert_eq!(owner, &Owner::Package("p".into()));
    let set_id: Vec<String> = unpacked.set_id.iter().map(|file| file.path.to_string()).collect();
    assert_eq!(set_id, ["/usr/bin/again", "/usr/bin/tool"]);
    assert_eq!(unpacked.bytes, 8);
}

#[test]
fn one_file_under_both_names_of_a_merged_directory_is_a_conflict() {
    let place = Place::new();
    let (message, class) = place
        .refusal(&[package("mga", one_file("./bin/x", b"a")), package("mgb", one_file("./usr/bin/x", b"b"))]);
    assert_eq!(message, "packages `mga=1.0` and `mgb=1.0` both ship `/usr/bin/x`");
    assert_eq!(class, Class::Content);
    let twice = one_file("./bin/x", b"a").file("./usr/bin/x", 0o644, b"b");
    let (message, _) = Place::new().refusal(&[package("mga", twice)]);
    assert_eq!(message, "package `mga=1.0` ships `/usr/bin/x` under two names");
}

#[test]
fn files_below_an_alias_land_in_usr_and_the_alias_is_a_link() {
    let place = Place::new();
    place.unpack(&[package("p", Tar::default().directory("./lib").file("./lib/x", 0o644, b"x"))]).unwrap();
    assert_eq!(fs::read(place.root().join("usr/lib/x")).unwrap(), b"x");
    assert_eq!(fs::read_link(place.root().join("lib")).unwrap(), PathBuf::from("usr/lib"));
    let (message, _) = Place::new().refusal(&[package("p", Tar::default().symlink("./lib", "/outside"))]);
    assert_eq!(message, "package `p=1.0` ships `/lib` as something other than a link to `usr/lib`");
}

#[test]
fn a_package_that_replaces_the_other_gets_the_file() {
    let place = Place::new();
    let unpacked = place
        .unpack(&[
            with_fields("new", "Replaces: old (<< 1.1)\n", one_file("./usr/x", b"new")),
            package("old", one_file("./usr/x", b"old").file("./usr/y", 0o644, b"old")),
        ])
        .unwrap();
    assert_eq!(fs::read(place.root().join("usr/x")).unwrap(), b"new");
    assert_eq!(unpacked.tree.entry(&path("usr/x")).unwrap().owner, Owner::Package("new".into()));
    let list = place.root().join("var/lib/dpkg/info/old.list");
    assert_eq!(fs::read_to_string(list).unwrap(), "/usr/y\n");

    let (message, _) = Place::new().refusal(&[
        with_fields("new", "Replaces: old (<< 1.0)\n", one_file("./usr/x", b"new")),
        package("old", one_file("./usr/x", b"old")),
    ]);
    assert_eq!(message, "packages `new=1.0` and `old=1.0` both ship `/usr/x`");
}

#[test]
fn nothing_is_shipped_through_a_symbolic_link() {
    let place = Place::new();
    let outside = place.0.path().join("outside");
    let hop = Tar::default().symlink("./evil", outside.to_str().unwrap());
    let (message, class) =
        place.refusal(&[package("a", hop.clone()), package("b", one_file("./evil/pwn", b"pwn"))]);
    assert_eq!(message, "package `b=1.0` ships `/evil/pwn` below `/evil`, a symbolic link of package a");
    assert_eq!(class, Class::Content);
    let (message, _) = Place::new().refusal(&[package("a", hop.clone().file("./evil/pwn", 0o644, b""))]);
    assert_eq!(message, "package `a=1.0` ships `/evil/pwn` below `/evil`, a symbolic link of package a");
    let (message, _) =
        Place::new().refusal(&[package("a", hop), package("b", Tar::default().directory("./evil"))]);
    assert_eq!(message, "package `b=1.0` ships `/evil` as a directory, package `a=1.0` does not");
}

#[test]
fn a_conffile_must_be_a_file_of_its_package() {
    for data in [Tar::default(), Tar::default().symlink("./etc/c", "d")] {
        let bytes = deb(&control("p", "", &[("conffiles", 0o644, "/etc/c\n")]), &data.end());
        let (message, _) = Place::new().refusal(&[("p", bytes)]);
        assert_eq!(message, "package `p=1.0` declares conffile `/etc/c`, which is no regular file of it");
    }
}

#[test]
fn a_package_cannot_ship_the_database() {
    let (message, _) = Place::new().refusal(&[package("p", one_file("./var/lib/dpkg/status", b""))]);
    assert_eq!(message, "`/var/lib/dpkg/status` of package p is where the dpkg database goes");
}

#[test]
fn other_bytes_than_the_locked_ones_are_a_matter_of_trust() {
    let place = Place::new();
    let (_, bytes) = package("p", one_file("./x", b""));
    let mut file = place.store("p", &bytes);
    file.locked.sha256 = Sha256Digest::of(b"");
    let scratch = place.0.path().join("scratch");
    let error = unpack(&[file], Part::WHOLE, &[], &scratch, &place.root(), &Silent).unwrap_err();
    let (expected, found) = (Sha256Digest::of(b""), Sha256Digest::of(&bytes));
    assert_eq!(error.to_string(), format!("package `p=1.0` has digest {found}, not {expected} as locked"));
    assert_eq!(error.class(), Class::Trust);

    let (message, class) = Place::new().refusal(&[("q", bytes)]);
    assert_eq!(message, "package `q=1.0`: Package is `p`, not `q` as locked");
    assert_eq!(class, Class::Trust);
}

#[test]
fn a_hostile_member_is_refused_before_anything_is_planted() {
    let (message, class) = Place::new().refusal(&[package("p", one_file("./../outside/x", b"x"))]);
    assert_eq!(
        message,
        "package `p=1.0`: member `./../outside/x` of the data archive: the name climbs with `..`"
    );
    assert_eq!(class, Class::Content);
}

#[test]
fn a_root_that_exists_is_not_planted_into() {
    let place = Place::new();
    std::os::unix::fs::symlink(place.0.path().join("outside"), place.root()).unwrap();
    let error = place.unpack(&[package("p", one_file("./x", b""))]).unwrap_err();
    assert_eq!(error.to_string(), format!("making directory `{}`", place.root().display()));
    assert_eq!(error.class(), Class::Environment);
}
