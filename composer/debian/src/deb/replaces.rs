//! Which packages' files a package may take over: its `Replaces` field.
//!
//! Source: deb-control(5) "Replaces"; deb-version(7) for the order of versions.

use std::cmp::Ordering;

/// A parsed `Replaces` field. An alternative or a relation that does not parse replaces nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replaces(Vec<Replaced>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Replaced {
    package: String,
    bound: Option<(Relation, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Replaces {
    pub(super) fn parse(field: &str) -> Self {
        Self(field.split(',').filter_map(Replaced::parse).collect())
    }

    /// Whether files of this package in this version may be taken over.
    #[must_use]
    pub fn covers(&self, package: &str, version: &str) -> bool {
        self.0.iter().any(|replaced| replaced.package == package && replaced.allows(version))
    }
}

impl Replaced {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let Some((package, bound)) = text.split_once('(') else {
            return (!text.is_empty()).then(|| Self { package: text.to_owned(), bound: None });
        };
        let bound = bound.trim().strip_suffix(')')?.trim();
        let operators = [
            ("<<", Relation::Earlier),
            ("<=", Relation::EarlierOrEqual),
            (">=", Relation::LaterOrEqual),
            (">>", Relation::Later),
            ("=", Relation::Equal),
        ];
        let (version, relation) = operators.into_iter().find_map(|(operator, relation)| {
            bound.strip_prefix(operator).map(|version| (version.trim(), relation))
        })?;
        Some(Self { package: package.trim().to_owned(), bound: Some((relation, version.to_owned())) })
    }

    fn allows(&self, version: &str) -> bool {
        let Some((relation, bound)) = &self.bound else { return true };
        let order = compare(version, bound);
        match relation {
            Relation::Earlier => order.is_lt(),
            Relation::EarlierOrEqual => order.is_le(),
            Relation::Equal => order.is_eq(),
            Relation::LaterOrEqual => order.is_ge(),
            Relation::Later => order.is_gt(),
        }
    }
}

/// The order of two versions.
fn compare(left: &str, right: &str) -> Ordering {
    let split = |version: &str| -> (u64, String, String) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(u64::MAX), upstream.to_owned(), revision.to_owned())
    };
    let (left, right) = (split(left), split(right));
    left.0
        .cmp(&right.0)
        .then_with(|| compare_part(left.1.as_bytes(), right.1.as_bytes()))
        .then_with(|| compare_part(left.2.as_bytes(), right.2.as_bytes()))
}

/// Compares by turns what is no digit, character by character, and what is, as a number.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = split_at_first(left, |byte| byte.is_ascii_digit());
        let (right_text, right_rest) = split_at_first(right, |byte| byte.is_ascii_digit());
        let longest = left_text.len().max(right_text.len());
        let text = (0..longest).map(|at| weight(left_text.get(at)).cmp(&weight(right_text.get(at))));
        let (left_digits, left_after) = split_at_first(left_rest, |byte| !byte.is_ascii_digit());
        let (right_digits, right_after) = split_at_first(right_rest, |byte| !byte.is_ascii_digit());
        let number = compare_digits(left_digits, right_digits);
        match text.fold(Ordering::Equal, Ordering::then).then(number) {
            Ordering::Equal => (left, right) = (left_after, right_after),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

fn compare_digits(left: &[u8], right: &[u8]) -> Ordering {
    let (_, left) = split_at_first(left, |byte| *byte != b'0');
    let (_, right) = split_at_first(right, |byte| *byte != b'0');
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

fn split_at_first(bytes: &[u8], is_end: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(is_end).unwrap_or(bytes.len()))
}

/// `~` sorts before the end, the end before letters, letters before the rest.
fn weight(byte: Option<&u8>) -> (u8, u8) {
    match byte {
        Some(b'~') => (0, 0),
        None => (1, 0),
        Some(letter) if letter.is_ascii_alphabetic() => (2, *letter),
        Some(other) => (3, *other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        for (lower, higher) in [
            ("1.0~rc1", "1.0"),
            ("1.0", "1.0-1"),
            ("1.9", "1.10"),
            ("9", "1:1"),
            ("1.0a", "1.0+b"),
            ("1.2-3", "1.2-3+b1"),
            ("1.0~~", "1.0~"),
        ] {
            assert_eq!(compare(lower, higher), Ordering::Less, "{lower} {higher}");
            assert_eq!(compare(higher, lower), Ordering::Greater, "{higher} {lower}");
        }
        assert_eq!(compare("1.01-0", "1.1-0"), Ordering::Equal);
        assert_eq!(compare("1.1-0", "1.1"), Ordering::Equal);
    }

    #[test]
    fn a_versioned_relation_covers_only_the_versions_it_names() {
        let replaces = Replaces::parse("init, udev (<< 257~), libc6 (>= 2)");
        assert!(replaces.covers("init", "9"));
        assert!(replaces.covers("udev", "256.1-1"));
        assert!(!replaces.covers("udev", "257-1"));
        assert!(replaces.covers("libc6", "2.41-12"));
        assert!(!replaces.covers("libc", "2.41-12"));
    }
}
