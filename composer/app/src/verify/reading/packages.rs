//! The packages: what the database says, what their files in the tree take, what they say of licences.
//!
//! A file belongs to the package whose list names it; of several, to the first by name. Lists name places
//! before the merge of `/usr`, which the links at the top of the tree lead on.
//! Source: dpkg(1), “FILES”; Debian Policy §5.6.20, §12.5.

use std::collections::{BTreeMap, BTreeSet};

use goni_debian::copyright::{self, Copyright};
use goni_debian::installed::Installed;
use goni_disk::tree::TreePath;
use rayon::prelude::*;

use crate::inspection::{Licences, Package, Tree};
use crate::verify::evidence::{NodeKind, Root};
use crate::verify::objection::Objection;
use crate::verify::packages::packages;

/// The package of each path that one lists.
pub(super) type Owners = BTreeMap<TreePath, String>;

/// What was found.
pub(super) struct Found {
    pub(super) packages: Vec<Package>,
    pub(super) licences: Licences,
    pub(super) tree: Tree,
    pub(super) owners: Owners,
}

/// Reads all of it.
pub(super) fn read(root: &Root<'_>) -> Result<Found, Objection> {
    let mut packages = database(root)?;
    let aliases = aliases(root);
    let read =
        packages.par_iter().map(|package| Ok((list(root, package, &aliases)?, licence(root, package)?)));
    let read: Vec<(Vec<TreePath>, Licence)> = read.collect::<Result<_, Objection>>()?;
    let mut licences = Licences::default();
    let mut owners = Owners::new();
    let mut claimed = BTreeSet::new();
    for (package, (paths, licence)) in packages.iter_mut().zip(read) {
        for path in paths {
            let Some(node) = root.entry(&path) else { continue };
            if owners.contains_key(&path) {
                continue;
            }
            if node.kind() == NodeKind::File {
                package.files += 1;
                if claimed.insert(node.id()) {
                    package.size += node.size();
                }
            }
            owners.insert(path, package.name.clone());
        }
        match licence {
            Licence::Named(names) => {
                for name in names {
                    licences.named.entry(name).or_default().push(package.name.clone());
                }
            }
            Licence::Prose => licences.prose.push(package.name.clone()),
            Licence::Missing => licences.missing.push(package.name.clone()),
        }
    }
    // A package of two architectures is there twice.
    licences.named.values_mut().chain([&mut licences.prose, &mut licences.missing]).for_each(Vec::dedup);
    let tree = tree(root, &owners, claimed);
    Ok(Found { packages, licences, tree, owners })
}

/// The packages that are there, sorted by name and architecture.
fn database(root: &Root<'_>) -> Result<Vec<Package>, Objection> {
    let there = packages(root)?.into_iter().filter(Installed::is_there);
    let package = |it: Installed| Package {
        name: it.name,
        architecture: it.arch,
        version: it.version,
        installed_size: it.size,
        size: 0,
        files: 0,
    };
    Ok(there.map(package).collect())
}

/// Where links at the top of the tree lead: `lib` to `usr/lib`.
fn aliases(root: &Root<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let links = root
        .nodes()
        .filter(|(path, node)| node.kind() == NodeKind::Symlink && path.components().count() == 1);
    let targets = links.filter_map(|(path, node)| {
        let target = root.target(node).ok()?;
        let target = target.strip_prefix(b"/").unwrap_or(&target).to_vec();
        Some((path.as_bytes().to_vec(), target))
    });
    targets.collect()
}

/// The paths that a package lists, as the tree has them.
fn list(
    root: &Root<'_>,
    package: &Package,
    aliases: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<Vec<TreePath>, Objection> {
    let Package { name, architecture, .. } = package;
    let mut bytes = None;
    for file in [format!("{name}:{architecture}"), name.clone()] {
        let Ok(place) = TreePath::parse(format!("var/lib/dpkg/info/{file}.list").as_bytes()) else {
            continue;
        };
        if let Some(node) = root.entry(&place).filter(|node| node.kind() == NodeKind::File) {
            bytes = Some(root.content(&place, node)?);
            break;
        }
    }
    let mut paths = Vec::new();
    for line in bytes.unwrap_or_default().split(|byte| *byte == b'\n') {
        let line = line.strip_prefix(b"/").unwrap_or(line);
        let slash = line.iter().position(|byte| *byte == b'/');
        let moved = slash.and_then(|slash| Some([aliases.get(&line[..slash])?, &line[slash..]].concat()));
        // What is no path of a tree, such as `.`, is in none.
        if let Ok(path) = TreePath::parse(moved.as_deref().unwrap_or(line))
            && !path.as_bytes().is_empty()
        {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// What a package says of its licence.
enum Licence {
    Named(BTreeSet<String>),
    Prose,
    Missing,
}

fn licence(root: &Root<'_>, package: &Package) -> Result<Licence, Objection> {
    let place = format!("usr/share/doc/{}/copyright", package.name);
    // Packages from one source may link to the file of another.
    let Some((path, node)) = root.resolve(&place).filter(|(_, node)| node.kind() == NodeKind::File) else {
        return Ok(Licence::Missing);
    };
    let bytes = root.content(&path, node)?;
    Ok(match copyright::parse(&String::from_utf8_lossy(&bytes)) {
        Copyright::MachineReadable(licences) if !licences.names.is_empty() => Licence::Named(licences.names),
        _ => Licence::Prose,
    })
}

/// What the tree comes to; `counted` are the files whose bytes a package was given.
fn tree(root: &Root<'_>, owners: &Owners, mut counted: BTreeSet<u64>) -> Tree {
    let mut tree = Tree::default();
    let mut all = BTreeSet::new();
    for (path, node) in root.nodes() {
        match node.kind() {
            NodeKind::Directory => tree.directories += 1,
            NodeKind::Symlink => tree.symlinks += 1,
            NodeKind::Special => {}
            NodeKind::File => {
                tree.files += 1;
                if all.insert(node.id()) {
                    tree.size += node.size();
                }
                if !owners.contains_key(path) {
                    tree.unlisted_files += 1;
                    if counted.insert(node.id()) {
                        tree.unlisted_size += node.size();
                    }
                }
            }
        }
    }
    tree
}
