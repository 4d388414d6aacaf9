//! The packages of a lock come into the store.
//!
//! What is there already is verified, what is not is fetched, several at a time. Which bytes a
//! package has is the lock's word alone: size first, digest last.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use goni_model::digest::Sha256Digest;
use goni_model::lock::LockedPackage;
use reqwest::Url;

use crate::failure::{Class, Classify};
use crate::host::fetch::{Fetch, FetchError, Request, Sink, Size};
use crate::host::mirror::{MirrorError, Mirrors};
use crate::host::store::{Store, StoreError};
use crate::progress::{Progress, Unit};

/// Connections at a time. Mirrors frown on many, and six already fill a line that one does not.
const CONNECTIONS: usize = 6;

/// The name of this stage where progress is told.
const STAGE: &str = "fetch";

/// Where packages come from and go to.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Where each archive is.
    pub mirrors: &'a Mirrors,
    /// Where the bytes go.
    pub store: &'a Store,
    /// How they come.
    pub fetch: &'a dyn Fetch,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mirrors, store, .. } = self;
        f.debug_struct("Sources").field("mirrors", mirrors).field("store", store).finish_non_exhaustive()
    }
}

/// A package that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("fetching {package} (SHA-256 {digest})")]
pub struct FetchPackageError {
    /// The package, `name=version`.
    package: String,
    digest: Sha256Digest,
    source: Box<Cause>,
}

/// Why it could not.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum Cause {
    Mirror(#[from] MirrorError),
    Fetch(#[from] FetchError),
    Store(#[from] StoreError),
}

impl Cause {
    fn classify(&self) -> &dyn Classify {
        match self {
            Self::Mirror(error) => error,
            Self::Fetch(error) => error,
            Self::Store(error) => error,
        }
    }
}

impl FetchPackageError {
    /// The digest of the package.
    #[must_use]
    pub const fn digest(&self) -> &Sha256Digest {
        &self.digest
    }

    /// Whether the archive answered that it does not have the package.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(&*self.source, Cause::Fetch(error) if error.is_absent())
    }
}

impl Classify for FetchPackageError {
    fn class(&self) -> Class {
        self.source.classify().class()
    }

    fn hint(&self) -> Option<String> {
        match self.is_gone() {
            true => Some("archives drop what was superseded: `goni-compose lock --update RECIPE` brings the lock up to date".into()),
            false => self.source.classify().hint(),
        }
    }
}

/// Brings every package into the store; returns each with its file, in the given order.
///
/// # Errors
/// The first package that could not be had; what came before it stays in the store.
pub fn fetch_packages(
    packages: &[LockedPackage],
    sources: Sources<'_>,
) -> Result<Vec<(LockedPackage, PathBuf)>, FetchPackageError> {
    let present = in_parallel(packages, |package| {
        let found = sources.store.lookup(&package.sha256, sources.progress);
        found.map_err(|error| failed(package, error))
    })?;
    let missing: Vec<&LockedPackage> = std::iter::zip(packages, &present)
        .filter_map(|(package, path)| path.is_none().then_some(package))
        .collect();
    let total: u64 = missing.iter().map(|package| package.size).fold(0, u64::saturating_add);
    sources.progress.begin(STAGE, Some(total), Unit::Bytes);
    in_parallel(&missing, |package| fetch_one(package, sources))?;
    let note = match missing.len() {
        0 => format!("{} packages, all at hand", packages.len()),
        count => format!("{count} of {} packages fetched", packages.len()),
    };
    sources.progress.end(STAGE, &note);
    Ok(packages.iter().map(|package| (package.clone(), sources.store.path(&package.sha256))).collect())
}

fn fetch_one(package: &LockedPackage, sources: Sources<'_>) -> Result<(), FetchPackageError> {
    let from = |url: Url| -> Result<(), Cause> {
        let mut incoming = Counting { sink: sources.store.incoming()?, told: 0, sources };
        sources.fetch.fetch(&Request { url, size: Size::Exactly(package.size) }, &mut incoming)?;
        incoming.sink.commit_as(&package.sha256)?;
        Ok(())
    };
    let gone = |cause: &Cause| matches!(cause, Cause::Fetch(error) if error.is_absent());
    let own = sources.mirrors.url(&package.archive, &package.path).map_err(Cause::from).and_then(from);
    let Err(cause) = own else { return Ok(()) };
    if gone(&cause) {
        for url in sources.mirrors.elsewhere(package) {
            match from(url) {
                Err(other) if gone(&other) => {}
                found => return found.map_err(|cause| failed(package, cause)),
            }
        }
    }
    Err(failed(package, cause))
}

fn failed(package: &LockedPackage, cause: impl Into<Cause>) -> FetchPackageError {
    let LockedPackage { name, version, sha256, .. } = package;
    FetchPackageError {
        package: format!("`{name}={version}`"),
        digest: *sha256,
        source: Box::new(cause.into()),
    }
}

/// Tells progress of what goes into the store; bytes that come again are not told again.
struct Counting<'a> {
    sink: crate::host::store::Incoming<'a>,
    told: u64,
    sources: Sources<'a>,
}

impl std::io::Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.sink.write(bytes)?;
        let news = self.sink.length().saturating_sub(self.told);
        self.told = self.told.saturating_add(news);
        self.sources.progress.advance(STAGE, news);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

impl Sink for Counting<'_> {
    fn restart(&mut self) -> std::io::Result<()> {
        self.sink.restart()
    }
}

/// Does the work for every item on a few threads; results in the order of the items.
///
/// After a failure nothing more is begun, and the first failure in the order of the items counts.
pub(crate) fn in_parallel<I: Sync, T: Send, E: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    if result.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::host::fetch::Refusing;
    use crate::host::files;
    use crate::progress::Silent;

    /// Serves what it was told and nothing else; counts how often.
    struct Told {
        bodies: BTreeMap<String, Vec<u8>>,
        count: AtomicUsize,
    }

    impl Fetch for Told {
        fn fetch(&self, request: &Request, sink: &mut dyn Sink) -> Result<u64, FetchError> {
            self.count.fetch_add(1, Ordering::Relaxed);
            let Some(body) = self.bodies.get(request.url.path()) else {
                return Refusing.fetch(request, sink);
            };
            assert_eq!(request.size, Size::Exactly(goni_model::number::to_u64(body.len())));
            sink.restart().unwrap();
            sink.write_all(body).unwrap();
            Ok(request.size.cap())
        }
    }

    fn package(name: &str, bytes: &[u8]) -> LockedPackage {
        LockedPackage {
            name: name.into(),
            version: "1.0-1".into(),
            arch: "amd64".into(),
            archive: "debian".into(),
            path: format!("pool/{name}.deb"),
            size: goni_model::number::to_u64(bytes.len()),
            sha256: Sha256Digest::of(bytes),
        }
    }

    fn told(bodies: &[(&str, &[u8])]) -> Told {
        let bodies = bodies.iter().map(|(name, body)| (format!("/debian/pool/{name}.deb"), body.to_vec()));
        Told { bodies: bodies.collect(), count: AtomicUsize::new(0) }
    }

    fn run(
        packages: &[LockedPackage],
        cache: &Path,
        fetch: &dyn Fetch,
    ) -> Result<Vec<(LockedPackage, PathBuf)>, FetchPackageError> {
        let mirrors = Mirrors::debian("http://m.example.org/debian", None).unwrap();
        let store = Store::open(cache).unwrap();
        fetch_packages(packages, Sources { mirrors: &mirrors, store: &store, fetch, progress: &Silent })
    }

    #[test]
    fn packages_come_in_order_and_only_once() {
        let cache = tempfile::tempdir().unwrap();
        let packages = [package("b", b"bb"), package("a", b"a"), package("c", b"")];
        let server = told(&[("a", b"a"), ("b", b"bb"), ("c", b"")]);
        let fetched = run(&packages, cache.path(), &server).unwrap();
        let names: Vec<&str> = fetched.iter().map(|(package, _)| package.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert_eq!(files::read_capped(&fetched[0].1, 2).unwrap(), b"bb");
        assert_eq!(server.count.load(Ordering::Relaxed), 3);
        assert_eq!(run(&packages, cache.path(), &Refusing).unwrap(), fetched);
    }

    #[test]
    fn a_damaged_package_is_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        let packages = [package("a", b"a"), package("b", b"b")];
        let server = told(&[("a", b"a"), ("b", b"b")]);
        let fetched = run(&packages, cache.path(), &server).unwrap();
        files::replace(&fetched[1].1, b"x", 0o644).unwrap();
        assert_eq!(run(&packages, cache.path(), &server).unwrap(), fetched);
        assert_eq!(files::read_capped(&fetched[1].1, 1).unwrap(), b"b");
        assert_eq!(server.count.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn offline_names_the_package_that_is_missing() {
        let cache = tempfile::tempdir().unwrap();
        let error = run(&[package("a", b"a")], cache.path(), &Refusing).unwrap_err();
        assert_eq!(error.to_string(), format!("fetching `a=1.0-1` (SHA-256 {})", Sha256Digest::of(b"a")));
        assert_eq!(error.class(), Class::Environment);
        assert_eq!(error.hint().unwrap(), "run once without --offline");
    }

    #[test]
    fn forged_bytes_are_refused_and_not_kept() {
        let cache = tempfile::tempdir().unwrap();
        let packages = [package("a", b"genuine")];
        let error = run(&packages, cache.path(), &told(&[("a", b"forged!")])).unwrap_err();
        assert_eq!(error.class(), Class::Trust);
        assert!(Store::open(cache.path()).unwrap().lookup(&packages[0].sha256, &Silent).unwrap().is_none());
        assert!(files::list(&cache.path().join("store/unfinished"), &[""]).unwrap().is_empty());
    }

    #[test]
    fn a_path_of_a_lock_cannot_leave_its_mirror() {
        let cache = tempfile::tempdir().unwrap();
        let mut climbing = package("a", b"a");
        climbing.path = "../../etc/passwd".into();
        let error = run(&[climbing], cache.path(), &told(&[])).unwrap_err();
        assert_eq!(error.class(), Class::Trust);
    }
}
