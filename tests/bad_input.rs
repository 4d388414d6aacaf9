//! Everything that can be wrong with what a build is given, and with the machine it runs on: the exit
//! code, a message that names the object, and nothing changed but the cache and what is hidden.
//!
//! Needs a mirror the first time, and root or user namespaces.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;
mod loopback;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use goni_compose::host::environment::Environment;
use goni_compose::host::fetch::http::{HttpFetch, Options};
use goni_compose::host::fetch::{Fetch as _, Request, Size};
use goni_compose::host::interrupt::Interrupt;
use goni_compose::host::mirror::Mirrors;
use goni_model::digest::Sha256Digest;
use goni_model::lock::Lock;

use common::{Project, STEM, alone, edit, good, in_private_mounts, is_root, said};
use loopback::serve;

/// A lock of today.
static LOCK: LazyLock<String> = LazyLock::new(|| {
    let project = Project::new();
    good(project.program(&["lock", "recipes/qemu-x86_64.toml"]).output().unwrap());
    fs::read_to_string(project.lock()).unwrap()
});

/// A project with its lock, and the image of an earlier build in its output.
fn project() -> Project {
    let project = Project::new();
    fs::write(project.lock(), &*LOCK).unwrap();
    fs::create_dir(project.out()).unwrap();
    fs::write(project.out().join(format!("{STEM}.raw")), "the image of yesterday").unwrap();
    project
}

/// Sees that a command ends with an exit code and says all of this, a line each; returns all it said.
fn refused(project: &Project, mut command: Command, code: i32, lines: &[&str]) -> String {
    let before = project.listing();
    let output = command.output().unwrap();
    ends(&output, code, lines);
    assert_eq!(project.listing(), before, "changed by a build that failed");
    said(&output)
}

fn ends(output: &Output, code: i32, lines: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for line in lines {
        let found = said.lines().filter(|said| said.contains(line)).count();
        assert_eq!(found, 1, "`{line}` in\n{said}");
    }
    assert!(output.stdout.is_empty() && !said.contains("panicked"), "{said}");
}

/// Sees that a build fails so.
fn build_refused(project: &Project, arguments: &[&str], code: i32, lines: &[&str]) -> String {
    let recipe = project.recipe();
    let arguments = [&["build", "--quiet", recipe.to_str().unwrap()], arguments].concat();
    refused(project, project.program(&arguments), code, lines)
}

/// A project that has no lock yet.
fn project_without_lock() -> Project {
    let project = project();
    fs::remove_file(project.lock()).unwrap();
    project
}

/// A verb with an empty cache and a mirror of ours, whatever proxy the machine has.
fn against(project: &Project, verb: &str, cache: &Path, mirror: &str) -> Command {
    let mut command = project.program(&[verb, "--quiet", "recipes/qemu-x86_64.toml", "--mirror", mirror]);
    command.arg("--cache").arg(cache).env_remove("http_proxy").env("no_proxy", "127.0.0.1");
    command
}

#[test]
fn packages_that_contradict_each_other_end_resolving() {
    let project = project();
    edit(
        &project.path().join("recipes/_base/appliance.toml"),
        "packages = []",
        "packages = [\"dash\"]\nexclude = [\"libc6\"]",
    );
    let lock = project.program(&["lock", "--quiet", "recipes/qemu-x86_64.toml"]);
    let said = refused(&project, lock, 4, &[]);
    assert!(said.contains("`dash=") && said.contains("needs `libc6"), "{said}");
}

#[test]
fn a_misspelt_package_is_named_with_the_nearest() {
    let project = project();
    edit(
        &project.path().join("recipes/_base/appliance.toml"),
        "packages = []",
        "packages = [\"openssh-sever\"]",
    );
    let lock = project.program(&["lock", "--quiet", "recipes/qemu-x86_64.toml"]);
    refused(&project, lock, 4, &["no package `openssh-sever` in", "did you mean `openssh-server`?"]);
}

#[test]
fn a_stale_lock_names_the_key() {
    let project = project();
    edit(&project.path().join("recipes/_base/appliance.toml"), "packages = []", "packages = [\"nano\"]");
    let said = build_refused(
        &project,
        &[],
        2,
        &[
            "no longer satisfies the recipe: `packages` has `nano` besides (recipes/_base/appliance.toml:",
            "hint: goni-compose lock",
        ],
    );
    assert!(said.contains("nano") && said.contains("qemu-x86_64.lock"), "{said}");
}

#[test]
fn packages_that_are_known_not_to_fit_are_refused_unless_the_recipe_says_why_not() {
    let project = project();
    let rules = project.path().join("firmware/rules.toml");
    let rule = "[[rule]]\nname = \"no-linux\"\nwhen = [\"kernel (>= 1)\"]\n\
        reason = \"these tests know one\"\nsource = \"tests/bad_input.rs\"\n";
    fs::write(&rules, fs::read_to_string(&rules).unwrap() + rule).unwrap();
    let found = "rule `no-linux`: it has `linux-image-amd64` ";
    let hint = "hint: choose other packages; or, if you know better, say why in the recipe";
    let said = build_refused(&project, &[], 2, &[found, hint]);
    assert!(said.contains("these tests know one (known from: tests/bad_input.rs)"), "{said}");
    let recipe = project.recipe();
    let overridden = "\n[rules.override]\nno-linux = \"a test\"\n";
    fs::write(&recipe, fs::read_to_string(&recipe).unwrap() + overridden).unwrap();
    good(project.program(&["lock", "--check", recipe.to_str().unwrap()]).output().unwrap());
}

#[test]
fn a_lock_that_is_none_is_a_matter_of_trust() {
    let project = project();
    for damage in [
        "no lock at all",
        "",
        "schema = 1\n",
        &LOCK.replace("source_date = ", "source_date = 1"),
        &LOCK[..LOCK.len() / 2],
    ] {
        fs::write(project.lock(), damage).unwrap();
        build_refused(&project, &[], 3, &["reading the lock `", "hint: goni-compose lock"]);
    }
}

#[test]
fn a_digest_edited_in_the_lock_matches_no_package() {
    let project = project();
    let mut lock: Lock = LOCK.parse().unwrap();
    // A small one: it is fetched before anyone can tell.
    let package = lock.packages.iter_mut().min_by_key(|package| package.size).unwrap();
    let name = package.name.clone();
    package.sha256 = Sha256Digest::of(b"another");
    let forged = package.sha256.to_string();
    fs::write(project.lock(), lock.to_string()).unwrap();
    // In a cache of its own: the kept tree of the good lock stays.
    let cache = tempfile::tempdir().unwrap();
    let recipe = project.recipe();
    let mut command = project.program(&["build", "--quiet", recipe.to_str().unwrap()]);
    command.arg("--cache").arg(cache.path());
    refused(
        &project,
        command,
        3,
        &[&format!("fetching `{name}="), &format!("expected the SHA-256 {forged}, found ")],
    );
}

#[test]
fn an_altered_release_file_is_refused() {
    let environment = Environment::of_process();
    let mirrors = Mirrors::discover(None, &environment, Path::new("/etc/apt")).unwrap();
    let fetch = HttpFetch::new(Options::of(&environment).unwrap(), Interrupt::default()).unwrap();
    let url = mirrors.url("debian", "dists/trixie/InRelease").unwrap();
    let mut release = Vec::new();
    fetch.fetch(&Request { url, size: Size::AtMost(1 << 20) }, &mut release).unwrap();
    let text = String::from_utf8(release).unwrap();
    let altered = text.replacen("\nSuite: stable\n", "\nSuite: stabel\n", 1);
    assert_ne!(altered, text);
    let mirror = serve(move |path| path.ends_with("/trixie/InRelease").then(|| altered.clone().into_bytes()));
    let (project, cache) = (project_without_lock(), tempfile::tempdir().unwrap());
    let lock = against(&project, "lock", cache.path(), &format!("{mirror}/debian"));
    refused(&project, lock, 3, &["reading `dists/trixie/InRelease` of archive `debian`", "signature"]);
}

#[test]
fn forged_and_cut_and_padded_packages_are_refused() {
    let lock: Lock = LOCK.parse().unwrap();
    for (change, expected) in
        [(0_i64, "expected the SHA-256 "), (-1, " bytes instead of "), (1, " has more than the ")]
    {
        let packages = lock.packages.clone();
        let mirror = serve(move |path| {
            let package = packages.iter().find(|package| path.ends_with(&package.path))?;
            Some(vec![0; usize::try_from(package.size.checked_add_signed(change)?).unwrap()])
        });
        let (project, cache) = (project(), tempfile::tempdir().unwrap());
        let build = against(&project, "build", cache.path(), &format!("{mirror}/debian"));
        refused(&project, build, 3, &["caused by: fetching `", expected]);
        assert!(
            !cache.path().join("trees").read_dir().unwrap().any(|it| it
                .unwrap()
                .path()
                .join("root")
                .exists())
        );
    }
}

#[test]
fn a_mirror_out_of_reach_is_named() {
    let (project, cache) = (project_without_lock(), tempfile::tempdir().unwrap());
    let lock = against(&project, "lock", cache.path(), "http://127.0.0.1:9/debian");
    refused(
        &project,
        lock,
        6,
        &[
            "reading `dists/trixie/InRelease` of archive `debian`",
            "`http://127.0.0.1:9/debian/dists/trixie/InRelease`",
        ],
    );
}

#[test]
fn a_root_larger_than_its_partition_says_both_sizes() {
    let project = project();
    let _alone = alone();
    edit(
        &project.path().join("recipes/_base/appliance.toml"),
        "size = \"1GiB\"\nverity",
        "size = \"64MiB\"\nverity",
    );
    let said = build_refused(&project, &[], 2, &["64MiB", "hint: give [root] a larger `size`"]);
    assert!(said.contains("root"), "{said}");
}

#[test]
fn a_full_disk_leaves_no_image() {
    if !is_root() {
        return;
    }
    let project = project();
    let _alone = alone();
    let script = "mount -t tmpfs -o size=32m none \"$2/out\"; echo old >\"$2/out/old\"; code=0
        \"$1\" build --quiet \"$2/recipes/qemu-x86_64.toml\" || code=$?; ls -A \"$2/out\" >&2; exit $code";
    let program = Path::new(env!("CARGO_BIN_EXE_goni-compose"));
    let command = in_private_mounts(script, &[program, project.path()]);
    let said = refused(&project, command, 6, &["No space left on device", "hint: "]);
    assert!(said.ends_with("\nold\n") && said.contains(&format!("/out/.{STEM}.")), "{said}");
}

#[test]
fn what_is_in_the_way_of_the_output_is_named_and_stays() {
    let project = project();
    let raw = project.out().join(format!("{STEM}.raw"));
    fs::remove_file(&raw).unwrap();
    fs::create_dir(&raw).unwrap();
    let in_the_way = |path: &Path, kind| format!("`{}` is in the way: it is {kind}", path.display());
    build_refused(
        &project,
        &[],
        6,
        &[&in_the_way(&raw, "a directory"), "or name another directory with --out"],
    );
    let file = project.path().join("file");
    fs::write(&file, "kept").unwrap();
    build_refused(&project, &["--out", file.to_str().unwrap()], 6, &[&in_the_way(&file, "a file")]);
}

#[test]
fn a_payload_of_another_machine_is_refused() {
    let project = project();
    let payload = project.path().join("program");
    // The head of an ELF file, little-endian, 64 bits, with `e_machine` 243: RISC-V.
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    elf[18] = 243;
    fs::write(&payload, elf).unwrap();
    let given = format!("goni-http={}", payload.display());
    let told =
        format!("the payload `goni-http`, `{}`, is for machine 243 of ELF, not for amd64", payload.display());
    build_refused(&project, &["--payload", &given], 5, &[&told]);
    fs::write(&payload, "a text").unwrap();
    build_refused(&project, &["--payload", &given], 5, &["is no program: neither ELF nor a script"]);
    fs::remove_file(&payload).unwrap();
    build_refused(&project, &["--payload", &given], 6, &[&format!("`{}`", payload.display())]);
}

#[test]
fn a_payload_the_recipe_does_not_know_is_named() {
    build_refused(
        &project(),
        &["--payload", "goni-htpt=/bin/true"],
        2,
        &["the recipe has no payload `goni-htpt`", "hint: it has goni-http"],
    );
}

#[test]
fn a_machine_without_user_namespaces_is_told_how_to_allow_them() {
    if !is_root() {
        return;
    }
    let project = project();
    fs::copy(env!("CARGO_BIN_EXE_goni-compose"), project.path().join("program")).unwrap();
    fs::write(project.path().join("ranges"), "root:100000:65536\n100005:100000:65536\n").unwrap();
    fs::set_permissions(project.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // In a user namespace that root owns, nobody may make another.
    let script = "touch /etc/subuid /etc/subgid; cd \"$1\"
        mount --bind ranges /etc/subuid; mount --bind ranges /etc/subgid
        exec unshare --map-root-user --map-users=100000,100000,65536 --map-groups=100000,100000,65536 sh -ec '
            echo 0 >/proc/sys/user/max_user_namespaces
            exec setpriv --reuid 100005 --regid 100005 --clear-groups env -i PATH=\"$PATH\" \
                ./program build --quiet recipes/qemu-x86_64.toml --cache own'";
    let command = in_private_mounts(script, &[project.path()]);
    refused(
        &project,
        command,
        6,
        &[
            "this machine does not let ordinary users create user namespaces",
            "hint: as root: sysctl -w user.max_user_namespaces=",
        ],
    );
}

#[test]
fn ctrl_c_leaves_neither_files_nor_processes() {
    let project = project();
    // Without a kept tree, so that maintainer scripts run when it comes.
    let cache = tempfile::tempdir().unwrap();
    let own = Environment::of_process().cache_directory(None).unwrap().join("store/sha256");
    let lock: Lock = LOCK.parse().unwrap();
    let alone = alone();
    good(
        project
            .program(&["build", "--quiet", "recipes/qemu-x86_64.toml", "--out", "first"])
            .output()
            .unwrap(),
    );
    drop(alone);
    fs::remove_dir_all(project.path().join("first")).unwrap();
    for package in &lock.packages {
        let sha256 = package.sha256.to_string();
        let folder = cache.path().join("store/sha256").join(&sha256[..2]);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(own.join(&sha256[..2]).join(&sha256), folder.join(&sha256)).unwrap();
    }
    let before = project.listing();
    for stage in ["fetch", "unpack", "configure", "image"] {
        let mut child = project
            .program(&[
                "build",
                "--verbose",
                "recipes/qemu-x86_64.toml",
                "--cache",
                cache.path().to_str().unwrap(),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        // The end of a stage is the middle of the build.
        let seen = lines.by_ref().find(|line| line.contains(&format!("] {stage} ")));
        assert!(seen.is_some(), "{stage} never came");
        let began = Instant::now();
        let id = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{stage}: {rest:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{stage}: {:?}", began.elapsed());
        assert!(rest.iter().any(|line| line.ends_with("interrupted")), "{stage}: {rest:?}");
        // Standard error is at its end only when every process of the build has gone.
        let now = project.listing();
        assert!(now.keys().eq(before.keys()), "{stage}: {now:?}");
        let raw = fs::read_to_string(project.out().join(format!("{STEM}.raw"))).unwrap();
        assert_eq!(raw, "the image of yesterday");
    }
}
