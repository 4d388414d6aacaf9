//! Overlays: files, units, users.
