//! The console of a machine: kept in a file up to a bound, and watched for the kernel's first and
//! last words.

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
        Ok(Self { file, path: path.to_owned(), written: 0 })
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

    /// Follows a console to the end of its machine.
    pub(super) fn follow(&mut self, mut stream: impl Read, events: &Sender<Event>) {
        let mut buffer = vec![0; 16 << 10];
        let mut line: Vec<u8> = Vec::new();
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
                line.extend(part.iter().take(LONGEST_LINE.saturating_sub(line.len())));
                if part.ends_with(b"\n") {
                    watch(&String::from_utf8_lossy(&line), events);
                    line.clear();
                }
            }
        }
    }
}

fn watch(line: &str, events: &Sender<Event>) {
    if line.contains(FIRST_WORDS) && line.contains("] ") {
        drop(events.send(Event::Kernel));
    } else if let Some(at) = line.find(LAST_WORDS) {
        drop(events.send(Event::Panic(line[at..].trim_end().to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn follow(bytes: &[u8]) -> (Vec<Event>, usize) {
        let directory = tempfile::tempdir().unwrap();
        let mut log = ConsoleLog::create(&directory.path().join("log")).unwrap();
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
    fn a_flood_is_told_and_not_kept() {
        let (events, kept) = follow(&vec![b'x'; MOST_CONSOLE_BYTES + 1]);
        assert_eq!(events, [Event::Flood("its console")]);
        assert!(kept <= MOST_CONSOLE_BYTES);
    }
}
