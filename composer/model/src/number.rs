//! Lossless crossings between `usize` and `u64`.
//!
//! Sizes on disk are 64-bit, lengths in memory are `usize`; the program only builds where the
//! two are equally wide, so the crossing can neither lose a bit nor fail. These two functions are
//! the only place where that is used.

const _: () = assert!(usize::BITS == u64::BITS, "goni-compose needs a 64-bit host");

/// Widens a length in memory to a size on disk.
#[must_use]
#[expect(clippy::as_conversions, reason = "usize is 64 bits wide, asserted above")]
pub const fn to_u64(length: usize) -> u64 {
    length as u64
}

/// Narrows a size on disk to a length in memory.
#[must_use]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "usize is 64 bits wide, asserted above"
)]
pub const fn to_usize(size: u64) -> usize {
    size as usize
}
