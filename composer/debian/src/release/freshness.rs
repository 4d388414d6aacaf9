//! Whether a Release file is neither too old, nor older than one seen before, nor from the future.
//!
//! Apt relies on Valid-Until, which Debian's main suite does not have; hence our own greatest age, and
//! the least date that a lock remembers. No clock is asked here: `now` is an argument.

use goni_model::time::Timestamp;

use super::{Release, date};

/// Greatest age of a Release file, in seconds: 180 days.
/// Stable's main suite is signed at each point release, every two to three months.
pub const DEFAULT_MAX_AGE: u64 = 180 * 86_400;
/// How far a Release date may lie ahead of our clock, in seconds, as apt's `Max-FutureTime`.
pub const FUTURE_SKEW: u64 = 10;

/// What a Release file's date is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// The time now.
    pub now: Timestamp,
    /// Greatest age in seconds; `None` where an old state is wanted and said to be.
    pub max_age: Option<u64>,
    /// The date of the Release file seen last: an older one is a rollback.
    pub not_before: Option<Timestamp>,
    /// How far the date may lie ahead, in seconds.
    pub future_skew: u64,
}

/// Why a validly signed Release file is refused all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FreshnessError {
    /// Older than one seen before.
    #[error("suite `{suite}` is rolled back: its Release is of {date}, the lock knows one of {known}")]
    RolledBack {
        /// The suite.
        suite: String,
        /// Its date.
        date: String,
        /// The date known.
        known: String,
    },
    /// Past its own end.
    #[error("suite `{suite}` of {date} was valid until {until}, and it is {now} by this machine's clock")]
    Expired {
        /// The suite.
        suite: String,
        /// Its date.
        date: String,
        /// Its end.
        until: String,
        /// The time now.
        now: String,
    },
    /// Older than we accept.
    #[error(
        "suite `{suite}` is of {date}, more than {days} days before {now}, the time by this machine's clock"
    )]
    TooOld {
        /// The suite.
        suite: String,
        /// Its date.
        date: String,
        /// The greatest age, in days.
        days: u64,
        /// The time now.
        now: String,
    },
    /// Ahead of the clock.
    #[error("suite `{suite}` is of {date}, but it is only {now} by this machine's clock")]
    Future {
        /// The suite.
        suite: String,
        /// Its date.
        date: String,
        /// The time now.
        now: String,
    },
}

impl Freshness {
    /// The default policy at a time.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, max_age: Some(DEFAULT_MAX_AGE), not_before: None, future_skew: FUTURE_SKEW }
    }
}

impl Release {
    /// Checks the dates of this Release file.
    ///
    /// # Errors
    /// Rolled back, from the future, expired or too old; in this order.
    pub fn check_freshness(&self, policy: &Freshness) -> Result<(), FreshnessError> {
        let suite = || self.name().to_owned();
        let show = |moment: Timestamp| date::display(moment.seconds);
        let (date, now) = (self.date, policy.now);
        if let Some(known) = policy.not_before.filter(|known| date < *known) {
            return Err(FreshnessError::RolledBack { suite: suite(), date: show(date), known: show(known) });
        }
        let span = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        if date.seconds > now.seconds.saturating_add(span(policy.future_skew)) {
            return Err(FreshnessError::Future { suite: suite(), date: show(date), now: show(now) });
        }
        if let Some(until) = self.valid_until.filter(|until| *until < now) {
            return Err(FreshnessError::Expired {
                suite: suite(),
                date: show(date),
                until: show(until),
                now: show(now),
            });
        }
        match policy.max_age {
            Some(max_age) if now.seconds.saturating_sub(date.seconds) > span(max_age) => {
                Err(FreshnessError::TooOld {
                    suite: suite(),
                    date: show(date),
                    days: max_age / 86_400,
                    now: show(now),
                })
            }
            _ => Ok(()),
        }
    }
}
