//! What a project takes beside Debian: vendors' archives, and loose packages of its own.
//!
//! Where they are, whose keys count, and what a lock remembers of them. Loose packages are read here and
//! become an index as an archive would have it, so that the solver treats all alike.

use std::collections::BTreeMap;
use std::path::Path;

use goni_debian::deb::{Control, Deb, DebError};
use goni_debian::signature::{Fingerprint, FingerprintError, Keyring, KeyringError};
use goni_debian::solve::glob;
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::{LOCAL, Lock, LockedPackage, RequestedArchive};
use goni_model::recipe::{Archive, KeySource};
use reqwest::Url;

use crate::failure::{Class, Classify, Failure};
use crate::host::contents;
use crate::host::fetch::Request;
use crate::host::files::{self, FileError};
use crate::host::mirror::Mirrors;
use crate::host::plant::open_package;
use crate::progress::Progress;
use crate::project::Project;
use crate::workshop::Workshop;

/// The largest file of keys: a few kilobytes each.
const LARGEST_KEYS: u64 = 1 << 20;

/// What resolving needs to know beside a request.
#[derive(Debug, Default)]
pub struct Beside {
    /// The keys of each vendor's archive, by its name.
    pub keys: BTreeMap<String, Keyring>,
    /// How old, in seconds, archives may be whose recipe says so.
    pub max_ages: BTreeMap<String, u64>,
    /// The loose packages as an index.
    pub local: String,
    /// The loose packages as wishes: each comes in.
    pub wishes: Vec<String>,
}

/// What is wrong with a vendor's archive or a loose package.
#[derive(Debug, thiserror::Error)]
enum BesideError {
    #[error("archive `{archive}` is for {its}, the target `{target}` is {ours}")]
    OtherArchitecture { archive: String, its: Arch, target: String, ours: Arch },
    #[error("`[debian] local`: no file is `{pattern}`")]
    NoFile { pattern: String },
    #[error("package `{path}` is for {found}, not for {wanted}")]
    OtherPackage { path: String, found: String, wanted: Arch },
    #[error("package `{path}`")]
    Package { path: String, source: DebError },
    #[error("the key of archive `{archive}`")]
    Fingerprint { archive: String, source: FingerprintError },
    #[error("archive `{archive}` wants its vendor's key in `{path}`, which is not there")]
    NoKey { archive: String, path: String, fingerprint: String },
    #[error(transparent)]
    Keys(#[from] KeyringError),
    #[error("the project's folder `{path}` has no address")]
    Address { path: String },
}

impl Classify for BesideError {
    fn class(&self) -> Class {
        match self {
            Self::OtherArchitecture { .. }
            | Self::NoFile { .. }
            | Self::NoKey { .. }
            | Self::Fingerprint { .. } => Class::Recipe,
            Self::OtherPackage { .. } | Self::Package { .. } => Class::Content,
            Self::Keys(_) => Class::Trust,
            Self::Address { .. } => Class::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoKey { path, fingerprint, .. } => Some(format!(
                "fetch the key from the vendor, see that its fingerprint is {fingerprint}, and put it at `{path}`"
            )),
            Self::Keys(KeyringError::Missing { archive, .. }) => Some(format!(
                "compare the fingerprint with what the vendor publishes, then set `key` of [[archive]] `{archive}`"
            )),
            _ => None,
        }
    }
}

/// The vendors' archives as a lock remembers what was asked of them.
///
/// # Errors
/// One is for another architecture than the target's.
pub fn requested(project: &Project) -> Result<Vec<RequestedArchive>, Failure> {
    project.recipe.archives.iter().map(|archive| requested_one(project, archive)).collect()
}

fn requested_one(project: &Project, archive: &Archive) -> Result<RequestedArchive, Failure> {
    let ours = project.target.arch;
    if let Some(its) = archive.architecture.filter(|its| *its != ours) {
        let (archive, target) = (archive.name.to_string(), project.target.name.to_string());
        return Err(BesideError::OtherArchitecture { archive, its, target, ours }.into());
    }
    let weak = archive.weak_key.iter().flat_map(|waiver| &waiver.accept);
    let depends = archive.overrides.iter().map(|(name, given)| (name.to_string(), given.depends.join(", ")));
    Ok(RequestedArchive {
        name: archive.name.to_string(),
        suites: vec![archive.suite.to_string()],
        components: archive.components.iter().map(ToString::to_string).collect(),
        allow: archive.allow.iter().map(ToString::to_string).collect(),
        keys: vec![archive.key.fingerprint.to_string()],
        replace: archive.replace.iter().map(ToString::to_string).collect(),
        weak: weak.map(|weakness| weakness.name().to_owned()).collect(),
        depends: depends.collect(),
    })
}

/// The loose packages as a lock remembers them: path and digest of each.
///
/// # Errors
/// A pattern that no file fits; a file that cannot be read.
pub fn local(project: &Project) -> Result<Vec<String>, Failure> {
    let line = |path: String| -> Result<String, Failure> {
        let file = project.root.join(&path);
        let inspected = contents::inspect(&file).map_err(FileError::io("reading", &file))?;
        Ok(format!("{path} {}", inspected.sha256))
    };
    local_paths(project)?.into_iter().map(line).collect()
}

/// The paths of the loose packages, from the project's folder; sorted.
fn local_paths(project: &Project) -> Result<Vec<String>, Failure> {
    let mut paths = Vec::new();
    for pattern in &project.recipe.debian.local {
        let (folder, name) = pattern.as_str().rsplit_once('/').unwrap_or(("", pattern.as_str()));
        let before = paths.len();
        for file in files::list(&project.root.join(folder), &[".deb"])? {
            let found = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if glob(name, found) {
                paths.push(if folder.is_empty() { found.to_owned() } else { format!("{folder}/{found}") });
            }
        }
        if paths.len() == before {
            return Err(BesideError::NoFile { pattern: pattern.to_string() }.into());
        }
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Reads the keys and the loose packages of a project.
///
/// # Errors
/// Keys that cannot be had or are others; files that are no packages of the target's architecture.
pub fn gather(project: &Project, workshop: &Workshop) -> Result<Beside, Failure> {
    let mut beside = Beside::default();
    for archive in &project.recipe.archives {
        beside.keys.insert(archive.name.to_string(), keys(project, archive, workshop)?);
        if let Some(days) = archive.max_age {
            beside.max_ages.insert(archive.name.to_string(), u64::from(days) * 86_400);
        }
    }
    for path in local_paths(project)? {
        let (stanza, wish) = stanza(project, &path)?;
        beside.local.push_str(&stanza);
        beside.wishes.push(wish);
    }
    Ok(beside)
}

/// The file with the keys of a vendor's archive.
///
/// # Errors
/// It cannot be had.
pub(crate) fn key_file(
    project: &Project,
    archive: &Archive,
    workshop: &Workshop,
) -> Result<Vec<u8>, Failure> {
    let name = archive.name.as_str();
    Ok(match &archive.key.source {
        KeySource::File(file) => match files::read_capped(&project.file(file), LARGEST_KEYS) {
            Err(error) if error.is_not_found() => {
                let fingerprint = archive.key.fingerprint.to_string();
                let (archive, path) = (name.to_owned(), file.to_string());
                return Err(BesideError::NoKey { archive, path, fingerprint }.into());
            }
            read => read?,
        },
        KeySource::Url(url) => {
            let mut bytes = Vec::new();
            workshop.fetch().fetch(&Request::at_most(url.as_str(), LARGEST_KEYS)?, &mut bytes)?;
            bytes
        }
    })
}

fn keys(project: &Project, archive: &Archive, workshop: &Workshop) -> Result<Keyring, Failure> {
    let name = archive.name.as_str();
    let bytes = key_file(project, archive, workshop)?;
    let fingerprint: Fingerprint = archive
        .key
        .fingerprint
        .as_str()
        .parse()
        .map_err(|source| BesideError::Fingerprint { archive: name.to_owned(), source })?;
    let keyring = Keyring::parse(name, &bytes, &[fingerprint]).map_err(BesideError::Keys)?;
    let accepted = archive.weak_key.as_ref().map(|waiver| waiver.accept.as_slice()).unwrap_or_default();
    Ok(keyring.accepting(accepted))
}

/// A loose package as an index names it, and as a wish.
fn stanza(project: &Project, path: &str) -> Result<(String, String), Failure> {
    let file = project.root.join(path);
    let wrong = |source| BesideError::Package { path: path.to_owned(), source };
    let inspected = contents::inspect(&file).map_err(FileError::io("reading", &file))?;
    let input = open_package(&file).map_err(FileError::io("reading", &file))?;
    let deb = Deb::open(input, inspected.size).map_err(wrong)?;
    let (control, wanted) = (deb.control(), project.target.arch);
    if control.arch() != "all" && control.arch() != wanted.debian() {
        let (path, found) = (path.to_owned(), control.arch().to_owned());
        return Err(BesideError::OtherPackage { path, found, wanted }.into());
    }
    let text = index_stanza(control, path, inspected.size, &inspected.sha256);
    Ok((text, format!("{}={}", control.package(), control.version())))
}

/// A package that a lock names and no index has any more, as an index named it; `None` if its file is none.
pub(crate) fn kept_stanza(file: &Path, package: &LockedPackage) -> Option<String> {
    // Whoever asks goes on without it, and says that it is gone.
    let deb = Deb::open(open_package(file).ok()?, package.size).ok()?;
    Some(index_stanza(deb.control(), &package.path, package.size, &package.sha256))
}

/// The fields of a package, with those that an index adds.
fn index_stanza(control: &Control, path: &str, size: u64, sha256: &Sha256Digest) -> String {
    let ours = ["Filename", "Size", "SHA256"];
    let mut text = String::new();
    for field in control.fields() {
        if !ours.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            text.push_str(&format!("{}: {}\n", field.name, field.value));
        }
    }
    text.push_str(&format!("Filename: {path}\nSize: {size}\nSHA256: {sha256}\n\n"));
    text
}

/// Where everything of a project is: Debian's mirrors, its own archives, its own folder. What the command
/// line says of an archive counts more than its recipe.
///
/// # Errors
/// No mirror of Debian is known.
pub fn mirrors(project: &Project, workshop: &Workshop) -> Result<Mirrors, Failure> {
    let mut mirrors = workshop.mirrors()?;
    for archive in &project.recipe.archives {
        if mirrors.base(archive.name.as_str()).is_none() {
            let uri = archive.uri.as_str();
            let uri = match uri.strip_prefix("file:").filter(|folder| !folder.starts_with('/')) {
                Some(folder) => folder_url(&project.root.join(folder))?,
                None => uri.to_owned(),
            };
            mirrors = mirrors.with(archive.name.as_str(), &uri)?;
        }
    }
    Ok(mirrors.with(LOCAL, &folder_url(&project.root)?)?)
}

fn folder_url(folder: &Path) -> Result<String, BesideError> {
    let address = || BesideError::Address { path: folder.display().to_string() };
    Ok(Url::from_directory_path(folder).map_err(|()| address())?.to_string())
}

/// The digest of the overrides of a lock, for what depends on them; `None` where there are none.
#[must_use]
pub fn overrides(lock: &Lock) -> Option<Sha256Digest> {
    let overrides = lock.overrides();
    let text: String = overrides.iter().map(|(name, depends)| format!("{name}: {depends}\n")).collect();
    (!overrides.is_empty()).then(|| Sha256Digest::of(text.as_bytes()))
}

/// Says what of a project's archives was waived or overridden: once in every build.
pub fn confess(project: &Project, lock: &Lock, progress: &dyn Progress) {
    let overridden = lock.overrides();
    for archive in &project.recipe.archives {
        let name = &archive.name;
        if let Some(waiver) = &archive.weak_key {
            let words: Vec<&str> = waiver.accept.iter().map(|weakness| weakness.name()).collect();
            progress.warn(&format!(
                "archive `{name}`: a weak key is accepted ({}): {}",
                words.join(", "),
                waiver.reason
            ));
        }
        for (package, given) in
            archive.overrides.iter().filter(|(it, _)| overridden.contains_key(it.as_str()))
        {
            let depends = given.depends.join(", ");
            progress.warn(&format!(
                "archive `{name}`: package `{package}` depends on [{depends}] instead of what it says: {}",
                given.reason
            ));
        }
    }
}
