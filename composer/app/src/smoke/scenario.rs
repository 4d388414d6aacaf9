//! Scenarios: what one disk goes through, boot by boot, as `qemu/scenarios/<scenario>.toml` tells it.
//!
//! A scenario is a value. That something is expected of a boot is written here; whether it holds,
//! [`crate::smoke::session`] finds out. How to write one: `qemu/README.md`.

mod check;
mod doc;

use goni_model::name::Name;
use goni_model::size::{ByteCount, SectorSize};

use crate::smoke::feature::Feature;
use crate::smoke::preparation::Preparation;

pub use check::check;
pub use doc::schema;

/// The scenario of checks that name none.
pub const USUAL: &str = "life";
/// What stands for the recovery key in what is typed: the guest showed it on its console.
pub const RECOVERY_KEY: &str = "$recovery_key";

/// A sequence of boots of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The name of its file.
    pub name: Name,
    /// What happens, in a few words.
    pub summary: String,
    /// Whether it runs where nothing else is asked for.
    pub default: bool,
    /// What a recipe must promise for it to make sense.
    pub needs: Vec<Feature>,
    /// The boots, at least one, in their order; the first is in a machine that is switched on for it.
    pub boots: Vec<Boot>,
}

/// One boot of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What checks and reports call it.
    pub name: Name,
    /// How it comes about.
    pub arrival: Arrival,
    /// What is to come of it.
    pub expect: Expect,
    /// Words that must appear on the console.
    pub console: Vec<String>,
    /// What is typed at the console, in this order.
    pub typed: Vec<Typed>,
}

/// How a boot comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// In the machine of the boot before, which starts again.
    Restart(Restart),
    /// In a machine that is switched on for it.
    PowerOn {
        /// What became of the machine before.
        after: Ending,
        /// The machine.
        setting: Setting,
    },
}

/// How a machine starts again without having been off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The guest reboots, cleanly.
    Reboot,
    /// The machine is reset under the running guest; nothing is flushed.
    Reset,
}

/// How a machine ended before the next is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// There was none: this is the first boot.
    Nothing,
    /// Its emulator was killed under the running guest.
    PowerCut,
    /// The guest switched it off, cleanly.
    PowerOff,
}

/// What a machine is like that is switched on, as far as scenarios decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Whether it is another device: a new disk with the same image, and firmware as new.
    pub fresh: bool,
    /// What it reaches.
    pub network: Network,
    /// Whether it has an IOMMU.
    pub iommu: bool,
    /// The disk grows to this size; `None`: it stays as it is.
    pub disk: Option<ByteCount>,
    /// The size of a new disk's sectors, which decides what image is on it; `None`: any that there is.
    pub sector_size: Option<SectorSize>,
    /// Its TPM; `None`: its own where the recipe wants one, else none.
    pub tpm: Option<Tpm>,
    /// What is done to the disk before, in this order.
    pub prepare: Vec<Preparation>,
}

/// What a machine's network interface leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// There is no interface.
    None,
    /// A network with an address for it and nobody else in it. What it says is captured.
    Restricted,
}

/// The TPM of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tpm {
    /// There is none.
    None,
    /// The device's own: the same at each of its boots.
    Own,
    /// Another one than at the boot before.
    Replaced,
}

/// What is to come of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The guest's side starts, and the boot ends.
    Healthy,
    /// The same, and before the guest's side starts the machine may start again by itself, once.
    HealthyRestarting,
    /// The guest's side does not start.
    Down,
}

/// Something typed at the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The words on the console that ask for it.
    pub after: String,
    /// The line; [`RECOVERY_KEY`] in it stands for the key.
    pub send: String,
}

/// A machine of a scenario, and the boots it goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine<'s> {
    /// Which one of the scenario it is, from 0.
    pub number: usize,
    /// What it is like.
    pub setting: &'s Setting,
    /// Its boots, at least one.
    pub boots: &'s [Boot],
    /// How it ends; `Nothing`: no other follows, and its power is cut.
    pub ending: Ending,
}

impl Scenario {
    /// The place of a boot in the order.
    #[must_use]
    pub fn place(&self, boot: &Name) -> Option<usize> {
        self.boots.iter().position(|found| found.name == *boot)
    }

    /// The sizes of sectors that it needs images for.
    pub fn sector_sizes(&self) -> impl Iterator<Item = SectorSize> {
        self.boots.iter().filter_map(|boot| boot.setting()?.sector_size)
    }

    /// The machines that its first `count` boots need.
    #[must_use]
    pub fn machines(&self, count: usize) -> Vec<Machine<'_>> {
        let mut machines = Vec::new();
        let mut rest = self.boots.get(..count).unwrap_or(&self.boots);
        while let Some((Boot { arrival: Arrival::PowerOn { setting, .. }, .. }, later)) = rest.split_first() {
            let restarts = later.iter().take_while(|boot| matches!(boot.arrival, Arrival::Restart(_)));
            let (boots, others) = rest.split_at(1 + restarts.count());
            let ending = match others.first().map(|boot| &boot.arrival) {
                Some(Arrival::PowerOn { after, .. }) => *after,
                Some(Arrival::Restart(_)) | None => Ending::Nothing,
            };
            machines.push(Machine { number: machines.len(), setting, boots, ending });
            rest = others;
        }
        machines
    }
}

impl Boot {
    /// The machine that is switched on for it, if one is.
    #[must_use]
    pub const fn setting(&self) -> Option<&Setting> {
        match &self.arrival {
            Arrival::PowerOn { setting, .. } => Some(setting),
            Arrival::Restart(_) => None,
        }
    }

    /// Whether more is said of it than that it ends well.
    #[must_use]
    pub fn asserts(&self) -> bool {
        self.expect == Expect::Down || !self.console.is_empty() || !self.typed.is_empty()
    }

    /// The words on the console that matter.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.console.iter().chain(self.typed.iter().map(|typed| &typed.after)).map(String::as_str)
    }
}

impl Restart {
    /// Its word in scenario files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Reset => "reset",
        }
    }
}
