//! Why an image is not read.

use std::io;

/// Why an image is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{action}")]
    Io {
        /// What was read.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is no qcow2 image.
    #[error("it does not begin as a qcow2 image does")]
    Magic,
    /// Part of the disk is in another image.
    #[error("the image has a backing file, `{name}`, and is nothing without it")]
    Backing {
        /// The other image, as this one calls it.
        name: String,
    },
    /// It needs what this reader does not have.
    #[error("the image {need}, which is not read")]
    Unsupported {
        /// What it needs, as a fragment: `is encrypted`.
        need: String,
    },
    /// It ends early, or points behind its end.
    #[error("the image is cut short or corrupt: {part} at {offset} ends at {end}, the file at {size}")]
    Outside {
        /// What is not there.
        part: &'static str,
        /// Where it begins.
        offset: u64,
        /// Where it ends.
        end: u64,
        /// The size of the file.
        size: u64,
    },
    /// It contradicts itself.
    #[error("the image is corrupt at offset {offset}: {problem}")]
    Corrupt {
        /// Where in the file.
        offset: u64,
        /// How.
        problem: String,
    },
}

pub(super) fn reading(action: &'static str) -> impl FnOnce(io::Error) -> ReadError {
    move |source| ReadError::Io { action, source }
}

pub(super) fn corrupt(offset: u64, problem: impl Into<String>) -> ReadError {
    ReadError::Corrupt { offset, problem: problem.into() }
}
