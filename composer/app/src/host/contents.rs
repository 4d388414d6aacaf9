//! The bytes behind a finished tree: the configured directory, and files taken in from elsewhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use goni_disk::tree::{Content, ContentKey, ContentSource};
use goni_model::digest::Sha256Digest;
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;
use sha2::{Digest as _, Sha256};

use crate::host::disk_file::DiskFile;
use crate::host::walk::Directory;

/// What sets the keys of files from elsewhere apart: no path in a directory holds a NUL.
const ELSEWHERE: &[u8] = b"\0file\0";

/// A directory and single files, as one source of bytes.
#[derive(Debug)]
pub struct Contents {
    directory: Directory,
    files: BTreeMap<ContentKey, (PathBuf, Sha256Digest)>,
}

/// A file that was read through once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its first bytes, 64 at most: what tells a program's format.
    pub head: Vec<u8>,
}

/// Reads a file through, without keeping it.
///
/// # Errors
/// What reading raises; a directory is `IsADirectory`.
pub fn inspect(path: &Path) -> io::Result<Inspected> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let (mut size, mut head, mut buffer) = (0, Vec::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Inspected { sha256: Sha256Digest::finish(hasher), size, head });
        }
        if size == 0 {
            head.extend_from_slice(&buffer[..read.min(64)]);
        }
        hasher.update(&buffer[..read]);
        size += to_u64(read);
    }
}

/// The digest of a whole disk. Holes are not read: zeros are zeros.
///
/// # Errors
/// What reading raises.
pub fn digest_disk(disk: &DiskFile) -> io::Result<(u64, Sha256Digest)> {
    let size = disk.size()?.get();
    let (mut hasher, mut position) = (Sha256::new(), 0);
    let (zeros, mut buffer) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for extent in disk.extents()?.into_iter().chain(std::iter::once(size..size)) {
        let mut hole = extent.start.saturating_sub(position);
        while hole > 0 {
            let part = to_usize(hole.min(to_u64(zeros.len())));
            hasher.update(&zeros[..part]);
            hole -= to_u64(part);
        }
        let mut data = disk.window(ByteCount::new(extent.start), ByteCount::new(extent.end - extent.start));
        loop {
            match data.read(&mut buffer)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        position = extent.end;
    }
    Ok((size, Sha256Digest::finish(hasher)))
}

impl Contents {
    /// The bytes of a directory.
    #[must_use]
    pub const fn new(directory: Directory) -> Self {
        Self { directory, files: BTreeMap::new() }
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Adds a file; returns what names its bytes. Reading it later to its end fails if they are others by then.
    pub fn add(&mut self, path: &Path, inspected: &Inspected) -> Content {
        let key = ContentKey::new([ELSEWHERE, inspected.sha256.to_string().as_bytes()].concat());
        self.files.insert(key.clone(), (path.to_owned(), inspected.sha256));
        Content::Stored { key, size: inspected.size }
    }
}

impl ContentSource for Contents {
    fn open(&self, key: &ContentKey) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.files.get(key) {
            Some((path, sha256)) => Ok(Box::new(Unchanged::open(path, *sha256)?)),
            None => self.directory.open(key),
        }
    }
}

/// A file that is hashed while it is read, and at its end has to be what it was.
struct Unchanged {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    expected: Sha256Digest,
}

impl Unchanged {
    fn open(path: &Path, expected: Sha256Digest) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, path: path.to_owned(), hasher: Sha256::new(), expected })
    }
}

impl Read for Unchanged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && Sha256Digest::finish(self.hasher.clone()) != self.expected {
            let message =
                format!("`{}` was changed while the image was built: build again", self.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    #[test]
    fn a_file_that_is_another_when_it_is_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("program");
        std::fs::write(&path, "first").unwrap();
        let mut contents = Contents::new(Directory::open(place.path()).unwrap());
        let content = contents.add(&path, &inspect(&path).unwrap());
        let read = || {
            let mut bytes = Vec::new();
            content.open(&contents).unwrap().read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(read().unwrap(), b"first");
        // As long, and not the same.
        std::fs::write(&path, "other").unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.ends_with("was changed while the image was built: build again"), "{error}");
    }

    #[test]
    fn a_disk_with_holes_digests_like_its_bytes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("disk");
        let disk = DiskFile::create(&path, ByteCount::new((5 << 20) + 3)).unwrap();
        let mut whole = disk.whole().unwrap();
        for offset in [0, (2 << 20) + 17, (5 << 20) + 1] {
            whole.seek(SeekFrom::Start(offset)).unwrap();
            whole.write_all(b"ab").unwrap();
        }
        let (size, sha256) = digest_disk(&disk).unwrap();
        let inspected = inspect(&path).unwrap();
        assert_eq!((size, sha256), (inspected.size, inspected.sha256));
    }
}
