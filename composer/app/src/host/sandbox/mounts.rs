//! The mounts of a sandbox, made by its first process in its own mount namespace.
//!
//! What the sandbox shows of the host is taken hold of before the root changes and attached
//! afterwards, by paths that the kernel resolves within the new root: a symbolic link in a hostile
//! tree leads nowhere else.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::foreign::{self, Registry};
use super::{Root, Sandbox, SetupError, Step, kernel};

/// The devices every sandbox has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// What of a tool tree appears; everything else at the top is left to binds.
const TOOL_DIRECTORIES: [&str; 4] = ["usr", "etc", "opt", "var"];
/// What of /proc reaches beyond the namespaces.
const GUARDED: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];

/// Where an empty root is put together: a directory every host has, seen by this namespace alone.
const STAGE: &str = "/tmp";

/// Something of the host, taken hold of, and where it will appear.
struct Held {
    tree: OwnedFd,
    directory: bool,
    inside: PathBuf,
    writable: bool,
}

/// Makes the sandbox's root the root of this process, and lets go of the host's.
pub(super) fn change_root(sandbox: &Sandbox) -> Result<(), SetupError> {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o022));
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step(|| "making mounts private".into())?;
    let mut held = Vec::new();
    for name in DEVICES {
        let device = Path::new("/dev").join(name);
        held.push(hold(&device, &device, true)?);
    }
    for bind in &sandbox.binds {
        held.push(hold(&bind.host, &bind.inside, bind.writable)?);
    }
    if let Some(emulator) = &sandbox.emulator {
        held.push(hold(&emulator.program, Path::new(foreign::PLACE), false)?);
    }
    let links = match &sandbox.root {
        Root::Writable(root) => {
            mount_bind(root, root).step(|| format!("binding `{}`", root.display()))?;
            Vec::new()
        }
        Root::ReadOnly(root) => {
            let (tools, links) = hold_tools(root)?;
            held.splice(0..0, tools);
            temporary(Path::new(STAGE), "mode=0755")?;
            links
        }
    };
    let root = match &sandbox.root {
        Root::Writable(root) => root.as_path(),
        Root::ReadOnly(_) => Path::new(STAGE),
    };
    chdir(root).step(|| format!("entering `{}`", root.display()))?;
    pivot_root(".", ".").step(|| format!("making `{}` the root", root.display()))?;
    for (name, target) in links {
        symlink(target, Path::new("/").join(&name)).step(|| format!("linking {}", name.display()))?;
    }
    let registry = system_mounts(sandbox.emulator.is_some())?;
    for held in &held {
        attach(held)?;
    }
    if let (Some(registry), Some(emulator)) = (registry, &sandbox.emulator) {
        registry.register(emulator.arch)?;
    }
    for directory in sandbox.temporary.iter().filter(|directory| directory.is_dir()) {
        temporary(directory, "mode=0755")?;
    }
    for (program, substitute) in sandbox.replacements.iter().filter(|(program, _)| program.exists()) {
        mount_bind(substitute, program).step(|| format!("replacing `{}`", program.display()))?;
    }
    if let Some(release) = &sandbox.kernel {
        kernel::tell(release)?;
    }
    unmount(".", UnmountFlags::DETACH).step(|| "letting go of the host's root".into())?;
    chdir("/").step(|| "entering the root".into())
}

/// Takes hold of a file or directory of the host with all that is mounted below.
fn hold(host: &Path, inside: &Path, writable: bool) -> Result<Held, SetupError> {
    let step = || format!("binding `{}`", host.display());
    let directory = fs::metadata(host).step(step)?.is_dir();
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if directory {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(CWD, host, flags).step(step)?;
    Ok(Held { tree, directory, inside: inside.to_owned(), writable })
}

type Links = Vec<(OsString, PathBuf)>;

/// The directories of a tool tree, and the symbolic links beside them such as `bin`.
fn hold_tools(root: &Path) -> Result<(Vec<Held>, Links), SetupError> {
    let mut tools = Vec::new();
    for name in TOOL_DIRECTORIES {
        let directory = root.join(name);
        if fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir()) {
            tools.push(hold(&directory, &Path::new("/").join(name), false)?);
        }
    }
    let mut links = Vec::new();
    let step = || format!("reading `{}`", root.display());
    for entry in fs::read_dir(root).step(step)? {
        let entry = entry.step(step)?;
        if let Ok(target) = fs::read_link(entry.path()) {
            links.push((entry.file_name(), target));
        }
    }
    Ok((tools, links))
}

/// Mounts what every system has: processes, devices, and empty /run, /tmp and /sys; if asked, takes hold
/// of the kernel's registry of emulators.
fn system_mounts(with_registry: bool) -> Result<Option<Registry>, SetupError> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    directory("/proc")?;
    mount("proc", "/proc", "proc", safe, None).step(|| "mounting /proc".into())?;
    let registry = with_registry.then(Registry::open).transpose()?;
    for path in GUARDED.map(Path::new) {
        if path.exists() {
            mount_bind(path, path).step(|| format!("guarding {}", path.display()))?;
            make_read_only(path)?;
        }
    }
    for (path, options) in
        [("/dev", "mode=0755"), ("/run", "mode=0755"), ("/tmp", "mode=1777"), ("/sys", "mode=0555")]
    {
        directory(path)?;
        temporary(Path::new(path), options)?;
    }
    make_read_only(Path::new("/sys"))?;
    for path in ["/dev/pts", "/dev/shm", "/run/lock"] {
        directory(path)?;
    }
    temporary(Path::new("/dev/shm"), "mode=1777")?;
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(c"newinstance,ptmxmode=0666,mode=0620"),
    )
    .step(|| "mounting /dev/pts".into())?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, name) in links {
        symlink(target, Path::new("/dev").join(name)).step(|| format!("linking /dev/{name}"))?;
    }
    Ok(registry)
}

/// Attaches what was taken hold of; its place is made where it is missing.
fn attach(held: &Held) -> Result<(), SetupError> {
    let inside = &held.inside;
    let step = || format!("binding to `{}`", inside.display());
    if !inside.exists() {
        if held.directory {
            directory(inside)?;
        } else {
            inside.parent().map_or(Ok(()), directory)?;
            fs::File::create_new(inside).step(step)?;
        }
    }
    move_mount(&held.tree, "", CWD, inside, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step(step)?;
    if held.writable { Ok(()) } else { make_read_only(inside) }
}

fn temporary(path: &Path, options: &str) -> Result<(), SetupError> {
    let step = || format!("mounting a temporary file system on {}", path.display());
    let options = std::ffi::CString::new(options).map_err(io::Error::from).step(step)?;
    mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str())).step(step)
}

/// Makes one mount read-only. What the mount forbids already has to be named again, or the kernel
/// takes it for an attempt to allow it.
fn make_read_only(path: &Path) -> Result<(), SetupError> {
    let step = || format!("making {} read-only", path.display());
    let now = statvfs(path).step(step)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (present, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if now.contains(present) {
            flags |= flag;
        }
    }
    mount_remount(path, flags, c"").step(step)
}

fn directory(path: impl AsRef<Path>) -> Result<(), SetupError> {
    let path = path.as_ref();
    DirBuilder::new().recursive(true).mode(0o755).create(path).step(|| format!("making {}", path.display()))
}
