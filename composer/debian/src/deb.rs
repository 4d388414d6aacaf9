//! Package files.
