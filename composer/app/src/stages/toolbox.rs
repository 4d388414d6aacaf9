//! The tools of the program come into the cache, once.

use std::path::Path;

use crate::failure::Failure;
use crate::host::toolbox::{self, Toolbox};
use crate::stages::fetch::{Sources, fetch_packages};

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
