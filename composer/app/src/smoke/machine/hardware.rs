//! What a boot gives a machine beside what its target has: network, IOMMU, TPM, disks.
//!
//! Values alone: paths are those of the toolbox's sandbox, and whoever owns a run makes the files.

use std::path::PathBuf;

use goni_model::size::SectorSize;

/// What a machine has beside its target's; the default is what every board has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// Its network.
    pub network: Network,
    /// Whether its devices reach memory through an IOMMU.
    pub iommu: bool,
    /// The sectors of its disks.
    pub sectors: SectorSize,
    /// A second disk behind the first: a raw file that will be written to.
    pub second_disk: Option<PathBuf>,
    /// Its TPM.
    pub tpm: Option<Tpm>,
}

impl Default for Hardware {
    fn default() -> Self {
        Self { network: Network::None, iommu: false, sectors: SectorSize::B512, second_disk: None, tpm: None }
    }
}

/// What the guest reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// Nothing at all.
    None,
    /// A network that gives it an address and nothing else.
    Restricted {
        /// Where every frame is kept, as pcap.
        capture: PathBuf,
    },
    /// The host's network; its port, on the loopback alone, leads to the guest's port 7000.
    Forward(u16),
}

/// A TPM: a process of its own beside the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpm {
    /// Which one it is.
    pub which: WhichTpm,
    /// Where it listens.
    pub socket: PathBuf,
}

/// Which TPM a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichTpm {
    /// The one it came with: it keeps what it was told through all boots.
    Own,
    /// Another, fresh from the factory at every start.
    Replaced,
}

impl WhichTpm {
    /// Its name in scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Replaced => "replaced",
        }
    }
}
