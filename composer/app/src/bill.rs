//! The bill of materials: what an image is made of, where that comes from, and under which licences.
//!
//! One value, gathered from the lock and the finished tree, and written in two forms that tools know: SPDX
//! 2.3 and CycloneDX 1.6. Nothing in it is new: versions and digests are the lock's, names and relations those
//! of dpkg's database, licences what copyright files declare. Whether a licence suits is not judged here.
//! No clock is asked, and identifiers are derived.

mod cyclonedx;
mod gather;
mod purl;
mod spdx;

use std::collections::{BTreeMap, BTreeSet};

use goni_debian::installed::Installed;
use goni_debian::licence::Expression;
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::layout::derived_uuid;
use goni_model::lock::{LOCAL, LockedPackage};
use goni_model::plan::StageId;
use goni_model::time::Timestamp;
use uuid::Uuid;

use crate::policy::Breach;
use crate::stages::modules::Recorded;

pub(crate) use gather::component;
pub use gather::{BillError, Materials, gather};

/// What the program calls itself.
const COMPOSER: &str = "goni-compose";

/// The prefix of what stands for a licence that SPDX does not know. Source: SPDX 2.3 §10.1.
const REFERENCE: &str = "LicenseRef-";

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Name of the image.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: Arch,
    /// Its target.
    pub target: String,
    /// The release of Debian.
    pub suite: String,
    /// The latest time of anything in it.
    pub date: Timestamp,
    /// What the whole image depends on, digested.
    pub build: StageId,
    /// Digest of the program that made it.
    pub program: Sha256Digest,
    /// Digest of the lock of the tools.
    pub toolbox: Sha256Digest,
    /// Its packages, sorted by name.
    pub packages: Vec<Package>,
    /// What was laid over them.
    pub laid: Vec<Laid>,
    /// Kernel modules that the kernel's package does not bring.
    pub modules: Vec<Recorded>,
    /// Packages that those were built with and from; none is in the image by that.
    pub module_build: Vec<LockedPackage>,
    /// Licences that SPDX does not know, by the reference that stands for them.
    pub references: BTreeMap<String, Reference>,
}

/// A package of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its bytes.
    pub locked: LockedPackage,
    /// Who vouches for it, and where it was.
    pub origin: Origin,
    /// What dpkg knows of it.
    pub installed: Installed,
    /// The packages that it needs, by name.
    pub needs: BTreeSet<String>,
    /// Its licences.
    pub licences: Licences,
    /// What the recipe's policy does not allow of it, and why it is there all the same.
    pub excepted: Option<String>,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who is behind the archive: `Debian`, or a vendor's archive by its name; `None`: a file of the project.
    pub supplier: Option<String>,
    /// The suites of the archive that were asked.
    pub suites: Vec<String>,
    /// The component: `main`, or `vendor`, or `local`.
    pub component: String,
    /// The fingerprint of the key that vouches for a vendor's archive.
    pub key: Option<String>,
    /// The address of a vendor's archive, where it is one.
    pub address: Option<String>,
}

/// What a package says of its licences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Licences {
    /// Its copyright file is machine-readable.
    Declared {
        /// What it names, for each group of files that differs.
        expressions: Vec<Expression>,
        /// All of that in SPDX's words; `None`: it names nothing.
        spdx: Option<String>,
        /// Whether it gives a licence without a name.
        unnamed: bool,
        /// The file.
        file: CopyrightFile,
    },
    /// Its copyright file is prose.
    FreeForm(CopyrightFile),
    /// It has no copyright file.
    Absent,
}

/// A copyright file of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyrightFile {
    /// Its place in the image.
    pub path: String,
    /// Its digest.
    pub sha256: Sha256Digest,
}

impl Licences {
    /// Where this is known from, in words.
    #[must_use]
    pub fn source(&self) -> String {
        match self {
            Self::Declared { file, unnamed, .. } => {
                let rest = if *unnamed { "; it gives a licence without a name" } else { "" };
                format!("machine-readable copyright file {}, SHA-256 {}{rest}", file.path, file.sha256)
            }
            Self::FreeForm(file) => {
                format!("free-form copyright file {}, SHA-256 {}", file.path, file.sha256)
            }
            Self::Absent => "there is no copyright file".to_owned(),
        }
    }

    /// What is declared, in SPDX's words.
    fn spdx(&self) -> Option<&str> {
        match self {
            Self::Declared { spdx, .. } => spdx.as_deref(),
            Self::FreeForm(_) | Self::Absent => None,
        }
    }
}

/// A licence that SPDX does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its short name in copyright files.
    pub name: String,
    /// Its text, as the first of them gives it; empty: none does.
    pub text: String,
}

/// Something laid over the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laid {
    /// What it is.
    pub kind: LaidKind,
    /// Its name.
    pub name: String,
    /// Digest of all it holds; `None`: it is not there, and something stands in.
    pub sha256: Option<Sha256Digest>,
    /// What there is to say of it.
    pub note: String,
    /// Its files, with their digests.
    pub files: Vec<(String, Sha256Digest)>,
}

/// What is laid over packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaidKind {
    /// An overlay of the project.
    Overlay,
    /// A program given by the owner.
    Payload,
    /// Files that a stage of the build made.
    Stage,
}

impl LaidKind {
    /// The word for it, in identifiers.
    const fn word(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Payload => "payload",
            Self::Stage => "stage",
        }
    }
}

/// A file of the output that a bill is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// A form of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// SPDX 2.3, as JSON.
    Spdx,
    /// CycloneDX 1.6, as JSON.
    CycloneDx,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Spdx, Self::CycloneDx];

    /// The ending of its file names.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Spdx => "spdx.json",
            Self::CycloneDx => "cdx.json",
        }
    }
}

impl Bill {
    /// Writes the bill of these files; the first of them is the disk itself.
    ///
    /// # Errors
    /// A value that JSON cannot hold; there is none.
    pub fn write(&self, form: Form, outputs: &[Output]) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = match form {
            Form::Spdx => serde_json::to_vec_pretty(&spdx::document(self, outputs))?,
            Form::CycloneDx => serde_json::to_vec_pretty(&cyclonedx::bom(self, outputs))?,
        };
        text.push(b'\n');
        Ok(text)
    }

    /// Notes what a policy excepts.
    pub fn except(&mut self, breaches: &[Breach]) {
        for package in &mut self.packages {
            let breach = breaches.iter().find(|breach| breach.package == package.locked.name);
            package.excepted = breach.map(|breach| {
                let why = breach.excepted.as_deref().unwrap_or_default();
                format!("Excepted by the recipe: {}: {why}", breach.what.join(", "))
            });
        }
    }

    /// The package URL of one of its packages.
    pub(crate) fn purl(&self, package: &Package) -> String {
        purl::of_package(self, &package.locked, &package.origin)
    }

    /// An identifier of this bill in a form.
    fn uuid(&self, form: Form) -> Uuid {
        derived_uuid(&["bill", &self.build.to_string(), form.ending()])
    }

    /// The image's file name without an ending.
    fn stem(&self) -> String {
        format!("{}_{}_{}", self.name, self.version, self.arch)
    }

    /// The source packages that its packages were built from or hold parts of.
    fn sources(&self) -> BTreeSet<Source> {
        self.packages.iter().flat_map(Package::sources).collect()
    }
}

/// A source package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    /// Who is behind its archive, as package URLs have it.
    namespace: String,
    name: String,
    version: String,
}

impl Package {
    /// The source packages it was built from or holds parts of.
    fn sources(&self) -> BTreeSet<Source> {
        let namespace = self.origin.namespace();
        let source = |name: &str, version: &str| Source {
            namespace: namespace.clone(),
            name: name.trim().to_owned(),
            version: version.trim().to_owned(),
        };
        let (name, version) = &self.installed.source;
        let used = self.installed.built_using.iter().filter_map(|used| used.split_once('('));
        let used =
            used.map(|(name, version)| source(name, version.trim_end_matches(')').trim_start_matches('=')));
        used.chain([source(name, version)]).collect()
    }
}

impl Origin {
    /// Who is behind the archive, as package URLs have it.
    fn namespace(&self) -> String {
        self.supplier.as_deref().unwrap_or(LOCAL).to_lowercase()
    }
}

/// Of the tests of the whole program, and of these.
#[cfg(test)]
#[path = "../../../tests/bill_judge.rs"]
pub(crate) mod judge;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
