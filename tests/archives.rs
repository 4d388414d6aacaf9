//! Vendors' archives and loose packages, from a recipe to a lock and a configured image. The archive is one
//! that the tests make and sign: stand-ins with a vendor's names and relations.
//!
//! Needs a mirror of Debian, and root or user namespaces.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "other tests need the rest")]
mod common;
#[path = "archives/vendor.rs"]
mod vendor;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use goni_model::lock::Lock;
use serde_json::Value;

use common::{Project, alone, good, said};
use vendor::{Key, Package, date};

/// A preinst as Jetson packages have it: it looks for the board and fails elsewhere.
const PREINST: &str = "#!/bin/sh
set -e
if [ -e /opt/nvidia/l4t-packages/.nv-l4t-disable-boot-fw-update-in-preinstall ]; then exit 0; fi
if ! grep -q nvidia,tegra /proc/device-tree/compatible; then echo 'not a Jetson' >&2; exit 1; fi
";

fn packages() -> Vec<Package> {
    vec![
        Package::new("nvidia-l4t-core", "Depends: libffi7 (>= 3.3), libc6 (>= 2.34)\n"),
        Package::new("nvidia-l4t-cuda", "Depends: nvidia-l4t-core (= 39.2.0-1), nvgpu | openrm\n"),
        Package::new("nvgpu", "Essential: yes\n"),
        Package::new("openrm", ""),
        Package::new("libopencv-dev", ""),
    ]
}

/// What a test changes of a project that locks.
struct Setting {
    packages: Vec<Package>,
    allow: &'static str,
    more: &'static str,
    wish: &'static str,
    signed: String,
    release: String,
    fingerprint: Option<String>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            packages: packages(),
            allow: "\"nvidia-l4t-*\", \"nvgpu\"",
            more: "override.nvidia-l4t-core = { depends = [\"libffi8\", \"libc6\"], reason = \"built for Ubuntu\" }",
            wish: "nvidia-l4t-cuda",
            signed: date(-1),
            release: String::new(),
            fingerprint: None,
        }
    }
}

impl Setting {
    fn project(&self) -> Project {
        let project = Project::new();
        let key = Key::new();
        let folder = project.path().join("vendor");
        vendor::write(&folder, &self.packages, &key, &self.signed, &self.release);
        fs::create_dir(project.path().join("keys")).unwrap();
        fs::write(project.path().join("keys/vendor.asc"), key.armored()).unwrap();
        let fingerprint = self.fingerprint.clone().unwrap_or_else(|| key.fingerprint());
        let Self { allow, more, wish, .. } = self;
        let mut text = fs::read_to_string(project.recipe()).unwrap();
        text.push_str(&format!(
            "\n[debian]\npackages = [\"...\", \"{wish}\"]\n\n[[archive]]\nname = \"nvidia-l4t\"\nuri = \"file:vendor\"\n\
             suite = \"r39.2\"\ncomponents = [\"main\"]\nallow = [{allow}]\n\
             key = {{ file = \"keys/vendor.asc\", fingerprint = \"{fingerprint}\" }}\n{more}\n"
        ));
        fs::write(project.recipe(), text).unwrap();
        project
    }

    fn lock(&self) -> (Project, Output) {
        let project = self.project();
        let output = lock(&project);
        (project, output)
    }
}

fn lock(project: &Project) -> Output {
    project.program(&["lock", "--quiet", "recipes/qemu-x86_64.toml"]).output().unwrap()
}

fn read(project: &Project) -> Lock {
    fs::read_to_string(project.lock()).unwrap().parse().unwrap()
}

/// Sees that locking ends with a code and says all of this.
fn refused(setting: &Setting, code: i32, lines: &[&str]) {
    let (project, output) = setting.lock();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for line in lines {
        assert!(said.contains(line), "`{line}` in\n{said}");
    }
    assert!(!project.lock().exists(), "{said}");
}

#[test]
fn a_vendors_packages_are_locked_with_what_was_asked_of_it() {
    let (project, output) = Setting::default().lock();
    good(output);
    let lock = read(&project);
    let from: Vec<(&str, &str)> = lock
        .packages
        .iter()
        .filter(|package| package.archive == "nvidia-l4t")
        .map(|package| (package.name.as_str(), package.version.as_str()))
        .collect();
    assert_eq!(
        from,
        [("nvgpu", "39.2.0-1"), ("nvidia-l4t-core", "39.2.0-1"), ("nvidia-l4t-cuda", "39.2.0-1")]
    );
    let suite = lock.suites.iter().find(|suite| suite.archive == "nvidia-l4t").unwrap();
    assert_eq!((suite.suite.as_str(), suite.codename.as_str()), ("r39.2", "r39.2"));
    assert_eq!(lock.overrides()["nvidia-l4t-core"], "libffi8, libc6");
}

#[test]
fn what_a_vendor_may_not_bring_is_refused_by_name() {
    refused(
        &Setting {
            wish: "libopencv-dev",
            packages: vec![Package::new("nvidia-l4t-own", "")],
            ..Setting::default()
        },
        2,
        &["archive `nvidia-l4t` brings no package `nvidia-l4t-core` whose dependencies could be overridden"],
    );
    refused(
        &Setting { wish: "openrm", ..Setting::default() },
        4,
        &[
            "package `openrm` is in archive `nvidia-l4t` alone, whose `allow` does not list it",
            "hint: add \"openrm\" to `allow` of [[archive]] `nvidia-l4t`, if it may bring it",
        ],
    );
    refused(
        &Setting {
            allow: "\"*\"",
            packages: [packages(), vec![Package::new("bash", "")]].concat(),
            ..Setting::default()
        },
        4,
        &[
            "archive `nvidia-l4t` has `bash=39.2.0-1`, which `trixie` has too, as 5.",
            "hint: leave it out of `allow`",
        ],
    );
}

#[test]
fn an_archive_that_is_not_to_be_believed_is_refused() {
    let fingerprint = Some("0".repeat(40));
    refused(
        &Setting { fingerprint, ..Setting::default() },
        3,
        &[&format!("the key file of archive `nvidia-l4t` has no certificate {}; it has ", "0".repeat(40))],
    );
    let release = format!("Valid-Until: {}\n", date(-1));
    refused(
        &Setting { signed: date(-3), release, ..Setting::default() },
        3,
        &["reading `dists/r39.2/InRelease` of archive `nvidia-l4t`", "was valid until"],
    );
    refused(&Setting { signed: date(-200), ..Setting::default() }, 3, &["more than 180 days before"]);
    let project = Setting::default().project();
    let inrelease = project.path().join("vendor/dists/r39.2/InRelease");
    let signed = fs::read_to_string(&inrelease).unwrap();
    let unsigned = signed.split("-----BEGIN PGP SIGNATURE").next().unwrap().split_once("\n\n").unwrap().1;
    for (text, expected) in [
        (Some(unsigned.to_owned()), "this is not the start of a signed message"),
        (
            Some(signed.replace("Origin: NVIDIA", "Origin: NVIDEA")),
            "no good signature by a key of archive `nvidia-l4t`",
        ),
    ] {
        fs::write(&inrelease, text.unwrap()).unwrap();
        let output = lock(&project);
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
}

#[test]
fn an_archive_of_another_architecture_is_refused() {
    refused(
        &Setting { more: "architecture = \"arm64\"", ..Setting::default() },
        2,
        &["archive `nvidia-l4t` is for arm64, the target `qemu-x86_64` is amd64"],
    );
}

/// A project with a loose package.
fn loose(package: &Package) -> (Project, PathBuf) {
    let project = Project::new();
    let file = project.path().join("debs").join(package.file_name());
    fs::create_dir(project.path().join("debs")).unwrap();
    fs::write(&file, package.deb()).unwrap();
    let mut text = fs::read_to_string(project.recipe()).unwrap();
    text.push_str("\n[debian]\nlocal = [\"debs/*.deb\"]\n");
    fs::write(project.recipe(), text).unwrap();
    (project, file)
}

#[test]
fn loose_packages_are_locked_by_digest_and_a_change_is_seen() {
    let package = Package::new("own-tool", "Depends: libc6\n");
    let (project, file) = loose(&package);
    good(lock(&project));
    let found = read(&project).packages.into_iter().find(|package| package.name == "own-tool").unwrap();
    assert_eq!((found.archive.as_str(), found.path.as_str()), ("local", "debs/own-tool_39.2.0-1_amd64.deb"));
    let check =
        || project.program(&["lock", "--quiet", "--check", "recipes/qemu-x86_64.toml"]).output().unwrap();
    good(check());
    fs::write(&file, Package::new("own-tool", "Depends: libffi8\n").deb()).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("no longer satisfies the recipe: `local` has `debs/own-tool"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_loose_package_of_another_architecture_and_none_at_all_are_refused() {
    let (project, file) = loose(&Package { arch: "arm64", ..Package::new("own-tool", "") });
    let output = lock(&project);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("package `debs/own-tool_39.2.0-1_arm64.deb` is for arm64, not for amd64"));
    fs::remove_file(file).unwrap();
    let output = lock(&project);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("`[debian] local`: no file is `debs/*.deb`"));
}

#[test]
fn an_image_with_a_vendors_packages_says_what_was_overridden() {
    let setting = Setting::default();
    let (project, output) = setting.lock();
    good(output);
    let _alone = alone();
    let output = good(project.program(&["build", "recipes/qemu-x86_64.toml"]).output().unwrap());
    let expected = "archive `nvidia-l4t`: package `nvidia-l4t-core` depends on [libffi8, libc6] instead of what it says: \
                    built for Ubuntu";
    assert!(said(&output).contains(expected), "{}", said(&output));
    let manifest = fs::read(project.out().join("goni-qemu_0.1.0_amd64.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["archives"][0]["name"], "nvidia-l4t");
    assert_eq!(manifest["archives"][0]["overrides"]["nvidia-l4t-core"]["reason"], "built for Ubuntu");
}

#[test]
fn a_preinst_that_looks_for_the_board_is_named_with_its_last_words() {
    let mut packages = packages();
    packages[2].preinst = Some(PREINST);
    let (project, output) = Setting { packages, ..Setting::default() }.lock();
    good(output);
    let _alone = alone();
    let output = project.program(&["build", "--quiet", "recipes/qemu-x86_64.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let marker = "/opt/nvidia/l4t-packages/.nv-l4t-disable-boot-fw-update-in-preinstall";
    for expected in [
        "package `nvgpu`: its preinst script failed: ".to_owned(),
        "not a Jetson".to_owned(),
        format!(
            "hint: it looks at `{marker}`, `/proc/device-tree/compatible`, and where an image is made there is no"
        ),
    ] {
        assert!(said(&output).contains(&expected), "`{expected}` in\n{}", said(&output));
    }
}

#[test]
fn a_board_that_is_marked_passes_a_preinst_that_looks_for_it() {
    let mut packages = packages();
    packages[2].preinst = Some(PREINST);
    let setting = Setting { packages, ..Setting::default() };
    let project = setting.project();
    let target = project.path().join("firmware/qemu-x86_64/target.toml");
    let mut text = fs::read_to_string(&target).unwrap();
    text.push_str(
        "\n[board]\nmarkers = [\"/opt/nvidia/l4t-packages/.nv-l4t-disable-boot-fw-update-in-preinstall\"]\n",
    );
    fs::write(&target, text).unwrap();
    good(lock(&project));
    let _alone = alone();
    good(project.program(&["build", "--quiet", "recipes/qemu-x86_64.toml"]).output().unwrap());
    let manifest = fs::read(project.out().join("goni-qemu_0.1.0_amd64.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let probes = manifest["probes"].as_array().unwrap();
    let looks = |package: &str| probes.iter().find(|probe| probe["package"] == package);
    let expected = serde_json::json!({
        "package": "nvgpu",
        "script": "preinst",
        "looks_at": [
            "/opt/nvidia/l4t-packages/.nv-l4t-disable-boot-fw-update-in-preinstall",
            "/proc/device-tree/compatible",
        ],
    });
    assert_eq!(looks("nvgpu"), Some(&expected));
    // Debian's own is listed as well, and who does not look is not.
    assert_eq!(looks("libc6").unwrap()["looks_at"], serde_json::json!(["uname -r", "uname -v"]));
    assert_eq!(looks("nvidia-l4t-core"), None);
}

#[test]
fn a_key_that_has_to_be_put_there_is_asked_for_in_one_error() {
    let project = Project::new();
    let output = project.program(&["lock", "--quiet", "recipes/jetson.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    for line in [
        "archive `nvidia-l4t-common` wants its vendor's key in `keys/nvidia-jetson-ota-public.asc`, which is not there",
        "see that its fingerprint is 3C6D1FF3100C8C3ABB0869C0E6543461A9996195, and put it at \
         `keys/nvidia-jetson-ota-public.asc`",
    ] {
        assert!(said(&output).contains(line), "`{line}` in\n{}", said(&output));
    }
}

#[test]
fn the_recipes_for_jetson_are_locked_from_an_archive_of_such_names() {
    let project = Project::new();
    vendor::for_jetson(&project, &vendor::jetson());
    for (name, gpu, other) in [("jetson", "nvgpu", "openrm"), ("jetson-thor", "openrm", "nvgpu")] {
        let path = format!("recipes/{name}.toml");
        let output = good(project.program(&["lock", &path]).output().unwrap());
        let lock = fs::read_to_string(project.path().join(format!("recipes/{name}.lock"))).unwrap();
        let lock: Lock = lock.parse().unwrap();
        let has = |wanted: &str| lock.packages.iter().any(|package| package.name == wanted);
        assert!(has(gpu) && !has(other) && has("nvidia-l4t-kernel"), "{}", said(&output));
        // What a shadow boot takes is Debian's alone.
        let shadow = fs::read_to_string(project.path().join(format!("recipes/{name}.shadow.lock"))).unwrap();
        let shadow: Lock = shadow.parse().unwrap();
        assert!(shadow.packages.iter().any(|package| package.name == "linux-image-arm64"));
        assert!(shadow.packages.iter().all(|package| !package.name.starts_with("nvidia")));
    }
}
