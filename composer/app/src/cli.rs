//! The terminal: arguments in, progress and errors out.
