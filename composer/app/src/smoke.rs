//! The finished bytes, booted and checked from inside.
//!
//! The image is never written to: the machine has a throw-away overlay. It is not prepared for this
//! either: unit, agent and checks come in through the firmware, and the answers come out at a port of
//! their own, each with the nonce of the run. Boots are shared: a [`scenario`] is what one disk goes
//! through, and a [`check`] says in which of its boots it runs.
//!
//! How to write either, `qemu/README.md` tells; both are data below `qemu`.

pub mod assertion;
pub mod check;
pub mod evidence;
pub mod expectations;
pub mod feature;
pub mod handover;
pub mod junit;
mod load;
pub mod machine;
mod outside;
pub mod power_cuts;
pub mod preparation;
pub mod protocol;
mod run;
pub mod scenario;
pub mod select;
pub mod session;
mod suite;
#[cfg(test)]
mod testing;
pub mod text;

use std::path::{Path, PathBuf};

use goni_model::arch::Arch;
use goni_model::name::Name;
use goni_model::size::SectorSize;
use goni_model::target::Qemu;

use crate::failure::{Class, Classify};
use crate::host::command::System;
use crate::host::files::FileError;
use crate::host::interrupt::Interrupt;
use crate::host::qemu::QemuError;
use crate::host::toolbox::Toolbox;
use crate::progress::Progress;
use crate::smoke::expectations::Expectations;
use crate::smoke::handover::GuestSide;
use crate::smoke::machine::Board;
use crate::smoke::select::{Trial, Until};

pub use load::{Qemus, load};
pub use suite::smoke;

/// The name of this stage where progress is told.
pub(crate) const STAGE: &str = "smoke";

/// What there is to work with.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The cache directory, which runs have a directory in.
    pub cache: &'a Path,
    /// The tools.
    pub toolbox: &'a Toolbox,
    /// What runs them.
    pub system: &'a System,
    /// Whether somebody wants this to end.
    pub interrupt: &'a Interrupt,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// What is booted, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The raw images, by the size of the sectors they are for; at least one.
    pub images: Vec<(SectorSize, PathBuf)>,
    /// What is true of them.
    pub expectations: &'a Expectations,
    /// The architecture of their programs.
    pub arch: Arch,
    /// The machine of their target.
    pub qemu: &'a Qemu,
    /// What that machine's firmware needs.
    pub board: &'a Board,
    /// The guest's side of the checks.
    pub guest: &'a GuestSide,
    /// What is run.
    pub trials: Vec<Trial<'a>>,
    /// Where scenarios end before their time; checks of later boots are left out.
    pub until: Until<'a>,
    /// The folder that consoles are kept in.
    pub consoles: PathBuf,
}

impl Subject<'_> {
    /// The image for disks with such sectors, or the first that there is.
    #[must_use]
    pub fn image(&self, sector_size: Option<SectorSize>) -> Option<(SectorSize, &Path)> {
        let mut images = self.images.iter();
        let found = images.find(|(size, _)| sector_size.is_none_or(|wanted| *size == wanted));
        found.map(|(size, path)| (*size, path.as_path()))
    }

    /// The file name of the first image.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.image(None).and_then(|(_, path)| path.file_name());
        name.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where the console of a scenario is kept.
    #[must_use]
    pub fn console(&self, scenario: &Name) -> PathBuf {
        let stem = self.image(None).and_then(|(_, path)| path.file_stem()).unwrap_or_default();
        self.consoles.join(format!("{}.{scenario}.console.log", stem.to_string_lossy()))
    }
}

/// Why an image could not be smoked. That checks failed is no error: the report tells.
#[derive(Debug, thiserror::Error)]
pub enum SmokeError {
    /// The target has no machine in QEMU.
    #[error("target `{0}` has neither [qemu] nor `shadow`: its images cannot be booted here")]
    NoMachine(Name),
    /// A machine stands in for the target's, which will not do.
    #[error("target `{0}` has no [qemu] of its own: another machine stands in for it in a plain smoke alone")]
    NoOwnMachine(Name),
    /// There is no image for a disk with such sectors.
    #[error("there is no image for sectors of this size")]
    NoImage,
    /// The checks are more than the firmware can hand over.
    #[error("the checks of one scenario are more than {} KiB together", handover::MOST_BYTES >> 10)]
    TooMuch,
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The machine cannot run.
    #[error(transparent)]
    Qemu(#[from] QemuError),
}

impl Classify for SmokeError {
    fn class(&self) -> Class {
        match self {
            Self::NoMachine(_) | Self::NoOwnMachine(_) | Self::NoImage | Self::TooMuch => Class::Recipe,
            Self::File(error) => error.class(),
            Self::Qemu(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Qemu(error) => error.hint(),
            Self::NoMachine(_) | Self::NoOwnMachine(_) | Self::NoImage | Self::TooMuch => None,
        }
    }
}

#[cfg(test)]
mod tests;
