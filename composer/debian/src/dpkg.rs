//! The dpkg database of an unpacked tree.
