//! Packages files: what an archive offers.
