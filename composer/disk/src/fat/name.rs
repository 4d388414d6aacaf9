//! Long names and the short ones beside them.
//!
//! Source: the specification, sections 6 and 7.

use std::collections::BTreeSet;

/// Why a name is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Names are Unicode.
    #[error("the name is not UTF-8")]
    NotUnicode,
    /// A control character or one of `"*/:<>?\|`.
    #[error("the name has `{}`", .0.escape_debug())]
    Character(char),
    /// Trailing dots and spaces are dropped by readers.
    #[error("the name ends with a dot or a space")]
    End,
    /// More than 255 units of UTF-16.
    #[error("the name has {0} units of UTF-16: at most 255 are possible")]
    Length(usize),
}

/// Eight characters and three, padded with spaces.
pub(super) type Short = [u8; 11];

/// Reads a name; gives its UTF-16.
pub(super) fn parse(name: &[u8]) -> Result<&str, InvalidName> {
    let text = std::str::from_utf8(name).map_err(|_| InvalidName::NotUnicode)?;
    if let Some(c) = text.chars().find(|c| c.is_ascii_control() || "\"*/:<>?\\|".contains(*c)) {
        return Err(InvalidName::Character(c));
    }
    if text.ends_with(['.', ' ']) {
        return Err(InvalidName::End);
    }
    let length = text.encode_utf16().count();
    if length > 255 { Err(InvalidName::Length(length)) } else { Ok(text) }
}

/// A volume label, padded; `None` if it is none.
pub(super) fn label(text: &str) -> Option<Short> {
    let mut label = [b' '; 11];
    let fits = (1..=11).contains(&text.len()) && !text.starts_with(' ');
    let usable = |c: u8| c == b' ' || is_short_character(c);
    (fits && text.bytes().all(usable)).then(|| {
        label[..text.len()].copy_from_slice(text.as_bytes());
        label
    })
}

/// What the specification, section 6.1, allows in a short name, lower case apart.
fn is_short_character(c: u8) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || b"$%'-_@~`!(){}^#&".contains(&c)
}

/// The short name that says all a name does, if it does: it then needs no long one.
pub(super) fn exact(name: &str) -> Option<Short> {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&stem.len()) && extension.len() <= 3 && !name.ends_with('.');
    let usable = |part: &str| part.bytes().all(is_short_character);
    (fits && usable(stem) && usable(extension)).then(|| pack(stem, extension))
}

/// A short name for a long one, unlike those in use.
///
/// Section 7, “basis-name generation”: upper case, what is not possible becomes `_`, spaces and inner
/// dots go, and a numeric tail follows if anything but case was lost or the name is taken.
pub(super) fn alias(name: &str, taken: &BTreeSet<Short>) -> Short {
    if let Some(short) = exact(&name.to_ascii_uppercase())
        && !taken.contains(&short)
    {
        return short;
    }
    let (stem, extension) = match name.trim_start_matches('.').rsplit_once('.') {
        Some((stem, extension)) => (stem, extension),
        None => (name.trim_start_matches('.'), ""),
    };
    let (stem, extension) = (basis(stem, 8), basis(extension, 3));
    for number in 1_u32.. {
        let tail = format!("~{number}");
        let short = pack(&format!("{}{tail}", &stem[..stem.len().min(8 - tail.len())]), &extension);
        if !taken.contains(&short) {
            return short;
        }
    }
    unreachable!("a directory has fewer entries than there are numbers")
}

fn basis(part: &str, most: usize) -> String {
    part.chars()
        .filter(|c| !matches!(c, ' ' | '.'))
        .map(|c| c.to_ascii_uppercase())
        .map(|c| if u8::try_from(c).is_ok_and(is_short_character) { c } else { '_' })
        .take(most)
        .collect()
}

fn pack(stem: &str, extension: &str) -> Short {
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    short
}

/// The sum that ties long entries to their short one. Section 7, “Checksum”.
pub(super) fn sum(short: &Short) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}
