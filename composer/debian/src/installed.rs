//! What dpkg's database says of the packages of a finished tree, and which of them needs which.
//!
//! As far as a bill of materials tells it; the states of packages are `verify`'s.
//! Source: Debian Policy §5.3, §7; dpkg's status file.

use std::collections::{BTreeMap, BTreeSet};

use goni_model::arch::Arch;

use crate::deb822::{self, Deb822Error, Field, Stanzas};
use crate::relation::{AnyOf, Relation, RelationError, parse_alternatives, parse_list};
use crate::version::{Version, VersionError};

/// Where dpkg keeps it.
pub const STATUS: &str = "var/lib/dpkg/status";

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version, epoch included.
    pub version: String,
    /// Its architecture, or `all`.
    pub arch: String,
    /// The source package it was built from, and that one's version.
    pub source: (String, String),
    /// Who looks after it: name and address.
    pub maintainer: Option<String>,
    /// The first line of what it is.
    pub summary: String,
    /// Its page.
    pub homepage: Option<String>,
    /// Where the archive sorts it: `libs`, `non-free-firmware/kernel`.
    pub section: Option<String>,
    /// Sources of other packages that are in it, `name (= version)`. Source: policy §7.8.
    pub built_using: Vec<String>,
    depends: String,
    provides: String,
}

/// Why a database says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstalledError {
    /// It is no control file.
    #[error("reading `/{STATUS}`")]
    Stanzas(#[from] Deb822Error),
    /// A package without a name or a version.
    #[error("a package in `/{STATUS}` has no `{field}`")]
    Missing {
        /// What it lacks.
        field: &'static str,
    },
    /// A relation that is none.
    #[error("relations of package `{package}`")]
    Relation {
        /// The package.
        package: String,
        /// What is wrong.
        source: RelationError,
    },
    /// A version that is none.
    #[error("the version of package `{package}`")]
    Version {
        /// The package.
        package: String,
        /// What is wrong.
        source: VersionError,
    },
}

/// Reads the packages of a status file, sorted by name.
///
/// # Errors
/// Text that is no control file; a package without name, version or architecture.
pub fn parse(status: &[u8]) -> Result<Vec<Installed>, InstalledError> {
    let mut stanzas = Stanzas::new(deb822::text(status)?);
    let mut packages = Vec::new();
    while let Some(fields) = stanzas.next_fields()? {
        packages.push(package(&fields)?);
    }
    packages.sort_by(|a: &Installed, b: &Installed| (&a.name, &a.arch).cmp(&(&b.name, &b.arch)));
    Ok(packages)
}

fn package(fields: &[Field<'_>]) -> Result<Installed, InstalledError> {
    let value = |name: &str| fields.iter().find(|field| field.is(name)).map(|field| field.value);
    let needed = |field| value(field).map(str::to_owned).ok_or(InstalledError::Missing { field });
    let owned = |name| value(name).map(str::to_owned);
    let (name, version) = (needed("Package")?, needed("Version")?);
    let relations = ["Pre-Depends", "Depends"].into_iter().filter_map(value).filter(|it| !it.is_empty());
    let built_using = value("Built-Using").into_iter().flat_map(|list| list.split(','));
    Ok(Installed {
        source: source(value("Source"), &name, &version),
        arch: needed("Architecture")?,
        maintainer: owned("Maintainer"),
        summary: value("Description").and_then(|text| text.lines().next()).unwrap_or_default().to_owned(),
        homepage: owned("Homepage"),
        section: owned("Section"),
        built_using: built_using.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect(),
        depends: relations.collect::<Vec<_>>().join(", "),
        provides: owned("Provides").unwrap_or_default(),
        name,
        version,
    })
}

/// The source of a package: itself where it says nothing, `name` or `name (version)` else.
/// Source: policy §5.6.1.
fn source(field: Option<&str>, name: &str, version: &str) -> (String, String) {
    let text = field.unwrap_or(name).trim();
    match text.split_once('(') {
        Some((name, rest)) => (name.trim().to_owned(), rest.trim_end_matches(')').trim().to_owned()),
        None => (text.to_owned(), version.to_owned()),
    }
}

/// Which package needs which, by name: those that answer its Depends and Pre-Depends. Of alternatives the
/// first that is there counts, and of several that provide it each. What is not there at all is left out:
/// a recipe may say that something else does its job.
///
/// # Errors
/// A relation or a version that is none.
pub fn needs(packages: &[Installed], arch: Arch) -> Result<BTreeMap<&str, BTreeSet<&str>>, InstalledError> {
    let relation =
        |package: &Installed, source| InstalledError::Relation { package: package.name.clone(), source };
    let mut answers: BTreeMap<&str, Vec<(&Installed, Option<Version<'_>>)>> = BTreeMap::new();
    for package in packages {
        let version = Version::parse(&package.version)
            .map_err(|source| InstalledError::Version { package: package.name.clone(), source })?;
        answers.entry(&package.name).or_default().push((package, Some(version)));
        for provided in parse_list(&package.provides).map_err(|source| relation(package, source))? {
            // Without a version of its own, it answers no constraint. Source: policy §7.5.
            let version = provided.constraint.map(|constraint| constraint.version);
            answers.entry(provided.name).or_default().push((package, version));
        }
    }
    let meets = |wanted: &Relation<'_>| -> BTreeSet<&str> {
        let offers = answers.get(wanted.name).map(Vec::as_slice).unwrap_or_default();
        let fits = |version: Option<Version<'_>>| {
            wanted.constraint.is_none_or(|constraint| version.is_some_and(|it| constraint.allows(it)))
        };
        offers.iter().filter(|(_, version)| fits(*version)).map(|(it, _)| it.name.as_str()).collect()
    };
    let mut needs = BTreeMap::new();
    for package in packages {
        let depends = parse_alternatives(&package.depends).map_err(|source| relation(package, source))?;
        let mut needed = BTreeSet::new();
        for AnyOf(alternatives) in &depends {
            let applying = alternatives.iter().filter(|wanted| wanted.applies_to(arch));
            needed.extend(applying.map(&meets).find(|met| !met.is_empty()).unwrap_or_default());
        }
        needed.remove(package.name.as_str());
        needs.insert(package.name.as_str(), needed);
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &[u8] = b"\
Package: lib-b
Status: install ok installed
Version: 1:2-1+b1
Architecture: amd64
Source: b-source (1:2-1)
Maintainer: Somebody <a@example.org>
Section: libs
Homepage: https://example.org/
Provides: virtual, old (= 3)
Description: does b
 At length.

Package: aa
Version: 1
Architecture: all
Pre-Depends: lib-b (>= 1:2)
Depends: virtual (>= 1) | cc, gone, old (>= 2)
Built-Using: xx (= 1), yy (= 2)

Package: cc
Version: 1
Architecture: amd64
Source: c-source
Depends: aa:any, cc
";

    #[test]
    fn packages_are_read_with_their_sources() {
        let packages = parse(DATABASE).unwrap();
        let told: Vec<_> = packages
            .iter()
            .map(|it| (it.name.as_str(), it.source.0.as_str(), it.source.1.as_str()))
            .collect();
        assert_eq!(told, [("aa", "aa", "1"), ("cc", "c-source", "1"), ("lib-b", "b-source", "1:2-1")]);
        assert_eq!(packages[2].summary, "does b");
        assert_eq!(packages[0].built_using, ["xx (= 1)", "yy (= 2)"]);
        assert_eq!(packages[2].maintainer.as_deref(), Some("Somebody <a@example.org>"));
    }

    #[test]
    fn a_package_needs_what_answers_its_relations() {
        let packages = parse(DATABASE).unwrap();
        let needs = needs(&packages, Arch::Amd64).unwrap();
        // `virtual` has no version, so the second alternative answers; `old` is provided with one.
        assert_eq!(needs["aa"], BTreeSet::from(["cc", "lib-b"]));
        assert_eq!(needs["lib-b"], BTreeSet::new());
        assert_eq!(needs["cc"], BTreeSet::from(["aa"]));
    }

    #[test]
    fn a_database_that_is_none_says_why() {
        assert_eq!(
            parse(b"Package: a\nArchitecture: all\n").unwrap_err().to_string(),
            "a package in `/var/lib/dpkg/status` has no `Version`"
        );
        assert!(matches!(parse(b"\xff"), Err(InstalledError::Stanzas(_))));
        let odd = parse(b"Package: a\nVersion: 1\nArchitecture: all\nDepends: (\n").unwrap();
        assert!(matches!(needs(&odd, Arch::Amd64), Err(InstalledError::Relation { .. })));
    }
}
