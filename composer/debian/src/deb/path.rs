//! Names of members: paths below the root of the tree a package is unpacked into.

use std::fmt;

use super::error::shown;

/// Longest path and component. Source: limits.h, `PATH_MAX` without its NUL, `NAME_MAX`.
const PATH_MAX: usize = 4095;
const NAME_MAX: usize = 255;

/// A path below the root: components joined by `/`, none of them empty, `.` or `..`, no control
/// character in it. Bytes, not necessarily UTF-8. Empty for the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberPath(Box<[u8]>);

/// Why a name is no such path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMemberPath {
    /// It is empty.
    #[error("the name is empty")]
    Empty,
    /// It begins with `/`.
    #[error("the name is absolute")]
    Absolute,
    /// A component is `..`.
    #[error("the name climbs with `..`")]
    Climbs,
    /// A component is empty, or `.` after the first.
    #[error("the name has an empty component")]
    EmptyComponent,
    /// It holds a control character.
    #[error("the name holds a control character")]
    Control,
    /// It is too long.
    #[error("the name is too long: 255 bytes a component, 4095 in all")]
    TooLong,
}

impl MemberPath {
    /// Reads a member's name: `./usr/bin/x`, `usr/bin/x`, `./` or `.`; a directory's trailing `/`
    /// is the caller's to strip.
    ///
    /// # Errors
    /// [`InvalidMemberPath`] for every name that is not plainly a path below the root.
    pub fn parse(name: &[u8]) -> Result<Self, InvalidMemberPath> {
        if name.is_empty() {
            return Err(InvalidMemberPath::Empty);
        }
        if name.starts_with(b"/") {
            return Err(InvalidMemberPath::Absolute);
        }
        let path = match name.strip_prefix(b"./") {
            Some(path) => path,
            None if name == b"." => b"",
            None => name,
        };
        if path.is_empty() {
            return Ok(Self(Box::default()));
        }
        if path.len() > PATH_MAX {
            return Err(InvalidMemberPath::TooLong);
        }
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b".." => return Err(InvalidMemberPath::Climbs),
                b"" | b"." => return Err(InvalidMemberPath::EmptyComponent),
                _ if component.iter().any(u8::is_ascii_control) => return Err(InvalidMemberPath::Control),
                _ if component.len() > NAME_MAX => return Err(InvalidMemberPath::TooLong),
                _ => {}
            }
        }
        Ok(Self(path.into()))
    }

    /// The bytes, without a leading `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for MemberPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", shown(&self.0))
    }
}

impl fmt::Debug for MemberPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberPath({self})")
    }
}
