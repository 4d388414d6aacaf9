//! The graphics driver of an image: its file is found, and what it brings merged into the target.

use std::collections::BTreeSet;

use goni_model::document::fault::{Fault, Place};
use goni_model::document::source::FileId;
use goni_model::gpu::{self, Driver};
use goni_model::recipe::Recipe;
use goni_model::target::Target;

use super::{Loader, ProjectError, Stop};

/// Where graphics drivers are.
const DRIVERS: &str = "firmware/_gpu";

impl Loader<'_> {
    /// The names of the graphics drivers.
    pub(super) fn drivers(&self) -> Result<BTreeSet<String>, Stop> {
        let folder = self.root.join(DRIVERS);
        let names = self
            .files
            .names(&folder)
            .map_err(|source| Stop::Error(ProjectError::Read { path: self.shown(&folder), source }))?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".toml")).map(str::to_owned).collect())
    }

    /// Merges the graphics driver of an image into its target, and says which.
    pub(super) fn driver(
        &mut self,
        target: &mut Target,
        recipe: &Recipe,
        chain: &[FileId],
        faults: &mut Vec<Fault>,
    ) -> Result<Option<Driver>, Stop> {
        let mut object = |objection: gpu::Objection| {
            let place = chain.first().map(|file| Place::File(*file));
            faults.extend(place.map(|place| Fault::new(place, objection.message).hint(objection.hint)));
        };
        let name = match gpu::chosen(target, &recipe.gpu) {
            Ok(Some(name)) => name,
            Ok(None) => return Ok(None),
            Err(objection) => {
                object(objection);
                return Ok(None);
            }
        };
        let file = self.add(&self.root.join(DRIVERS).join(format!("{name}.toml")))?;
        let driver = gpu::check_driver(&self.sources, file, name)?;
        if let Err(objection) = driver.merge(target, recipe) {
            object(objection);
        }
        Ok(Some(driver))
    }
}
