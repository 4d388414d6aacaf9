//! What a recipe wants in its image: packages of Debian and of others, and payloads.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::arch::Arch;
use crate::digest::Sha256Digest;
use crate::name::{
    ArchiveUri, DebPattern, Fingerprint, ImagePath, Name, PackageName, PackagePattern, ProjectPath,
    SuiteName, Url,
};

/// What comes from Debian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// The release.
    pub suite: Suite,
    /// Components of the archive, in order.
    pub components: Vec<SuiteName>,
    /// Packages that must be there, sorted.
    pub packages: Vec<PackageName>,
    /// Packages that must not be there, sorted.
    pub exclude: Vec<PackageName>,
    /// Packages whose job something else in the image does: dependencies on them are met, sorted.
    pub provided: Vec<PackageName>,
    /// Whether Recommends count as Depends.
    pub recommends: bool,
    /// Loose packages of the project, all of which come in; sorted.
    pub local: Vec<DebPattern>,
}

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// The suites that make the release: itself, its updates, its security fixes.
    ///
    /// Each with the archive it belongs to: `debian` or `debian-security`.
    #[must_use]
    pub const fn suites(self) -> [(&'static str, &'static str); 3] {
        match self {
            Self::Trixie => {
                [("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security")]
            }
        }
    }
}

impl Suite {
    /// The suite of newer versions of some of its packages.
    #[must_use]
    pub const fn backports(self) -> &'static str {
        match self {
            Self::Trixie => "trixie-backports",
        }
    }
}

/// A vendor's signed archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// What errors and the lock call it.
    pub name: Name,
    /// Where it is.
    pub uri: ArchiveUri,
    /// The suite below `dists/`.
    pub suite: SuiteName,
    /// Components, in order.
    pub components: Vec<SuiteName>,
    /// The key that must have signed it.
    pub key: ArchiveKey,
    /// The architecture it is for; `None`: whatever its Release file lists.
    pub architecture: Option<Arch>,
    /// The packages it may provide, and no other.
    pub allow: Vec<PackagePattern>,
    /// Packages that it may provide although Debian has them too, sorted.
    pub replace: Vec<PackageName>,
    /// How many days ago it may have been signed at most; `None`: as long as Debian's.
    pub max_age: Option<u16>,
    /// What is accepted of its key although it is weak.
    pub weak_key: Option<WeakKey>,
    /// Dependencies that are not those its packages name, by package.
    pub overrides: BTreeMap<PackageName, Override>,
}

/// A waiver for a weak key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeakKey {
    /// What is accepted, sorted.
    pub accept: Vec<KeyWeakness>,
    /// Why.
    pub reason: String,
}

/// What is weak about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum KeyWeakness {
    /// It vouches for its own parts with SHA-1, which has collided since 2017.
    #[serde(rename = "sha1")]
    Sha1,
    /// It is an RSA or DSA key of fewer than 2048 bits.
    #[serde(rename = "1024-bit")]
    Short,
}

impl KeyWeakness {
    /// Its word in recipes and locks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Short => "1024-bit",
        }
    }

    /// What it means, for messages.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Sha1 => "it vouches for itself by SHA-1",
            Self::Short => "it has fewer than 2048 bits",
        }
    }
}

/// Dependencies in the place of those a package names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Override {
    /// Its Depends, one relation an entry.
    pub depends: Vec<String>,
    /// Why.
    pub reason: String,
}

/// The key of a vendor's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveKey {
    /// Where the certificate is.
    pub source: KeySource,
    /// The fingerprint it must have.
    pub fingerprint: Fingerprint,
}

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// In the project, from its root.
    File(ProjectPath),
    /// On the network; the fingerprint decides.
    Url(Url),
}

/// A program laid into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// Its place in the image.
    pub path: ImagePath,
    /// Where its bytes come from.
    pub source: PayloadSource,
    /// The overlay that is laid where nothing gives the bytes.
    pub stand_in: Option<Name>,
}

/// Where the bytes of a payload come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadSource {
    /// The recipe does not say: the command line does, or the payload's stand-in is laid.
    Open,
    /// A file of the project, from its root.
    File(ProjectPath),
    /// A download.
    Url {
        /// Its address.
        url: Url,
        /// What it must digest to.
        sha256: Sha256Digest,
    },
}
