//! What differs between two locks: packages, suites, inputs of the project, ids.
//!
//! Facts alone; what changelogs say is added by who can read packages.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ledger::AccountKind;
use super::stale::Stale;
use super::{LOCAL, Lock, LockedPackage};
use crate::digest::Sha256Digest;

/// All that differs between two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockDiff {
    /// The recipe of the first and of the second.
    pub recipe: Pair<String>,
    /// Their architectures.
    pub arch: Pair<String>,
    /// Their dates, in seconds since 1970.
    pub source_date: Pair<u64>,
    /// Release files that are others.
    pub suites: Vec<SuiteDiff>,
    /// Packages that were added, removed or changed; sorted by list and name.
    pub packages: Vec<PackageDiff>,
    /// What the project gives that is new, gone or another.
    pub inputs: Vec<Stale>,
    /// Ids that are new, gone or others.
    pub ids: Vec<IdDiff>,
    /// The bytes of all packages of the image.
    pub bytes: Pair<u64>,
}

/// What something was and is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// In the first lock.
    pub old: T,
    /// In the second.
    pub new: T,
}

impl<T: PartialEq> Pair<T> {
    /// Whether both are the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.old == self.new
    }
}

/// A suite of which two locks know other Release files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuiteDiff {
    /// Its archive.
    pub archive: String,
    /// The suite.
    pub suite: String,
    /// Dates in seconds since 1970; `None` where a lock does not have it.
    pub date: Pair<Option<u64>>,
}

/// Which list of a lock a package is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageList {
    /// Packages of the image.
    Packages,
    /// What kernel modules are built with.
    Build,
    /// Twins for the machine that builds.
    Twins,
}

/// A package that two locks do not have alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageDiff {
    /// The list it is in.
    pub list: PackageList,
    /// Its name.
    pub name: String,
    /// Its source package, as its path in the archive tells.
    pub source: String,
    /// In the first lock.
    pub old: Option<PackageSide>,
    /// In the second.
    pub new: Option<PackageSide>,
    /// What its changelog says of the versions between, newest first; empty where nobody has it.
    pub changes: Vec<ChangelogEntry>,
}

/// A package in one lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageSide {
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: String,
    /// Its archive; with the suite where the archive has only one.
    pub origin: String,
    /// The size of the .deb in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// One entry of a changelog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangelogEntry {
    /// Its version.
    pub version: String,
    /// Its urgency: `medium`.
    pub urgency: String,
    /// Vulnerabilities that it names.
    pub cves: Vec<String>,
}

/// An id that two locks do not have alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdDiff {
    /// User or group.
    pub kind: AccountKind,
    /// Its name.
    pub name: String,
    /// Its numbers; `None` where it is not in a lock, or gone.
    pub id: Pair<Option<u32>>,
}

impl LockDiff {
    /// Whether two locks are alike in all that matters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { recipe, arch, source_date, suites, packages, inputs, ids, bytes: _ } = self;
        let same = recipe.is_same() && arch.is_same() && source_date.is_same();
        same && suites.is_empty() && packages.is_empty() && inputs.is_empty() && ids.is_empty()
    }
}

impl Lock {
    /// What is other in another lock, of the same recipe or not.
    #[must_use]
    pub fn diff(&self, new: &Self) -> LockDiff {
        let bytes = |lock: &Self| lock.packages.iter().map(|it| it.size).fold(0, u64::saturating_add);
        let mut packages = Vec::new();
        for (list, was, now) in [
            (PackageList::Packages, &self.packages, &new.packages),
            (PackageList::Build, &self.build, &new.build),
            (PackageList::Twins, &self.twins, &new.twins),
        ] {
            packages.extend(package_diffs(list, (self, was), (new, now)));
        }
        LockDiff {
            recipe: Pair { old: self.recipe.clone(), new: new.recipe.clone() },
            arch: Pair { old: self.arch.to_string(), new: new.arch.to_string() },
            source_date: Pair { old: self.source_date, new: new.source_date },
            suites: suite_diffs(self, new),
            packages,
            inputs: self.stale_inputs(&new.inputs),
            ids: id_diffs(self, new),
            bytes: Pair { old: bytes(self), new: bytes(new) },
        }
    }
}

/// What is in either of two maps, and not alike in both.
fn unlike<K: Ord + Clone, V: PartialEq + Clone>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> Vec<(K, Option<V>, Option<V>)> {
    let keys: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    let sides = keys.into_iter().map(|key| (key.clone(), old.get(key).cloned(), new.get(key).cloned()));
    sides.filter(|(_, old, new)| old != new).collect()
}

fn suite_diffs(old: &Lock, new: &Lock) -> Vec<SuiteDiff> {
    let of = |lock: &Lock| -> BTreeMap<_, _> {
        let line = |it: &super::LockedSuite| ((it.archive.clone(), it.suite.clone()), (it.date, it.sha256));
        lock.suites.iter().map(line).collect()
    };
    let diff = |((archive, suite), old, new): (_, Option<(u64, _)>, Option<(u64, Sha256Digest)>)| SuiteDiff {
        archive,
        suite,
        date: Pair { old: old.map(|it| it.0), new: new.map(|it| it.0) },
    };
    unlike(&of(old), &of(new)).into_iter().map(diff).collect()
}

fn id_diffs(old: &Lock, new: &Lock) -> Vec<IdDiff> {
    let of = |lock: &Lock| -> BTreeMap<_, _> {
        let here = lock.ids.iter().filter(|it| !it.gone);
        here.map(|it| ((it.kind, it.name.clone()), it.id)).collect()
    };
    let diff = |((kind, name), old, new)| IdDiff { kind, name, id: Pair { old, new } };
    unlike(&of(old), &of(new)).into_iter().map(diff).collect()
}

fn package_diffs(
    list: PackageList,
    (old_lock, old): (&Lock, &[LockedPackage]),
    (new_lock, new): (&Lock, &[LockedPackage]),
) -> Vec<PackageDiff> {
    let of = |packages: &[LockedPackage]| -> BTreeMap<String, LockedPackage> {
        packages.iter().map(|it| (it.name.clone(), it.clone())).collect()
    };
    let diff = |(name, old, new): (String, Option<LockedPackage>, Option<LockedPackage>)| {
        let source = new.as_ref().or(old.as_ref()).map(source_name).unwrap_or_default();
        PackageDiff {
            list,
            name,
            source,
            old: old.map(|package| side(old_lock, package)),
            new: new.map(|package| side(new_lock, package)),
            changes: Vec::new(),
        }
    };
    let differs = |(_, old, new): &(String, Option<LockedPackage>, Option<LockedPackage>)| {
        // The place in the archive alone is no difference.
        let facts = |it: &LockedPackage| (it.version.clone(), it.arch.clone(), it.archive.clone(), it.sha256);
        old.as_ref().map(facts) != new.as_ref().map(facts)
    };
    unlike(&of(old), &of(new)).into_iter().filter(differs).map(diff).collect()
}

fn side(lock: &Lock, package: LockedPackage) -> PackageSide {
    let mut suites = lock.suites.iter().filter(|suite| suite.archive == package.archive);
    let origin = match (suites.next(), suites.next()) {
        (Some(only), None) => format!("{}/{}", package.archive, only.suite),
        _ => package.archive,
    };
    let LockedPackage { version, arch, size, sha256, .. } = package;
    PackageSide { version, arch, origin, size, sha256 }
}

/// The source package, as Debian's pool has it in the path: `pool/main/g/glibc/libc6_….deb`. Elsewhere the
/// package's own name stands for it.
fn source_name(package: &LockedPackage) -> String {
    let mut parts = package.path.rsplit('/');
    match (package.path.starts_with("pool/") && package.archive != LOCAL, parts.nth(1)) {
        (true, Some(source)) => source.to_owned(),
        _ => package.name.clone(),
    }
}
