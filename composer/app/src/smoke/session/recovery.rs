//! The recovery key that a guest shows on its console.

/// How many groups a key has, and how many letters each. Source: systemd-cryptenroll(1),
/// `--recovery-key`: 256 bits in modhex, in eight groups.
const GROUPS: usize = 8;
/// The letters of modhex.
const LETTERS: &[u8] = b"cbdefghijklnrtuv";

/// The last recovery key in a text, wherever it stands: a terminal's colours may be glued to it.
pub(super) fn find_last(text: &str) -> Option<&str> {
    let length = GROUPS * (GROUPS + 1) - 1;
    let start = text.as_bytes().windows(length).rposition(is_key)?;
    text.get(start..start + length)
}

fn is_key(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'-').count() == GROUPS
        && bytes
            .split(|byte| *byte == b'-')
            .all(|group| group.len() == GROUPS && group.iter().all(|letter| LETTERS.contains(letter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_key_is_found() {
        let key = ["cbdefghi"; 8].join("-");
        let later = ["jklnrtuv"; 8].join("-");
        let text = format!(
            "Recovery key:\r\n    \u{1b}[1m{key}\u{1b}[0m\r\n key={later}.\r\n{}\r\n",
            ["aaaaaaaa"; 8].join("-")
        );
        assert_eq!(find_last(&text), Some(later.as_str()));
        assert_eq!(find_last(&text.replace(&later, &later[..70])), Some(key.as_str()));
        assert_eq!(find_last("none"), None);
    }
}
