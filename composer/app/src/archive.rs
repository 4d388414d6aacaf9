//! Indexes of archives come into the store: what a mirror says becomes what Debian signed.
//!
//! For each suite the InRelease file is fetched and verified with the keys of its archive, its dates
//! are checked, and every index is fetched by the digest that the signed text gives it. A mirror
//! may be renewed between the two; then the suite is begun anew, once. The InRelease file stays in the
//! store as evidence of what a lock was made from.
//!
//! What verification and freshness mean is [`goni_debian`]'s business; what the packages are, too.

mod resolve;
mod twins;

use std::io::Write as _;
use std::path::PathBuf;

use goni_debian::index::{DecompressError, MAX_INDEX};
use goni_debian::release::{Freshness, FreshnessError, IndexFile, Release, ReleaseError, ReleaseFile};
use goni_debian::signature::{self, Fingerprint, Keyring, SignatureError, Verified};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::LockedSuite;
use goni_model::number::to_u64;
use goni_model::recipe::KeyWeakness;

use crate::failure::{Class, Classify};
use crate::host::fetch::{FetchError, Request, Size};
use crate::host::files::{self, FileError};
use crate::host::mirror::MirrorError;
use crate::host::store::StoreError;
use crate::stages::fetch::{Sources, in_parallel};

pub use self::resolve::{Kept, ResolveError, resolve};
pub use self::twins::twins;

/// A suite that is asked for.
#[derive(Debug, Clone)]
pub struct SuiteRequest {
    /// The archive it belongs to: `debian`, `debian-security`, a vendor's.
    pub archive: String,
    /// The suite: `trixie-updates`.
    pub suite: String,
    /// Its components: `main`.
    pub components: Vec<String>,
    /// The keys that may sign it.
    pub keys: Keyring,
    /// What its dates are measured against.
    pub freshness: Freshness,
    /// The architectures whose packages are wanted.
    pub arches: Vec<Arch>,
}

/// A suite as its archive signed it, all files in the store.
#[derive(Debug, Clone)]
pub struct SuiteSnapshot {
    /// What a lock says of it.
    pub locked: LockedSuite,
    /// The signed text.
    pub release: Release,
    /// Who signed it.
    pub signers: Vec<Fingerprint>,
    /// What had to be accepted of the key that did.
    pub waived: Vec<KeyWeakness>,
    /// The signed files as they came, by name and digest: `InRelease`, or `Release` and `Release.gpg`.
    pub evidence: Vec<(&'static str, Sha256Digest)>,
    /// The index of packages of each architecture and component, in the order asked for.
    pub indexes: Vec<Index>,
}

/// A verified index, decompressed.
#[derive(Debug, Clone)]
pub struct Index {
    /// The component it lists.
    pub component: String,
    /// The architecture it is for.
    pub arch: Arch,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Where it is.
    pub path: PathBuf,
}

/// A suite that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("reading `{object}` of archive `{archive}`")]
pub struct ArchiveError {
    /// The archive.
    archive: String,
    /// The file, below the mirror.
    object: String,
    source: Box<Cause>,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum Cause {
    Mirror(#[from] MirrorError),
    Fetch(#[from] FetchError),
    Store(#[from] StoreError),
    Signature(#[from] SignatureError),
    Release(#[from] ReleaseError),
    Freshness(#[from] FreshnessError),
    Decompress(#[from] DecompressError),
    File(#[from] FileError),
}

impl ArchiveError {
    /// Whether a mirror that is just being renewed would look like this.
    fn may_be_renewal(&self) -> bool {
        match &*self.source {
            Cause::Fetch(error) => {
                error.is_absent() || matches!(error, FetchError::TooLong { .. } | FetchError::TooShort { .. })
            }
            Cause::Store(error) => matches!(error, StoreError::WrongDigest { .. }),
            _ => false,
        }
    }
}

impl Classify for ArchiveError {
    fn class(&self) -> Class {
        match &*self.source {
            Cause::Mirror(error) => error.class(),
            Cause::Fetch(error) => error.class(),
            Cause::Store(error) => error.class(),
            Cause::File(error) => error.class(),
            Cause::Signature(_) | Cause::Release(_) | Cause::Freshness(_) | Cause::Decompress(_) => {
                Class::Trust
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match &*self.source {
            Cause::Mirror(error) => error.hint(),
            Cause::Fetch(error) => error.hint(),
            Cause::Store(error) => error.hint(),
            Cause::Freshness(FreshnessError::TooOld { .. }) if !self.archive.starts_with("debian") => {
                let archive = &self.archive;
                Some(format!("say max-age = DAYS in [[archive]] `{archive}`, if its vendor signs seldom"))
            }
            Cause::Freshness(_) => {
                Some("set this machine's clock, or try another mirror with --mirror".into())
            }
            Cause::File(error) => error.hint(),
            Cause::Signature(SignatureError::Weak { archive, weaknesses }) => {
                let words: Vec<String> = weaknesses.iter().map(|it| format!("\"{}\"", it.name())).collect();
                let words = words.join(", ");
                Some(format!(
                    "say weak-key = {{ accept = [{words}], reason = \"…\" }} in [[archive]] `{archive}`, if you accept that"
                ))
            }
            Cause::Signature(_) | Cause::Release(_) | Cause::Decompress(_) => None,
        }
    }
}

/// Brings suites into the store, several at a time; returns them in the order asked for.
///
/// # Errors
/// The first suite that could not be had.
pub fn fetch_suites(
    requests: &[SuiteRequest],
    sources: Sources<'_>,
) -> Result<Vec<SuiteSnapshot>, ArchiveError> {
    in_parallel(requests, |request| match fetch_suite(request, sources) {
        Err(error) if error.may_be_renewal() => fetch_suite(request, sources),
        result => result,
    })
}

fn fetch_suite(request: &SuiteRequest, sources: Sources<'_>) -> Result<SuiteSnapshot, ArchiveError> {
    let folder = format!("dists/{}", request.suite);
    let failed = |object: &str| {
        let (archive, object) = (request.archive.clone(), object.to_owned());
        move |source: Cause| ArchiveError { archive, object, source: Box::new(source) }
    };
    let path = format!("{folder}/InRelease");
    let (release, verified, evidence) = fetch_release(request, &folder, sources).map_err(failed(&path))?;
    let index = |(arch, component): (Arch, &String)| {
        let file = release.packages_index(component, arch).map_err(|error| failed(&path)(error.into()))?;
        let name = format!("{folder}/{}", file.name);
        let plain = release.file(file.name.trim_end_matches(file.compression.ending())).copied();
        let (sha256, path) =
            unpacked_index(request, &folder, &file, plain, sources).map_err(failed(&name))?;
        Ok(Index { component: component.clone(), arch, sha256, path })
    };
    let wanted = request.arches.iter().flat_map(|arch| request.components.iter().map(move |it| (*arch, it)));
    let indexes = wanted.map(index).collect::<Result<_, _>>()?;
    let locked = LockedSuite {
        archive: request.archive.clone(),
        suite: request.suite.clone(),
        codename: release.name().to_owned(),
        date: u64::try_from(release.date.seconds).unwrap_or(0),
        sha256: release.digest,
    };
    let (signers, waived) = (verified.signers().to_vec(), verified.waived().to_vec());
    Ok(SuiteSnapshot { locked, release, signers, waived, evidence, indexes })
}

/// The signed files of a suite, by name.
type Evidence = Vec<(&'static str, Sha256Digest)>;

/// The Release file and how it was signed: in one file, or beside it where a vendor has only that.
fn fetch_release(
    request: &SuiteRequest,
    folder: &str,
    sources: Sources<'_>,
) -> Result<(Release, Verified, Evidence), Cause> {
    let fetch = |name: &str| -> Result<Vec<u8>, Cause> {
        let url = sources.mirrors.url(&request.archive, &format!("{folder}/{name}"))?;
        let mut bytes = Vec::new();
        let size = Size::AtMost(to_u64(signature::MAX_SIZE));
        sources.fetch.fetch(&Request { url, size }, &mut bytes)?;
        Ok(bytes)
    };
    let now = request.freshness.now;
    let (verified, files) = match fetch("InRelease") {
        Err(Cause::Fetch(error)) if error.is_absent() => {
            let Ok(signature) = fetch("Release.gpg") else { return Err(error.into()) };
            let bytes = fetch("Release")?;
            let verified = signature::verify_detached(&bytes, &signature, &request.keys, now)?;
            (verified, vec![("Release", bytes), ("Release.gpg", signature)])
        }
        fetched => {
            let bytes = fetched?;
            (signature::verify(&bytes, &request.keys, now)?, vec![("InRelease", bytes)])
        }
    };
    let release = Release::parse(&verified)?;
    release.require_suite(&request.suite)?;
    release.check_freshness(&request.freshness)?;
    let keep = |(name, bytes): (_, Vec<u8>)| Ok((name, sources.store.insert(&bytes)?.0));
    let evidence = files.into_iter().map(keep).collect::<Result<_, Cause>>()?;
    Ok((release, verified, evidence))
}

/// The decompressed index: from the store if the signed text names its digest, as Debian's does.
fn unpacked_index(
    request: &SuiteRequest,
    folder: &str,
    index: &IndexFile,
    plain: Option<ReleaseFile>,
    sources: Sources<'_>,
) -> Result<(Sha256Digest, PathBuf), Cause> {
    if let Some(plain) = plain
        && let Some(path) = sources.store.lookup(&plain.sha256, sources.progress)?
    {
        return Ok((plain.sha256, path));
    }
    let packed = fetch_index(request, folder, index, sources)?;
    let bytes = index.compression.decompress(&files::read_capped(&packed, MAX_INDEX)?, index.unpacked)?;
    let mut incoming = sources.store.incoming()?;
    incoming.write_all(&bytes).map_err(FileError::io("decompressing", &packed))?;
    match plain {
        Some(plain) => Ok((plain.sha256, incoming.commit_as(&plain.sha256)?)),
        None => Ok(incoming.commit()?),
    }
}

fn fetch_index(
    request: &SuiteRequest,
    folder: &str,
    index: &IndexFile,
    sources: Sources<'_>,
) -> Result<PathBuf, Cause> {
    if let Some(path) = sources.store.lookup(&index.file.sha256, sources.progress)? {
        return Ok(path);
    }
    let fetch = |path: &str| -> Result<PathBuf, Cause> {
        let url = sources.mirrors.url(&request.archive, &format!("{folder}/{path}"))?;
        if index.file.size > MAX_INDEX {
            return Err(FetchError::TooLong { url: Box::new(url), cap: MAX_INDEX }.into());
        }
        let mut incoming = sources.store.incoming()?;
        sources.fetch.fetch(&Request { url, size: Size::Exactly(index.file.size) }, &mut incoming)?;
        Ok(incoming.commit_as(&index.file.sha256)?)
    };
    match fetch(&index.path) {
        // A partial mirror may leave out the names by digest; the digest decides either way.
        Err(Cause::Fetch(error)) if error.is_absent() && index.path != index.name => fetch(&index.name),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use goni_model::time::Timestamp;

    use super::*;
    use crate::host::fetch::{Fetch, Refusing, Sink};
    use crate::host::mirror::Mirrors;
    use crate::host::store::Store;
    use crate::progress::Silent;

    /// Answers everything with the same bytes.
    struct Always(&'static [u8]);

    impl Fetch for Always {
        fn fetch(&self, _: &Request, sink: &mut dyn Sink) -> Result<u64, FetchError> {
            sink.write_all(self.0).unwrap();
            Ok(to_u64(self.0.len()))
        }
    }

    fn refusal(fetch: &dyn Fetch) -> ArchiveError {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::open(cache.path()).unwrap();
        let mirrors = Mirrors::debian("http://m.example.org/debian", None).unwrap();
        let request = SuiteRequest {
            archive: "debian".into(),
            suite: "trixie".into(),
            components: vec!["main".into()],
            keys: Keyring::debian().unwrap(),
            freshness: Freshness::at(Timestamp::from_seconds(1_790_000_000)),
            arches: vec![Arch::Amd64],
        };
        let sources = Sources { mirrors: &mirrors, store: &store, fetch, progress: &Silent };
        fetch_suites(&[request], sources).unwrap_err()
    }

    #[test]
    fn a_page_that_is_no_release_is_a_matter_of_trust() {
        let error = refusal(&Always(b"<html>please log in</html>"));
        assert_eq!(error.to_string(), "reading `dists/trixie/InRelease` of archive `debian`");
        assert_eq!(error.class(), Class::Trust);
    }

    #[test]
    fn an_archive_out_of_reach_is_named() {
        let error = refusal(&Refusing);
        assert_eq!(error.to_string(), "reading `dists/trixie/InRelease` of archive `debian`");
        assert_eq!(error.class(), Class::Environment);
        assert_eq!(error.hint().unwrap(), "run once without --offline");
    }
}
