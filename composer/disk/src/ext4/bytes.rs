//! Placing integers into records, and the checksum of all ext4 metadata.

/// CRC-32C without the final inversion, going on from a previous value.
///
/// Source: kernel `ext4_chksum`, which is `crc32c(seed, data)`; a fresh one starts from all ones.
pub(super) fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// Overwrites the bytes at an offset. Offsets are constants of the format, within the record.
pub(super) fn put<const N: usize>(record: &mut [u8], offset: usize, value: [u8; N]) {
    record[offset..offset + N].copy_from_slice(&value);
}

/// The low 16 bits.
pub(super) const fn low16(value: u64) -> [u8; 2] {
    let [a, b, ..] = value.to_le_bytes();
    [a, b]
}

/// Bits 16 to 31.
pub(super) const fn high16(value: u64) -> [u8; 2] {
    let [_, _, a, b, ..] = value.to_le_bytes();
    [a, b]
}

/// The low 32 bits.
pub(super) const fn low32(value: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = value.to_le_bytes();
    [a, b, c, d]
}

/// Bits 32 to 63.
pub(super) const fn high32(value: u64) -> [u8; 4] {
    let [_, _, _, _, a, b, c, d] = value.to_le_bytes();
    [a, b, c, d]
}

/// Bits 32 to 47: the upper part of a block number.
pub(super) const fn upper16(value: u64) -> [u8; 2] {
    let [_, _, _, _, a, b, ..] = value.to_le_bytes();
    [a, b]
}

/// Splits a signed number of seconds as inodes do: the low half, then bits 32 and 33 of its distance
/// from that half read as signed. `None` outside 1901 to 2446.
///
/// Source: ext4/inodes.rst, “Inode Timestamps”.
pub(super) fn split_seconds(seconds: i64) -> Option<([u8; 4], u32)> {
    let [a, b, c, d, ..] = seconds.to_le_bytes();
    let low = [a, b, c, d];
    let epoch = seconds.checked_sub(i64::from(i32::from_le_bytes(low)))? >> 32;
    let epoch = u32::try_from(epoch).ok().filter(|epoch| *epoch < 4)?;
    Some((low, epoch))
}
