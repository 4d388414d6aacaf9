//! What an image knows of its board: which kernel modules are loaded, denied and with what options, and
//! which hardware is expected.
//!
//! The expectations are laid into the image, so that `verify` can prove years later, and without a recipe,
//! that the image has what its board needs. Source: modules-load.d(5), modprobe.d(5).

use std::collections::BTreeSet;

use goni_disk::tree::{ContentSource, FileTree, TreeError};
use goni_model::document::nearest::nearest;
use goni_model::modules::Modules;
use goni_model::recipe::Recipe;
use goni_model::target::Target;
use goni_model::target::expect::Board;
use goni_model::time::Timestamp;

use crate::failure::{Class, Classify};
use crate::stages::initrd::{self, InitrdError, Source};
use crate::stages::small_files;

/// Where an image says what board it is for.
pub const BOARD: &str = "usr/share/goni/board.json";

/// Modules that systemd loads at boot.
const LOAD: &str = "usr/lib/modules-load.d/90-goni-recipe.conf";

/// What modprobe is told of modules.
const MODPROBE: &str = "usr/lib/modprobe.d/90-goni-recipe.conf";

/// The first line of files for people.
const HEAD: &str = "# Written by goni-compose: the recipe or its target asks for it.\n";

/// Why the board's files cannot be laid.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The kernel's lists of modules.
    #[error("reading the kernel's modules")]
    Kernel(#[from] InitrdError),
    /// A module that the kernel does not have.
    #[error("`kernel.modules` names `{name}`, which kernel {release} does not have")]
    Unknown {
        /// Its name.
        name: String,
        /// The kernel.
        release: String,
        /// A module that may have been meant.
        near: Option<String>,
    },
    /// A module that is a part of the kernel.
    #[error("`kernel.modules.deny` names `{name}`, which kernel {release} has built in")]
    BuiltIn {
        /// Its name.
        name: String,
        /// The kernel.
        release: String,
    },
    /// Options that are read after the module is there.
    #[error("`kernel.modules.options` come too late for `{name}`: {why}")]
    Late {
        /// The module.
        name: String,
        /// How it comes to be there.
        why: &'static str,
        /// The words for the kernel's command line that say the same.
        words: String,
    },
    /// The board could not be written down.
    #[error("writing down the board")]
    Json(#[from] serde_json::Error),
    /// The tree has something else there.
    #[error("laying the settings of the board")]
    Tree(#[from] TreeError),
}

impl Classify for BoardError {
    fn class(&self) -> Class {
        match self {
            Self::Kernel(error) => error.class(),
            Self::Unknown { .. } | Self::BuiltIn { .. } | Self::Late { .. } => Class::Recipe,
            Self::Json(_) => Class::Bug,
            Self::Tree(_) => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Kernel(error) => error.hint(),
            Self::Unknown { near, .. } => near.as_ref().map(|near| format!("did you mean `{near}`?")),
            Self::Late { words, .. } => Some(format!("write {words} to `kernel.command-line`")),
            Self::BuiltIn { .. } => Some("a part of the kernel cannot be left out by a module's name".into()),
            Self::Json(_) | Self::Tree(_) => None,
        }
    }
}

/// The modules that a kernel has.
struct Kernel {
    release: String,
    loadable: BTreeSet<String>,
    built_in: BTreeSet<String>,
    in_initrd: BTreeSet<String>,
}

/// Lays the files of the board into the tree.
///
/// # Errors
/// [`BoardError`]: a module that the kernel does not have, or that cannot be what it is asked to be.
pub fn lay(
    tree: &mut FileTree,
    content: &dyn ContentSource,
    recipe: &Recipe,
    target: &Target,
    date: Timestamp,
) -> Result<(), BoardError> {
    let modules = recipe.kernel.modules.over(&target.modules);
    if modules != Modules::default() {
        let source = Source { tree: &*tree, content, arch: target.arch };
        let release = initrd::kernel_release(&source)?;
        let wanted: Vec<String> = target.initrd_modules.iter().map(ToString::to_string).collect();
        let (loadable, built_in) = initrd::module_names(&source, &release)?;
        let in_initrd = initrd::closure(&source, &release, &wanted)?;
        check(&modules, &Kernel { release, loadable, built_in, in_initrd })?;
    }
    let board = serde_json::to_string_pretty(&Board::of(target, &modules.deny))? + "\n";
    for (place, text) in settings(&modules).into_iter().chain([(BOARD, board)]) {
        small_files::put(tree, "board", place, text, date)?;
    }
    Ok(())
}

/// Whether a kernel can do what is asked.
fn check(modules: &Modules, kernel: &Kernel) -> Result<(), BoardError> {
    let release = || kernel.release.clone();
    for module in modules.named().map(|name| name.as_str()) {
        if !kernel.loadable.contains(module) && !kernel.built_in.contains(module) {
            let known = kernel.loadable.iter().chain(&kernel.built_in).map(String::as_str);
            let near = nearest(module, known).map(str::to_owned);
            return Err(BoardError::Unknown { name: module.to_owned(), release: release(), near });
        }
    }
    for module in modules.deny.iter().map(|name| name.as_str()) {
        if kernel.built_in.contains(module) {
            return Err(BoardError::BuiltIn { name: module.to_owned(), release: release() });
        }
    }
    for (module, options) in &modules.options {
        let why = if kernel.built_in.contains(module.as_str()) {
            "it is built into the kernel"
        } else if kernel.in_initrd.contains(module.as_str()) {
            "it is in the initrd, and loaded before the root is there"
        } else {
            continue;
        };
        let words: Vec<String> = options.iter().map(|option| format!("`{module}.{option}`")).collect();
        return Err(BoardError::Late { name: module.to_string(), why, words: words.join(", ") });
    }
    Ok(())
}

/// The files that are not empty.
fn settings(modules: &Modules) -> Vec<(&'static str, String)> {
    let load: String = modules.load.iter().map(|module| format!("{module}\n")).collect();
    let deny = modules.deny.iter().map(|module| format!("blacklist {module}\n"));
    let options = modules.options.iter().map(|(module, words)| {
        let words: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
        format!("options {module} {}\n", words.join(" "))
    });
    let files = [(LOAD, load), (MODPROBE, deny.chain(options).collect())];
    files
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(place, text)| (place, format!("{HEAD}{text}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(load: &[&str], deny: &[&str], options: &[(&str, &str)]) -> Modules {
        let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect();
        let options = options.iter().map(|(name, word)| (name.parse().unwrap(), vec![word.parse().unwrap()]));
        Modules { load: names(load), deny: names(deny), options: options.collect() }
    }

    fn checked(modules: &Modules) -> Result<(), BoardError> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let kernel = Kernel {
            release: "6.12".to_owned(),
            loadable: set(&["nouveau", "nct6775", "dm_crypt"]),
            built_in: set(&["efi_pstore", "loop"]),
            in_initrd: set(&["dm_crypt"]),
        };
        check(modules, &kernel)
    }

    #[test]
    fn what_is_asked_is_written_where_systemd_and_modprobe_read_it() {
        let files = settings(&modules(&["nct6775"], &["nouveau"], &[("ttm", "pages_limit=1")]));
        assert_eq!(files[0], (LOAD, format!("{HEAD}nct6775\n")));
        assert_eq!(files[1], (MODPROBE, format!("{HEAD}blacklist nouveau\noptions ttm pages_limit=1\n")));
        assert_eq!(files.len(), 2);
        assert!(settings(&Modules::default()).is_empty());
    }

    #[test]
    fn a_kernel_that_cannot_do_it_is_told_of() {
        checked(&modules(&["nct6775", "loop"], &["nouveau"], &[("nct6775", "x=1")])).unwrap();
        for (asked, message, hint) in [
            (
                modules(&[], &["nuoveau"], &[]),
                "`kernel.modules` names `nuoveau`, which kernel 6.12 does not have",
                "did you mean `nouveau`?",
            ),
            (
                modules(&[], &["efi_pstore"], &[]),
                "`kernel.modules.deny` names `efi_pstore`, which kernel 6.12 has built in",
                "a part of the kernel cannot be left out by a module's name",
            ),
            (
                modules(&[], &[], &[("loop", "max_loop=1")]),
                "`kernel.modules.options` come too late for `loop`: it is built into the kernel",
                "write `loop.max_loop=1` to `kernel.command-line`",
            ),
            (
                modules(&[], &[], &[("dm_crypt", "x=1")]),
                "`kernel.modules.options` come too late for `dm_crypt`: it is in the initrd, and loaded before \
                 the root is there",
                "write `dm_crypt.x=1` to `kernel.command-line`",
            ),
        ] {
            let error = checked(&asked).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, Some(hint)));
        }
    }
}
