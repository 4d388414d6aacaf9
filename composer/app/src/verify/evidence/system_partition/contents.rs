//! The bytes of the files of an EFI system partition that was read and found whole.

use std::io::{self, Read, Seek, SeekFrom};

use fatfs::{FileSystem, FsOptions};
use goni_disk::uki::Image;
use goni_model::digest::Sha256Digest;
use goni_model::number::to_u64;
use sha2::{Digest as _, Sha256};

use crate::host::image::Window;

/// Bytes that are digested together.
const PIECE: usize = 64 << 10;

/// Most bytes of a file that is read whole.
const FILE_LIMIT: u64 = 256 << 20;

/// The file system, opened once more.
pub(in crate::verify) struct Contents<'a>(FileSystem<Window<'a>>);

impl<'a> Contents<'a> {
    /// Opens it.
    pub(in crate::verify) fn open(mut window: Window<'a>) -> io::Result<Self> {
        window.seek(SeekFrom::Start(0))?;
        FileSystem::new(window, FsOptions::new().update_accessed_date(false)).map(Self)
    }

    /// A file, to be read.
    pub(in crate::verify) fn file<'c>(&'c self, path: &str) -> io::Result<impl Read + Seek + use<'c, 'a>> {
        self.0.root_dir().open_file(path)
    }

    /// The bytes of a file.
    pub(in crate::verify) fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
        if to_u64(bytes.len()) > FILE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too much to look at"));
        }
        Ok(bytes)
    }

    /// Size and digest of a file.
    pub(in crate::verify) fn digest(&self, path: &str) -> io::Result<(u64, Sha256Digest)> {
        digest(&mut self.file(path)?)
    }

    /// The digest of each section of a program, in the order of its table.
    pub(in crate::verify) fn sections(&self, path: &str, image: &Image) -> io::Result<Vec<Sha256Digest>> {
        let mut file = self.file(path)?;
        let digests = image.sections.iter().map(|section| {
            file.seek(SeekFrom::Start(section.offset))?;
            digest(&mut (&mut file).take(section.size)).map(|(_, digest)| digest)
        });
        digests.collect()
    }
}

/// How much there is to be read, and its digest.
fn digest(bytes: &mut impl Read) -> io::Result<(u64, Sha256Digest)> {
    let (mut hasher, mut piece, mut size) = (Sha256::new(), vec![0; PIECE], 0);
    loop {
        let count = bytes.read(&mut piece)?;
        if count == 0 {
            return Ok((size, Sha256Digest::finish(hasher)));
        }
        hasher.update(&piece[..count]);
        size += to_u64(count);
    }
}
