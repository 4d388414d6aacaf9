//! UEFI firmware, a loader of the board's vendor that reads `extlinux.conf`, kernel and initrd beside it.
//!
//! The loader, on the removable path of the EFI system partition, is a file of the image: NVIDIA's
//! L4TLauncher. It looks for a partition named `APP` on its own disk and reads ext4 with the driver of
//! EDK II, which refuses what is newer than metadata checksums. That is why root, which is EROFS, is not
//! where the kernel is. Only keys that the launcher has are written: a label, LINUX, INITRD, FDT, APPEND;
//! every path is absolute, and there are fewer entries than the ten it takes.
//!
//! Left out: `${cbootargs}`, by which firmware adds words of its own to the command line; A/B.
//!
//! Source: L4TLauncher of edk2-nvidia; the syntax is Syslinux's, doc/menu.txt.

use goni_model::layout::Role;
use goni_model::recipe::Recipe;
use goni_model::size::ByteCount;
use goni_model::target::Target;

use super::device_trees;
use super::method::{BootPartition, Method, Order, Taken, tree};
use super::{BootError, Kernel};
use crate::stages::initrd::{Stock, path};

/// Where the loader looks.
const CONFIG: &str = "boot/extlinux/extlinux.conf";

/// Where device trees are, beside the kernel.
const TREES: &str = "boot/dtb";

/// How long the menu waits, in tenths of a second.
const TIMEOUT: u32 = 30;

/// Room for kernel, initrd and device tree of two versions: of each part, 64 MiB are the most that is taken.
const SIZE: ByteCount = ByteCount::from_mib(512);

/// What is taken of the root, beside device trees.
const LOADER: &str = "loader";

/// The method.
pub(super) struct Extlinux;

impl Method for Extlinux {
    fn partitions(&self, recipe: &Recipe) -> Vec<(Role, ByteCount)> {
        vec![(Role::Esp, recipe.esp.size), (Role::App, SIZE)]
    }

    fn kernel(&self, _: &Recipe, release: &str) -> String {
        format!("boot/vmlinuz-{release}")
    }

    fn take(&self, stock: &Stock<'_>, target: &Target, release: &str) -> Result<Taken, BootError> {
        let mut taken = device_trees::take(&stock.kernel, target, release)?;
        if let Some(loader) = &target.loader {
            let bytes = stock.root.read_path(&path(loader.as_str().trim_start_matches('/')));
            let missing = |error| BootError::Loader { path: loader.to_string(), error };
            taken.insert(LOADER.to_owned(), bytes.map_err(missing)?);
        }
        Ok(taken)
    }

    fn fill(&self, order: &Order<'_>) -> Result<Vec<BootPartition>, BootError> {
        let Kernel { release, image, initrd, .. } = order.kernel;
        let efi = order.target.arch.efi().to_ascii_uppercase();
        let loader = order.kernel.taken(LOADER).to_vec();
        let esp = tree([(format!("EFI/BOOT/BOOT{efi}.EFI"), loader)], order.date)?;
        let linux = self.kernel(order.recipe, release);
        let initrd_place = format!("boot/initrd-{release}");
        let trees: Vec<(String, Vec<u8>)> = device_trees::names(order.target)
            .map(|(tree, file)| (format!("{TREES}/{file}"), order.kernel.taken(tree).to_vec()))
            .collect();
        let mut config = format!(
            "# Written by goni-compose: the image is built anew, this file is not edited.\n\
             TIMEOUT {TIMEOUT}\nDEFAULT {}\nMENU TITLE {} {}\n",
            order.profiles[0].0.id, order.recipe.name, order.recipe.version
        );
        for (label, line) in order.profiles {
            let title = label.title.as_deref().unwrap_or(order.recipe.name.as_str());
            config.push_str(&format!("\nLABEL {}\n  MENU LABEL {title}\n  LINUX /{linux}\n", label.id));
            config.push_str(&format!("  INITRD /{initrd_place}\n"));
            // A target of this method has one at most.
            trees.iter().for_each(|(place, _)| config.push_str(&format!("  FDT /{place}\n")));
            config.push_str(&format!("  APPEND {line}\n"));
        }
        let files = [
            (CONFIG.to_owned(), config.into_bytes()),
            (linux, image.clone()),
            (initrd_place, initrd.clone()),
        ];
        Ok(vec![(Role::Esp, esp), (Role::App, tree(files.into_iter().chain(trees), order.date)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::boot::sample::{self, TREE, filled, paths, text};
    use crate::stages::initrd::InitrdError;

    const LAUNCHER: (&str, &[u8]) = ("opt/acme/launcher.efi", b"a launcher");

    fn board() -> Target {
        sample::board(
            "boot = \"extlinux\"\nloader = \"/opt/acme/launcher.efi\"\ndevice-trees = [\"acme/desk.dtb\"]\n",
        )
    }

    fn take(files: &[(&str, &[u8])]) -> Result<Taken, BootError> {
        sample::taken(&Extlinux, files, &board())
    }

    #[test]
    fn a_loader_is_told_where_everything_is() {
        let files = [LAUNCHER, ("usr/lib/linux-image-6.8/acme/desk.dtb", TREE)];
        let filled = filled(&Extlinux, &files, &board(), b"kernel".to_vec()).unwrap();
        let [(Role::Esp, esp), (Role::App, app)] = &filled[..] else { panic!() };
        assert_eq!(paths(esp), ["/", "/EFI", "/EFI/BOOT", "/EFI/BOOT/BOOTAA64.EFI"]);
        assert_eq!(
            paths(app),
            [
                "/",
                "/boot",
                "/boot/dtb",
                "/boot/dtb/desk.dtb",
                "/boot/extlinux",
                "/boot/extlinux/extlinux.conf",
                "/boot/initrd-6.8",
                "/boot/vmlinuz-6.8"
            ]
        );
        let expected = "\
# Written by goni-compose: the image is built anew, this file is not edited.
TIMEOUT 30
DEFAULT main
MENU TITLE node 1.2

LABEL main
  MENU LABEL node
  LINUX /boot/vmlinuz-6.8
  INITRD /boot/initrd-6.8
  FDT /boot/dtb/desk.dtb
  APPEND roothash=00 ro

LABEL factory-reset
  MENU LABEL Factory reset: erases all data of this node
  LINUX /boot/vmlinuz-6.8
  INITRD /boot/initrd-6.8
  FDT /boot/dtb/desk.dtb
  APPEND roothash=00 ro goni.factory-reset
";
        assert_eq!(text(app, CONFIG), expected);
    }

    #[test]
    fn device_trees_are_found_wherever_packages_have_them_and_named_where_not() {
        for folder in ["usr/lib/linux-image-6.8", "usr/lib/modules/6.8/dtb", "boot/dtb"] {
            let taken = take(&[LAUNCHER, (&format!("{folder}/acme/desk.dtb"), TREE)]).unwrap();
            assert_eq!(taken["acme/desk.dtb"], TREE, "{folder}");
        }
        let missing = take(&[LAUNCHER]).unwrap_err().to_string();
        assert_eq!(
            missing,
            "the target's `device-trees` name `acme/desk.dtb`, which kernel 6.8 does not have"
        );
        let other = take(&[LAUNCHER, ("boot/dtb/acme/desk.dtb", b"text")]).unwrap_err();
        assert_eq!(other.to_string(), "`acme/desk.dtb` of the target's `device-trees` is no device tree");
        let error = take(&[("boot/dtb/acme/desk.dtb", TREE)]).unwrap_err();
        assert_eq!(error.to_string(), "the target's `loader` is `/opt/acme/launcher.efi`");
        assert!(matches!(error, BootError::Loader { error: InitrdError::Missing { .. }, .. }));
    }
}
