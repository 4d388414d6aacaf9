//! What the host does to a disk while its machine is off, and what has to be left of it afterwards.

use std::io::{self, Read};
use std::path::PathBuf;

use goni_model::digest::Sha256Digest;
use goni_model::report::Outcome;
use goni_model::size::ByteCount;
use sha2::{Digest as _, Sha256};

/// Something that is done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preparation {
    /// One bit of the root partition's first byte is the other. No file system looks at that byte, but
    /// it is in the block of the superblock: whoever mounts the root reads it, and only a hash tells.
    FlipRoot,
    /// Somebody's ext4 file system lies at the beginning of the swap partition.
    ForeignSwap,
    /// A second disk has a partition that says it is the swap partition, with somebody's file system.
    TwinDisk,
}

impl Preparation {
    /// All.
    pub const ALL: [Self; 3] = [Self::FlipRoot, Self::ForeignSwap, Self::TwinDisk];

    /// Its name in scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlipRoot => "flip-root",
            Self::ForeignSwap => "foreign-swap",
            Self::TwinDisk => "twin-disk",
        }
    }
}

/// What a preparation left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// What must be unchanged when the run is over.
    pub planted: Option<Planted>,
    /// The second disk that the machine has from now on, as it sees it.
    pub second_disk: Option<PathBuf>,
}

/// Somebody's bytes, which a machine must leave alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planted {
    /// Why they are there.
    pub preparation: Preparation,
    /// The second disk, if they are not on the first.
    pub second_disk: Option<PathBuf>,
    /// Where they begin on their disk.
    pub offset: ByteCount,
    /// How many they are.
    pub size: ByteCount,
    /// Their digest.
    pub sha256: Sha256Digest,
}

impl Planted {
    /// Compares them with what is there now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn judge(&self, now: impl Read) -> io::Result<Outcome> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut now = now.take(self.size.get());
        loop {
            match now.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let found = Sha256Digest::finish(hasher);
        if found == self.sha256 {
            return Ok(Outcome::Passed);
        }
        let what = self.preparation.name();
        Ok(Outcome::Failed {
            expected: format!(
                "what `{what}` put at byte {} unchanged, sha256 {}",
                self.offset.get(),
                self.sha256
            ),
            observed: format!("sha256 {found}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_of_what_was_planted_is_noticed() {
        let planted = Planted {
            preparation: Preparation::ForeignSwap,
            second_disk: None,
            offset: ByteCount::from_mib(3),
            size: ByteCount::new(7),
            sha256: Sha256Digest::of(b"foreign"),
        };
        assert_eq!(planted.judge(&b"foreign and what follows"[..]).unwrap(), Outcome::Passed);
        for other in [&b"foreigN"[..], b"foreig"] {
            let Outcome::Failed { expected, observed } = planted.judge(other).unwrap() else { panic!() };
            let digest = Sha256Digest::of(b"foreign");
            let words = format!("what `foreign-swap` put at byte 3145728 unchanged, sha256 {digest}");
            assert_eq!((expected, observed), (words, format!("sha256 {}", Sha256Digest::of(other))));
        }
    }
}
