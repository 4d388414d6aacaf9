//! Locked inputs: facts, where a recipe has wishes.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;

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
