//! Debian's kernel for a shadow boot: its packages unpacked, its modules indexed, nothing configured.

use std::path::Path;
use std::time::Duration;

use goni_disk::tree::{FileTree, Owner};
use goni_model::lock::{Lock, LockedPackage};
use goni_model::target::Target;

use crate::failure::{Class, Classify, Failure};
use crate::host::command::{Exit, Run as _, last_lines};
use crate::host::contents::Contents;
use crate::host::files::FileError;
use crate::host::walk::Directory;
use crate::progress::Progress;
use crate::stages::fetch::fetch_packages;
use crate::stages::initrd::Source;
use crate::stages::unpack::{self, DebFile, Part};
use crate::workshop::Workshop;

/// What the packages of a kernel's files are called; those that it depends on are not needed here.
const PARTS: [&str; 3] = ["linux-binary-", "linux-image-", "linux-modules-"];

/// Where the directory of the packages is, as depmod sees it.
const INSIDE: &str = "/kernel";

/// How long depmod may take.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// A kernel with its modules, and what boots it.
pub(super) struct Kernel {
    pub(super) tree: FileTree,
    pub(super) contents: Contents,
}

/// Why there is no kernel for a shadow boot.
#[derive(Debug, thiserror::Error)]
pub enum ShadowKernelError {
    /// The modules could not be indexed.
    #[error("indexing the modules of kernel `{kernel}` failed: {said}")]
    Modules {
        /// Its release.
        kernel: String,
        /// What depmod says.
        said: String,
    },
    /// The packages bring no kernel.
    #[error("the packages for a shadow boot bring no kernel below /usr/lib/modules")]
    None,
}

impl Classify for ShadowKernelError {
    fn class(&self) -> Class {
        Class::Content
    }
}

/// Unpacks the kernel and its boot loader from a lock.
pub(super) fn unpack(
    shadow: &Target,
    lock: &Lock,
    scratch: &Path,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Kernel, Failure> {
    let wanted = |package: &&LockedPackage| {
        PARTS.iter().any(|part| package.name.starts_with(part))
            || shadow.packages.iter().any(|name| name.as_str() == package.name)
    };
    let wanted: Vec<LockedPackage> = lock.packages.iter().filter(wanted).cloned().collect();
    let mirrors = workshop.mirrors()?;
    let fetched = fetch_packages(&wanted, workshop.sources(&mirrors, progress))?;
    workshop.interrupt().check()?;
    let deb = |(locked, path)| DebFile { locked, path, depends: None };
    let packages: Vec<DebFile> = fetched.into_iter().map(deb).collect();
    let root = scratch.join("kernel");
    unpack::unpack(&packages, Part::WHOLE, &[], &scratch.join("blobs"), &root, progress)?;
    let directory = Directory::open(&root).map_err(FileError::io("reading", &root))?;
    let modules = directory.names("usr/lib/modules").map_err(FileError::io("reading", &root))?;
    let release = modules.first().and_then(|name| name.to_str()).ok_or(ShadowKernelError::None)?;
    index(release, &root, workshop, progress)?;
    let tree = directory.walk(&|_, _| Owner::Stage(super::STAGE.into()))?;
    Ok(Kernel { tree, contents: Contents::new(directory) })
}

/// Indexes the modules, as a kernel's maintainer script would: by the toolbox, whatever the architecture.
fn index(release: &str, root: &Path, workshop: &Workshop, progress: &dyn Progress) -> Result<(), Failure> {
    let toolbox = workshop.toolbox(progress)?;
    let sandbox = toolbox.sandbox().bind_writable(root, INSIDE);
    let command =
        toolbox.command_in("depmod", sandbox)?.args(["--basedir", INSIDE, release]).timeout(TIME_LIMIT);
    let output = workshop.runner().run(&command)?;
    if output.exit == Exit::Code(0) {
        return Ok(());
    }
    let said = last_lines(&output.stderr, 8);
    Err(ShadowKernelError::Modules { kernel: release.to_owned(), said }.into())
}

impl Kernel {
    /// As the initrd takes it.
    pub(super) fn source(&self, shadow: &Target) -> Source<'_> {
        Source { tree: &self.tree, content: &self.contents, arch: shadow.arch }
    }
}
