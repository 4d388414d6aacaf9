//! The scripts themselves, in their order and surroundings.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use goni_model::time::Timestamp;

use super::foreign::Admitted;
use super::{ConfigureError, NAME, failing};
use crate::host::command::{CommandSpec, Exit, Output, Run, RunError, last_lines};
use crate::host::sandbox::Sandbox;
use crate::host::walk::Directory;
use crate::progress::Progress;

/// How long all scripts together may take: foreign ones under emulation need minutes.
const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long a single script of unpacking may take.
const PREINST_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Forbids every service action. Source: invoke-rc.d(8), exit code 101 of policy-rc.d.
const POLICY: &str = "usr/sbin/policy-rc.d";
const POLICY_SCRIPT: &[u8] = b"#!/bin/sh\nexit 101\n";

/// Programs that do nothing while packages are configured, and why.
const SILENCED: &[(&str, &str)] = &[
    ("/usr/sbin/update-initramfs", "the program makes its own initrd"),
    ("/usr/bin/dracut", "the program makes its own initrd"),
    ("/usr/sbin/dkms", "modules are built beside, for the image's kernel"),
    ("/usr/lib/dkms/common.postinst", "it asks dkms"),
    ("/usr/bin/kmod", "depmod is a name of it, and runs beside, once for each kernel"),
];

/// Programs that packages run several times over, and that need to run only once, afterwards: the
/// script of `ca-certificates` runs its own, and then a trigger does the same again.
const DEFERRED: &[&str] = &["/usr/sbin/update-ca-certificates"];

/// Where dpkg journals each change of a package's state, forced to the disk one by one. What is
/// there goes into the status file before dpkg ends, so a journal in memory loses nothing.
const JOURNAL: &str = "/var/lib/dpkg/updates";

/// Runs every script there is to run.
pub(super) fn scripts(
    directory: &Directory,
    source_date: Timestamp,
    foreign: Option<&Admitted<'_>>,
    runner: &dyn Run,
    progress: &dyn Progress,
) -> Result<(), ConfigureError> {
    let releases = releases(directory);
    // An image has one kernel; with none or several it is refused later.
    let kernel = if let [release] = &releases[..] { Some(release.as_str()) } else { None };
    let surroundings = Surroundings { root: directory.path(), source_date, foreign, kernel };
    let policy = Policy::forbid(directory).map_err(|source| surroundings.failed(source))?;
    let has_modules = |release: &&String| directory.holds(&format!("usr/lib/modules/{release}/kernel"));
    let kernels: Vec<&String> = releases.iter().filter(has_modules).collect();
    let done = std::thread::scope(|scope| {
        let modules =
            scope.spawn(|| kernels.iter().try_for_each(|kernel| surroundings.index_modules(kernel, runner)));
        let configured = surroundings
            .unpacked(directory, runner)
            .and_then(|()| surroundings.configure(runner, progress))
            .and_then(|()| surroundings.deferred(directory, runner));
        let indexed = modules.join();
        configured?;
        indexed.unwrap_or_else(|_| {
            Err(surroundings.failed(std::io::Error::other("the thread that indexes modules panicked")))
        })
    });
    let lifted = policy.lift().map_err(|source| surroundings.failed(source));
    done.and(lifted)?;
    surroundings.audit(runner)
}

/// Services are forbidden to start as long as this lives.
struct Policy<'a>(&'a Directory);

impl<'a> Policy<'a> {
    fn forbid(directory: &'a Directory) -> std::io::Result<Self> {
        // One that a killed build left behind says the same.
        let _ = directory.remove(POLICY);
        directory.create(POLICY, POLICY_SCRIPT, 0o755)?;
        Ok(Self(directory))
    }

    fn lift(self) -> std::io::Result<()> {
        self.0.remove(POLICY)
    }
}

/// A script of unpacking.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Preinst {
    /// base-passwd first, because others name users, and base-files second.
    rank: u8,
    package: String,
    /// As in the name of its files: with the architecture where several can be installed.
    instance: String,
}

/// The scripts of unpacking, in order.
///
/// All run, though most do nothing on a first installation: some divert files (`libc6`,
/// `libext2fs2`, `libtirpc3`, `base-files`), one makes the user database (`base-passwd`), one marks
/// its kernel as new (`linux-image`), and what one does cannot be known from its package's name.
fn preinsts(directory: &Directory) -> std::io::Result<Vec<Preinst>> {
    let mut found = Vec::new();
    for name in directory.names("var/lib/dpkg/info")? {
        let Some(instance) = name.to_str().and_then(|name| name.strip_suffix(".preinst")) else { continue };
        let package = instance.split(':').next().unwrap_or(instance);
        let rank = match package {
            "base-passwd" => 0,
            "base-files" => 1,
            _ => 2,
        };
        found.push(Preinst { rank, package: package.to_owned(), instance: instance.to_owned() });
    }
    found.sort();
    Ok(found)
}

/// The releases of the kernels that anything is there of: modules, or headers.
fn releases(directory: &Directory) -> Vec<String> {
    let names = directory.names("usr/lib/modules").unwrap_or_default();
    let mut releases: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    releases.sort();
    releases
}

struct Surroundings<'a> {
    root: &'a Path,
    source_date: Timestamp,
    foreign: Option<&'a Admitted<'a>>,
    /// The release that scripts are told.
    kernel: Option<&'a str>,
}

impl Surroundings<'_> {
    fn failed(&self, source: std::io::Error) -> ConfigureError {
        ConfigureError::Io { root: self.root.to_owned(), source }
    }

    fn command(&self, program: impl AsRef<OsStr>, sandbox: Sandbox) -> CommandSpec {
        // What an emulator says to those who ask the kernel itself. Source: QEMU user mode emulation, `-r`.
        let told = self.kernel.filter(|_| self.foreign.is_some());
        let command = told
            .into_iter()
            .fold(CommandSpec::new(program.as_ref()), |command, release| command.env("QEMU_UNAME", release));
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("SOURCE_DATE_EPOCH", self.source_date.seconds.to_string())
            .env("SYSTEMD_OFFLINE", "1")
            .merge_output()
            .inside(sandbox)
    }

    fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::in_tree(self.root);
        if let Some(release) = self.kernel {
            sandbox = sandbox.kernel(release);
        }
        match self.foreign {
            Some(foreign) => foreign.sandbox(sandbox),
            None => sandbox,
        }
    }

    /// Does what dpkg would have run while it unpacked.
    fn unpacked(&self, directory: &Directory, runner: &dyn Run) -> Result<(), ConfigureError> {
        let scripts = preinsts(directory).map_err(|source| self.failed(source))?;
        scripts.iter().try_for_each(|script| self.preinst(script, runner))
    }

    fn preinst(&self, script: &Preinst, runner: &dyn Run) -> Result<(), ConfigureError> {
        let command = self
            .command(format!("/var/lib/dpkg/info/{}.preinst", script.instance), self.sandbox())
            .arg("install")
            .env("DPKG_ROOT", "")
            .env("DPKG_ADMINDIR", "/var/lib/dpkg")
            .env("DPKG_MAINTSCRIPT_NAME", "preinst")
            .env("DPKG_MAINTSCRIPT_PACKAGE", &script.package)
            .env("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1")
            .timeout(PREINST_LIMIT);
        let (package, name) = (script.package.clone(), "preinst".to_owned());
        match runner.run(&command) {
            Ok(Output { exit: Exit::Code(0), .. }) => Ok(()),
            Ok(Output { stdout, .. }) => {
                let said = last_lines(&stdout, 8);
                Err(ConfigureError::Script { package, script: name, said, looks_at: BTreeSet::new() })
            }
            Err(RunError::TimedOut { limit, output, .. }) => Err(ConfigureError::Hanging {
                package,
                script: name,
                seconds: limit.as_secs(),
                said: last_lines(&output, 8),
            }),
            Err(source) => Err(source.into()),
        }
    }

    fn configure(&self, runner: &dyn Run, progress: &dyn Progress) -> Result<(), ConfigureError> {
        let mut sandbox = self.sandbox().temporary(JOURNAL);
        for program in SILENCED.iter().map(|(program, _)| program).chain(DEFERRED) {
            sandbox = sandbox.replace(*program, "/usr/bin/true");
        }
        let command = self
            .command("/usr/bin/dpkg", sandbox)
            .args(["--force-unsafe-io", "--force-depends", "--configure", "--pending"])
            .timeout(TIME_LIMIT);
        let line = |line: &[u8]| {
            if line.starts_with(b"Setting up ") {
                progress.advance(NAME, 1);
            }
        };
        let unknown = || failing::Culprit { package: "unknown".into(), script: "maintainer".into() };
        match runner.run_watched(&command, &line) {
            Ok(Output { exit: Exit::Code(0), .. }) => Ok(()),
            Ok(Output { stdout, .. }) => {
                let text = String::from_utf8_lossy(&stdout);
                let culprit = failing::failed(&text).unwrap_or_else(unknown);
                let said = last_lines(failing::before(&text).as_bytes(), 12);
                let (package, script) = (culprit.package, culprit.script);
                Err(ConfigureError::Script { package, script, said, looks_at: BTreeSet::new() })
            }
            Err(RunError::TimedOut { limit, output, .. }) => {
                let text = String::from_utf8_lossy(&output);
                let culprit = failing::running(&text).unwrap_or_else(unknown);
                Err(ConfigureError::Hanging {
                    package: culprit.package,
                    script: culprit.script,
                    seconds: limit.as_secs(),
                    said: last_lines(&output, 12),
                })
            }
            Err(source) => Err(source.into()),
        }
    }

    fn index_modules(&self, kernel: &str, runner: &dyn Run) -> Result<(), ConfigureError> {
        let command = self.command("/usr/sbin/depmod", self.sandbox()).arg(kernel).timeout(TIME_LIMIT);
        let output = runner.run(&command)?;
        if output.exit == Exit::Code(0) {
            return Ok(());
        }
        Err(ConfigureError::Modules { kernel: kernel.to_owned(), said: last_lines(&output.stdout, 8) })
    }

    /// Runs what was put off, as far as it is there.
    fn deferred(&self, directory: &Directory, runner: &dyn Run) -> Result<(), ConfigureError> {
        for program in DEFERRED.iter().filter(|program| directory.holds(program)) {
            let command = self.command(program, self.sandbox()).timeout(TIME_LIMIT);
            let output = runner.run(&command)?;
            if output.exit != Exit::Code(0) {
                let said = last_lines(&output.stdout, 8);
                return Err(ConfigureError::Deferred { program: (*program).to_owned(), said });
            }
        }
        Ok(())
    }

    fn audit(&self, runner: &dyn Run) -> Result<(), ConfigureError> {
        let output = runner.run(&self.command("/usr/bin/dpkg", self.sandbox()).arg("--audit"))?;
        if output.exit == Exit::Code(0) && output.stdout.trim_ascii().is_empty() {
            return Ok(());
        }
        Err(ConfigureError::Audit { said: last_lines(&output.stdout, 20) })
    }
}
