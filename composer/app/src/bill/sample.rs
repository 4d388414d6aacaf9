//! A small bill with one of everything, for tests.

use std::collections::{BTreeMap, BTreeSet};

use goni_debian::installed;
use goni_debian::licence::Expression;
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::LockedPackage;
use goni_model::plan::{StageId, StageKind};
use goni_model::time::Timestamp;

use super::{Bill, CopyrightFile, Laid, LaidKind, Licences, Origin, Output, Package, Reference};
use crate::stages::modules::{Origin as ModuleOrigin, Recorded};

const STATUS: &[u8] = b"\
Package: libstdc++6
Version: 1:14.2.0-19
Architecture: arm64
Source: gcc-14 (14.2.0-19)
Maintainer: GCC <debian-gcc@lists.debian.org>
Section: libs
Homepage: http://gcc.gnu.org/
Description: standard library

Package: firmware-x
Version: 1
Architecture: all
Maintainer: A B <a@example.org>
Section: non-free-firmware/kernel
Homepage: not an address
Built-Using: gcc-14 (= 14.2.0-19), glibc (= 2.41-12)
Description: firmware

Package: vendor-tool
Version: 2~b+c
Architecture: arm64
Depends: libstdc++6
Description: tool of a vendor

Package: loose
Version: 3
Architecture: arm64
Description: of the project
";

fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

fn locked(name: &str, version: &str, arch: &str, archive: &str, path: &str) -> LockedPackage {
    LockedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: arch.to_owned(),
        archive: archive.to_owned(),
        path: path.to_owned(),
        size: 1000,
        sha256: digest(name),
    }
}

fn file(name: &str) -> CopyrightFile {
    CopyrightFile { path: format!("/usr/share/doc/{name}/copyright"), sha256: digest("copyright") }
}

/// The licences of the sample's packages, by name.
fn licences(name: &str) -> Licences {
    let declared = |text: &str, spdx: &str| Licences::Declared {
        expressions: vec![Expression::parse(text).unwrap()],
        spdx: Some(spdx.to_owned()),
        unnamed: false,
        file: file(name),
    };
    match name {
        "libstdc++6" => {
            declared("GPL-3+ with GCC-Runtime exception", "GPL-3.0-or-later WITH GCC-exception-3.1")
        }
        "vendor-tool" => declared("Vendor", "LicenseRef-Vendor-12345678"),
        "firmware-x" => Licences::FreeForm(file(name)),
        _ => Licences::Absent,
    }
}

/// The bill.
pub(crate) fn bill() -> Bill {
    let debian = |component: &str| Origin {
        supplier: Some("Debian".to_owned()),
        suites: vec!["trixie".to_owned(), "trixie-updates".to_owned()],
        component: component.to_owned(),
        key: None,
        address: None,
    };
    let vendor = Origin {
        supplier: Some("vendor".to_owned()),
        suites: vec!["r1".to_owned()],
        component: "vendor".to_owned(),
        key: Some("3C6D1FF3100C8C3ABB0869C0E6543461A9996195".to_owned()),
        address: Some("https://repo.example.org/jetson/".to_owned()),
    };
    let local = Origin {
        supplier: None,
        suites: Vec::new(),
        component: "local".to_owned(),
        key: None,
        address: None,
    };
    let of = |from: &str| match from {
        "vendor" => vendor.clone(),
        "local" => local.clone(),
        component => debian(component),
    };
    let installed = installed::parse(STATUS).unwrap();
    let needs = installed::needs(&installed, Arch::Arm64).unwrap();
    let packages = [
        ("firmware-x", "non-free-firmware", "pool/non-free-firmware/f/firmware-x/firmware-x_1_all.deb"),
        ("libstdc++6", "main", "pool/main/g/gcc-14/libstdc++6_14.2.0-19_arm64.deb"),
        ("loose", "local", "debs/loose_3_arm64.deb"),
        ("vendor-tool", "vendor", "pool/v/vendor tool.deb"),
    ]
    .map(|(name, from, path)| {
        let archive = if matches!(from, "vendor" | "local") { from } else { "debian" };
        let installed = installed.iter().find(|it| it.name == name).unwrap().clone();
        Package {
            locked: locked(name, &installed.version, &installed.arch, archive, path),
            origin: of(from),
            needs: needs[name].iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
            licences: licences(name),
            excepted: (name == "firmware-x").then(|| "Excepted by the recipe: x: y".to_owned()),
            installed,
        }
    });
    let laid = |kind, name: &str, sha256, files: &[&str]| Laid {
        kind,
        name: name.to_owned(),
        sha256,
        note: "a note".to_owned(),
        files: files.iter().map(|path| ((*path).to_owned(), digest(path))).collect(),
    };
    let reference = Reference { name: "Vendor".to_owned(), text: "Do not copy.".to_owned() };
    Bill {
        name: "goni-x".to_owned(),
        version: "0.1.0+b".to_owned(),
        arch: Arch::Arm64,
        target: "board".to_owned(),
        suite: "trixie".to_owned(),
        date: Timestamp::from_seconds(1_789_199_741),
        build: StageId::of(StageKind::Export, "1", "", None, 7),
        program: digest("program"),
        toolbox: digest("toolbox"),
        packages: packages.to_vec(),
        laid: vec![
            laid(LaidKind::Overlay, "goni", Some(digest("goni")), &["/etc/goni.conf"]),
            laid(LaidKind::Payload, "goni-http", None, &[]),
            laid(LaidKind::Stage, "settings", Some(digest("settings")), &["/etc/a", "/etc/b"]),
        ],
        modules: vec![Recorded {
            name: "foo_bar".to_owned(),
            from: ModuleOrigin::Dkms {
                package: "foo-dkms".to_owned(),
                version: "1".to_owned(),
                sha256: digest("foo-dkms"),
            },
            sha256: digest("module"),
            signed: false,
        }],
        module_build: vec![
            locked("foo-dkms", "1", "all", "debian", "pool/main/f/foo/foo-dkms_1_all.deb"),
            locked("gcc-14", "14", "arm64", "debian", "pool/main/g/gcc-14/gcc-14_14_arm64.deb"),
        ],
        references: BTreeMap::from([("LicenseRef-Vendor-12345678".to_owned(), reference)]),
    }
}

/// The files it is of.
pub(crate) fn outputs() -> Vec<Output> {
    let output = |name: &str| Output { name: name.to_owned(), size: 9, sha256: digest(name) };
    vec![output("goni-x_0.1.0+b_arm64.raw"), output("goni-x_0.1.0+b_arm64.qcow2")]
}
