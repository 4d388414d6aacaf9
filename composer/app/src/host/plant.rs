//! A file tree becomes a directory.
