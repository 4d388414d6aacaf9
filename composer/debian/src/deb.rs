//! Binary packages (.deb), read strictly and as a stream.
//!
//! A package is an `ar` archive of `debian-binary`, a control archive and a data archive, in this
//! order; both inner archives are (compressed) tar. The reader takes what Debian's own tools write
//! and refuses everything that two readers might understand differently: PAX headers, sparse and
//! multi-volume members, devices, duplicates, bytes after an end. It writes nothing: members are
//! handed out one by one, a file's bytes as a bounded [`Read`].
//!
//! Left out: packages of format 0.93, bzip2 and legacy lzma, source packages.
//! Source: deb(5), dpkg `lib/dpkg/tarfn.c`, POSIX.1-2024 pax §ustar, GNU tar manual "Basic Tar Format".

mod ar;
mod control;
mod decode;
mod error;
mod md5;
mod path;
mod replaces;
mod tar;

use std::io::{BufRead, BufReader, Read};

pub use control::{Control, ControlFile, Field, Script};
pub use error::{ContainerFault, ControlFault, DebError, MemberFault};
pub use md5::Md5;
pub use path::{InvalidMemberPath, MemberPath};
pub use replaces::Replaces;
pub use tar::{Member, MemberKind, Members};

use ar::ArReader;
use decode::{Compression, Decoder, Source};

/// How many bytes of control archive are unpacked at most. Source: apt's limit, CVE-2020-27350.
const CONTROL_CAP: u64 = 64 << 20;

/// Bytes a package may unpack to beyond [`Deb::data_cap`]'s multiple of what it declares.
const DATA_ALLOWANCE: u64 = 64 << 20;

/// A package whose control archive has been read and whose data is next.
#[derive(Debug)]
pub struct Deb<R> {
    control: Control,
    archive: ArReader<BufReader<Source<R>>>,
    compression: Compression,
}

impl<R: Read> Deb<R> {
    /// Reads a package up to its data. `size` is the length of the whole file.
    ///
    /// # Errors
    /// [`DebError`] for a file that cannot be read or is not exactly a package.
    pub fn open(input: R, size: u64) -> Result<Self, DebError> {
        let mut archive = ArReader::open(BufReader::with_capacity(1 << 17, Source(input)), size)?;
        archive.read_format()?;
        let compression = archive.enter_archive("control.tar")?;
        let decoder = Decoder::new(archive.member(), compression, 1)?;
        let control = Control::read(Members::new(decoder, "control archive", CONTROL_CAP))?;
        archive.leave()?;
        let compression = archive.enter_archive("data.tar")?;
        Ok(Self { control, archive, compression })
    }

    /// What the control archive says.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// How many bytes the data archive may unpack to: eight times what the package declares as its
    /// installed size, and 64 MiB for packages that declare little.
    #[must_use]
    pub fn data_cap(&self) -> u64 {
        self.control.installed_size().saturating_mul(8).saturating_add(DATA_ALLOWANCE)
    }

    /// Hands every member of the data archive to `visit`, a file's bytes with it; what `visit` leaves
    /// unread is skipped. `threads` is how many may decode one multi-block xz stream.
    ///
    /// # Errors
    /// [`DebError`] for data that cannot be read, is malformed or longer than `cap`, or what `visit`
    /// raises. What the members said before an error is not to be trusted.
    pub fn read_data<E: From<DebError>>(
        mut self,
        cap: u64,
        threads: u32,
        mut visit: impl FnMut(Member, &mut dyn Read) -> Result<(), E>,
    ) -> Result<Control, E> {
        let decoder = Decoder::new(self.archive.member(), self.compression, threads)?;
        let mut members = Members::new(decoder, "data archive", cap);
        while let Some(member) = members.next()? {
            visit(member, &mut members)?;
        }
        drop(members);
        self.archive.leave()?;
        self.archive.finish()?;
        Ok(self.control)
    }
}

/// Whether a buffered reader has no byte left.
fn is_exhausted(reader: &mut impl BufRead) -> Result<bool, DebError> {
    Ok(reader.fill_buf().map_err(DebError::Io)?.is_empty())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
