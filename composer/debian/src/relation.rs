//! Relations between packages: the syntax of Depends, Conflicts, Provides and their kin.
//!
//! Says what a relation asks for; whether a package answers it is decided in [`crate::solve`].
//! Source: Debian Policy §7.1, deb-control(5). Build profiles are refused: binary packages have none.

use std::fmt;

use goni_model::arch::Arch;
use goni_model::lock::package_name_fault;

use crate::version::{Version, VersionError};

/// How a version must compare with the one named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// Which architecture of a package is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier<'a> {
    /// `:any`
    Any,
    /// `:native`
    Native,
    /// `:amd64`
    Arch(&'a str),
}

/// A bound on versions: `(>= 1.0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constraint<'a> {
    /// How to compare.
    pub comparison: Comparison,
    /// With what.
    pub version: Version<'a>,
}

/// One package asked for, or for Provides one offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The name, of a package or of what packages provide.
    pub name: &'a str,
    /// Its architecture, if said.
    pub qualifier: Option<Qualifier<'a>>,
    /// The versions that will do, if not all.
    pub constraint: Option<Constraint<'a>>,
    /// The architectures the relation is for: `[amd64 !i386]`. Empty means all.
    pub architectures: Vec<&'a str>,
}

/// Alternatives, the preferred one first: `a | b`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyOf<'a>(pub Vec<Relation<'a>>);

/// Text that is not a relation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// The shape is wrong.
    #[error("`{text}` is not a relation: {fault}")]
    Malformed {
        /// The text of the one relation.
        text: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The version in it is none.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// Most relations in one field. Debian's longest Provides has a few thousand.
const MAX_RELATIONS: usize = 1 << 16;

impl Constraint<'_> {
    /// Whether a version will do.
    #[must_use]
    pub fn allows(&self, version: Version<'_>) -> bool {
        let order = version.cmp(&self.version);
        match self.comparison {
            Comparison::Earlier => order.is_lt(),
            Comparison::EarlierOrEqual => order.is_le(),
            Comparison::Equal => order.is_eq(),
            Comparison::LaterOrEqual => order.is_ge(),
            Comparison::Later => order.is_gt(),
        }
    }
}

impl<'a> Relation<'a> {
    /// Reads one relation: `name[:qualifier] [(comparison version)] [[architectures]]`.
    ///
    /// # Errors
    /// Text of another shape, a name that is none, a version that is none, a build profile.
    pub fn parse(text: &'a str) -> Result<Self, RelationError> {
        let text = text.trim();
        let error = |fault| RelationError::Malformed { text: text.chars().take(200).collect(), fault };
        let name_end = text.find([' ', '\t', '\n', '(', '[', '<', ':']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(name_end);
        if let Some(fault) = package_name_fault(name) {
            return Err(error(fault));
        }
        let mut qualifier = None;
        if let Some(after) = rest.strip_prefix(':') {
            let end = after.find([' ', '\t', '\n', '(', '[', '<']).unwrap_or(after.len());
            let (word, after) = after.split_at(end);
            qualifier = Some(match word {
                "any" => Qualifier::Any,
                "native" => Qualifier::Native,
                _ if is_arch(word) => Qualifier::Arch(word),
                _ => return Err(error("its architecture is no name")),
            });
            rest = after;
        }
        let mut constraint = None;
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('(') {
            let (inside, after) = after.split_once(')').ok_or_else(|| error("`)` is missing"))?;
            constraint = Some(parse_constraint(inside.trim(), error)?);
            rest = after.trim_start();
        }
        let mut architectures = Vec::new();
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = after.split_once(']').ok_or_else(|| error("`]` is missing"))?;
            architectures.extend(inside.split_ascii_whitespace());
            if architectures.is_empty() || !architectures.iter().all(|a| is_arch(a.trim_start_matches('!'))) {
                return Err(error("its architectures are no names"));
            }
            rest = after.trim_start();
        }
        if rest.starts_with('<') {
            return Err(error("build profiles have no meaning for binary packages"));
        }
        if !rest.is_empty() {
            return Err(error("there is text after its end"));
        }
        Ok(Self { name, qualifier, constraint, architectures })
    }

    /// Whether the relation is meant for this architecture at all.
    #[must_use]
    pub fn applies_to(&self, arch: Arch) -> bool {
        let matches = |pattern: &str| {
            pattern == arch.debian()
                || matches!(pattern, "any" | "linux-any")
                || pattern.strip_prefix("any-") == Some(arch.debian())
        };
        match self.architectures.first() {
            None => true,
            // Policy §7.1: either all are negated or none.
            Some(first) if first.starts_with('!') => {
                !self.architectures.iter().any(|a| matches(a.trim_start_matches('!')))
            }
            Some(_) => self.architectures.iter().any(|a| matches(a)),
        }
    }

    /// Whether the qualifier lets a package of this architecture answer.
    ///
    /// Images have one architecture, so `:any` and `:native` mean that one.
    #[must_use]
    pub fn qualifier_allows(&self, arch: Arch) -> bool {
        match self.qualifier {
            None | Some(Qualifier::Any | Qualifier::Native) => true,
            Some(Qualifier::Arch(name)) => name == arch.debian() || name == "all",
        }
    }
}

fn is_arch(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn parse_constraint<'a>(
    text: &'a str,
    error: impl Fn(&'static str) -> RelationError,
) -> Result<Constraint<'a>, RelationError> {
    // Two characters before one. A lone `<` or `>` is long obsolete and ambiguous: refused.
    let (comparison, version) = [
        ("<<", Comparison::Earlier),
        ("<=", Comparison::EarlierOrEqual),
        (">=", Comparison::LaterOrEqual),
        (">>", Comparison::Later),
        ("=", Comparison::Equal),
    ]
    .into_iter()
    .find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?.trim())))
    .ok_or_else(|| error("its comparison is none of << <= = >= >>"))?;
    Ok(Constraint { comparison, version: Version::parse(version)? })
}

/// Reads a field of alternatives: Depends, Pre-Depends, Recommends.
///
/// # Errors
/// The first relation that is none.
pub fn parse_alternatives(text: &str) -> Result<Vec<AnyOf<'_>>, RelationError> {
    entries(text)?
        .map(|entry| Ok(AnyOf(entry.split('|').map(Relation::parse).collect::<Result<_, _>>()?)))
        .collect()
}

/// Reads a field without alternatives: Conflicts, Breaks, Provides, Replaces.
///
/// # Errors
/// The first relation that is none.
pub fn parse_list(text: &str) -> Result<Vec<Relation<'_>>, RelationError> {
    entries(text)?.map(Relation::parse).collect()
}

/// The entries between commas; an empty one at the end is as good as none, as dpkg sees it.
fn entries(text: &str) -> Result<impl Iterator<Item = &str>, RelationError> {
    if memchr::memchr_iter(b',', text.as_bytes()).nth(MAX_RELATIONS).is_some() {
        let text = text.chars().take(80).collect();
        return Err(RelationError::Malformed { text, fault: "there are more than 65536 in one field" });
    }
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    let count = if text.is_empty() { 0 } else { usize::MAX };
    Ok(text.split(',').take(count))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.qualifier {
            None => {}
            Some(Qualifier::Any) => f.write_str(":any")?,
            Some(Qualifier::Native) => f.write_str(":native")?,
            Some(Qualifier::Arch(arch)) => write!(f, ":{arch}")?,
        }
        if let Some(Constraint { comparison, version }) = &self.constraint {
            write!(f, " ({comparison} {version})")?;
        }
        if !self.architectures.is_empty() {
            write!(f, " [{}]", self.architectures.join(" "))?;
        }
        Ok(())
    }
}

impl fmt::Display for AnyOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, relation) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{relation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_qualifiers_and_constraints_are_read() {
        let text = "libc6 (>= 2.38), python3:any | perl:native (<<5.40)|foo:amd64(= 1:2-3) [linux-any !i386],\n debconf,";
        let parsed = parse_alternatives(text).unwrap();
        let written: Vec<String> = parsed.iter().map(ToString::to_string).collect();
        assert_eq!(
            written,
            [
                "libc6 (>= 2.38)",
                "python3:any | perl:native (<< 5.40) | foo:amd64 (= 1:2-3) [linux-any !i386]",
                "debconf"
            ]
        );
        assert_eq!(parsed[1].0[0].qualifier, Some(Qualifier::Any));
        assert_eq!(parse_alternatives(" "), Ok(vec![]));
    }

    #[test]
    fn constraints_allow_what_they_say() {
        for (constraint, allowed) in [
            ("aa (<< 2)", [true, false, false]),
            ("aa (<= 2)", [true, true, false]),
            ("aa (= 2)", [false, true, false]),
            ("aa (>= 2)", [false, true, true]),
            ("aa (>> 2)", [false, false, true]),
        ] {
            let constraint = Relation::parse(constraint).unwrap().constraint.unwrap();
            assert_eq!(["1", "2", "3"].map(|v| constraint.allows(Version::parse(v).unwrap())), allowed);
        }
    }

    #[test]
    fn architecture_lists_say_where_a_relation_holds() {
        for (text, holds) in [
            ("aa", [true, true]),
            ("aa [amd64]", [true, false]),
            ("aa [!amd64]", [false, true]),
            ("aa [any-arm64 i386]", [false, true]),
            ("aa [linux-any]", [true, true]),
            ("aa [hurd-any]", [false, false]),
        ] {
            let relation = Relation::parse(text).unwrap();
            assert_eq!([Arch::Amd64, Arch::Arm64].map(|arch| relation.applies_to(arch)), holds, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_relation_says_why() {
        for (text, message) in [
            ("aa,,bb", "`` is not a relation: is empty"),
            ("aa |", "`` is not a relation: is empty"),
            ("-rf", "`-rf` is not a relation: does not start with a lowercase letter or a digit"),
            ("a/../b", "`a/../b` is not a relation: has characters other than a-z 0-9 + - ."),
            ("aa (1)", "`aa (1)` is not a relation: its comparison is none of << <= = >= >>"),
            ("aa (> 1)", "`aa (> 1)` is not a relation: its comparison is none of << <= = >= >>"),
            ("aa (>= 1", "`aa (>= 1` is not a relation: `)` is missing"),
            ("aa (>= )", "`` is not a version: it is empty"),
            ("aa [", "`aa [` is not a relation: `]` is missing"),
            ("aa []", "`aa []` is not a relation: its architectures are no names"),
            ("aa:", "`aa:` is not a relation: its architecture is no name"),
            (
                "aa <!nocheck>",
                "`aa <!nocheck>` is not a relation: build profiles have no meaning for binary packages",
            ),
            ("aa bb", "`aa bb` is not a relation: there is text after its end"),
        ] {
            assert_eq!(parse_alternatives(text).unwrap_err().to_string(), message);
        }
    }
}
