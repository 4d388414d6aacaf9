//! The names of the files in an initrd: a reader of newc archives that shares nothing with the writer.
//!
//! Source: the kernel's `driver-api/early-userspace/buffer-format`.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek as _, SeekFrom};

use fatfs::{FileSystem, FsOptions};
use goni_disk::uki;
use goni_model::layout::Role;
use goni_model::number::to_usize;
use goni_model::target::BootMethod;

use crate::verify::evidence::{Booted, Evidence, chain};
use crate::verify::objection::Objection;

/// More than this is no initrd.
const MOST: u64 = 2 << 30;

/// The longest name that is read. Source: `PATH_MAX` in the kernel.
const LONGEST: u64 = 4096;

/// The paths of an initrd, without a leading `/`.
pub(super) fn names(evidence: &Evidence<'_>, booted: &Booted) -> Result<BTreeSet<String>, Objection> {
    let place = booted.initrd.as_deref().unwrap_or(&booted.kernel);
    let unreadable = |error: io::Error| Objection::differs(format!("an initrd in `{place}`"), chain(&error));
    let packed = match &booted.initrd {
        Some(initrd) if evidence.boot == BootMethod::RaspberryPi => {
            if !evidence.esp.aid()?.files.contains_key(initrd) {
                return Err(Objection::unseen("there is no initrd, as another check tells"));
            }
            evidence.system_file(initrd)?
        }
        Some(initrd) => {
            let app = evidence.app.aid()?;
            if !app.files.contains_key(initrd) {
                return Err(Objection::unseen("there is no initrd, as another check tells"));
            }
            app.bytes(initrd)?
        }
        None => section(evidence, &booted.kernel)?,
    };
    let archive = zstd::Decoder::new(&packed[..]).map_err(unreadable)?;
    read(archive.take(MOST)).map_err(unreadable)
}

/// The initrd that a kernel image carries.
fn section(evidence: &Evidence<'_>, image: &str) -> Result<Vec<u8>, Objection> {
    let expected = || format!("an initrd in `{image}`");
    let unreadable = |error: io::Error| Objection::differs(expected(), chain(&error));
    let Some(mut window) = evidence.window(Role::Esp) else {
        return Err(Objection::unseen("there is no EFI system partition"));
    };
    window.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let options = FsOptions::new().update_accessed_date(false);
    let file_system = FileSystem::new(window, options).map_err(unreadable)?;
    let mut file = file_system.root_dir().open_file(image).map_err(unreadable)?;
    let broken = |error: uki::UkiError| Objection::differs(expected(), chain(&error));
    let parts = uki::inspect(&mut file).map_err(broken)?;
    let Some(section) = parts.section(".initrd") else {
        return Err(Objection::unseen("there is no initrd, as another check tells"));
    };
    section.read(&mut file).map_err(broken)
}

/// The names of an archive.
fn read(mut archive: impl Read) -> io::Result<BTreeSet<String>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("corrupt archive: {what}"));
    let mut names = BTreeSet::new();
    loop {
        let mut header = [0; 110];
        archive.read_exact(&mut header)?;
        if !header.starts_with(b"070701") {
            return Err(bad("no newc header"));
        }
        // Thirteen numbers of eight digits; the seventh is the file's size, the twelfth the name's.
        let number = |index: usize| -> io::Result<u64> {
            let digits =
                header.get(6 + index * 8..14 + index * 8).and_then(|it| std::str::from_utf8(it).ok());
            digits.and_then(|it| u64::from_str_radix(it, 16).ok()).ok_or_else(|| bad("no number"))
        };
        let (size, length) = (number(6)?, number(11)?);
        if length > LONGEST {
            return Err(bad("a name of over 4096 bytes"));
        }
        let mut name = vec![0; to_usize(length)];
        archive.read_exact(&mut name)?;
        skip(&mut archive, padding(110 + length))?;
        skip(&mut archive, size + padding(size))?;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').trim_start_matches("./").to_owned();
        if name == "TRAILER!!!" {
            return Ok(names);
        }
        names.insert(name.trim_start_matches('/').to_owned());
    }
}

/// What comes behind so many bytes, up to a multiple of four.
const fn padding(length: u64) -> u64 {
    length.next_multiple_of(4) - length
}

fn skip(archive: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut archive.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use goni_model::number::to_u64;

    use super::*;

    /// An entry, as the format has it.
    fn entry(name: &str, content: &str) -> Vec<u8> {
        let fields = [1, 0o100_644, 0, 0, 1, 0, to_u64(content.len()), 0, 0, 0, 0, to_u64(name.len()) + 1, 0];
        let mut bytes = b"070701".to_vec();
        fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn names_are_found_between_contents() {
        let archive = [entry("usr", ""), entry("usr/lib/a.ko", "12345"), entry("TRAILER!!!", "")].concat();
        assert_eq!(read(&archive[..]).unwrap().into_iter().collect::<Vec<_>>(), ["usr", "usr/lib/a.ko"]);
        for length in 0..archive.len() - 4 {
            assert!(read(&archive[..length]).is_err(), "{length}");
        }
    }
}
