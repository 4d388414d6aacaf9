//! What `lock` does: completes a lock that still says what the project says, or resolves another.

use std::path::PathBuf;

use goni_debian::signature;
use goni_model::lock::{Lock, Reading, SignedFile};
use goni_model::number::to_u64;

use super::{inputs, read, reading, satisfied_shadow_lock, shown};
use crate::archive::ResolveError;
use crate::beside;
use crate::failure::Failure;
use crate::host::files;
use crate::progress::Progress;
use crate::project::Project;
use crate::resolve::{self, Past, Renewal, request};
use crate::rules;
use crate::workshop::{Choices, Workshop};

/// What became of a lock.
#[derive(Debug)]
pub struct Renewed {
    /// Where it is.
    pub path: PathBuf,
    /// What it was; `None`: there was none.
    pub was: Option<Lock>,
    /// What it is.
    pub lock: Lock,
    /// Whether it was written.
    pub written: bool,
}

/// Brings the lock of a project up to date, and that of its shadow boot.
///
/// Where only inputs of the project changed, nothing is fetched and no version moves.
///
/// # Errors
/// A lock that says nothing a lock can say; what resolving raises; a lock that cannot be written.
pub fn renew(
    project: &Project,
    renewal: &Renewal,
    choices: &Choices,
    progress: &dyn Progress,
) -> Result<Vec<Renewed>, Failure> {
    let mut renewed = vec![renew_image(project, renewal, choices, progress)?];
    if let Some(shadow) = &project.shadow {
        let path = project.shadow_lock();
        // A package to update is one of the image; what stands in for its kernel stays.
        let kept = *renewal != Renewal::Everything && satisfied_shadow_lock(project, shadow).is_ok();
        if kept && let Some(lock) = read(project, &path)? {
            renewed.push(Renewed { path, was: Some(lock.clone()), lock, written: false });
        } else {
            let was = reading(project, &path)?.map(|reading| reading.lock);
            let workshop = Workshop::open(choices.clone())?;
            let keep = if *renewal == Renewal::Everything { Renewal::Everything } else { Renewal::Keep };
            let past = was.as_ref().map(|lock| Past { lock, renewal: &keep, believed: true });
            let lock = resolve::resolve_shadow(project, shadow, past, &workshop, progress)?;
            renewed.push(write(path, was, lock)?);
        }
    }
    Ok(renewed)
}

fn renew_image(
    project: &Project,
    renewal: &Renewal,
    choices: &Choices,
    progress: &dyn Progress,
) -> Result<Renewed, Failure> {
    let path = project.lock();
    let found = reading(project, &path)?;
    if *renewal == Renewal::Keep
        && let Some(Reading { lock, outdated, broken: None }) = &found
        && let Some(completed) = completed(project, lock, *outdated, choices, progress)?
    {
        rules::judge(project, &completed)?;
        if completed == *lock && !outdated {
            return Ok(Renewed { path, was: Some(lock.clone()), lock: completed, written: false });
        }
        return write(path, Some(lock.clone()), completed);
    }
    if let Some(broken) = found.as_ref().and_then(|found| found.broken.as_ref()) {
        progress.warn(&format!("`{}`: {broken}; all it says is verified anew", shown(&path)));
    }
    let workshop = Workshop::open(choices.clone())?;
    let past =
        found.as_ref().map(|found| Past { lock: &found.lock, renewal, believed: found.broken.is_none() });
    let lock = resolve::resolve(project, past, &workshop, progress)?;
    write(path, found.map(|found| found.lock), lock)
}

/// A lock with the inputs of the project as they are now, if what it was asked for is still what is asked.
fn completed(
    project: &Project,
    lock: &Lock,
    outdated: bool,
    choices: &Choices,
    progress: &dyn Progress,
) -> Result<Option<Lock>, Failure> {
    let same = lock.recipe == project.recipe.name.as_str() && lock.arch == project.target.arch;
    if !same || !lock.stale_keys(&request(project)?).is_empty() {
        return Ok(None);
    }
    let mut completed = Lock { inputs: inputs(project)?, ..lock.clone() };
    if outdated {
        completed.signed = signed_files(project, lock, &Workshop::open(choices.clone())?, progress)?;
    }
    Ok(Some(completed.canonical().map_err(ResolveError::from)?))
}

/// The signed files of a lock that does not name them, as far as the store has them.
fn signed_files(
    project: &Project,
    lock: &Lock,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Vec<SignedFile>, Failure> {
    let keys = beside::gather(project, workshop)?;
    let mut found = Vec::new();
    for (sha256, path) in workshop.store().entries_beginning(b"-----BEGIN PGP SIGNED MESSAGE-----")? {
        let bytes = files::read_capped(&path, to_u64(signature::MAX_SIZE))?;
        for suite in &lock.suites {
            let keys = resolve::keys(&suite.archive, &keys)?;
            // Of another archive, or another day: not what is looked for.
            let Ok(verified) = signature::verify(&bytes, &keys, workshop.clock().now()) else { continue };
            if verified.digest() == suite.sha256 {
                let (archive, of) = (suite.archive.clone(), suite.suite.clone());
                found.push(SignedFile { archive, suite: of, file: "InRelease".to_owned(), sha256 });
            }
        }
    }
    found.sort();
    found.dedup_by(|a, b| (&a.archive, &a.suite) == (&b.archive, &b.suite));
    for suite in &lock.suites {
        if !found.iter().any(|it| it.archive == suite.archive && it.suite == suite.suite) {
            progress.warn(&format!(
                "the signed file of `{}` that the lock was made from is not in the store: it is locked at the next `lock --update`",
                suite.suite
            ));
        }
    }
    Ok(found)
}

fn write(path: PathBuf, was: Option<Lock>, lock: Lock) -> Result<Renewed, Failure> {
    files::replace(&path, lock.to_string().as_bytes(), 0o644)?;
    Ok(Renewed { path, was, lock, written: true })
}
