//! What a boot on another machine than the board shows, and what it does not.

use serde::Serialize;

use super::{Finding, Outcome};
use crate::name::Name;

/// The machine that stood in for a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShadowReport {
    /// The board.
    pub target: Name,
    /// The target whose machine, kernel and boot path stood in for its own.
    pub shadow: Name,
    /// The kernel that ran.
    pub kernel: String,
    /// What of the image was not exercised, in the order of [`Part`].
    pub unexercised: Vec<Unexercised>,
}

/// A part of an image that a shadow boot leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unexercised {
    /// Which.
    pub part: Part,
    /// What of it, and what was there in its place.
    pub what: String,
}

/// What a board has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The kernel.
    Kernel,
    /// The kernel's modules, in initrd and root, and what is said of them.
    Modules,
    /// Firmware of its devices.
    Firmware,
    /// What computes: graphics and accelerators.
    Gpu,
    /// The way from the board's firmware to the kernel, and the command line.
    BootPath,
    /// Device trees.
    DeviceTrees,
}

impl Part {
    /// Its name, as that of the check that was not made of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Modules => "modules",
            Self::Firmware => "firmware",
            Self::Gpu => "gpu",
            Self::BootPath => "boot-path",
            Self::DeviceTrees => "device-trees",
        }
    }
}

impl ShadowReport {
    /// What was not exercised, as findings: each is a check that did not run.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        self.unexercised.iter().map(|left_out| Finding {
            check: left_out.part.name().parse().expect("names of parts are names"),
            scenario: None,
            boot: None,
            outcome: Outcome::Skipped { reason: format!("not exercised: {}", left_out.what) },
            milliseconds: 0,
        })
    }
}
