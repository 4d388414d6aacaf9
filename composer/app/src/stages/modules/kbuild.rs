//! Folders with the source of modules, built by the kernel's own make files.
//!
//! Source: Documentation/kbuild/modules.rst of the kernel.

use goni_disk::tree::{Kind, Owner};

use super::record::Origin;
use super::run::{Surroundings, WORK};
use super::{Folder, LARGEST, Module, ModulesError, module};
use crate::host::files::{self, FileError};
use crate::host::walk::Directory;

/// Where the folder is seen, read-only.
const SOURCE: &str = "/source";

/// Builds a folder, the `number`th.
pub(super) fn build(
    surroundings: &Surroundings<'_>,
    folder: &Folder,
    number: usize,
    log: &mut Vec<u8>,
) -> Result<Vec<Module>, ModulesError> {
    let order = surroundings.order;
    let from = Origin::Source { path: folder.name.clone(), sha256: folder.sha256 };
    let release = order.release.to_owned();
    let begun = log.len();
    let (place, inside) = (format!("source-{number}"), format!("{WORK}/source-{number}"));
    let copy = surroundings.command("/usr/bin/cp", surroundings.sandbox().bind(&folder.path, SOURCE)).args([
        "--recursive",
        "--no-preserve=ownership",
        SOURCE,
        &inside,
    ]);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let make = surroundings.command("/usr/bin/make", surroundings.sandbox()).args([
        "-C",
        &surroundings.headers(),
        &format!("M={inside}"),
        &format!("-j{jobs}"),
        "modules",
    ]);
    if !(surroundings.run(&copy, log)? && surroundings.run(&make, log)?) {
        return Err(surroundings.failed(&from, log.get(begun..).unwrap_or_default()));
    }
    let mut modules = Vec::new();
    for path in built(surroundings, &place)? {
        let strip = surroundings
            .command("/usr/bin/strip", surroundings.sandbox())
            .args(["--strip-debug", &format!("{inside}/{path}")]);
        let bytes = match surroundings.run(&strip, log)? {
            true => files::read_capped(&surroundings.outside(&format!("{place}/{path}")), LARGEST)?,
            false => return Err(surroundings.failed(&from, log.get(begun..).unwrap_or_default())),
        };
        let name = path.rsplit('/').next().unwrap_or(&path);
        let name = name.strip_suffix(".ko").unwrap_or(name);
        modules.push(module(name, from.clone(), bytes, &release, order.arch)?);
    }
    if modules.is_empty() {
        return Err(surroundings.missing(&from, "*.ko", log.get(begun..).unwrap_or_default()));
    }
    Ok(modules)
}

/// The modules in a folder, sorted.
fn built(surroundings: &Surroundings<'_>, place: &str) -> Result<Vec<String>, ModulesError> {
    let path = surroundings.outside(place);
    let directory = Directory::open(&path).map_err(FileError::io("reading", &path))?;
    let owner = |_: &_, _: &_| Owner::Stage(super::NAME.into());
    let tree = directory
        .walk(&owner)
        .map_err(|error| FileError::io("reading", &path)(std::io::Error::other(error)))?;
    let modules = tree.iter().filter(|(_, entry)| matches!(tree.inode(entry.inode).kind, Kind::File(_)));
    let names = modules.map(|(path, _)| path.to_string().trim_start_matches('/').to_owned());
    Ok(names.filter(|name| name.ends_with(".ko")).collect())
}
