//! A project of the repository's own recipes, and the program run in it.

#[path = "copying.rs"]
mod copying;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// What the recipe's image is called.
pub(crate) const STEM: &str = "goni-qemu_0.1.0_amd64";

/// A copy of the repository's recipes, overlays and targets, without a lock.
pub(crate) struct Project(TempDir);

impl Project {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copying::project(folder.path());
        let this = Self(folder);
        drop(fs::remove_file(this.lock()));
        this
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn recipe(&self) -> PathBuf {
        self.path().join("recipes/qemu-x86_64.toml")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.path().join("recipes/qemu-x86_64.lock")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    /// The program, to be run in the project.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goni-compose"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Every path with its mode, and the size and time of what is not a folder: a scratch directory
    /// that comes and goes leaves a mark on the folder around it.
    pub(crate) fn listing(&self) -> BTreeMap<PathBuf, (u64, i64, i64, u32)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                if meta.is_dir() {
                    folders.push(entry.path());
                    found.insert(entry.path(), (0, 0, 0, meta.mode()));
                } else {
                    found.insert(entry.path(), (meta.size(), meta.mtime(), meta.mtime_nsec(), meta.mode()));
                }
            }
        }
        found
    }
}

/// Held by whoever builds with the user's own cache: of builds of one image at a time, the program
/// lets only one into the cache, and tells the others to wait.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes a text of a file that is there once.
pub(crate) fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// What was said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Output of a program that must end well.
pub(crate) fn good(output: Output) -> Output {
    assert!(output.status.success(), "{:?}: {}", output.status, said(&output));
    output
}

/// Runs a shell script in a mount namespace of its own; its arguments are `$1` and on.
pub(crate) fn in_private_mounts(script: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Whether these tests may become others and mount; says so if not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root to become an ordinary user and to mount");
    }
    root
}
