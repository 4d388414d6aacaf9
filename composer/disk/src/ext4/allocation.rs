//! Which blocks are in use.

use std::collections::BTreeMap;

/// Blocks in use, as ranges: a write-once file system has few of them, whatever its size.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Start to end, never touching each other.
    used: BTreeMap<u64, u64>,
    cursor: u64,
    end: u64,
}

/// Consecutive blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u64,
    pub(super) length: u64,
}

impl Blocks {
    /// So many blocks, all free.
    pub(super) const fn new(count: u64) -> Self {
        Self { used: BTreeMap::new(), cursor: 0, end: count }
    }

    /// Takes blocks at a fixed place, free until now.
    pub(super) fn reserve(&mut self, run: Run) {
        if run.length == 0 {
            return;
        }
        let (mut start, mut end) = (run.start, run.start + run.length);
        if let Some((before, until)) = self.used.range(..start).next_back()
            && *until == start
        {
            start = *before;
        }
        if let Some(until) = self.used.remove(&end) {
            end = until;
        }
        self.used.insert(start, end);
    }

    /// Goes on looking from a block.
    pub(super) fn look_from(&mut self, block: u64) {
        self.cursor = block;
    }

    /// Takes the next free blocks, at least one and at most so many; `None` when there are none.
    pub(super) fn take(&mut self, most: u64) -> Option<Run> {
        let free = self.free_from(self.cursor)?;
        let run = Run { start: free.start, length: free.length.min(most) };
        self.cursor = run.start + run.length;
        self.reserve(run);
        Some(run)
    }

    /// Takes the next so many free blocks in one piece; `None` when there is no such piece.
    pub(super) fn take_whole(&mut self, length: u64) -> Option<u64> {
        let mut free = self.free_from(self.cursor)?;
        while free.length < length {
            free = self.free_from(free.start + free.length)?;
        }
        self.cursor = free.start + length;
        self.reserve(Run { start: free.start, length });
        Some(free.start)
    }

    fn free_from(&self, block: u64) -> Option<Run> {
        let start = match self.used.range(..=block).next_back() {
            Some((_, until)) if *until > block => *until,
            _ => block,
        };
        let end = self.used.range(start..).next().map_or(self.end, |(next, _)| *next);
        (start < end).then(|| Run { start, length: end - start })
    }

    /// The used blocks within a range, in order.
    pub(super) fn used_within(&self, start: u64, end: u64) -> impl Iterator<Item = Run> {
        let first = self.used.range(..=start).next_back().map_or(start, |(before, _)| *before);
        self.used.range(first..end).filter_map(move |(from, until)| {
            let (from, until) = (start.max(*from), end.min(*until));
            (from < until).then(|| Run { start: from, length: until - from })
        })
    }

    /// How many blocks are in use.
    pub(super) fn used_count(&self) -> u64 {
        self.used.iter().map(|(start, end)| end - start).sum()
    }

    /// How many there are.
    pub(super) const fn count(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_go_around_what_is_reserved() {
        let mut blocks = Blocks::new(20);
        blocks.reserve(Run { start: 0, length: 2 });
        blocks.reserve(Run { start: 5, length: 3 });
        assert_eq!(blocks.take(2), Some(Run { start: 2, length: 2 }));
        assert_eq!(blocks.take(9), Some(Run { start: 4, length: 1 }));
        assert_eq!(blocks.take_whole(12), Some(8));
        assert_eq!(blocks.take(1), None);
        blocks.look_from(0);
        assert_eq!(blocks.take(1), None);
        assert_eq!(blocks.used_count(), 20);
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut blocks = Blocks::new(20);
        for start in [4, 2, 3] {
            blocks.reserve(Run { start, length: 1 });
        }
        let used: Vec<Run> = blocks.used_within(0, 20).collect();
        assert_eq!(used, [Run { start: 2, length: 3 }]);
        let part: Vec<Run> = blocks.used_within(3, 4).collect();
        assert_eq!(part, [Run { start: 3, length: 1 }]);
        assert_eq!(blocks.used_within(5, 20).count(), 0);
    }
}
