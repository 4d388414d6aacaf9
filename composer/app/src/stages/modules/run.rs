//! What the commands have in common: a read-only tree of tools, one directory to write to, and no network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Module, ModulesError, Order, Origin, SHOWN};
use crate::host::command::{CommandSpec, Exit, Output, Run, last_lines};
use crate::host::files;
use crate::host::sandbox::Sandbox;
use crate::modinfo::Modinfo;
use goni_model::digest::Sha256Digest;

/// Where the commands write. The same in every build: paths get into modules.
pub(super) const WORK: &str = "/build";

/// Where a command finds the owner's key: in memory, and there for as long as it signs.
const KEY: &str = "/run/module-key.pem";

/// The largest drivers take minutes; under emulation, an hour.
const TIME_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// DKMS signs whatever it builds with a key that it makes for the occasion and leaves behind. Not here.
const FRAMEWORK: &str = "# Written by goni-compose: modules are signed afterwards, with the owner's key or not at all.\n\
                         sign_file=\"/nonexistent\"\n";

/// How and where commands run.
pub(super) struct Surroundings<'a> {
    pub(super) order: &'a Order<'a>,
    runner: &'a dyn Run,
    work: PathBuf,
    log: &'a Path,
    framework: PathBuf,
}

impl<'a> Surroundings<'a> {
    pub(super) fn prepare(
        order: &'a Order<'a>,
        scratch: &Path,
        log: &'a Path,
        runner: &'a dyn Run,
    ) -> Result<Self, ModulesError> {
        let (work, framework) = (scratch.join("build"), scratch.join("framework.conf"));
        files::create_directories(&work.join("dkms"))?;
        files::replace(&framework, FRAMEWORK.as_bytes(), 0o644)?;
        Ok(Self { order, runner, work, log, framework })
    }

    /// A build that failed, with the end of what it said.
    pub(super) fn failed(&self, what: &Origin, said: &[u8]) -> ModulesError {
        ModulesError::Build {
            what: Box::new(what.clone()),
            release: self.order.release.to_owned(),
            said: last_lines(said, SHOWN),
            log: self.log.to_owned(),
        }
    }

    /// A build that ended well without a module.
    pub(super) fn missing(&self, what: &Origin, module: &str, said: &[u8]) -> ModulesError {
        ModulesError::Missing {
            what: Box::new(what.clone()),
            release: self.order.release.to_owned(),
            module: module.to_owned(),
            said: last_lines(said, SHOWN),
        }
    }

    /// Where the headers of the kernel are.
    pub(super) fn headers(&self) -> String {
        format!("/usr/lib/modules/{}/build", self.order.release)
    }

    /// The path outside of what commands write to.
    pub(super) fn outside(&self, below: &str) -> PathBuf {
        self.work.join(below)
    }

    pub(super) fn sandbox(&self) -> Sandbox {
        let mut sandbox =
            Sandbox::with_tools(self.order.tree).bind_writable(&self.work, WORK).kernel(self.order.release);
        // Where folders alone are built, the tree has no DKMS.
        if !self.order.dkms.is_empty() {
            sandbox = sandbox.bind(&self.framework, "/etc/dkms/framework.conf");
        }
        match self.order.emulator {
            Some(emulator) => sandbox.emulating(emulator.clone()),
            None => sandbox,
        }
    }

    pub(super) fn command(&self, program: &str, sandbox: Sandbox) -> CommandSpec {
        CommandSpec::new(program)
            .env("HOME", "/tmp")
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", "/usr/sbin:/usr/bin")
            // Not the lock's date, which changes more often than what modules are built from.
            .env("SOURCE_DATE_EPOCH", "0")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_USER", "goni")
            .env("KBUILD_BUILD_HOST", "goni")
            .directory(WORK)
            .merge_output()
            .timeout(TIME_LIMIT)
            .inside(sandbox)
    }

    /// Runs a command and keeps what it says; whether it ended well.
    pub(super) fn run(&self, command: &CommandSpec, log: &mut Vec<u8>) -> Result<bool, ModulesError> {
        log.extend(format!("# {command}\n").as_bytes());
        let Output { exit, stdout, .. } = self.runner.run(command)?;
        log.extend(stdout);
        log.extend(format!("# exit: {exit:?}\n").as_bytes());
        Ok(exit == Exit::Code(0))
    }

    /// Runs a command whose answer is wanted: what it said, and whether it ended well.
    pub(super) fn ask(&self, command: &CommandSpec) -> Result<(bool, Vec<u8>), ModulesError> {
        let Output { exit, stdout, .. } = self.runner.run(command)?;
        Ok((exit == Exit::Code(0), stdout))
    }

    /// Signs a module. The signature depends on key and bytes alone: it has no time in it.
    /// Source: scripts/sign-file.c of the kernel, which makes CMS without attributes.
    pub(super) fn sign(&self, module: &mut Module, key: &Path) -> Result<(), ModulesError> {
        let name = module.recorded.name.clone();
        let file = format!("{name}.ko");
        files::replace(&self.outside(&file), &module.bytes, 0o644)?;
        let program = format!("{}/scripts/sign-file", self.headers());
        let command = self
            .command(&program, self.sandbox().bind(key, KEY))
            .args(["sha256", KEY, KEY])
            .arg(format!("{WORK}/{file}"));
        let (good, said) = self.ask(&command)?;
        let bytes = files::read_capped(&self.outside(&file), super::LARGEST)?;
        files::remove_file(&self.outside(&file))?;
        if !good || !Modinfo::parse(&bytes).is_ok_and(|info| info.signed) {
            return Err(ModulesError::Sign { name, said: last_lines(&said, 8) });
        }
        module.recorded.sha256 = Sha256Digest::of(&bytes);
        module.recorded.signed = true;
        module.bytes = bytes;
        Ok(())
    }
}
