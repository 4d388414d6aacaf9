//! The partition that a loader reads `extlinux.conf` from, as `ext4-view` reads it.

use std::collections::BTreeMap;

use ext4_view::{Ext4, FileType};
use goni_model::size::ByteCount;

use super::chain;
use super::state::{StateError, Superblock, Volume, superblock, walk};
use crate::host::image::Image;
use crate::verify::objection::Objection;

/// Entries that are looked at: a finished image has under ten.
const ENTRIES_LIMIT: usize = 1000;

/// Most bytes of a file that are looked at.
const FILE_LIMIT: u64 = 256 << 20;

/// The files of the partition.
#[derive(Debug)]
pub(in crate::verify) struct App<'a> {
    image: &'a Image,
    offset: ByteCount,
    size: ByteCount,
    /// What its superblock says.
    pub(in crate::verify) superblock: Superblock,
    /// Every file by its path from the root, without a leading `/`.
    pub(in crate::verify) files: BTreeMap<String, AppFile>,
}

/// A file, or what is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::verify) struct AppFile {
    /// Its size.
    pub(in crate::verify) size: u64,
    /// Whether it is a file of bytes.
    pub(in crate::verify) regular: bool,
}

impl<'a> App<'a> {
    /// Walks all of it.
    pub(super) fn read(image: &'a Image, offset: ByteCount, size: ByteCount) -> Result<Self, StateError> {
        let file_system = Ext4::load(Box::new(Volume::new(image, offset, size)))?;
        let mut files = BTreeMap::new();
        for (place, metadata) in walk(&file_system, ENTRIES_LIMIT)? {
            let kind = metadata.file_type();
            if kind != FileType::Directory {
                let name = String::from_utf8_lossy(place.as_ref()).trim_start_matches('/').to_owned();
                files.insert(name, AppFile { size: metadata.len(), regular: kind == FileType::Regular });
            }
        }
        Ok(Self { image, offset, size, superblock: superblock(image, offset, size)?, files })
    }

    /// The bytes of a file.
    pub(in crate::verify) fn bytes(&self, place: &str) -> Result<Vec<u8>, Objection> {
        let expected = || format!("a file `/{place}` on the app partition");
        match self.files.get(place) {
            None => return Err(Objection::differs(expected(), "there is none")),
            Some(AppFile { regular: false, .. }) => return Err(Objection::differs(expected(), "no file")),
            Some(AppFile { size, .. }) if *size > FILE_LIMIT => {
                return Err(Objection::differs(expected(), format!("{size} bytes are too much to look at")));
            }
            Some(_) => {}
        }
        let read = || -> Result<Vec<u8>, StateError> {
            let file_system = Ext4::load(Box::new(Volume::new(self.image, self.offset, self.size)))?;
            Ok(file_system.read(format!("/{place}").as_str())?)
        };
        read().map_err(|error| Objection::differs(expected(), chain(&error)))
    }
}
