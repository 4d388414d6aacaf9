//! The plan of a build.
