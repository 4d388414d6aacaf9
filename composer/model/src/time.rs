//! Moments, as values: nothing here asks a clock.

use serde::{Deserialize, Serialize};

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// The rest, below 1 000 000 000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// The earlier of the two: how a file's time clamps to the source date.
    #[must_use]
    pub fn clamp_to(self, latest: Self) -> Self {
        self.min(latest)
    }
}
