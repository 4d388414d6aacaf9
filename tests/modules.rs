//! Kernel modules that the kernel's package does not bring: what builds goes into the image, signed; what does
//! not, stops the build with its log.
//!
//! Needs a mirror of Debian, and root or user namespaces.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "other tests need the rest")]
mod common;
#[expect(dead_code, reason = "other tests need the rest")]
#[path = "archives/vendor.rs"]
mod vendor;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use goni_compose::modinfo::Modinfo;
use goni_model::arch::Arch;
use goni_model::lock::Lock;
use serde_json::Value;

use common::{Project, STEM, alone, good, said};
use vendor::Package;

const SOURCE: &str = "#include <linux/module.h>
static int __init hello(void) { pr_info(\"hello: loaded\\n\"); return 0; }
static void __exit bye(void) { }
module_init(hello);
module_exit(bye);
MODULE_LICENSE(\"GPL\");
MODULE_DESCRIPTION(\"says that it is there\");
";

/// A package whose modules DKMS builds: a source, and what `dkms.conf` promises of it.
fn dkms(source: &str, promised: &str) -> Package {
    let configuration = format!(
        "PACKAGE_NAME=hello\nPACKAGE_VERSION=1.0\nBUILT_MODULE_NAME[0]=hello\nDEST_MODULE_LOCATION[0]=/extra\n{promised}"
    );
    let folder = "usr/src/hello-1.0";
    Package {
        files: vec![
            (format!("{folder}/dkms.conf"), configuration),
            (format!("{folder}/Makefile"), "obj-m := hello.o\n".to_owned()),
            (format!("{folder}/hello.c"), source.to_owned()),
        ],
        ..Package::new("hello-dkms", "Depends: dkms\n")
    }
}

/// A project whose recipe says this besides.
fn project(more: &str) -> Project {
    let project = Project::new();
    let mut text = fs::read_to_string(project.recipe()).unwrap();
    text.push_str(more);
    fs::write(project.recipe(), text).unwrap();
    project
}

/// A project with a package for DKMS.
fn with_dkms(package: &Package) -> Project {
    let project = project("\n[debian]\nlocal = [\"debs/*.deb\"]\n\n[kernel]\ndkms = [\"hello-dkms\"]\n");
    fs::create_dir(project.path().join("debs")).unwrap();
    fs::write(project.path().join("debs").join(package.file_name()), package.deb()).unwrap();
    good(project.program(&["lock", "--quiet", "recipes/qemu-x86_64.toml"]).output().unwrap());
    project
}

fn build(project: &Project) -> Output {
    project.program(&["build", "--quiet", "recipes/qemu-x86_64.toml"]).output().unwrap()
}

/// The names of what is in the output, if anything.
fn left(project: &Project) -> Vec<String> {
    let entries = fs::read_dir(project.out()).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_builds_modules_is_locked_apart_from_the_image() {
    let project = with_dkms(&dkms(SOURCE, ""));
    let lock: Lock = fs::read_to_string(project.lock()).unwrap().parse().unwrap();
    let build = |name: &str| lock.build.iter().find(|package| package.name == name);
    let image = |name: &str| lock.packages.iter().find(|package| package.name == name);
    let kernel = lock.packages.iter().find(|package| package.name.starts_with("linux-image-6")).unwrap();
    let headers = build(&kernel.name.replace("image", "headers")).unwrap();
    assert_eq!(headers.version, kernel.version);
    for name in ["hello-dkms", "dkms", "gcc", "make", headers.name.as_str()] {
        assert!(build(name).is_some() && image(name).is_none(), "{name}");
    }
    assert!(build(&kernel.name).is_none());
}

#[test]
fn a_build_that_fails_shows_its_log_and_leaves_nothing() {
    let _alone = alone();
    for (package, lines) in [
        (
            dkms("#error this source is not for any kernel\n", ""),
            ["building the modules of package `hello-dkms=39.2.0-1` for kernel `6.", "not for any kernel"],
        ),
        (
            dkms(SOURCE, "BUILT_MODULE_NAME[1]=other\nDEST_MODULE_LOCATION[1]=/extra\n"),
            ["package `hello-dkms=39.2.0-1`", "other.ko"],
        ),
        (
            Package { files: Vec::new(), ..dkms("", "") },
            ["package `hello-dkms` of `kernel.dkms` has no `dkms.conf` below `/usr/src`", "hint: "],
        ),
    ] {
        let without = package.files.is_empty();
        let project = with_dkms(&package);
        let output = build(&project);
        assert_eq!(output.status.code(), Some(if without { 2 } else { 5 }), "{}", said(&output));
        for line in lines {
            assert!(said(&output).contains(line), "`{line}` in\n{}", said(&output));
        }
        assert_eq!(left(&project), Vec::<String>::new());
    }
}

/// A key of an owner's with its certificate, if this machine has a program that makes one.
fn key(file: &Path) -> bool {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=owner",
            "-batch",
        ])
        .arg("-keyout")
        .arg(file)
        .arg("-out")
        .arg(file.with_extension("crt"))
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        return false;
    }
    let both = [fs::read(file).unwrap(), fs::read(file.with_extension("crt")).unwrap()].concat();
    fs::write(file, both).unwrap();
    true
}

#[test]
fn a_folder_is_built_signed_and_said_to_be_in_the_image() {
    let _alone = alone();
    let project = project(
        "\n[kernel]\nmodule-sources = [\"modules/hello\"]\nmodule-key = \"owner.pem\"\n\
         modules = { load = [\"hello\"] }\n",
    );
    let folder = project.path().join("modules/hello");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("Makefile"), "obj-m := hello.o\n").unwrap();
    fs::write(folder.join("hello.c"), SOURCE).unwrap();
    if !key(&project.path().join("owner.pem")) {
        eprintln!("skipped: this machine has no openssl to make a key with");
        return;
    }
    good(build(&project));
    let manifest = fs::read(project.out().join(format!("{STEM}.manifest.json"))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let module = &manifest["modules"][0];
    assert_eq!((module["name"].as_str(), module["signed"].as_bool()), (Some("hello"), Some(true)));
    assert_eq!(
        (module["from"]["kind"].as_str(), module["from"]["path"].as_str()),
        (Some("source"), Some("modules/hello"))
    );
    let names = |key: &str| {
        let list = manifest[key].as_array().unwrap().iter();
        list.map(|package| package["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(names("module_build").contains(&"gcc-14".to_owned()));
    assert!(!names("packages").iter().any(|name| name.starts_with("gcc-14") && name != "gcc-14-base"));
    // The key is named by its certificate alone.
    let listed = manifest["inputs"].as_array().unwrap().iter();
    let kinds: Vec<&str> =
        listed.filter_map(|input| input["kind"].as_str()).filter(|kind| kind.starts_with("module")).collect();
    assert_eq!(kinds, ["module-source", "module-certificate"]);
    let secret = fs::read_to_string(project.path().join("owner.pem")).unwrap();
    let secret = secret.lines().nth(3).unwrap();
    assert!(!manifest.to_string().contains(secret));
}

#[test]
fn a_module_for_another_kernel_is_refused() {
    let project = project("\n[kernel]\nextra-modules = [\"modules/foo.ko\"]\n");
    fs::create_dir(project.path().join("modules")).unwrap();
    // A program of this machine: an ELF file, and no module of any kernel.
    fs::copy("/bin/true", project.path().join("modules/foo.ko")).unwrap();
    let bytes = fs::read(project.path().join("modules/foo.ko")).unwrap();
    let info = Modinfo::parse(&bytes).unwrap();
    if info.machine != Arch::Amd64.elf_machine() {
        eprintln!("skipped: the programs of this machine are for another architecture");
        return;
    }
    assert_eq!(info.version_magic, "");
    good(project.program(&["lock", "--quiet", "recipes/qemu-x86_64.toml"]).output().unwrap());
    let output = build(&project);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let expected = "module `foo` of file `modules/foo.ko` is for kernel ``, the image has `6.";
    assert!(said(&output).contains(expected), "{}", said(&output));
    assert_eq!(left(&project), Vec::<String>::new());
}
