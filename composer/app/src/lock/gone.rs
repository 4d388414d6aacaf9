//! A locked package that its archive has no longer: which, and since when.

use goni_debian::release::iso;
use goni_model::lock::Lock;

use crate::failure::{Class, Classify, Failure};
use crate::progress::Progress;
use crate::project::Project;
use crate::resolve;
use crate::stages::fetch::FetchPackageError;
use crate::workshop::Workshop;

/// A package that is gone.
#[derive(Debug, thiserror::Error)]
#[error("archive `{archive}` no longer has `{package}`: it had it on {then}, the day of the lock, {since}")]
struct Gone {
    package: String,
    name: String,
    archive: String,
    recipe: String,
    then: String,
    since: String,
    source: FetchPackageError,
}

impl Classify for Gone {
    fn class(&self) -> Class {
        Class::Environment
    }

    fn hint(&self) -> Option<String> {
        let Self { name, recipe, .. } = self;
        Some(format!(
            "name an archive of old packages with --fallback-mirror; or take today's: goni-compose lock --update {name} {recipe}"
        ))
    }
}

/// The failure of fetching packages of a lock; of one that is gone it says since when.
pub fn explain(
    project: &Project,
    lock: &Lock,
    error: FetchPackageError,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Failure {
    let package = lock.packages.iter().chain(&lock.build).chain(&lock.twins);
    let Some(package) =
        package.into_iter().find(|it| it.sha256 == *error.digest()).filter(|_| error.is_gone())
    else {
        return error.into();
    };
    let of_archive = lock.suites.iter().filter(|suite| suite.archive == package.archive);
    let date = |seconds: u64| i64::try_from(seconds).map(iso).unwrap_or_default();
    let today = resolve::date_today(project, lock, &package.archive, workshop, progress);
    Gone {
        package: format!("{}={}", package.name, package.version),
        name: package.name.clone(),
        archive: package.archive.clone(),
        recipe: project.path.display().to_string(),
        then: date(of_archive.map(|suite| suite.date).max().unwrap_or(lock.source_date)),
        // Where even that cannot be had, the mirror is what is wrong, not the package's age.
        since: match today {
            Some(today) => format!("and is of {} now", date(today)),
            None => "and its date cannot be had now".to_owned(),
        },
        source: error,
    }
    .into()
}
