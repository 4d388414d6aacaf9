//! Debian archives and packages, as values.
//!
//! Every module is pure: it takes bytes and `Read`, and knows neither disks nor the host.
//!
//! From a mirror to a lock, in this order; what is fetched in between is the caller's business:
//!
//! 1. [`signature::verify`]`(inrelease, &keyring, now)`, the keyring being [`signature::Keyring::debian`],
//!    [`signature::Keyring::debian_security`] or a vendor's by [`signature::Keyring::parse`].
//! 2. [`release::Release::parse`]`(&verified)`, then `require_suite` and `check_freshness` with the date of
//!    the old lock ([`goni_model::lock::Lock::minimum_date`]) as least date.
//! 3. `release.packages_index(component, arch)` says which file to fetch; the fetcher compares size and SHA-256.
//! 4. [`index::Compression::decompress`]`(bytes, index_file.unpacked)`, then [`index::Index::parse`]`(&text, arch)`.
//! 5. [`solve::Universe::new`]`(arch, &sources)` with a [`solve::Source`] for each index, then
//!    [`solve::solve`]`(&universe, &request)`.
//! 6. A [`goni_model::lock::Lock`] of the [`solve::Chosen`] packages, a `LockedSuite` for each Release
//!    (`release.date`, `release.digest`), brought in order by `canonical`; its `Display` is the file.

pub mod copyright;
pub mod deb;
pub mod deb822;
pub mod dpkg;
pub mod index;
pub mod installed;
pub mod kernel;
pub mod licence;
pub mod relation;
pub mod release;
pub mod signature;
pub mod solve;
pub mod version;
