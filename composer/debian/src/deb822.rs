//! Control files: stanzas of fields.
//!
//! A borrowed, lazy reader: it allocates nothing and looks at a field's value only when asked. It
//! checks the shape of every line. What fields mean, and which must be there, is for others to say.
//! Source: Debian Policy §5.1, deb822(5). Comments are refused: only source packages may have them.

use std::num::NonZero;

/// Longest line accepted, in bytes. The longest in Debian is a `Provides` of some 100 KiB.
pub const MAX_LINE: usize = 4 << 20;
/// Longest stanza accepted, in bytes; a Release file is one stanza of some 150 KiB.
pub const MAX_STANZA: usize = 16 << 20;

/// Text that is not a control file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Deb822Error {
    /// Number of the line, from one.
    pub line: NonZero<u64>,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not UTF-8, which policy §5.1 asks for.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A NUL byte.
    #[error("there is a NUL byte")]
    Nul,
    /// Longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes")]
    LongLine,
    /// Longer than [`MAX_STANZA`].
    #[error("the stanza is longer than {MAX_STANZA} bytes")]
    LongStanza,
    /// Neither `Name: value` nor a continuation.
    #[error("this is no field")]
    NoField,
    /// A continuation with nothing before it.
    #[error("a continuation line has no field before it")]
    LoneContinuation,
    /// A field a second time in one stanza.
    #[error("the field was there before")]
    Duplicate,
}

/// One field of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, as spelt. Names compare without regard to case.
    pub name: &'a str,
    /// Its value without surrounding white space, continuation lines included as they are.
    pub value: &'a str,
    /// Number of its first line.
    pub line: NonZero<u64>,
}

impl<'a> Field<'a> {
    /// Whether this is the field of that name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The lines of the value, each without surrounding white space; empty ones left out.
    pub fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value.lines().map(str::trim).filter(|line| !line.is_empty())
    }
}

/// Checks that bytes are text a control file may be made of.
///
/// # Errors
/// Bytes that are not UTF-8, or a NUL among them.
pub fn text(bytes: &[u8]) -> Result<&str, Deb822Error> {
    let fail = |at: usize, fault| {
        let newlines = memchr::memchr_iter(b'\n', bytes.get(..at).unwrap_or(bytes)).count();
        Deb822Error { line: NonZero::<u64>::MIN.saturating_add(goni_model::number::to_u64(newlines)), fault }
    };
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(fail(at, Fault::Nul));
    }
    std::str::from_utf8(bytes).map_err(|error| fail(error.valid_up_to(), Fault::NotUtf8))
}

/// Reads the stanzas of a control file, one after the other.
#[derive(Debug, Clone)]
pub struct Stanzas<'a> {
    rest: &'a str,
    line: NonZero<u64>,
}

impl<'a> Stanzas<'a> {
    /// A reader of this text. Get the text of bytes with [`text`].
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self { rest: text, line: NonZero::<u64>::MIN }
    }

    /// Number of the line that is read next.
    #[must_use]
    pub const fn line(&self) -> NonZero<u64> {
        self.line
    }

    /// Takes the next line, without its end.
    fn take_line(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = match memchr::memchr(b'\n', self.rest.as_bytes()) {
            // Both sides of an ASCII byte are character boundaries.
            Some(end) => (self.rest.get(..end)?, self.rest.get(end + 1..)?),
            None => (self.rest, ""),
        };
        self.rest = rest;
        self.line = self.line.saturating_add(1);
        Some(line)
    }

    /// Calls `each` with every field of the next stanza; `false` when there is none left.
    ///
    /// # Errors
    /// The first line that is none of a control file, or whatever `each` returns.
    pub fn next_stanza<E: From<Deb822Error>>(
        &mut self,
        mut each: impl FnMut(Field<'a>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let start = loop {
            let before = (self.rest, self.line);
            match self.take_line() {
                None => return Ok(false),
                Some(line) if is_blank(line) => {}
                Some(_) => {
                    (self.rest, self.line) = before;
                    break self.rest;
                }
            }
        };
        let used = |rest: &str| start.len() - rest.len();
        // The field being read: its name, its line, where its value starts, where it ends so far.
        let mut open: Option<(&'a str, NonZero<u64>, usize, usize)> = None;
        let finish = |open: Option<(&'a str, NonZero<u64>, usize, usize)>| {
            open.map(|(name, line, from, to)| Field {
                name,
                value: start.get(from..to).unwrap_or_default().trim(),
                line,
            })
        };
        loop {
            let number = self.line;
            let offset = used(self.rest);
            let line = match self.take_line() {
                None => break,
                Some(line) if is_blank(line) => break,
                Some(line) => line,
            };
            let fail = |fault| E::from(Deb822Error { line: number, fault });
            if line.len() > MAX_LINE {
                return Err(fail(Fault::LongLine));
            }
            let end = offset + line.len();
            if end > MAX_STANZA {
                return Err(fail(Fault::LongStanza));
            }
            if line.starts_with([' ', '\t']) {
                match &mut open {
                    None => return Err(fail(Fault::LoneContinuation)),
                    Some((.., to)) => *to = end,
                }
                continue;
            }
            let colon = memchr::memchr(b':', line.as_bytes()).ok_or_else(|| fail(Fault::NoField))?;
            let name = line.get(..colon).unwrap_or_default();
            if !is_field_name(name) {
                return Err(fail(Fault::NoField));
            }
            if let Some(field) = finish(open.take()) {
                each(field)?;
            }
            open = Some((name, number, offset + colon + 1, end));
        }
        if let Some(field) = finish(open) {
            each(field)?;
        }
        Ok(true)
    }

    /// The fields of the next stanza, none of them twice; `None` when there is no stanza left.
    ///
    /// # Errors
    /// The first line that is none of a control file.
    pub fn next_fields(&mut self) -> Result<Option<Vec<Field<'a>>>, Deb822Error> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let more = self.next_stanza(|field| {
            if fields.iter().any(|other| other.is(field.name)) {
                return Err(Deb822Error { line: field.line, fault: Fault::Duplicate });
            }
            fields.push(field);
            Ok(())
        })?;
        Ok(more.then_some(fields))
    }
}

/// Lines of white space alone separate stanzas, as dpkg and apt read them.
fn is_blank(line: &str) -> bool {
    line.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r'))
}

/// Source: policy §5.1: printable ASCII without space and colon, not starting with `#` or `-`.
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '-']) && name.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Vec<(&str, &str)>>, String> {
        let mut stanzas = Stanzas::new(text);
        let mut out = Vec::new();
        while let Some(fields) = stanzas.next_fields().map_err(|e| e.to_string())? {
            out.push(fields.into_iter().map(|f| (f.name, f.value)).collect());
        }
        Ok(out)
    }

    #[test]
    fn stanzas_fields_and_continuations_are_told_apart() {
        let text = "\n\nA: 1\nB:\n two\n  three\n \t\n\nC:x:y  \nD: é";
        assert_eq!(
            all(text),
            Ok(vec![vec![("A", "1"), ("B", "two\n  three")], vec![("C", "x:y"), ("D", "é")]])
        );
        assert_eq!(all(""), Ok(vec![]));
        assert_eq!(all("\n \n"), Ok(vec![]));
    }

    #[test]
    fn every_fault_has_its_line() {
        for (text, message) in [
            ("A: 1\nno field\n", "line 2: this is no field"),
            (" lone\n", "line 1: a continuation line has no field before it"),
            ("A: 1\n\n lone: 1\n", "line 3: a continuation line has no field before it"),
            ("# comment: 1\n", "line 1: this is no field"),
            (": 1\n", "line 1: this is no field"),
            ("A B: 1\n", "line 1: this is no field"),
            ("A: 1\nB: 2\na: 3\n", "line 3: the field was there before"),
        ] {
            assert_eq!(all(text), Err(message.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_line_and_a_stanza_have_an_end() {
        let line = format!("A: 1\nB: {}\n", "x".repeat(MAX_LINE));
        assert_eq!(all(&line), Err(format!("line 2: the line is longer than {MAX_LINE} bytes")));
        let stanza = format!("A: {}\n", "x".repeat(MAX_LINE - 4)).repeat(5);
        let error = Stanzas::new(&stanza).next_stanza(|_| Ok::<(), Deb822Error>(())).unwrap_err();
        assert_eq!(error.to_string(), format!("line 5: the stanza is longer than {MAX_STANZA} bytes"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(text(b"A: 1\nB: \0").unwrap_err().to_string(), "line 2: there is a NUL byte");
        assert_eq!(text(b"A: 1\n\nB: \xe9").unwrap_err().to_string(), "line 3: text is not UTF-8");
        assert_eq!(text("A: é".as_bytes()), Ok("A: é"));
    }
}
