//! What a project itself gives to an image, and the signed files that its archives gave.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;

/// What kind of thing a project gives.
///
/// In the order of their names, in which a lock lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// A file of `firmware/`: the target's, one it extends, its graphics driver's.
    Firmware,
    /// A kernel module that is built already.
    Module,
    /// A patch of a package of DKMS.
    ModulePatch,
    /// A folder with the source of a kernel module.
    ModuleSource,
    /// An overlay: what it declares, and its tree.
    Overlay,
    /// A payload whose recipe declares its digest.
    Payload,
    /// The lock of the program's own tools.
    Toolbox,
}

impl InputKind {
    /// As a lock writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Module => "module",
            Self::ModulePatch => "module-patch",
            Self::ModuleSource => "module-source",
            Self::Overlay => "overlay",
            Self::Payload => "payload",
            Self::Toolbox => "toolbox",
        }
    }
}

impl fmt::Display for InputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that the project gives, by digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedInput {
    /// Its kind.
    pub kind: InputKind,
    /// Its name: an overlay's, a payload's, a path below `firmware/`.
    pub name: String,
    /// Digest of its bytes; of an overlay, of all it declares and holds.
    pub sha256: Sha256Digest,
}

/// One signed file of a suite, as the archive had it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedFile {
    /// Name of the archive.
    pub archive: String,
    /// The suite.
    pub suite: String,
    /// `InRelease`; or `Release` and `Release.gpg`.
    pub file: String,
    /// Digest of the whole file, signature included.
    pub sha256: Sha256Digest,
}
