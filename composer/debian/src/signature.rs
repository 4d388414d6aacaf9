//! OpenPGP signatures of archives.
