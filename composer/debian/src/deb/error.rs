//! Why a package is refused.

use std::io;

use super::path::InvalidMemberPath;

/// Why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The bytes could not be had.
    #[error("reading the package")]
    Io(#[source] io::Error),
    /// The archive around the archives, or a compressed stream, is wrong.
    #[error(transparent)]
    Container(#[from] ContainerFault),
    /// A member of an inner archive is wrong.
    #[error("member `{member}` of the {archive}: {fault}")]
    Member {
        /// `control archive` or `data archive`.
        archive: &'static str,
        /// Its name, escaped.
        member: String,
        /// What is wrong with it.
        fault: MemberFault,
    },
    /// The control information is wrong.
    #[error(transparent)]
    Control(#[from] ControlFault),
    /// It is another package than the one asked for.
    #[error("{field} is `{found}`, not `{expected}` as locked")]
    Mismatch {
        /// The control field.
        field: &'static str,
        /// As locked.
        expected: String,
        /// As the package says.
        found: String,
    },
}

/// What is wrong with the `ar` archive or a compressed stream in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerFault {
    /// No `ar` magic.
    #[error("not an ar archive")]
    NotAr,
    /// A member header is malformed.
    #[error("ar header at offset {offset} is malformed")]
    Header {
        /// Where it begins.
        offset: u64,
    },
    /// A header or padding is cut off.
    #[error("ar archive ends within the header at offset {offset}")]
    Truncated {
        /// Where the header begins.
        offset: u64,
    },
    /// A member claims more bytes than there are.
    #[error("ar member `{name}` of {size} bytes reaches beyond the end of the file")]
    BeyondEnd {
        /// The member.
        name: String,
        /// Its size.
        size: u64,
    },
    /// The byte that makes an odd member even is missing or not a newline.
    #[error("ar member `{name}` is not padded to an even size")]
    Padding {
        /// The member.
        name: String,
    },
    /// A member is not the one that has to be here.
    #[error("ar member `{found}` where `{expected}` belongs")]
    Order {
        /// What belongs here.
        expected: &'static str,
        /// What is here.
        found: String,
    },
    /// The archive ends too early.
    #[error("ar archive ends before `{expected}`")]
    Missing {
        /// What is missing.
        expected: &'static str,
    },
    /// A format version we do not know.
    #[error("package format `{0}` is not 2.0")]
    Format(String),
    /// An inner archive in a compression we do not read.
    #[error("ar member `{0}` is compressed in an unsupported way")]
    Compression(String),
    /// Bytes follow the compressed stream within its member.
    #[error("bytes follow the compressed stream of `{0}`")]
    AfterStream(String),
    /// The compressed stream is damaged, cut off or needs too much memory.
    #[error("compressed stream of the {archive} is damaged: {reason}")]
    Stream {
        /// `control archive` or `data archive`.
        archive: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// The stream unpacks to more than it may.
    #[error("the {archive} unpacks to more than {cap} bytes")]
    Bomb {
        /// `control archive` or `data archive`.
        archive: &'static str,
        /// How much it may unpack to.
        cap: u64,
    },
    /// The tar archive ends without its end marker.
    #[error("the {archive} ends without the two zero blocks that end a tar archive")]
    NoEnd {
        /// `control archive` or `data archive`.
        archive: &'static str,
    },
    /// Something other than zeros follows the end marker.
    #[error("bytes follow the end of the {archive}")]
    AfterEnd {
        /// `control archive` or `data archive`.
        archive: &'static str,
    },
}

/// What is wrong with a member of a tar archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberFault {
    /// The header's checksum does not fit.
    #[error("header checksum is wrong")]
    Checksum,
    /// The header is of no format we know.
    #[error("header is neither v7, ustar nor GNU")]
    Magic,
    /// A number is malformed.
    #[error("{0} is not a number in range")]
    Number(&'static str),
    /// A number is negative.
    #[error("{0} is negative")]
    Negative(&'static str),
    /// A PAX header.
    #[error("PAX headers are not allowed in packages")]
    Pax,
    /// A type that packages may not hold.
    #[error("{0} are not allowed in packages")]
    Type(&'static str),
    /// A type nobody knows.
    #[error("unknown type flag 0x{0:02x}")]
    UnknownType(u8),
    /// A link or directory with bytes of its own.
    #[error("a {0} with {1} bytes of content")]
    Content(&'static str, u64),
    /// A long name is longer than any path.
    #[error("long name of {0} bytes: at most 4096")]
    LongName(u64),
    /// A long name that holds a NUL, or belongs to nothing.
    #[error("long name is malformed or belongs to no member")]
    StrayLongName,
    /// The name is no path below the root.
    #[error("{0}")]
    Path(#[from] InvalidMemberPath),
    /// The target of a symbolic link cannot be one.
    #[error("symbolic link target is empty, over 4095 bytes or holds a control character")]
    Target,
    /// The target of a hard link is no path below the root.
    #[error("hard link target: {0}")]
    HardLinkPath(InvalidMemberPath),
    /// A hard link to something that is no earlier regular file of the archive.
    #[error("hard link to `{0}`, which is no earlier regular file of this package")]
    HardLink(String),
    /// The name occurs twice.
    #[error("occurs twice")]
    Duplicate,
    /// The archive is cut off within the member.
    #[error("the archive ends within it")]
    Truncated,
    /// The root is something other than a directory.
    #[error("the root must be a directory")]
    Root,
    /// There are more members than a package can have.
    #[error("more than {0} members")]
    TooMany(usize),
}

/// What is wrong with the control information.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlFault {
    /// A member of the control archive is no plain file with a plain name.
    #[error("control archive holds `{0}`, which is no plain file at its top")]
    File(String),
    /// There is no `control` file.
    #[error("control archive holds no `control` file")]
    Missing,
    /// The control file does not parse.
    #[error("control file, line {line}: {reason}")]
    Syntax {
        /// Counted from one.
        line: usize,
        /// Why.
        reason: &'static str,
    },
    /// A required field is absent.
    #[error("control file has no `{0}` field")]
    NoField(&'static str),
    /// A field holds what it cannot.
    #[error("control field `{field}` cannot be `{value}`")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value, escaped.
        value: String,
    },
    /// A maintainer script does not name its interpreter.
    #[error("maintainer script `{0}` does not begin with `#!` and an interpreter")]
    NoInterpreter(&'static str),
    /// A maintainer script's first line ends with a carriage return, so its interpreter is not found.
    #[error("maintainer script `{0}` has a carriage return in its `#!` line")]
    CarriageReturn(&'static str),
    /// A maintainer script is not executable.
    #[error("maintainer script `{0}` is not executable")]
    NotExecutable(&'static str),
    /// A line of `conffiles` is no absolute path.
    #[error("conffiles, line {line}: `{text}` is no absolute path")]
    Conffile {
        /// Counted from one.
        line: usize,
        /// The line, escaped.
        text: String,
    },
}

/// Bytes as they may appear in a message: as text where they are printable text, else escaped.
pub(super) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}
