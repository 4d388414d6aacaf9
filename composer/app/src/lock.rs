//! The lock of a project: read, held against the project, completed, made anew.
//!
//! A lock that does not say what the project says is refused by every verb but `lock`: an image is made of
//! what was locked, or not at all. Resolving is [`crate::resolve`]'s.

pub mod changelog;
pub mod gone;
pub mod ids;
mod inputs;
mod place;
pub mod renew;

use std::path::Path;

use goni_model::lock::{Lock, LockRequest, LockedInput, ParseLockError, Reading, SCHEMA, Stale};
use goni_model::target::Target;

use crate::failure::{Class, Classify, Failure};
use crate::host::files;
use crate::project::Project;
use crate::resolve::{request, shadow_name, shadow_request};
use crate::rules;

pub use inputs::inputs;

/// The largest lock that is read: a thousand times the usual.
const LARGEST_LOCK: u64 = 64 << 20;

/// Why a lock cannot be built from.
#[derive(Debug, thiserror::Error)]
enum StaleLock {
    #[error("the lock `{path}` no longer satisfies the recipe: {}", keys.join("; "))]
    Keys { path: String, recipe: String, keys: Vec<String> },
    #[error("the lock `{path}:3` is of recipe `{of}`, not of `{wanted}`")]
    OtherRecipe { path: String, recipe: String, of: String, wanted: String },
    #[error("the lock `{path}:4` is for {of}, not for {wanted}")]
    OtherArch { path: String, recipe: String, of: String, wanted: String },
    #[error("reading the lock `{path}`")]
    Unreadable { path: String, recipe: String, source: ParseLockError },
    #[error("`{recipe}` has no lock `{path}`")]
    Absent { path: String, recipe: String },
}

impl Classify for StaleLock {
    fn class(&self) -> Class {
        match self {
            Self::Unreadable { source: ParseLockError::Schema { .. }, .. } => Class::Recipe,
            Self::Unreadable { .. } => Class::Trust,
            _ => Class::Recipe,
        }
    }

    fn hint(&self) -> Option<String> {
        let (Self::Keys { recipe, .. }
        | Self::OtherRecipe { recipe, .. }
        | Self::OtherArch { recipe, .. }
        | Self::Unreadable { recipe, .. }
        | Self::Absent { recipe, .. }) = self;
        let then = match self {
            Self::Keys { .. } => " takes the change, and keeps every version that still does",
            Self::Unreadable { source: ParseLockError::Schema { found }, .. } if *found > SCHEMA => {
                return Some("use a program as new as the one that wrote it".to_owned());
            }
            Self::Unreadable { source: ParseLockError::Schema { .. }, .. } => {
                " completes it, and keeps every version"
            }
            Self::Unreadable { source: ParseLockError::Broken { .. }, .. } => {
                " verifies all it says anew; or take it from where it was kept"
            }
            _ => "",
        };
        Some(format!("goni-compose lock {recipe}{then}"))
    }
}

/// Reads a project's lock; `None` if there is none.
///
/// # Errors
/// A lock that cannot be read as one.
pub fn read_lock(project: &Project) -> Result<Option<Lock>, Failure> {
    read(project, &project.lock())
}

/// As [`read_lock`], the lock of what a shadow boot takes.
///
/// # Errors
/// As there.
pub fn read_shadow_lock(project: &Project) -> Result<Option<Lock>, Failure> {
    read(project, &project.shadow_lock())
}

fn read(project: &Project, path: &Path) -> Result<Option<Lock>, Failure> {
    read_as(project, path, |text| text.parse())
}

/// Reads a lock that is to be completed or made anew: one of the form before will do, and one that was changed.
fn reading(project: &Project, path: &Path) -> Result<Option<Reading>, Failure> {
    read_as(project, path, Lock::reading)
}

fn read_as<T>(
    project: &Project,
    path: &Path,
    parse: impl Fn(&str) -> Result<T, ParseLockError>,
) -> Result<Option<T>, Failure> {
    let text = match files::read_text(path, LARGEST_LOCK) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let unreadable =
        |source| StaleLock::Unreadable { path: shown(path), recipe: shown(&project.path), source };
    Ok(Some(parse(&text).map_err(unreadable)?))
}

/// Reads a lock that no project is around.
///
/// # Errors
/// There is none, or it cannot be read as one.
pub fn read_alone(path: &Path) -> Result<Lock, Failure> {
    let text = files::read_text(path, LARGEST_LOCK)?;
    let recipe = shown(&path.with_extension("toml"));
    let unreadable = |source| StaleLock::Unreadable { path: shown(path), recipe, source };
    Ok(text.parse().map_err(unreadable)?)
}

/// The lock to build from: the one that is there, if it satisfies the recipe.
///
/// # Errors
/// There is none, it is another recipe's, or a key or an input of the project changed since: then it says
/// which. Its packages are known not to fit together.
pub fn satisfied_lock(project: &Project) -> Result<Lock, Failure> {
    let name = project.recipe.name.as_str();
    let lock = satisfied(project, &project.lock(), name, &request(project)?, &inputs(project)?)?;
    rules::judge(project, &lock)?;
    Ok(lock)
}

/// The lock of what a shadow boot takes, if it is there and satisfies both targets.
///
/// # Errors
/// As [`satisfied_lock`].
pub fn satisfied_shadow_lock(project: &Project, shadow: &Target) -> Result<Lock, Failure> {
    let (name, request) = (shadow_name(project), shadow_request(project, shadow));
    satisfied(project, &project.shadow_lock(), &name, &request, &[])
}

fn satisfied(
    project: &Project,
    path: &Path,
    name: &str,
    request: &LockRequest,
    inputs: &[LockedInput],
) -> Result<Lock, Failure> {
    let (shown_path, recipe) = (shown(path), shown(&project.path));
    let Some(lock) = read(project, path)? else {
        return Err(StaleLock::Absent { path: shown_path, recipe }.into());
    };
    if lock.recipe != name {
        let (of, wanted) = (lock.recipe, name.to_owned());
        return Err(StaleLock::OtherRecipe { path: shown_path, recipe, of, wanted }.into());
    }
    if lock.arch != project.target.arch {
        let (of, wanted) = (lock.arch.to_string(), project.target.arch.to_string());
        return Err(StaleLock::OtherArch { path: shown_path, recipe, of, wanted }.into());
    }
    match stale(&lock, request, inputs) {
        stale if stale.is_empty() => Ok(lock),
        stale => {
            let keys = stale.iter().map(|one| place::told(project, one)).collect();
            Err(StaleLock::Keys { path: shown_path, recipe, keys }.into())
        }
    }
}

/// Everything that changed since a lock was made.
fn stale(lock: &Lock, request: &LockRequest, inputs: &[LockedInput]) -> Vec<Stale> {
    [lock.stale_keys(request), lock.stale_inputs(inputs)].concat()
}

/// A path as the user would write it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
