//! One tar header block.

use super::super::error::MemberFault;

/// Tar's unit.
pub(super) const BLOCK: usize = 512;
/// The same, as a size.
pub(super) const BLOCK_BYTES: u64 = 512;

/// What a header says, checked field by field.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: u64,
    pub(super) flag: u8,
    pub(super) target: Vec<u8>,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, MemberFault> {
        let sum = number(&block[148..156], "checksum").map_err(|_| MemberFault::Checksum)?;
        let ours = block.iter().enumerate().map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        });
        if ours.sum::<u64>() != sum {
            return Err(MemberFault::Checksum);
        }
        let has_prefix = match &block[257..265] {
            b"ustar\x0000" => true,
            b"ustar  \0" | b"\0\0\0\0\0\0\0\0" => false,
            _ => return Err(MemberFault::Magic),
        };
        // Files of GNU's incremental format reuse the prefix field: only ustar's is a prefix.
        let name = match text(&block[345..500]) {
            prefix if has_prefix && !prefix.is_empty() => [prefix, name_of(block)].join(&b'/'),
            _ => name_of(block).to_vec(),
        };
        let mode = number(&block[100..108], "mode")? & 0o7777;
        let small = |field, what| number(field, what)?.try_into().map_err(|_| MemberFault::Number(what));
        let mtime = number(&block[136..148], "mtime")?;
        if i64::try_from(mtime).is_err() {
            return Err(MemberFault::Number("mtime"));
        }
        Ok(Self {
            name,
            mode: u16::try_from(mode).map_err(|_| MemberFault::Number("mode"))?,
            uid: small(&block[108..116], "uid")?,
            gid: small(&block[116..124], "gid")?,
            size: number(&block[124..136], "size")?,
            mtime,
            flag: block[156],
            target: text(&block[157..257]).to_vec(),
        })
    }
}

/// The name field, also of a header that does not parse.
pub(super) fn name_of(block: &[u8; BLOCK]) -> &[u8] {
    text(&block[..100])
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits between spaces and a space or NUL, or GNU's base 256 where the first bit
/// is set. A negative one is refused: no field of a package can be.
fn number(field: &[u8], what: &'static str) -> Result<u64, MemberFault> {
    let out_of_range = || MemberFault::Number(what);
    let [first, rest @ ..] = field else { return Err(out_of_range()) };
    if first & 0x80 != 0 {
        if first & 0x40 != 0 {
            return Err(MemberFault::Negative(what));
        }
        return rest.iter().try_fold(u64::from(first & 0x3f), |value, byte| {
            value.checked_mul(256).map(|value| value | u64::from(*byte)).ok_or_else(out_of_range)
        });
    }
    let field = field.trim_ascii_start();
    let end = field.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(field.len());
    let (digits, after) = field.split_at(end);
    if after.iter().any(|byte| !matches!(byte, b' ' | 0)) {
        return Err(out_of_range());
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => {
            value.checked_mul(8).map(|value| value | u64::from(digit & 7)).ok_or_else(out_of_range)
        }
        _ => Err(out_of_range()),
    })
}
