//! Machine architectures, and what each is called by whom.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An architecture an image can be built for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86, as Debian calls it.
    Amd64,
    /// 64-bit ARM, as Debian calls it.
    Arm64,
}

/// A name that is no architecture we build for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{0}`: use amd64 or arm64")]
pub struct UnknownArch(String);

impl Arch {
    /// Debian's name: `amd64`, `arm64`.
    #[must_use]
    pub const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Debian's multiarch tuple, the name of the library directory.
    #[must_use]
    pub const fn multiarch(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// The name in EFI file names: `BOOTX64.EFI`, `linuxx64.efi.stub`. Source: UEFI 2.10 §3.5.1.1.
    #[must_use]
    pub const fn efi(self) -> &'static str {
        match self {
            Self::Amd64 => "x64",
            Self::Arm64 => "aa64",
        }
    }

    /// `e_machine` of this architecture's ELF files. Source: System V ABI, object files, ELF header.
    #[must_use]
    pub const fn elf_machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }

    /// GPT type of the root partition. Source: Discoverable Partitions Specification.
    #[must_use]
    pub const fn root_type(self) -> Uuid {
        match self {
            Self::Amd64 => Uuid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709),
            Self::Arm64 => Uuid::from_u128(0xb921b045_1df0_41c3_af44_4c6f280d3fae),
        }
    }

    /// GPT type of the root's dm-verity hash tree. Source: Discoverable Partitions Specification.
    #[must_use]
    pub const fn root_verity_type(self) -> Uuid {
        match self {
            Self::Amd64 => Uuid::from_u128(0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5),
            Self::Arm64 => Uuid::from_u128(0xdf3300ce_d69f_4c92_978c_9bfb0f38d820),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.debian())
    }
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Amd64, Self::Arm64]
            .into_iter()
            .find(|arch| arch.debian() == text)
            .ok_or_else(|| UnknownArch(text.to_owned()))
    }
}
