//! What dpkg's database says of the packages of a finished tree, and which of them needs which.
//!
//! As far as a bill of materials, an index or a check asks for it; whether a state is right, a check judges.
//! Source: Debian Policy §5.3, §7; dpkg's status file.

use std::collections::{BTreeMap, BTreeSet};

use goni_model::arch::Arch;

use crate::deb822::{self, Deb822Error, Field, Stanzas};
use crate::relation::{AnyOf, Relation, RelationError, parse_alternatives, parse_list};
use crate::version::{Version, VersionError};

/// Where dpkg keeps it.
pub const STATUS: &str = "var/lib/dpkg/status";

/// The fields that bring packages along, the strongest first.
pub const BRINGING: [&str; 3] = ["Pre-Depends", "Depends", "Recommends"];

/// A package that the database knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version, epoch included.
    pub version: String,
    /// Its architecture, or `all`.
    pub arch: String,
    /// What is wanted of it, its fault and its state: `install ok installed`.
    pub state: Option<String>,
    /// Whether every system must have it.
    pub essential: bool,
    /// What it says it takes, in bytes; zero if it does not say.
    pub size: u64,
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
    /// In the order of [`BRINGING`].
    relations: [String; 3],
    provides: String,
}

/// Why a database says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstalledError {
    /// It is no control file.
    #[error("reading `/{STATUS}`")]
    Stanzas(#[from] Deb822Error),
    /// A package without a name.
    #[error("a package in `/{STATUS}` has no `Package`")]
    Nameless,
    /// A package without a version or an architecture.
    #[error("package `{package}` in `/{STATUS}` has no `{field}`")]
    Missing {
        /// The package.
        package: String,
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

impl Installed {
    /// Whether it is there whole: what was removed leaves its configuration files, and a stanza.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.ends_with(" installed"))
    }

    /// What the fields of [`BRINGING`] ask for, in their order.
    ///
    /// # Errors
    /// A relation that is none.
    pub fn brings(&self) -> Result<[Vec<AnyOf<'_>>; 3], InstalledError> {
        let [strongest, strong, weak] = &self.relations;
        let parse = |text| parse_alternatives(text).map_err(|source| self.relation_error(source));
        Ok([parse(strongest)?, parse(strong)?, parse(weak)?])
    }

    /// What it provides.
    ///
    /// # Errors
    /// A relation that is none.
    pub fn provides(&self) -> Result<Vec<Relation<'_>>, InstalledError> {
        parse_list(&self.provides).map_err(|source| self.relation_error(source))
    }

    fn relation_error(&self, source: RelationError) -> InstalledError {
        InstalledError::Relation { package: self.name.clone(), source }
    }
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
    let owned = |name| value(name).map(str::to_owned);
    let name = owned("Package").ok_or(InstalledError::Nameless)?;
    let needed = |field| owned(field).ok_or_else(|| InstalledError::Missing { package: name.clone(), field });
    let version = needed("Version")?;
    let built_using = value("Built-Using").into_iter().flat_map(|list| list.split(','));
    // In KiB. Source: policy §5.6.20.
    let size: u64 = value("Installed-Size").and_then(|size| size.parse().ok()).unwrap_or_default();
    Ok(Installed {
        arch: needed("Architecture")?,
        state: owned("Status"),
        essential: value("Essential") == Some("yes"),
        size: size.saturating_mul(1024),
        source: source(value("Source"), &name, &version),
        maintainer: owned("Maintainer"),
        summary: value("Description").and_then(|text| text.lines().next()).unwrap_or_default().to_owned(),
        homepage: owned("Homepage"),
        section: owned("Section"),
        built_using: built_using.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect(),
        relations: BRINGING.map(|field| owned(field).unwrap_or_default()),
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
    let mut answers: BTreeMap<&str, Vec<(&Installed, Option<Version<'_>>)>> = BTreeMap::new();
    for package in packages {
        let version = Version::parse(&package.version)
            .map_err(|source| InstalledError::Version { package: package.name.clone(), source })?;
        answers.entry(&package.name).or_default().push((package, Some(version)));
        for provided in package.provides()? {
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
        let [strongest, strong, _] = package.brings()?;
        let mut needed = BTreeSet::new();
        for AnyOf(alternatives) in strongest.iter().chain(&strong) {
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
Installed-Size: 12
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
Status: deinstall ok config-files
Essential: yes
Version: 1
Architecture: amd64
Source: c-source
Depends: aa:any, cc
Recommends: lib-b | gone
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
    fn states_and_sizes_are_read_where_they_are_said() {
        let packages = parse(DATABASE).unwrap();
        let told = packages.iter().map(|it| (it.state.as_deref(), it.is_there(), it.essential, it.size));
        let expected = [
            (None, false, false, 0),
            (Some("deinstall ok config-files"), false, true, 0),
            (Some("install ok installed"), true, false, 12 << 10),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        let told = |all: Vec<AnyOf<'_>>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let [strongest, strong, weak] = packages[1].brings().unwrap().map(told);
        assert_eq!([strongest, strong, weak].map(|all| all.join("; ")), ["", "aa:any; cc", "lib-b | gone"]);
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
            "package `a` in `/var/lib/dpkg/status` has no `Version`"
        );
        assert_eq!(
            parse(b"Version: 1\nArchitecture: all\n").unwrap_err().to_string(),
            "a package in `/var/lib/dpkg/status` has no `Package`"
        );
        assert!(matches!(parse(b"\xff"), Err(InstalledError::Stanzas(_))));
        let odd = parse(b"Package: a\nVersion: 1\nArchitecture: all\nDepends: (\n").unwrap();
        assert!(matches!(needs(&odd, Arch::Amd64), Err(InstalledError::Relation { .. })));
    }
}
