//! An overlay as typed.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::checker::Text;

/// An overlay for goni-compose: `overlays/<overlay>/overlay.toml`, beside its `tree/`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose overlay")]
pub struct OverlayDoc {
    /// What it is for, in one line.
    #[schemars(with = "Option<String>")]
    pub summary: Option<Text>,
    /// Packages that its files need.
    #[schemars(with = "Option<Vec<String>>")]
    pub packages: Option<Vec<Text>>,
    /// Overlays that must be laid before it.
    #[schemars(with = "Option<Vec<String>>")]
    pub requires: Option<Vec<Text>>,
    /// Files and directories of the tree that differ from the rule: files 0644, directories 0755,
    /// all of root. Modes never come from the checkout, so an executable has an entry.
    pub path: Option<Vec<PathDoc>>,
    /// Directories to make.
    pub directories: Option<Vec<DirectoryDoc>>,
    /// Symbolic links to make.
    pub links: Option<Vec<LinkDoc>>,
    /// Units started at boot.
    #[schemars(with = "Option<Vec<String>>")]
    pub enable: Option<Vec<Text>>,
    /// Units not started by themselves.
    #[schemars(with = "Option<Vec<String>>")]
    pub disable: Option<Vec<Text>>,
    /// Units that cannot be started.
    #[schemars(with = "Option<Vec<String>>")]
    pub mask: Option<Vec<Text>>,
    /// Paths below /var whose loss at a reboot is meant, with all below them.
    #[schemars(with = "Option<Vec<String>>")]
    pub volatile: Option<Vec<Text>>,
    /// Sockets that its units listen at, such as "7000/tcp".
    #[schemars(with = "Option<Vec<String>>")]
    pub listens: Option<Vec<Text>>,
    /// Devices that goni-http may use for it, as DeviceAllow= of its units has them: "char-drm".
    #[schemars(with = "Option<Vec<String>>")]
    pub devices: Option<Vec<Text>>,
}

/// How one path differs from the rule.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathDoc {
    /// The path in the image.
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    /// Its mode, four octal digits: "0755".
    #[schemars(with = "Option<String>")]
    pub mode: Option<Text>,
    /// Its owner. Default: root.
    #[schemars(with = "Option<String>")]
    pub owner: Option<Text>,
    /// Its group. Default: root.
    #[schemars(with = "Option<String>")]
    pub group: Option<Text>,
    /// Why it differs.
    #[schemars(with = "Option<String>")]
    pub why: Option<Text>,
}

/// A directory to make.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DirectoryDoc {
    /// The path in the image.
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    /// Its mode, four octal digits. Default: 0755.
    #[schemars(with = "Option<String>")]
    pub mode: Option<Text>,
    /// Its owner. Default: root.
    #[schemars(with = "Option<String>")]
    pub owner: Option<Text>,
    /// Its group. Default: root.
    #[schemars(with = "Option<String>")]
    pub group: Option<Text>,
}

/// A symbolic link to make.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinkDoc {
    /// The path of the link in the image.
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    /// The text of the link.
    #[schemars(with = "Option<String>")]
    pub target: Option<Text>,
}
