//! The frame of a cleartext signed message, read by ourselves before any OpenPGP reader sees it.
//!
//! Stricter than RFC 9580 §7 on purpose: nothing outside the one message, no header but `Hash`, and no
//! dash-escaped line, which a Release file never needs and every splitting attack does.

/// What is wrong with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// The first line is another.
    #[error("this is not the start of a signed message")]
    NoStart,
    /// A header that is not `Hash:`.
    #[error("the signed message has a header other than `Hash`")]
    Header,
    /// A line of the text that begins with a dash.
    #[error("a line of the signed text begins with a dash")]
    Dash,
    /// A carriage return or a NUL.
    #[error("there is a carriage return or a NUL")]
    Control,
    /// A line in the signature that cannot be there.
    #[error("this is no line of a signature")]
    SignatureLine,
    /// Something after the message.
    #[error("there is something after the signed message")]
    Trailing,
    /// The file ends inside the message.
    #[error("the file ends within the signed message")]
    Truncated,
}

const START: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

/// The text between the headers and the signature, or the line that is wrong.
pub(super) fn signed_text(bytes: &[u8]) -> Result<Vec<u8>, (usize, FramingFault)> {
    if let Some(at) = memchr::memchr2(b'\r', 0, bytes) {
        let line = memchr::memchr_iter(b'\n', bytes.get(..at).unwrap_or(bytes)).count();
        return Err((line + 1, FramingFault::Control));
    }
    // A last line end is an end, not the start of an empty line.
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut lines = body.split(|&b| b == b'\n').zip(1..);
    let mut last = 1;
    let mut next = || {
        let (line, number) = lines.next()?;
        last = number;
        Some((line, number))
    };
    match next() {
        Some((line, _)) if line == START => {}
        _ => return Err((1, FramingFault::NoStart)),
    }
    loop {
        match next() {
            None => return Err((last, FramingFault::Truncated)),
            Some((b"", _)) => break,
            Some((line, _)) if line.starts_with(b"Hash: ") => {}
            Some((_, number)) => return Err((number, FramingFault::Header)),
        }
    }
    let mut text = Vec::with_capacity(bytes.len());
    loop {
        match next() {
            None => return Err((last, FramingFault::Truncated)),
            Some((line, _)) if line == SIGNATURE => break,
            Some((line, number)) if line.starts_with(b"-") => return Err((number, FramingFault::Dash)),
            Some((line, _)) => {
                text.extend_from_slice(line);
                text.push(b'\n');
            }
        }
    }
    loop {
        match next() {
            None => return Err((last, FramingFault::Truncated)),
            Some((line, _)) if line == END => break,
            Some((line, number)) if !is_armor(line) => return Err((number, FramingFault::SignatureLine)),
            Some(_) => {}
        }
    }
    match next() {
        None => Ok(text),
        Some((_, number)) => Err((number, FramingFault::Trailing)),
    }
}

/// Base64, a checksum, an armor header such as `Version: 1`, or the empty line between.
fn is_armor(line: &[u8]) -> bool {
    line.len() <= 76 && !line.starts_with(b"-") && line.iter().all(|&b| matches!(b, b' '..=b'~'))
}
