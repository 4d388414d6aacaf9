//! Maintainer scripts run, and the result is read back.
