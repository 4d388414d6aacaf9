//! Sizes in bytes and places on a disk.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes. As text: a whole number with a unit, `512MiB`, `4GiB`, `4096B`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteCount(u64);

/// What is wrong with the text of a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseByteCountError {
    /// No digits in front, or something between digits and unit.
    #[error("`{0}` is not a size: write a whole number and a unit, such as `512MiB` or `2GiB`")]
    Malformed(String),
    /// The unit is not one we know.
    #[error("`{unit}` is not a unit of size: use B, KiB, MiB, GiB or TiB")]
    UnknownUnit {
        /// The unit as typed.
        unit: String,
    },
    /// More than 2^64 − 1 bytes.
    #[error("`{0}` is more than 2^64 − 1 bytes")]
    TooLarge(String),
}

/// The units, largest first, so that text takes the largest that divides.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteCount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1 048 576 bytes.
    #[must_use]
    pub const fn from_mib(mebibytes: u32) -> Self {
        // Cannot overflow: 2^32 · 2^20 < 2^64. Widening, for `u64::from` is not yet const.
        #[expect(clippy::as_conversions, reason = "widening in a const fn")]
        Self((mebibytes as u64) << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum; `None` past 2^64 − 1 bytes.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Rounds up to a whole number of grains; `None` past 2^64 − 1 bytes.
    #[must_use]
    pub const fn round_up(self, grain: Alignment) -> Option<Self> {
        match self.0.checked_next_multiple_of(grain.0.get()) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// Whether this is a whole number of grains.
    #[must_use]
    pub const fn is_multiple_of(self, grain: Alignment) -> bool {
        self.0.is_multiple_of(grain.0.get())
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .into_iter()
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl FromStr for ByteCount {
    type Err = ParseByteCountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let unit = unit.trim_start();
        if digits.is_empty() || unit.is_empty() {
            return Err(ParseByteCountError::Malformed(text.to_owned()));
        }
        let (_, factor) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| ParseByteCountError::UnknownUnit { unit: unit.to_owned() })?;
        let too_large = || ParseByteCountError::TooLarge(text.to_owned());
        let number: u64 = digits.parse().map_err(|_| too_large())?;
        number.checked_mul(factor).map(Self).ok_or_else(too_large)
    }
}

impl TryFrom<String> for ByteCount {
    type Error = ParseByteCountError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ByteCount> for String {
    fn from(size: ByteCount) -> Self {
        size.to_string()
    }
}

/// A grain that sizes and offsets are rounded to. Never zero, so rounding cannot divide by zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alignment(NonZero<u64>);

impl Alignment {
    /// One mebibyte: where partitions begin, for every erase block and stripe in use divides it.
    pub const MIB: Self = Self(NonZero::new(1 << 20).expect("not zero"));

    /// A grain of so many bytes.
    #[must_use]
    pub const fn new(bytes: NonZero<u64>) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// The size of a disk's logical sector, which LBAs count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SectorSize {
    /// 512 bytes: nearly every disk, and what QEMU shows by default.
    #[default]
    #[serde(rename = "512")]
    B512,
    /// 4096 bytes: “4Kn” disks.
    #[serde(rename = "4096")]
    B4096,
}

impl SectorSize {
    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

/// A logical block address: a place on a disk, counted in its sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lba(u64);

impl Lba {
    /// The sector with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of the sector.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset of the sector's first byte; `None` past 2^64 − 1 bytes.
    #[must_use]
    pub const fn offset(self, sector: SectorSize) -> Option<ByteCount> {
        match self.0.checked_mul(sector.get()) {
            Some(bytes) => Some(ByteCount::new(bytes)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write_the_same_text() {
        for (text, bytes) in [("4096B", 4096), ("1KiB", 1 << 10), ("512MiB", 512 << 20), ("3TiB", 3 << 40)] {
            let size: ByteCount = text.parse().unwrap();
            assert_eq!(size.get(), bytes);
            let again: ByteCount = size.to_string().parse().unwrap();
            assert_eq!(again, size, "{text}");
        }
        assert_eq!(ByteCount::ZERO.to_string(), "0B");
        assert_eq!("4 GiB".parse(), Ok(ByteCount::new(4 << 30)));
    }

    #[test]
    fn what_is_not_a_size_says_why() {
        for (text, message) in [
            ("", "`` is not a size: write a whole number and a unit, such as `512MiB` or `2GiB`"),
            ("-1GiB", "`-1GiB` is not a size: write a whole number and a unit, such as `512MiB` or `2GiB`"),
            ("12", "`12` is not a size: write a whole number and a unit, such as `512MiB` or `2GiB`"),
            ("4GB", "`GB` is not a unit of size: use B, KiB, MiB, GiB or TiB"),
            ("1.5GiB", "`.5GiB` is not a unit of size: use B, KiB, MiB, GiB or TiB"),
            ("16777216TiB", "`16777216TiB` is more than 2^64 − 1 bytes"),
        ] {
            assert_eq!(text.parse::<ByteCount>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn rounding_up_stops_at_the_end_of_the_numbers() {
        assert_eq!(ByteCount::new(1).round_up(Alignment::MIB), Some(ByteCount::from_mib(1)));
        assert_eq!(ByteCount::from_mib(1).round_up(Alignment::MIB), Some(ByteCount::from_mib(1)));
        assert_eq!(ByteCount::new(u64::MAX).round_up(Alignment::MIB), None);
    }
}
