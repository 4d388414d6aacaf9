//! The repository's own recipes, overlays and targets, in a place where they may be changed.

use std::fs;
use std::path::Path;

/// Copies what makes a project, locks included, into a folder.
pub(crate) fn project(to: &Path) {
    for part in ["firmware", "overlays", "qemu", "recipes"] {
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &to.join(part));
    }
}

/// Copies a folder of text files.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
