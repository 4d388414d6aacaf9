//! The files that an EFI system partition must still have, by their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use fatfs::{Dir, FileSystem, FsOptions};
use goni_model::digest::Sha256Digest;

use crate::host::disk_file::Window;

/// Where kernel images are. Source: UAPI.1 Boot Loader Specification, type 2.
const IMAGES: &str = "EFI/Linux/";
/// A seed that systemd-boot and systemd write anew at each boot. Source: systemd-boot(7).
const SEED: &str = "loader/random-seed";
/// Deepest directory, and most entries, that are looked at: a torn directory may hold itself.
const DEPTH_LIMIT: usize = 8;
const ENTRIES_LIMIT: usize = 10_000;
/// Larger files are not read.
const MOST_BYTES: u64 = 256 << 20;

/// What the image has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The kernel images, whatever they are called.
    images: BTreeSet<Sha256Digest>,
    /// Every other file by its path.
    others: BTreeMap<String, Sha256Digest>,
}

impl Files {
    /// Reads those of an image.
    ///
    /// # Errors
    /// What is wrong with the file system, in words.
    pub fn of(window: Window<'_>) -> Result<Self, String> {
        let (images, mut others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            read(window)?.into_iter().partition(|(path, _)| path.starts_with(IMAGES));
        others.remove(SEED);
        Ok(Self { images: images.into_values().collect(), others })
    }

    /// Checks that a partition has all of them.
    ///
    /// # Errors
    /// What is missing or different, in words.
    pub fn check(&self, window: Window<'_>) -> Result<(), String> {
        let found = read(window)?;
        for (path, digest) in &self.others {
            match found.get(path) {
                None => return Err(format!("`{path}` is gone")),
                Some(other) if other != digest => return Err(format!("`{path}` is another")),
                Some(_) => {}
            }
        }
        let bootable: BTreeSet<Sha256Digest> =
            found.iter().filter(|(path, _)| boots(path)).map(|(_, digest)| *digest).collect();
        match self.images.is_subset(&bootable) {
            true => Ok(()),
            false => {
                let there: Vec<&str> = found.keys().map(String::as_str).collect();
                Err(format!("a kernel image is gone, or bears no name that boots: {}", there.join(", ")))
            }
        }
    }
}

/// Whether systemd-boot would boot what has this path: `NAME.efi`, `NAME+LEFT.efi`,
/// `NAME+LEFT-DONE.efi`. Source: UAPI.1 Boot Loader Specification, boot counting.
fn boots(path: &str) -> bool {
    let Some(stem) = path.strip_prefix(IMAGES).and_then(|name| name.strip_suffix(".efi")) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match stem.split_once('+') {
        None => !stem.is_empty(),
        Some((name, count)) => {
            let mut numbers = count.split('-');
            !name.is_empty() && numbers.clone().count() <= 2 && numbers.all(is_number)
        }
    }
}

/// Every file by its path from the root.
fn read(window: Window<'_>) -> Result<BTreeMap<String, Sha256Digest>, String> {
    let error = |error: std::io::Error| format!("reading the FAT file system: {error}");
    let file_system = FileSystem::new(window, FsOptions::new().update_accessed_date(false)).map_err(error)?;
    let mut files = BTreeMap::new();
    collect(&file_system.root_dir(), "", 0, &mut files).map_err(error)?;
    Ok(files)
}

fn collect(
    directory: &Dir<'_, Window<'_>>,
    above: &str,
    depth: usize,
    files: &mut BTreeMap<String, Sha256Digest>,
) -> Result<(), std::io::Error> {
    for (count, entry) in directory.iter().enumerate() {
        if depth > DEPTH_LIMIT || count > ENTRIES_LIMIT || files.len() > ENTRIES_LIMIT {
            return Err(std::io::Error::other("directories without an end"));
        }
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{above}{name}");
        if entry.is_dir() {
            if name != "." && name != ".." {
                collect(&entry.to_dir(), &format!("{path}/"), depth + 1, files)?;
            }
            continue;
        }
        // Damage, or a file that no firmware loads: in either case not one of ours.
        if entry.len() > MOST_BYTES {
            continue;
        }
        let mut bytes = Vec::new();
        let length = entry.to_file().read_to_end(&mut bytes)?;
        // A chain that ends before its file is damage, too; the length belongs to the content.
        if goni_model::number::to_u64(length) == entry.len() {
            files.insert(path, Sha256Digest::of(&bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fatfs::{FormatVolumeOptions, format_volume};
    use goni_model::size::ByteCount;
    use std::io::Write as _;

    use super::*;
    use crate::host::disk_file::DiskFile;

    /// A file system with these files.
    fn partition(directory: &Path, name: &str, contents: &[(&str, &[u8])]) -> DiskFile {
        let disk = DiskFile::create(&directory.join(name), ByteCount::from_mib(40)).unwrap();
        format_volume(disk.whole().unwrap(), FormatVolumeOptions::new()).unwrap();
        let file_system = FileSystem::new(disk.whole().unwrap(), FsOptions::new()).unwrap();
        for directory in ["EFI", "EFI/Linux", "loader"] {
            file_system.root_dir().create_dir(directory).unwrap();
        }
        for (path, content) in contents {
            file_system.root_dir().create_file(path).unwrap().write_all(content).unwrap();
        }
        drop(file_system);
        disk
    }

    #[test]
    fn names_that_boot_are_those_of_the_specification() {
        for name in ["goni_1.efi", "goni_1+3.efi", "goni_1+2-1.efi", "goni_1+0-3.efi"] {
            assert!(boots(&format!("EFI/Linux/{name}")), "{name}");
        }
        for path in [
            "EFI/Linux/goni_1",
            "EFI/Linux/goni_1+x.efi",
            "EFI/Linux/goni_1+1-2-3.efi",
            "EFI/goni.efi",
            "EFI/Linux/.efi",
            "EFI/Linux/FSCK0000.REC",
        ] {
            assert!(!boots(path), "{path}");
        }
    }

    #[test]
    fn a_kernel_image_may_change_its_name_but_nothing_else_may_change() {
        let folder = tempfile::tempdir().unwrap();
        let image = partition(
            folder.path(),
            "image",
            &[("EFI/Linux/g+3.efi", b"kernel"), ("loader/loader.conf", b"x"), (SEED, b"1")],
        );
        let files = Files::of(image.whole().unwrap()).unwrap();
        let mut number = 0;
        let mut check = |contents: &[(&str, &[u8])]| {
            number += 1;
            let disk = partition(folder.path(), &format!("disk-{number}"), contents);
            files.check(disk.whole().unwrap()).err().unwrap_or_default()
        };
        let conf: (&str, &[u8]) = ("loader/loader.conf", b"x");
        assert_eq!(check(&[("EFI/Linux/g+2-1.efi", b"kernel"), conf, (SEED, b"2")]), "");
        assert_eq!(check(&[("EFI/Linux/g.efi", b"kernel"), ("EFI/Linux/g+3.efi", b"kernel"), conf]), "");
        assert_eq!(check(&[("EFI/Linux/g.efi", b"kernel")]), "`loader/loader.conf` is gone");
        assert_eq!(
            check(&[("EFI/Linux/g.efi", b"kernel"), ("loader/loader.conf", b"y")]),
            "`loader/loader.conf` is another"
        );
        for torn in
            [("EFI/Linux/g.efi", &b"kern"[..]), ("EFI/Linux/g.tmp", b"kernel"), ("EFI/g.efi", b"kernel")]
        {
            let said = check(&[torn, conf]);
            assert!(said.starts_with("a kernel image is gone, or bears no name that boots: "), "{said}");
        }
    }
}
