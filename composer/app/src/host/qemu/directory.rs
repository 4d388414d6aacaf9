//! The directory of a run: the devices' disks, the firmware's variables, sockets, strings, captures.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goni_model::size::ByteCount;

use crate::host::command::{CommandSpec, Run as _, System};
use crate::host::files::{self, FileError};
use crate::host::qemu::{INSIDE, QemuError, tpm};
use crate::host::toolbox::Toolbox;
use crate::smoke::machine::{Tpm, WhichTpm};

/// Where the image is, as the machine sees it.
const IMAGE: &str = "/image.raw";
/// The variables, in the run's directory.
const VARIABLES: &str = "variables.fd";
/// How long a tool may take with a disk. None needs more than seconds on an idle host.
pub(super) const TOOL_LIMIT: Duration = Duration::from_secs(300);

/// The directory of a run. Gone with this value.
///
/// A run has one device at a time, beginning with the first: an overlay of an image, and variables of
/// its firmware. The overlays of earlier devices stay for those who look at them afterwards.
#[derive(Debug)]
pub struct RunDirectory {
    directory: tempfile::TempDir,
    original_variables: PathBuf,
    /// The images of the devices, in order; never empty.
    images: Vec<PathBuf>,
}

impl RunDirectory {
    /// A new one below `<cache>/machines`, with an overlay over `image` and a copy of `variables`.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn prepare(
        cache: &Path,
        image: &Path,
        variables: &Path,
        toolbox: &Toolbox,
        system: &System,
    ) -> Result<Self, QemuError> {
        let all = cache.join("machines");
        files::create_directories(&all)?;
        let directory = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&all)
            .map_err(FileError::io("creating a directory in", &all))?;
        let relative = variables.strip_prefix("/").unwrap_or(variables);
        let original_variables = toolbox.root().join(relative);
        let mut this = Self { directory, original_variables, images: Vec::new() };
        this.renew(image, toolbox, system)?;
        Ok(this)
    }

    /// Another device: a new overlay, of this image, new variables, and a TPM that knows nothing.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn renew(&mut self, image: &Path, toolbox: &Toolbox, system: &System) -> Result<(), QemuError> {
        let image = image.canonicalize().map_err(FileError::io("opening", image))?;
        let original = files::read_capped(&self.original_variables, 64 << 20)?;
        self.write(VARIABLES, &original)?;
        let tpm = self.directory.path().join(tpm::DIRECTORY);
        if tpm.exists() {
            files::remove_tree(&tpm)?;
        }
        self.images.push(image);
        let create = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", IMAGE];
        self.qemu_img(&create, &[&self.disk()], toolbox, system)
    }

    /// Makes the disk so large, if it is smaller; it never shrinks.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn grow(&self, size: ByteCount, toolbox: &Toolbox, system: &System) -> Result<(), QemuError> {
        let arguments = ["resize", "-q", "-f", "qcow2"];
        self.qemu_img(&arguments, &[&self.disk(), Path::new(&size.get().to_string())], toolbox, system)
    }

    /// Keeps the directory, and says where its overlay is. The overlay names its image as `/image.raw`.
    pub fn keep(self) -> PathBuf {
        let disk = self.disk();
        let name = disk.strip_prefix(INSIDE).unwrap_or(&disk).to_owned();
        self.directory.keep().join(name)
    }

    /// The number of the present device, from 0.
    #[must_use]
    pub const fn device(&self) -> usize {
        self.images.len().saturating_sub(1)
    }

    /// The overlay of the present device, as the machine sees it.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        Self::disk_of(self.device())
    }

    /// The overlay of a device, as the machine sees it.
    pub(super) fn disk_of(device: usize) -> PathBuf {
        Path::new(INSIDE).join(format!("disk-{device}.qcow2"))
    }

    /// The image of a device; the last one's if there is none of that number.
    pub(super) fn image(&self, device: usize) -> &Path {
        let last = self.images.last().expect("a run begins with a device");
        self.images.get(device).unwrap_or(last)
    }

    /// The variables, as the machine sees them.
    #[must_use]
    pub fn variables() -> PathBuf {
        Path::new(INSIDE).join(VARIABLES)
    }

    /// A TPM of this run.
    #[must_use]
    pub fn tpm(which: WhichTpm) -> Tpm {
        Tpm { which, socket: Path::new(INSIDE).join(tpm::DIRECTORY).join("socket") }
    }

    /// Where a file of the run is for us, which the machine sees at this path.
    #[must_use]
    pub fn outside(&self, inside: &Path) -> PathBuf {
        self.directory.path().join(inside.strip_prefix(INSIDE).unwrap_or(inside))
    }

    /// Writes a file for the machine and says how it sees it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, QemuError> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, bytes).map_err(FileError::io("writing", &path))?;
        Ok(Path::new(INSIDE).join(name))
    }

    /// A program of the toolbox that sees the run and, read-only, the image of the present device.
    ///
    /// # Errors
    /// The toolbox does not have it.
    pub fn command(&self, toolbox: &Toolbox, program: &str) -> Result<CommandSpec, QemuError> {
        self.command_of(self.device(), toolbox, program)
    }

    /// A program of the toolbox that sees the run and, read-only, the image of a device.
    pub(super) fn command_of(
        &self,
        device: usize,
        toolbox: &Toolbox,
        program: &str,
    ) -> Result<CommandSpec, QemuError> {
        let sandbox = toolbox.sandbox().bind_writable(self.directory.path(), INSIDE);
        let sandbox = sandbox.bind(self.image(device), IMAGE);
        Ok(toolbox.command_in(program, sandbox)?)
    }

    fn qemu_img(
        &self,
        arguments: &[&str],
        paths: &[&Path],
        toolbox: &Toolbox,
        system: &System,
    ) -> Result<(), QemuError> {
        let command = self.command(toolbox, "qemu-img")?.args(arguments).args(paths).timeout(TOOL_LIMIT);
        system.run(&command)?.success(&command)?;
        Ok(())
    }

    /// A socket that the machine finds in the run's directory.
    pub(super) fn listen(&self, name: &str) -> Result<UnixListener, QemuError> {
        // Through the directory's descriptor: the path of a socket may have 107 bytes at most.
        let path = self.directory.path();
        let directory = File::open(path).map_err(FileError::io("opening", path))?;
        // An earlier machine of the same run left its socket; that there is none is as good.
        drop(std::fs::remove_file(path.join(name)));
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
            .map_err(QemuError::Socket)?;
        listener.set_nonblocking(true).map_err(QemuError::Socket)?;
        Ok(listener)
    }
}
