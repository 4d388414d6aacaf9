//! Boot sector and FSInfo sector, each with its copy.
//!
//! Source: the specification, sections 3 and 5.

use std::io::{Seek, Write};

use super::geometry::{Geometry, TABLES};
use super::{Image, Options, WriteError, bytes_of, cluster_number, put};

/// Where the copies begin. Specification, section 3.3: no other value than 6 is recommended.
const COPY: u64 = 6;
/// Interrupt 18h tells a BIOS to try the next device; then halt for ever.
const BOOT_CODE: [u8; 5] = [0xCD, 0x18, 0xF4, 0xEB, 0xFD];

/// Writes the sectors before the tables.
pub(super) fn write<W: Write + Seek>(
    geometry: &Geometry,
    options: &Options,
    label: &[u8; 11],
    used: u64,
    image: &mut Image<'_, W>,
) -> Result<(), WriteError> {
    let sector = bytes_of(1, geometry.sector);
    let mut sectors = vec![0; 2 * sector];
    let (boot, info) = sectors.split_at_mut(sector);
    fill_boot(boot, geometry, options, label);
    fill_info(info, geometry, used);
    image.write_at(COPY * geometry.sector, &sectors)?;
    // The first last: what is unfinished is no file system.
    image.write_at(0, &sectors)
}

fn fill_boot(boot: &mut [u8], geometry: &Geometry, options: &Options, label: &[u8; 11]) {
    let low16 = |value: u64| u16::try_from(value).expect("geometry keeps it below 2^16").to_le_bytes();
    put(boot, 0, [0xEB, 0x58, 0x90]); // BS_jmpBoot: to the code at 90
    put(boot, 3, *b"MSWIN4.1"); // BS_OEMName: what section 3.1 recommends
    put(boot, 11, low16(geometry.sector)); // BPB_BytsPerSec
    boot[13] = u8::try_from(geometry.cluster_sectors).expect("at most 64"); // BPB_SecPerClus
    put(boot, 14, low16(geometry.reserved)); // BPB_RsvdSecCnt
    boot[16] = u8::try_from(TABLES).expect("two"); // BPB_NumFATs
    boot[21] = 0xF8; // BPB_Media: fixed disk
    put(boot, 24, 63_u16.to_le_bytes()); // BPB_SecPerTrk
    put(boot, 26, 255_u16.to_le_bytes()); // BPB_NumHeads
    put(boot, 32, geometry.sectors.to_le_bytes()); // BPB_TotSec32
    put(boot, 36, cluster_number(geometry.table_sectors).to_le_bytes()); // BPB_FATSz32
    put(boot, 44, 2_u32.to_le_bytes()); // BPB_RootClus
    put(boot, 48, 1_u16.to_le_bytes()); // BPB_FSInfo
    put(boot, 50, low16(COPY)); // BPB_BkBootSec
    boot[64] = 0x80; // BS_DrvNum
    boot[66] = 0x29; // BS_BootSig: the next three are there
    put(boot, 67, options.volume_id.to_le_bytes()); // BS_VolID
    put(boot, 71, *label); // BS_VolLab
    put(boot, 82, *b"FAT32   "); // BS_FilSysType
    put(boot, 90, BOOT_CODE);
    put(boot, 510, [0x55, 0xAA]); // Signature_word
}

fn fill_info(info: &mut [u8], geometry: &Geometry, used: u64) {
    let free = cluster_number(geometry.clusters - used);
    let next = if free == 0 { u32::MAX } else { cluster_number(used + 2) };
    put(info, 0, 0x4161_5252_u32.to_le_bytes()); // FSI_LeadSig
    put(info, 484, 0x6141_7272_u32.to_le_bytes()); // FSI_StrucSig
    put(info, 488, free.to_le_bytes()); // FSI_Free_Count
    put(info, 492, next.to_le_bytes()); // FSI_Nxt_Free
    put(info, 508, 0xAA55_0000_u32.to_le_bytes()); // FSI_TrailSig
}
