//! Overlays: files, units, users, as `overlays/<overlay>/overlay.toml` declares them.
//!
//! The files themselves are below `tree/`. Modes never come from the checkout: a file is 0644 and a
//! directory 0755 and both belong to root, unless a `[[path]]` says otherwise and why. Users and
//! groups are made by a sysusers file in the tree; names become numbers when the overlay is laid.

use serde::Serialize;

use crate::name::{ImagePath, Mode, Name, PackageName, UnitName, UserName};

/// An overlay as meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlay {
    /// The name of its folder.
    pub name: Name,
    /// What it is for, in a sentence.
    pub summary: String,
    /// Packages that its files need, sorted.
    pub packages: Vec<PackageName>,
    /// Overlays that must be laid before it.
    pub requires: Vec<Name>,
    /// Files and directories of the tree that differ from the rule, sorted by path.
    pub paths: Vec<PathRule>,
    /// Directories to make, sorted by path.
    pub directories: Vec<Directory>,
    /// Symbolic links to make, sorted by path.
    pub links: Vec<Link>,
    /// Units, as presets.
    pub units: Units,
}

/// How one path of the tree differs from the rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathRule {
    /// The path.
    pub path: ImagePath,
    /// Its mode; `None`: what the rule says for its kind.
    pub mode: Option<Mode>,
    /// Its owner.
    pub owner: UserName,
    /// Its group.
    pub group: UserName,
    /// Why it differs.
    pub why: String,
}

/// A directory to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// The path.
    pub path: ImagePath,
    /// Its mode.
    pub mode: Mode,
    /// Its owner.
    pub owner: UserName,
    /// Its group.
    pub group: UserName,
}

/// A symbolic link to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The path of the link.
    pub path: ImagePath,
    /// The text of the link, kept as it is.
    pub target: String,
}

/// Units by what becomes of them. No unit is in two lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Units {
    /// Started at boot.
    pub enable: Vec<UnitName>,
    /// Not started by themselves.
    pub disable: Vec<UnitName>,
    /// Impossible to start.
    pub mask: Vec<UnitName>,
}
