//! What is written down of modules that were built or given: in the image, so that `verify` can prove it
//! without a recipe, and in the manifest.

use std::fmt;

use goni_model::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

/// Where an image says which modules were added to its kernel's.
pub const RECORD: &str = "usr/share/goni/modules.json";

/// The modules that were added to those of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The release of the kernel.
    pub kernel: String,
    /// The modules, by name.
    pub modules: Vec<Recorded>,
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The name of its file, without the ending.
    pub name: String,
    /// Where it comes from.
    pub from: Origin,
    /// Digest of its bytes, signature included.
    pub sha256: Sha256Digest,
    /// Whether it is signed.
    pub signed: bool,
}

/// Where a module comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// A package that DKMS built.
    Dkms {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// Digest of the package.
        sha256: Sha256Digest,
    },
    /// A folder of the project that kbuild built.
    Source {
        /// Its path.
        path: String,
        /// Digest of all in it.
        sha256: Sha256Digest,
    },
    /// A file of the project.
    File {
        /// Its path.
        path: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dkms { package, version, .. } => write!(f, "package `{package}={version}`"),
            Self::Source { path, .. } => write!(f, "folder `{path}`"),
            Self::File { path } => write!(f, "file `{path}`"),
        }
    }
}

/// The path of a module in the image. Below `updates`, where modprobe looks before the kernel's own modules;
/// DKMS has its own place there. Source: depmod.d(5); Documentation/kbuild/modules.rst.
#[must_use]
pub fn place(kernel: &str, module: &Recorded) -> String {
    let folder = match module.from {
        Origin::Dkms { .. } => "updates/dkms",
        Origin::Source { .. } | Origin::File { .. } => "updates",
    };
    format!("usr/lib/modules/{kernel}/{folder}/{}.ko", module.name)
}

/// The name as the kernel has it: `-` and `_` are one.
pub(super) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}
