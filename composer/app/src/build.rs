//! A build, from a project to a verified image.
