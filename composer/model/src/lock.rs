//! Locked inputs: facts, where a recipe has wishes.
//!
//! A lock names every package of an image by version and digest, and every signed Release file it
//! was resolved from. It names archives, never mirrors: the same lock builds the same image from any
//! mirror. It also repeats what was asked, key by key, so that a stale lock can say which key changed.
//!
//! What the project itself puts into an image is in it too, by digest: overlays, firmware, declared
//! payloads, the tools. So are the ids of users and groups, once an image was built.
//!
//! The text form is TOML with a fixed layout, one thing a line, so that two locks differ line by line. Its
//! last line is the digest of all before it: what was changed by hand, or by accident, is no lock.

mod check;
pub mod diff;
mod input;
pub mod ledger;
mod stale;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Sha256Digest;

pub use check::{LockError, archive_path_fault, package_name_fault, without_rebuild};
pub use input::{InputKind, LockedInput, SignedFile};
pub use ledger::LockedId;
pub use stale::{Change, Stale};
pub use text::{ParseLockError, Reading};

/// What stands for an archive where a package is a file of the project.
pub const LOCAL: &str = "local";

/// Number of the text form this program reads and writes.
pub const SCHEMA: u32 = 2;

/// The text form before: no inputs of the project, no ledger, no digest of its own. `lock` completes it.
pub const FIRST_SCHEMA: u32 = 1;

/// Everything a build takes from archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Name of the recipe this was resolved for.
    pub recipe: String,
    /// Architecture of the image.
    pub arch: Arch,
    /// Latest time any file of the image may bear, in seconds since 1970: the newest Release date.
    pub source_date: u64,
    /// What was asked.
    pub request: LockRequest,
    /// The Release files that answered, sorted by archive and suite.
    pub suites: Vec<LockedSuite>,
    /// The signed files of these suites, byte for byte: what proves them again, offline.
    pub signed: Vec<SignedFile>,
    /// What the project itself gives, by digest, sorted by kind and name.
    pub inputs: Vec<LockedInput>,
    /// The ids of users and groups, sorted; empty until an image was built.
    pub ids: Vec<LockedId>,
    /// The packages of the image, sorted by name; a name occurs once.
    pub packages: Vec<LockedPackage>,
    /// The packages that kernel modules are built with, and from; none of these is in the image by that.
    pub build: Vec<LockedPackage>,
    /// Packages of the image as another architecture has them, sorted by name. A machine of that
    /// architecture runs their programs instead of the image's own while it configures the image;
    /// no byte of them gets into it. Empty where the image is of the machine's architecture.
    pub twins: Vec<LockedPackage>,
}

/// What a recipe asked of its archives. Lists are sets: their order means nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockRequest {
    /// Packages asked for: `name`, `name=version` or `name (>= version)`.
    pub packages: Vec<String>,
    /// Packages that must not come in.
    pub exclude: Vec<String>,
    /// Virtual packages the composer stands for itself.
    pub provided: Vec<String>,
    /// Whether recommended packages come in.
    pub recommends: bool,
    /// Packages that kernel modules are built from, by DKMS.
    #[serde(default)]
    pub dkms: Vec<String>,
    /// Whether kernel modules are built at all.
    #[serde(default)]
    pub build: bool,
    /// Loose packages of the project: path and SHA-256 of each.
    #[serde(default)]
    pub local: Vec<String>,
    /// The archives asked, by name.
    pub archives: Vec<RequestedArchive>,
}

/// One archive of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestedArchive {
    /// Name of the archive: `debian`, `debian-security`, a vendor's.
    pub name: String,
    /// Its suites: `trixie`, `trixie-updates`.
    pub suites: Vec<String>,
    /// Its components: `main`.
    pub components: Vec<String>,
    /// Patterns of the only packages it may provide; none means all.
    pub allow: Vec<String>,
    /// Fingerprints of the keys trusted for it, in uppercase hexadecimal; none: those the program holds.
    pub keys: Vec<String>,
    /// Packages it may provide although others have them too.
    #[serde(default)]
    pub replace: Vec<String>,
    /// What is accepted of its keys although it is weak: `sha1`, `1024-bit`.
    #[serde(default)]
    pub weak: Vec<String>,
    /// By package, the Depends that count instead of its own.
    #[serde(default)]
    pub depends: BTreeMap<String, String>,
}

/// One signed Release file of a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSuite {
    /// Name of the archive it belongs to.
    pub archive: String,
    /// The suite as asked: `trixie-updates`.
    pub suite: String,
    /// The codename the Release file gives.
    pub codename: String,
    /// Its date, in seconds since 1970. No older Release of this suite is accepted later.
    pub date: u64,
    /// Digest of the signed text.
    pub sha256: Sha256Digest,
}

/// One package of a lock: everything needed to fetch its bytes and know them again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Package name.
    pub name: String,
    /// Version, epoch included.
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub arch: String,
    /// Name of the archive it comes from, as in the recipe: `debian`, `debian-security`.
    pub archive: String,
    /// Path of the .deb below the archive's mirror: `pool/main/…`.
    pub path: String,
    /// Size of the .deb in bytes.
    pub size: u64,
    /// Digest of the .deb.
    pub sha256: Sha256Digest,
}

impl Lock {
    /// Brings every list into its canonical order and checks the whole.
    ///
    /// # Errors
    /// Whatever makes this no lock: a name that is not one, a path that leaves the archive, a package twice.
    pub fn canonical(mut self) -> Result<Self, LockError> {
        self.request.sort();
        self.suites.sort();
        self.signed.sort();
        self.inputs.sort();
        self.ids.sort();
        self.packages.sort();
        self.build.sort();
        self.twins.sort();
        check::check(&self).map_err(|found| found.error)?;
        Ok(self)
    }

    /// The packages whose dependencies are overridden, each with what it depends on instead.
    #[must_use]
    pub fn overrides(&self) -> BTreeMap<&str, &str> {
        let of = |package: &LockedPackage| {
            self.request
                .archives
                .iter()
                .find(|archive| archive.name == package.archive)?
                .depends
                .get(&package.name)
        };
        self.packages.iter().filter_map(|it| Some((it.name.as_str(), of(it)?.as_str()))).collect()
    }

    /// The date below which a Release file of this suite is a rollback.
    #[must_use]
    pub fn minimum_date(&self, archive: &str, suite: &str) -> Option<u64> {
        self.suites.iter().find(|s| s.archive == archive && s.suite == suite).map(|s| s.date)
    }
}

impl LockRequest {
    /// Brings every list into its canonical order; what is said twice stays said once.
    pub fn sort(&mut self) {
        fn canonical<T: Ord>(list: &mut Vec<T>) {
            list.sort();
            list.dedup();
        }
        canonical(&mut self.packages);
        canonical(&mut self.exclude);
        canonical(&mut self.provided);
        canonical(&mut self.dkms);
        canonical(&mut self.local);
        for archive in &mut self.archives {
            canonical(&mut archive.suites);
            canonical(&mut archive.components);
            canonical(&mut archive.allow);
            canonical(&mut archive.keys);
            canonical(&mut archive.replace);
            canonical(&mut archive.weak);
        }
        canonical(&mut self.archives);
    }
}

#[cfg(test)]
mod tests;
