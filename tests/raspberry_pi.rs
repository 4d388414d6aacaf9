//! The image for the Raspberry Pi 5, byte by byte where its firmware reads: the MBR, the FAT partition, what is said
//! to the firmware and to the kernel; judged by tools that are not ours, and by `verify` where it is broken.
//!
//! Needs what a build needs. The firmware itself runs nowhere but on the board.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "other tests need the rest")]
mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fatfs::{Dir, FileSystem, FsOptions};
use serde_json::Value;

use common::{Project, good, said};

const STEM: &str = "goni-rpi5_0.1.0_arm64";

/// One FAT32 partition of 512 MiB from the first mebibyte, then what protects the table.
#[rustfmt::skip]
const MBR: [u8; 66] = [
    0, 0xFF, 0xFF, 0xFF, 0x0C, 0xFF, 0xFF, 0xFF, 0x00, 0x08, 0, 0, 0x00, 0x00, 0x10, 0,
    0, 0xFF, 0xFF, 0xFF, 0xEE, 0xFF, 0xFF, 0xFF, 0x01, 0, 0, 0, 0xFF, 0x07, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x55, 0xAA,
];

/// What the firmware is told, of a kernel `RELEASE`.
const CONFIG: &str = "\
# Written by goni-compose: the image is built anew, this file is not edited.
# A factory reset, which erases all data of this node: cmdline=factory-reset.txt, for one start.
[all]
arm_64bit=1
kernel=vmlinuz-RELEASE
initramfs initrd-RELEASE followkernel
cmdline=cmdline.txt
upstream_kernel=1
disable_fw_kms_setup=1
";

/// What the kernel is told, of a root `HASH`.
const COMMAND_LINE: &str = "roothash=HASH ro gpt nohibernate init_on_alloc=1 slab_nomerge page_alloc.shuffle=1 \
    systemd.gpt_auto=no rd.systemd.gpt_auto=no systemd.getty_auto=no panic=10 iommu.passthrough=0 \
    iommu.strict=0 console=ttyAMA10,115200";

struct Image {
    project: Project,
    manifest: Value,
}

impl Image {
    fn build() -> Self {
        let project = Project::new();
        // As of today: mirrors drop old versions.
        drop(fs::remove_file(project.path().join("recipes/rpi5.lock")));
        drop(fs::remove_file(project.path().join("recipes/rpi5.shadow.lock")));
        good(project.program(&["build", "--quiet", "recipes/rpi5.toml"]).output().unwrap());
        let manifest = fs::read(project.out().join(format!("{STEM}.manifest.json"))).unwrap();
        Self { manifest: serde_json::from_slice(&manifest).unwrap(), project }
    }

    fn raw(&self) -> PathBuf {
        self.project.out().join(format!("{STEM}.raw"))
    }

    fn written(&self, key: &str) -> &str {
        self.manifest["written"][key].as_str().unwrap()
    }

    /// The partition that the firmware reads.
    fn system_partition(&self) -> (u64, u64) {
        let partitions = self.manifest["partitions"].as_array().unwrap();
        let esp = partitions.iter().find(|partition| partition["role"] == "esp").unwrap();
        (esp["offset"].as_u64().unwrap(), esp["size"].as_u64().unwrap())
    }

    /// A tool of the toolbox, in the output folder.
    fn toolbox(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goni-compose"));
        command.args(["toolbox", "--", tool]).args(arguments).current_dir(self.project.out());
        command
    }

    /// What a tool says.
    fn tool(&self, tool: &str, arguments: &[&str]) -> String {
        let output = good(self.toolbox(tool, arguments).output().unwrap());
        let told = said(&output);
        String::from_utf8(output.stdout).unwrap() + &told
    }

    fn verify(&self, image: &Path) -> Output {
        self.project.program(&["verify", "--report", "json"]).arg(image).output().unwrap()
    }
}

/// The files of a partition that was cut out, each with its bytes.
fn files(partition: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(directory: &Dir<'_, File>, above: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in directory.iter().map(Result::unwrap) {
            let name = entry.file_name();
            let path = format!("{above}{name}");
            if entry.is_file() {
                let mut bytes = Vec::new();
                entry.to_file().read_to_end(&mut bytes).unwrap();
                files.insert(path, bytes);
            } else if name != "." && name != ".." {
                collect(&entry.to_dir(), &format!("{path}/"), files);
            }
        }
    }
    let mut found = BTreeMap::new();
    let options = FsOptions::new().update_accessed_date(false);
    let file_system = FileSystem::new(File::open(partition).unwrap(), options).unwrap();
    collect(&file_system.root_dir(), "", &mut found);
    found
}

/// Copies bytes of one file into another, its zeros as holes.
fn copy((from, start): (&File, u64), (to, place): (&File, u64), size: u64) {
    let mut piece = vec![0; 1 << 20];
    for done in (0..size).step_by(1 << 20) {
        let length = usize::try_from((size - done).min(1 << 20)).unwrap();
        from.read_exact_at(&mut piece[..length], start + done).unwrap();
        if piece[..length].iter().any(|byte| *byte != 0) {
            to.write_all_at(&piece[..length], place + done).unwrap();
        }
    }
}

/// The names of the checks that failed.
fn failed(output: &Output) -> Vec<String> {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let failed = findings.iter().filter(|finding| finding["outcome"]["failed"].is_object());
    failed.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_image_is_what_the_firmware_of_a_raspberry_pi_reads() {
    let image = Image::build();
    the_partition_table_pleases_sgdisk_and_sfdisk(&image);
    let esp = the_file_system_pleases_its_checker(&image);
    the_firmware_finds_what_it_is_told(&image, &files(&esp));
    what_is_broken_is_red(&image, &esp);
    the_state_grows_and_the_mbr_stays(&image);
}

fn the_partition_table_pleases_sgdisk_and_sfdisk(image: &Image) {
    let mut head = [0; 512];
    File::open(image.raw()).unwrap().read_exact_at(&mut head, 0).unwrap();
    assert!(head[..446].iter().all(|byte| *byte == 0), "no boot code");
    assert_eq!(head[446..], MBR);
    let raw = format!("{STEM}.raw");
    let told = image.tool("sgdisk", &["--verify", &raw]);
    assert!(told.contains("No problems found"), "{told}");
    let told = image.tool("sgdisk", &["--print", &raw]);
    assert!(told.contains("goni-esp") && told.contains("goni-state"), "{told}");
    // The table that the MBR is, for who reads no GPT.
    let table = image.tool("sfdisk", &["--label-nested", "dos", "--dump", &raw]);
    assert!(table.contains("start=        2048, size=     1048576, type=c"), "{table}");
}

fn the_file_system_pleases_its_checker(image: &Image) -> PathBuf {
    let (offset, size) = image.system_partition();
    assert_eq!((offset, size), (1 << 20, 512 << 20));
    let path = image.project.out().join("esp");
    let to = File::create(&path).unwrap();
    to.set_len(size).unwrap();
    copy((&File::open(image.raw()).unwrap(), offset), (&to, 0), size);
    let told = image.tool("fsck.fat", &["-n", "-v", "esp"]);
    assert!(told.contains("esp: 8 files, "), "{told}");
    path
}

fn the_firmware_finds_what_it_is_told(image: &Image, files: &BTreeMap<String, Vec<u8>>) {
    let release = image.written("kernel");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let (initrd, kernel) = (format!("initrd-{release}"), format!("vmlinuz-{release}"));
    let expected = [
        "bcm2712-d-rpi-5-b.dtb",
        "bcm2712-rpi-5-b.dtb",
        "cmdline.txt",
        "config.txt",
        "factory-reset.txt",
        &initrd,
        &kernel,
    ];
    assert_eq!(names, expected);
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    assert_eq!(text("config.txt"), CONFIG.replace("RELEASE", release));
    let line = COMMAND_LINE.replace("HASH", image.written("root_hash"));
    assert_eq!(text("cmdline.txt"), format!("{line}\n"));
    assert_eq!(text("factory-reset.txt"), format!("{line} goni.factory-reset\n"));
    assert_eq!(image.written("command_line"), line);
    assert_eq!(files[&kernel][56..60], *b"ARM\x64", "a plain kernel");
    assert_eq!(files[&initrd][..4], [0x28, 0xB5, 0x2F, 0xFD], "packed by zstd, which the kernel unpacks");
    for (name, stepping) in [
        ("bcm2712-rpi-5-b.dtb", "brcm,bcm2712c0-pinctrl"),
        ("bcm2712-d-rpi-5-b.dtb", "brcm,bcm2712d0-pinctrl"),
    ] {
        let tree = &files[name];
        assert_eq!(tree[..4], [0xD0, 0x0D, 0xFE, 0xED]);
        for word in ["raspberrypi,5-model-b", stepping, "raspberrypi,rp1-gem"] {
            assert!(tree.windows(word.len()).any(|window| window == word.as_bytes()), "{name}: {word}");
        }
    }
}

fn what_is_broken_is_red(image: &Image, esp: &Path) {
    assert_eq!(failed(&good(image.verify(&image.raw()))), Vec::<String>::new());
    let raw = File::options().read(true).write(true).open(image.raw()).unwrap();
    raw.write_all_at(&[0x0B], 450).unwrap();
    assert_eq!(failed(&image.verify(&image.raw()))[0], "partition-table");
    raw.write_all_at(&MBR, 446).unwrap();

    let (offset, size) = image.system_partition();
    for (name, what) in
        [("config.txt", &b"\n[pi5]\ninclude more.txt\n"[..]), ("bcm2712-rpi-5-b.dtb", b"more")]
    {
        let broken = image.project.out().join("broken");
        fs::copy(esp, &broken).unwrap();
        let disk = File::options().read(true).write(true).open(&broken).unwrap();
        let file_system = FileSystem::new(disk, FsOptions::new()).unwrap();
        let mut file = file_system.root_dir().open_file(name).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
        file.write_all(what).unwrap();
        drop(file);
        file_system.unmount().unwrap();
        copy((&File::open(&broken).unwrap(), 0), (&raw, offset), size);
        let output = image.verify(&image.raw());
        assert_eq!(
            (failed(&output), output.status.code()),
            (vec!["raspberrypi".to_owned()], Some(7)),
            "{name}"
        );
    }
    copy((&File::open(esp).unwrap(), 0), (&raw, offset), size);
}

/// What the initrd does at the first boot on a larger card, with the same words to the same program.
fn the_state_grows_and_the_mbr_stays(image: &Image) {
    let raw = File::options().read(true).write(true).open(image.raw()).unwrap();
    let size = raw.metadata().unwrap().len();
    raw.set_len(size + (64 << 20)).unwrap();
    let name = format!("{STEM}.raw");
    let words = ["--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", "-N", "5", &name];
    let mut command = image.toolbox("sfdisk", &words);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"size=+\n").unwrap();
    good(child.wait_with_output().unwrap());
    let told = image.tool("sgdisk", &["--verify", &name]);
    assert!(told.contains("No problems found"), "{told}");
    let mut head = [0; 512];
    raw.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head[446..], MBR);
}
