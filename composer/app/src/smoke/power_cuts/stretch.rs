//! Cuts that follow one another: one disk goes from each to the next, and copies of what changed are
//! judged.

use std::ops::Range;
use std::path::Path;

use goni_model::number::to_usize;

use crate::host::disk_file::DiskFile;
use crate::host::files::FileError;
use crate::smoke::Bench;
use crate::smoke::power_cuts::PowerCutError;
use crate::smoke::power_cuts::judge::{Batch, Fault, Law, Places, Touched};
use crate::smoke::power_cuts::points::{self, Point};
use crate::smoke::power_cuts::replay::{Replica, Tape};

/// How many copies are judged in one sandbox.
const BATCH: usize = 16;

/// What came of some cuts that followed one another.
#[derive(Default)]
pub(super) struct Verdicts {
    /// Cuts after which something was judged.
    pub(super) judged: u64,
    /// Cuts that changed nothing that is judged.
    pub(super) equal: u64,
    /// Disks that had lost something.
    pub(super) lossy: u64,
    /// What was wrong.
    pub(super) faults: Vec<Fault>,
}

/// Cuts that follow one another, judged on one disk.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    /// What there is to work with.
    pub(super) bench: &'a Bench<'a>,
    /// What is replayed.
    pub(super) tape: &'a Tape,
    /// What the disks are judged against.
    pub(super) law: &'a Law<'a>,
    /// A folder of its own.
    pub(super) folder: &'a Path,
}

impl Stretch<'_> {
    /// Judges the disks of the cuts from one to another, and of these losses among them.
    pub(super) fn judge(&self, start: u64, end: u64, losses: &[Point]) -> Result<Verdicts, PowerCutError> {
        let bench = self.bench;
        let path = self.folder.join("disk.raw");
        let writing = |source| FileError::io("writing", &path)(source);
        let entries = &self.tape.index.entries;
        let mut replica = Replica::begin(self.tape, &path).map_err(writing)?;
        let mut batch = Batch::begin(self.law, bench, self.folder.join("batch"))?;
        let mut verdicts = Verdicts::default();
        let mut places = Places::of(&self.law.table, self.law.arch);
        // Whoever loses writes begins at the flush before, which may be before this stretch.
        let mut losses: Vec<(u64, Point)> =
            losses.iter().map(|loss| (points::flushed(entries, loss.at), *loss)).collect();
        losses.sort_unstable();
        let mut losses = losses.into_iter().peekable();
        let from = losses.peek().map_or(start, |(from, _)| start.min(*from));
        for at in from..=end {
            bench.interrupt.check()?;
            let before = at.checked_sub(1).and_then(|number| entries.get(to_usize(number)));
            replica.advance(at).map_err(writing)?;
            if at >= start {
                let touched = match (at == start, before, &places) {
                    (true, _, _) | (_, _, None) => Touched::ALL,
                    (_, None, _) => Touched::default(),
                    (_, Some(entry), Some(places)) => places.touched(&entry.range()),
                };
                if touched.anything() {
                    verdicts.judged += 1;
                    // Places are those of the table that was last whole.
                    places = batch.take(Point::after(at), replica.disk(), touched)?.or(places);
                } else {
                    verdicts.equal += 1;
                }
            }
            while let Some((_, loss)) = losses.next_if(|(from, _)| *from == at) {
                verdicts.lossy += 1;
                self.lose(loss, replica.disk(), &mut batch, places.as_ref())?;
            }
            if batch.len() >= BATCH {
                batch.judge()?;
            }
        }
        batch.judge()?;
        verdicts.faults = std::mem::take(&mut batch.faults);
        Ok(verdicts)
    }

    /// Judges the disk of a cut that lost some of what was not flushed; `flushed` has all that was.
    fn lose(
        &self,
        loss: Point,
        flushed: &DiskFile,
        batch: &mut Batch<'_>,
        places: Option<&Places>,
    ) -> Result<(), PowerCutError> {
        let path = self.folder.join("lossy.raw");
        let writing = |source| FileError::io("writing", &path)(source);
        let kept = points::kept(&self.tape.index.entries, loss);
        let ranges = kept.iter().map(|number| self.tape.index.entries[to_usize(*number)].range());
        let touched = ranges
            .map(|range| places.map_or(Touched::ALL, |places| places.touched(&range)))
            .fold(Touched { state: true, ..Touched::default() }, Touched::and);
        // Root and swap are not judged, and not copied.
        let parts: Vec<Range<u64>> = match places {
            Some(places) => places.judged(touched, self.tape.size.get()),
            None => std::iter::once(0..self.tape.size.get()).collect(),
        };
        let disk = DiskFile::create(&path, self.tape.size).map_err(writing)?;
        for part in parts {
            flushed.copy_into(part, &disk).map_err(writing)?;
        }
        for number in kept {
            self.tape.apply(&self.tape.index.entries[to_usize(number)], &disk).map_err(writing)?;
        }
        batch.take(loss, &disk, touched)?;
        Ok(disk.remove().map_err(writing)?)
    }
}
