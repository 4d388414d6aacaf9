//! What an image can be meant to have: checks and scenarios name what they need of it.

use goni_model::document::checker::{Checker, Text};

/// Something a check or a scenario can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A root protected by dm-verity.
    Verity,
    /// A swap partition.
    Swap,
    /// A partition for the state.
    State,
    /// The payload `goni-http`.
    GoniHttp,
    /// A state partition whose key a TPM holds.
    Tpm2,
    /// A state partition in plain text.
    PlainState,
    /// Directories that are kept beside goni's own.
    Persist,
    /// Ports that are open to the network.
    OpenPorts,
    /// Kernel modules that are loaded, denied or given options.
    KernelModules,
    /// An image for disks with sectors of 4096 bytes.
    Sectors4096,
    /// The kernel of the image itself runs.
    OwnKernel,
    /// The image boots as on its target.
    OwnBootPath,
}

impl Feature {
    /// All.
    pub const ALL: [Self; 12] = [
        Self::Verity,
        Self::Swap,
        Self::State,
        Self::GoniHttp,
        Self::Tpm2,
        Self::PlainState,
        Self::Persist,
        Self::OpenPorts,
        Self::KernelModules,
        Self::Sectors4096,
        Self::OwnKernel,
        Self::OwnBootPath,
    ];

    /// Its name in check and scenario files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verity => "verity",
            Self::Swap => "swap",
            Self::State => "state",
            Self::GoniHttp => "goni-http",
            Self::Tpm2 => "tpm2",
            Self::PlainState => "plain-state",
            Self::Persist => "persist",
            Self::OpenPorts => "open-ports",
            Self::KernelModules => "kernel-modules",
            Self::Sectors4096 => "sectors-4096",
            Self::OwnKernel => "own-kernel",
            Self::OwnBootPath => "own-boot-path",
        }
    }

    /// What to say of an image without it.
    #[must_use]
    pub const fn lacking(self) -> &'static str {
        match self {
            Self::Verity => "the image has no verity",
            Self::Swap => "the image has no swap",
            Self::State => "the image has no state partition",
            Self::GoniHttp => "the image has no goni-http",
            Self::Tpm2 => "the recipe does not encrypt the state with a TPM",
            Self::PlainState => "the recipe encrypts the state",
            Self::Persist => "the recipe keeps no directories beside goni's own",
            Self::OpenPorts => "the recipe opens no port",
            Self::KernelModules => "the recipe says nothing of kernel modules",
            Self::Sectors4096 => "the recipe has no image for sectors of 4096 bytes",
            Self::OwnKernel => "another kernel stands in for the image's own",
            Self::OwnBootPath => "another boot path stands in for the target's own",
        }
    }

    /// The features of a list, sorted; a word that is none is a fault.
    pub(super) fn choices(list: Option<&Vec<Text>>, checker: &mut Checker) -> Vec<Self> {
        let words = Self::ALL.map(|feature| (feature.name(), feature));
        let mut features: Vec<Self> =
            list.into_iter().flatten().filter_map(|text| checker.choice(text, "needs", &words)).collect();
        features.sort();
        features.dedup();
        features
    }
}
