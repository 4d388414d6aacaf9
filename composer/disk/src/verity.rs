//! dm-verity hash trees.
