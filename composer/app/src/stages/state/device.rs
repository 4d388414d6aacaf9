//! The block device that holds the state file system, as each table and unit names it.

use goni_model::recipe::{StateEncryption, WithoutTpm};
use uuid::Uuid;

/// The state partition, and how it becomes the device that is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDevice {
    /// Identifier of the partition.
    pub partition: Uuid,
    /// How it is encrypted.
    pub encryption: StateEncryption,
}

impl StateDevice {
    /// Its path: what `/etc/fstab` and units mount.
    #[must_use]
    pub fn path(&self) -> String {
        match self.encryption {
            // Not by-partuuid: another disk may have a partition of this identifier, too.
            StateEncryption::None => format!("/dev/goni/{}", self.partition.hyphenated()),
            // Also where a device without a TPM may keep it in plaintext: then it leads straight through.
            StateEncryption::Tpm2 { .. } => "/dev/mapper/state".to_owned(),
        }
    }

    /// Its path as names of units have it. Source: systemd-escape(1).
    #[must_use]
    pub fn unit(&self) -> String {
        self.path().trim_start_matches('/').replace('-', "\\x2d").replace('/', "-")
    }

    /// Fills in the places of a unit: `@STATE@` and how it is named elsewhere.
    #[must_use]
    pub(crate) fn fill_in(&self, unit: &str) -> String {
        let (encryption, without_tpm) = match self.encryption {
            StateEncryption::None => ("none", "stop"),
            StateEncryption::Tpm2 { without_tpm: WithoutTpm::Stop } => ("tpm2", "stop"),
            StateEncryption::Tpm2 { without_tpm: WithoutTpm::Plaintext } => ("tpm2", "plaintext"),
        };
        unit.replace("@STATE-UNIT@", &self.unit())
            .replace("@STATE-DEVICE@", &self.path())
            .replace("@STATE@", &self.partition.hyphenated().to_string())
            .replace("@ENCRYPTION@", encryption)
            .replace("@WITHOUT-TPM@", without_tpm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_state_is_named_by_its_partition_and_an_encrypted_one_by_its_mapping() {
        let plain = StateDevice { partition: Uuid::nil(), encryption: StateEncryption::None };
        assert_eq!(plain.path(), "/dev/goni/00000000-0000-0000-0000-000000000000");
        assert_eq!(plain.unit(), r"dev-goni-00000000\x2d0000\x2d0000\x2d0000\x2d000000000000");
        let encryption = StateEncryption::Tpm2 { without_tpm: WithoutTpm::Plaintext };
        let encrypted = StateDevice { encryption, ..plain };
        assert_eq!(
            (encrypted.path(), encrypted.unit()),
            ("/dev/mapper/state".into(), "dev-mapper-state".into())
        );
        assert_eq!(
            encrypted.fill_in("What=@STATE-DEVICE@ @STATE@ @ENCRYPTION@ @WITHOUT-TPM@"),
            "What=/dev/mapper/state 00000000-0000-0000-0000-000000000000 tpm2 plaintext"
        );
    }
}
