//! Licences as copyright files of Debian name them, as SPDX expressions.
//!
//! `licence/names.txt` is the table of short names; a name that SPDX itself has means that. Any other stays what it is, as a reference that a document explains: nothing is guessed, and no
//! licence is known by its text.
//! Source: DEP-5 §7; SPDX 2.3 annex D.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

/// The table, name and meaning in each line.
const NAMES: &str = include_str!("licence/names.txt");

/// How many characters of a name a reference keeps.
const REFERENCE_MOST: usize = 80;

static TABLE: LazyLock<BTreeMap<String, &'static str>> =
    LazyLock::new(|| rows().map(|(name, meaning)| (name.to_ascii_lowercase(), meaning)).collect());

/// Name and meaning of each line.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(|line| line.split_once("  ").map(|(name, meaning)| (name, meaning.trim())))
}

/// What SPDX calls a licence by its short name: an identifier, with an exception where there is one.
#[must_use]
pub fn spdx_of(name: &str) -> Option<&'static str> {
    let known = TABLE.get(&name.to_ascii_lowercase()).copied();
    known.or_else(|| spdx::license_id(name).filter(|id| !id.is_deprecated()).map(|id| id.name))
}

/// Licences and how they combine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expression {
    /// One licence, by its short name.
    One(String),
    /// All of them at once, sorted.
    All(BTreeSet<Expression>),
    /// Any of them, as one likes; sorted.
    Any(BTreeSet<Expression>),
}

impl Expression {
    /// Reads what stands behind `License:`; `None` if there is no name in it.
    ///
    /// `and` binds closer than `or`, and a comma before either less than both. A comma alone is `and`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut whole: Option<Self> = None;
        for part in text.split(',') {
            let words: Vec<&str> = part.split_whitespace().collect();
            let (join, words): (fn(_) -> _, _) = match words.split_first() {
                Some((first, rest)) if is_or(first) => (Self::any, rest),
                Some((first, rest)) if is_and(first) => (Self::all, rest),
                _ => (Self::all, &words[..]),
            };
            let Some(part) = alternatives(words) else { continue };
            whole = Some(match whole {
                Some(before) => join([before, part].into()),
                None => part,
            });
        }
        whole
    }

    /// All of several; a lone one is itself. What is said twice is said once.
    #[must_use]
    pub fn all(parts: Vec<Self>) -> Self {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::All(parts) => parts,
            other => BTreeSet::from([other]),
        });
        Self::joined(flat.collect(), Self::All)
    }

    fn any(parts: Vec<Self>) -> Self {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::Any(parts) => parts,
            other => BTreeSet::from([other]),
        });
        Self::joined(flat.collect(), Self::Any)
    }

    fn joined(mut parts: BTreeSet<Self>, join: fn(BTreeSet<Self>) -> Self) -> Self {
        match parts.len() {
            1 => parts.pop_first().expect("there is one"),
            _ => join(parts),
        }
    }

    /// The short names in it.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::One(name) => BTreeSet::from([name.as_str()]),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::names).collect(),
        }
    }

    /// Whether the licences can be kept without one of those refused: of alternatives, one will do.
    #[must_use]
    pub fn holds_without(&self, refused: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::One(name) => !refused(name),
            Self::All(parts) => parts.iter().all(|part| part.holds_without(refused)),
            Self::Any(parts) => parts.iter().any(|part| part.holds_without(refused)),
        }
    }

    /// As SPDX writes it; `reference` names a licence that SPDX does not know.
    pub fn spdx<'e>(&'e self, reference: &'e dyn Fn(&str) -> String) -> impl fmt::Display + 'e {
        Spdx { expression: self, reference }
    }
}

/// An expression as SPDX writes it.
struct Spdx<'e> {
    expression: &'e Expression,
    reference: &'e dyn Fn(&str) -> String,
}

impl fmt::Display for Spdx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self.expression {
            Expression::One(name) => {
                return match spdx_of(name) {
                    Some(known) => f.write_str(known),
                    None => f.write_str(&(self.reference)(name)),
                };
            }
            Expression::All(parts) => (parts, " AND "),
            Expression::Any(parts) => (parts, " OR "),
        };
        for (at, part) in parts.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { word })?;
            let part = Spdx { expression: part, reference: self.reference };
            match part.expression {
                Expression::One(_) => write!(f, "{part}")?,
                _ => write!(f, "({part})")?,
            }
        }
        Ok(())
    }
}

/// A short name as a reference may spell it, without `LicenseRef-`. Source: SPDX 2.3 §10.1: letters,
/// digits, `.` and `-`.
#[must_use]
pub fn reference_word(name: &str) -> String {
    let mut word = String::new();
    for c in name.chars().take(REFERENCE_MOST) {
        match c {
            c if c.is_ascii_alphanumeric() || c == '.' => word.push(c),
            '+' => word.push_str("-or-later"),
            _ if !word.ends_with('-') => word.push('-'),
            _ => {}
        }
    }
    word.trim_matches('-').to_owned()
}

fn is_and(word: &str) -> bool {
    word.eq_ignore_ascii_case("and") || word == "&"
}

/// `and/or` leaves the choice.
fn is_or(word: &str) -> bool {
    word.eq_ignore_ascii_case("or") || word.eq_ignore_ascii_case("and/or") || word == "|"
}

/// Words between commas: alternatives of sums of names.
fn alternatives(words: &[&str]) -> Option<Expression> {
    let mut any = Vec::new();
    let mut all = Vec::new();
    let mut name: Vec<&str> = Vec::new();
    // What stands between `with` and `exception` belongs to the name, whatever it is.
    let mut exception = false;
    for word in words {
        let joins = !exception && (is_and(word) || is_or(word));
        if joins {
            end(&mut name, &mut all);
            if is_or(word) && !all.is_empty() {
                any.push(Expression::all(std::mem::take(&mut all)));
            }
            continue;
        }
        let ends = word.eq_ignore_ascii_case("exception") || word.eq_ignore_ascii_case("exceptions");
        exception = (exception || word.eq_ignore_ascii_case("with")) && !ends;
        name.push(word);
    }
    end(&mut name, &mut all);
    if !all.is_empty() {
        any.push(Expression::all(all));
    }
    (!any.is_empty()).then(|| Expression::any(any))
}

fn end(name: &mut Vec<&str>, all: &mut Vec<Expression>) {
    if !name.is_empty() {
        all.push(Expression::One(name.join(" ")));
        name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spdx_text(text: &str) -> String {
        let reference = |name: &str| format!("LicenseRef-{}", reference_word(name));
        Expression::parse(text).unwrap().spdx(&reference).to_string()
    }

    #[test]
    fn expressions_mean_what_the_format_says() {
        for (text, expected) in [
            ("GPL-2+", "GPL-2.0-or-later"),
            ("gpl-2+", "GPL-2.0-or-later"),
            ("Expat or GPL-1+ or Artistic", "Artistic-1.0-Perl OR MIT OR GPL-1.0-or-later"),
            ("BSD-3-clause and ISC or GPL-2", "GPL-2.0-only OR (BSD-3-Clause AND ISC)"),
            (
                "GPL-2+ or Artistic-2.0, and BSD-3-clause",
                "BSD-3-Clause AND (Artistic-2.0 OR GPL-2.0-or-later)",
            ),
            ("GPL-2 with Linux-syscall-note exception", "GPL-2.0-only WITH Linux-syscall-note"),
            (
                "GPL-2+ with OpenSSL exception or ISC",
                "LicenseRef-GPL-2-or-later-with-OpenSSL-exception OR ISC",
            ),
            ("public-domain", "LicenseRef-public-domain"),
            ("BSD (two clauses)", "LicenseRef-BSD-two-clauses"),
            ("GPL-2 and GPL-2, GPL-2", "GPL-2.0-only"),
            ("GPL-2 with the words that never end", "LicenseRef-GPL-2-with-the-words-that-never-end"),
        ] {
            assert_eq!(spdx_text(text), expected, "{text}");
            spdx::Expression::parse(expected).unwrap();
        }
        for nothing in ["", " , and ,", "or"] {
            assert_eq!(Expression::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn of_alternatives_one_that_is_not_refused_will_do() {
        let refused = |name: &str| name == "GPL-3+";
        for (text, holds) in [
            ("GPL-3+", false),
            ("GPL-3+ or ISC", true),
            ("GPL-3+ and ISC", false),
            ("GPL-3+ or ISC, and GPL-3+", false),
        ] {
            assert_eq!(Expression::parse(text).unwrap().holds_without(&refused), holds, "{text}");
        }
    }

    #[test]
    fn the_table_says_each_name_once_and_only_what_spdx_knows() {
        let mut names = BTreeSet::new();
        for (name, meaning) in rows() {
            assert!(names.insert(name.to_ascii_lowercase()), "`{name}` is there twice");
            let parsed = spdx::Expression::parse(meaning);
            assert!(parsed.is_ok(), "`{name}` is `{meaning}`: {parsed:?}");
        }
        let lines = NAMES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        assert_eq!(names.len(), lines, "a line has two words");
    }

    #[test]
    fn a_reference_has_only_what_references_may_have() {
        for name in ["é", "GPL with – dashes", "a/b+", &"x".repeat(1000)] {
            let word = reference_word(name);
            assert!(word.len() < 200, "{word}");
            assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')), "{word}");
        }
    }
}
