//! Where the power is cut: after which write, and what a disk may have lost of what was not flushed.
//!
//! A disk keeps everything it has flushed. Of what came after, it may keep any part, whatever the
//! order: so beside the disk that lost nothing, one is judged before each flush that lost some writes
//! by lot. The lot is a function of a seed and of the place, so that a cut can be made again. Writes
//! are lost whole; that a disk tears one write is not tried.

use std::fmt;
use std::num::ParseIntError;
use std::ops::RangeInclusive;
use std::str::FromStr;

use goni_disk::write_log::{Action, Entry};
use goni_model::number::{to_u64, to_usize};

/// Without a flush for so many writes, a disk that lost some of them is judged all the same.
const WITHOUT_FLUSH: u64 = 64;

/// A cut of the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// How many entries of the log came before it.
    pub at: u64,
    /// The seed of the lot that decides which unflushed writes are lost; `None`: none of them.
    pub lost_by: Option<u64>,
}

impl Point {
    /// The cut behind so many entries, with nothing lost.
    #[must_use]
    pub const fn after(at: u64) -> Self {
        Self { at, lost_by: None }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lost_by {
            None => write!(f, "{}", self.at),
            Some(seed) => write!(f, "{}:{seed}", self.at),
        }
    }
}

impl FromStr for Point {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, lost_by) = match text.split_once(':') {
            Some((at, seed)) => (at, Some(seed.parse()?)),
            None => (text, None),
        };
        Ok(Self { at: at.parse()?, lost_by })
    }
}

/// How many entries were before the last flush before a cut: all of them are on the disk.
#[must_use]
pub fn flushed(entries: &[Entry], at: u64) -> u64 {
    let before = &entries[..to_usize(at).min(entries.len())];
    // A flush that comes with a write is before it.
    let last = before.iter().rposition(|entry| entry.flush);
    last.map_or(0, |index| to_u64(index) + u64::from(entries[index].action == Action::None))
}

/// The writes behind the last flush that a disk keeps, by their numbers, at a cut with a seed.
#[must_use]
pub fn kept(entries: &[Entry], point: Point) -> Vec<u64> {
    let from = flushed(entries, point.at);
    (from..point.at)
        .filter(|number| {
            let forced = entries.get(to_usize(*number)).is_some_and(|entry| entry.forced);
            forced || point.lost_by.is_none_or(|seed| lot(seed, point.at, *number))
        })
        .collect()
}

/// Where a disk that lost some of its writes is judged: before each flush, at the end, and now and
/// then where nobody flushes; if there are two writes at least to choose from.
#[must_use]
pub fn losses(entries: &[Entry], cuts: &RangeInclusive<u64>, seed: u64) -> Vec<Point> {
    let is_flush = |at: u64| entries.get(to_usize(at)).is_some_and(|entry| entry.flush);
    let mut points = Vec::new();
    for at in cuts.clone() {
        let open = at - flushed(entries, at);
        let due = is_flush(at) || at == *cuts.end() || (open > 0 && open.is_multiple_of(WITHOUT_FLUSH));
        if open >= 2 && due {
            points.push(Point { at, lost_by: Some(seed) });
        }
    }
    points
}

/// Some of the cuts, evenly spread: of three, one is where most is unflushed, before a flush, and one
/// behind a write that somebody finds interesting, if there are any.
#[must_use]
pub fn sample(entries: &[Entry], cuts: &RangeInclusive<u64>, wanted: u64, interesting: &[u64]) -> Vec<u64> {
    let (first, last) = (*cuts.start(), *cuts.end());
    let flushes: Vec<u64> =
        cuts.clone().filter(|at| entries.get(to_usize(*at)).is_some_and(|entry| entry.flush)).collect();
    let interesting: Vec<u64> = interesting.iter().copied().filter(|at| cuts.contains(at)).collect();
    let nearest = |list: &[u64], to: u64| list.iter().copied().min_by_key(|at| at.abs_diff(to));
    let mut chosen: Vec<u64> = (0..wanted)
        .map(|index| {
            let even = first + (last - first) * (index + 1) / (wanted + 1);
            match index % 3 {
                0 => nearest(&flushes, even).unwrap_or(even),
                1 if !interesting.is_empty() => {
                    let place = to_u64(interesting.len()) * index / wanted;
                    interesting[to_usize(place)]
                }
                _ => even,
            }
        })
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    // Two that fell together make room for another.
    let spare = cuts.clone().rev().filter(|at| !chosen.contains(at));
    let missing = to_usize(wanted.saturating_sub(to_u64(chosen.len())));
    let more: Vec<u64> = spare.take(missing).collect();
    chosen.extend(more);
    chosen.sort_unstable();
    chosen
}

/// Whether a write is kept: heads or tails, the same at each call.
fn lot(seed: u64, at: u64, number: u64) -> bool {
    // Source: Steele, Lea, Flood, “Fast splittable pseudorandom number generators”, 2014: SplitMix64.
    let mut z = seed ^ at.rotate_left(32) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `w` a write, `F` a flush, `B` a flush with a write behind it, `f` a forced write.
    fn entries(text: &str) -> Vec<Entry> {
        let write = Action::Write { offset: 0, length: 512, from: 0 };
        let entry = |action, flush, forced| Entry { action, flush, forced };
        text.chars()
            .map(|c| match c {
                'w' => entry(write, false, false),
                'F' => entry(Action::None, true, false),
                'B' => entry(write, true, false),
                'f' => entry(write, false, true),
                other => panic!("{other}"),
            })
            .collect()
    }

    #[test]
    fn a_point_is_written_as_it_is_read() {
        for text in ["0", "17", "17:18446744073709551615"] {
            assert_eq!(text.parse::<Point>().unwrap().to_string(), text);
        }
        for text in ["", "x", "1:", ":1", "-1", "1:2:3"] {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_came_before_the_last_flush_is_flushed() {
        let log = entries("wwFwwBw");
        let found: Vec<u64> = (0..=7).map(|at| flushed(&log, at)).collect();
        assert_eq!(found, [0, 0, 0, 3, 3, 3, 5, 5]);
    }

    #[test]
    fn a_disk_keeps_what_was_flushed_or_forced_and_loses_by_lot() {
        let log = entries(&format!("wwF{}", "wf".repeat(200)));
        let point = Point { at: 403, lost_by: Some(1) };
        let kept = kept(&log, point);
        assert_eq!(kept, super::kept(&log, point));
        assert!(kept.iter().all(|number| *number >= 3));
        assert_eq!(kept.iter().filter(|number| *number % 2 == 0).count(), 200, "every forced one");
        let by_lot = kept.len() - 200;
        assert!((60..140).contains(&by_lot), "{by_lot}");
        assert_ne!(kept, super::kept(&log, Point { at: 403, lost_by: Some(2) }));
        assert_eq!(super::kept(&log, Point::after(403)).len(), 400);
    }

    #[test]
    fn losses_are_tried_before_flushes_and_now_and_then_without() {
        let at = |text: &str| {
            losses(&entries(text), &(0..=to_u64(text.len())), 7).iter().map(|p| p.at).collect::<Vec<_>>()
        };
        assert_eq!(at("wFwwFwwwF"), [4, 8]);
        assert_eq!(at("wFwwFwww"), [4, 8]);
        assert_eq!(at(&"w".repeat(150)), [64, 128, 150]);
        assert!(at("FFF").is_empty());
    }

    #[test]
    fn a_sample_is_spread_and_as_large_as_wished() {
        let log = entries(&"wwwwF".repeat(40));
        let chosen = sample(&log, &(0..=200), 12, &[3, 50, 51, 190]);
        assert_eq!(chosen.len(), 12);
        assert!(chosen.is_sorted());
        assert!([3, 50].iter().any(|at| chosen.contains(at)), "{chosen:?}");
        assert!(chosen.iter().filter(|at| **at % 5 == 4).count() >= 4, "{chosen:?}");
        assert_eq!(sample(&log, &(0..=200), 0, &[]), Vec::<u64>::new());
        assert_eq!(sample(&log, &(10..=12), 12, &[11]), [10, 11, 12]);
    }
}
