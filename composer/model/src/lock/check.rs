//! What makes a lock a lock: order, uniqueness, and names that stay inside their archive.

use super::{LOCAL, Lock, LockedId, LockedInput, LockedPackage, LockedSuite, RequestedArchive, SignedFile};
use crate::arch::Arch;

/// Longest package name accepted, in bytes; the longest in Debian is under 100.
const MAX_NAME: usize = 200;
/// Longest path below an archive accepted, in bytes.
const MAX_PATH: usize = 1024;
/// Last source date accepted: 2^33 seconds, the year 2242. Later is a slip of the clock.
const MAX_DATE: u64 = 1 << 33;

/// What is wrong with a lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A value is not of its kind.
    #[error("{place}: `{value}` {fault}")]
    Value {
        /// Where: a key, or a package and its key.
        place: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A list is not in its order, or says something twice.
    #[error("{list}: `{second}` after `{first}` is out of order or twice")]
    Order {
        /// The list.
        list: &'static str,
        /// What comes first.
        first: String,
        /// What comes second.
        second: String,
    },
    /// A package comes from an archive the lock has no Release file of.
    #[error("package `{package}` comes from archive `{archive}`, of which the lock has no suite")]
    UnknownArchive {
        /// The package.
        package: String,
        /// The archive.
        archive: String,
    },
    /// The source date is not the newest Release date.
    #[error("source date {source_date} is not the newest date among the suites, {newest}")]
    SourceDate {
        /// As the lock says.
        source_date: u64,
        /// As its suites say.
        newest: u64,
    },
}

/// What is wrong with the name of a binary package. Source: Debian Policy §5.6.1.
#[must_use]
pub fn package_name_fault(name: &str) -> Option<&'static str> {
    let Some(first) = name.bytes().next() else { return Some("is empty") };
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    if name.len() < 2 {
        Some("is too short for a package name")
    } else if name.len() > MAX_NAME {
        Some("is too long for a package name")
    } else if !(first.is_ascii_lowercase() || first.is_ascii_digit()) {
        Some("does not start with a lowercase letter or a digit")
    } else if !name.bytes().all(inside) {
        Some("has characters other than a-z 0-9 + - .")
    } else {
        None
    }
}

/// What is wrong with a path below an archive: it must stay below, on any server and file system.
///
/// Percent signs are refused with the rest, so that no server can decode a `..` we did not see.
#[must_use]
pub fn archive_path_fault(path: &str) -> Option<&'static str> {
    let inside = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'/' | b'.' | b'-' | b'_' | b'+' | b'~' | b':' | b',' | b'=' | b'@')
    };
    if path.is_empty() {
        Some("is empty")
    } else if path.len() > MAX_PATH {
        Some("is too long for a path")
    } else if path.starts_with('/') {
        Some("is an absolute path")
    } else if !path.bytes().all(inside) {
        Some("has characters no path in an archive needs")
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("has an empty, `.` or `..` component")
    } else {
        None
    }
}

/// What is wrong with the name of an archive, a suite, a codename or a component.
fn word_fault(word: &str) -> Option<&'static str> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'+');
    match archive_path_fault(word) {
        Some(fault) => Some(fault),
        None if !word.bytes().all(inside) => Some("has characters other than letters, digits, . - _ + /"),
        None => None,
    }
}

/// What is wrong with text a person wrote into a recipe: it must be writable between quotes as it is.
fn phrase_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if !text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\') {
        Some("has characters other than printable ASCII without quotes and backslashes")
    } else {
        None
    }
}

/// What is wrong with a version's characters; their order is for the archive's own reader to judge.
fn version_fault(version: &str) -> Option<&'static str> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':');
    if version.is_empty() {
        Some("is empty")
    } else if !version.bytes().all(inside) {
        Some("has characters other than letters, digits, . + - ~ :")
    } else {
        None
    }
}

/// What is wrong with the name of a user or a group, as a line of its file must be able to hold it.
fn account_fault(name: &str) -> Option<&'static str> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'$');
    match name.is_empty() || !name.bytes().all(inside) {
        true => Some("is no name of a user or a group"),
        false => None,
    }
}

/// What is wrong, and where: in which list, and at which of its items, from zero.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) list: &'static str,
    pub(super) item: Option<usize>,
    pub(super) error: LockError,
}

fn value(place: impl Into<String>, value: &str, fault: Option<&'static str>) -> Result<(), LockError> {
    match fault {
        Some(fault) => Err(LockError::Value { place: place.into(), value: value.to_owned(), fault }),
        None => Ok(()),
    }
}

/// Every neighbour strictly greater than the one before.
fn ordered<T>(list: &'static str, items: &[T], key: impl Fn(&T) -> String) -> Result<(), Found> {
    for (before, pair) in items.windows(2).enumerate() {
        let [first, second] = pair else { continue };
        let (first, second) = (key(first), key(second));
        if first >= second {
            let error = LockError::Order { list, first, second };
            return Err(Found { list, item: before.checked_add(1), error });
        }
    }
    Ok(())
}

/// Each item right.
fn each<T>(
    list: &'static str,
    items: &[T],
    check: impl Fn(&T) -> Result<(), LockError>,
) -> Result<(), Found> {
    let checked = |(item, one)| check(one).map_err(|error| Found { list, item: Some(item), error });
    items.iter().enumerate().try_for_each(checked)
}

/// Checks a whole lock.
pub(super) fn check(lock: &Lock) -> Result<(), Found> {
    let head = |list| move |error| Found { list, item: None, error };
    value("recipe", &lock.recipe, word_fault(&lock.recipe)).map_err(head("recipe"))?;
    request(lock)?;
    ordered("suites", &lock.suites, |suite| format!("{} {}", suite.archive, suite.suite))?;
    each("suites", &lock.suites, suite)?;
    let newest = lock.suites.iter().map(|suite| suite.date).max().unwrap_or(0);
    if lock.source_date != newest {
        let error = LockError::SourceDate { source_date: lock.source_date, newest };
        return Err(head("source_date")(error));
    }
    ordered("signed", &lock.signed, |it| format!("{} {} {}", it.archive, it.suite, it.file))?;
    each("signed", &lock.signed, |one| signed(lock, one))?;
    ordered("inputs", &lock.inputs, |input| format!("{} {}", input.kind, input.name))?;
    each("inputs", &lock.inputs, input)?;
    ordered("ids", &lock.ids, |id| format!("{} {}", id.kind, id.name))?;
    each("ids", &lock.ids, account)?;
    for (list, packages) in [("packages", &lock.packages), ("build", &lock.build)] {
        ordered(list, packages, |package| package.name.clone())?;
        each(list, packages, |one| package(lock, one))?;
    }
    ordered("twins", &lock.twins, |package| package.name.clone())?;
    each("twins", &lock.twins, |one| twin(lock, one))
}

fn signed(lock: &Lock, one: &SignedFile) -> Result<(), LockError> {
    let known = matches!(one.file.as_str(), "InRelease" | "Release" | "Release.gpg");
    value("signed", &one.file, (!known).then_some("is no signed file of an archive"))?;
    let of = lock.suites.iter().any(|suite| suite.archive == one.archive && suite.suite == one.suite);
    value("signed", &one.suite, (!of).then_some("is no suite of the lock"))
}

fn input(one: &LockedInput) -> Result<(), LockError> {
    value("inputs", &one.name, phrase_fault(&one.name))
}

fn account(one: &LockedId) -> Result<(), LockError> {
    value("ids", &one.name, account_fault(&one.name))
}

fn request(lock: &Lock) -> Result<(), Found> {
    let request = &lock.request;
    for (place, list) in [
        ("request.packages", &request.packages),
        ("request.exclude", &request.exclude),
        ("request.provided", &request.provided),
        ("request.dkms", &request.dkms),
        ("request.local", &request.local),
    ] {
        ordered(place, list, String::clone)?;
        each(place, list, |text| value(place, text, phrase_fault(text)))?;
    }
    ordered("request.archives", &request.archives, |archive| archive.name.clone())?;
    each("request.archives", &request.archives, archive)
}

fn archive(archive: &RequestedArchive) -> Result<(), LockError> {
    value("request.archives", &archive.name, word_fault(&archive.name))?;
    for (place, list) in [
        ("request.archives.suites", &archive.suites),
        ("request.archives.components", &archive.components),
        ("request.archives.allow", &archive.allow),
        ("request.archives.keys", &archive.keys),
        ("request.archives.replace", &archive.replace),
        ("request.archives.weak", &archive.weak),
    ] {
        ordered(place, list, String::clone).map_err(|found| found.error)?;
        list.iter().try_for_each(|text| value(place, text, phrase_fault(text)))?;
    }
    for (package, depends) in &archive.depends {
        value("request.archives.depends", package, package_name_fault(package))?;
        let fault = phrase_fault(depends).filter(|_| !depends.is_empty());
        value("request.archives.depends", depends, fault)?;
    }
    Ok(())
}

fn suite(suite: &LockedSuite) -> Result<(), LockError> {
    for text in [&suite.archive, &suite.suite, &suite.codename] {
        value("suites", text, word_fault(text))?;
    }
    let late = (suite.date > MAX_DATE).then_some("is past the year 2242");
    value(format!("suite {}", suite.suite), &suite.date.to_string(), late)
}

fn package(lock: &Lock, package: &LockedPackage) -> Result<(), LockError> {
    described("packages", package)?;
    let foreign = (package.arch != "all" && package.arch != lock.arch.debian())
        .then_some("is neither `all` nor the architecture of the lock");
    value(format!("package `{}`", package.name), &package.arch, foreign)?;
    from_a_suite(lock, package)
}

/// A twin is what the image has too, of another architecture.
fn twin(lock: &Lock, twin: &LockedPackage) -> Result<(), LockError> {
    described("twins", twin)?;
    let place = || format!("twin `{}`", twin.name);
    let known = twin.arch.parse::<Arch>().is_ok_and(|arch| arch != lock.arch);
    value(place(), &twin.arch, (!known).then_some("is no architecture other than that of the lock"))?;
    let of = lock.packages.iter().find(|package| package.name == twin.name && package.arch != "all");
    value("twins", &twin.name, of.is_none().then_some("is no package of the image's architecture"))?;
    let same = of.is_some_and(|of| without_rebuild(&of.version) == without_rebuild(&twin.version));
    value(place(), &twin.version, (!same).then_some("is not the version of the image's package"))?;
    from_a_suite(lock, twin)
}

/// The version of the source that a version was built from: a package that was only built again, for
/// one architecture, bears `+b` and a number. Source: Debian Developer's Reference, 5.10.2.1.
#[must_use]
pub fn without_rebuild(version: &str) -> &str {
    match version.rsplit_once("+b") {
        Some((source, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => source,
        _ => version,
    }
}

/// What is wrong with a package whatever its architecture.
fn described(list: &'static str, package: &LockedPackage) -> Result<(), LockError> {
    let place = || format!("package `{}`", package.name);
    value(list, &package.name, package_name_fault(&package.name))?;
    value(place(), &package.version, version_fault(&package.version))?;
    value(place(), &package.path, archive_path_fault(&package.path))?;
    value(place(), &package.size.to_string(), (package.size == 0).then_some("is no size of a package"))
}

fn from_a_suite(lock: &Lock, package: &LockedPackage) -> Result<(), LockError> {
    if package.archive != LOCAL && !lock.suites.iter().any(|suite| suite.archive == package.archive) {
        return Err(LockError::UnknownArchive {
            package: package.name.clone(),
            archive: package.archive.clone(),
        });
    }
    Ok(())
}
