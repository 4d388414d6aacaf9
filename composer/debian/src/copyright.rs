//! What a package's `copyright` file says of its licences.
//!
//! A file that follows Debian's machine-readable format names them in its `License:` fields; any other is
//! prose, and its licences are not known. Nothing is concluded from the texts of the licences, nor is it read who
//! holds which copyright. Files in the wild are looser than the format, so lines that do not fit are passed over.
//! Source: Machine-readable debian/copyright file, version 1.0 (DEP-5), §5 to §7.

mod texts;

use std::collections::BTreeSet;

pub use texts::texts;

/// Lines that are looked at: the longest file of Debian 13, of Chromium, has some 60,000.
const LINES_LIMIT: usize = 400_000;

/// Longest expression that is kept; what is longer is a text in the wrong place.
const EXPRESSION_LIMIT: usize = 512;

/// What a `copyright` file says of licences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copyright {
    /// It follows the format.
    MachineReadable(Licences),
    /// It is prose.
    Prose,
}

/// The licences that a machine-readable file names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Licences {
    /// The short names, without regard to how they combine: `GPL-2+ with OpenSSL exception` is one.
    pub names: BTreeSet<String>,
    /// What the file says of its own files, as written: `GPL-2+ or Artistic-2.0`, one for each that differs.
    pub expressions: BTreeSet<String>,
    /// Whether a licence is given as text alone, without a short name.
    pub unnamed: bool,
}

/// Reads a `copyright` file.
#[must_use]
pub fn parse(text: &str) -> Copyright {
    let mut paragraphs = Paragraphs::default();
    let mut lines = text.trim_start_matches('\u{feff}').lines().take(LINES_LIMIT);
    let Some(first) = lines.by_ref().find(|line| !is_blank(line) && !line.starts_with('#')) else {
        return Copyright::Prose;
    };
    // The header begins with the format in nearly every file; its other fields may come first.
    let mut header = paragraphs.line(first);
    for line in lines.by_ref() {
        if is_blank(line) {
            break;
        }
        header |= paragraphs.line(line);
    }
    if !header {
        return Copyright::Prose;
    }
    paragraphs.end();
    for line in lines {
        if is_blank(line) {
            paragraphs.end();
        } else {
            paragraphs.line(line);
        }
    }
    paragraphs.end();
    Copyright::MachineReadable(paragraphs.licences)
}

/// The paragraphs under way, and what they came to.
#[derive(Default)]
struct Paragraphs {
    /// The licence of this paragraph, as it stands behind the field's name.
    licence: Option<String>,
    /// Whether this paragraph is of files: a paragraph of a licence alone only tells its text.
    of_files: bool,
    licences: Licences,
}

impl Paragraphs {
    /// Takes a line; whether it says that the file follows the format.
    fn line(&mut self, line: &str) -> bool {
        // What continues a field is the text of a licence, a list of files, or who holds a copyright.
        if line.starts_with([' ', '\t', '#']) {
            return false;
        }
        let Some((name, value)) = line.split_once(':') else { return false };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "license" | "licence" => self.licence = Some(value.to_owned()),
            "files" => self.of_files = true,
            // Before 1.0 the field had a longer name, and the address another host.
            "format" | "format-specification" => return is_format(value),
            _ => {}
        }
        // The header's licence is that of the package as a whole.
        self.of_files |= matches!(name.as_str(), "upstream-name" | "source" | "upstream-contact");
        false
    }

    fn end(&mut self) {
        let of_files = std::mem::take(&mut self.of_files);
        let Some(licence) = self.licence.take() else { return };
        let licence = licence.split_whitespace().collect::<Vec<_>>().join(" ");
        if licence.is_empty() || licence.len() > EXPRESSION_LIMIT {
            self.licences.unnamed = true;
            return;
        }
        self.licences.names.extend(names(&licence));
        if of_files {
            self.licences.expressions.insert(licence);
        }
    }
}

/// Whether the value of `Format` is an address of the format.
fn is_format(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    ["copyright-format", "dep5", "dep-5"].iter().any(|part| value.contains(part))
}

fn is_blank(line: &str) -> bool {
    line.chars().all(char::is_whitespace)
}

/// The short names in an expression: what `and`, `or` and commas join. Source: DEP-5 §7.2.
fn names(expression: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in expression.split(',') {
        let mut name: Vec<&str> = Vec::new();
        // Words from `with` to `exception` belong to the name before, whatever they are.
        let mut exception = false;
        for word in part.split_whitespace() {
            let is = |other: &str| word.eq_ignore_ascii_case(other);
            if !exception && (is("and") || is("or") || is("and/or") || word == "|") {
                names.push(name.join(" "));
                name.clear();
                continue;
            }
            exception = (exception || is("with")) && !is("exception") && !is("exceptions");
            name.push(word);
        }
        names.push(name.join(" "));
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Licences {
        match parse(text) {
            Copyright::MachineReadable(licences) => licences,
            Copyright::Prose => panic!("it is machine-readable: {text}"),
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const FILE: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x
License: GPL-3+

Files: *
Copyright: 1975-2010 Ulla Upstream
License: GPL-2+ or Artistic-2.0, and BSD-3-clause

Files: debian/*
Copyright: 2010 Daniela Debianizer
License:  GPL-2+  with OpenSSL
 and libressl exception

License: GPL-2+
 This program is free software.
 .
 License: this is no field
\t
License: Expat
 Permission is hereby granted.
";

    #[test]
    fn names_and_expressions_are_told_apart() {
        let licences = read(FILE);
        assert_eq!(
            licences.names,
            set(&["Artistic-2.0", "BSD-3-clause", "Expat", "GPL-2+", "GPL-2+ with OpenSSL", "GPL-3+"])
        );
        assert_eq!(
            licences.expressions,
            set(&["GPL-2+ or Artistic-2.0, and BSD-3-clause", "GPL-2+ with OpenSSL", "GPL-3+"])
        );
        assert!(!licences.unnamed);
    }

    #[test]
    fn expressions_come_apart_at_what_joins_them() {
        for (expression, expected) in [
            ("GPL-2+", vec!["GPL-2+"]),
            ("GPL-2+ and/or Expat OR MIT", vec!["GPL-2+", "Expat", "MIT"]),
            ("GPL-2+ | LGPL-2.1", vec!["GPL-2+", "LGPL-2.1"]),
            (
                "GPL-2+ with Autoconf and Libtool exception or X11",
                vec!["GPL-2+ with Autoconf and Libtool exception", "X11"],
            ),
            (", or,", vec![]),
        ] {
            assert_eq!(names(expression), expected, "{expression}");
        }
    }

    #[test]
    fn what_does_not_follow_the_format_is_prose() {
        for text in [
            "",
            "\n \n",
            "This package was debianized by somebody.\n\nLicense: GPL-2\n",
            "Files: *\nLicense: MIT\n",
            "Format: a book\nLicense: MIT\n",
            // The format is said in the header or not at all.
            "Upstream-Name: x\n\nFormat: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n",
        ] {
            assert_eq!(parse(text), Copyright::Prose, "{text:?}");
        }
    }

    #[test]
    fn older_and_looser_files_are_read() {
        let old = "# a comment\nFormat-Specification: http://dep.debian.net/deps/dep5\r\nSource: x\r\n\r\n\
                   files: *\r\nlicense: MIT\r\n";
        let licences = read(old);
        assert_eq!((licences.names, licences.expressions), (set(&["MIT"]), set(&["MIT"])));
        let late = "\u{feff}\nUpstream-Name: x\nno field\nFormat: http://dep.debian.net/deps/dep5/\n";
        assert_eq!(read(late), Licences::default());
    }

    #[test]
    fn a_licence_without_a_name_is_noticed() {
        let head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n";
        let licences = read(&format!("{head}License:\n Do as you please.\n"));
        assert_eq!(licences, Licences { unnamed: true, ..Licences::default() });
        let licences = read(&format!("{head}License: {}\n", "word ".repeat(200)));
        assert_eq!(licences, Licences { unnamed: true, ..Licences::default() });
    }
}
