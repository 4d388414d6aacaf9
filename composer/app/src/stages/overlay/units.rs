//! Which units start at boot: the links that `systemctl preset` would make, made in the tree.
//!
//! Source: systemd.unit(5), “[Install] section options”; systemd.preset(5).

use goni_disk::tree::{FileTree, Kind, TreePath};

use super::{Laying, OverlayError};

/// Where units are, in the order systemd looks.
const DIRECTORIES: [&str; 2] = ["etc/systemd/system", "usr/lib/systemd/system"];

/// What a unit's `[Install]` section asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    alias: Vec<String>,
    also: Vec<String>,
}

impl Install {
    fn parse(text: &str) -> Self {
        let mut install = Self::default();
        let mut inside = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[Install]";
            }
            let Some((key, values)) =
                line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';']))
            else {
                continue;
            };
            let list = match key.trim() {
                "WantedBy" => &mut install.wanted_by,
                "RequiredBy" => &mut install.required_by,
                "Alias" => &mut install.alias,
                "Also" => &mut install.also,
                _ => continue,
            };
            list.extend(values.split_whitespace().map(str::to_owned));
        }
        install
    }
}

/// The unit file of a name: `getty@tty1.service` is made from `getty@.service`.
fn find(tree: &FileTree, unit: &str) -> Option<TreePath> {
    let template =
        unit.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
    [Some(unit.to_owned()), template].into_iter().flatten().find_map(|name| {
        DIRECTORIES
            .into_iter()
            .map(|directory| super::path(&format!("{directory}/{name}")))
            .find(|path| matches!(tree.get(path).map(|inode| &inode.kind), Some(Kind::File(_))))
    })
}

/// Makes a unit start at boot.
pub(super) fn enable(laying: &mut Laying<'_>, unit: &str) -> Result<(), OverlayError> {
    let file = find(laying.tree, unit)
        .ok_or_else(|| OverlayError::NoUnit { overlay: laying.overlay.clone(), unit: unit.to_owned() })?;
    let install = Install::parse(&laying.read_text(&file)?);
    if install == Install::default() {
        return Err(OverlayError::NoInstall { overlay: laying.overlay.clone(), unit: unit.to_owned() });
    }
    let target = file.to_string();
    let wants = install.wanted_by.iter().map(|by| format!("{by}.wants/{unit}"));
    let requires = install.required_by.iter().map(|by| format!("{by}.requires/{unit}"));
    let links: Vec<String> = wants.chain(requires).chain(install.alias.iter().cloned()).collect();
    for link in links {
        laying.link(&super::path(&format!("etc/systemd/system/{link}")), &target)?;
    }
    for also in install.also.iter().filter(|also| *also != unit) {
        // systemd passes over the ones that are not installed, and so do we.
        if find(laying.tree, also).is_some() {
            enable(laying, also)?;
        }
    }
    Ok(())
}

/// Removes the links that make a unit start at boot. A unit that is not installed is disabled already.
pub(super) fn disable(laying: &mut Laying<'_>, unit: &str) -> Result<(), OverlayError> {
    let system = super::path("etc/systemd/system");
    let links: Vec<TreePath> = laying
        .tree
        .below(&system)
        .filter(|(path, entry)| {
            let names_it = path.name() == unit.as_bytes();
            names_it && matches!(laying.tree.inode(entry.inode).kind, Kind::Symlink(_))
        })
        .map(|(path, _)| path.clone())
        .collect();
    let why = format!("it disables `{unit}`").into();
    for link in links {
        laying.tree.take_out(&link, &laying.owner, &why)?;
    }
    Ok(())
}

/// Makes a unit impossible to start.
pub(super) fn mask(laying: &mut Laying<'_>, unit: &str) -> Result<(), OverlayError> {
    disable(laying, unit)?;
    laying.link(&super::path(&format!("etc/systemd/system/{unit}")), "/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_install_section_counts() {
        let text = "[Unit]\nWantedBy=no.target\n[Install]\n# Alias=no.service\nWantedBy=multi-user.target graphical.target\nAlso=other.socket\n";
        let install = Install::parse(text);
        assert_eq!(install.wanted_by, ["multi-user.target", "graphical.target"]);
        assert_eq!(install.also, ["other.socket"]);
        assert_eq!(install.alias, [""; 0]);
    }
}
