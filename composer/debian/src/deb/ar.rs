//! The outer archive: `ar` in its common form, no symbol table, no long names.
//!
//! Source: deb(5); ar(5). Header of 60 bytes: name 16, mtime 12, uid 6, gid 6, mode 8, size 10, magic 2.

use std::io::{BufRead, Read, Take};

use goni_model::number::to_u64;

use super::decode::Compression;
use super::error::{ContainerFault, DebError, shown};
use super::is_exhausted;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: u64 = 60;
/// deb(5) allows 2.x; every version but 2.0 is yet to be written down.
const FORMAT: &[u8] = b"2.0\n";

/// Walks an archive; a member is entered, read and left.
#[derive(Debug)]
pub(super) struct ArReader<R> {
    input: Take<R>,
    /// Length of the file.
    length: u64,
    /// Where the next header or member byte is, counted when a header is read and a member left.
    offset: u64,
    name: String,
    size: u64,
}

impl<R: BufRead> ArReader<R> {
    pub(super) fn open(mut input: R, length: u64) -> Result<Self, DebError> {
        let mut magic = [0; 8];
        if !fill(&mut input, &mut magic)? || magic != *MAGIC {
            return Err(ContainerFault::NotAr.into());
        }
        let offset = to_u64(MAGIC.len());
        Ok(Self { input: input.take(0), length, offset, name: String::new(), size: 0 })
    }

    /// Reads `debian-binary`, the first member.
    pub(super) fn read_format(&mut self) -> Result<(), DebError> {
        self.enter("debian-binary")?;
        if self.name != "debian-binary" {
            return Err(self.misplaced("debian-binary"));
        }
        let mut text = Vec::new();
        (&mut self.input).take(16).read_to_end(&mut text).map_err(DebError::Io)?;
        if text != FORMAT {
            let text = text.strip_suffix(b"\n").unwrap_or(&text);
            return Err(ContainerFault::Format(shown(text)).into());
        }
        self.leave()
    }

    /// Enters the inner archive of this name and says how it is compressed.
    pub(super) fn enter_archive(&mut self, name: &'static str) -> Result<Compression, DebError> {
        self.enter(name)?;
        let Some(suffix) = self.name.strip_prefix(name) else { return Err(self.misplaced(name)) };
        match Compression::of_suffix(suffix) {
            Some(compression) => Ok(compression),
            None if suffix.starts_with('.') => Err(ContainerFault::Compression(self.name.clone()).into()),
            None => Err(self.misplaced(name)),
        }
    }

    /// The bytes of the member that was entered.
    pub(super) fn member(&mut self) -> &mut Take<R> {
        &mut self.input
    }

    /// Leaves a member, all of whose bytes must have been read, and its padding.
    pub(super) fn leave(&mut self) -> Result<(), DebError> {
        if self.input.limit() > 0 {
            if is_exhausted(&mut self.input)? {
                return Err(ContainerFault::BeyondEnd { name: self.name.clone(), size: self.size }.into());
            }
            return Err(ContainerFault::AfterStream(self.name.clone()).into());
        }
        // `enter` saw to it that the member ends within the file.
        self.offset = self.offset.saturating_add(self.size);
        if !self.size.is_multiple_of(2) {
            let mut padding = [0];
            if !fill(self.input.get_mut(), &mut padding)? || padding != *b"\n" {
                return Err(ContainerFault::Padding { name: self.name.clone() }.into());
            }
            self.offset = self.offset.saturating_add(1);
        }
        Ok(())
    }

    /// Skips what may follow the data: members whose names begin with `_`.
    pub(super) fn finish(&mut self) -> Result<(), DebError> {
        while !is_exhausted(self.input.get_mut())? {
            self.enter("_")?;
            if !self.name.starts_with('_') {
                return Err(self.misplaced("the end"));
            }
            std::io::copy(&mut self.input, &mut std::io::sink()).map_err(DebError::Io)?;
            self.leave()?;
        }
        Ok(())
    }

    fn misplaced(&self, expected: &'static str) -> DebError {
        ContainerFault::Order { expected, found: self.name.clone() }.into()
    }

    fn enter(&mut self, expected: &'static str) -> Result<(), DebError> {
        if is_exhausted(self.input.get_mut())? {
            return Err(ContainerFault::Missing { expected }.into());
        }
        let offset = self.offset;
        let mut header = [0; 60];
        if !fill(self.input.get_mut(), &mut header)? {
            return Err(ContainerFault::Truncated { offset }.into());
        }
        let malformed = || DebError::from(ContainerFault::Header { offset });
        if header[58..] != *b"`\n" {
            return Err(malformed());
        }
        let name = header[..16].trim_ascii_end();
        // GNU ar ends names with a slash; dpkg reads both.
        let name = name.strip_suffix(b"/").unwrap_or(name);
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed());
        }
        let size = header[48..58].trim_ascii_end();
        if !size.iter().all(u8::is_ascii_digit) {
            return Err(malformed());
        }
        let size = std::str::from_utf8(size).ok().and_then(|digits| digits.parse::<u64>().ok());
        self.name = shown(name);
        self.size = size.ok_or_else(malformed)?;
        self.offset = offset.saturating_add(HEADER);
        if self.offset.checked_add(self.size).is_none_or(|end| end > self.length) {
            return Err(ContainerFault::BeyondEnd { name: self.name.clone(), size: self.size }.into());
        }
        self.input.set_limit(self.size);
        Ok(())
    }
}

/// Fills the buffer; false if the input ends first.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<bool, DebError> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(DebError::Io(error)),
    }
}
