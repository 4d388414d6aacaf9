//! What a recipe says of the partitions: how large they are, and what is done with their bytes.

use serde::Serialize;

use crate::name::ImagePath;
use crate::size::ByteCount;

/// The EFI system partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Esp {
    /// Its size, 512 MiB or more.
    pub size: ByteCount,
}

/// The root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Root {
    /// Its format.
    pub filesystem: RootFilesystem,
    /// How its files are packed.
    pub compression: Compression,
    /// The size of its partition, into which it must fit.
    pub size: ByteCount,
    /// How much of it may be used before a build fails; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<ByteCount>,
    /// Whether dm-verity protects it.
    pub verity: bool,
}

/// A format of the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootFilesystem {
    /// EROFS.
    Erofs,
}

/// How the files of the root file system are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard.
    Zstd,
    /// Not at all.
    None,
}

/// The partition that keeps what must outlive an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its size when built.
    pub size: ByteCount,
    /// How it is encrypted.
    pub encryption: StateEncryption,
    /// Directories that are kept on it beside goni's own, sorted.
    pub persist: Vec<ImagePath>,
}

/// How the state partition is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateEncryption {
    /// Not at all.
    None,
    /// LUKS2, made on the device at its first boot, with a key that its TPM holds.
    Tpm2 {
        /// What a device without a TPM does.
        without_tpm: WithoutTpm,
    },
}

/// What a device does whose recipe wants a TPM that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutTpm {
    /// It says why and stops before it writes anything.
    Stop,
    /// It keeps its state in plaintext.
    Plaintext,
}

/// Swap space. There is no plaintext kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swap {
    /// No partition, no swap.
    None,
    /// A partition, encrypted with a new random key at each boot.
    RandomKey {
        /// The size of the partition.
        size: ByteCount,
    },
}
