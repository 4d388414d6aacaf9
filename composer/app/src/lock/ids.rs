//! The ids of a finished tree, held against the ledger of its lock.
//!
//! Maintainer scripts take the next free number, so another set of packages can give a service another one.
//! On a device that was updated its files would then be somebody else's. What a number was given for is kept in
//! the lock, from the first build on; a build in which one differs is refused.

use std::path::PathBuf;

use goni_disk::tree::{ContentSource, FileTree, Kind, TreePath};
use goni_model::lock::Lock;
use goni_model::lock::ledger::{self, Drift};

use crate::archive::ResolveError;
use crate::failure::{Class, Classify, Failure};
use crate::host::files;
use crate::progress::Progress;
use crate::project::Project;

/// Account files are a few kilobytes.
const LARGEST: u64 = 16 << 20;

/// Why ids are refused.
#[derive(Debug, thiserror::Error)]
enum IdError {
    #[error("ids differ from those in `{path}`: {}", drift.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Drift { path: String, recipe: String, drift: Vec<Drift> },
    #[error("reading `/{path}` of the tree")]
    Read { path: &'static str, source: std::io::Error },
}

impl Classify for IdError {
    fn class(&self) -> Class {
        Class::Content
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Drift { path, drift, .. } if drift.iter().any(Drift::takes_a_reserved_id) => Some(format!(
                "give the newcomer an id of its own; or, if no device has files of the former owner, remove that line of `{path}` and run goni-compose lock"
            )),
            Self::Drift { recipe, .. } => Some(format!(
                "goni-compose build --accept-ids {recipe}, if no device in use has files of these"
            )),
            Self::Read { .. } => None,
        }
    }
}

/// A lock with the ids of a finished tree, to be written once the image is there.
#[derive(Debug)]
pub struct Completed {
    path: PathBuf,
    /// What the image was built from.
    was: Lock,
    lock: Lock,
    note: String,
}

impl Completed {
    /// The lock.
    #[must_use]
    pub const fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Writes the lock, and says what changed in it; one that is another by now stays as it is.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn write(&self, progress: &dyn Progress) -> Result<(), Failure> {
        if files::read_capped(&self.path, LARGEST)? != self.was.to_string().as_bytes() {
            let path = self.path.display();
            progress.warn(&format!(
                "`{path}` was changed during the build, and has not got its ids: build again"
            ));
            return Ok(());
        }
        files::replace(&self.path, self.lock.to_string().as_bytes(), 0o644)?;
        progress.warn(&self.note);
        Ok(())
    }
}

/// Holds the ids of a tree against the ledger of a lock; completes one that has none, or that shall take them.
///
/// # Errors
/// An id that is not as the ledger has it, unless that is accepted; account files that cannot be read.
pub fn check(
    project: &Project,
    was: &Lock,
    (tree, contents): (&FileTree, &dyn ContentSource),
    accept: bool,
) -> Result<Option<Completed>, Failure> {
    let text =
        |path: &'static str| read(tree, contents, path).map_err(|source| IdError::Read { path, source });
    let found = ledger::ids(&text("etc/passwd")?, &text("etc/group")?);
    let drift = ledger::drift(&was.ids, &found);
    let path = project.lock();
    let shown = path.display().to_string();
    let note = match (was.ids.is_empty(), drift.is_empty()) {
        (true, _) => format!("`{shown}` had no ids of users and groups: it has those of this image now"),
        (false, true) => return Ok(None),
        (false, false) if accept && !drift.iter().any(Drift::takes_a_reserved_id) => {
            let told: Vec<String> = drift.iter().map(ToString::to_string).collect();
            format!("`{shown}` has other ids now: {}", told.join("; "))
        }
        (false, false) => {
            let recipe = project.path.display().to_string();
            return Err(IdError::Drift { path: shown, recipe, drift }.into());
        }
    };
    let completed = Lock { ids: ledger::accept(&was.ids, &found), ..was.clone() };
    let lock = completed.canonical().map_err(ResolveError::from)?;
    Ok(Some(Completed { path, was: was.clone(), lock, note }))
}

fn read(tree: &FileTree, contents: &dyn ContentSource, path: &str) -> std::io::Result<String> {
    let absent = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let place =
        TreePath::parse(path.as_bytes()).ok().and_then(|path| tree.resolve(&path)).ok_or_else(absent)?;
    let Some(Kind::File(content)) = tree.get(&place).map(|inode| &inode.kind) else { return Err(absent()) };
    if content.size() > LARGEST {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let mut text = String::new();
    content.open(contents)?.read_to_string(&mut text)?;
    Ok(text)
}
