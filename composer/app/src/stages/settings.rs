//! What a recipe's promises become in the tree: small files of settings beside those of the overlays.
//!
//! Each reader of settings takes the last file by name, so these sort behind the overlays' own. What the
//! kernel must know before there is a tree is on its command line, in `boot`.

mod network;

use goni_disk::tree::{FileTree, TreeError};
use goni_model::port::Port;
use goni_model::recipe::{Hardening, LockMemory, Recipe, Service};
use goni_model::time::Timestamp;

use crate::failure::{Class, Classify};
use crate::stages::overlay::LoadedOverlay;
use crate::stages::small_files;

/// The overlay whose sockets are goni-http's.
const SERVICE_OVERLAY: &str = "goni";

/// The first line of each file.
const HEAD: &str = "# Written by goni-compose: the recipe asks for it.\n";

/// A file of settings: its place, and what follows the first line.
type Setting = (&'static str, String);

/// Why settings cannot be laid.
#[derive(Debug, thiserror::Error)]
#[error("laying the settings of the recipe")]
pub struct SettingsError(#[from] TreeError);

impl Classify for SettingsError {
    fn class(&self) -> Class {
        Class::Content
    }
}

/// Lays the settings of a recipe into the tree, over what its overlays and packages say.
///
/// # Errors
/// The tree has something else where a directory must be.
pub fn lay(
    tree: &mut FileTree,
    recipe: &Recipe,
    overlays: &[LoadedOverlay],
    date: Timestamp,
) -> Result<(), SettingsError> {
    let of_service = overlays.iter().filter(|loaded| loaded.overlay.name.as_str() == SERVICE_OVERLAY);
    let of_service: Vec<Port> =
        of_service.flat_map(|loaded| loaded.overlay.listens.iter().copied()).collect();
    for (place, text) in settings(recipe, &of_service) {
        small_files::put(tree, "settings", place, format!("{HEAD}{text}"), date)?;
    }
    Ok(())
}

/// All settings of a recipe.
fn settings(recipe: &Recipe, of_service: &[Port]) -> Vec<Setting> {
    let mut settings = network::network(&recipe.network.open, of_service);
    settings.extend([hardening(&recipe.hardening), service(recipe.service)].into_iter().flatten());
    settings
}

/// What of the hardening the running kernel is told; see sysctl.d(5).
fn hardening(asked: &Hardening) -> Option<Setting> {
    let namespaces = "user.max_user_namespaces = 0\n".to_owned();
    asked.no_user_namespaces.then_some(("usr/lib/sysctl.d/99-goni-recipe.conf", namespaces))
}

/// How much memory the service may lock; without a limit, as the overlay has it.
fn service(service: Service) -> Option<Setting> {
    match service.lock_memory {
        LockMemory::Unlimited => None,
        LockMemory::Most(size) => Some((
            "usr/lib/systemd/system/goni-http.service.d/90-lock-memory.conf",
            format!("[Service]\nLimitMEMLOCK={}\n", size.get()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use goni_model::recipe::Lockdown;
    use goni_model::size::ByteCount;

    use super::*;

    const NOTHING: Hardening = Hardening {
        init_on_free: false,
        no_smt: false,
        signed_modules: false,
        no_user_namespaces: false,
        lockdown: Lockdown::None,
    };

    #[test]
    fn what_is_not_asked_for_leaves_no_file() {
        assert_eq!(hardening(&NOTHING), None);
        assert_eq!(service(Service { lock_memory: LockMemory::Unlimited }), None);
    }

    #[test]
    fn a_limit_is_in_bytes() {
        let (place, text) =
            service(Service { lock_memory: LockMemory::Most(ByteCount::from_mib(64)) }).unwrap();
        assert_eq!(place, "usr/lib/systemd/system/goni-http.service.d/90-lock-memory.conf");
        assert_eq!(text, "[Service]\nLimitMEMLOCK=67108864\n");
    }

    #[test]
    fn no_user_namespaces_are_a_sysctl_that_sorts_behind_the_overlay_s() {
        let (place, text) = hardening(&Hardening { no_user_namespaces: true, ..NOTHING }).unwrap();
        assert!(place > "usr/lib/sysctl.d/99-goni-hardening.conf");
        assert_eq!(text, "user.max_user_namespaces = 0\n");
    }
}
