//! A board that QEMU cannot be: its image is laid out for a loader that reads `extlinux.conf`, judged by tools
//! that are not ours, and booted on the machine of another target, with all that was not exercised told.
//!
//! Needs a mirror, and root or user namespaces. One boot.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "other tests need the rest")]
#[path = "../common.rs"]
mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use common::{Project, good, said};

/// What the board is like: its kernel is not the one that stands in for it.
const BOARD: &str = "\
summary = \"a board that QEMU cannot be\"
arch = \"amd64\"
boot = \"extlinux\"
loader = \"/usr/lib/systemd/boot/efi/systemd-bootx64.efi\"
shadow = \"qemu-x86_64\"
packages = [\"systemd-boot-efi\"]
command-line = [\"board.word=1\"]

[kernel]
package = \"linux-image-cloud-amd64\"
modules = { load = [\"dummy\"] }

[traits]
gpu = \"acme\"

[initrd]
modules = [\"virtio_blk\", \"virtio_pci\", \"dm_mod\", \"dm_verity\", \"dm_crypt\", \"erofs\", \"ext4\", \"overlay\"]
";

const RECIPE: &str = "\
schema = 1
name = \"goni-board\"
version = \"0.1.0\"
extends = \"_base/appliance.toml\"
target = \"board\"

[output]
formats = [\"raw\"]
";

fn project() -> Project {
    let project = Project::new();
    fs::create_dir(project.path().join("firmware/board")).unwrap();
    fs::write(project.path().join("firmware/board/target.toml"), BOARD).unwrap();
    fs::write(project.path().join("recipes/board.toml"), RECIPE).unwrap();
    project
}

/// Cuts a partition out of the image.
fn cut(project: &Project, role: &str) -> PathBuf {
    let manifest = fs::read(project.out().join("goni-board_0.1.0_amd64.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let partitions = manifest["partitions"].as_array().unwrap();
    let partition = partitions.iter().find(|partition| partition["role"] == role).unwrap();
    let (offset, size) = (partition["offset"].as_u64().unwrap(), partition["size"].as_u64().unwrap());
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    let raw = File::open(project.out().join("goni-board_0.1.0_amd64.raw")).unwrap();
    raw.read_exact_at(&mut bytes, offset).unwrap();
    let path = project.path().join(role);
    fs::write(&path, bytes).unwrap();
    path
}

/// What a tool of the toolbox says of a file in the project's folder.
fn tool(project: &Project, arguments: &[&str]) -> String {
    let output = good(project.program(&[&["toolbox"], arguments].concat()).output().unwrap());
    let told = said(&output);
    String::from_utf8(output.stdout).unwrap() + &told
}

/// A number of a tool's output, such as the word behind `Filesystem features:`.
fn line<'a>(said: &'a str, beginning: &str) -> &'a str {
    said.lines().find_map(|line| line.strip_prefix(beginning)).unwrap_or_else(|| panic!("{said}")).trim()
}

fn judge_app(project: &Project, app: &Path) {
    let app = app.file_name().unwrap().to_str().unwrap();
    assert!(tool(project, &["e2fsck", "-fn", app]).contains("Pass 5: Checking group summary information"));
    let features = tool(project, &["debugfs", "-R", "stats", app]);
    // Those of a mke2fs before 1.46.4, which firmware of the time reads.
    let expected = "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super \
                    large_file huge_file dir_nlink extra_isize metadata_csum";
    assert_eq!(line(&features, "Filesystem features:"), expected);
    let config = tool(project, &["debugfs", "-R", "cat /boot/extlinux/extlinux.conf", app]);
    assert_eq!(config.matches("\nLABEL ").count(), 2, "{config}");
    for key in ["  LINUX /boot/vmlinuz-", "  INITRD /boot/initrd-", "  APPEND roothash="] {
        assert_eq!(config.matches(&format!("\n{key}")).count(), 2, "{config}");
    }
    for place in [line(&config, "  LINUX "), line(&config, "  INITRD ")] {
        let said = tool(project, &["debugfs", "-R", &format!("stat {place}"), app]);
        assert!(said.contains("Type: regular"), "{place}: {said}");
    }
}

#[test]
fn a_board_that_qemu_cannot_be_is_judged_and_booted_in_anothers_place() {
    let project = project();
    good(project.program(&["build", "--quiet", "recipes/board.toml"]).output().unwrap());
    judge_app(&project, &cut(&project, "app"));

    let junit = project.path().join("junit.xml");
    let arguments = ["smoke", "--quiet", "recipes/board.toml", "--first-boot", "--report", "json", "--junit"];
    let mut command = project.program(&arguments);
    let command = command.arg(&junit);
    for check in ["system-running", "read-only-root", "goni-http", "kernel-settings"] {
        command.args(["--only", check]);
    }
    let output = good(command.output().unwrap());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcome = |check: &str| -> Value {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["check"] == check).unwrap()["outcome"].clone()
    };
    for check in ["system-running", "read-only-root", "goni-http"] {
        assert_eq!(outcome(check), "passed", "{check}");
    }
    // What was not exercised has not passed.
    let parts = ["kernel", "modules", "firmware", "gpu", "boot-path", "device-trees"];
    for check in parts.into_iter().chain(["kernel-settings"]) {
        assert!(outcome(check)["skipped"]["reason"].is_string(), "{check}: {}", outcome(check));
    }
    let shadow = &report["shadow"];
    assert_eq!((&shadow["target"], &shadow["shadow"]), (&"board".into(), &"qemu-x86_64".into()));
    let what = |index: usize| shadow["unexercised"][index]["what"].as_str().unwrap();
    assert!(what(0).contains("cloud-amd64; ") && !shadow["kernel"].as_str().unwrap().contains("cloud"));
    assert_eq!(what(3), "acme");
    assert!(what(4).contains("extlinux") && what(4).contains("board.word=1"), "{}", what(4));
    let junit = fs::read_to_string(&junit).unwrap();
    assert!(junit.contains("<testcase classname=\"smoke\" name=\"boot-path\""), "{junit}");

    let output =
        project.program(&["smoke", "--quiet", "recipes/board.toml", "--power-cuts", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("another machine stands in for it in a plain smoke alone"),
        "{}",
        said(&output)
    );
}
