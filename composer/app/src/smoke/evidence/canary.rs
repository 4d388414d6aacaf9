//! Canaries: bytes that a check gives the guest, and that must not be anywhere on its disk afterwards.
//!
//! A canary is 32 random bytes. The guest is told 64 hexadecimal digits, so that the words themselves,
//! which may well be in a journal, are not what is looked for. Two places are searched: every byte that
//! was written to the overlay, and every file of the state, where compressed parts are unpacked first:
//! a journal compresses its objects, and cores are kept compressed. Of an encrypted state the files
//! cannot be read; its bytes are searched like all others.

mod compressed;
pub mod files;
mod scan;

use std::fmt;
use std::io::{self, Read};

use goni_model::report::Outcome;

pub use scan::scan;

/// How many bytes a canary has: nobody writes so many by chance.
pub const LENGTH: usize = 32;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Canary([u8; LENGTH]);

impl Canary {
    /// The canary of these bytes, which ought to be random.
    #[must_use]
    pub const fn new(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// What the guest is told: 64 hexadecimal digits.
    #[must_use]
    pub fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is looked for.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canary({})", self.digits())
    }
}

/// Where canaries were found, by canary, in the order they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    found: Vec<Trace>,
    /// What could not be looked at.
    unseen: Option<String>,
}

/// Where one was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Trace {
    count: u64,
    /// Where the first was, in words.
    first: Option<String>,
}

impl Traces {
    fn new(canaries: usize) -> Self {
        Self { found: vec![Trace::default(); canaries], unseen: None }
    }

    fn add(&mut self, canary: usize, place: impl FnOnce() -> String) {
        if let Some(trace) = self.found.get_mut(canary) {
            trace.count = trace.count.saturating_add(1);
            trace.first.get_or_insert_with(place);
        }
    }

    fn unseen(&mut self, what: impl FnOnce() -> String) {
        self.unseen.get_or_insert_with(what);
    }

    /// What becomes of the canary that was asked for at this place.
    #[must_use]
    pub fn outcome(&self, canary: usize) -> Outcome {
        match (self.found.get(canary), &self.unseen) {
            (Some(Trace { count, first: Some(first) }), _) => Outcome::Failed {
                expected: "no trace of the canary".into(),
                observed: match count {
                    1 => format!("once, at {first}"),
                    _ => format!("{count} times, first at {first}"),
                },
            },
            (_, Some(unseen)) => {
                Outcome::Failed { expected: "all of it searched".into(), observed: unseen.clone() }
            }
            (_, None) => Outcome::Passed,
        }
    }
}

/// Searches the written parts of an overlay: `(where it begins, its bytes)` each.
///
/// # Errors
/// It cannot be read.
pub fn overlay<R: Read>(
    parts: impl IntoIterator<Item = (u64, R)>,
    canaries: &[Canary],
) -> io::Result<Traces> {
    let needles: Vec<&[u8]> = canaries.iter().map(|canary| canary.0.as_slice()).collect();
    let mut traces = Traces::new(canaries.len());
    for (start, bytes) in parts {
        scan(bytes, &needles, |needle, offset| {
            traces.add(needle, || format!("byte {} of the overlay", start.saturating_add(offset)));
        })?;
    }
    Ok(traces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: Canary = Canary::new(*b"0123456789abcdefghijklmnopqrstuv");
    const OTHER: Canary = Canary::new([7; LENGTH]);

    #[test]
    fn what_is_on_an_overlay_is_found_and_what_is_not_is_not() {
        let mut bytes = vec![0; 3000];
        bytes.splice(1000..1032, *CANARY.as_bytes());
        let traces = overlay([(0, &[1; 64][..]), (4096, &bytes)], &[OTHER, CANARY]).unwrap();
        assert_eq!(traces.outcome(0), Outcome::Passed);
        let observed = "once, at byte 5096 of the overlay".into();
        let expected = "no trace of the canary".into();
        assert_eq!(traces.outcome(1), Outcome::Failed { expected, observed });
    }

    #[test]
    fn the_digits_that_the_guest_is_told_are_no_trace() {
        let traces = overlay([(0, CANARY.digits().as_bytes())], &[CANARY]).unwrap();
        assert_eq!(traces.outcome(0), Outcome::Passed);
    }
}
