//! Programs of another architecture: an emulator, registered with the kernel for one sandbox alone.
//!
//! Since Linux 6.7 every user namespace can have a `binfmt_misc` of its own. A sandbox with an emulator
//! therefore always has a user namespace of its own, root's too: what is registered in it nobody else
//! sees, the host's registrations stay as they are, and all of it ends with the sandbox. The kernel
//! opens the emulator when it is registered, so it need not be anywhere in the tree.
//!
//! Source: Documentation/admin-guide/binfmt-misc.rst of Linux; ELF header, System V ABI.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use goni_model::arch::Arch;
use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};

use super::{SetupError, Step};

/// Where the kernel shows what is registered.
const REGISTRY: &str = "/proc/sys/fs/binfmt_misc";
/// Where the emulator is while it is registered: in memory, gone with the sandbox.
pub(super) const PLACE: &str = "/run/emulator";

/// A program that runs those of another architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// The program, a file of the host. It is alone inside, so it must be linked statically.
    pub program: PathBuf,
    /// The architecture of what it runs.
    pub arch: Arch,
}

/// The registry of this user namespace, open for one registration.
pub(super) struct Registry(File);

impl Registry {
    /// Mounts the registry and takes hold of it; to be done before `/proc/sys` is guarded, which also
    /// hides the mount from the command.
    pub(super) fn open() -> Result<Self, SetupError> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("binfmt_misc", REGISTRY, "binfmt_misc", flags, None)
            .step(|| "mounting binfmt_misc in a user namespace".into())?;
        let register = Path::new(REGISTRY).join("register");
        let file =
            File::options().write(true).open(&register).step(|| format!("opening {}", register.display()))?;
        Ok(Self(file))
    }

    /// Registers the emulator, which has to be at [`PLACE`] by now.
    pub(super) fn register(mut self, arch: Arch) -> Result<(), SetupError> {
        self.0.write_all(line(arch).as_bytes()).step(|| format!("registering the emulator of {arch}"))
    }
}

/// What to enable where the registry cannot be mounted.
pub(super) fn how_to_allow() -> String {
    "programs of another architecture need Linux 6.7 or later with CONFIG_BINFMT_MISC, where a user namespace \
     can have a binfmt_misc of its own: load the module (as root: modprobe binfmt_misc), or build on a machine \
     of the image's architecture"
        .into()
}

/// The line that registers an emulator for the ELF programs of an architecture: 64-bit, little-endian,
/// of any ABI, executable or position-independent.
///
/// `P` leaves the command its name, `O` hands it over opened, `C` gives it the command's credentials,
/// `F` opens the emulator now.
fn line(arch: Arch) -> String {
    let [low, high] = arch.elf_machine().to_le_bytes();
    let magic = format!(r"\x7fELF\x02\x01\x01{}\x02\x00\x{low:02x}\x{high:02x}", r"\x00".repeat(9));
    let mask = format!(r"{}\x00{}\xfe\xff\xff\xff", r"\xff".repeat(7), r"\xff".repeat(8));
    format!(":{arch}:M::{magic}:{mask}:{PLACE}:POCF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_registered_for_the_elf_files_of_its_architecture() {
        assert_eq!(
            line(Arch::Arm64),
            r":arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/run/emulator:POCF"
        );
        assert!(line(Arch::Amd64).contains(r"\x02\x00\x3e\x00:"), "{}", line(Arch::Amd64));
    }
}
