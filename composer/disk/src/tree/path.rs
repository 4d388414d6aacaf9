//! Paths within a tree: canonical by construction.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A path from the root of a tree: components joined by `/`, none of them empty, `.` or `..`.
///
/// Names are bytes, as on every Linux file system. Ordered component by component, so that `a/b`
/// sorts before `a.d`, right behind `a`.
#[derive(Clone)]
pub struct TreePath(Repr);

#[derive(Clone)]
enum Repr {
    Root,
    Below(Arc<[u8]>),
}

/// Why bytes are no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// A component is `..`.
    #[error("`{0}` climbs with `..`")]
    Climbs(String),
    /// A component is empty or `.`, other than a leading `./` or `/` and a trailing `/`.
    #[error("`{0}` has an empty component")]
    EmptyComponent(String),
    /// A component holds a NUL byte.
    #[error("`{0}` holds a NUL byte")]
    Nul(String),
    /// A component is over 255 bytes or the whole over 4095. Source: limits.h, `NAME_MAX`, `PATH_MAX`.
    #[error("`{0}` is too long: 255 bytes a name, 4095 a path")]
    TooLong(String),
}

impl TreePath {
    /// The root itself.
    pub const ROOT: Self = Self(Repr::Root);

    /// Reads a path from the root. A leading `/` or `./` and a trailing `/` are dropped; `.`, `/`
    /// and the empty path are the root.
    ///
    /// # Errors
    /// [`InvalidPath`] for anything that would need interpretation.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPath> {
        let shown = || bytes.escape_ascii().to_string();
        if bytes.len() > 4095 {
            return Err(InvalidPath::TooLong(shown()));
        }
        let trimmed = bytes.strip_prefix(b"./").or_else(|| bytes.strip_prefix(b"/")).unwrap_or(bytes);
        let trimmed = trimmed.strip_suffix(b"/").unwrap_or(trimmed);
        if trimmed.is_empty() || trimmed == b"." {
            return Ok(Self::ROOT);
        }
        for component in trimmed.split(|byte| *byte == b'/') {
            match component {
                b".." => return Err(InvalidPath::Climbs(shown())),
                b"" | b"." => return Err(InvalidPath::EmptyComponent(shown())),
                _ if component.contains(&0) => return Err(InvalidPath::Nul(shown())),
                _ if component.len() > 255 => return Err(InvalidPath::TooLong(shown())),
                _ => {}
            }
        }
        Ok(Self(Repr::Below(trimmed.into())))
    }

    /// The path as bytes, without a leading `/`; empty for the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Root => b"",
            Repr::Below(bytes) => bytes,
        }
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        matches!(self.0, Repr::Root)
    }

    /// The components, from the root down; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.as_bytes().split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.components().next_back().unwrap_or_default()
    }

    /// The directory above; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let Repr::Below(bytes) = &self.0 else { return None };
        Some(match bytes.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Self(Repr::Below(bytes[..slash].into())),
            None => Self::ROOT,
        })
    }

    /// This path with another below it.
    ///
    /// # Errors
    /// [`InvalidPath`] if `below` is no path or the whole is too long.
    pub fn join(&self, below: &[u8]) -> Result<Self, InvalidPath> {
        let below = Self::parse(below)?;
        match (&self.0, &below.0) {
            (Repr::Root, _) => Ok(below),
            (_, Repr::Root) => Ok(self.clone()),
            (Repr::Below(upper), Repr::Below(lower)) => Self::parse(&[upper, &b"/"[..], lower].concat()),
        }
    }

    /// Whether this is the other path or below it.
    #[must_use]
    pub fn starts_with(&self, upper: &Self) -> bool {
        match (&self.0, &upper.0) {
            (_, Repr::Root) => true,
            (Repr::Root, Repr::Below(_)) => false,
            (Repr::Below(path), Repr::Below(upper)) => {
                path.strip_prefix(&upper[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
        }
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/")?;
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => text.chars().try_for_each(|c| {
                if c.is_control() { write!(f, "{}", c.escape_debug()) } else { write!(f, "{c}") }
            }),
            Err(_) => write!(f, "{}", self.as_bytes().escape_ascii()),
        }
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({self})")
    }
}

impl PartialEq for TreePath {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for TreePath {}

impl Hash for TreePath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // `/` sorts as if it were the smallest byte: the same as comparing components, without splitting.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.as_bytes().iter().map(key).cmp(other.as_bytes().iter().map(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_write_one_path_are_one_path() {
        for text in ["usr/bin", "/usr/bin", "./usr/bin", "usr/bin/", "./usr/bin/"] {
            assert_eq!(TreePath::parse(text.as_bytes()).unwrap().to_string(), "/usr/bin");
        }
        for text in ["", "/", ".", "./"] {
            assert!(TreePath::parse(text.as_bytes()).unwrap().is_root(), "{text}");
        }
    }

    #[test]
    fn what_would_need_interpretation_is_refused() {
        for (text, error) in [
            ("../x", InvalidPath::Climbs("../x".into())),
            ("a/../../x", InvalidPath::Climbs("a/../../x".into())),
            ("a//b", InvalidPath::EmptyComponent("a//b".into())),
            ("a/./b", InvalidPath::EmptyComponent("a/./b".into())),
            ("a\0b", InvalidPath::Nul("a\\x00b".into())),
        ] {
            assert_eq!(TreePath::parse(text.as_bytes()), Err(error));
        }
        let long = "n".repeat(256);
        assert_eq!(TreePath::parse(long.as_bytes()), Err(InvalidPath::TooLong(long.clone())));
    }

    #[test]
    fn parents_and_names_take_a_path_apart() {
        let path = TreePath::parse(b"usr/lib/x").unwrap();
        assert_eq!(path.name(), b"x");
        let above: Vec<String> =
            std::iter::successors(path.parent(), TreePath::parent).map(|p| p.to_string()).collect();
        assert_eq!(above, ["/usr/lib", "/usr", "/"]);
    }

    #[test]
    fn a_prefix_of_a_name_is_not_a_directory_above() {
        let parse = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        assert!(parse("usr/lib").starts_with(&parse("usr")));
        assert!(!parse("usr2").starts_with(&parse("usr")));
        assert!(!parse("usr").starts_with(&parse("usr/lib")));
    }
}
