//! Unified kernel images: systemd's EFI stub with the kernel, its initrd and its command line
//! appended as sections of the one PE file.
//!
//! Written by appending alone: nothing of the stub moves. Sections are streamed, so an initrd is
//! never held in memory. Signing is left out; the result is laid out so that a signature covers all
//! of it, with no byte outside of headers and sections.
//!
//! An image may hold several ways to boot, its profiles: each `.profile` section begins one, and what
//! follows stands in for the sections of the same name before the first. The first is the default.
//!
//! Source: UAPI.5 Unified Kernel Image; systemd-stub(7); Microsoft PE format.

mod pe;
mod profile;

use std::io::{self, Read, Seek, SeekFrom, Write};

use goni_model::arch::Arch;
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use pe::{HEADERS_LIMIT, Pe, SectionHeader};

pub use profile::{Label, NewProfile, Profile};

/// Where in the file contents begin: a page, so that equal sections of two images share blocks.
const GRAIN: u32 = 4096;

/// Name of the section that holds the kernel.
const LINUX: &str = ".linux";

/// How much of the kernel is looked at before it is copied: its headers lie in the first page.
const KERNEL_HEAD: u64 = 4096;

/// A section to append.
pub struct NewSection<'a> {
    name: &'a str,
    size: ByteCount,
    content: Box<dyn Read + 'a>,
}

impl<'a> NewSection<'a> {
    /// A section whose bytes are at hand. Names are those of systemd-stub: `.osrel`, `.cmdline`, ….
    #[must_use]
    pub fn bytes(name: &'a str, content: &'a [u8]) -> Self {
        Self::stream(name, ByteCount::new(to_u64(content.len())), content)
    }

    /// A section whose bytes, so many of them, are read when its turn comes.
    #[must_use]
    pub fn stream(name: &'a str, size: ByteCount, content: impl Read + 'a) -> Self {
        Self { name, size, content: Box::new(content) }
    }
}

impl std::fmt::Debug for NewSection<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSection({}, {})", self.name, self.size)
    }
}

/// A section of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, such as `.cmdline`.
    pub name: String,
    /// Offset of its content in the file.
    pub offset: u64,
    /// Bytes of content, padding left out.
    pub size: u64,
    /// Address it is loaded to, relative to the image.
    pub address: u32,
}

/// What an image consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it runs on.
    pub arch: Arch,
    /// Its sections, those of the stub first.
    pub sections: Vec<Section>,
}

/// Why an image was not written or not read.
#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    /// Reading or writing.
    #[error("{action}")]
    Io {
        /// What was read or written.
        action: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A PE file of a kind that we do not handle.
    #[error("PE file has {field} {found:#x}, expected {expected}")]
    Unsupported {
        /// Field, as the specification spells it.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What we handle.
        expected: &'static str,
    },
    /// The bytes are wrong.
    #[error("corrupt PE file: {problem} at offset {offset}")]
    Corrupt {
        /// What is wrong.
        problem: &'static str,
        /// Where.
        offset: u64,
    },
    /// A name that a section cannot have.
    #[error("`{name}` is no section name: a dot and up to seven letters or digits")]
    Name {
        /// The name.
        name: String,
    },
    /// Two sections of one name, of which the stub would see one; or a `.profile` that is no profile's.
    #[error("section `{name}` is there twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A profile whose name or title does not fit its section.
    #[error("`{text}` is no {what}")]
    Label {
        /// Which of them, and what it may be.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// Two profiles of one name, of which the boot loader would show one.
    #[error("profile `{id}` is there twice")]
    TwoProfiles {
        /// The name.
        id: String,
    },
    /// A section of nothing, which firmware may refuse.
    #[error("section `{name}` is empty")]
    Empty {
        /// The name.
        name: String,
    },
    /// The stub's headers leave no room.
    #[error("the stub has room for {room} more section headers, not for {wanted}")]
    NoRoom {
        /// Headers that fit.
        room: u64,
        /// Headers that were to be added.
        wanted: usize,
    },
    /// Past the 32 bits of a PE file.
    #[error("with section `{name}` of {size} the image is over 4 GiB")]
    TooLarge {
        /// The section that does not fit.
        name: String,
        /// Its size.
        size: ByteCount,
    },
    /// The content goes on where it should end.
    #[error("section `{name}` is longer than the {size} it was said to be")]
    TooLong {
        /// The section.
        name: String,
        /// The size that was said.
        size: ByteCount,
    },
}

/// Appends sections to a stub, then those of each profile, and writes the image; returns what it
/// consists of. Without profiles there is one way to boot, that of the sections.
///
/// The kernel's promise to need no writable code (`NX_COMPAT`) becomes that of the image, for
/// firmware holds the image to it: where the kernel makes none, the stub's is withdrawn.
///
/// # Errors
/// `Corrupt` and `Unsupported` for a stub that is none, `Name`, `Duplicate`, `Empty`, `NoRoom`,
/// `TooLarge`, `Label` and `TwoProfiles` for what does not go together, before anything is written;
/// `Io` and `TooLong` for contents that cannot be read or are not of the size they were said to be.
pub fn write(
    stub: &[u8],
    sections: Vec<NewSection<'_>>,
    profiles: Vec<NewProfile<'_>>,
    output: &mut impl Write,
) -> Result<Image, UkiError> {
    let pe = Pe::parse(stub, to_u64(stub.len()))?;
    pe.check_extensible(stub)?;
    let mut sections = profile::in_order(sections, profiles)?;
    let added = place(&pe, to_u64(stub.len()), &sections)?;

    let mut headers = stub.to_vec();
    pe.append(&mut headers, &added);
    let mut heads = Vec::with_capacity(sections.len());
    for section in &mut sections {
        let mut head = Vec::new();
        if section.name == LINUX {
            let reading = io_error(|| format!("reading section `{LINUX}`"));
            (&mut section.content).take(KERNEL_HEAD).read_to_end(&mut head).map_err(reading)?;
            if pe::lacks_nx_compat(&head) {
                pe.clear_nx_compat(&mut headers);
            }
        }
        heads.push(head);
    }

    output.write_all(&headers).map_err(io_error(|| "writing the stub".into()))?;
    let mut position = to_u64(headers.len());
    for ((section, head), header) in sections.iter_mut().zip(&heads).zip(&added) {
        pad(output, u64::from(header.raw_offset) - position)?;
        let mut content = head.chain(&mut section.content);
        copy(&mut content, section.name, section.size, output)?;
        pad(output, u64::from(header.raw_size) - section.size.get())?;
        position = u64::from(header.raw_offset) + u64::from(header.raw_size);
    }
    let sections = pe.sections.iter().chain(&added).map(SectionHeader::section).collect();
    Ok(Image { arch: pe.arch, sections })
}

/// Decides where every section goes, in the file and in memory.
fn place(pe: &Pe, stub_size: u64, sections: &[NewSection<'_>]) -> Result<Vec<SectionHeader>, UkiError> {
    if to_u64(sections.len()) > pe.room() {
        return Err(UkiError::NoRoom { room: pe.room(), wanted: sections.len() });
    }
    let mut placed: Vec<SectionHeader> = Vec::new();
    let mut offset = stub_size.next_multiple_of(u64::from(pe.file_alignment));
    let mut address = pe.image_end();
    // A profile may have what those before it have, once.
    let mut profile = 0;
    for (index, section) in sections.iter().enumerate() {
        if section.name == profile::SECTION {
            profile = index;
        }
        let name = || section.name.to_owned();
        let code = section.name == LINUX;
        let encoded = pe::encode_name(section.name).ok_or_else(|| UkiError::Name { name: name() })?;
        if pe.sections.iter().chain(&placed[profile..]).any(|other| other.name == encoded) {
            return Err(UkiError::Duplicate { name: name() });
        }
        if section.size == ByteCount::ZERO {
            return Err(UkiError::Empty { name: name() });
        }
        let too_large = || UkiError::TooLarge { name: name(), size: section.size };
        let grain = u64::from(GRAIN.max(pe.file_alignment));
        // Padding belongs to the section before it: bytes of no section are bytes that tools for
        // signing treat each in its own way.
        let end = offset
            .checked_add(section.size.get())
            .and_then(|end| end.checked_next_multiple_of(grain))
            .ok_or_else(too_large)?;
        let end_address = address
            .checked_add(section.size.get())
            .and_then(|end| end.checked_next_multiple_of(u64::from(pe.section_alignment)))
            .ok_or_else(too_large)?;
        let narrow = |size: u64| u32::try_from(size).map_err(|_| too_large());
        narrow(end)?;
        narrow(end_address)?;
        placed.push(SectionHeader {
            name: encoded,
            virtual_size: narrow(section.size.get())?,
            address: narrow(address)?,
            raw_size: narrow(end - offset)?,
            raw_offset: narrow(offset)?,
            characteristics: if code { pe::READ_ONLY_CODE } else { pe::READ_ONLY_DATA },
        });
        (offset, address) = (end, end_address);
    }
    Ok(placed)
}

/// Copies a content that must have exactly the size it was said to have.
fn copy(
    content: &mut impl Read,
    name: &str,
    size: ByteCount,
    output: &mut impl Write,
) -> Result<(), UkiError> {
    let copying = || io_error(|| format!("copying section `{name}`"));
    let copied = io::copy(&mut content.take(size.get()), output).map_err(copying())?;
    if copied < size.get() {
        let problem = format!("it ends after {copied} of {} bytes", size.get());
        return Err(copying()(io::Error::new(io::ErrorKind::UnexpectedEof, problem)));
    }
    if io::copy(&mut content.take(1), &mut io::sink()).map_err(copying())? != 0 {
        return Err(UkiError::TooLong { name: name.to_owned(), size });
    }
    Ok(())
}

fn pad(output: &mut impl Write, length: u64) -> Result<(), UkiError> {
    io::copy(&mut io::repeat(0).take(length), output)
        .map(|_| ())
        .map_err(io_error(|| "writing padding".into()))
}

fn io_error(action: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> UkiError {
    move |source| UkiError::Io { action: action(), source }
}

/// Reads what an image consists of; its contents are not read.
///
/// # Errors
/// `Io` for what reading raises, `Corrupt` and `Unsupported` for what is no EFI application of an
/// architecture that we know.
pub fn inspect(image: &mut (impl Read + Seek)) -> Result<Image, UkiError> {
    let reading = || io_error(|| "reading the headers of the image".into());
    let size = image.seek(SeekFrom::End(0)).map_err(reading())?;
    image.seek(SeekFrom::Start(0)).map_err(reading())?;
    let mut headers = Vec::new();
    image.take(HEADERS_LIMIT).read_to_end(&mut headers).map_err(reading())?;
    let pe = Pe::parse(&headers, size)?;
    Ok(Image { arch: pe.arch, sections: pe.sections.iter().map(SectionHeader::section).collect() })
}

impl Image {
    /// The section of a name, of those that all profiles share.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.base().iter().find(|section| section.name == name)
    }

    /// The sections before the first profile.
    fn base(&self) -> &[Section] {
        let end = self.sections.iter().position(|section| section.name == profile::SECTION);
        &self.sections[..end.unwrap_or(self.sections.len())]
    }

    /// The profiles, the default first; none in an image that boots in one way.
    pub fn profiles(&self) -> impl Iterator<Item = Profile<'_>> {
        let base = self.base();
        let rest = &self.sections[base.len()..];
        rest.chunk_by(|_, next| next.name != profile::SECTION).map(move |own| Profile { base, own })
    }
}

impl Section {
    /// Reads the content into memory.
    ///
    /// # Errors
    /// `Io` for what reading raises.
    pub fn read(&self, image: &mut (impl Read + Seek)) -> Result<Vec<u8>, UkiError> {
        let reading = || io_error(|| format!("reading section `{}`", self.name));
        image.seek(SeekFrom::Start(self.offset)).map_err(reading())?;
        // Inspecting made sure that the file is that long, so this allocates no more than it has.
        let mut content = vec![0; to_usize(self.size)];
        image.read_exact(&mut content).map_err(reading())?;
        Ok(content)
    }
}

#[cfg(test)]
mod tests;
