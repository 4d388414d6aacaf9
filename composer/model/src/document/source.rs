//! The files a value can come from, laid end to end, so that a span alone says file and place.

use std::ops::Range;
use std::sync::Arc;

/// Texts and what to call them.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    path: String,
    text: Arc<str>,
    base: usize,
}

/// One of the files of a [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(usize);

/// Bytes of one file, counted over all files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A span, found again in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'s> {
    /// What the file is called.
    pub path: &'s str,
    /// All of its text.
    pub text: &'s str,
    /// The bytes in that text.
    pub range: Range<usize>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Sources {
    /// No files.
    #[must_use]
    pub const fn new() -> Self {
        Self { files: Vec::new() }
    }

    /// Adds a file; a byte order mark is dropped, and bytes that are not UTF-8 are replaced.
    ///
    /// The flag says whether the bytes were UTF-8.
    pub fn add(&mut self, path: impl Into<String>, bytes: &[u8]) -> (FileId, bool) {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let base = self.files.last().map_or(0, |last| last.base + last.text.len() + 1);
        let good = matches!(text, std::borrow::Cow::Borrowed(_));
        self.files.push(Source { path: path.into(), text: text.into(), base });
        (FileId(self.files.len() - 1), good)
    }

    /// Every file: what it is called, and its text, in the order in which they were added.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|source| (source.path.as_str(), &*source.text))
    }

    /// What the file is called.
    #[must_use]
    pub fn path(&self, file: FileId) -> &str {
        &self.files[file.0].path
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self, file: FileId) -> &str {
        &self.files[file.0].text
    }

    /// The span of the whole file.
    #[must_use]
    pub fn whole(&self, file: FileId) -> Span {
        let source = &self.files[file.0];
        Span { start: source.base, end: source.base + source.text.len() }
    }

    /// Finds a span in its file; `None` if no file holds it.
    #[must_use]
    pub fn locate(&self, span: Span) -> Option<Location<'_>> {
        let source = self.files.iter().rev().find(|source| source.base <= span.start)?;
        let start = span.start - source.base;
        let end = span.end.checked_sub(source.base)?;
        let before = source.text.get(..start)?;
        source.text.get(start..end)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some(Location {
            path: &source.path,
            text: &source.text,
            range: start..end,
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_finds_its_file_line_and_column() {
        let mut sources = Sources::new();
        sources.add("a.toml", b"x = 1\n");
        let (second, _) = sources.add("b.toml", "\u{feff}ä = 1\r\nkey = 2\r\n".as_bytes());
        let base = sources.whole(second).start;
        let found = sources.locate(Span { start: base + 8, end: base + 11 }).unwrap();
        assert_eq!((found.path, found.line, found.column), ("b.toml", 2, 1));
        assert_eq!(&found.text[found.range.clone()], "key");
        let umlaut = sources.locate(Span { start: base + 3, end: base + 4 }).unwrap();
        assert_eq!((umlaut.line, umlaut.column), (1, 3));
        assert_eq!(sources.locate(Span { start: base, end: base + 99 }), None);
    }
}
