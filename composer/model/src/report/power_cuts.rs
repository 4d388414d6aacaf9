//! Reports of power cuts: a run whose every write was followed by one.

use serde::Serialize;

/// How an image came through its power cuts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PowerCutReport {
    /// The file name of the image.
    pub image: String,
    /// What ran the processor: `tcg` or `kvm`, and why.
    pub accelerator: String,
    /// What decided which unflushed writes a disk lost.
    pub seed: u64,
    /// The parts of the run, in order.
    pub parts: Vec<PowerCutPart>,
    /// What put an end to the run before its time: a guest that hung, panicked, flooded.
    pub broken_off: Option<String>,
    /// Where the log was kept, because something was wrong.
    pub log: Option<String>,
    /// All of it.
    pub milliseconds: u64,
}

/// How a part of a run came through its power cuts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PowerCutPart {
    /// Its name.
    pub name: String,
    /// What the guest wrote or discarded, and how often it flushed.
    pub writes: u64,
    /// See `writes`.
    pub flushes: u64,
    /// Cuts: one before the first of its writes, and one behind each entry of the log.
    pub cuts: u64,
    /// Those after which something was judged.
    pub judged: u64,
    /// Those that left what the one before had left: only flushed, or wrote elsewhere.
    pub equal: u64,
    /// Disks that were judged after they lost some of what was not flushed.
    pub lossy: u64,
    /// What the guest was promised by fsync.
    pub promises: u64,
    /// The cuts whose disk was booted.
    pub boots: Vec<String>,
    /// What was wrong.
    pub faults: Vec<PowerCutFault>,
    /// From its first cut to its last verdict.
    pub milliseconds: u64,
}

/// Something that was wrong after a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PowerCutFault {
    /// The cut: entries of the log before it, and behind a colon the seed of what was lost.
    pub point: String,
    /// What was wrong.
    pub what: String,
}

impl PowerCutReport {
    /// Whether all is well: it ran to its end and nothing was wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.broken_off.is_none() && self.parts.iter().all(|part| part.faults.is_empty())
    }
}
