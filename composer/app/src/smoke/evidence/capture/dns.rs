//! The names that a DNS message asks for. Source: RFC 1035, §4.1. Multicast DNS and LLMNR have the same
//! form: RFC 6762, RFC 4795.

/// DNS, multicast DNS, LLMNR.
pub(super) const PORTS: [u16; 3] = [53, 5353, 5355];
/// More names than this no question of anybody has.
const MOST_NAMES: usize = 4;
/// Where questions begin.
const HEADER: usize = 12;

/// The names, as far as they are whole; bytes that are no plain text are escaped.
pub(super) fn questions(message: &[u8]) -> Vec<String> {
    let Some(count) = message.get(4..6) else { return Vec::new() };
    let count = usize::from(u16::from_be_bytes([count[0], count[1]]));
    let mut rest = message.get(HEADER..).unwrap_or_default();
    let mut names = Vec::new();
    while names.len() < count.min(MOST_NAMES) {
        let Some((name, after)) = name(rest) else { break };
        names.push(name);
        // Type and class.
        rest = after.get(4..).unwrap_or_default();
    }
    names
}

fn name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut text = String::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        match length {
            0 if text.is_empty() => return Some((".".into(), rest)),
            0 => return Some((text, rest)),
            1..=63 => {
                let (label, rest) = rest.split_at_checked(usize::from(*length))?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&label.escape_ascii().to_string());
                bytes = rest;
            }
            // A question is the first thing in a message: there is nothing to point back to.
            _ => return None,
        }
    }
}
