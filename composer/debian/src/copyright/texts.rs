//! The texts of licences in a machine-readable `copyright` file, by short name.

use std::collections::BTreeMap;

use super::LINES_LIMIT;

/// Longest text that is kept, in bytes: the longest licence in use has some 50 KiB.
const TEXT_LIMIT: usize = 256 << 10;

/// The text that stands below each short name, wherever in the file it is first given; names without a text
/// are left out. Source: DEP-5 §5.1: a lone `.` stands for an empty line.
#[must_use]
pub fn texts(file: &str) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    // The name whose text is being read.
    let mut open: Option<String> = None;
    for line in file.lines().take(LINES_LIMIT) {
        if line.starts_with([' ', '\t']) {
            let Some(name) = &open else { continue };
            let text = texts.entry(name.clone()).or_default();
            let line = line.trim();
            if text.len() + line.len() < TEXT_LIMIT {
                text.push_str(if line == "." { "" } else { line });
                text.push('\n');
            }
            continue;
        }
        let name = line.split_once(':').filter(|(field, _)| {
            ["license", "licence"].iter().any(|word| field.trim().eq_ignore_ascii_case(word))
        });
        open = name.map(|(_, name)| name.split_whitespace().collect::<Vec<_>>().join(" "));
        // What is there already was said above, and is the same licence.
        open = open.filter(|name| !name.is_empty() && !texts.contains_key(name));
    }
    for text in texts.values_mut() {
        text.truncate(text.trim_end().len());
    }
    texts.retain(|_, text| !text.is_empty());
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_name() {
        let file = "Format: x\n\nFiles: *\nLicense: A\n One.\n .\n Two.\nComment: c\n not text\n\n\
                    License: B  or C\n\tThree.\n\nLicense: A\n Other.\n\nLicense: D\n";
        let texts = texts(file);
        let told: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(told, [("A", "One.\n\nTwo."), ("B or C", "Three.")]);
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let file = format!("License: A\n{}", " word\n".repeat(200_000));
        assert!(texts(&file)["A"].len() <= TEXT_LIMIT);
    }
}
