//! The recipe for Jetson Orin, built and booted as far as that goes without a board and without NVIDIA's archive.
//!
//! The archive is one that the test makes and signs, of stand-ins with the real names. Its kernel package is
//! Debian's kernel under the vendor's name, where the vendor has it: `/boot/Image`, and modules. The image is built
//! from it, and its root is booted in the shadow of the board, with Debian's kernel of `qemu-aarch64`.
//!
//! Minutes, so only where it is asked for: `GONI_COMPOSE_JETSON=boot`. Needs what a build needs.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "other tests need the rest")]
#[path = "../common.rs"]
mod common;
#[path = "../archives/vendor.rs"]
mod vendor;

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use goni_model::lock::Lock;
use serde_json::Value;

use common::{Project, edit, good};
use vendor::Package;

/// What Debian's kernel has not: the driver of the board's PCIe. A board needs it, a shadow does not.
const NOT_DEBIANS: [(&str, &str); 2] = [
    ("    \"phy_tegra194_p2u\",\n    \"pcie_tegra194\",\n", ""),
    (
        "compatible = [\"nvidia,tegra234-pcie\", \"nvidia,tegra234-p2u\"]\nroot = true",
        "compatible = [\"nvidia,tegra234-xusb\"]\nfirmware = []",
    ),
];

/// The bytes of Debian's kernel package, which the cache has once an image was built with it.
fn debians_kernel(project: &Project) -> Vec<u8> {
    good(project.program(&["lock", "--quiet", "--update", "recipes/qemu-aarch64.toml"]).output().unwrap());
    good(project.program(&["build", "--quiet", "recipes/qemu-aarch64.toml"]).output().unwrap());
    let lock: Lock =
        fs::read_to_string(project.path().join("recipes/qemu-aarch64.lock")).unwrap().parse().unwrap();
    let kernel = |name: &str| name.starts_with("linux-image-") && name != "linux-image-arm64";
    let package = lock.packages.iter().find(|package| kernel(&package.name)).unwrap();
    let sha256 = package.sha256.to_string();
    let cache: PathBuf =
        goni_compose::host::environment::Environment::of_process().cache_directory(None).unwrap();
    fs::read(cache.join("store/sha256").join(&sha256[..2]).join(&sha256)).unwrap()
}

/// The data archive of a package, unpacked. Source: deb(5).
fn data_archive(deb: &[u8]) -> Vec<u8> {
    let mut rest = &deb[8..];
    loop {
        let (header, behind) = rest.split_at(60);
        let size: usize = std::str::from_utf8(&header[48..58]).unwrap().trim().parse().unwrap();
        if header.starts_with(b"data.tar.xz") {
            let mut data = Vec::new();
            liblzma::read::XzDecoder::new_multi_decoder(&behind[..size]).read_to_end(&mut data).unwrap();
            return data;
        }
        rest = &behind[size.next_multiple_of(2)..];
    }
}

/// Kernel and modules of a data archive, the kernel where NVIDIA has it. Source: tar(5).
fn as_nvidia_has_it(data: &[u8]) -> Vec<u8> {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    };
    let (mut kept, mut at, mut long) = (Vec::new(), 0, None);
    while data[at] != 0 {
        let mut header: [u8; 512] = *data[at..].first_chunk().unwrap();
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        let content = &data[at + 512..at + 512 + size.next_multiple_of(512)];
        let member = &data[at..at + 512 + content.len()];
        at += member.len();
        if header[156] == b'L' {
            long = Some((text(content), member));
            continue;
        }
        let before = long.take();
        let name = before.as_ref().map_or_else(|| text(&header[..100]), |(name, _)| name.clone());
        if name == "./boot/" || name.starts_with("./usr/lib/modules/") || name == "./usr/lib/" {
            kept.extend(before.map(|(_, member)| member).unwrap_or_default());
            kept.extend(member);
        } else if name.starts_with("./boot/vmlinuz-") {
            header[..100].fill(0);
            header[..12].copy_from_slice(b"./boot/Image");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            kept.extend(header);
            kept.extend(content);
        }
    }
    kept
}

/// What the target asks for, by the real names; the kernel is one.
fn stand_ins(kernel: Vec<u8>) -> Vec<Package> {
    let mut packages = vendor::jetson();
    let package = packages.iter_mut().find(|package| package.name == "nvidia-l4t-kernel").unwrap();
    package.fields.push_str("Installed-Size: 180000\n");
    package.tree = kernel;
    packages
}

/// A project whose recipe for Jetson is locked from such an archive.
fn project() -> Project {
    let project = Project::new();
    let kernel = as_nvidia_has_it(&data_archive(&debians_kernel(&project)));
    vendor::for_jetson(&project, &stand_ins(kernel));
    for (from, to) in NOT_DEBIANS {
        edit(&project.path().join("firmware/jetson-orin/target.toml"), from, to);
    }
    project
}

#[test]
fn an_image_for_jetson_boots_in_the_shadow_of_its_board() {
    if std::env::var("GONI_COMPOSE_JETSON").as_deref() != Ok("boot") {
        eprintln!("skipped: takes minutes; GONI_COMPOSE_JETSON=boot runs it");
        return;
    }
    let project = project();
    good(project.program(&["build", "--quiet", "recipes/jetson.toml"]).output().unwrap());
    let manifest = fs::read(project.out().join("goni-jetson_0.1.0_arm64.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let packages = manifest["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "nvidia-l4t-kernel"), "{packages:?}");

    let mut command =
        project.program(&["smoke", "--quiet", "recipes/jetson.toml", "--first-boot", "--report", "json"]);
    for check in ["system-running", "read-only-root", "goni-http", "kernel-settings"] {
        command.args(["--only", check]);
    }
    let output = command.output().unwrap();
    if !output.status.success() {
        let console = project.out().join("goni-jetson_0.1.0_arm64.shadow.life.console.log");
        eprintln!("{}", fs::read_to_string(console).unwrap_or_default());
    }
    let output = good(output);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!("{}", serde_json::to_string_pretty(&report["shadow"]).unwrap());
    let outcome = |check: &str| -> Value {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["check"] == check).unwrap()["outcome"].clone()
    };
    for check in ["system-running", "read-only-root", "goni-http"] {
        assert_eq!(outcome(check), "passed", "{check}");
    }
    for check in ["kernel", "modules", "firmware", "gpu", "boot-path", "device-trees", "kernel-settings"] {
        assert!(outcome(check)["skipped"]["reason"].is_string(), "{check}: {}", outcome(check));
    }
    let shadow = &report["shadow"];
    assert_eq!((&shadow["target"], &shadow["shadow"]), (&"jetson-orin".into(), &"qemu-aarch64".into()));
    let what = |index: usize| shadow["unexercised"][index]["what"].as_str().unwrap();
    assert_eq!(
        what(0),
        format!("kernel {0}; {0} ran in its place", manifest["written"]["kernel"].as_str().unwrap())
    );
    assert_eq!(what(2), "nvidia-l4t-firmware, nvidia-l4t-xusb-firmware");
    assert_eq!(what(3), "ga10b, nvidia-l4t");
    assert!(what(4).contains("console=ttyTCU0,115200"), "{}", what(4));
}
