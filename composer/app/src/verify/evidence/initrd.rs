//! The files of the initrd: a reader of newc archives that shares nothing with the writer.
//!
//! It is read once: whoever looks into its files leaves the paths for all who ask for them.
//! Source: the kernel's `driver-api/early-userspace/buffer-format`.

use std::collections::BTreeSet;
use std::io::{self, Read};

use goni_disk::uki;
use goni_model::number::to_usize;
use goni_model::target::BootMethod;

use super::{Booted, Evidence, chain};
use crate::verify::objection::Objection;

/// More than this is no initrd.
const MOST: u64 = 2 << 30;

/// The longest name that is read. Source: `PATH_MAX` in the kernel.
const LONGEST: u64 = 4096;

/// The bits of a mode that tell what an entry is, and what they are of a file. Source: inode(7).
const FILE: (u64, u64) = (0o170_000, 0o100_000);

/// What is done with a file: its path without a leading `/`, and its content.
pub(in crate::verify) type Each<'e> = dyn FnMut(&str, &mut dyn Read) -> io::Result<()> + 'e;

impl Evidence<'_> {
    /// The paths of the initrd, without a leading `/`.
    pub(in crate::verify) fn initrd(&self) -> Result<&BTreeSet<String>, Objection> {
        self.read_initrd(&mut |_, _| Ok(()))
    }

    /// The same; the first to read it is handed each file.
    pub(in crate::verify) fn read_initrd(&self, each: &mut Each<'_>) -> Result<&BTreeSet<String>, Objection> {
        let read = self.initrd.get_or_init(|| match self.booted() {
            Some(booted) => unpack(self, &booted, each),
            None => Err(Objection::unseen("there is no kernel image")),
        });
        read.as_ref().map_err(Clone::clone)
    }
}

fn unpack(
    evidence: &Evidence<'_>,
    booted: &Booted,
    each: &mut Each<'_>,
) -> Result<BTreeSet<String>, Objection> {
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
    read(archive.take(MOST), each).map_err(unreadable)
}

/// The initrd that a kernel image carries.
fn section(evidence: &Evidence<'_>, image: &str) -> Result<Vec<u8>, Objection> {
    let expected = || format!("an initrd in `{image}`");
    let unreadable = |error: io::Error| Objection::differs(expected(), chain(&error));
    let contents = evidence.system_contents()?;
    let mut file = contents.file(image).map_err(unreadable)?;
    let broken = |error: uki::UkiError| Objection::differs(expected(), chain(&error));
    let parts = uki::inspect(&mut file).map_err(broken)?;
    let Some(section) = parts.section(".initrd") else {
        return Err(Objection::unseen("there is no initrd, as another check tells"));
    };
    section.read(&mut file).map_err(broken)
}

/// The paths of an archive, whose files are handed out.
fn read(mut archive: impl Read, each: &mut Each<'_>) -> io::Result<BTreeSet<String>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("corrupt archive: {what}"));
    let mut names = BTreeSet::new();
    loop {
        let mut header = [0; 110];
        archive.read_exact(&mut header)?;
        if !header.starts_with(b"070701") {
            return Err(bad("no newc header"));
        }
        // Thirteen numbers of eight digits: the second is the mode, the seventh the file's size, the twelfth
        // the name's.
        let number = |index: usize| -> io::Result<u64> {
            let digits =
                header.get(6 + index * 8..14 + index * 8).and_then(|it| std::str::from_utf8(it).ok());
            digits.and_then(|it| u64::from_str_radix(it, 16).ok()).ok_or_else(|| bad("no number"))
        };
        let (mode, size, length) = (number(1)?, number(6)?, number(11)?);
        if length > LONGEST {
            return Err(bad("a name of over 4096 bytes"));
        }
        let mut name = vec![0; to_usize(length)];
        archive.read_exact(&mut name)?;
        skip(&mut archive, padding(110 + length))?;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').trim_start_matches("./").to_owned();
        let name = name.trim_start_matches('/');
        if name == "TRAILER!!!" {
            // The kernel would unpack another archive behind this one, over what this one has.
            let mut rest = [0; 4096];
            loop {
                match archive.read(&mut rest)? {
                    0 => return Ok(names),
                    read if rest[..read].iter().all(|byte| *byte == 0) => {}
                    _ => return Err(bad("more behind its end")),
                }
            }
        }
        let mut content = (&mut archive).take(size);
        if mode & FILE.0 == FILE.1 {
            each(name, &mut content)?;
        }
        let left = content.limit();
        skip(&mut archive, left + padding(size))?;
        names.insert(name.to_owned());
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
    fn names_and_contents_are_found_one_after_another() {
        let archive = [entry("b", ""), entry("./usr/lib/a.ko", "12345"), entry("TRAILER!!!", "")].concat();
        let mut seen = Vec::new();
        let mut look = |name: &str, content: &mut dyn Read| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            seen.push(format!("{name}: {text}"));
            Ok(())
        };
        let names = read(&archive[..], &mut look).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["b", "usr/lib/a.ko"]);
        assert_eq!(seen, ["b: ", "usr/lib/a.ko: 12345"]);
        for length in 0..archive.len() {
            assert!(read(&archive[..length], &mut |_, _| Ok(())).is_err(), "{length}");
        }
        // The kernel unpacks whatever follows: zeros alone are nothing.
        let with = |more: &[u8]| read(&[&archive[..], more].concat()[..], &mut |_, _| Ok(()));
        assert_eq!(with(&[0; 5000]).unwrap().len(), 2);
        let another = [&[0; 5000][..], &entry("etc/machine-id", "1")].concat();
        assert!(with(&another).unwrap_err().to_string().ends_with("more behind its end"));
        // Whoever looks need not read to the end.
        assert_eq!(read(&archive[..], &mut |_, _| Ok(())).unwrap().len(), 2);
    }
}
