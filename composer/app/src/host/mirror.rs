//! Where this machine gets its archives from. A recipe and a lock name an archive, never a host.
//!
//! The first that says anything wins: `--mirror`, `GONI_COMPOSE_MIRROR`, the user's configuration
//! (`[mirror]` with `debian` and `debian-security`), the machine's own apt sources. The first two
//! take the main mirror and, after a space, the one for security updates. Whoever names a main mirror
//! alone gets the security archive beside it: `…/debian` and `…/debian-security`.
//!
//! A mirror is not trusted: signatures and digests decide. So this is a guess that can afford to err.

pub mod apt;
mod fallback;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;

use self::apt::AptSource;
pub use self::fallback::Fallback;
use crate::failure::{Class, Classify};
use crate::host::environment::{Environment, EnvironmentError, Variable};
use crate::host::files::{self, FileError};
use goni_model::lock::LockedPackage;

/// Name of Debian's main archive in recipes and locks.
pub const DEBIAN: &str = "debian";

/// Name of Debian's archive of security updates in recipes and locks.
pub const DEBIAN_SECURITY: &str = "debian-security";

/// Name of Debian's backports in locks: suites of the main archive, of which a target takes what it names.
pub const DEBIAN_BACKPORTS: &str = "debian-backports";

/// A configuration or source list is a few lines; more is not one.
const CONFIG_CAP: u64 = 1 << 20;

/// Base URLs by archive name, and where packages are that these have no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    bases: BTreeMap<String, Url>,
    fallbacks: Vec<Fallback>,
    /// The moment of the lock that packages are fetched for, in seconds since 1970.
    moment: u64,
}

/// Why there is no mirror, or no URL below one.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Nobody says where Debian is.
    #[error("no mirror of the archive `debian` is known on this machine")]
    NoneFound,
    /// A lock or a recipe names an archive that nobody located.
    #[error("no mirror of the archive `{archive}` is known")]
    UnknownArchive {
        /// The archive.
        archive: String,
    },
    /// Not a URL we can fetch from.
    #[error("`{text}` is not a mirror: {reason}")]
    BadUrl {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path of an index or a lock that is not plainly below its mirror.
    #[error("`{path}` is not a path below a mirror")]
    BadPath {
        /// The path.
        path: String,
    },
    /// The configuration is not what it should be.
    #[error("reading configuration `{}`", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A variable cannot be read.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

impl Classify for MirrorError {
    fn class(&self) -> Class {
        match self {
            Self::BadPath { .. } => Class::Trust,
            Self::BadUrl { .. } | Self::Config { .. } => Class::Recipe,
            Self::NoneFound | Self::UnknownArchive { .. } | Self::File(_) | Self::Environment(_) => {
                Class::Environment
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoneFound => Some("name one with --mirror URL or GONI_COMPOSE_MIRROR=URL".into()),
            Self::UnknownArchive { archive } => Some(format!("name one with --mirror {archive}=URL")),
            Self::BadUrl { .. } => Some("write http://…, https://… or file:///…".into()),
            _ => None,
        }
    }
}

/// The user's configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mirror: Option<ConfigMirror>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigMirror {
    debian: Option<String>,
    debian_security: Option<String>,
    #[serde(default)]
    fallback: Vec<String>,
}

impl Mirrors {
    /// Debian's archives; that of security updates is beside the main one if it is not given.
    ///
    /// # Errors
    /// `BadUrl` if a text is not an http, https or file URL.
    pub fn debian(main: &str, security: Option<&str>) -> Result<Self, MirrorError> {
        let main = base_url(main)?;
        let security = match security {
            Some(text) => base_url(text)?,
            None => beside(&main),
        };
        let archives = [(DEBIAN_BACKPORTS, main.clone()), (DEBIAN, main), (DEBIAN_SECURITY, security)];
        let bases = archives.map(|(name, url)| (name.to_owned(), url)).into();
        Ok(Self { bases, ..Self::default() })
    }

    /// Looks in all places, in order. `apt` is apt's directory of configuration, `/etc/apt`.
    ///
    /// # Errors
    /// `NoneFound` if no place says anything; otherwise what is wrong with the place that does.
    pub fn discover(flag: Option<&str>, environment: &Environment, apt: &Path) -> Result<Self, MirrorError> {
        if let Some(text) = flag.map_or_else(|| environment.text(Variable::Mirror), |flag| Ok(Some(flag)))? {
            return Self::of_words(text);
        }
        if let Some(path) = environment.config_file()
            && let Some(mirrors) = Self::of_config(&path)?
        {
            return Ok(mirrors);
        }
        Self::of_apt(&read_apt(apt)?).ok_or(MirrorError::NoneFound)
    }

    /// Adds an archive that carries its own URI.
    ///
    /// # Errors
    /// `BadUrl` if it is not an http, https or file URL.
    pub fn with(mut self, archive: &str, uri: &str) -> Result<Self, MirrorError> {
        self.bases.insert(archive.to_owned(), base_url(uri)?);
        Ok(self)
    }

    /// Adds what the user names for packages that are gone: the command line's, and those of the configuration.
    ///
    /// # Errors
    /// `BadUrl` if a pattern makes no address; a configuration that cannot be read.
    pub fn with_fallbacks(
        mut self,
        flags: &[String],
        environment: &Environment,
    ) -> Result<Self, MirrorError> {
        let configured = match environment.config_file() {
            Some(path) => read_config(&path)?.map(|mirror| mirror.fallback).unwrap_or_default(),
            None => Vec::new(),
        };
        for text in flags.iter().chain(&configured) {
            self.fallbacks.push(Fallback::parse(text)?);
        }
        Ok(self)
    }

    /// The same mirrors, for packages of a lock of this moment, in seconds since 1970.
    #[must_use]
    pub fn at(self, moment: u64) -> Self {
        Self { moment, ..self }
    }

    /// Where else a package may be, in the order in which the user named them.
    #[must_use]
    pub fn elsewhere(&self, package: &LockedPackage) -> Vec<Url> {
        self.fallbacks.iter().filter_map(|fallback| fallback.url(package, self.moment)).collect()
    }

    /// The URL of a path below the mirror of an archive.
    ///
    /// # Errors
    /// `UnknownArchive`, or `BadPath` if the path could lead anywhere else.
    pub fn url(&self, archive: &str, path: &str) -> Result<Url, MirrorError> {
        let base =
            self.bases.get(archive).ok_or_else(|| MirrorError::UnknownArchive { archive: archive.into() })?;
        let bad = || MirrorError::BadPath { path: path.into() };
        if !is_plain(path) {
            return Err(bad());
        }
        // The base ends in a slash, and no character of the path has a meaning in URLs but `+` and `~`.
        base.join(&format!("./{path}")).map_err(|_| bad())
    }

    /// The base URL of an archive.
    #[must_use]
    pub fn base(&self, archive: &str) -> Option<&Url> {
        self.bases.get(archive)
    }

    fn of_words(text: &str) -> Result<Self, MirrorError> {
        let mut words = text.split_whitespace();
        let bad = |reason: &str| MirrorError::BadUrl { text: text.into(), reason: reason.into() };
        let main = words.next().ok_or_else(|| bad("it is empty"))?;
        let security = words.next();
        if words.next().is_some() {
            return Err(bad("more than two URLs"));
        }
        Self::debian(main, security)
    }

    fn of_config(path: &Path) -> Result<Option<Self>, MirrorError> {
        let Some(ConfigMirror { debian: Some(debian), debian_security, .. }) = read_config(path)? else {
            return Ok(None);
        };
        Self::debian(&debian, debian_security.as_deref()).map(Some)
    }

    /// The most likely mirrors among apt's sources; `None` if none of them looks like Debian.
    #[must_use]
    pub fn of_apt(sources: &[AptSource]) -> Option<Self> {
        let best = |security: bool| {
            let candidates = sources.iter().filter(|source| is_security(source) == security);
            let likely = candidates.filter_map(|source| Some((likelihood(source)?, source)));
            // `max_by_key` takes the last of equals; apt prefers the first.
            likely.rev().max_by_key(|(likelihood, _)| *likelihood).map(|(_, source)| source.uri.as_str())
        };
        Self::debian(best(false)?, best(true)).ok()
    }
}

/// What the user's configuration says of mirrors.
fn read_config(path: &Path) -> Result<Option<ConfigMirror>, MirrorError> {
    let text = match files::read_text(path, CONFIG_CAP) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let config: Config = toml::from_str(&text)
        .map_err(|source| MirrorError::Config { path: path.into(), source: Box::new(source) })?;
    Ok(config.mirror)
}

/// Every source apt knows on this machine.
fn read_apt(apt: &Path) -> Result<Vec<AptSource>, FileError> {
    let mut sources = Vec::new();
    let parts = files::list(&apt.join("sources.list.d"), &[".list", ".sources"])?;
    for path in std::iter::once(apt.join("sources.list")).chain(parts) {
        match files::read_text(&path, CONFIG_CAP) {
            Ok(text) if path.extension().is_some_and(|kind| kind == "sources") => {
                sources.extend(apt::parse_sources(&text));
            }
            Ok(text) => sources.extend(apt::parse_list(&text)),
            // Vendors' lists with keys inside are at times readable by root alone.
            Err(FileError::Io { source, .. })
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sources)
}

fn is_security(source: &AptSource) -> bool {
    source.suite.ends_with("-security")
        || source.suite.ends_with("/updates")
        || segments(&source.uri).any(|segment| segment == "debian-security")
}

/// How likely a source is Debian itself; `None` if it is not, or nothing we can fetch from.
///
/// Vendors mimic Debian's layout, down to `…/debian` and a code name; they rarely have a component
/// `main` as well, and never Debian's own keyring.
fn likelihood(source: &AptSource) -> Option<u8> {
    const CODENAMES: [&str; 7] = ["buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid"];
    let family = source.suite.split(['-', '/']).next().unwrap_or_default();
    let known_suite = CODENAMES.contains(&family) || matches!(family, "stable" | "testing" | "unstable");
    let last = segments(&source.uri).last().unwrap_or_default();
    let known_path = matches!(last, "debian" | "debian-security");
    let official = source.signed_by.as_deref().is_some_and(|keyring| keyring.contains("debian-archive"));
    if base_url(&source.uri).is_err() || !known_suite || !source.components.iter().any(|name| name == "main")
    {
        return None;
    }
    match (official, known_path) {
        (true, true) => Some(3),
        (true, false) => Some(2),
        (false, true) => Some(1),
        // Many a vendor calls a suite `stable`; hardly any has a `stable-security`.
        (false, false) => (CODENAMES.contains(&family) || source.suite != family).then_some(0),
    }
}

fn segments(uri: &str) -> impl Iterator<Item = &str> {
    uri.split('/').filter(|segment| !segment.is_empty())
}

fn base_url(text: &str) -> Result<Url, MirrorError> {
    let bad = |reason: String| MirrorError::BadUrl { text: text.into(), reason };
    let mut url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https" | "file") {
        return Err(bad(format!("the scheme `{}` is not one we fetch by", url.scheme())));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("a query or fragment has no place in it".into()));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// The archive of security updates, as it is laid out beside the main one.
fn beside(main: &Url) -> Url {
    let mut url = main.clone();
    url.set_path(&format!("{}-security/", main.path().trim_end_matches('/')));
    url
}

/// Whether a path goes down only and means the same in an index, in a URL and on a disk.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+~:/=,@!".contains(&byte);
    path.len() <= 1024
        && path.bytes().all(plain)
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests;
