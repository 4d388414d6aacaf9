//! Packages files: what an archive offers.
//!
//! Records borrow from the decompressed text. What is needed to fetch and to choose is checked for every
//! package; the syntax of relations only for those the solver looks at. Source: deb822(5), and the Debian
//! wiki's “DebianRepository/Format”.

mod compression;

use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::lock::{archive_path_fault, package_name_fault};

use crate::deb822::{self, Deb822Error, Field, Stanzas};
use crate::relation::{AnyOf, Relation, RelationError, parse_alternatives, parse_list};
use crate::version::{Version, VersionError};

pub use compression::{Compression, DecompressError, MAX_INDEX};

/// Largest .deb accepted, in bytes: 16 GiB, well past the largest CUDA package.
const MAX_DEB: u64 = 16 << 30;

/// The packages of one Packages file, in its order.
#[derive(Debug, Clone)]
pub struct Index<'a> {
    packages: Vec<Package<'a>>,
}

/// One package of an index.
#[derive(Debug, Clone)]
pub struct Package<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: Version<'a>,
    /// `all`, or the architecture of the index.
    pub arch: &'a str,
    /// `same`, `foreign`, `allowed` or nothing.
    pub multi_arch: Option<&'a str>,
    /// Whether every system must have it.
    pub essential: bool,
    /// `required`, `important`, `standard`, `optional`, or what a vendor wrote.
    pub priority: &'a str,
    /// Path of the .deb below the archive.
    pub path: &'a str,
    /// Size of the .deb in bytes.
    pub size: u64,
    /// Digest of the .deb.
    pub sha256: Sha256Digest,
    /// Size once unpacked, in KiB, as the packager estimated it.
    pub installed_size: Option<u64>,
    relations: [&'a str; RELATION_FIELDS.len()],
}

/// The fields of relations, in the order [`Package`] keeps them.
const RELATION_FIELDS: [&str; 6] =
    ["Pre-Depends", "Depends", "Recommends", "Conflicts", "Breaks", "Provides"];

/// Why an index cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not a control file.
    #[error("the index is malformed")]
    Malformed(#[from] Deb822Error),
    /// A stanza without a name.
    #[error("the stanza that ends before line {line} has no `Package`")]
    Nameless {
        /// The line after it.
        line: u64,
    },
    /// A field that must be there is not.
    #[error("package `{package}` has no `{field}`")]
    Missing {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
    },
    /// A field's value is not of its kind.
    #[error("package `{package}`: `{field}` is `{value}`: {fault}")]
    Value {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A version that is none.
    #[error("package `{package}`")]
    Version {
        /// The package.
        package: String,
        /// What is wrong with it.
        #[source]
        source: VersionError,
    },
}

impl<'a> Package<'a> {
    /// The package with other Depends than its archive says.
    #[must_use]
    pub(crate) const fn with_depends(mut self, depends: &'a str) -> Self {
        self.relations[1] = depends;
        self
    }

    /// What must be configured before this is unpacked.
    ///
    /// # Errors
    /// Text that is no relation.
    pub fn pre_depends(&self) -> Result<Vec<AnyOf<'a>>, RelationError> {
        parse_alternatives(self.relations[0])
    }

    /// What must be there.
    ///
    /// # Errors
    /// Text that is no relation.
    pub fn depends(&self) -> Result<Vec<AnyOf<'a>>, RelationError> {
        parse_alternatives(self.relations[1])
    }

    /// What is usually wanted with it.
    ///
    /// # Errors
    /// Text that is no relation.
    pub fn recommends(&self) -> Result<Vec<AnyOf<'a>>, RelationError> {
        parse_alternatives(self.relations[2])
    }

    /// What must not be there: Conflicts, then Breaks.
    ///
    /// # Errors
    /// Text that is no relation.
    pub fn conflicts(&self) -> Result<Vec<Relation<'a>>, RelationError> {
        let mut all = parse_list(self.relations[3])?;
        all.extend(parse_list(self.relations[4])?);
        Ok(all)
    }

    /// What it stands for besides itself.
    ///
    /// # Errors
    /// Text that is no relation.
    pub fn provides(&self) -> Result<Vec<Relation<'a>>, RelationError> {
        parse_list(self.relations[5])
    }
}

impl<'a> Index<'a> {
    /// Reads a Packages file of this architecture. Packages of another one, which some vendors list
    /// beside it, are left out.
    ///
    /// # Errors
    /// The first stanza that is hostile or incomplete.
    pub fn parse(bytes: &'a [u8], arch: Arch) -> Result<Self, IndexError> {
        let text = deb822::text(bytes)?;
        // Some 800 bytes a stanza in Debian.
        let mut packages = Vec::with_capacity(text.len() / 800);
        let mut stanzas = Stanzas::new(text);
        loop {
            let mut draft = Draft::default();
            if !stanzas.next_stanza(|field| draft.take(field))? {
                return Ok(Self { packages });
            }
            packages.extend(draft.finish(arch, &stanzas)?);
        }
    }

    /// The packages, in the order of the file.
    #[must_use]
    pub fn packages(&self) -> &[Package<'a>] {
        &self.packages
    }
}

/// The fields of a stanza that matter, as they come.
#[derive(Default)]
struct Draft<'a> {
    single: [Option<&'a str>; SINGLE_FIELDS.len()],
    relations: [Option<&'a str>; RELATION_FIELDS.len()],
}

/// The other fields that matter.
const SINGLE_FIELDS: [&str; 10] = [
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Essential",
    "Priority",
    "Filename",
    "Size",
    "SHA256",
    "Installed-Size",
];

impl<'a> Draft<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Deb822Error> {
        let slots =
            SINGLE_FIELDS.iter().zip(&mut self.single).chain(RELATION_FIELDS.iter().zip(&mut self.relations));
        for (name, slot) in slots {
            if name.len() == field.name.len() && field.is(name) {
                if slot.replace(field.value).is_some() {
                    return Err(Deb822Error { line: field.line, fault: deb822::Fault::Duplicate });
                }
                break;
            }
        }
        Ok(())
    }

    /// Checks the whole; `None` for a package of another architecture.
    fn finish(self, arch: Arch, stanzas: &Stanzas<'_>) -> Result<Option<Package<'a>>, IndexError> {
        let [name, version, of_arch, multi_arch, essential, priority, path, size, sha256, installed] =
            self.single;
        let name = name.ok_or(IndexError::Nameless { line: stanzas.line().get() })?;
        let owned = |text: &str| text.chars().take(200).collect::<String>();
        let value = |field, value: &str, fault| IndexError::Value {
            package: owned(name),
            field,
            value: owned(value),
            fault,
        };
        if let Some(fault) = package_name_fault(name) {
            return Err(value("Package", name, fault));
        }
        let need = |field, found: Option<&'a str>| {
            found.ok_or_else(|| IndexError::Missing { package: name.to_owned(), field })
        };
        let of_arch = need("Architecture", of_arch)?;
        if of_arch != "all" && of_arch != arch.debian() {
            return Ok(None);
        }
        let version = Version::parse(need("Version", version)?)
            .map_err(|source| IndexError::Version { package: name.to_owned(), source })?;
        let spelt = need("Filename", path)?;
        let path = spelt.strip_prefix("./").unwrap_or(spelt);
        if let Some(fault) = archive_path_fault(path) {
            return Err(value("Filename", spelt, fault));
        }
        let text = need("Size", size)?;
        let size = number(text)
            .filter(|size| (1..=MAX_DEB).contains(size))
            .ok_or_else(|| value("Size", text, "it is not between 1 byte and 16 GiB"))?;
        let text = need("SHA256", sha256)?;
        let sha256 =
            text.parse().map_err(|_| value("SHA256", text, "it is not 64 lowercase hexadecimal digits"))?;
        let installed_size = match installed {
            None => None,
            Some(text) => {
                Some(number(text).ok_or_else(|| value("Installed-Size", text, "it is not a number"))?)
            }
        };
        Ok(Some(Package {
            name,
            version,
            arch: of_arch,
            multi_arch: multi_arch.filter(|text| *text != "no"),
            essential: essential == Some("yes"),
            priority: priority.unwrap_or("optional"),
            path,
            size,
            sha256,
            installed_size,
            relations: self.relations.map(Option::unwrap_or_default),
        }))
    }
}

/// A number of digits alone: `parse` would let a plus sign through.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
