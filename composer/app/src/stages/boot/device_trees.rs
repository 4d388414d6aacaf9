//! Device trees of the kernel's package: where packages have them, and what they are called beside a kernel.
//!
//! Debian's are below `/usr/lib/linux-image-<release>`, with a folder for each maker of chips; NVIDIA's are
//! below `/boot/dtb`. Source: the file lists of `linux-image-arm64` and of `nvidia-l4t-kernel-dtbs`.

use goni_model::target::Target;

use super::BootError;
use super::method::Taken;
use crate::stages::initrd::{InitrdError, Source, path};

/// What a flattened device tree begins with. Source: Devicetree Specification 0.4, section 5.2.
const MAGIC: [u8; 4] = [0xD0, 0x0D, 0xFE, 0xED];

/// The folders that packages keep device trees in.
fn folders(release: &str) -> [String; 3] {
    [
        format!("usr/lib/linux-image-{release}"),
        format!("usr/lib/modules/{release}/dtb"),
        "boot/dtb".to_owned(),
    ]
}

/// The device trees of a target, as it names them, with the name of the file alone.
pub(super) fn names(target: &Target) -> impl Iterator<Item = (&str, &str)> {
    let file = |tree: &'_ str| tree.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1);
    target.device_trees.iter().map(move |tree| {
        let tree = tree.as_str();
        (tree, &tree[file(tree)..])
    })
}

/// Takes the device trees of a target from the root, each by the name that the target has for it.
pub(super) fn take(source: &Source<'_>, target: &Target, release: &str) -> Result<Taken, BootError> {
    let mut taken = Taken::new();
    for (tree, _) in names(target) {
        let found = folders(release).into_iter().find_map(|folder| {
            match source.read_path(&path(&format!("{folder}/{tree}"))) {
                Err(InitrdError::Missing { .. }) => None,
                read => Some(read),
            }
        });
        let missing = || BootError::NoDeviceTree { tree: tree.to_owned(), release: release.to_owned() };
        let bytes = found.ok_or_else(missing)??;
        if !bytes.starts_with(&MAGIC) {
            return Err(BootError::NotDeviceTree { tree: tree.to_owned() });
        }
        taken.insert(tree.to_owned(), bytes);
    }
    Ok(taken)
}
