//! The Raspberry Pi's own firmware, which reads `config.txt` of a FAT partition and finds there what it names.
//!
//! There is no menu. The second way to boot is a command line of its own, `factory-reset.txt`, which somebody must
//! write into `config.txt` for one start. The firmware puts words of its own before the command line, and fills in
//! the device tree what only it knows: memory, serial number, addresses of the network.
//!
//! The partition is the EFI system partition, for the Pi 4's and later firmware takes that type; the MBR names it
//! as FAT32 for boot ROMs that read no GPT. Overlays of device trees are `dtoverlay=`, where those of the kernel
//! are. Left out: A/B by `autoboot.txt` and `tryboot.txt`; signed boot by `boot.img`.
//!
//! Source: Raspberry Pi documentation, "The config.txt file" and "The boot folder"; rpi-eeprom issues 126 and 130.

use std::borrow::Cow;

use goni_disk::zboot;
use goni_model::layout::Role;
use goni_model::recipe::Recipe;
use goni_model::size::ByteCount;
use goni_model::target::Target;

use super::device_trees;
use super::method::{BootPartition, Method, Order, Taken, tree};
use super::{BootError, Kernel};
use crate::stages::initrd::{Stock, path};

/// What the firmware reads first.
const CONFIG: &str = "config.txt";

/// The command line, and that of the other way to boot.
const LINES: [&str; 2] = ["cmdline.txt", "factory-reset.txt"];

/// Where the firmware looks for overlays.
const OVERLAYS: &str = "overlays";

/// The method.
pub(super) struct RaspberryPi;

impl Method for RaspberryPi {
    fn partitions(&self, recipe: &Recipe) -> Vec<(Role, ByteCount)> {
        vec![(Role::Esp, recipe.esp.size)]
    }

    fn kernel(&self, _: &Recipe, release: &str) -> String {
        format!("vmlinuz-{release}")
    }

    fn in_mbr(&self) -> Option<Role> {
        Some(Role::Esp)
    }

    fn take(&self, stock: &Stock<'_>, target: &Target, release: &str) -> Result<Taken, BootError> {
        let mut taken = device_trees::take(&stock.kernel, target, release)?;
        for file in &target.firmware_files {
            let bytes = stock.root.read_path(&path(file.as_str().trim_start_matches('/')));
            let missing = |error| BootError::FirmwareFile { path: file.to_string(), error };
            taken.insert(file.to_string(), bytes.map_err(missing)?);
        }
        Ok(taken)
    }

    fn fill(&self, order: &Order<'_>) -> Result<Vec<BootPartition>, BootError> {
        let Order { kernel, target, .. } = order;
        let Kernel { release, image, initrd, .. } = kernel;
        let linux = self.kernel(order.recipe, release);
        let initrd_place = format!("initrd-{release}");
        let (overlays, trees): (Vec<_>, Vec<_>) =
            device_trees::names(target).partition(|(_, file)| file.ends_with(".dtbo"));
        let config = config(&linux, &initrd_place, &trees, &overlays, target);
        let loadable = zboot::loadable(image).map(Cow::into_owned)?;
        let mut files =
            vec![(CONFIG.to_owned(), config.into_bytes()), (linux, loadable), (initrd_place, initrd.clone())];
        let lines = std::iter::zip(LINES, order.profiles);
        files.extend(lines.map(|(place, (_, line))| (place.to_owned(), format!("{line}\n").into_bytes())));
        let laid =
            |folder: &str, name: &str, file: &str| (format!("{folder}{file}"), kernel.taken(name).to_vec());
        files.extend(trees.iter().map(|(name, file)| laid("", name, file)));
        files.extend(overlays.iter().map(|(name, file)| laid(&format!("{OVERLAYS}/"), name, file)));
        for name in target.firmware_files.iter().map(|file| file.as_str()) {
            files.push(laid("", name, name.rsplit('/').next().unwrap_or(name)));
        }
        Ok(vec![(Role::Esp, tree(files, order.date)?)])
    }
}

/// What the firmware is told: every name, for each has a default that depends on the board.
fn config(
    linux: &str,
    initrd: &str,
    trees: &[(&str, &str)],
    overlays: &[(&str, &str)],
    target: &Target,
) -> String {
    let [line, reset] = LINES;
    let mut config = format!(
        "# Written by goni-compose: the image is built anew, this file is not edited.\n\
         # A factory reset, which erases all data of this node: cmdline={reset}, for one start.\n\
         [all]\narm_64bit=1\nkernel={linux}\ninitramfs {initrd} followkernel\ncmdline={line}\n"
    );
    // Of several, the firmware takes that of the board it runs on.
    if let [(_, file)] = trees {
        config.push_str(&format!("device_tree={file}\n"));
    }
    for (_, file) in overlays {
        config.push_str(&format!("dtoverlay={}\n", file.trim_end_matches(".dtbo")));
    }
    for setting in &target.firmware_config {
        config.push_str(&format!("{setting}\n"));
    }
    config
}

#[cfg(test)]
mod tests {
    use goni_disk::tree::{FileTree, TreePath};

    use super::*;
    use crate::stages::boot::sample::{self, TREE, paths, text};

    fn board(more: &str) -> Target {
        sample::board(&format!("boot = \"raspberrypi\"\n{more}"))
    }

    fn image() -> Vec<u8> {
        let mut image = vec![0; 64];
        image[56..60].copy_from_slice(b"ARM\x64");
        image
    }

    /// What is on the partition.
    fn filled(files: &[(&str, &[u8])], target: &Target, image: Vec<u8>) -> Result<FileTree, BootError> {
        let mut filled = sample::filled(&RaspberryPi, files, target, image)?;
        let (Some((Role::Esp, tree)), None) = (filled.pop(), filled.pop()) else { panic!() };
        Ok(tree)
    }

    #[test]
    fn the_firmware_is_told_every_name() {
        let target = board("device-trees = [\"broadcom/bcm2712-rpi-5-b.dtb\"]\n");
        let files = [("usr/lib/modules/6.8/dtb/broadcom/bcm2712-rpi-5-b.dtb", TREE)];
        let tree = filled(&files, &target, image()).unwrap();
        assert_eq!(
            paths(&tree),
            [
                "/",
                "/bcm2712-rpi-5-b.dtb",
                "/cmdline.txt",
                "/config.txt",
                "/factory-reset.txt",
                "/initrd-6.8",
                "/vmlinuz-6.8"
            ]
        );
        let expected = "\
# Written by goni-compose: the image is built anew, this file is not edited.
# A factory reset, which erases all data of this node: cmdline=factory-reset.txt, for one start.
[all]
arm_64bit=1
kernel=vmlinuz-6.8
initramfs initrd-6.8 followkernel
cmdline=cmdline.txt
device_tree=bcm2712-rpi-5-b.dtb
";
        assert_eq!(text(&tree, "config.txt"), expected);
        assert_eq!(text(&tree, "cmdline.txt"), "roothash=00 ro\n");
        assert_eq!(text(&tree, "factory-reset.txt"), "roothash=00 ro goni.factory-reset\n");
    }

    #[test]
    fn what_a_target_adds_is_laid_and_told() {
        let target = board(
            "device-trees = [\"broadcom/one.dtb\", \"broadcom/two.dtb\", \"overlays/fan.dtbo\"]\n\
             firmware = { files = [\"/usr/lib/raspi-firmware/start4.elf\"], config = [\"dtparam=fan\"] }\n",
        );
        let files: [(&str, &[u8]); 4] = [
            ("usr/lib/linux-image-6.8/broadcom/one.dtb", TREE),
            ("usr/lib/linux-image-6.8/broadcom/two.dtb", TREE),
            ("usr/lib/linux-image-6.8/overlays/fan.dtbo", TREE),
            ("usr/lib/raspi-firmware/start4.elf", b"firmware"),
        ];
        let tree = filled(&files, &target, image()).unwrap();
        let config = text(&tree, "config.txt");
        assert!(config.ends_with("cmdline=cmdline.txt\ndtoverlay=fan\ndtparam=fan\n"), "{config}");
        assert_eq!(text(&tree, "start4.elf"), "firmware");
        for place in ["one.dtb", "two.dtb", "overlays/fan.dtbo"] {
            assert!(tree.get(&TreePath::parse(place.as_bytes()).unwrap()).is_some(), "{place}");
        }
        let missing = filled(&files[..3], &target, image()).unwrap_err().to_string();
        assert_eq!(missing, "the target's `firmware.files` name `/usr/lib/raspi-firmware/start4.elf`");
    }

    #[test]
    fn a_kernel_that_the_firmware_cannot_load_is_refused() {
        let target = board("device-trees = [\"broadcom/one.dtb\"]\n");
        let files = [("usr/lib/linux-image-6.8/broadcom/one.dtb", TREE)];
        let error = filled(&files, &target, b"MZ".to_vec()).unwrap_err();
        assert!(matches!(error, BootError::Kernel(zboot::KernelError::NotArm64)), "{error:?}");
    }
}
