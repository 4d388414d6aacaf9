//! The root, with everything that checks look for.

use goni_disk::tree::FileTree;
use goni_model::digest::Sha256Digest;
use goni_model::gpu::Driven;
use goni_model::target::BootMethod;
use goni_model::target::expect::{Board, Expected};

use super::modules::{module, module_file, plain_module};
use super::trees::{add, directory, link, metadata, own, owner};
use super::{NOISE, RELEASE, extlinux, raspberry_pi};
use crate::stages::board::BOARD;
use crate::stages::modules::{Origin, RECORD, Record, Recorded};

/// The place of the module that was added to the kernel's.
pub(in crate::verify) const ADDED: &str = "usr/lib/modules/6.12.0-test/updates/dkms/own.ko";

/// A root with its state still in it.
pub(super) fn root(boot: BootMethod) -> FileTree {
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
pub(super) fn noise() -> Vec<u8> {
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(1), step).map(|state| state.to_be_bytes()[0]).take(NOISE).collect()
}

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
