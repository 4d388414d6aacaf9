//! Overlays: files, units, users, as `overlays/<overlay>/overlay.toml` declares them.
//!
//! The files themselves are below `tree/`. Modes never come from the checkout: a file is 0644 and a
//! directory 0755 and both belong to root, unless a `[[path]]` says otherwise and why. Users and
//! groups are made by a sysusers file in the tree; names become numbers when the overlay is laid.

mod check;
pub mod doc;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::document::checker::Checker;
use crate::document::fault::Fault;
use crate::document::source::{FileId, Sources};
use crate::document::{self, shape};
use crate::name::{DeviceGroup, ImagePath, Mode, Name, PackageName, UnitName, UserName};
use crate::overlay::doc::OverlayDoc;
use crate::port::Port;

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
    /// Paths below `/var` whose loss at a reboot is meant, with all below them, sorted.
    pub volatile: Vec<ImagePath>,
    /// Sockets that its units listen at, sorted.
    pub listens: Vec<Port>,
    /// Devices that goni-http may use for it, sorted.
    pub devices: Vec<DeviceGroup>,
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

/// The JSON Schema of an overlay.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<OverlayDoc>()
}

/// Checks the overlay that a file declares; `known` are the overlays there are.
///
/// # Errors
/// Every fault found.
pub fn check(
    sources: &Sources,
    file: FileId,
    name: Name,
    known: &BTreeSet<String>,
) -> Result<Overlay, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: OverlayDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let overlay = check::check(&doc, name, known.iter().map(String::as_str), &mut checker);
    checker.finish(overlay).map(|(overlay, _)| overlay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fault::Faults;

    fn checked(text: &str) -> Result<Overlay, String> {
        let mut sources = Sources::new();
        let (file, _) = sources.add("overlay.toml", text.as_bytes());
        let known = ["base".to_owned(), "goni".to_owned()].into();
        check(&sources, file, "goni".parse().unwrap(), &known)
            .map_err(|faults| Faults::new(sources, faults).to_string())
    }

    #[test]
    fn an_overlay_says_what_differs_from_the_rule() {
        let overlay = checked(
            "summary = \"the node\"\nrequires = [\"base\"]\nenable = [\"goni-http.service\"]\n\
             directories = [{ path = \"/opt/goni/models\", owner = \"goni\", group = \"goni\", mode = \"0750\" }]\n\
             links = [{ path = \"/etc/mtab\", target = \"../proc/self/mounts\" }]\n\
             [[path]]\npath = \"/usr/lib/goni/start\"\nmode = \"0755\"\nwhy = \"systemd runs it\"\n",
        )
        .unwrap();
        let [path] = &overlay.paths[..] else { panic!("{:?}", overlay.paths) };
        assert_eq!(
            (path.mode.unwrap().bits(), path.owner.as_str(), path.group.as_str()),
            (0o755, "root", "root")
        );
        let [directory] = &overlay.directories[..] else { panic!("{:?}", overlay.directories) };
        assert_eq!((directory.mode.bits(), directory.owner.as_str()), (0o750, "goni"));
        assert_eq!(overlay.links[0].target, "../proc/self/mounts");
        assert_eq!(overlay.units.enable[0].as_str(), "goni-http.service");
    }

    #[test]
    fn what_an_overlay_may_not_say() {
        let rule = "[[path]]\npath = \"/a\"\n";
        for (text, message) in [
            ("", "missing key `summary`".to_owned()),
            ("requires = [\"goni\"]", "overlay `goni` requires itself".to_owned()),
            ("requires = [\"goin\"]", "unknown overlay `goin`".to_owned()),
            (&format!("{rule}mode = \"0755\""), "the entry for `/a` does not say why".to_owned()),
            (&format!("{rule}why = \"x\""), "the entry for `/a` changes nothing".to_owned()),
            (&format!("{rule}mode = \"0666\"\nwhy = \"x\""), "mode 0666 lets everyone write".to_owned()),
            (
                &format!("{rule}mode = 493\nwhy = \"x\""),
                "`path.mode` wants text in quotes, found a whole number".to_owned(),
            ),
            (
                "enable = [\"a.service\"]\nmask = [\"a.service\"]",
                "unit `a.service` is in `enable` and in `mask`".to_owned(),
            ),
            ("links = [{ path = \"/a\" }]", "the link `/a` has no `target`".to_owned()),
            (
                "directories = [{ path = \"/a\" }, { path = \"/a\" }]",
                "`/a` has two entries in `directories`".to_owned(),
            ),
        ] {
            let summary = if text.is_empty() { "" } else { "summary = \"x\"\n" };
            let error = checked(&format!("{summary}{text}\n")).unwrap_err();
            assert!(error.ends_with(&message), "{error}");
        }
    }
}
