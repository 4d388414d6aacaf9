//! Programs of the image that this machine's processor cannot run.

use std::path::PathBuf;

use goni_disk::tree::{FileTree, Owner, TreePath};

use crate::host::cover::{Cover, CoverError};
use crate::host::sandbox::{Emulator, Sandbox};
use crate::host::walk::Directory;
use crate::progress::Progress;
use crate::stages::twins::Twins;

/// How the programs of an image of another architecture run while its packages are configured.
#[derive(Debug)]
pub struct Foreign {
    /// What runs them.
    pub emulator: Emulator,
    /// Programs of this machine that take their place, with a directory for copies of them, which is not
    /// there yet and on the tree's file system.
    pub twins: Option<(Twins, PathBuf)>,
}

/// The same for one tree.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    emulator: &'a Emulator,
    cover: Option<Cover<'a>>,
}

impl Foreign {
    /// Covers the programs of a tree that twins bring, each of a program that the very package brought.
    pub(super) fn admit<'a>(
        &'a self,
        tree: &'a Directory,
        unpacked: &FileTree,
        progress: &dyn Progress,
    ) -> Result<Admitted<'a>, CoverError> {
        let emulator = &self.emulator;
        let Some((twins, copies)) = &self.twins else { return Ok(Admitted { emulator, cover: None }) };
        let owned = |path: &str, package: &str| {
            let path = TreePath::parse(path.as_bytes()).ok();
            let entry = path.and_then(|path| unpacked.entry(&path));
            entry.is_some_and(|entry| matches!(&entry.owner, Owner::Package(name) if **name == *package))
        };
        let programs = twins.programs.iter().filter(|program| owned(&program.path, &program.package));
        let paths = programs.map(|program| program.path.as_str());
        match Cover::lay(tree, &twins.root, twins.arch, paths, copies) {
            Err(error @ CoverError::Taken { .. }) => {
                progress.warn(&format!("{error}: its programs are emulated, which takes minutes"));
                Ok(Admitted { emulator, cover: None })
            }
            laid => Ok(Admitted { emulator, cover: Some(laid?) }),
        }
    }
}

impl Admitted<'_> {
    /// A sandbox in which the image's programs run.
    pub(super) fn sandbox(&self, sandbox: Sandbox) -> Sandbox {
        let sandbox = sandbox.emulating(self.emulator.clone());
        match &self.cover {
            Some(cover) => cover.admit(sandbox),
            None => sandbox,
        }
    }

    /// In words, what runs them.
    pub(super) fn hint(&self) -> String {
        let arch = self.emulator.arch;
        match &self.cover {
            Some(_) => format!(
                "programs of this machine ran in the place of the image's, others under an emulator of {arch}: \
                 `build --emulate` tells whether that matters"
            ),
            None => format!("its programs ran under an emulator of {arch}"),
        }
    }

    /// Leaves the tree to itself.
    pub(super) fn lift(self) -> Result<(), CoverError> {
        self.cover.map_or(Ok(()), Cover::lift)
    }
}
