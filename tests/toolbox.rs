//! The program's own tools, from the archive into a sandbox. Needs a mirror the first time, and
//! root, or user namespaces for ordinary users.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use goni_compose::host::clock::SystemClock;
use goni_compose::host::command::{CommandSpec, Exit, Output, Run, RunError, System};
use goni_compose::host::environment::Environment;
use goni_compose::host::fetch::http::{HttpFetch, Options};
use goni_compose::host::interrupt::Interrupt;
use goni_compose::host::mirror::Mirrors;
use goni_compose::host::sandbox::{Emulator, Sandbox};
use goni_compose::host::store::Store;
use goni_compose::host::toolbox::Toolbox;
use goni_compose::progress::Silent;
use goni_compose::stages::fetch::Sources;
use goni_compose::stages::toolbox;
use goni_model::arch::Arch;
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
        ("qemu-system-aarch64", "--version", "QEMU emulator version 10."),
        ("qemu-aarch64", "--version", "qemu-aarch64 version 10."),
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

/// A 64-bit ARM program that ends with exit code 42.
///
/// mov x0, #42; mov x8, #93 (`exit`); svc #0. Source: ELF header and program header, System V ABI.
fn arm64_program() -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    program.extend([2, 0, 183, 0, 1, 0, 0, 0]);
    // Entry 0x400078, program headers at 64, no sections.
    program.extend([0x40_0078_u64, 64, 0].iter().flat_map(|number| number.to_le_bytes()));
    program.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // One segment: the whole file, readable and executable, at 0x400000.
    program.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    program.extend(
        [0, 0x40_0000_u64, 0x40_0000, 132, 132, 0x1000].iter().flat_map(|number| number.to_le_bytes()),
    );
    program.extend([0xd280_0540_u32, 0xd280_0ba8, 0xd400_0001].iter().flat_map(|word| word.to_le_bytes()));
    program
}

#[test]
fn a_program_of_another_architecture_runs_where_its_emulator_was_admitted() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = tempfile::tempdir().unwrap();
    let program = tree.path().join("program");
    fs::write(&program, arm64_program()).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |sandbox| {
        System::new(env!("CARGO_BIN_EXE_goni-compose")).run(&CommandSpec::new("/program").inside(sandbox))
    };
    let emulator = Emulator { program: tools().root().join("usr/bin/qemu-aarch64"), arch: Arch::Arm64 };
    // Two at a time: each has a registration of its own.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let sandbox = Sandbox::in_tree(tree.path()).emulating(emulator.clone());
            scope.spawn(move || assert_eq!(run(sandbox).unwrap().exit, Exit::Code(42)));
        }
    });
    // Nothing of it is left for others.
    if std::env::consts::ARCH != "aarch64" {
        let error = run(Sandbox::in_tree(tree.path())).unwrap_err().to_string();
        assert!(error.contains("program"), "{error}");
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
