//! Commands: values first, processes second.
