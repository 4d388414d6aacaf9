//! What a kernel module says of itself.
//!
//! Source: modinfo(8); include/linux/module.h and scripts/sign-file.c of the kernel.

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader as _, SectionHeader as _};

/// The end of a module that was signed.
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// What a module says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modinfo {
    /// The machine of ELF that it is for.
    pub machine: u16,
    /// The kernel it is for, and how that was configured; empty: it does not say.
    pub version_magic: String,
    /// Firmware it may ask for.
    pub firmware: Vec<String>,
    /// Whether a signature is at its end. By whom is not looked at.
    pub signed: bool,
}

impl Modinfo {
    /// Reads the section `.modinfo`: texts `key=value`, each ended by a zero.
    ///
    /// # Errors
    /// The bytes are no 64-bit ELF file.
    pub fn parse(bytes: &[u8]) -> Result<Self, object::read::Error> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, bytes)?;
        let machine = header.e_machine(endian).0;
        let mut modinfo = Self { machine, signed: bytes.ends_with(SIGNED), ..Self::default() };
        let Some((_, section)) = sections.section_by_name(endian, b".modinfo") else { return Ok(modinfo) };
        for entry in section.data(endian, bytes)?.split(|byte| *byte == 0) {
            let text = String::from_utf8_lossy(entry);
            match text.split_once('=') {
                Some(("vermagic", value)) => value.clone_into(&mut modinfo.version_magic),
                Some(("firmware", value)) => modinfo.firmware.push(value.to_owned()),
                _ => {}
            }
        }
        Ok(modinfo)
    }

    /// The release of the kernel it is for.
    #[must_use]
    pub fn release(&self) -> &str {
        self.version_magic.split_whitespace().next().unwrap_or_default()
    }
}
