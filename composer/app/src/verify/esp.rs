//! The EFI system partition: the loader on the removable path, what it boots, and nothing else.
//!
//! systemd-boot and systemd-stub take entries, credentials, add-ons and seeds from further files, each of
//! which could change what boots. A loader that reads `extlinux.conf` boots from another partition; what
//! the Raspberry Pi's firmware finds here, another check tells.

use goni_model::target::BootMethod;

use super::evidence::{Evidence, SystemFile, SystemPartition};
use super::objection::{Objection, Verdict, equal, none};

/// The settings of systemd-boot.
const SETTINGS: &str = "loader/loader.conf";

/// Where kernel images are.
pub(super) const IMAGES: &str = "EFI/Linux/";

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let esp = evidence.esp.object()?;
    // Neither firmware nor Linux mounts a file system of smaller sectors than the disk has.
    if let Some(table) = evidence.table.found() {
        equal("a file system with sectors of", table.sector_size.get(), esp.sector_size)?;
    }
    if evidence.boot == BootMethod::RaspberryPi {
        return Ok(());
    }
    let Some(arch) = evidence.arch else {
        return Err(Objection::unseen("without a root partition the architecture is not known"));
    };
    let loader = format!("EFI/BOOT/BOOT{}.EFI", arch.efi().to_ascii_uppercase());
    match esp.files.get(&loader) {
        Some(SystemFile::Program(program)) => equal("a loader for", arch, program.image.arch)?,
        Some(SystemFile::Broken(problem)) => {
            return Err(Objection::differs(format!("`{loader}` is a PE file"), problem));
        }
        _ => return Err(Objection::differs(format!("a loader `{loader}`"), "there is none")),
    }
    match evidence.boot {
        BootMethod::SystemdBoot => inspect_systemd_boot(esp, &loader),
        // All else is on the partition that the loader reads.
        BootMethod::Extlinux | BootMethod::RaspberryPi => {
            let others = esp.files.keys().filter(|path| **path != loader);
            none("no other file on the EFI system partition", others.map(|path| format!("`{path}`")))
        }
    }
}

/// One kernel image, one settings file, and nothing else.
fn inspect_systemd_boot(esp: &SystemPartition, loader: &str) -> Verdict {
    let images: Vec<&str> = esp.files.keys().map(String::as_str).filter(|path| is_image(path)).collect();
    if images.len() != 1 {
        let expected = format!("one kernel image `{IMAGES}goni_VERSION.efi`");
        return Err(Objection::differs(expected, format!("{}: {}", images.len(), images.join(", "))));
    }
    let Some(SystemFile::Other(settings)) = esp.files.get(SETTINGS) else {
        return Err(Objection::differs(format!("settings `{SETTINGS}`"), "there are none"));
    };
    let settings = String::from_utf8_lossy(settings);
    let editor: Vec<&str> = settings
        .lines()
        .filter_map(|line| line.trim().strip_prefix("editor"))
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .map(str::trim)
        .collect();
    equal(&format!("`editor` in `{SETTINGS}` is"), "no", &editor.join(", "))?;
    let others = esp.files.keys().filter(|path| *path != loader && *path != SETTINGS && !is_image(path));
    none("no other file on the EFI system partition", others.map(|path| format!("`{path}`")))
}

/// Whether this is where a kernel image of ours is, whose tries nobody counts.
fn is_image(path: &str) -> bool {
    path.strip_prefix(IMAGES)
        .and_then(|name| name.strip_prefix("goni_")?.strip_suffix(".efi"))
        .is_some_and(|version| !version.is_empty() && !version.contains(['/', '+']))
}
