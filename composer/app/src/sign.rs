//! Signs `SHA256SUMS`, and with it every file of an output, with a key of the owner's.
//!
//! A verb of its own: no build, with all the foreign code it runs, is ever near a private key. The key is read,
//! used and forgotten; nothing is written but the signature. Before anything is signed, every file is held
//! against its digest. Who signs elsewhere gives the signature one of the names of [`SIGNATURES`]: then it goes
//! when `SHA256SUMS` changes.
//! Source: the format of minisign; RFC 9580 §5.2.

use std::path::{Path, PathBuf};

use goni_debian::signature::sign::{SignError as OpenPgpError, detached};
use goni_model::digest::Sha256Digest;
use goni_model::time::Timestamp;
use minisign::SecretKeyBox;

use crate::failure::{Class, Classify, Failure};
use crate::host::contents;
use crate::host::files::{self, FileError};
use crate::progress::{Progress, Unit};

/// The name of what is signed.
pub const SUMS: &str = "SHA256SUMS";

/// The largest it may be.
pub const LARGEST_SUMS: u64 = 16 << 20;

/// The names that signatures of it may have: minisign's, OpenPGP's in both its forms.
pub const SIGNATURES: [&str; 3] = ["SHA256SUMS.minisig", "SHA256SUMS.asc", "SHA256SUMS.sig"];

/// The largest key, and the largest file with a passphrase, that is read.
const LARGEST_KEY: u64 = 1 << 20;

/// The name of this stage where progress is told.
const STAGE: &str = "sign";

/// What is to be signed, with what.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The folder with the images.
    pub folder: &'a Path,
    /// The file with the key.
    pub key: &'a Path,
    /// The file whose first line unlocks it.
    pub passphrase: Option<&'a Path>,
    /// When it is signed: OpenPGP's signatures say so, and keys expire.
    pub now: Timestamp,
}

/// A signature that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Where it is.
    pub path: PathBuf,
    /// How many files it vouches for.
    pub files: usize,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("line {line} of `{SUMS}` is no digest with the name of a file beside it")]
    Line { line: usize },
    #[error("`{SUMS}` lists nothing")]
    Empty,
    #[error("`{name}` is {found}, and `{SUMS}` says {wanted}")]
    Differs { name: String, wanted: Sha256Digest, found: Sha256Digest },
    #[error("`{path}` is neither a secret key of minisign nor one of OpenPGP")]
    NoKey { path: PathBuf },
    #[error("`{path}` is locked")]
    Locked { path: PathBuf },
    #[error("`{path}` holds no text")]
    NoPassphrase { path: PathBuf },
    #[error("the key `{path}` of minisign")]
    Minisign { path: PathBuf, source: minisign::PError },
    #[error("the key `{path}` of OpenPGP")]
    OpenPgp { path: PathBuf, source: OpenPgpError },
}

impl Classify for SignError {
    fn class(&self) -> Class {
        match self {
            Self::NoKey { .. } | Self::NoPassphrase { .. } | Self::Locked { .. } => Class::Recipe,
            Self::Line { .. } | Self::Empty | Self::Differs { .. } => Class::Trust,
            Self::Minisign { .. } | Self::OpenPgp { .. } => Class::Trust,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Locked { .. } => Some("give --passphrase-file FILE".to_owned()),
            Self::Differs { .. } => Some("build again with --force; sign only what was built".to_owned()),
            Self::NoKey { .. } => {
                Some("export one: gpg --export-secret-keys, or the file that minisign -G made".to_owned())
            }
            _ => None,
        }
    }
}

/// Removes signatures of what `SHA256SUMS` says now, unless it goes on saying it; tells which.
///
/// # Errors
/// One of them cannot be removed, or `SHA256SUMS` not be read.
pub fn remove_stale(folder: &Path, new: &[u8]) -> Result<Vec<&'static str>, FileError> {
    let now = match files::read_capped(&folder.join(SUMS), LARGEST_SUMS) {
        Err(error) if error.is_not_found() => Vec::new(),
        text => text?,
    };
    if now == new {
        return Ok(Vec::new());
    }
    let mut removed = Vec::new();
    for name in SIGNATURES {
        let path = folder.join(name);
        if files::size(&path).is_some() {
            files::remove_file(&path)?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Signs `SHA256SUMS` of a folder, once every file it lists is what it says.
///
/// # Errors
/// A file that is not, or is not there; a key that is none, is locked, has expired or may not sign.
pub fn sign(order: &Order<'_>, progress: &dyn Progress) -> Result<Signed, Failure> {
    let sums = files::read_capped(&order.folder.join(SUMS), LARGEST_SUMS)?;
    let listed = listed(&sums)?;
    // The key first: who waits for digests wants to know at once that it is the wrong one.
    let key = Key::read(order)?;
    check(order.folder, &listed, progress)?;
    let (name, signature) = key.sign(order, &sums)?;
    let path = order.folder.join(name);
    files::replace(&path, &signature, 0o644)?;
    files::flush_directory(order.folder)?;
    progress.end(STAGE, name);
    Ok(Signed { path, files: listed.len() })
}

/// The files that are listed, with their digests.
fn listed(sums: &[u8]) -> Result<Vec<(String, Sha256Digest)>, SignError> {
    let text = String::from_utf8_lossy(sums);
    let mut listed = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = SignError::Line { line: number + 1 };
        let Some((sha256, name)) = line.split_once("  ") else { return Err(wrong) };
        let Ok(sha256) = sha256.parse() else { return Err(wrong) };
        if name.is_empty() || name.contains(['/', '\0', '\u{fffd}']) || matches!(name, "." | "..") {
            return Err(wrong);
        }
        listed.push((name.to_owned(), sha256));
    }
    if listed.is_empty() { Err(SignError::Empty) } else { Ok(listed) }
}

fn check(folder: &Path, listed: &[(String, Sha256Digest)], progress: &dyn Progress) -> Result<(), Failure> {
    progress.begin(STAGE, Some(goni_model::number::to_u64(listed.len())), Unit::Steps);
    for (name, wanted) in listed {
        let path = folder.join(name);
        let found = contents::inspect(&path).map_err(FileError::io("reading", &path))?.sha256;
        if found != *wanted {
            return Err(SignError::Differs { name: name.clone(), wanted: *wanted, found }.into());
        }
        progress.advance(STAGE, 1);
    }
    Ok(())
}

/// A secret key. Never shown: it has no `Debug`.
enum Key {
    Minisign(minisign::SecretKey),
    OpenPgp { bytes: Vec<u8>, passphrase: Option<String> },
}

impl Key {
    fn read(order: &Order<'_>) -> Result<Self, Failure> {
        let path = || order.key.to_owned();
        let bytes = files::read_capped(order.key, LARGEST_KEY)?;
        let passphrase = order.passphrase.map(passphrase).transpose()?;
        if !bytes.starts_with(b"untrusted comment:") {
            return match goni_debian::signature::sign::is_certificate(&bytes) {
                true => Ok(Self::OpenPgp { bytes, passphrase }),
                false => Err(SignError::NoKey { path: path() }.into()),
            };
        }
        let minisign = |source| SignError::Minisign { path: path(), source };
        let text = String::from_utf8(bytes).map_err(|_| SignError::NoKey { path: path() })?;
        let boxed = || SecretKeyBox::from_string(&text).map_err(minisign);
        // Without a passphrase the library would ask the terminal.
        let key = match (boxed()?.into_unencrypted_secret_key(), passphrase) {
            (Ok(key), _) => key,
            (Err(_), Some(passphrase)) => boxed()?.into_secret_key(Some(passphrase)).map_err(minisign)?,
            (Err(_), None) if locked(&text) => return Err(SignError::Locked { path: path() }.into()),
            (Err(source), None) => return Err(minisign(source).into()),
        };
        Ok(Self::Minisign(key))
    }

    fn sign(&self, order: &Order<'_>, sums: &[u8]) -> Result<(&'static str, Vec<u8>), SignError> {
        let path = || order.key.to_owned();
        match self {
            Self::Minisign(key) => {
                let comment = format!("file:{SUMS}");
                let signed = minisign::sign(None, key, sums, Some(&comment), Some("signature of SHA256SUMS"));
                let signed = signed.map_err(|source| SignError::Minisign { path: path(), source })?;
                Ok(("SHA256SUMS.minisig", signed.into_string().into_bytes()))
            }
            Self::OpenPgp { bytes, passphrase } => {
                let signed = detached(bytes, passphrase.as_deref(), sums, order.now);
                match signed {
                    Ok(signature) => Ok(("SHA256SUMS.asc", signature)),
                    Err(OpenPgpError::Locked) => Err(SignError::Locked { path: path() }),
                    Err(source) => Err(SignError::OpenPgp { path: path(), source }),
                }
            }
        }
    }
}

/// Whether a key of minisign is encrypted: `Sc` stands behind `Ed` then. Source: the format of minisign.
fn locked(text: &str) -> bool {
    // The base64 of `Ed` and of the first letter of `Sc`.
    text.lines().nth(1).is_some_and(|line| line.starts_with("RWRT"))
}

/// The first line of a file.
fn passphrase(path: &Path) -> Result<String, Failure> {
    let text = files::read_capped(path, LARGEST_KEY)?;
    let no_text = || SignError::NoPassphrase { path: path.to_owned() };
    let text = String::from_utf8(text).map_err(|_| no_text())?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(no_text().into()) } else { Ok(line.to_owned()) }
}

#[cfg(test)]
mod tests;
