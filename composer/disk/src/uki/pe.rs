//! The headers of a PE32+ file: as much as it takes to append sections. Integers are little-endian.
//!
//! Source: Microsoft, PE Format, “MS-DOS Stub”, “COFF File Header”, “Optional Header”, “Section Table”.

use goni_model::arch::Arch;
use goni_model::number::{to_u64, to_usize};

use super::{Section, UkiError};

/// How far into a file its headers are looked for. Those of systemd's stub end at 1536.
pub(super) const HEADERS_LIMIT: u64 = 64 << 10;

/// Bytes of an entry of the section table.
const SECTION_HEADER_SIZE: u64 = 40;

/// `IMAGE_SCN_MEM_READ` with `IMAGE_SCN_CNT_INITIALIZED_DATA`.
pub(super) const READ_ONLY_DATA: u32 = 0x4000_0040;

/// `IMAGE_SCN_MEM_READ` with `IMAGE_SCN_CNT_CODE`.
pub(super) const READ_ONLY_CODE: u32 = 0x4000_0020;

/// `IMAGE_DLLCHARACTERISTICS_NX_COMPAT`.
const NX_COMPAT: u16 = 0x0100;

/// Offsets from `e_lfanew`: the signature, the COFF header at 4, the optional header at 24.
mod offset {
    pub(super) const MACHINE: u64 = 4;
    pub(super) const NUMBER_OF_SECTIONS: u64 = 6;
    pub(super) const POINTER_TO_SYMBOL_TABLE: u64 = 12;
    pub(super) const SIZE_OF_OPTIONAL_HEADER: u64 = 20;
    pub(super) const OPTIONAL_HEADER: u64 = 24;
    pub(super) const MAGIC: u64 = OPTIONAL_HEADER;
    pub(super) const SIZE_OF_INITIALIZED_DATA: u64 = OPTIONAL_HEADER + 8;
    pub(super) const SECTION_ALIGNMENT: u64 = OPTIONAL_HEADER + 32;
    pub(super) const FILE_ALIGNMENT: u64 = OPTIONAL_HEADER + 36;
    pub(super) const SIZE_OF_IMAGE: u64 = OPTIONAL_HEADER + 56;
    pub(super) const SIZE_OF_HEADERS: u64 = OPTIONAL_HEADER + 60;
    pub(super) const CHECK_SUM: u64 = OPTIONAL_HEADER + 64;
    pub(super) const SUBSYSTEM: u64 = OPTIONAL_HEADER + 68;
    pub(super) const DLL_CHARACTERISTICS: u64 = OPTIONAL_HEADER + 70;
    pub(super) const NUMBER_OF_RVA_AND_SIZES: u64 = OPTIONAL_HEADER + 108;
    /// The attribute certificate table, fifth of the data directories.
    pub(super) const CERTIFICATE_TABLE: u64 = OPTIONAL_HEADER + 144;
    /// Where the smallest optional header that has a certificate table ends.
    pub(super) const OPTIONAL_HEADER_LEAST: u64 = 144 + 8;
}

/// Bytes that are read by offset.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N], UkiError> {
        let tail = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let ends = UkiError::Corrupt { problem: "the file, or the room for its headers, ends", offset };
        tail.and_then(|tail| tail.first_chunk()).copied().ok_or(ends)
    }

    fn u16(&self, offset: u64) -> Result<u16, UkiError> {
        self.array(offset).map(u16::from_le_bytes)
    }

    fn u32(&self, offset: u64) -> Result<u32, UkiError> {
        self.array(offset).map(u32::from_le_bytes)
    }
}

/// What we need to know of a PE file.
pub(super) struct Pe {
    pub(super) arch: Arch,
    pub(super) section_alignment: u32,
    pub(super) file_alignment: u32,
    pub(super) sections: Vec<SectionHeader>,
    /// `e_lfanew`.
    start: u64,
    size_of_initialized_data: u32,
    /// Offset of the section table.
    table: u64,
    size_of_headers: u64,
}

/// An entry of the section table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionHeader {
    /// Padded with zeros.
    pub(super) name: [u8; 8],
    pub(super) virtual_size: u32,
    pub(super) address: u32,
    pub(super) raw_size: u32,
    pub(super) raw_offset: u32,
    pub(super) characteristics: u32,
}

/// The bytes of a section's name, if it can have that name.
pub(super) fn encode_name(name: &str) -> Option<[u8; 8]> {
    let letters = name.strip_prefix('.')?;
    if letters.is_empty() || name.len() > 8 || !letters.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mut encoded = [0; 8];
    encoded[..name.len()].copy_from_slice(name.as_bytes());
    Some(encoded)
}

/// Whether this begins like a PE file that does not claim `NX_COMPAT`.
pub(super) fn lacks_nx_compat(head: &[u8]) -> bool {
    let bytes = Bytes(head);
    let characteristics =
        start_of_headers(&bytes).and_then(|start| bytes.u16(start + offset::DLL_CHARACTERISTICS));
    characteristics.is_ok_and(|flags| flags & NX_COMPAT == 0)
}

/// Finds `e_lfanew`, behind the DOS header, and the signature there.
fn start_of_headers(bytes: &Bytes<'_>) -> Result<u64, UkiError> {
    if bytes.array(0)? != *b"MZ" {
        return Err(UkiError::Corrupt { problem: "no signature `MZ`", offset: 0 });
    }
    let start = u64::from(bytes.u32(0x3C)?);
    if bytes.array(start)? != *b"PE\0\0" {
        return Err(UkiError::Corrupt { problem: "no signature `PE`", offset: start });
    }
    Ok(start)
}

impl Pe {
    /// Reads the headers, which are all that `bytes` need hold, of a file of a size.
    pub(super) fn parse(bytes: &[u8], file_size: u64) -> Result<Self, UkiError> {
        let bytes = Bytes(bytes);
        let start = start_of_headers(&bytes)?;
        let word = |offset: u64| bytes.u16(start + offset);
        let long = |offset: u64| bytes.u32(start + offset);
        let arch = match word(offset::MACHINE)? {
            0x8664 => Arch::Amd64,
            0xAA64 => Arch::Arm64,
            other => return Err(unsupported("Machine", other, "0x8664 or 0xaa64")),
        };
        let magic = word(offset::MAGIC)?;
        if magic != 0x20B {
            return Err(unsupported("Magic", magic, "0x20b, that of PE32+"));
        }
        let subsystem = word(offset::SUBSYSTEM)?;
        if subsystem != 10 {
            return Err(unsupported("Subsystem", subsystem, "0xa, an EFI application"));
        }
        let (section_alignment, file_alignment) =
            (long(offset::SECTION_ALIGNMENT)?, long(offset::FILE_ALIGNMENT)?);
        if !file_alignment.is_power_of_two() || !(512..=65536).contains(&file_alignment) {
            return Err(unsupported("FileAlignment", file_alignment, "a power of two from 512 to 65536"));
        }
        if !section_alignment.is_power_of_two() || !(4096..=65536).contains(&section_alignment) {
            return Err(unsupported(
                "SectionAlignment",
                section_alignment,
                "a power of two from 4096 to 65536",
            ));
        }
        let size_of_headers = u64::from(long(offset::SIZE_OF_HEADERS)?);
        let optional = u64::from(word(offset::SIZE_OF_OPTIONAL_HEADER)?);
        let table = start + offset::OPTIONAL_HEADER + optional;
        let count = word(offset::NUMBER_OF_SECTIONS)?;
        let table_end = table + u64::from(count) * SECTION_HEADER_SIZE;
        if optional < offset::OPTIONAL_HEADER_LEAST || count == 0 || table_end > size_of_headers {
            let problem = "headers that do not fit their own sizes";
            return Err(UkiError::Corrupt { problem, offset: start });
        }

        let mut sections: Vec<SectionHeader> = Vec::new();
        for place in (table..table_end).step_by(to_usize(SECTION_HEADER_SIZE)) {
            let section = SectionHeader::parse(&bytes, place)?;
            let corrupt = |problem| Err(UkiError::Corrupt { problem, offset: place });
            if section.raw_size != 0 && section.raw_end() > file_size {
                return corrupt("a section that lies past the end of the file");
            }
            let (least_offset, least_address) = sections
                .last()
                .map_or((size_of_headers, 0), |previous| (previous.raw_end(), previous.end_address()));
            if u64::from(section.address) < least_address {
                return corrupt("a section that overlaps the one before it in memory");
            }
            if section.raw_size != 0 && u64::from(section.raw_offset) < least_offset {
                return corrupt("a section that overlaps what is before it in the file");
            }
            sections.push(section);
        }
        let size_of_initialized_data = long(offset::SIZE_OF_INITIALIZED_DATA)?;
        Ok(Self {
            arch,
            section_alignment,
            file_alignment,
            sections,
            start,
            size_of_initialized_data,
            table,
            size_of_headers,
        })
    }

    /// Checks what matters only to a file that is to grow.
    pub(super) fn check_extensible(&self, stub: &[u8]) -> Result<(), UkiError> {
        let bytes = Bytes(stub);
        let symbols = bytes.u32(self.start + offset::POINTER_TO_SYMBOL_TABLE)?;
        if symbols != 0 {
            return Err(unsupported("PointerToSymbolTable", symbols, "none"));
        }
        let directories = bytes.u32(self.start + offset::NUMBER_OF_RVA_AND_SIZES)?;
        if directories < 5 {
            return Err(unsupported("NumberOfRvaAndSizes", directories, "5 or more"));
        }
        let certificates = bytes.u32(self.start + offset::CERTIFICATE_TABLE)?;
        if certificates != 0 {
            return Err(unsupported("Certificate Table", certificates, "none: the stub must not be signed"));
        }
        if u32::try_from(self.image_end()).is_err() {
            return Err(UkiError::Corrupt { problem: "sections past 4 GiB", offset: self.table });
        }
        let room = stub.get(to_usize(self.table_end())..to_usize(self.size_of_headers));
        if !room.is_some_and(|room| room.iter().all(|byte| *byte == 0)) {
            let problem = "something where further section headers would go";
            return Err(UkiError::Corrupt { problem, offset: self.table_end() });
        }
        Ok(())
    }

    fn table_end(&self) -> u64 {
        self.table + to_u64(self.sections.len()) * SECTION_HEADER_SIZE
    }

    /// Section headers that still fit.
    pub(super) fn room(&self) -> u64 {
        let countable = u64::from(u16::MAX) - to_u64(self.sections.len());
        countable.min((self.size_of_headers - self.table_end()) / SECTION_HEADER_SIZE)
    }

    /// First address behind the last section.
    pub(super) fn image_end(&self) -> u64 {
        let end = self.sections.last().map_or(0, SectionHeader::end_address);
        end.next_multiple_of(u64::from(self.section_alignment))
    }

    /// Adds section headers to the bytes that this was parsed from.
    ///
    /// The check sum becomes zero: it is optional for EFI applications, and the stub has none.
    pub(super) fn append(&self, headers: &mut [u8], added: &[SectionHeader]) {
        let mut put = |offset: u64, bytes: &[u8]| {
            headers[to_usize(offset)..][..bytes.len()].copy_from_slice(bytes);
        };
        for (place, section) in (self.table_end()..).step_by(to_usize(SECTION_HEADER_SIZE)).zip(added) {
            put(place, &section.bytes());
        }
        let count = u16::try_from(self.sections.len() + added.len());
        let count = count.expect("`room` counts no more than fit the field");
        let end = added.last().map_or(0, SectionHeader::end_address).max(self.image_end());
        let end = u32::try_from(end.next_multiple_of(u64::from(self.section_alignment)));
        let end = end.expect("sections of the stub and ours end below 4 GiB, both checked");
        // Nothing reads it, so a stub with a wild value is no reason to stop.
        let data = added
            .iter()
            .fold(self.size_of_initialized_data, |sum, section| sum.saturating_add(section.virtual_size));
        put(self.start + offset::SIZE_OF_INITIALIZED_DATA, &data.to_le_bytes());
        put(self.start + offset::NUMBER_OF_SECTIONS, &count.to_le_bytes());
        put(self.start + offset::SIZE_OF_IMAGE, &end.to_le_bytes());
        put(self.start + offset::CHECK_SUM, &[0; 4]);
    }

    /// Withdraws the promise to need no writable code.
    pub(super) fn clear_nx_compat(&self, headers: &mut [u8]) {
        let place = to_usize(self.start + offset::DLL_CHARACTERISTICS);
        let [_, high] = NX_COMPAT.to_le_bytes();
        headers[place + 1] &= !high;
    }
}

impl SectionHeader {
    fn parse(bytes: &Bytes<'_>, place: u64) -> Result<Self, UkiError> {
        Ok(Self {
            name: bytes.array(place)?,
            virtual_size: bytes.u32(place + 8)?,
            address: bytes.u32(place + 12)?,
            raw_size: bytes.u32(place + 16)?,
            raw_offset: bytes.u32(place + 20)?,
            characteristics: bytes.u32(place + 36)?,
        })
    }

    /// Relocations and line numbers, bytes 24 to 35, are of object files alone.
    fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.name);
        for (place, field) in [
            (8, self.virtual_size),
            (12, self.address),
            (16, self.raw_size),
            (20, self.raw_offset),
            (36, self.characteristics),
        ] {
            bytes[place..][..4].copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    fn raw_end(&self) -> u64 {
        u64::from(self.raw_offset) + u64::from(self.raw_size)
    }

    fn end_address(&self) -> u64 {
        u64::from(self.address) + u64::from(self.virtual_size)
    }

    /// The section as the rest of the program sees it. What is only in memory has no content.
    pub(super) fn section(&self) -> Section {
        let length = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        Section {
            name: self.name[..length].escape_ascii().to_string(),
            offset: u64::from(self.raw_offset),
            size: u64::from(self.virtual_size.min(self.raw_size)),
            address: self.address,
        }
    }
}

fn unsupported(field: &'static str, found: impl Into<u64>, expected: &'static str) -> UkiError {
    UkiError::Unsupported { field, found: found.into(), expected }
}
