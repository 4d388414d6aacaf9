//! Where this machine gets its archives from.
