//! A directory becomes a file tree.
