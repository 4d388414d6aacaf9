//! Progress at a terminal: a live line per stage and a total, or plain lines with the time.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::progress::{Progress, Unit};

/// How often a live line moves by itself.
const TICK: Duration = Duration::from_millis(100);

/// A line for each stage that runs, and one for the whole.
pub struct Live {
    lines: MultiProgress,
    total: ProgressBar,
    stages: Mutex<BTreeMap<&'static str, ProgressBar>>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    /// Shows nothing before the first stage begins.
    #[must_use]
    pub fn new() -> Self {
        Self { lines: MultiProgress::new(), total: ProgressBar::hidden(), stages: Mutex::default() }
    }

    fn stages(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, ProgressBar>> {
        // A panic while drawing leaves lines as they were, which is fine to go on with.
        self.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A line above the live ones. Failing to draw is no reason to fail the work.
    fn print(&self, line: &str) {
        drop(self.lines.println(line));
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Live {
    fn begin(&self, stage: &'static str, total: Option<u64>, unit: Unit) {
        let mut stages = self.stages();
        if stages.is_empty() && self.total.is_hidden() {
            let total = self.lines.add(self.total.clone());
            total.set_style(style("{spinner} {msg:12} {elapsed:>6}"));
            total.set_message("total");
            total.enable_steady_tick(TICK);
        }
        let counted = match unit {
            Unit::Bytes => "{bytes}/{total_bytes} {bytes_per_sec}",
            Unit::Packages | Unit::Checks | Unit::Steps => "{pos}/{len}",
        };
        let (bar, look) = match total {
            Some(total) => (
                ProgressBar::new(total),
                style(&format!("{{spinner}} {{msg:12}} {{elapsed:>6}} {{bar:24}} {counted}")),
            ),
            None => (ProgressBar::new_spinner(), style("{spinner} {msg:12} {elapsed:>6}")),
        };
        let bar = self.lines.insert_before(&self.total, bar);
        bar.set_style(look);
        bar.set_message(stage);
        bar.enable_steady_tick(TICK);
        stages.insert(stage, bar);
    }

    fn advance(&self, stage: &'static str, units: u64) {
        if let Some(bar) = self.stages().get(stage) {
            bar.inc(units);
        }
    }

    fn end(&self, stage: &'static str, note: &str) {
        let Some(bar) = self.stages().remove(stage) else { return };
        let took = bar.elapsed();
        bar.finish_and_clear();
        self.lines.remove(&bar);
        self.print(&format!("  {stage:12} {:>6.1}s  {note}", took.as_secs_f64()));
    }

    fn warn(&self, message: &str) {
        self.print(&format!("warning: {message}"));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for (_, bar) in std::mem::take(&mut *self.stages()) {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("━╸ ")
}

/// What plain progress tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Warnings alone.
    Warnings,
    /// Ends of stages, too.
    Ends,
    /// Beginnings, too.
    Every,
}

/// A line when a stage ends, with the time since the program began and what the stage took.
#[derive(Debug)]
pub struct Plain {
    pace: Pace,
    began: Instant,
    stages: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Plain {
    /// Counts from now.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, began: now(), stages: Mutex::default() }
    }

    fn stages(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Instant>> {
        // A map of moments is whole after any panic.
        self.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tell(&self, least: Pace, line: &str) {
        if self.pace >= least {
            let since = now().duration_since(self.began).as_secs_f64();
            // Progress that cannot be shown is no reason to fail the work.
            drop(writeln!(std::io::stderr().lock(), "[{since:7.1}s] {line}"));
        }
    }
}

impl Progress for Plain {
    fn begin(&self, stage: &'static str, _: Option<u64>, _: Unit) {
        self.stages().insert(stage, now());
        self.tell(Pace::Every, stage);
    }

    fn advance(&self, _: &'static str, _: u64) {}

    fn end(&self, stage: &'static str, note: &str) {
        let took = self.stages().remove(stage).map_or(0.0, |begun| now().duration_since(begun).as_secs_f64());
        self.tell(Pace::Ends, &format!("{stage:12} {took:6.1}s  {note}"));
    }

    fn warn(&self, message: &str) {
        drop(writeln!(std::io::stderr().lock(), "warning: {message}"));
    }
}

#[expect(clippy::disallowed_methods, reason = "times that are shown and never used")]
fn now() -> Instant {
    Instant::now()
}
