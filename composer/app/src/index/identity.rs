//! Which image a file is: the identifiers of its partitions, read from its first bytes alone.

use std::io::{self, Cursor, Read as _};
use std::path::Path;

use goni_disk::gpt::{self, GptError};
use goni_model::size::ByteCount;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::host::image::{Image, ImageError};

/// Enough for a table of sectors of 4096 bytes: 6 of them.
const HEAD: ByteCount = ByteCount::new(64 << 10);

/// Why an image cannot be told from others.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is no image that can be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its bytes cannot be read.
    #[error("reading its first bytes")]
    Io(#[from] io::Error),
    /// It has no partition table.
    #[error("reading its partition table")]
    Table(#[from] GptError),
}

impl Classify for IdentityError {
    fn class(&self) -> Class {
        match self {
            Self::Image(error) => error.class(),
            Self::Io(_) => Class::Environment,
            Self::Table(_) => Class::Check,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Io(_) | Self::Table(_) => None,
        }
    }
}

/// The identifiers of the partitions of an image, raw or qcow2, in their order. Of a table whose end is cut
/// off, or not where it was, the primary copy is enough.
pub(super) fn partitions(image: &Path) -> Result<Vec<Uuid>, IdentityError> {
    let image = Image::open(image)?;
    let mut head = Vec::new();
    image.window(ByteCount::ZERO, HEAD).read_to_end(&mut head)?;
    let mut device = Cursor::new(head);
    let sector_size = gpt::sector_size(&mut device)?;
    let (table, _) = gpt::read_either(&mut device, image.size(), sector_size)?;
    Ok(table.partitions.iter().map(|partition| partition.guid).collect())
}
