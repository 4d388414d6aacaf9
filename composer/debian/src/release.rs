//! Release files: what an archive signs.
//!
//! Parsed only from [`Verified`] text. Every index is found here by path, size and SHA-256, so that
//! indexes of another day or suite cannot be mixed in; MD5 and SHA-1 sections are not read.
//! Source: the Debian wiki's “DebianRepository/Format”, apt-secure(8).

mod date;
mod freshness;

use std::collections::BTreeMap;

use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::archive_path_fault;
use goni_model::time::Timestamp;

use crate::deb822::{self, Deb822Error, Field, Stanzas};
use crate::index::Compression;
use crate::signature::Verified;

pub use date::display as iso;
pub use freshness::{DEFAULT_MAX_AGE, FUTURE_SKEW, Freshness, FreshnessError};

/// A Release file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Who made the archive: `Debian`.
    pub origin: Option<String>,
    /// The role: `stable`, `stable-updates`. Absent in some vendors' archives.
    pub suite: Option<String>,
    /// The name: `trixie`, `trixie-updates`.
    pub codename: Option<String>,
    /// When it was signed.
    pub date: Timestamp,
    /// When it stops being valid. Debian's main suite does not say.
    pub valid_until: Option<Timestamp>,
    /// Whether indexes can be fetched by their digest.
    pub acquire_by_hash: bool,
    /// Its components: `main`, `contrib`.
    pub components: Vec<String>,
    /// Its architectures.
    pub architectures: Vec<String>,
    /// Digest of the signed text.
    pub digest: Sha256Digest,
    files: BTreeMap<String, ReleaseFile>,
}

/// What a Release file says of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// One index as it is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Path below `dists/<suite>/`: by digest if the archive allows it, else by name.
    pub path: String,
    /// Path by name, for messages and for archives that lost the one by digest.
    pub name: String,
    /// Size and digest of the bytes to fetch.
    pub file: ReleaseFile,
    /// How they are compressed.
    pub compression: Compression,
    /// Size of the decompressed index, if the Release file says.
    pub unpacked: Option<u64>,
}

/// Why signed text is no Release file we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Not a control file.
    #[error("the Release file is malformed")]
    Malformed(#[from] Deb822Error),
    /// Not exactly one stanza.
    #[error("the Release file has {stanzas} stanzas, not one")]
    Stanzas {
        /// How many it has; two stands for more than one.
        stanzas: u32,
    },
    /// A field that must be there is not.
    #[error("the Release file has no `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field's value is not of its kind.
    #[error("the Release file's `{field}` is `{value}`: {fault}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value, or the line of it.
        value: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// One path, two contents.
    #[error("the Release file lists `{path}` twice with different contents")]
    Contradiction {
        /// The path.
        path: String,
    },
    /// Another suite than the one asked for.
    #[error("asked for suite `{wanted}`, but the Release file is of suite `{suite}`, codename `{codename}`")]
    OtherSuite {
        /// The suite asked for.
        wanted: String,
        /// What the file says.
        suite: String,
        /// What the file says.
        codename: String,
    },
    /// The index is not there in any form.
    #[error("the Release file of suite `{suite}` lists no `{path}`, compressed or not")]
    NoIndex {
        /// The suite.
        suite: String,
        /// The path, without an ending.
        path: String,
    },
}

impl Release {
    /// Reads the signed text of an InRelease.
    ///
    /// # Errors
    /// Text that is no Release file, misses what must be there, or lists paths outside the archive.
    pub fn parse(verified: &Verified) -> Result<Self, ReleaseError> {
        let mut stanzas = Stanzas::new(deb822::text(verified.text())?);
        let fields = stanzas.next_fields()?.ok_or(ReleaseError::Stanzas { stanzas: 0 })?;
        if stanzas.next_fields()?.is_some() {
            return Err(ReleaseError::Stanzas { stanzas: 2 });
        }
        let find = |name: &'static str| fields.iter().find(|field| field.is(name));
        let owned = |name| find(name).map(|field| field.value.to_owned());
        let words = |name| -> Vec<String> {
            find(name)
                .map(|f| f.value.split_ascii_whitespace().map(str::to_owned).collect())
                .unwrap_or_default()
        };
        let moment = |name: &'static str| match find(name) {
            None => Ok(None),
            Some(field) => match date::parse(field.value) {
                Some(seconds) => Ok(Some(Timestamp::from_seconds(seconds))),
                None => Err(ReleaseError::Value {
                    field: name,
                    value: field.value.to_owned(),
                    fault: "it is not a date such as `Sat, 12 Sep 2026 07:55:41 UTC`",
                }),
            },
        };
        let (suite, codename) = (owned("Suite"), owned("Codename"));
        if suite.is_none() && codename.is_none() {
            return Err(ReleaseError::Missing { field: "Suite" });
        }
        let sha256 = find("SHA256").ok_or(ReleaseError::Missing { field: "SHA256" })?;
        Ok(Self {
            origin: owned("Origin"),
            suite,
            codename,
            date: moment("Date")?.ok_or(ReleaseError::Missing { field: "Date" })?,
            valid_until: moment("Valid-Until")?,
            acquire_by_hash: find("Acquire-By-Hash").is_some_and(|f| f.value.eq_ignore_ascii_case("yes")),
            components: words("Components"),
            architectures: words("Architectures"),
            digest: verified.digest(),
            files: parse_files(sha256)?,
        })
    }

    /// Checks that this is the suite asked for, by suite or by codename.
    ///
    /// # Errors
    /// Another suite's Release file, validly signed, in the place of this one.
    pub fn require_suite(&self, wanted: &str) -> Result<(), ReleaseError> {
        if [&self.suite, &self.codename].into_iter().flatten().any(|name| name == wanted) {
            return Ok(());
        }
        let text = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        Err(ReleaseError::OtherSuite {
            wanted: wanted.to_owned(),
            suite: text(&self.suite),
            codename: text(&self.codename),
        })
    }

    /// The codename, or the suite where there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.codename.as_deref().or(self.suite.as_deref()).unwrap_or_default()
    }

    /// What the Release file says of a path below `dists/<suite>/`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&ReleaseFile> {
        self.files.get(path)
    }

    /// How to fetch the Packages file of a component: the form that costs least to move.
    ///
    /// # Errors
    /// No form of it is listed.
    pub fn packages_index(&self, component: &str, arch: Arch) -> Result<IndexFile, ReleaseError> {
        // Debian's security suite says `updates/main` under Components, and lists plain `main` paths.
        let component = component.rsplit('/').next().unwrap_or(component);
        let plain = format!("{component}/binary-{arch}/Packages");
        let unpacked = self.file(&plain).map(|file| file.size);
        [Compression::Xz, Compression::Zstd, Compression::Gzip, Compression::None]
            .into_iter()
            .find_map(|compression| {
                let name = format!("{plain}{}", compression.ending());
                let file = *self.file(&name)?;
                let path = if self.acquire_by_hash {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    format!("{folder}/by-hash/SHA256/{}", file.sha256)
                } else {
                    name.clone()
                };
                Some(IndexFile { path, name, file, compression, unpacked })
            })
            .ok_or_else(|| ReleaseError::NoIndex { suite: self.name().to_owned(), path: plain })
    }
}

/// Reads the lines `digest size path`.
fn parse_files(field: &Field<'_>) -> Result<BTreeMap<String, ReleaseFile>, ReleaseError> {
    let mut files = BTreeMap::new();
    for line in field.lines() {
        let fail = |fault| ReleaseError::Value { field: "SHA256", value: line.to_owned(), fault };
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(fail("a line is digest, size and path"));
        };
        let sha256 = digest.parse().map_err(|_| fail("the digest is not 64 lowercase hexadecimal digits"))?;
        let size = size.parse().map_err(|_| fail("the size is not a number"))?;
        if archive_path_fault(path).is_some() {
            return Err(fail("the path does not stay below the suite"));
        }
        let file = ReleaseFile { size, sha256 };
        if files.insert(path.to_owned(), file).is_some_and(|before| before != file) {
            return Err(ReleaseError::Contradiction { path: path.to_owned() });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
