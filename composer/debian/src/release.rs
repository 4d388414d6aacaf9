//! Release files: what an archive signs.
