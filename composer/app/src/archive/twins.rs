//! The packages of a lock as another architecture has them.
//!
//! A twin has the name and the version of the image's package; that it was built once more, for one
//! architecture, makes no other program of it. What an archive has in another version, or not at all,
//! has no twin: its programs are emulated.

use std::collections::BTreeMap;

use goni_debian::index::{Index, MAX_INDEX};
use goni_model::arch::Arch;
use goni_model::lock::{Lock, LockedPackage, without_rebuild};

use super::{ResolveError, SuiteSnapshot};
use crate::host::files;

/// The twins of a lock for machines of this architecture, from the indexes that the suites have of it.
///
/// # Errors
/// An index that cannot be read back, or is none.
pub fn twins(lock: &Lock, arch: Arch, suites: &[SuiteSnapshot]) -> Result<Vec<LockedPackage>, ResolveError> {
    let wanted: BTreeMap<&str, &str> = lock
        .packages
        .iter()
        .filter(|package| package.arch == lock.arch.debian())
        .map(|package| (package.name.as_str(), without_rebuild(&package.version)))
        .collect();
    let mut found: BTreeMap<String, LockedPackage> = BTreeMap::new();
    for suite in suites {
        for index in suite.indexes.iter().filter(|index| index.arch == arch) {
            let bytes = files::read_capped(&index.path, MAX_INDEX)?;
            let error = |source| ResolveError::Index { suite: suite.locked.suite.clone(), source };
            for package in Index::parse(&bytes, arch).map_err(error)?.packages() {
                let version = package.version.as_str();
                if package.arch != arch.debian()
                    || wanted.get(package.name) != Some(&without_rebuild(version))
                {
                    continue;
                }
                // The suites of an archive share what they have in common: the first says the same.
                found.entry(package.name.to_owned()).or_insert_with(|| LockedPackage {
                    name: package.name.to_owned(),
                    version: version.to_owned(),
                    arch: package.arch.to_owned(),
                    archive: suite.locked.archive.clone(),
                    path: package.path.to_owned(),
                    size: package.size,
                    sha256: package.sha256,
                });
            }
        }
    }
    Ok(found.into_values().collect())
}
