//! UEFI firmware, systemd-boot, a unified kernel image.
//!
//! systemd-boot from the image's own packages sits on the removable path, so that no firmware
//! variable is needed. The kernel image's name carries no boot counter: counting renames, a name on a FAT
//! file system does not change in one write, and the power may fail between two. A device tree is the
//! firmware's to give. Source: UAPI.1 Boot Loader Specification, UAPI.5 Unified Kernel Image,
//! systemd-boot(7).

use goni_disk::uki::{self, NewProfile, NewSection};
use goni_model::layout::Role;
use goni_model::recipe::Recipe;
use goni_model::size::ByteCount;
use goni_model::target::Target;

use super::BootError;
use super::method::{BootPartition, Method, Order, Taken, tree};
use crate::stages::initrd::{Source, Stock, path};

/// systemd-boot's settings: no menu unless a key is held, no editor that could change the command line.
const LOADER: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\nbeep no\n";

/// What is taken of the root.
const OS_RELEASE: &str = "os-release";
const STUB: &str = "stub";
const BOOT_LOADER: &str = "loader";

/// The method.
pub(super) struct SystemdBoot;

impl Method for SystemdBoot {
    fn partitions(&self, recipe: &Recipe) -> Vec<(Role, ByteCount)> {
        vec![(Role::Esp, recipe.esp.size)]
    }

    /// Without `+3` in the name, which would have systemd-boot count its tries: while it is the only one
    /// there is nothing to turn to, and a power cut while systemd-bless-boot renames it leaves none. Linux
    /// writes the new name first as that of an empty file (`vfat_rename`), and only then what is in it.
    fn kernel(&self, recipe: &Recipe, _: &str) -> String {
        format!("EFI/Linux/goni_{}.efi", recipe.version.as_str())
    }

    fn take(&self, stock: &Stock<'_>, _: &Target, _: &str) -> Result<Taken, BootError> {
        let Stock { root, kernel, .. } = stock;
        let efi = root.arch.efi();
        let files = [
            (root, OS_RELEASE, "usr/lib/os-release".to_owned()),
            (kernel, STUB, format!("usr/lib/systemd/boot/efi/linux{efi}.efi.stub")),
            (kernel, BOOT_LOADER, format!("usr/lib/systemd/boot/efi/systemd-boot{efi}.efi")),
        ];
        let take = |(source, name, place): (&Source<'_>, &str, String)| {
            Ok((name.to_owned(), source.read_path(&path(&place))?))
        };
        files.into_iter().map(take).collect()
    }

    fn fill(&self, order: &Order<'_>) -> Result<Vec<BootPartition>, BootError> {
        let kernel = order.kernel;
        let [(main, line), (reset, reset_line)] = order.profiles;
        let os_release = kernel.taken(OS_RELEASE);
        let sections = vec![
            NewSection::bytes(".osrel", os_release),
            NewSection::bytes(".cmdline", line.as_bytes()),
            NewSection::bytes(".uname", kernel.release.as_bytes()),
            NewSection::bytes(".initrd", &kernel.initrd),
            NewSection::bytes(".linux", &kernel.image),
        ];
        let reset_system = sorted_last(os_release, &reset.id)?;
        let reset_sections = vec![
            NewSection::bytes(".osrel", &reset_system),
            NewSection::bytes(".cmdline", reset_line.as_bytes()),
        ];
        let profiles = vec![
            NewProfile { label: main.clone(), sections: Vec::new() },
            NewProfile { label: reset.clone(), sections: reset_sections },
        ];
        let mut image = Vec::new();
        uki::write(kernel.taken(STUB), sections, profiles, &mut image)?;
        let efi = order.target.arch.efi().to_ascii_uppercase();
        let files = [
            (format!("EFI/BOOT/BOOT{efi}.EFI"), kernel.taken(BOOT_LOADER).to_vec()),
            (self.kernel(order.recipe, &kernel.release), image),
            ("loader/loader.conf".to_owned(), LOADER.into()),
        ];
        Ok(vec![(Role::Esp, tree(files, order.date)?)])
    }
}

/// The os-release of a profile that must never be the default.
///
/// systemd-boot boots the first of its list. It sorts by what os-release calls the system and only then
/// by name, and 257 gets the names wrong: while a file counts its tries, a later profile sorts before
/// the first. A longer word for the system, with the same beginning, sorts behind in every version.
/// Source: systemd-boot(7), `boot_entry_compare` in systemd's boot.c.
fn sorted_last(os_release: &[u8], id: &str) -> Result<Vec<u8>, BootError> {
    let text = String::from_utf8_lossy(os_release);
    let value = |key: &str| {
        let mut values = text.lines().rev().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values
            .next()
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
            .filter(|value| !value.is_empty())
    };
    let system = value("IMAGE_ID").or_else(|| value("ID")).ok_or(BootError::Nameless)?;
    Ok(format!("{}\nIMAGE_ID={system}-{id}\n", text.trim_end()).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_no_default_sorts_behind_the_system() {
        for (os_release, sorted) in [
            ("NAME=x\nID=debian\n", Some("NAME=x\nID=debian\nIMAGE_ID=debian-reset\n")),
            ("ID=\"debian\"\nIMAGE_ID='goni'", Some("ID=\"debian\"\nIMAGE_ID='goni'\nIMAGE_ID=goni-reset\n")),
            ("VERSION_ID=13\nID=\n", None),
        ] {
            let made = sorted_last(os_release.as_bytes(), "reset").ok();
            assert_eq!(made.as_deref(), sorted.map(str::as_bytes), "{os_release}");
        }
    }
}
