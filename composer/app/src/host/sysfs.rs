//! What the kernel of a running machine says of its hardware, below `/sys` and `/proc`.
//!
//! Reads only; what cannot be read is left out, as a machine without PCI has no such folder. Source:
//! the kernel's `Documentation/ABI/testing/sysfs-bus-pci`, `sysfs-bus-usb`, `sysfs-firmware-ofw`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use goni_model::arch::Arch;

use crate::draft::{Device, Identity, Machine};

/// Drivers of what connects devices, and is no device anybody expects.
const CONNECTING: [&str; 4] = ["pcieport", "shpchp", "hub", "usb"];

/// How many block devices may lie upon one another.
const STACKED: usize = 8;

/// Looks at the machine whose root directory this is: `/`, or a copy of its `/sys` and `/proc`.
///
/// # Errors
/// It has no `/sys`.
pub fn look(root: &Path) -> io::Result<Machine> {
    let sys = root.join("sys");
    std::fs::read_dir(&sys)?;
    let beneath_root = root_devices(root);
    let mut devices: Vec<Device> = ["pci", "usb", "platform"]
        .iter()
        .flat_map(|bus| children(&sys.join("bus").join(bus).join("devices")))
        .filter_map(|path| device(&path, &beneath_root))
        .filter(|device| !device.driver.as_deref().is_some_and(|driver| CONNECTING.contains(&driver)))
        .collect();
    devices.sort();
    devices.dedup();
    let dmi = |name: &str| line(&sys.join("class/dmi/id").join(name));
    let tree = line(&root.join("proc/device-tree/model"));
    let model = tree.or_else(|| {
        let words: Vec<String> = [dmi("sys_vendor"), dmi("product_name")].into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join(" "))
    });
    let modules = std::fs::read_to_string(root.join("proc/modules")).unwrap_or_default();
    let mut modules: Vec<String> =
        modules.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    modules.sort();
    Ok(Machine {
        arch: if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::Amd64 },
        model,
        // The last one is where the kernel's own words go, and may be a screen: tty0.
        console: line(&sys.join("class/tty/console/active"))
            .and_then(|names| names.split(' ').rfind(|name| !is_screen(name)).map(str::to_owned)),
        devices,
        modules,
    })
}

/// A console that is a screen: tty0, tty1.
fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What a folder of a device says; `None` if nothing by which a driver could be found for it.
fn device(path: &Path, beneath_root: &BTreeSet<PathBuf>) -> Option<Device> {
    let place = path.canonicalize().ok()?;
    let alias = line(&path.join("modalias"))?;
    let identity = match alias.strip_prefix("of:") {
        Some(_) => {
            let compatible = std::fs::read(path.join("of_node/compatible")).ok()?;
            let first = compatible.split(|byte| *byte == 0).next().unwrap_or_default();
            Identity::Compatible(printable(&String::from_utf8_lossy(first))?)
        }
        None if alias.starts_with("pci:") || alias.starts_with("usb:") => Identity::Modalias(alias),
        // Of the board's firmware, not of a device: acpi:, platform:.
        None => return None,
    };
    let driver = path.join("driver");
    let name = |link: PathBuf| Some(link.file_name()?.to_str()?.to_owned());
    Some(Device {
        identity,
        driver: std::fs::read_link(&driver).ok().and_then(name),
        module: std::fs::read_link(driver.join("module")).ok().and_then(name),
        root: beneath_root.iter().any(|block| block.starts_with(&place)),
    })
}

/// The block devices that the root file system is on, by their places below `/sys/devices`.
fn root_devices(root: &Path) -> BTreeSet<PathBuf> {
    let mounts = std::fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    // Field 3 is the device, field 5 the mount point. Source: proc_pid_mountinfo(5).
    let number = mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let number = fields.next()?;
        (fields.nth(1)? == "/").then(|| number.to_owned())
    });
    let mut found = BTreeSet::new();
    let Some(number) = number else { return found };
    let mut next: Vec<PathBuf> = root.join("sys/dev/block").join(number).canonicalize().into_iter().collect();
    for _ in 0..STACKED {
        // A mapped device lies upon others.
        next = next
            .into_iter()
            .filter(|place| found.insert(place.clone()))
            .flat_map(|place| children(&place.join("slaves")))
            .filter_map(|slave| slave.canonicalize().ok())
            .collect();
    }
    found
}

/// What is in a folder, sorted; nothing if there is none.
fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The first line of a small file.
fn line(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    printable(text.lines().next().unwrap_or_default().trim_end_matches('\0'))
}

/// A text that a file can hold between quotes; `None` if it is empty.
fn printable(text: &str) -> Option<String> {
    let good = |c: &char| (c.is_ascii_graphic() || *c == ' ') && !"\"\\".contains(*c);
    let text: String = text.chars().filter(good).take(200).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
