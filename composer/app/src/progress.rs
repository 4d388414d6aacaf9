//! How work tells how far it is, without knowing a terminal.

/// Where progress is told. Shared by threads.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` is its size in `unit`s where that is known.
    fn begin(&self, stage: &'static str, total: Option<u64>, unit: Unit);

    /// So many more units of the stage are done.
    fn advance(&self, stage: &'static str, units: u64);

    /// The stage is over; the note is its result in a few words.
    fn end(&self, stage: &'static str, note: &str);

    /// Something the user must not miss: a stand-in used, a waiver, an entry re-fetched.
    fn warn(&self, message: &str);
}

/// What a stage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Packages.
    Packages,
    /// Checks.
    Checks,
    /// Nothing in particular.
    Steps,
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &'static str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn end(&self, _: &'static str, _: &str) {}
    fn warn(&self, _: &str) {}
}
