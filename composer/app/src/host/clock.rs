//! The clock, behind a trait: what asks the time can be told the time.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use goni_model::time::Timestamp;

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Now, since 1970.
    fn now(&self) -> Timestamp;
}

/// The machine's clock. A clock set before 1970 reads as 1970: every signature is then too new.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        }
    }
}

/// A clock that stands still at the given moment.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Measures how long something takes, for reports; nothing is decided by it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Whole milliseconds since the start.
    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_tells_what_it_was_told() {
        let moment = Timestamp::from_seconds(1_700_000_000);
        let clock: &dyn Clock = &FixedClock(moment);
        assert_eq!(clock.now(), moment);
        assert!(SystemClock.now() > moment);
    }
}
