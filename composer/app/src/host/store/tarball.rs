//! Exports in one file: a tar archive of regular files, the same bytes for the same content.
//!
//! Only what the writer makes is read: ustar headers with plain names, no links, no folders, no extensions, and
//! zeros after the end. Everything else is refused. Source: POSIX.1-2024 pax, "ustar Interchange Format".

use std::io::{self, Read, Write};

use goni_model::number::{to_u64, to_usize};

/// A header, and the unit that contents are padded to.
const BLOCK: usize = 512;

/// The longest name: the field without a prefix.
const NAME: usize = 100;

/// The largest file: eleven octal digits.
const LARGEST: u64 = (1 << 33) - 1;

/// How many zeros end an archive: two blocks, as everybody writes it.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(io::Error),
    /// It ends too early.
    #[error("it is cut short, within {within}")]
    CutShort {
        /// What it ends in.
        within: String,
    },
    /// A header is not as the writer makes them.
    #[error("at byte {offset}: {fault}")]
    Header {
        /// Where the header begins.
        offset: u64,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A file is too large, or its name too long.
    #[error("`{name}` does not fit into the archive")]
    Unfit {
        /// Its name.
        name: String,
    },
}

/// Writes an archive.
pub(super) struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a file of exactly `size` bytes.
    pub(super) fn add(&mut self, name: &str, size: u64, bytes: &mut dyn Read) -> Result<(), TarError> {
        self.out.write_all(&header(name, size)?).map_err(TarError::Io)?;
        let copied = io::copy(&mut bytes.take(size), &mut self.out).map_err(TarError::Io)?;
        if copied != size {
            return Err(TarError::CutShort { within: format!("`{name}`") });
        }
        self.out.write_all(&END[..padding(size)]).map_err(TarError::Io)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W, TarError> {
        self.out.write_all(&END).map_err(TarError::Io)?;
        self.out.flush().map_err(TarError::Io)?;
        Ok(self.out)
    }
}

/// How many bytes fill the last block of a file.
fn padding(size: u64) -> usize {
    let over = to_usize(size % to_u64(BLOCK));
    if over == 0 { 0 } else { BLOCK.saturating_sub(over) }
}

fn header(name: &str, size: u64) -> Result<[u8; BLOCK], TarError> {
    if name.len() > NAME || size > LARGEST {
        return Err(TarError::Unfit { name: name.to_owned() });
    }
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000444\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum = checksum(&header);
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// The sum of a header's bytes, its own field counted as blanks.
fn checksum(header: &[u8; BLOCK]) -> u32 {
    let of = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    header.iter().enumerate().map(of).sum()
}

/// Reads an archive, file by file. Reading from it yields the bytes of the current one.
pub(super) struct Reader<R> {
    input: R,
    offset: u64,
    /// What is left of the current file.
    left: u64,
    /// What fills its last block.
    padding: usize,
    name: String,
}

impl<R: Read> Reader<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, offset: 0, left: 0, padding: 0, name: String::new() }
    }

    /// The next file, its name and its size; `None` at the end, behind which nothing may be.
    pub(super) fn next(&mut self) -> Result<Option<(String, u64)>, TarError> {
        io::copy(self, &mut io::sink()).map_err(|error| self.failed(error))?;
        let mut block = [0; BLOCK];
        let filling = self.padding;
        self.fill(&mut block[..filling], "a file's last block")?;
        let offset = self.offset;
        let fault = |fault| Err(TarError::Header { offset, fault });
        if block[..filling].iter().any(|byte| *byte != 0) {
            return fault("the block before is not filled with zeros");
        }
        self.padding = 0;
        self.fill(&mut block, "a header")?;
        if block == [0; BLOCK] {
            self.end()?;
            return Ok(None);
        }
        let text = |field: &[u8]| -> Option<String> {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            let clean = field[end..].iter().all(|byte| *byte == 0);
            String::from_utf8(field[..end].to_vec()).ok().filter(|_| clean)
        };
        let octal = |field: &[u8]| u64::from_str_radix(text(field)?.trim_end(), 8).ok();
        if octal(&block[148..155]) != Some(u64::from(checksum(&block))) {
            return fault("the checksum of the header is wrong");
        }
        let (Some(name), Some(size)) = (text(&block[..NAME]), octal(&block[124..136])) else {
            return fault("the header is not as an export has it");
        };
        // Whatever else a header could say is refused with this: kinds, owners, times, prefixes.
        if header(&name, size).ok() != Some(block) {
            return fault("the member is no plain file of an export");
        }
        (self.left, self.padding, self.name) = (size, padding(size), name.clone());
        Ok(Some((name, size)))
    }

    /// The error of reading the current file, as one of the archive.
    pub(super) fn failed(&self, error: io::Error) -> TarError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => TarError::CutShort { within: format!("`{}`", self.name) },
            _ => TarError::Io(error),
        }
    }

    /// Sees that only zeros follow.
    fn end(&mut self) -> Result<(), TarError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block, "its end")?;
        let mut rest = Vec::new();
        self.input.by_ref().take(1 << 20).read_to_end(&mut rest).map_err(TarError::Io)?;
        match block.iter().chain(&rest).all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(TarError::Header { offset: self.offset, fault: "something follows the end" }),
        }
    }

    fn fill(&mut self, bytes: &mut [u8], within: &str) -> Result<(), TarError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TarError::CutShort { within: within.to_owned() },
            _ => TarError::Io(error),
        })?;
        self.offset = self.offset.saturating_add(to_u64(bytes.len()));
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = to_usize(self.left.min(to_u64(bytes.len())));
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut bytes[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(to_u64(count));
        self.offset = self.offset.saturating_add(to_u64(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, bytes) in files {
            writer.add(name, to_u64(bytes.len()), &mut &bytes[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, TarError> {
        let mut reader = Reader::new(bytes);
        let mut files = Vec::new();
        while let Some((name, _)) = reader.next()? {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).map_err(|error| reader.failed(error))?;
            files.push((name, content));
        }
        Ok(files)
    }

    #[test]
    fn what_is_written_is_read_and_always_the_same() {
        let files: [(&str, &[u8]); 3] = [("a/b", b"one"), ("empty", b""), ("block", &[7; 512])];
        let bytes = archive(&files);
        assert_eq!(bytes.len(), 512 * (3 + 2 + 2));
        assert_eq!(bytes, archive(&files));
        let read = read(&bytes).unwrap();
        assert_eq!(read[0], ("a/b".to_owned(), b"one".to_vec()));
        assert_eq!((read[1].1.len(), read[2].1.len()), (0, 512));
    }

    #[test]
    fn an_archive_that_ends_anywhere_else_is_cut_short() {
        let bytes = archive(&[("a", &[1; 700]), ("b", b"two")]);
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(matches!(error, TarError::CutShort { .. }), "{length}: {error}");
        }
        assert_eq!(read(&bytes[..600]).unwrap_err().to_string(), "it is cut short, within `a`");
    }

    #[test]
    fn a_flipped_bit_of_a_header_and_foreign_members_are_refused() {
        let good = archive(&[("a", b"bytes")]);
        for at in 0..512 {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(matches!(read(&bytes), Err(TarError::Header { offset: 0, .. })), "{at}");
        }
        let mut link = good.clone();
        link[156] = b'2';
        let sum = checksum(link[..512].try_into().unwrap());
        link[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let error = read(&link).unwrap_err().to_string();
        assert_eq!(error, "at byte 0: the member is no plain file of an export");
        let mut after = good;
        after.push(1);
        assert!(read(&after).unwrap_err().to_string().ends_with("something follows the end"));
    }
}
