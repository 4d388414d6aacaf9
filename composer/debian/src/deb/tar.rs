//! The inner archives: tar, read member by member.
//!
//! v7, ustar and GNU headers with GNU long names; regular files, hard links, symbolic links and
//! directories. Everything else is refused by name. Source: POSIX.1-2024 pax §ustar; GNU tar manual,
//! "Basic Tar Format"; dpkg `lib/dpkg/tarfn.c` for what dpkg accepts.

mod header;

use std::collections::BTreeMap;
use std::io::{self, Read};

use goni_model::number::{to_u64, to_usize};

use self::header::{BLOCK, Header};
use super::decode::is_source_failure;
use super::error::{ContainerFault, DebError, MemberFault, shown};
use super::path::MemberPath;

/// Longest long name: `PATH_MAX`, NUL included. dpkg takes any length, apt 1 MiB (CVE-2020-27350).
const LONG_NAME_MAX: u64 = 4096;
/// The largest packages of the archive hold some 40 000 members.
const MEMBERS_MAX: usize = 1 << 20;
/// Longest target of a symbolic link. Source: limits.h, `PATH_MAX` without its NUL.
const TARGET_MAX: usize = 4095;

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it goes.
    pub path: MemberPath,
    /// Permission, set-id and sticky bits: 0 to 0o7777. Meaningless for symbolic links.
    pub mode: u16,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Time of last modification in seconds since 1970.
    pub mtime: u64,
    /// What it is.
    pub kind: MemberKind,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file of so many bytes.
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its target, verbatim.
    Symlink(Box<[u8]>),
    /// Another name of an earlier regular file of the same archive.
    HardLink(MemberPath),
}

/// Walks an archive. Reading from it yields the current member's bytes.
#[derive(Debug)]
pub struct Members<R> {
    input: R,
    archive: &'static str,
    cap: u64,
    /// Bytes of the archive read so far.
    taken: u64,
    /// Bytes of the current member not yet read, and of the padding behind it.
    body: u64,
    padding: u64,
    current: String,
    /// Every path so far, and whether it is a regular file or a hard link to one.
    seen: BTreeMap<MemberPath, bool>,
}

impl<R: Read> Members<R> {
    /// Walks the archive called `archive` in messages, which may hold `cap` bytes at most.
    pub(super) fn new(input: R, archive: &'static str, cap: u64) -> Self {
        let (current, seen) = (String::new(), BTreeMap::new());
        Self { input, archive, cap, taken: 0, body: 0, padding: 0, current, seen }
    }

    /// Skips what is left of the current member and reads the next header; `None` once the archive
    /// has ended as it must, with nothing but zeros behind the end marker.
    pub(super) fn next(&mut self) -> Result<Option<Member>, DebError> {
        self.skip()?;
        let mut long_name = None;
        let mut long_target = None;
        loop {
            let Some(block) = self.block()? else {
                if long_name.is_some() || long_target.is_some() {
                    return Err(self.fault(MemberFault::StrayLongName));
                }
                self.end()?;
                return Ok(None);
            };
            self.current = shown(header::name_of(&block));
            let header = Header::parse(&block).map_err(|fault| self.fault(fault))?;
            let long = match header.flag {
                b'L' => &mut long_name,
                b'K' => &mut long_target,
                _ => return self.member(header, long_name, long_target).map(Some),
            };
            if long.is_some() {
                return Err(self.fault(MemberFault::StrayLongName));
            }
            *long = Some(self.long_name(header.size)?);
        }
    }

    fn member(
        &mut self,
        mut header: Header,
        long_name: Option<Vec<u8>>,
        long_target: Option<Vec<u8>>,
    ) -> Result<Member, DebError> {
        if let Some(name) = long_name {
            self.current = shown(&name);
            header.name = name;
        }
        let has_long_target = long_target.is_some();
        if let Some(target) = long_target {
            header.target = target;
        }
        let fault = |fault| self.fault(fault);
        if has_long_target && !matches!(header.flag, b'1' | b'2') {
            return Err(fault(MemberFault::StrayLongName));
        }
        let is_directory = header.flag == b'5';
        let name = match header.name.strip_suffix(b"/") {
            Some(name) if is_directory => name,
            _ => &header.name,
        };
        let path = MemberPath::parse(name).map_err(|error| fault(error.into()))?;
        let kind = match header.flag {
            b'0' | 0 => MemberKind::File { size: header.size },
            b'1' => MemberKind::HardLink(self.hard_link_target(&header.target)?),
            b'2' => {
                let target = header.target;
                let bad = target.is_empty() || target.len() > TARGET_MAX;
                if bad || target.iter().any(u8::is_ascii_control) {
                    return Err(fault(MemberFault::Target));
                }
                MemberKind::Symlink(target.into())
            }
            b'5' => MemberKind::Directory,
            flag => return Err(fault(refusal(flag))),
        };
        if let Some(what) = kind.without_content()
            && header.size > 0
        {
            return Err(fault(MemberFault::Content(what, header.size)));
        }
        if path.is_root() && !is_directory {
            return Err(fault(MemberFault::Root));
        }
        if self.seen.len() >= MEMBERS_MAX {
            return Err(fault(MemberFault::TooMany(MEMBERS_MAX)));
        }
        let is_file = matches!(kind, MemberKind::File { .. } | MemberKind::HardLink(_));
        if self.seen.insert(path.clone(), is_file).is_some() {
            return Err(self.fault(MemberFault::Duplicate));
        }
        self.body = header.size;
        self.padding = padding(header.size);
        let Header { mode, uid, gid, mtime, .. } = header;
        Ok(Member { path, mode, uid, gid, mtime, kind })
    }

    fn hard_link_target(&self, target: &[u8]) -> Result<MemberPath, DebError> {
        let path = MemberPath::parse(target).map_err(|error| self.fault(MemberFault::HardLinkPath(error)))?;
        match self.seen.get(&path) {
            Some(true) => Ok(path),
            _ => Err(self.fault(MemberFault::HardLink(path.to_string()))),
        }
    }

    /// The content of a long-name member: a name and, from GNU tar, a NUL.
    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, DebError> {
        if size > LONG_NAME_MAX {
            return Err(self.fault(MemberFault::LongName(size)));
        }
        let mut name = vec![0; to_usize(size)];
        self.body = size;
        self.padding = padding(size);
        self.read_exact(&mut name).map_err(DebError::from_read)?;
        self.skip()?;
        if name.last() == Some(&0) {
            name.pop();
        }
        if name.is_empty() || name.contains(&0) {
            return Err(self.fault(MemberFault::StrayLongName));
        }
        Ok(name)
    }

    /// Reads past the rest of the current member.
    fn skip(&mut self) -> Result<(), DebError> {
        io::copy(self, &mut io::sink()).map_err(DebError::from_read)?;
        let mut padding = [0; BLOCK];
        let length = to_usize(std::mem::take(&mut self.padding));
        if self.fill(&mut padding[..length])? < length {
            return Err(self.fault(MemberFault::Truncated));
        }
        Ok(())
    }

    /// The next header; `None` at the end marker.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, DebError> {
        let mut block = [0; BLOCK];
        if self.fill(&mut block)? < BLOCK {
            return Err(ContainerFault::NoEnd { archive: self.archive }.into());
        }
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        if self.fill(&mut block)? < BLOCK {
            return Err(ContainerFault::NoEnd { archive: self.archive }.into());
        }
        if block != [0; BLOCK] {
            return Err(ContainerFault::AfterEnd { archive: self.archive }.into());
        }
        Ok(None)
    }

    /// Reads to the end of the stream, which also has the decoder check its checksum.
    fn end(&mut self) -> Result<(), DebError> {
        let mut rest = [0; 4096];
        loop {
            match self.fill(&mut rest)? {
                0 => return Ok(()),
                count if rest[..count].iter().any(|byte| *byte != 0) => {
                    return Err(ContainerFault::AfterEnd { archive: self.archive }.into());
                }
                _ => {}
            }
        }
    }

    /// Fills the buffer as far as the stream goes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, DebError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.take(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// One read from the stream, counted against the cap.
    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, DebError> {
        let count = loop {
            match self.input.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_source_failure(&error) => return Err(DebError::Io(error)),
                Err(error) => {
                    let reason = error.to_string();
                    return Err(ContainerFault::Stream { archive: self.archive, reason }.into());
                }
            }
        };
        self.taken = self.taken.saturating_add(to_u64(count));
        if self.taken > self.cap {
            return Err(ContainerFault::Bomb { archive: self.archive, cap: self.cap }.into());
        }
        Ok(count)
    }

    fn fault(&self, fault: MemberFault) -> DebError {
        DebError::Member { archive: self.archive, member: self.current.clone(), fault }
    }
}

/// The current member's bytes; an error carries the [`DebError`] that [`DebError::from_read`] takes out.
impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(to_usize(self.body));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.take(&mut buffer[..wanted]).map_err(io::Error::other)?;
        if count == 0 {
            return Err(io::Error::other(self.fault(MemberFault::Truncated)));
        }
        // `take` returns no more than was wanted, which is no more than `body`.
        self.body = self.body.saturating_sub(to_u64(count));
        Ok(count)
    }
}

impl DebError {
    /// What reading a member's bytes raised, as it was before it went through [`io::Error`].
    #[must_use]
    pub fn from_read(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}

impl MemberKind {
    /// The word for a kind that has no bytes of its own.
    const fn without_content(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => None,
            Self::Directory => Some("directory"),
            Self::Symlink(_) => Some("symbolic link"),
            Self::HardLink(_) => Some("hard link"),
        }
    }
}

/// How many bytes follow a member's own up to the next block.
const fn padding(size: u64) -> u64 {
    size.wrapping_neg() % header::BLOCK_BYTES
}

/// Why a type flag is refused. Source: POSIX.1-2024 pax §ustar; GNU tar `tar.h`.
const fn refusal(flag: u8) -> MemberFault {
    match flag {
        b'x' | b'g' | b'X' => MemberFault::Pax,
        b'3' => MemberFault::Type("character devices"),
        b'4' => MemberFault::Type("block devices"),
        b'6' => MemberFault::Type("named pipes"),
        b'7' => MemberFault::Type("contiguous files"),
        b'S' => MemberFault::Type("sparse files"),
        b'M' => MemberFault::Type("parts of multi-volume archives"),
        b'V' => MemberFault::Type("volume labels"),
        b'D' | b'N' => MemberFault::Type("incremental dumps"),
        flag => MemberFault::UnknownType(flag),
    }
}
