//! The tools of the program come into the cache, once.

use std::path::Path;

use goni_debian::release::Freshness;
use goni_debian::signature::{Keyring, KeyringError};
use goni_model::lock::Lock;
use goni_model::time::Timestamp;

use crate::archive::{self, SuiteRequest};
use crate::failure::{Class, Classify, Failure};
use crate::host::clock::Clock;
use crate::host::mirror::DEBIAN_SECURITY;
use crate::host::toolbox::{self, Toolbox};
use crate::stages::fetch::{Sources, fetch_packages};

/// Resolves the toolbox's request again, with what the archives have now: the new `toolbox.lock`.
///
/// # Errors
/// What the archives or the solver say; also if an archive is older than the present lock knows it.
pub fn resolve(sources: Sources<'_>, clock: &dyn Clock) -> Result<Lock, Failure> {
    let resolved = || -> Result<Lock, Failure> {
        let present = toolbox::lock()?;
        let mut requests = Vec::new();
        for archive in &present.request.archives {
            let keys = match archive.name.as_str() {
                DEBIAN_SECURITY => Keyring::debian_security(),
                _ => Keyring::debian(),
            };
            let keys = keys.map_err(KeysError)?;
            for suite in &archive.suites {
                let known = present.minimum_date(&archive.name, suite);
                let known = known.and_then(|date| i64::try_from(date).ok()).map(Timestamp::from_seconds);
                requests.push(SuiteRequest {
                    archive: archive.name.clone(),
                    suite: suite.clone(),
                    components: archive.components.clone(),
                    keys: keys.clone(),
                    freshness: Freshness { not_before: known, ..Freshness::at(clock.now()) },
                });
            }
        }
        let suites = archive::fetch_suites(&requests, present.arch, sources)?;
        Ok(archive::resolve(&present.recipe, present.arch, present.request, &suites)?)
    };
    resolved().map_err(|failure| failure.during("resolving the toolbox"))
}

/// The keys that were compiled in are damaged.
#[derive(Debug, thiserror::Error)]
#[error("reading the keys of Debian")]
struct KeysError(#[source] KeyringError);

impl Classify for KeysError {
    fn class(&self) -> Class {
        Class::Bug
    }
}

/// The tools, from the cache where they are, fetched and unpacked where they are not.
///
/// # Errors
/// What fetching or unpacking says.
pub fn open(cache: &Path, sources: Sources<'_>) -> Result<Toolbox, Failure> {
    let opened = || -> Result<Toolbox, Failure> {
        if let Some(toolbox) = Toolbox::find(cache) {
            return Ok(toolbox);
        }
        let fetched = fetch_packages(&toolbox::lock()?.packages, sources)?;
        Ok(Toolbox::unpack(cache, &fetched, sources.progress)?)
    };
    opened().map_err(|failure| failure.during("preparing the toolbox"))
}
