//! The recovery key that a guest shows on its console.

/// How many groups a key has, and how many letters each. Source: systemd-cryptenroll(1),
/// `--recovery-key`: 256 bits in modhex, in eight groups.
const GROUPS: usize = 8;
/// The letters of modhex.
const LETTERS: &[u8] = b"cbdefghijklnrtuv";

/// The last recovery key in a text.
pub(super) fn find_last(text: &str) -> Option<&str> {
    let is_part = |c: char| c == '-' || c.is_ascii_lowercase();
    text.rsplit(|c: char| !is_part(c)).find(|word| is_key(word))
}

fn is_key(word: &str) -> bool {
    let good = |group: &str| group.len() == GROUPS && group.bytes().all(|letter| LETTERS.contains(&letter));
    word.split('-').count() == GROUPS && word.split('-').all(good)
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
