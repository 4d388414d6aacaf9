//! Which packages' files a package may take over: its `Replaces` field.
//!
//! Source: deb-control(5) "Replaces".

use crate::relation::Relation;
use crate::version::Version;

/// A parsed `Replaces` field. An alternative or a relation that does not parse replaces nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replaces<'a>(Vec<Relation<'a>>);

impl<'a> Replaces<'a> {
    pub(super) fn parse(field: &'a str) -> Self {
        Self(field.split(',').filter_map(|text| Relation::parse(text).ok()).collect())
    }

    /// Whether files of this package in this version may be taken over.
    #[must_use]
    pub fn covers(&self, package: &str, version: &str) -> bool {
        let version = Version::parse(version).ok();
        let allows = |replaced: &Relation<'_>| {
            replaced.constraint.is_none_or(|it| version.is_some_and(|version| it.allows(version)))
        };
        self.0.iter().any(|replaced| replaced.name == package && allows(replaced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versioned_relation_covers_only_the_versions_it_names() {
        let replaces = Replaces::parse("init, udev (<< 257~), libc6 (>= 2)");
        assert!(replaces.covers("init", "9"));
        assert!(replaces.covers("udev", "256.1-1"));
        assert!(!replaces.covers("udev", "257-1"));
        assert!(replaces.covers("libc6", "2.41-12"));
        assert!(!replaces.covers("libc", "2.41-12"));
        assert!(!replaces.covers("libc6", "-"));
        let odd = Replaces::parse("a | b, cc (?? 1), dd (= 1)");
        assert!(!odd.covers("a", "1") && !odd.covers("cc", "1") && odd.covers("dd", "0:1-0"));
    }
}
