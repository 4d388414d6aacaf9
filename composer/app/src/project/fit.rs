//! What a recipe and its target must say together.

use goni_model::document::fault::{Fault, Place};
use goni_model::document::source::FileId;
use goni_model::recipe::Recipe;
use goni_model::size::SectorSize;
use goni_model::target::{BootMethod, Target};

/// Sees that patches have a source, and that what is built can be loaded.
pub(super) fn modules(target: &Target, recipe: &Recipe, file: Option<&FileId>, faults: &mut Vec<Fault>) {
    let Some(place) = file.map(|file| Place::File(*file)) else { return };
    let extra = target.extra_modules.and(&recipe.kernel.extra_modules);
    for package in extra.patches.keys().filter(|package| !extra.dkms.contains(package)) {
        let message =
            format!("`kernel.dkms-patches` has patches of `{package}`, which `kernel.dkms` does not list");
        faults.push(Fault::new(place, message));
    }
    let unsigned = recipe.hardening.only_signed_modules() && recipe.kernel.module_key.is_none();
    if unsigned && target.extra_modules.needs_building() {
        let message =
            format!("only signed modules are loaded, and nothing signs those of target `{}`", target.name);
        let hint = "give `kernel.module-key`, or leave out `hardening.signed-modules` and `lockdown`";
        faults.push(Fault::new(place, message).hint(hint));
    }
}

/// Sees that the disks of an image can be read by what the board boots with.
pub(super) fn sectors(target: &Target, recipe: &Recipe, file: Option<&FileId>, faults: &mut Vec<Fault>) {
    let large = recipe.output.sector_sizes.contains(&SectorSize::B4096);
    if let Some(file) = file.filter(|_| large && target.boot == BootMethod::RaspberryPi) {
        let message = format!(
            "`output.sector-size` lists 4096, and the firmware of target `{}` reads an MBR that counts in 512 bytes",
            target.name
        );
        faults.push(Fault::new(Place::File(*file), message));
    }
}
