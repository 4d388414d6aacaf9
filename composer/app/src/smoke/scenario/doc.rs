//! Scenarios as typed.

use goni_model::document::checker::Text;
use goni_model::document::shape;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A scenario of goni-compose: `qemu/scenarios/<scenario>.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose scenario")]
pub(super) struct ScenarioDoc {
    /// What happens, in a few words.
    #[schemars(with = "Option<String>")]
    pub summary: Option<Text>,
    /// Whether it runs where nothing else is asked for. Default: false.
    pub default: Option<bool>,
    /// What a recipe must promise for it to make sense.
    #[schemars(with = "Option<Vec<String>>")]
    pub needs: Option<Vec<Text>>,
    /// The boots, in their order; at least one.
    pub boot: Option<Vec<BootDoc>>,
}

/// One boot. Keys that say what the machine is like are for boots that it is switched on for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BootDoc {
    /// What checks list in `boots`.
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// How it comes about: reboot, reset, power-cut, power-off (and on again). Not for the first.
    #[schemars(with = "Option<String>")]
    pub by: Option<Text>,
    /// What the machine reaches: none (default), restricted (an address, and nobody there; captured).
    #[schemars(with = "Option<String>")]
    pub network: Option<Text>,
    /// Whether the machine has an IOMMU. Default: false.
    #[schemars(with = "Option<bool>")]
    pub iommu: Option<Spanned<bool>>,
    /// The size the disk grows to, such as "64GiB".
    #[schemars(with = "Option<String>")]
    pub disk: Option<Text>,
    /// The size of the disk's sectors, 512 or 4096: for the first boot or a fresh device. Default: what
    /// the recipe lists first.
    #[schemars(with = "Option<u64>")]
    pub sector_size: Option<Spanned<u64>>,
    /// The machine's TPM: none, own, replaced. Default: its own where the recipe wants one, else none.
    #[schemars(with = "Option<String>")]
    pub tpm: Option<Text>,
    /// Whether it is another device from the same image. Default: false.
    #[schemars(with = "Option<bool>")]
    pub fresh: Option<Spanned<bool>>,
    /// What is done to the disk before: flip-root, foreign-swap, twin-disk.
    #[schemars(with = "Option<Vec<String>>")]
    pub prepare: Option<Vec<Text>>,
    /// What is to come of it: healthy (default), healthy-restarting (it may start again by itself, once, after the words on its console), down (the
    /// guest's side does not start).
    #[schemars(with = "Option<String>")]
    pub expect: Option<Text>,
    /// Words that must appear on the console.
    #[schemars(with = "Option<Vec<String>>")]
    pub console: Option<Vec<Text>>,
    /// What is typed at the console, in this order.
    #[serde(rename = "type")]
    pub typed: Option<Vec<TypedDoc>>,
}

/// Something typed at the console.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TypedDoc {
    /// The words on the console that ask for it.
    #[schemars(with = "Option<String>")]
    pub after: Option<Text>,
    /// The line. `$recovery_key` stands for the key that the guest showed on its console.
    #[schemars(with = "Option<String>")]
    pub send: Option<Text>,
}

/// The JSON Schema of a scenario.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<ScenarioDoc>()
}
