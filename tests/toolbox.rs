//! The program's own tools, from the archive into a sandbox. Needs a mirror the first time, and
//! root, or user namespaces for ordinary users.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use goni_compose::host::clock::SystemClock;
use goni_compose::host::command::{CommandSpec, Output, Run, RunError, System};
use goni_compose::host::environment::Environment;
use goni_compose::host::fetch::http::{HttpFetch, Options};
use goni_compose::host::interrupt::Interrupt;
use goni_compose::host::mirror::Mirrors;
use goni_compose::host::store::Store;
use goni_compose::host::toolbox::Toolbox;
use goni_compose::progress::Silent;
use goni_compose::stages::fetch::Sources;
use goni_compose::stages::toolbox;
use goni_model::lock::Lock;

/// Does something with the user's own cache and mirrors, as a build would.
fn with_sources<T>(act: impl FnOnce(&Path, Sources<'_>) -> T) -> T {
    let environment = Environment::of_process();
    let cache = environment.cache_directory(None).unwrap();
    let store = Store::open(&cache).unwrap();
    let fetch = HttpFetch::new(Options::of(&environment).unwrap(), Interrupt::default()).unwrap();
    let mirrors = Mirrors::discover(None, &environment, Path::new("/etc/apt")).unwrap();
    act(&cache, Sources { mirrors: &mirrors, store: &store, fetch: &fetch, progress: &Silent })
}

fn tools() -> &'static Toolbox {
    static TOOLS: OnceLock<Toolbox> = OnceLock::new();
    TOOLS.get_or_init(|| with_sources(|cache, sources| toolbox::open(cache, sources, &SystemClock).unwrap()))
}

/// How a tool ends and what it says, both streams in their order.
fn end(command: &CommandSpec) -> Output {
    let command = command.clone().merge_output().timeout(Duration::from_secs(60));
    System::new(env!("CARGO_BIN_EXE_goni-compose")).run(&command).unwrap()
}

/// What a tool says that has to end well.
fn said(command: &CommandSpec) -> String {
    String::from_utf8(end(command).success(command).unwrap().stdout).unwrap()
}

#[test]
fn every_tool_starts() {
    // Some say what they are only beside an error, so the words count, not the exit code.
    for (program, argument, expected) in [
        ("sgdisk", "--version", "GPT fdisk (sgdisk) version 1."),
        ("qemu-system-x86_64", "--version", "QEMU emulator version 10."),
        ("qemu-img", "--version", "qemu-img version 10."),
        ("fsck.erofs", "--version", "fsck.erofs (erofs-utils) 1."),
        ("veritysetup", "--version", "veritysetup 2."),
        ("e2fsck", "-V", "e2fsck 1.47"),
        ("resize2fs", "-?", "resize2fs 1.47"),
        ("debugfs", "-V", "debugfs 1.47"),
        ("fsck.fat", "--help", "fsck.fat"),
        ("mdir", "--version", "mtools"),
        ("swtpm", "--version", "TPM emulator version 0."),
        ("dpkg", "--version", "package management program"),
        ("zstd", "--version", "Zstandard CLI"),
        ("xz", "--version", "xz (XZ Utils) 5."),
        ("modinfo", "--version", "kmod version"),
    ] {
        let said = end(&tools().command(program).unwrap().arg(argument)).stdout;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(expected), "{program}: {said}");
    }
}

#[test]
fn a_tool_works_on_what_is_bound_for_it_and_on_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    fs::File::create(directory.path().join("disk")).unwrap().set_len(8 << 20).unwrap();
    let sandbox = tools().sandbox().bind_writable(directory.path(), "/machine");
    let sgdisk = |arguments: &[&str]| {
        said(&tools().command_in("sgdisk", sandbox.clone()).unwrap().args(arguments.iter().copied()))
    };
    sgdisk(&["--new=1:2048:4095", "/machine/disk"]);
    assert!(sgdisk(&["--verify", "/machine/disk"]).contains("No problems found"));
    let image = fs::read(directory.path().join("disk")).unwrap();
    assert_eq!(&image[512..520], b"EFI PART");
}

#[test]
fn the_firmware_reaches_its_boot_manager_on_the_serial_console() {
    let directory = tempfile::tempdir().unwrap();
    let variables = directory.path().join("vars.fd");
    fs::copy(tools().root().join("usr/share/OVMF/OVMF_VARS_4M.fd"), &variables).unwrap();
    let sandbox = tools().sandbox().bind_writable(directory.path(), "/machine");
    let qemu = tools()
        .command_in("qemu-system-x86_64", sandbox)
        .unwrap()
        .args(["-machine", "q35,accel=tcg", "-m", "256", "-nodefaults", "-nographic"])
        .args(["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"])
        .args(["-drive", "if=pflash,format=raw,file=/machine/vars.fd"])
        .args(["-serial", "stdio", "-net", "none"])
        .timeout(Duration::from_secs(180));
    // The shell never ends by itself: what we wait for ends it.
    let seen = Arc::new(AtomicBool::new(false));
    let system = System::new(env!("CARGO_BIN_EXE_goni-compose")).stopping_on(Arc::clone(&seen));
    let watch = |line: &[u8]| {
        if String::from_utf8_lossy(line).contains("UEFI Interactive Shell") {
            seen.store(true, Ordering::SeqCst);
        }
    };
    let error = system.run_watched(&qemu, &watch).unwrap_err();
    assert!(matches!(error, RunError::Interrupted { .. }) && seen.load(Ordering::SeqCst), "{error:?}");
}

#[test]
fn the_archives_of_today_answer_the_toolbox_request() {
    let present = goni_compose::host::toolbox::lock().unwrap();
    let lock = with_sources(|_, sources| toolbox::resolve(sources, &SystemClock).unwrap());
    assert_eq!(lock.request, present.request);
    assert!(lock.source_date >= present.source_date);
    for wanted in &lock.request.packages {
        assert!(lock.packages.iter().any(|package| package.name == *wanted), "{wanted}");
    }
    assert_eq!(lock.to_string().parse::<Lock>().unwrap(), lock);
}
