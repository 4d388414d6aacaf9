//! The tools of the program come into the cache, once.

use std::path::Path;

use goni_model::lock::Lock;

use crate::failure::Failure;
use crate::host::clock::Clock;
use crate::host::toolbox::{self, Toolbox};
use crate::resolve::{Past, resolve_request};
use crate::stages::fetch::{Sources, fetch_packages};

/// Resolves the toolbox's request again, with what the archives have now: the new `toolbox.lock`.
///
/// # Errors
/// What the archives or the solver say; also if an archive is older than the present lock knows it.
pub fn resolve(sources: Sources<'_>, clock: &dyn Clock) -> Result<Lock, Failure> {
    let resolved = || -> Result<Lock, Failure> {
        let present = toolbox::lock()?;
        let (name, request) = (present.recipe.clone(), present.request.clone());
        let past = Some(Past::dates(&present));
        resolve_request(&name, (present.arch, None), request, past, sources, clock)
    };
    resolved().map_err(|failure| failure.during("resolving the toolbox"))
}

/// The tools, from the cache where they are, fetched and unpacked where they are not.
///
/// # Errors
/// What fetching or unpacking says.
pub fn open(cache: &Path, sources: Sources<'_>, clock: &dyn Clock) -> Result<Toolbox, Failure> {
    let opened = || -> Result<Toolbox, Failure> {
        if let Some(toolbox) = Toolbox::find(cache) {
            return Ok(toolbox);
        }
        let fetched = match fetch_packages(&toolbox::lock()?.packages, sources) {
            // Archives drop what was superseded. No byte of an image comes from a tool, so newer tools,
            // as well signed, serve as well; the lock is refreshed with the next release of the program.
            Err(error) if error.is_gone() => {
                sources.progress.warn(&format!("{error}: it is gone; the tools are resolved anew"));
                fetch_packages(&resolve(sources, clock)?.packages, sources)?
            }
            fetched => fetched?,
        };
        Ok(Toolbox::unpack(cache, &fetched, sources.progress)?)
    };
    opened().map_err(|failure| failure.during("preparing the toolbox"))
}
