//! Locks and the store: what makes a lock stale or no lock at all, what changes in one and what stays, and that all
//! bytes of a lock can be kept, moved and built from without a network.
//!
//! Needs a mirror the first time, and root or user namespaces.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "shared with tests that use more of it")]
mod common;
mod loopback;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use goni_compose::host::environment::Environment;
use goni_model::digest::Sha256Digest;
use goni_model::lock::ledger::AccountKind;
use goni_model::lock::{InputKind, Lock};
use tempfile::TempDir;

use common::{Project, alone, edit, good, is_root, said};
use loopback::serve;

const RECIPE: &str = "recipes/qemu-x86_64.toml";

/// The lock that the repository has.
fn kept() -> Project {
    let project = Project::new();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/qemu-x86_64.lock");
    fs::copy(ours, project.lock()).unwrap();
    project
}

fn read(project: &Project) -> Lock {
    fs::read_to_string(project.lock()).unwrap().parse().unwrap()
}

fn run(project: &Project, arguments: &[&str]) -> Output {
    project.program(arguments).output().unwrap()
}

/// Sees that a command ends with an exit code and says all of this.
fn ends(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` in\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn every_lock_of_the_project_satisfies_its_recipe() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for entry in fs::read_dir(folder.join("recipes")).unwrap() {
        let lock = entry.unwrap().path();
        if lock.extension().is_some_and(|it| it == "lock")
            && !lock.to_string_lossy().ends_with(".shadow.lock")
        {
            let recipe = lock.with_extension("toml");
            let output = Command::new(env!("CARGO_BIN_EXE_goni-compose"))
                .args(["lock", "--check", "--quiet"])
                .arg(&recipe)
                .current_dir(folder)
                .output()
                .unwrap();
            good(output);
            checked += 1;
        }
    }
    assert!(checked >= 7, "{checked}");
}

#[test]
fn a_stale_lock_names_key_and_line_and_the_change_is_taken_offline() {
    let project = kept();
    let before = read(&project);
    good(run(&project, &["lock", "--check", RECIPE]));
    let overlay = project.path().join("overlays/base/tree/usr/own-file");
    fs::create_dir_all(overlay.parent().unwrap()).unwrap();
    fs::write(&overlay, "text").unwrap();
    let target = project.path().join("firmware/qemu-x86_64/target.toml");
    fs::write(&target, fs::read_to_string(&target).unwrap() + "\n# more\n").unwrap();
    for verb in ["lock", "plan", "build"] {
        let arguments: &[&str] = if verb == "lock" { &["lock", "--check", RECIPE] } else { &[verb, RECIPE] };
        let path = project.path().canonicalize().unwrap();
        let path = path.display();
        ends(
            &run(&project, arguments),
            2,
            &[
                &format!(
                    "the lock `{path}/recipes/qemu-x86_64.lock` no longer satisfies the recipe: \
                     firmware `qemu-x86_64/target.toml` changed (firmware/qemu-x86_64/target.toml); \
                     overlay `base` changed (overlays/base)\n"
                ),
                &format!(
                    "hint: goni-compose lock {path}/recipes/qemu-x86_64.toml takes the change, \
                     and keeps every version that still does\n"
                ),
            ],
        );
    }
    let output = good(run(&project, &["lock", "--offline", "--mirror", "http://127.0.0.1:9/", RECIPE]));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.ends_with("inputs\n  firmware `qemu-x86_64/target.toml` changed\n  overlay `base` changed\n")
    );
    let after = read(&project);
    assert_eq!(Lock { inputs: before.inputs.clone(), ..after }, before);
    good(run(&project, &["lock", "--check", RECIPE]));
    edit(
        &project.path().join("recipes/_base/appliance.toml"),
        "packages = []",
        "packages = [\"nano\"]\nexclude = [\"vim\"]",
    );
    ends(
        &run(&project, &["lock", "--check", RECIPE]),
        2,
        &[
            "`packages` has `nano` besides (recipes/_base/appliance.toml:",
            "; `exclude` has `vim` besides (recipes/_base/",
        ],
    );
}

#[test]
fn a_lock_that_was_changed_cut_or_is_anothers_is_refused_with_its_line() {
    let project = kept();
    let text = fs::read_to_string(project.lock()).unwrap();
    let lines = text.lines().count();
    let line_of = |word: &str| text.lines().position(|line| line.contains(word)).unwrap() + 1;
    let bash = line_of("{ name = \"bash\"");
    for (damaged, code, words) in [
        (text.replace("size = ", "size = 1"), 3, vec![format!("line {lines}: the digest says ")]),
        (
            text.replacen("name = \"bash\"", "name = \"zsh\"", 1),
            3,
            vec![format!("checking the lock, line {}", bash + 1)],
        ),
        (
            text.replacen("schema", "mirror = \"x\"\nschema", 1),
            3,
            vec!["line 3".to_owned(), "unknown field `mirror`".to_owned()],
        ),
        (text.replacen("arch = ", "arch = \"amd64\"\narch = ", 1), 3, vec!["duplicate key".to_owned()]),
        (text[..text.len() - 2].to_owned(), 3, vec!["reading the lock `".to_owned()]),
        (
            text.split_once("\nsha256").unwrap().0.to_owned(),
            3,
            vec!["does not end in its own digest".to_owned()],
        ),
        (text.replace('\n', "\r\n"), 3, vec!["reading the lock `".to_owned()]),
        (
            text.replace("schema = 2", "schema = 1"),
            2,
            vec!["schema 1; this program reads schema 2".to_owned()],
        ),
    ] {
        fs::write(project.lock(), damaged).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["hint: goni-compose lock "]).collect();
        ends(&run(&project, &["build", RECIPE]), code, &words);
    }
    fs::write(project.lock(), text.replace("schema = 2", "schema = 3")).unwrap();
    let newer =
        ["schema 3; this program reads schema 2", "hint: use a program as new as the one that wrote it"];
    ends(&run(&project, &["build", RECIPE]), 2, &newer);
    for (other, message) in [
        ("qemu-x86_64-4k.lock", "qemu-x86_64.lock:3` is of recipe `goni-qemu-4k`, not of `goni-qemu`"),
        ("qemu-aarch64.lock", "qemu-x86_64.lock:4` is for arm64, not for amd64"),
    ] {
        fs::copy(project.path().join("recipes").join(other), project.lock()).unwrap();
        ends(&run(&project, &["build", RECIPE]), 2, &[message]);
    }
}

#[test]
fn a_changed_lock_is_believed_again_once_signed_indexes_have_all_of_it() {
    let project = Project::new();
    good(run(&project, &["lock", RECIPE]));
    let text = fs::read_to_string(project.lock()).unwrap();
    fs::write(project.lock(), text.replacen("# Written", "# By hand\n# Written", 1)).unwrap();
    ends(&run(&project, &["lock", "--check", RECIPE]), 3, &[]);
    let output = good(run(&project, &["lock", RECIPE]));
    assert!(said(&output).contains("all it says is verified anew"), "{}", said(&output));
    assert_eq!(fs::read_to_string(project.lock()).unwrap(), text);
    let mut lock = read(&project);
    let forged = lock.packages.iter_mut().find(|package| package.name == "bash").unwrap();
    forged.sha256 = Sha256Digest::of(b"another");
    let (version, text) = (forged.version.clone(), lock.to_string() + "\n");
    fs::write(project.lock(), &text).unwrap();
    let message =
        format!("no signed index has `bash={version}` with the SHA-256 {}", Sha256Digest::of(b"another"));
    ends(&run(&project, &["lock", RECIPE]), 3, &[&message]);
    assert_eq!(fs::read_to_string(project.lock()).unwrap(), text);
}

#[test]
fn a_lock_of_the_form_before_is_completed_and_keeps_every_version() {
    let project = kept();
    let lock = read(&project);
    let text = fs::read_to_string(project.lock()).unwrap();
    let (head, rest) = text.split_once("\nsigned = ").unwrap();
    let (packages, _) = rest[rest.find("\npackages = ").unwrap()..].split_once("\nsha256").unwrap();
    fs::write(project.lock(), format!("{head}{packages}").replace("schema = 2", "schema = 1")).unwrap();
    good(run(&project, &["lock", "--offline", RECIPE]));
    let completed = read(&project);
    assert_eq!((&completed.packages, &completed.inputs), (&lock.packages, &lock.inputs));
    assert_eq!((completed.source_date, completed.suites), (lock.source_date, lock.suites));
    // Only a finished tree has them.
    assert!(completed.ids.is_empty());
}

#[test]
fn only_named_packages_of_the_lock_are_updated() {
    let project = kept();
    ends(
        &run(&project, &["lock", "--update", "no-such", RECIPE]),
        2,
        &["the lock has no package `no-such` to update"],
    );
    ends(&run(&project, &["lock", "bash", RECIPE]), 2, &["stand before the recipe, with --update"]);
    ends(&run(&project, &["lock", RECIPE, RECIPE]), 2, &["`lock` is about one recipe: 2 were named"]);
    assert_eq!(read(&project), read(&kept()));
}

#[test]
fn two_locks_are_compared_in_every_form() {
    let project = kept();
    let mut lock = read(&project);
    let old = lock.packages.iter().find(|package| package.name == "bash").unwrap().clone();
    lock.packages.retain(|package| package.name != "dash");
    let bash = lock.packages.iter_mut().find(|package| package.name == "bash").unwrap();
    bash.version = "99-1".to_owned();
    bash.size += 10;
    bash.sha256 = Sha256Digest::of(b"new");
    let new = project.path().join("new.lock");
    fs::write(&new, lock.canonical().unwrap().to_string()).unwrap();
    let diff = |form: &str| {
        let arguments = ["lock", "diff", "recipes/qemu-x86_64.lock", "new.lock", "--report", form];
        String::from_utf8(good(run(&project, &arguments)).stdout).unwrap()
    };
    let text = diff("text");
    let line =
        format!("  bash {} -> 99-1, +10 bytes, debian (source bash, {} to 99-1)\n", old.version, old.version);
    assert!(text.contains(&line) && text.contains("\n  - dash "), "{text}");
    assert!(text.contains("1 changed, 0 added, 1 removed, "), "{text}");
    assert!(diff("markdown").contains(&format!("| `bash` | {} | 99-1 | +10 bytes | debian |", old.version)));
    let json: serde_json::Value = serde_json::from_str(&diff("json")).unwrap();
    assert_eq!(json["packages"][0]["new"]["version"], "99-1");
    let same = ["lock", "diff", "new.lock", "new.lock"];
    assert_eq!(good(run(&project, &same)).stdout, b"no difference\n");
}

/// A lock of today, built once with the user's own cache; its packages are in the store from then on.
struct Image {
    project: Project,
    sha256: String,
}

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let project = Project::new();
    let _alone = alone();
    let output = good(run(&project, &["build", RECIPE]));
    assert!(said(&output).contains("had no ids of users and groups: it has those of this image now"));
    let sha256 = image(&project);
    Image { project, sha256 }
});

/// The digest of the image of a project.
fn image(project: &Project) -> String {
    let sums = fs::read_to_string(project.out().join("SHA256SUMS")).unwrap();
    let line = sums.lines().find(|line| line.ends_with(".raw")).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

/// A project with the lock of the image.
fn again() -> Project {
    let project = Project::new();
    fs::copy(IMAGE.project.lock(), project.lock()).unwrap();
    project
}

/// A cache with all bytes of the image's lock, by way of an export.
fn imported(project: &Project, place: &Path) -> TempDir {
    let cache = private();
    let (place, cache_path) = (place.to_str().unwrap(), cache.path().to_str().unwrap());
    good(run(project, &["store", "export", "--without-tools", RECIPE, place]));
    let output = good(run(project, &["store", "import", place, "--cache", cache_path]));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("goni-qemu amd64, lock "), "{told}");
    cache
}

/// A folder that nobody else can write to.
fn private() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

/// The entry of a store.
fn entry(cache: &Path, digest: &Sha256Digest) -> PathBuf {
    let name = digest.to_string();
    cache.join("store/sha256").join(&name[..2]).join(name)
}

#[test]
fn an_image_is_built_again_from_an_export_without_a_network() {
    let project = again();
    let place = project.path().join("kept.tar");
    let cache = imported(&project, &place);
    let twice = project.path().join("twice.tar");
    good(run(&project, &["store", "export", "--without-tools", RECIPE, twice.to_str().unwrap()]));
    assert_eq!(Sha256Digest::of(&fs::read(&twice).unwrap()), Sha256Digest::of(&fs::read(&place).unwrap()));
    fs::remove_file(twice).unwrap();
    // No network at all, where this may be taken away; a mirror nobody could reach in any case.
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("unshare");
            command.args(["--net", env!("CARGO_BIN_EXE_goni-compose")]);
            command
        }
        false => Command::new(env!("CARGO_BIN_EXE_goni-compose")),
    };
    command.args(["build", "--offline", RECIPE, "--cache"]).arg(cache.path()).current_dir(project.path());
    command.env("GONI_COMPOSE_MIRROR", "http://127.0.0.1:9/debian").env_remove("http_proxy");
    good(command.output().unwrap());
    assert_eq!(image(&project), IMAGE.sha256);

    // What is missing is named; what is damaged is found, dropped, and then missing.
    let lock = read(&project);
    let missing = lock.packages.iter().find(|package| package.name == "dash").unwrap();
    let path = entry(cache.path(), &missing.sha256);
    let cache_path = cache.path().to_str().unwrap();
    fs::remove_dir_all(cache.path().join("trees")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, bytes).unwrap();
    let output = run(&project, &["store", "verify", "--cache", cache_path]);
    ends(
        &output,
        3,
        &["1 of ", " files of the store are damaged", "hint: goni-compose store verify --repair"],
    );
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(&format!("damaged: {}\n", path.display())));
    good(run(&project, &["store", "verify", "--repair", "--cache", cache_path]));
    assert!(!path.exists());
    good(run(&project, &["store", "verify", "--cache", cache_path]));
    let output = run(&project, &["build", "--force", "--offline", RECIPE, "--cache", cache_path]);
    let fetching = format!("fetching `dash={}` (SHA-256 {})", missing.version, missing.sha256);
    ends(&output, 6, &[&fetching, "is not fetched: offline", "hint: run once without --offline"]);
}

#[test]
fn an_export_that_was_cut_short_brings_nothing() {
    let project = again();
    let place = project.path().join("cut.tar");
    good(run(&project, &["store", "export", "--without-tools", RECIPE, place.to_str().unwrap()]));
    let whole = fs::metadata(&place).unwrap().len();
    fs::OpenOptions::new().write(true).open(&place).unwrap().set_len(whole / 2).unwrap();
    let cache = private();
    let cache_path = cache.path().to_str().unwrap();
    let output = run(&project, &["store", "import", place.to_str().unwrap(), "--cache", cache_path]);
    ends(&output, 3, &["it is cut short, within `sha256/", "hint: nothing was imported"]);
    let output = good(run(&project, &["store", "verify", "--cache", cache_path]));
    assert_eq!(output.stdout, b"0 files, 0 bytes, 0 damaged\n");
}

#[test]
fn a_folder_is_added_to_and_cleared_of_what_no_lock_names() {
    let project = again();
    let place = project.path().join("kept");
    let cache = imported(&project, &place);
    let cache_path = cache.path().to_str().unwrap();
    let output =
        good(run(&project, &["store", "export", "--without-tools", RECIPE, place.to_str().unwrap()]));
    assert!(String::from_utf8(output.stdout).unwrap().contains(" files, 0 of them new, 0 bytes"));
    let mut fewer = read(&project);
    // One that no tool of the program needs either.
    let tools = goni_compose::host::toolbox::lock().unwrap().packages;
    let of_no_tool = |digest: &Sha256Digest| tools.iter().all(|tool| tool.sha256 != *digest);
    let gone = fewer.packages.iter().map(|package| package.sha256).find(of_no_tool).unwrap();
    fewer.packages.retain(|package| package.sha256 != gone);
    fs::write(project.path().join("fewer.lock"), fewer.to_string()).unwrap();
    let collect = |more: &[&str]| {
        let arguments =
            [&["store", "gc", "--keep-days", "0", "--cache", cache_path, "fewer.lock"], more].concat();
        String::from_utf8(good(run(&project, &arguments)).stdout).unwrap()
    };
    // What was imported a moment ago is as new as the clock: a second later it is not.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert!(collect(&["--dry-run"]).contains(" would be removed, "));
    assert!(entry(cache.path(), &gone).exists());
    let told = collect(&[]);
    assert!(told.contains(" removed, ") && !entry(cache.path(), &gone).exists(), "{told}");
    for package in &fewer.packages {
        assert!(entry(cache.path(), &package.sha256).exists(), "{}", package.name);
    }
}

#[test]
fn an_id_that_drifts_fails_the_build_and_can_be_accepted() {
    let project = again();
    let ledger = read(&project);
    let mut lock = ledger.clone();
    let of = |lock: &Lock, name: &str| {
        lock.ids.iter().position(|it| it.kind == AccountKind::User && it.name == name).unwrap()
    };
    let was = lock.ids[of(&lock, "messagebus")].id;
    let at = of(&lock, "messagebus");
    lock.ids[at].id = 4242;
    lock.ids.remove(of(&lock, "systemd-network"));
    fs::write(project.lock(), lock.to_string()).unwrap();
    let _alone = alone();
    let output = run(&project, &["build", RECIPE]);
    ends(
        &output,
        5,
        &[
            &format!("user `messagebus` had id 4242 and has {was}"),
            "user `systemd-network`, id ",
            "hint: goni-compose build --accept-ids ",
        ],
    );
    assert_eq!(read(&project), lock);
    good(run(&project, &["build", "--accept-ids", RECIPE]));
    assert_eq!(read(&project), ledger);
    // Whose name is gone keeps the number.
    let mut lock = ledger;
    let at = of(&lock, "messagebus");
    lock.ids[at].name = "former".to_owned();
    let lock = lock.canonical().unwrap();
    fs::write(project.lock(), lock.to_string()).unwrap();
    for arguments in [&["build", "--force", RECIPE][..], &["build", "--accept-ids", RECIPE]] {
        let output = run(&project, arguments);
        ends(&output, 5, &[&format!("user `messagebus`, id {was}, is new, an id reserved for `former`")]);
    }
}

#[test]
fn a_package_that_is_gone_is_found_elsewhere_or_named_with_its_day() {
    let project = again();
    let lock = read(&project);
    let empty = serve(|_| None);
    let ours = Environment::of_process().cache_directory(None).unwrap();
    let elsewhere = serve(move |path| {
        let digest: Sha256Digest = path.rsplit('/').next()?.parse().ok()?;
        fs::read(entry(&ours, &digest)).ok()
    });
    let cache = private();
    let export = |more: &[&str]| {
        let cache = cache.path().to_str().unwrap();
        let place = project.path().join("kept");
        let arguments = ["store", "export", "--without-tools", "--cache", cache, "--mirror", &empty];
        let mut command = project.program(&arguments);
        command.args([RECIPE, place.to_str().unwrap()]).args(more);
        command.env_remove("http_proxy").env("no_proxy", "127.0.0.1").output().unwrap()
    };
    let output = export(&[]);
    ends(
        &output,
        6,
        &[
            "no longer has `",
            ", the day of the lock, and its date cannot be had now",
            "hint: name an archive of old packages with --fallback-mirror; or take today's: goni-compose lock --update ",
        ],
    );
    good(export(&["--fallback-mirror", &format!("{elsewhere}/{{archive}}/{{date}}/{{sha256}}")]));
    for package in &lock.packages {
        assert!(entry(cache.path(), &package.sha256).exists(), "{}", package.name);
    }
    ends(&export(&["--fallback-mirror", "nowhere"]), 2, &["`nowhere/pool/x.deb` is not a mirror"]);
}

#[test]
fn a_lock_pins_what_the_project_gives() {
    let lock = read(&kept());
    let kinds = |kind: InputKind| lock.inputs.iter().filter(move |input| input.kind == kind).count();
    assert!(kinds(InputKind::Overlay) >= 3 && kinds(InputKind::Firmware) >= 1);
    assert_eq!(kinds(InputKind::Toolbox), 1);
    let text = lock.to_string();
    assert!(!text.contains("http") && !text.contains("://"), "a lock names no host");
}
