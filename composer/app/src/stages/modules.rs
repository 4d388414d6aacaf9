//! Kernel modules that the kernel's package does not bring: built for the image's kernel, signed if the owner
//! gave a key, checked, and written down.
//!
//! They are built in a tree of their own, with a compiler, the headers of exactly this kernel, and DKMS; of
//! all that nothing comes into the image but the modules. The tree is read-only while they are built, and has
//! no network. The kernel of the machine that builds is never asked about: its release is in no command here.
//! Source: dkms(8); Documentation/kbuild/modules.rst and Documentation/admin-guide/module-signing.rst.

mod dkms;
mod kbuild;
mod record;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::LockedPackage;

use crate::failure::{Class, Classify};
use crate::host::command::{Run, RunError};
use crate::host::files::{self, FileError};
use crate::host::sandbox::Emulator;
use crate::modinfo::Modinfo;
use crate::progress::{Progress, Unit};

pub use record::{Origin, RECORD, Record, Recorded, place};

use run::Surroundings;

/// The stage's name.
pub const NAME: &str = "modules";

/// The largest module, and the largest log that is kept.
pub const LARGEST: u64 = 256 << 20;

/// How many lines of a log an error shows.
const SHOWN: usize = 30;

/// What is to be built, for which kernel, where.
#[derive(Debug)]
pub struct Order<'a> {
    /// The root of the tree with the compiler.
    pub tree: &'a Path,
    /// The release of the kernel.
    pub release: &'a str,
    /// Its architecture.
    pub arch: Arch,
    /// What runs programs of that architecture here; `None`: the processor.
    pub emulator: Option<&'a Emulator>,
    /// Packages whose modules DKMS builds.
    pub dkms: Vec<&'a LockedPackage>,
    /// Patches of those, by package.
    pub patches: &'a BTreeMap<String, Vec<Patch>>,
    /// Folders that kbuild builds.
    pub sources: Vec<Folder>,
    /// The owner's key with its certificate, which signs what is built.
    pub key: Option<&'a Path>,
}

/// A folder with the source of modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its path in the project.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Digest of all in it.
    pub sha256: Sha256Digest,
}

/// A patch of a package's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Its path in the project.
    pub name: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A module with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// What is written down of it.
    pub recorded: Recorded,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why there are no modules.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// A package has nothing for DKMS.
    #[error("package `{package}` of `kernel.dkms` has no `dkms.conf` below `/usr/src`")]
    NoConfiguration {
        /// The package.
        package: String,
    },
    /// Its configuration cannot be read.
    #[error("`dkms.conf` of package `{package}`: {said}")]
    Configuration {
        /// The package.
        package: String,
        /// What is wrong.
        said: String,
    },
    /// Building failed.
    #[error("building the modules of {what} for kernel `{release}` failed:\n{said}")]
    Build {
        /// The package or folder.
        what: Box<Origin>,
        /// The kernel.
        release: String,
        /// The end of the log.
        said: String,
        /// The whole of it.
        log: PathBuf,
    },
    /// A patch does not fit.
    #[error("patch `{patch}` does not fit the source of package `{package}`:\n{said}")]
    Patch {
        /// The patch.
        patch: String,
        /// The package.
        package: String,
        /// What was said.
        said: String,
    },
    /// Building ended well, without a module that it promised.
    #[error("building {what} for kernel `{release}` left no module `{module}`:\n{said}")]
    Missing {
        /// The package or folder.
        what: Box<Origin>,
        /// The kernel.
        release: String,
        /// The module.
        module: String,
        /// The end of the log.
        said: String,
    },
    /// Two modules of one name.
    #[error("module `{name}` comes from {first} and from {second}")]
    Twice {
        /// The module.
        name: String,
        /// The one.
        first: Box<Origin>,
        /// The other.
        second: Box<Origin>,
    },
    /// A file that is no module.
    #[error("module `{name}` of {from} is no kernel module")]
    NoModule {
        /// The module.
        name: String,
        /// Where it comes from.
        from: Box<Origin>,
        /// What is wrong.
        source: object::read::Error,
    },
    /// A module of another architecture.
    #[error("module `{name}` of {from} is for machine {found} of ELF, not for {arch}")]
    OtherMachine {
        /// The module.
        name: String,
        /// Where it comes from.
        from: Box<Origin>,
        /// The machine it is for.
        found: u16,
        /// The image's architecture.
        arch: Arch,
    },
    /// A module of another kernel.
    #[error("module `{name}` of {from} is for kernel `{found}`, the image has `{release}`")]
    OtherKernel {
        /// The module.
        name: String,
        /// Where it comes from.
        from: Box<Origin>,
        /// The kernel it is for.
        found: String,
        /// The image's kernel.
        release: String,
    },
    /// A module could not be signed.
    #[error("signing module `{name}` failed: {said}")]
    Sign {
        /// The module.
        name: String,
        /// What was said.
        said: String,
    },
    /// Files could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A command could not be run at all.
    #[error("building kernel modules")]
    Run(#[from] RunError),
}

impl Classify for ModulesError {
    fn class(&self) -> Class {
        match self {
            Self::File(error) => error.class(),
            Self::Run(error) => error.class(),
            Self::NoConfiguration { .. } => Class::Recipe,
            _ => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Build { log, .. } => Some(format!("the whole log is `{}`", log.display())),
            Self::NoConfiguration { .. } => {
                Some("list it in `debian.packages` if it is no source of modules".to_owned())
            }
            Self::OtherKernel { from, release, .. } if matches!(**from, Origin::File { .. }) => {
                Some(format!("build it for `{release}`, or give its source as `kernel.module-sources`"))
            }
            _ => None,
        }
    }
}

/// Builds everything of an order in `scratch`, an empty directory; the logs go to `log`, of a failed build,
/// too.
///
/// # Errors
/// [`ModulesError`]; what `scratch` then holds is for the caller to remove.
pub fn build(
    order: &Order<'_>,
    scratch: &Path,
    log: &Path,
    runner: &dyn Run,
    progress: &dyn Progress,
) -> Result<Vec<Module>, ModulesError> {
    progress.begin(NAME, None, Unit::Steps);
    let surroundings = Surroundings::prepare(order, scratch, log, runner)?;
    let mut logs = Vec::new();
    let mut modules = Vec::new();
    for package in &order.dkms {
        modules.extend(written(dkms::build(&surroundings, package, &mut logs), &logs, log)?);
        progress.advance(NAME, 1);
    }
    for (number, folder) in order.sources.iter().enumerate() {
        modules.extend(written(kbuild::build(&surroundings, folder, number, &mut logs), &logs, log)?);
        progress.advance(NAME, 1);
    }
    if let Some(key) = order.key {
        modules.iter_mut().try_for_each(|module| surroundings.sign(module, key))?;
    }
    files::replace(log, &logs, 0o644)?;
    progress.end(NAME, &format!("{} built", modules.len()));
    Ok(modules)
}

/// Keeps the log of a failed build, too.
fn written<T>(built: Result<T, ModulesError>, logs: &[u8], log: &Path) -> Result<T, ModulesError> {
    if built.is_err() {
        files::replace(log, logs, 0o644)?;
    }
    built
}

/// A module from its bytes, if it is one for this kernel.
///
/// # Errors
/// It is none, or one for another machine or kernel.
pub fn module(
    name: &str,
    from: Origin,
    bytes: Vec<u8>,
    release: &str,
    arch: Arch,
) -> Result<Module, ModulesError> {
    let name = name.to_owned();
    let info = match Modinfo::parse(&bytes) {
        Ok(info) => info,
        Err(source) => return Err(ModulesError::NoModule { name, from: Box::new(from), source }),
    };
    if info.machine != arch.elf_machine() {
        return Err(ModulesError::OtherMachine { name, from: Box::new(from), found: info.machine, arch });
    }
    if info.release() != release {
        let (found, release) = (info.release().to_owned(), release.to_owned());
        return Err(ModulesError::OtherKernel { name, from: Box::new(from), found, release });
    }
    let sha256 = Sha256Digest::of(&bytes);
    Ok(Module { recorded: Recorded { name, from, sha256, signed: info.signed }, bytes })
}

/// Refuses two modules of one name, of which the kernel would load only one.
///
/// # Errors
/// `Twice`.
pub fn check_names(modules: &[Module]) -> Result<(), ModulesError> {
    for (at, module) in modules.iter().enumerate() {
        let name = record::canonical(&module.recorded.name);
        if let Some(first) =
            modules[..at].iter().find(|other| record::canonical(&other.recorded.name) == name)
        {
            let (first, second) = (first.recorded.from.clone(), module.recorded.from.clone());
            let (first, second) = (Box::new(first), Box::new(second));
            return Err(ModulesError::Twice { name, first, second });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
