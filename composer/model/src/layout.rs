//! The layout of a disk: which partitions it has, how large they are and where they begin.
//!
//! Roles, never positions, name partitions. Sizes are declared by the recipe; places follow from
//! them, so that a layout is known before a byte is written. What the root hash decides, the
//! identifiers of the root and its hash tree, is not known here.

use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::arch::Arch;
use crate::size::{Alignment, ByteCount, Lba, SectorSize};

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// EFI system partition: boot loader and kernel images.
    Esp,
    /// Kernel, initrd and device trees, where a boot method reads them from ext4.
    App,
    /// The read-only root.
    Root,
    /// The root's dm-verity hash tree.
    RootVerity,
    /// Swap: empty, encrypted with a new key at every boot.
    Swap,
    /// The modules of another kernel, on the disk of a shadow boot alone.
    Modules,
    /// What survives: the last on the disk, so that it can grow.
    State,
}

impl Role {
    /// The word for it in reports and errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::App => "app",
            Self::Root => "root",
            Self::RootVerity => "root-verity",
            Self::Swap => "swap",
            Self::Modules => "modules",
            Self::State => "state",
        }
    }

    /// The label in the partition table.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Esp => "goni-esp",
            // L4TLauncher finds it by this name.
            Self::App => "APP",
            Self::Root => "goni-root",
            Self::RootVerity => "goni-root-verity",
            Self::Swap => "goni-swap",
            Self::Modules => "goni-modules",
            Self::State => "goni-state",
        }
    }

    /// The GPT type. Source: UEFI 2.10 table 5.7; Discoverable Partitions Specification.
    #[must_use]
    pub const fn type_guid(self, arch: Arch) -> Uuid {
        match self {
            Self::Esp => Uuid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b),
            // Basic data, as NVIDIA's own layout has it: boot loaders go by its name.
            Self::App => Uuid::from_u128(0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7),
            Self::Root => arch.root_type(),
            Self::RootVerity => arch.root_verity_type(),
            Self::Swap => Uuid::from_u128(0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f),
            // Of our own: nobody else is to take it for anything.
            Self::Modules => Uuid::from_u128(0x9d3c8c52_7a41_8f0e_b6d5_2f1c6a70e6b1),
            // Not the specification's /var type: that one is bound to a machine id the image does not have.
            Self::State => Uuid::from_u128(0x0fc63daf_8483_4772_8e79_3d69d8477de4),
        }
    }

    /// Attribute bits: bit 60, read-only, for what is never written. Source: as for the types.
    #[must_use]
    pub const fn attributes(self) -> u64 {
        match self {
            Self::Root | Self::RootVerity | Self::Modules => 1 << 60,
            Self::Esp | Self::App | Self::Swap | Self::State => 0,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A partition's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// What it is for.
    pub role: Role,
    /// Its first sector.
    pub first: Lba,
    /// Its last sector.
    pub last: Lba,
    /// Where it begins, in bytes.
    pub offset: ByteCount,
    /// How large it is.
    pub size: ByteCount,
}

/// Every partition of a disk, in order of place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// The sector size that LBAs count.
    pub sector_size: SectorSize,
    /// The size of the whole disk, both partition tables included.
    pub disk_size: ByteCount,
    slots: Vec<Slot>,
}

/// Why sizes make no disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A partition has no size.
    #[error("the {0} partition has no size")]
    Empty(Role),
    /// A size is not a whole number of mebibytes, which is where partitions begin.
    #[error("the {role} partition is {size}, not a whole number of MiB")]
    Unaligned {
        /// The partition.
        role: Role,
        /// Its size.
        size: ByteCount,
    },
    /// A role has two partitions.
    #[error("there are two {0} partitions")]
    Twice(Role),
    /// The sum is past 2^64 − 1 bytes.
    #[error("the partitions together are more than 2^64 − 1 bytes")]
    TooLarge,
}

impl Layout {
    /// Places partitions one behind the other from the first mebibyte, each on a whole mebibyte, and
    /// leaves one at the end for the backup table.
    ///
    /// # Errors
    /// [`LayoutError`] where a size is zero, odd, given twice, or too much.
    pub fn place(sector_size: SectorSize, sizes: &[(Role, ByteCount)]) -> Result<Self, LayoutError> {
        let mut slots: Vec<Slot> = Vec::with_capacity(sizes.len());
        let mut offset = ByteCount::from_mib(1);
        for (role, size) in sizes.iter().copied() {
            if size == ByteCount::ZERO {
                return Err(LayoutError::Empty(role));
            }
            if !size.is_multiple_of(Alignment::MIB) {
                return Err(LayoutError::Unaligned { role, size });
            }
            if slots.iter().any(|slot| slot.role == role) {
                return Err(LayoutError::Twice(role));
            }
            let end = offset.checked_add(size).ok_or(LayoutError::TooLarge)?;
            slots.push(Slot {
                role,
                first: Lba::new(offset.get() / sector_size.get()),
                last: Lba::new(end.get() / sector_size.get() - 1),
                offset,
                size,
            });
            offset = end;
        }
        let disk_size = offset.checked_add(ByteCount::from_mib(1)).ok_or(LayoutError::TooLarge)?;
        Ok(Self { sector_size, disk_size, slots })
    }

    /// The same disk with sectors of another size: no byte moves, for whole mebibytes are whole sectors.
    #[must_use]
    pub fn in_sectors_of(&self, sector_size: SectorSize) -> Self {
        let slot = |slot: &Slot| Slot {
            first: Lba::new(slot.offset.get() / sector_size.get()),
            last: Lba::new((slot.offset.get() + slot.size.get()) / sector_size.get() - 1),
            ..*slot
        };
        Self { sector_size, disk_size: self.disk_size, slots: self.slots.iter().map(slot).collect() }
    }

    /// The partition with a role, where the layout has one.
    #[must_use]
    pub fn slot(&self, role: Role) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.role == role)
    }

    /// Every partition, in order of place.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = &Slot> {
        self.slots.iter()
    }
}

/// An identifier that follows from what it identifies: nothing in an image is random.
///
/// Version 8 of RFC 9562 §5.8: 122 bits of the SHA-256 of the parts, each preceded by its length.
#[must_use]
pub fn derived_uuid(parts: &[&str]) -> Uuid {
    let mut hasher = Sha256::new_with_prefix("goni-compose uuid\n");
    for part in parts {
        hasher.update(crate::number::to_u64(part.len()).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let (head, _) = digest.split_first_chunk::<16>().expect("32 bytes hold 16");
    uuid::Builder::from_custom_bytes(*head).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: fn(u32) -> ByteCount = ByteCount::from_mib;

    #[test]
    fn partitions_follow_each_other_from_the_first_mebibyte() {
        let sizes = [(Role::Esp, MIB(512)), (Role::Root, MIB(1024)), (Role::State, MIB(256))];
        let layout = Layout::place(SectorSize::B512, &sizes).unwrap();
        let places: Vec<(Role, u64, u64)> =
            layout.slots().map(|slot| (slot.role, slot.first.get(), slot.last.get())).collect();
        assert_eq!(
            places,
            [
                (Role::Esp, 2048, 1_050_623),
                (Role::Root, 1_050_624, 3_147_775),
                (Role::State, 3_147_776, 3_672_063)
            ]
        );
        assert_eq!(layout.disk_size, MIB(1794));
    }

    #[test]
    fn larger_sectors_move_no_byte() {
        let sizes = [(Role::Esp, MIB(512)), (Role::State, MIB(256))];
        let small = Layout::place(SectorSize::B512, &sizes).unwrap();
        let large = Layout::place(SectorSize::B4096, &sizes).unwrap();
        for (small, large) in small.slots().zip(large.slots()) {
            assert_eq!((small.offset, small.size), (large.offset, large.size));
            assert_eq!(large.first.get() * 8, small.first.get());
        }
        assert_eq!(small.in_sectors_of(SectorSize::B4096), large);
        assert_eq!(large.in_sectors_of(SectorSize::B512), small);
    }

    #[test]
    fn sizes_that_make_no_disk_are_refused() {
        let place = |sizes: &[(Role, ByteCount)]| Layout::place(SectorSize::B512, sizes).unwrap_err();
        assert_eq!(place(&[(Role::Swap, ByteCount::ZERO)]), LayoutError::Empty(Role::Swap));
        let odd = ByteCount::new(4097);
        assert_eq!(place(&[(Role::Root, odd)]), LayoutError::Unaligned { role: Role::Root, size: odd });
        assert_eq!(place(&[(Role::Esp, MIB(1)), (Role::Esp, MIB(1))]), LayoutError::Twice(Role::Esp));
        let huge = ByteCount::new(u64::MAX / (1 << 20) * (1 << 20));
        assert_eq!(place(&[(Role::Root, huge), (Role::State, MIB(1))]), LayoutError::TooLarge);
    }

    #[test]
    fn derived_identifiers_tell_their_parts_apart() {
        let uuid = derived_uuid(&["goni-node", "state"]);
        assert_eq!(uuid, derived_uuid(&["goni-node", "state"]));
        assert_ne!(uuid, derived_uuid(&["goni-nodes", "tate"]));
        assert_eq!(uuid.get_version_num(), 8);
    }
}
