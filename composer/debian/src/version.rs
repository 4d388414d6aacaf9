//! Version numbers and their order.
//!
//! Source: Debian Policy §5.6.12, deb-version(7). Borrowed: a version is a view of the text it came from.

use std::cmp::Ordering;
use std::fmt;

/// A version, split into epoch, upstream version and revision.
///
/// Equality is that of the order: `1.0` equals `0:1.0-0`. Use [`Version::as_str`] to compare spellings.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    text: &'a str,
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

/// Text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version: {fault}")]
pub struct VersionError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub fault: &'static str,
}

/// Longest version accepted, in bytes; file names hold it whole, so 255 is out of reach anyway.
const MAX_LENGTH: usize = 255;

impl<'a> Version<'a> {
    /// Splits and checks a version.
    ///
    /// # Errors
    /// Text that deb-version(7) does not allow. An upstream version may start with a letter, as
    /// dpkg lets it: policy only says it should not.
    pub fn parse(text: &'a str) -> Result<Self, VersionError> {
        let error = |fault| VersionError { text: text.chars().take(MAX_LENGTH).collect(), fault };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.len() > MAX_LENGTH {
            return Err(error("it is longer than 255 bytes"));
        }
        let (epoch, rest) = match text.split_once(':') {
            None => (0, text),
            Some((digits, rest)) => (parse_epoch(digits).map_err(error)?, rest),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            None => (rest, ""),
            Some((_, "")) => return Err(error("its revision is empty")),
            Some(split) => split,
        };
        if !upstream.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) {
            return Err(error("its upstream part does not start with a letter or digit"));
        }
        let common = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'~');
        if !upstream.bytes().all(|b| common(b) || matches!(b, b'-' | b':')) {
            return Err(error("its upstream part has characters other than letters, digits, . + - ~ :"));
        }
        if !revision.bytes().all(common) {
            return Err(error("its revision has characters other than letters, digits, . + ~"));
        }
        Ok(Self { text, epoch, upstream, revision })
    }

    /// The text as it came.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }
}

/// dpkg keeps epochs in an `int`.
fn parse_epoch(digits: &str) -> Result<u32, &'static str> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("its epoch is not a number");
    }
    match digits.parse::<u32>() {
        Ok(epoch) if i32::try_from(epoch).is_ok() => Ok(epoch),
        _ => Err("its epoch is past 2^31 − 1"),
    }
}

/// Where a byte sorts among what is not a digit: `~`, then the end, then letters, then the rest.
fn rank(byte: Option<u8>) -> u16 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(b) if b.is_ascii_digit() => 1,
        Some(b) if b.is_ascii_alphabetic() => 2 + u16::from(b),
        Some(b) => 0x100 + u16::from(b),
    }
}

/// The number of leading bytes that satisfy a condition.
fn run(bytes: &[u8], condition: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&b| !condition(b)).unwrap_or(bytes.len())
}

/// Compares one part: stretches of non-digits and of digits, in turn.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let words = (run(a, |c| !c.is_ascii_digit()), run(b, |c| !c.is_ascii_digit()));
        let (word_a, rest_a) = a.split_at(words.0);
        let (word_b, rest_b) = b.split_at(words.1);
        for at in 0..words.0.max(words.1) {
            let order = rank(word_a.get(at).copied()).cmp(&rank(word_b.get(at).copied()));
            if order.is_ne() {
                return order;
            }
        }
        let strip = |s: &'_ [u8]| run(s, |c| c == b'0');
        let (rest_a, rest_b) = (rest_a.split_at(strip(rest_a)).1, rest_b.split_at(strip(rest_b)).1);
        let digits = (run(rest_a, |c| c.is_ascii_digit()), run(rest_b, |c| c.is_ascii_digit()));
        let (number_a, rest_a) = rest_a.split_at(digits.0);
        let (number_b, rest_b) = rest_b.split_at(digits.1);
        // Without leading zeros the longer number is the greater, however many digits it has.
        let order = digits.0.cmp(&digits.1).then_with(|| number_a.cmp(number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream.as_bytes(), other.upstream.as_bytes()))
            .then_with(|| compare_part(self.revision.as_bytes(), other.revision.as_bytes()))
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version<'_> {}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version<'_> {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_sort_as_policy_says() {
        // Strictly ascending; every pair is compared, both ways.
        let ascending = [
            "1.0~~",
            "1.0~~a",
            "1.0~",
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0-0.1",
            "1.0-1~bpo13+1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0-10",
            "1.0a",
            "1.0+",
            "1.0.0",
            "1.0.1",
            "1.1",
            "1.10",
            "1.99999999999999999999999",
            "1.100000000000000000000000",
            "2",
            "2a",
            "2+",
            "2.",
            "10",
            "1:0.1",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(version(a).cmp(&version(b)), i.cmp(&j), "{a} against {b}");
            }
        }
    }

    #[test]
    fn zero_epochs_revisions_and_leading_zeros_change_nothing() {
        for (a, b) in
            [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("1.0", "1.000"), ("1:1-0", "01:1")]
        {
            assert_eq!(version(a), version(b));
        }
    }

    #[test]
    fn colons_and_hyphens_belong_upstream_where_they_may() {
        let v = version("2:1:0-rc-4");
        assert_eq!((v.epoch, v.upstream, v.revision), (2, "1:0-rc", "4"));
    }

    #[test]
    fn what_is_not_a_version_says_why() {
        for (text, message) in [
            ("", "`` is not a version: it is empty"),
            (":1", "`:1` is not a version: its epoch is not a number"),
            ("a:1", "`a:1` is not a version: its epoch is not a number"),
            ("1099511627776:1", "`1099511627776:1` is not a version: its epoch is past 2^31 − 1"),
            ("1:", "`1:` is not a version: its upstream part does not start with a letter or digit"),
            ("1:;rm", "`1:;rm` is not a version: its upstream part does not start with a letter or digit"),
            ("1.0-", "`1.0-` is not a version: its revision is empty"),
            ("-1", "`-1` is not a version: its upstream part does not start with a letter or digit"),
            (
                "1 0",
                "`1 0` is not a version: its upstream part has characters other than letters, digits, . + - ~ :",
            ),
            (
                "1/0",
                "`1/0` is not a version: its upstream part has characters other than letters, digits, . + - ~ :",
            ),
            ("1-a:b", "`1-a:b` is not a version: its epoch is not a number"),
            ("1-é", "`1-é` is not a version: its revision has characters other than letters, digits, . + ~"),
        ] {
            assert_eq!(Version::parse(text).unwrap_err().to_string(), message);
        }
        assert!(Version::parse(&"1".repeat(256)).is_err());
    }
}
