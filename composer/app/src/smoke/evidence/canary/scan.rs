//! Searching a stream for several needles at once, in bounded memory.

use std::io::{self, Read};

use goni_model::number::to_u64;
use memchr::memmem::Finder;

/// How much is looked at in one go.
const CHUNK: usize = 1 << 20;

/// Tells each place of each needle, `(which, where)`, and how long the stream was. Needles that lie
/// across the pieces it comes in are found as well.
///
/// # Errors
/// What reading raises; what was found before has been told.
pub fn scan(mut stream: impl Read, needles: &[&[u8]], mut found: impl FnMut(usize, u64)) -> io::Result<u64> {
    let finders: Vec<Finder<'_>> = needles.iter().map(|needle| Finder::new(*needle)).collect();
    let overlap = needles.iter().map(|needle| needle.len()).max().unwrap_or(1).saturating_sub(1);
    let mut buffer = vec![0; CHUNK + overlap];
    // The first `seen` bytes have been looked at; they are there for what continues in the rest.
    let mut seen = 0;
    let mut start = 0_u64;
    loop {
        let (read, ended) = fill(&mut stream, &mut buffer[seen..]);
        let end = seen + read;
        for (which, finder) in finders.iter().enumerate() {
            // What ends among the bytes that were seen was told before.
            let length = finder.needle().len();
            let from = (seen + 1).saturating_sub(length);
            for at in finder.find_iter(&buffer[from..end]) {
                found(which, start + to_u64(from + at));
            }
        }
        ended?;
        if read < buffer.len() - seen {
            return Ok(start + to_u64(end));
        }
        let keep = overlap.min(end);
        buffer.copy_within(end - keep..end, 0);
        start += to_u64(end - keep);
        seen = keep;
    }
}

/// Reads until the buffer is full or the stream is at its end. What came before an error counts: a
/// compressed stream that is cut ends with one.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(error)),
        }
    }
    (filled, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(bytes: &[u8], needles: &[&[u8]]) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        let length = scan(bytes, needles, |which, at| found.push((which, at))).unwrap();
        assert_eq!(length, to_u64(bytes.len()));
        found.sort_unstable();
        found
    }

    #[test]
    fn needles_are_found_once_wherever_the_pieces_end() {
        for shift in 0..8 {
            let mut bytes = vec![0; 2 * CHUNK + 100];
            let mut expected = Vec::new();
            for piece in [0, CHUNK, 2 * CHUNK] {
                let at = piece + shift;
                bytes[at..at + 2].copy_from_slice(b"xy");
                expected.push((1, to_u64(at)));
                if let Some(before) = at.checked_sub(5) {
                    bytes[before..before + 5].copy_from_slice(b"canar");
                    expected.push((0, to_u64(before)));
                }
            }
            expected.sort_unstable();
            assert_eq!(places(&bytes, &[b"canar", b"xy"]), expected, "{shift}");
        }
    }

    #[test]
    fn what_comes_before_an_error_is_searched() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let mut found = Vec::new();
        let error = scan(b"xcanary".chain(Broken), &[b"canary"], |_, at| found.push(at)).unwrap_err();
        assert_eq!((found, error.kind()), (vec![1], io::ErrorKind::InvalidData));
    }

    #[test]
    fn an_empty_stream_has_nothing() {
        assert_eq!(places(b"", &[b"canary"]), []);
    }
}
