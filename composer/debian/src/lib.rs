//! Debian archives and packages, as values.
//!
//! Every module is pure: it takes bytes and `Read`, and knows neither disks nor the host.

pub mod deb;
pub mod deb822;
pub mod dpkg;
pub mod index;
pub mod relation;
pub mod release;
pub mod signature;
pub mod solve;
pub mod version;
