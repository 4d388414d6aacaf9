//! Packages become a directory that dpkg takes for unpacked.
