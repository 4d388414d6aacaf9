//! The index of an image: who brought every path of it, and why that came along.
//!
//! One file beside the image, `NAME_VERSION_ARCH.index.zst`: two lines of JSON, compressed. The first says
//! which image it is of, so that the index of another is refused before it is read; the second has packages
//! with what asked for them, and every path of every tree with the hands that it went through. `make` makes
//! it while the image is built, and refuses a path that nobody owns; `why` answers from it.

mod document;
mod identity;
mod make;
mod relations;
pub mod sizes;
mod stages;
mod why;
mod wishes;

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use goni_model::document::nearest::nearest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::host::files::{self, FileError};

pub(crate) use document::text_of;
pub use document::{HandLine, Index, Kind, Line, Place, Tree, What};
pub use identity::IdentityError;
pub use make::UnownedError;
pub(crate) use make::{Laid, Source, Written, make};
pub use why::{Answer, Asked, Chain, Found, HandAnswer, Link, Maker, PackageAnswer, Setting};

/// What an index's name ends in, behind the image's.
pub const SUFFIX: &str = ".index.zst";

/// The version of this format.
const SCHEMA: u32 = 1;

/// What the first line calls it.
const FORMAT: &str = "goni-compose index";

/// The largest index that is read, compressed and not: a hundred times the usual.
const LARGEST: u64 = 64 << 20;
const LARGEST_TEXT: u64 = 512 << 20;

/// How hard it is compressed: past this, what is saved is not worth the time.
const LEVEL: i32 = 6;

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    schema: u32,
    /// The identifiers of the image's partitions, in order. That of the root is half of its hash.
    partitions: Vec<Uuid>,
}

/// Why there is no index to answer from.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is not beside the image.
    #[error("`{image}` has no index: `{index}` is not there")]
    Absent {
        /// The image.
        image: String,
        /// Where its index would be.
        index: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is none, or cut short.
    #[error("`{index}` is no index of an image: {reason}")]
    Corrupt {
        /// The file.
        index: String,
        /// What is wrong.
        reason: String,
    },
    /// Of a later version of the program.
    #[error("`{index}` has version {found}; this program reads version {SCHEMA}")]
    Schema {
        /// The file.
        index: String,
        /// What it says.
        found: u32,
    },
    /// Of another image.
    #[error("`{index}` is the index of another image than `{image}`")]
    Other {
        /// The file.
        index: String,
        /// The image.
        image: String,
    },
    /// The image cannot be told.
    #[error("telling which image `{image}` is")]
    Identity {
        /// The image.
        image: String,
        /// Why.
        source: IdentityError,
    },
}

impl Classify for IndexError {
    fn class(&self) -> Class {
        match self {
            Self::File(error) => error.class(),
            Self::Absent { .. } => Class::Environment,
            Self::Identity { source, .. } => source.class(),
            Self::Corrupt { .. } | Self::Schema { .. } | Self::Other { .. } => Class::Check,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Absent { .. } => Some(
                "`build` writes it beside the image: keep the two together, or name it with --index".into(),
            ),
            Self::Identity { source, .. } => source.hint(),
            Self::Other { .. } => Some("each image has the index that was built with it".to_owned()),
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}

/// The bytes of an index.
///
/// # Errors
/// What writing it down raises; there is no reason for it to.
pub(crate) fn pack(index: &Index, partitions: &[Uuid]) -> io::Result<Vec<u8>> {
    let head = Head { format: FORMAT.to_owned(), schema: SCHEMA, partitions: partitions.to_vec() };
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    serde_json::to_writer(&mut encoder, &head)?;
    encoder.write_all(b"\n")?;
    serde_json::to_writer(&mut encoder, index)?;
    encoder.write_all(b"\n")?;
    encoder.finish()
}

/// Reads an index; where an image is given, only if it is of that.
fn unpack(bytes: &[u8], name: &str, image: Option<(&str, &[Uuid])>) -> Result<Index, IndexError> {
    let corrupt = |reason: String| IndexError::Corrupt { index: name.to_owned(), reason };
    let mut text = Vec::new();
    zstd::Decoder::new(bytes)
        .and_then(|decoder| decoder.take(LARGEST_TEXT).read_to_end(&mut text))
        .map_err(|error| corrupt(format!("it cannot be decompressed: {error}")))?;
    let end = memchr::memchr(b'\n', &text).ok_or_else(|| corrupt("it has no lines".to_owned()))?;
    let (head, body) = text.split_at(end);
    let head: Head =
        serde_json::from_slice(head).map_err(|error| corrupt(format!("its first line: {error}")))?;
    if head.format != FORMAT {
        return Err(corrupt(format!("it calls itself `{}`", head.format.escape_debug())));
    }
    if head.schema != SCHEMA {
        return Err(IndexError::Schema { index: name.to_owned(), found: head.schema });
    }
    if let Some((image, partitions)) = image
        && head.partitions != partitions
    {
        return Err(IndexError::Other { index: name.to_owned(), image: image.to_owned() });
    }
    let index: Index = serde_json::from_slice(body).map_err(|error| corrupt(error.to_string()))?;
    index.check().map_err(corrupt)?;
    Ok(index)
}

/// Where the index of an image is: beside it, by its name without what says format and sector size.
#[must_use]
pub fn beside(image: &Path) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let stem = [".raw", ".qcow2"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let stem = stem.strip_suffix(".4k").unwrap_or(stem);
    image.with_file_name(format!("{stem}{SUFFIX}"))
}

/// Reads the index of an image, raw or qcow2, from beside it or from where it is said to be, and sees that
/// it is of that image.
///
/// # Errors
/// [`IndexError`].
pub fn of_image(image: &Path, index: Option<&Path>) -> Result<Index, IndexError> {
    let place = index.map_or_else(|| beside(image), Path::to_owned);
    let (shown, name) = (image.display().to_string(), place.display().to_string());
    let partitions = identity::partitions(image)
        .map_err(|source| IndexError::Identity { image: shown.clone(), source })?;
    let bytes = match files::read_capped(&place, LARGEST) {
        Err(error) if error.is_not_found() => {
            return Err(IndexError::Absent { image: shown, index: name });
        }
        read => read?,
    };
    unpack(&bytes, &name, Some((&shown, &partitions)))
}

/// Reads an index by itself.
///
/// # Errors
/// As [`of_image`]; what cannot be read is `File`.
pub fn read(place: &Path) -> Result<Index, IndexError> {
    unpack(&files::read_capped(place, LARGEST)?, &place.display().to_string(), None)
}

/// A path of an index that may have been meant.
fn near<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(wanted, known)
}

#[cfg(test)]
pub(crate) mod tests;
