//! The console of a machine: kept in a file up to a bound, and watched for the kernel's first and
//! last words, and for those that somebody waits for.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use crate::host::files::FileError;
use crate::host::qemu::Event;

/// A guest that says more than this on its console floods it.
pub const MOST_CONSOLE_BYTES: usize = 16 << 20;
/// More of a line is not looked at.
const LONGEST_LINE: usize = 4 << 10;
/// The kernel's first words, whatever its log level is below 5.
const FIRST_WORDS: &str = "Linux version ";
/// Its last words.
const LAST_WORDS: &str = "Kernel panic - not syncing";

/// The file a console is kept in, through all boots of a run.
#[derive(Debug)]
pub struct ConsoleLog {
    file: File,
    path: PathBuf,
    written: usize,
    words: Vec<String>,
}

impl ConsoleLog {
    /// A new file in the place of what was there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(FileError::io("creating", path))?;
        Ok(Self { file, path: path.to_owned(), written: 0, words: Vec::new() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line of ours.
    pub fn note(&mut self, text: &str) {
        // A log that cannot be written loses lines, not the run.
        drop(writeln!(self.file, "\n### {text}"));
    }

    /// Watches for these words from the next machine on, in the place of others. They are told once a
    /// line as soon as they are there: a question that waits for its answer ends no line.
    pub fn watch_for(&mut self, words: impl IntoIterator<Item = String>) {
        self.words = words.into_iter().filter(|words| !words.is_empty()).collect();
    }

    /// Follows a console to the end of its machine.
    pub(super) fn follow(&mut self, mut stream: impl Read, events: &Sender<Event>) {
        let mut buffer = vec![0; 16 << 10];
        let mut line = Line::default();
        // An error is the end of the machine, which its process tells.
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                return;
            }
            self.written = self.written.saturating_add(count);
            if self.written > MOST_CONSOLE_BYTES {
                drop(events.send(Event::Flood("its console")));
                return;
            }
            drop(self.file.write_all(&buffer[..count]));
            for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                line.add(part);
                line.tell_words(&self.words, events);
                if part.ends_with(b"\n") {
                    line.tell_kernel(events);
                    line = Line::default();
                }
            }
        }
    }
}

/// The line that is being written: its text without what a terminal would obey.
#[derive(Debug, Default)]
struct Line {
    text: Vec<u8>,
    escape: Escape,
    told: Vec<usize>,
}

/// Where in a terminal's control sequence the line is. Source: ECMA-48, §5.4.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

impl Line {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.escape = match (self.escape, byte) {
                (_, 0x1b) => Escape::Begun,
                (Escape::Begun, b'[') => Escape::Sequence,
                (Escape::Sequence, 0x20..=0x3f) => Escape::Sequence,
                (Escape::Begun | Escape::Sequence, _) => Escape::None,
                (Escape::None, _) => {
                    if self.text.len() < LONGEST_LINE {
                        self.text.push(byte);
                    }
                    Escape::None
                }
            };
        }
    }

    fn tell_words(&mut self, words: &[String], events: &Sender<Event>) {
        for (index, words) in words.iter().enumerate() {
            let there = || memchr::memmem::find(&self.text, words.as_bytes()).is_some();
            if !self.told.contains(&index) && there() {
                self.told.push(index);
                drop(events.send(Event::Words(words.clone())));
            }
        }
    }

    fn tell_kernel(&self, events: &Sender<Event>) {
        let line = String::from_utf8_lossy(&self.text);
        if line.contains(FIRST_WORDS) && line.contains("] ") {
            drop(events.send(Event::Kernel));
        } else if let Some(at) = line.find(LAST_WORDS) {
            drop(events.send(Event::Panic(line[at..].trim_end().to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn follow(bytes: &[u8]) -> (Vec<Event>, usize) {
        follow_for(&[], bytes)
    }

    fn follow_for(words: &[&str], bytes: &[u8]) -> (Vec<Event>, usize) {
        let directory = tempfile::tempdir().unwrap();
        let mut log = ConsoleLog::create(&directory.path().join("log")).unwrap();
        log.watch_for(words.iter().copied().map(str::to_owned));
        let (sender, events) = channel();
        log.follow(bytes, &sender);
        drop(sender);
        (events.iter().collect(), std::fs::read(log.path()).unwrap().len())
    }

    #[test]
    fn the_kernels_first_and_last_words_are_told() {
        let text = "BdsDxe: starting\r\n[    0.000000] Linux version 6.12 (x)\r\n\
                    [    9.1] Kernel panic - not syncing: Attempted to kill init!\r\n";
        let (events, kept) = follow(text.as_bytes());
        let words = "Kernel panic - not syncing: Attempted to kill init!".to_owned();
        assert_eq!((events, kept), (vec![Event::Kernel, Event::Panic(words)], text.len()));
    }

    #[test]
    fn words_are_told_once_a_line_whatever_their_colour_and_without_the_lines_end() {
        let text = "\x1b[0;1;31mno TPM\x1b[0m here, no TPM there\r\nno TPM\r\nno\x1b[0mTPM\r\nrecovery key: ";
        let (events, kept) = follow_for(&["recovery key:", "no TPM", "never"], text.as_bytes());
        let words = |words: &str| Event::Words(words.into());
        assert_eq!(events, [words("no TPM"), words("no TPM"), words("recovery key:")]);
        assert_eq!(kept, text.len());
    }

    #[test]
    fn a_flood_is_told_and_not_kept() {
        let (events, kept) = follow(&vec![b'x'; MOST_CONSOLE_BYTES + 1]);
        assert_eq!(events, [Event::Flood("its console")]);
        assert!(kept <= MOST_CONSOLE_BYTES);
    }
}
