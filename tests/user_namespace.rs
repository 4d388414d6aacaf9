//! Ordinary users and their namespaces. A program of its own, because only one without threads may
//! enter a user namespace: started with `probe`, it plays the ordinary user. Needs root to become
//! others; skips without.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program that plays a user")]

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, ExitCode};

use goni_compose::failure::Classify;
use goni_compose::host::command::{CommandSpec, Run, System};
use goni_compose::host::sandbox::{Mapping, Sandbox, enter_if_asked, enter_user_namespace};

type Outcome = Result<(), Box<dyn Error>>;
type Case = (&'static str, fn() -> Outcome);

/// The user `nobody`: the mapping programs want to know the name of who asks.
const USER: u32 = 65_534;

fn main() -> ExitCode {
    if let Some(code) = enter_if_asked() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "probe") {
        return probe(&arguments[1..]);
    }
    if !rustix::process::geteuid().is_root() {
        println!("user_namespace: skipped: needs root to become an ordinary user");
        return ExitCode::SUCCESS;
    }
    let cases: [Case; 5] = [
        (
            "a_user_with_a_range_owns_65536_ids_and_a_sandbox",
            a_user_with_a_range_owns_65536_ids_and_a_sandbox,
        ),
        ("a_user_without_a_range_is_told_what_to_add", a_user_without_a_range_is_told_what_to_add),
        ("a_user_without_a_range_can_run_tools", a_user_without_a_range_can_run_tools),
        ("a_missing_mapping_program_is_named", a_missing_mapping_program_is_named),
        ("forbidden_namespaces_are_explained", forbidden_namespaces_are_explained),
    ];
    let mut code = ExitCode::SUCCESS;
    for (name, case) in cases {
        match case() {
            Ok(()) => println!("test {name} ... ok"),
            Err(error) => {
                println!("test {name} ... FAILED\n{error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Enters a namespace and tells what it is like there; `forbid` tries again where none may be made.
fn probe(arguments: &[String]) -> ExitCode {
    let full = arguments.first().is_some_and(|mapping| mapping == "full");
    if let Err(error) = enter_user_namespace(if full { Mapping::Full } else { Mapping::Caller }) {
        println!("{error}\nhint: {}", error.hint().unwrap_or_default());
        return ExitCode::from(error.class().exit_code());
    }
    match inside(arguments) {
        Ok(code) => code,
        Err(error) => {
            println!("inside: {error}");
            ExitCode::FAILURE
        }
    }
}

fn inside(arguments: &[String]) -> io::Result<ExitCode> {
    if let [_, forbid, program] = arguments
        && forbid == "forbid"
    {
        fs::write("/proc/sys/user/max_user_namespaces", "0")?;
        let ids = ["--reuid", "5", "--regid", "5", "--clear-groups"];
        let status = Command::new("setpriv").args(ids).args([program, "probe", "full"]).status()?;
        return Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)));
    }
    let work = tempfile::tempdir()?;
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))?;
    fs::write(work.path().join("f"), "")?;
    let script = "id -u; id -g; cat /proc/net/dev | grep -c :; [ $1 = full ] && chown 1000:65535 /machine/f; stat -c %u:%g /machine/f";
    let sandbox = Sandbox::with_tools("/").bind_writable(work.path(), "/machine");
    let mapping = arguments.first().cloned().unwrap_or_default();
    let command = CommandSpec::new("/bin/sh")
        .args(["-c", script, "sh", &mapping])
        .env("PATH", "/usr/bin")
        .inside(sandbox);
    let output = System::default().run(&command).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let maps = fs::read_to_string("/proc/self/uid_map")?;
    let maps: Vec<String> =
        maps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    print!(
        "{}\n{}{}",
        maps.join("\n"),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(ExitCode::SUCCESS)
}

/// Runs the probe as an ordinary user with this /etc/subuid and /etc/subgid, and after `before`.
fn as_user(range: &str, before: &str, mapping: &[&str]) -> io::Result<(Option<i32>, String)> {
    let work = tempfile::tempdir()?;
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))?;
    let (program, ranges) = (work.path().join("probe"), work.path().join("ranges"));
    fs::copy(std::env::current_exe()?, &program)?;
    assert_eq!(fs::metadata(&program)?.uid(), 0);
    fs::write(&ranges, range)?;
    let script = format!(
        "set -e; touch /etc/subuid /etc/subgid; mount --bind {ranges} /etc/subuid; mount --bind {ranges} /etc/subgid; {before}
         exec setpriv --reuid {USER} --regid {USER} --clear-groups env TMPDIR=/tmp {program} probe {mapping}",
        ranges = shown(&ranges), program = shown(&program),
        mapping = mapping.join(" ").replace("PROGRAM", &shown(&program)),
    );
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .output()?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), said))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn expect(result: (Option<i32>, String), code: i32, said: &str) -> Outcome {
    if result == (Some(code), said.to_owned()) {
        return Ok(());
    }
    Err(format!("expected exit code {code} and\n{said}\nbut it was {:?} and\n{}", result.0, result.1).into())
}

fn a_user_with_a_range_owns_65536_ids_and_a_sandbox() -> Outcome {
    let result = as_user("65534:700000:65536\n", "", &["full"])?;
    expect(result, 0, "0 65534 1\n1 700000 65535\n0\n0\n1\n1000:65535\n")
}

fn a_user_without_a_range_is_told_what_to_add() -> Outcome {
    let result = as_user("someone:700000:65536\n65534:100:10\n", "", &["full"])?;
    expect(
        result,
        6,
        "`/etc/subuid` gives user `nobody` no range of 65536 ids\nhint: as root: usermod --add-subuids \
         100000-165535 --add-subgids 100000-165535 nobody (adds a line to /etc/subuid); or run as root\n",
    )
}

fn a_user_without_a_range_can_run_tools() -> Outcome {
    let result = as_user("", "", &["caller"])?;
    expect(result, 0, "0 65534 1\n0\n0\n1\n0:0\n")
}

fn a_missing_mapping_program_is_named() -> Outcome {
    let hide = "mount --bind /dev/null $(command -v newuidmap)";
    let result = as_user("65534:700000:65536\n", hide, &["full"])?;
    expect(
        result,
        6,
        "`newuidmap` cannot map user ids: Permission denied (os error 13)\n\
         hint: install the package `uidmap`; or run as root\n",
    )
}

fn forbidden_namespaces_are_explained() -> Outcome {
    let result = as_user("65534:700000:65536\n5:1000:65536\n", "", &["full", "forbid", "PROGRAM"])?;
    expect(
        result,
        6,
        "this machine does not let ordinary users create user namespaces\n\
         hint: as root: sysctl -w user.max_user_namespaces=15000; or run as root\n",
    )
}
