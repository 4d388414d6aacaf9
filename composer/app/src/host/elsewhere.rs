//! Other circumstances for a second build: what must not matter, made different.
//!
//! The project appears at another path, trees are made on a file system in memory, which lists directories in
//! another order than one on a disk, and the process that builds has another umask, host name, time zone, locale
//! and number of threads, and is told another release of the kernel. What cannot be changed without another machine
//! or a virtual one stays as it is: the kernel itself, the processor, and the date. All mounts are in a mount
//! namespace of this process. Source: mount_namespaces(7), tmpfs(5), personality(2).

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use goni_model::size::ByteCount;
use nix::sched::{CloneFlags, unshare};
use nix::sys::personality::{self, Persona};
use rustix::fs::Mode;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};

use crate::failure::{Class, Classify};
use crate::host::command::CommandSpec;
use crate::host::environment::{Environment, Variable};

/// What a second build is called on the network.
const HOST_NAME: &str = "elsewhere";

/// Where a second build happens.
#[derive(Debug)]
pub struct Elsewhere {
    directory: PathBuf,
    mounted: Vec<PathBuf>,
    /// Whether trees are made in memory.
    pub in_memory: bool,
}

/// Why there is no such place.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct ElsewhereError {
    action: String,
    #[source]
    source: io::Error,
}

impl Classify for ElsewhereError {
    fn class(&self) -> Class {
        Class::Environment
    }
}

fn failed<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> ElsewhereError {
    |source| ElsewhereError { action: action.into(), source: source.into() }
}

impl Elsewhere {
    /// Makes it in an empty directory, for a project; trees are made in memory if there is this much room.
    /// The thread that calls this, and those it starts later, see it; nobody else does.
    ///
    /// # Errors
    /// [`ElsewhereError`].
    pub fn make(directory: &Path, project: &Path, room: ByteCount) -> Result<Self, ElsewhereError> {
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed("entering a mount namespace"))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(failed("making mounts private"))?;
        let mut place = Self { directory: directory.to_owned(), mounted: Vec::new(), in_memory: false };
        for path in [place.project(), place.trees(), place.out()] {
            fs::create_dir(&path).map_err(failed(format!("making `{}`", path.display())))?;
        }
        let path = place.project();
        mount_bind_recursive(project, &path).map_err(failed(format!("binding `{}`", project.display())))?;
        place.mounted.push(path);
        if available_memory().is_some_and(|free| free.get() / 2 >= room.get()) {
            let options = format!("mode=0700,size={}", room.get());
            let options = std::ffi::CString::new(options).map_err(failed("writing mount options"))?;
            let path = place.trees();
            mount("tmpfs", &path, "tmpfs", MountFlags::empty(), options.as_c_str())
                .map_err(failed(format!("mounting memory at `{}`", path.display())))?;
            place.mounted.push(path);
            place.in_memory = true;
        }
        Ok(place)
    }

    /// Where the project is.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.directory.join("project")
    }

    /// Where trees are made.
    #[must_use]
    pub fn trees(&self) -> PathBuf {
        self.directory.join("trees")
    }

    /// Where images go.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.directory.join("out")
    }

    /// This program with arguments, under the circumstances that are given from outside; see [`adapt`] for the
    /// others.
    #[must_use]
    pub fn program(&self, environment: &Environment) -> CommandSpec {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).saturating_add(1);
        let mut command = CommandSpec::new("/proc/self/exe")
            .env("TZ", "Pacific/Kiritimati")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("RAYON_NUM_THREADS", threads.to_string());
        // Where mirrors are named and helpers found; everything else is not even there.
        for variable in [Variable::Mirror, Variable::Home, Variable::XdgConfigHome, Variable::Path] {
            if let Some(value) = environment.variable(variable) {
                command = command.env(variable.name(), value);
            }
        }
        command
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for path in self.mounted.iter().rev() {
            // What cannot be unmounted goes with the namespace.
            let _ = unmount(path, UnmountFlags::DETACH);
        }
    }
}

/// Gives this process a umask and a host name of its own, and a kernel that says to be 2.6.
/// To be called before any thread is started.
///
/// # Errors
/// No privilege for a host name.
pub fn adapt() -> Result<(), ElsewhereError> {
    rustix::process::umask(Mode::from_bits_truncate(0o077));
    personality::get()
        .and_then(|persona| personality::set(persona | Persona::UNAME26))
        .map_err(failed("choosing what the kernel says of itself"))?;
    unshare(CloneFlags::CLONE_NEWUTS).map_err(failed("entering a namespace of host names"))?;
    rustix::system::sethostname(HOST_NAME.as_bytes()).map_err(failed("setting a host name"))
}

/// The memory that could be had without swapping. Source: proc_meminfo(5).
fn available_memory() -> Option<ByteCount> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024).map(ByteCount::new)
}
