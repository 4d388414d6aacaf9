//! Sandboxes as the kernel makes them. Needs root, or user namespaces for ordinary users.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use goni_compose::host::command::{CommandSpec, Exit, Output, Run, RunError, System};
use goni_compose::host::sandbox::Sandbox;

fn system() -> System {
    System::new(env!("CARGO_BIN_EXE_goni-compose"))
}

/// A shell in this machine's own /usr, which stays as it is.
fn shell(script: &str) -> CommandSpec {
    CommandSpec::new("/bin/sh")
        .args(["-c", script])
        .env("PATH", "/usr/bin:/usr/sbin")
        .inside(Sandbox::with_tools("/"))
}

fn run(script: &str) -> Output {
    system().run(&shell(script)).unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

#[test]
fn exit_codes_and_output_pass_through() {
    let output = run("echo out; echo err >&2; exit 7");
    assert_eq!(
        (output.exit, &output.stdout[..], &output.stderr[..]),
        (Exit::Code(7), &b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(run("kill -TERM $$").exit, Exit::Code(128 + 15));
    let merged = system().run(&shell("echo 1; echo 2 >&2; echo 3").merge_output()).unwrap();
    assert_eq!(merged.stdout, b"1\n2\n3\n");
}

#[test]
fn input_reaches_the_command_and_its_environment_is_only_what_was_named() {
    let output = system().run(&shell("cat; env | sort").input("in\n").env("A", "b")).unwrap();
    assert_eq!(text(&output), "in\nA=b\nPATH=/usr/bin:/usr/sbin\nPWD=/\n");
}

#[test]
fn the_network_is_unreachable() {
    let output = run("cat /proc/net/dev /proc/net/route");
    let interfaces: Vec<String> = text(&output)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().into())
        .collect();
    assert_eq!(interfaces, ["lo"]);
    assert_eq!(text(&output).lines().filter(|line| line.contains("\t0000")).count(), 0);
}

#[test]
fn no_other_process_and_no_host_path_is_visible() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("secret"), "s").unwrap();
    let secret = work.path().join("secret");
    let output = run(&format!("ls {}; echo /home/* /root/* /proc/[0-9]*", secret.display()));
    assert!(text(&output).contains("/home/* /root/* /proc/1 /proc/"), "{}", text(&output));
    assert!(text(&output).contains("No such file"), "{}", text(&output));
    assert!(!text(&run("cat /proc/self/mountinfo")).contains("oldroot"));
}

#[test]
fn tools_stay_as_they_are_and_kernel_settings_too() {
    for path in ["/usr/x", "/proc/sys/kernel/hostname", "/sys/x"] {
        let output = run(&format!("echo x > {path}"));
        assert_eq!(output.exit, Exit::Code(2), "{path}: {}", text(&output));
        assert!(text(&output).contains("Read-only file system"), "{path}: {}", text(&output));
    }
    assert_ne!(run("mount -t tmpfs x /mnt").exit, Exit::Code(0));
    assert_ne!(run("mknod /tmp/sda b 8 0").exit, Exit::Code(0));
}

#[test]
fn scripts_are_told_of_the_kernel_that_was_chosen() {
    let release = "9.8.7+board-arm64";
    let inside = || Sandbox::with_tools("/").kernel(release);
    let said = |script: &str| text(&system().run(&shell(script).inside(inside())).unwrap());
    let own = |script: &str| text(&run(script));
    for (script, expected) in [
        ("uname -r", format!("{release}\n")),
        ("uname --kernel-release", format!("{release}\n")),
        ("uname -v", "#1 SMP\n".to_owned()),
        ("uname -srv", format!("Linux {release} #1 SMP\n")),
        ("cat /proc/sys/kernel/osrelease", format!("{release}\n")),
        ("cat /proc/sys/kernel/version", "#1 SMP\n".to_owned()),
        ("cat /proc/version", format!("Linux version {release} #1 SMP\n")),
        ("uname -a", format!("Linux localhost {release} #1 SMP {}", own("uname -mo"))),
        ("uname", own("uname")),
        ("uname -m", own("uname -m")),
        ("uname --version", own("uname --version")),
        ("uname --nonsense 2>/dev/null; echo $?", "1\n".to_owned()),
    ] {
        assert_eq!(said(script), expected, "{script}");
    }
    assert!(!own("uname -r; uname -v; cat /proc/version").contains(release));
}

#[test]
fn a_bound_directory_is_seen_under_its_name_and_written_only_if_allowed() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("in"), "hello").unwrap();
    let path = work.path().display();
    let sandbox = Sandbox::with_tools("/").bind_writable(work.path(), work.path()).bind(work.path(), "/data");
    let script = format!("cat {path}/in; cp {path}/in {path}/out; echo x > /data/no");
    let command = shell(&script).inside(sandbox).directory(work.path());
    let output = system().run(&command).unwrap();
    assert!(text(&output).starts_with("hello"), "{}", text(&output));
    assert!(text(&output).contains("Read-only file system"), "{}", text(&output));
    assert_eq!(fs::read(work.path().join("out")).unwrap(), b"hello");
    assert!(!work.path().join("no").exists());
}

#[test]
fn devices_are_few_and_work() {
    let output = run("ls /dev; echo x > /dev/null; head -c 4 /dev/zero | od -An -tx1");
    let shown = text(&output);
    let names: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(
        names,
        [
            "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
            "urandom", "zero", "00", "00", "00", "00"
        ]
    );
}

#[test]
fn a_hanging_command_and_all_it_started_are_killed() {
    let before = mounts();
    let work = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::with_tools("/").bind_writable(work.path(), "/machine");
    let script =
        "(setsid sh -c 'while sleep 0.05; do date +%N > /machine/alive; done' &) ; echo begun; sleep 1000";
    let command = shell(script).inside(sandbox).timeout(Duration::from_millis(700));
    let began = Instant::now();
    let error = system().run(&command).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    let RunError::TimedOut { output, .. } = &error else { panic!("{error}") };
    assert_eq!(output, b"begun\n");
    assert_stays_dead(&work.path().join("alive"));
    assert_eq!(mounts(), before);
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let work = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::with_tools("/").bind_writable(work.path(), "/machine");
    let script = "setsid sh -c 'while sleep 0.05; do date +%N > /machine/alive; done' >/dev/null 2>&1 & sleep 0.3; exit 0";
    let output = system().run(&shell(script).inside(sandbox)).unwrap();
    assert_eq!(output.exit, Exit::Code(0));
    assert_stays_dead(&work.path().join("alive"));
}

#[test]
fn a_missing_program_and_a_missing_root_say_so() {
    let sandbox = Sandbox::with_tools("/");
    let error = system().run(&CommandSpec::new("/bin/nothing").inside(sandbox)).unwrap_err();
    assert_eq!(error.to_string(), "starting `nothing`");
    let RunError::Setup { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.to_string(), "executing `/bin/nothing`: No such file or directory (os error 2)");
    let error = system().run(&CommandSpec::new("/bin/sh").inside(Sandbox::in_tree("/nowhere"))).unwrap_err();
    let RunError::Setup { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.to_string(), "binding `/nowhere`: No such file or directory (os error 2)");
}

/// The file was written to, and is not any more.
fn assert_stays_dead(alive: &Path) {
    let last = fs::read(alive).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::read(alive).unwrap(), last);
}

#[test]
fn killing_the_program_leaves_no_process_and_no_mount() {
    let before = mounts();
    let work = tempfile::tempdir().unwrap();
    let job = work.path().join("alive");
    // A second test process plays the program, because this one has to survive.
    let mut program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_victim_of_the_test_above", "--nocapture"])
        .env("SANDBOX_VICTIM", work.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !job.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "the victim never began");
        std::thread::sleep(Duration::from_millis(20));
    }
    program.kill().unwrap();
    program.wait().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_stays_dead(&job);
    assert_eq!(mounts(), before);
}

#[test]
fn a_victim_of_the_test_above() {
    let Some(work) = std::env::var_os("SANDBOX_VICTIM") else { return };
    let sandbox = Sandbox::with_tools("/").bind_writable(work, "/machine");
    let script = "while sleep 0.05; do date +%N > /machine/alive; done";
    system().run(&shell(script).inside(sandbox)).unwrap();
}
