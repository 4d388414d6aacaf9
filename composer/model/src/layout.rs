//! The layout of a disk: roles, sizes, places.
