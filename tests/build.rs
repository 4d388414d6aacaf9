//! Whole builds, judged from outside. Needs a mirror the first time, and root or user namespaces.
//!
//! One image is built and shared; what is judged by foreign tools is judged by those of the toolbox.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod bill_judge;
#[expect(dead_code, reason = "other tests need the rest")]
mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use goni_model::lock::Lock;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use common::{Project, STEM, alone, good, in_private_mounts, is_root, said};

/// The one image.
static IMAGE: LazyLock<Image> = LazyLock::new(Image::build);

struct Image {
    project: Project,
    manifest: Value,
    said: String,
}

impl Image {
    fn build() -> Self {
        let project = Project::new();
        both_sector_sizes(&project);
        let output = good(build(&project, &[]));
        let manifest = fs::read(project.out().join(format!("{STEM}.manifest.json"))).unwrap();
        Self { manifest: serde_json::from_slice(&manifest).unwrap(), said: said(&output), project }
    }

    fn raw(&self) -> PathBuf {
        self.project.out().join(format!("{STEM}.raw"))
    }

    /// The same for disks of 4096-byte sectors.
    fn raw_4k(&self) -> PathBuf {
        self.project.out().join(format!("{STEM}.4k.raw"))
    }

    fn sums(&self) -> String {
        fs::read_to_string(self.project.out().join("SHA256SUMS")).unwrap()
    }

    /// Offset and size of a partition.
    fn place(&self, role: &str) -> (u64, u64) {
        let partitions = self.manifest["partitions"].as_array().unwrap();
        let line = partitions.iter().find(|line| line["role"] == role).unwrap();
        (line["offset"].as_u64().unwrap(), line["size"].as_u64().unwrap())
    }

    /// A partition of the first disk as a file of its own, its zeros as holes.
    fn cut(&self, role: &str, to: &Path) {
        self.cut_from(&self.raw(), role, to);
    }

    fn cut_from(&self, raw: &Path, role: &str, to: &Path) {
        let (offset, size) = self.place(role);
        let from = File::open(raw).unwrap();
        let to = File::create(to).unwrap();
        to.set_len(size).unwrap();
        let mut piece = vec![0; 1 << 20];
        for start in (0..size).step_by(1 << 20) {
            let length = usize::try_from((size - start).min(1 << 20)).unwrap();
            from.read_exact_at(&mut piece[..length], offset + start).unwrap();
            if piece[..length].iter().any(|byte| *byte != 0) {
                to.write_all_at(&piece[..length], start).unwrap();
            }
        }
    }

    /// The same recipes and lock in another project.
    fn again(&self) -> Project {
        let project = Project::new();
        both_sector_sizes(&project);
        fs::copy(self.project.lock(), project.lock()).unwrap();
        project
    }

    /// Puts the packages of the image into another cache, as if they had been fetched.
    fn share_packages(&self, cache: &Path) {
        let ours = cache_directory().join("store/sha256");
        for package in self.manifest["packages"].as_array().unwrap() {
            let sha256 = package["sha256"].as_str().unwrap();
            let folder = cache.join("store/sha256").join(&sha256[..2]);
            fs::create_dir_all(&folder).unwrap();
            fs::copy(ours.join(&sha256[..2]).join(sha256), folder.join(sha256)).unwrap();
        }
        // The program insists on a cache that nobody else can write to.
        fs::set_permissions(cache, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// Has the recipe ask for disks of both sector sizes.
fn both_sector_sizes(project: &Project) {
    let mut recipe = File::options().append(true).open(project.recipe()).unwrap();
    recipe.write_all(BOTH.as_bytes()).unwrap();
}

const BOTH: &str = "\n[output]\nsector-size = [512, 4096]\n";

fn build(project: &Project, arguments: &[&str]) -> Output {
    let _alone = alone();
    project.program(&["build", "recipes/qemu-x86_64.toml"]).args(arguments).output().unwrap()
}

fn cache_directory() -> PathBuf {
    goni_compose::host::environment::Environment::of_process().cache_directory(None).unwrap()
}

/// A tool of the toolbox, in a folder that it sees.
fn tool(folder: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_goni-compose");
    Command::new(program).args(["toolbox", "--"]).args(arguments).current_dir(folder).output().unwrap()
}

/// What a tool that is content says, both streams.
fn content(folder: &Path, arguments: &[&str]) -> String {
    let output = tool(folder, arguments);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    said
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_partition_table_pleases_sgdisk() {
    let said = content(&IMAGE.project.out(), &["sgdisk", "--verify", &format!("{STEM}.raw")]);
    assert!(said.contains("No problems found"), "{said}");
}

/// sgdisk takes the sectors of a file for 512 bytes; sfdisk can be told. It proves both headers, their
/// sums and places, and that the table fills the file.
#[test]
fn the_partition_table_for_larger_sectors_pleases_sfdisk() {
    let raw = format!("{STEM}.4k.raw");
    let out = IMAGE.project.out();
    let said = content(&out, &["sfdisk", "--sector-size", "4096", "--verify", &raw]);
    assert!(
        said.contains("No errors detected.") && said.contains("Using 5 out of 128 partitions."),
        "{said}"
    );
    assert!(!said.contains("mismatch"), "{said}");
    let shown = content(&out, &["sfdisk", "--sector-size", "4096", "--json", &raw]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let theirs = shown["partitiontable"]["partitions"].as_array().unwrap();
    let ours = IMAGE.manifest["partitions"].as_array().unwrap();
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.iter().zip(ours) {
        let bytes = |field: &str| theirs[field].as_u64().map(|sectors| sectors * 4096);
        assert_eq!((bytes("start"), bytes("size")), (ours["offset"].as_u64(), ours["size"].as_u64()));
        assert_eq!(theirs["uuid"].as_str().unwrap().to_lowercase(), ours["uuid"].as_str().unwrap());
    }
}

/// What the judges of root, hash tree and state say of one disk, they thereby say of the other.
#[test]
fn disks_of_both_sector_sizes_hold_the_same_but_for_table_and_system_partition() {
    let [small, large] = [IMAGE.raw(), IMAGE.raw_4k()].map(|path| File::open(path).unwrap());
    assert_eq!(small.metadata().unwrap().len(), large.metadata().unwrap().len());
    let mut pieces = [vec![0; 1 << 20], vec![0; 1 << 20]];
    for role in ["root", "root-verity", "swap", "state"] {
        let (offset, size) = IMAGE.place(role);
        for start in (offset..offset + size).step_by(1 << 20) {
            small.read_exact_at(&mut pieces[0], start).unwrap();
            large.read_exact_at(&mut pieces[1], start).unwrap();
            assert!(pieces[0] == pieces[1], "{role} at {}", start - offset);
        }
    }
    // Nor does the copy take more of the file system below than the first.
    let blocks = |file: &File| std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    assert!(blocks(&large) < blocks(&small) + (16 << 20) / 512, "{} {}", blocks(&large), blocks(&small));
}

#[test]
fn every_file_system_pleases_its_own_checker() {
    let folder = tempfile::tempdir().unwrap();
    for (role, command, expected) in [
        ("esp", &["fsck.fat", "-n", "-v", "esp"][..], "esp: 8 files, "),
        ("root", &["fsck.erofs", "-d3", "root"], "No errors found"),
        ("state", &["e2fsck", "-f", "-n", "state"], "Pass 5: Checking group summary information"),
    ] {
        IMAGE.cut(role, &folder.path().join(role));
        let said = content(folder.path(), command);
        assert!(said.contains(expected), "{role}: {said}");
        assert!(!said.to_lowercase().contains("corrupt"), "{role}: {said}");
        fs::remove_file(folder.path().join(role)).unwrap();
    }
    // The one file system that counts in the disk's sectors.
    IMAGE.cut_from(&IMAGE.raw_4k(), "esp", &folder.path().join("esp"));
    let said = content(folder.path(), &["fsck.fat", "-n", "-v", "esp"]);
    assert!(said.contains("esp: 8 files, ") && said.contains("4096 bytes per logical sector"), "{said}");
}

#[test]
fn the_hash_tree_is_the_one_that_veritysetup_would_write() {
    let folder = tempfile::tempdir().unwrap();
    IMAGE.cut("root", &folder.path().join("root"));
    IMAGE.cut("root-verity", &folder.path().join("tree"));
    let hash = IMAGE.manifest["written"]["root_hash"].as_str().unwrap();
    assert_eq!(content(folder.path(), &["veritysetup", "verify", "root", "tree", hash]), "");

    let shown = content(folder.path(), &["veritysetup", "dump", "tree"]);
    let field = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(char::is_whitespace).unwrap().1.to_owned()
    };
    let (salt, uuid) = (format!("--salt={}", field("Salt:")), format!("--uuid={}", field("UUID:")));
    let blocks = format!("--data-blocks={}", field("Data blocks:"));
    let said = content(folder.path(), &["veritysetup", "format", &salt, &uuid, &blocks, "root", "theirs"]);
    assert!(said.contains(hash), "{said}");
    let theirs = fs::read(folder.path().join("theirs")).unwrap();
    let ours = fs::read(folder.path().join("tree")).unwrap();
    assert!(theirs.len() > 1 << 20 && ours.starts_with(&theirs));

    // One bit of the data, and the same judge objects.
    let root = File::options().read(true).write(true).open(folder.path().join("root")).unwrap();
    let mut byte = [0];
    root.read_exact_at(&mut byte, 1 << 20).unwrap();
    root.write_all_at(&[byte[0] ^ 1], 1 << 20).unwrap();
    let output = tool(folder.path(), &["veritysetup", "verify", "root", "tree", hash]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said_of(&output).contains("Verification failed at position 1048576"), "{}", said_of(&output));
}

fn said_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), said(output))
}

#[test]
fn the_qcow2_image_is_sound_and_holds_the_raw_one() {
    let out = IMAGE.project.out();
    for stem in [STEM.to_owned(), format!("{STEM}.4k")] {
        let (raw, qcow2) = (format!("{stem}.raw"), format!("{stem}.qcow2"));
        let said = content(&out, &["qemu-img", "check", &qcow2]);
        assert!(said.contains("No errors were found on the image"), "{said}");
        let said = content(&out, &["qemu-img", "compare", "-f", "raw", "-F", "qcow2", &raw, &qcow2]);
        assert_eq!(said, "Images are identical.\n");
    }
}

#[test]
fn the_output_is_the_images_what_tells_of_them_their_digests_and_a_link() {
    let out = IMAGE.project.out();
    let mut names: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let ends = [
        "4k.qcow2",
        "4k.raw",
        "cdx.json",
        "index.zst",
        "manifest.json",
        "provenance.json",
        "qcow2",
        "raw",
        "spdx.json",
    ];
    let images = ends.map(|end| format!("{STEM}.{end}"));
    let (sums, link) = (["SHA256SUMS".to_owned()], ["manifest.json".to_owned()]);
    assert_eq!(names, [&sums[..], &images, &link].concat());
    assert_eq!(fs::read_link(out.join("manifest.json")).unwrap(), Path::new(&images[4]));
    let sums = IMAGE.sums();
    let sha256sum = |sums: &str| {
        let judge = Command::new("sha256sum").args(["--check", "--strict", sums]).current_dir(&out).output();
        String::from_utf8(good(judge.unwrap()).stdout).unwrap()
    };
    let fine: String = images.iter().map(|name| format!("{name}: OK\n")).collect();
    assert_eq!(sha256sum("SHA256SUMS"), fine);
    for name in images.iter().filter(|name| name.ends_with(".raw") || name.ends_with(".qcow2")) {
        let file = &IMAGE.manifest["files"][name];
        assert_eq!(file["sector_size"], if name.contains(".4k.") { 4096 } else { 512 });
        assert_eq!(file["size"].as_u64(), Some(fs::metadata(out.join(name)).unwrap().len()));
        assert!(sums.contains(&format!("{}  {name}\n", file["sha256"].as_str().unwrap())));
    }
}

#[test]
fn every_image_says_who_brought_what_and_one_cut_short_does_not() {
    let out = IMAGE.project.out();
    let why = |image: &str, arguments: &[&str]| {
        let image = out.join(format!("{STEM}.{image}"));
        IMAGE.project.program(&["why", image.to_str().unwrap()]).args(arguments).output().unwrap()
    };
    for image in ["raw", "qcow2", "4k.raw", "4k.qcow2"] {
        let said = String::from_utf8(good(why(image, &["/bin/awk"])).stdout).unwrap();
        assert!(
            said.starts_with("/usr/bin/awk: link to /etc/alternatives/awk\n  made by package mawk="),
            "{said}"
        );
    }
    let missing = why("raw", &["/usr/bin/bsh"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing).contains("did you mean `/usr/bin/bash`?"), "{}", said(&missing));
    // Cut behind the partition table: that names partitions past the end.
    let cut = tempfile::tempdir().unwrap();
    let (raw, index) = (cut.path().join("cut.raw"), out.join(format!("{STEM}.index.zst")));
    let mut head = vec![0; 64 << 10];
    File::open(IMAGE.raw()).unwrap().read_exact_at(&mut head, 0).unwrap();
    fs::write(&raw, &head).unwrap();
    fs::copy(&index, cut.path().join("cut.index.zst")).unwrap();
    let refused = IMAGE.project.program(&["why", raw.to_str().unwrap(), "/"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(7), "{}", said(&refused));
}

#[test]
fn a_root_over_its_budget_gets_no_name() {
    let project = IMAGE.again();
    let mut recipe = File::options().append(true).open(project.recipe()).unwrap();
    recipe.write_all(b"\n[root]\nbudget = \"100MiB\"\n").unwrap();
    let output = build(&project, &[]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert!(
        said(&output).contains("and its budget is 100MiB; largest: package linux-image-"),
        "{}",
        said(&output)
    );
    assert!(!project.out().join(format!("{STEM}.raw")).exists());
}

#[test]
fn the_bills_and_the_provenance_pass_their_judges_and_name_what_is_there() {
    let read = |end: &str| -> Value {
        let text = fs::read(IMAGE.project.out().join(format!("{STEM}.{end}"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let (spdx, cyclonedx, provenance) = (read("spdx.json"), read("cdx.json"), read("provenance.json"));
    assert_eq!(bill_judge::spdx(&spdx), Vec::<String>::new());
    assert_eq!(bill_judge::cyclonedx(&cyclonedx), Vec::<String>::new());
    assert_eq!(bill_judge::provenance(&provenance), Vec::<String>::new());

    // Every package of the manifest is in both bills, with its digest.
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let array = |value: &Value| value.as_array().unwrap().clone();
    let packages = array(&IMAGE.manifest["packages"]);
    let locked: BTreeMap<String, String> =
        packages.iter().map(|package| (text(&package["name"]), text(&package["sha256"]))).collect();
    let told = |list: &Value, hashes: &str, value: &str, deb: &dyn Fn(&Value) -> bool| {
        let elements = array(list).into_iter().filter(|element| deb(element));
        elements.map(|it| (text(&it["name"]), text(&it[hashes][0][value]))).collect::<BTreeMap<_, _>>()
    };
    let in_spdx = |it: &Value| text(&it["SPDXID"]).starts_with("SPDXRef-Package-");
    assert_eq!(told(&spdx["packages"], "checksums", "checksumValue", &in_spdx), locked);
    let in_cyclonedx = |it: &Value| it.get("purl").is_some();
    assert_eq!(told(&cyclonedx["components"], "hashes", "content", &in_cyclonedx), locked);
    // Nearly all of Debian declares its licences; the bill knows them.
    let declared = array(&spdx["packages"]);
    let declared = declared.iter().filter(|it| in_spdx(it) && it["licenseDeclared"] != "NOASSERTION");
    assert!(declared.count() * 10 > locked.len() * 9);

    let raw = format!("{STEM}.raw");
    let sha256 = text(&IMAGE.manifest["files"][&raw]["sha256"]);
    assert_eq!(text(&spdx["packages"][0]["checksums"][0]["checksumValue"]), sha256);
    assert_eq!(text(&cyclonedx["metadata"]["component"]["hashes"][0]["content"]), sha256);
    // The statement is about every file but itself.
    let subjects: BTreeMap<String, String> = array(&provenance["subject"])
        .iter()
        .map(|it| (text(&it["name"]), text(&it["digest"]["sha256"])))
        .collect();
    let sums = IMAGE.sums();
    let sums: BTreeMap<String, String> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .filter(|(_, name)| !name.ends_with(".provenance.json"))
        .map(|(sha256, name)| (name.to_owned(), sha256.to_owned()))
        .collect();
    assert_eq!(subjects, sums);
    let lock = digest(&fs::read(IMAGE.project.lock()).unwrap());
    let dependencies = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"];
    assert!(array(dependencies).iter().any(|it| it["digest"]["sha256"] == *lock), "the lock");
}

#[test]
fn a_licence_that_the_recipe_denies_ends_the_build_before_there_is_an_image() {
    let project = IMAGE.again();
    let policy = "\n[policy.licences]\ndeny = [\"GPL-3.0*\"]\nexcept.bash = \"tried\"\n";
    let recipe = fs::read_to_string(project.recipe()).unwrap();
    fs::write(project.recipe(), format!("{recipe}{policy}")).unwrap();
    let output = build(&project, &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(7), "{said}");
    let line = 1 + recipe.lines().count() + 2;
    for part in [
        "package `libc-bin` ".to_owned(),
        "licence `GPL-3+` (GPL-3.0-or-later) of `/usr/share/doc/".to_owned(),
        format!("denied by `policy.licences.deny[GPL-3.0*]` (recipes/qemu-x86_64.toml:{line}:9)"),
        "brought by ".to_owned(),
    ] {
        assert!(said.contains(&part), "`{part}` in {said}");
    }
    assert!(!said.contains("package `bash`"), "{said}");
    assert!(!project.out().exists(), "nothing is there");
}

#[test]
fn the_manifest_tells_packages_partitions_stand_ins_and_origins() {
    let manifest = &IMAGE.manifest;
    assert_eq!((&manifest["name"], &manifest["arch"]), (&"goni-qemu".into(), &"amd64".into()));
    assert_eq!(manifest["stand_ins"], serde_json::json!(["goni-http"]));
    let roles: Vec<_> = manifest["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["esp", "root", "root-verity", "swap", "state"]);
    let lock: Lock = fs::read_to_string(IMAGE.project.lock()).unwrap().parse().unwrap();
    let locked: BTreeMap<String, String> =
        lock.packages.iter().map(|package| (package.name.clone(), package.sha256.to_string())).collect();
    let told = manifest["packages"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told: BTreeMap<_, _> =
        told.map(|package| (text(&package["name"]), text(&package["sha256"]))).collect();
    assert!(told.contains_key("systemd") && told.len() > 50, "{told:?}");
    assert_eq!(told, locked);
    let origin = manifest["recipe"]["target"]["origin"].as_str().unwrap();
    assert!(origin.starts_with("recipes/qemu-x86_64.toml:6:"), "{origin}");
}

#[test]
fn a_build_warns_of_stand_ins_and_verifies_every_package() {
    let warning = "warning: payload `goni-http` is a stand-in, not the real program";
    assert!(IMAGE.said.contains(warning), "{}", IMAGE.said);
    assert!(IMAGE.said.contains("checks, none failed"), "{}", IMAGE.said);
    for (raw, sector_size) in [(IMAGE.raw(), 512), (IMAGE.raw_4k(), 4096)] {
        let verify = ["verify", "--report", "json", raw.to_str().unwrap()];
        let output = good(IMAGE.project.program(&verify).output().unwrap());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["passed"], &report["facts"]["sector_size"]), (&true.into(), &sector_size.into()));
        let findings = report["findings"].as_array().unwrap();
        for check in ["packages", "verity", "no-secrets", "root-owners-and-modes"] {
            let finding = findings.iter().find(|finding| finding["check"] == check).unwrap();
            assert_eq!(finding["outcome"], "passed", "{finding}");
        }
    }
}

#[test]
fn a_second_build_changes_nothing_and_takes_no_time() {
    let before = (IMAGE.sums(), IMAGE.project.listing());
    let mut again = IMAGE.project.program(&["build", "recipes/qemu-x86_64.toml"]);
    let began = Instant::now();
    let output = good(again.output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(said(&output).contains("nothing changed"), "{}", said(&output));
    assert_eq!(before, (IMAGE.sums(), IMAGE.project.listing()));
}

#[test]
fn another_payload_is_built_in_without_unpacking_again() {
    let project = IMAGE.again();
    let payload = project.path().join("program");
    if cfg!(target_arch = "x86_64") {
        fs::copy("/bin/true", &payload).unwrap();
    } else {
        fs::write(&payload, "#!/bin/sh\n").unwrap();
    }
    // What was signed before is not what is there afterwards.
    fs::create_dir(project.out()).unwrap();
    for name in ["SHA256SUMS", "SHA256SUMS.minisig", "SHA256SUMS.asc"] {
        fs::write(project.out().join(name), "").unwrap();
    }
    let output = good(build(&project, &["--payload", &format!("goni-http={}", payload.display())]));
    let said = said(&output);
    for name in ["SHA256SUMS.minisig", "SHA256SUMS.asc"] {
        assert!(said.contains(&format!("`{name}` signed what `SHA256SUMS` said before")), "{said}");
        assert!(!project.out().join(name).exists());
    }
    assert!(said.contains("kept from an earlier build") && !said.contains("unpack"), "{said}");
    assert!(!said.contains("stand-in"), "{said}");
    let manifest = fs::read(project.out().join(format!("{STEM}.manifest.json"))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["stand_ins"], serde_json::json!([]));
    assert_ne!(manifest["written"]["root_hash"], IMAGE.manifest["written"]["root_hash"]);
    let sha256 = digest(&fs::read(&payload).unwrap());
    let inputs = manifest["inputs"].as_array().unwrap();
    assert!(
        inputs.iter().any(|input| input["name"] == "goni-http" && input["sha256"] == *sha256),
        "{inputs:?}"
    );
}

#[test]
fn another_place_umask_zone_host_name_and_file_system_give_the_same_bytes() {
    let said = said(&good(build(&IMAGE.project, &["--twice"])));
    assert!(said.contains("] build") && said.contains("nothing changed"), "{said}");
    assert!(said.contains("] build again") && said.contains(" files, the same bytes\n"), "{said}");
}

#[test]
fn an_ordinary_user_on_one_processor_builds_the_same_bytes() {
    if !is_root() {
        return;
    }
    let project = IMAGE.again();
    let own = project.path().join("own");
    fs::create_dir(&own).unwrap();
    IMAGE.share_packages(&own);
    fs::copy(env!("CARGO_BIN_EXE_goni-compose"), project.path().join("program")).unwrap();
    fs::write(project.path().join("ranges"), "65534:700000:65536\n").unwrap();
    let script = "cd \"$1\"; chown -R 65534:65534 .; touch /etc/subuid /etc/subgid
        mount --bind ranges /etc/subuid; mount --bind ranges /etc/subgid
        exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=\"$PATH\" \
            taskset --cpu-list 0 ./program build recipes/qemu-x86_64.toml --cache own --offline";
    let said = said(&good(in_private_mounts(script, &[project.path()]).output().unwrap()));
    assert!(said.contains("] unpack") && said.contains("] configure"), "{said}");
    assert_eq!(fs::read_to_string(project.out().join("SHA256SUMS")).unwrap(), IMAGE.sums());
}

#[test]
fn memory_stays_small_however_large_the_image() {
    let project = IMAGE.again();
    let recipe = fs::read_to_string(project.recipe()).unwrap();
    let output = "\n[output]\nformats = [\"raw\"]\n[root]\nsize = \"5GiB\"\ncompression = \"none\"\n";
    fs::write(project.recipe(), recipe.replace(BOTH, output)).unwrap();
    // Noise at both ends of a hole of 4 GiB.
    let payload = project.path().join("program");
    let mut file = File::create(&payload).unwrap();
    let noise: Vec<u8> =
        (0..1_u64 << 19).flat_map(|n| Sha256::digest(n.to_le_bytes())[..8].to_vec()).collect();
    file.write_all(b"#!/bin/sh\n").unwrap();
    file.write_all(&noise).unwrap();
    file.seek(SeekFrom::Start(4 << 30)).unwrap();
    file.write_all(&noise).unwrap();

    let given = format!("goni-http={}", payload.display());
    let recipe = project.recipe();
    let alone = alone();
    let mut child = project
        .program(&["build", "--quiet", recipe.to_str().unwrap(), "--payload", &given])
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        // The kernel keeps the peak: the last look before the end misses next to nothing.
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = line.and_then(|line| line.trim().strip_suffix(" kB")) {
            peak = kib.parse::<u64>().unwrap();
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    drop(alone);
    assert!(status.success(), "{status}");
    let raw = fs::metadata(project.out().join(format!("{STEM}.raw"))).unwrap();
    assert!(raw.len() > 5 << 30);
    // What is not there takes no space.
    let taken = raw.blocks() * 512;
    assert!((8 << 20..1 << 30).contains(&taken), "{taken} bytes");
    assert!((1 << 10..300 << 10).contains(&peak), "peak of {peak} KiB");
}
