//! Resolution: from wished packages to one set of versions.
