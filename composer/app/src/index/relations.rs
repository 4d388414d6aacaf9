//! What each package of an image needs, by the image's own dpkg database: the lock does not say.

use std::collections::BTreeMap;

use goni_debian::deb822::{self, Deb822Error, Stanzas};
use goni_debian::relation::{self, AnyOf, RelationError};
use goni_debian::version::Version;
use goni_model::arch::Arch;

/// The fields that bring packages along, the strongest first.
const FIELDS: [&str; 3] = ["Pre-Depends", "Depends", "Recommends"];

/// A need of a package: the field, the relation, and the package that answers it.
pub(super) type Need = (String, String, String);

/// What the database says of a package.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    /// Whether every system must have it.
    pub(super) essential: bool,
    /// What it needs, in the order of [`FIELDS`].
    pub(super) needs: Vec<Need>,
}

/// Why the database says nothing.
#[derive(Debug, thiserror::Error)]
pub enum RelationsError {
    /// It is no control file.
    #[error("reading dpkg's status file")]
    Status(#[from] Deb822Error),
    /// It has a relation that is none.
    #[error("reading the relations of `{package}`")]
    Relation {
        /// The package.
        package: String,
        /// What is wrong.
        source: RelationError,
    },
}

/// A package as it is read.
#[derive(Default)]
struct Stanza<'a> {
    name: &'a str,
    version: &'a str,
    essential: bool,
    fields: [&'a str; 3],
    provides: &'a str,
}

/// Reads the database of an image.
pub(super) fn read(status: &[u8], arch: Arch) -> Result<BTreeMap<String, Installed>, RelationsError> {
    let mut stanzas = Stanzas::new(deb822::text(status)?);
    let mut packages: Vec<Stanza<'_>> = Vec::new();
    while let Some(fields) = stanzas.next_fields()? {
        let mut stanza = Stanza::default();
        for field in fields {
            match FIELDS.iter().position(|name| field.is(name)) {
                Some(which) => stanza.fields[which] = field.value,
                None if field.is("Package") => stanza.name = field.value,
                None if field.is("Version") => stanza.version = field.value,
                None if field.is("Essential") => stanza.essential = field.value == "yes",
                None if field.is("Provides") => stanza.provides = field.value,
                None => {}
            }
        }
        packages.push(stanza);
    }
    let names: BTreeMap<&str, Option<Version<'_>>> =
        packages.iter().map(|it| (it.name, Version::parse(it.version).ok())).collect();
    let mut provided: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &packages {
        let failed = |source| RelationsError::Relation { package: package.name.to_owned(), source };
        for relation in relation::parse_list(package.provides).map_err(failed)? {
            provided.entry(relation.name).or_default().push(package.name);
        }
    }
    let answer = |any_of: &AnyOf<'_>| -> Option<String> {
        any_of.0.iter().filter(|relation| relation.applies_to(arch)).find_map(|relation| {
            let right = |version: &Option<Version<'_>>| match (&relation.constraint, version) {
                (Some(constraint), Some(version)) => constraint.allows(*version),
                (constraint, _) => constraint.is_none(),
            };
            if names.get(relation.name).is_some_and(right) {
                return Some(relation.name.to_owned());
            }
            provided.get(relation.name)?.first().map(|name| (*name).to_owned())
        })
    };
    let mut installed = BTreeMap::new();
    for package in &packages {
        let mut needs = Vec::new();
        for (field, text) in FIELDS.iter().zip(package.fields) {
            let failed = |source| RelationsError::Relation { package: package.name.to_owned(), source };
            for any_of in relation::parse_alternatives(text).map_err(failed)? {
                if let Some(name) = answer(&any_of).filter(|name| name != package.name) {
                    needs.push(((*field).to_owned(), any_of.to_string(), name));
                }
            }
        }
        installed.insert(package.name.to_owned(), Installed { essential: package.essential, needs });
    }
    Ok(installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_answered_by_what_is_there() {
        let status = b"Package: aa\nVersion: 2\nEssential: yes\nPre-Depends: libc6 (>= 2)\n\
            Depends: missing | bb (>= 3) | cc, awk\n\nPackage: bb\nVersion: 1\n\nPackage: cc\nVersion: 1\n\
            Recommends: aa, nothing\n\nPackage: libc6\nVersion: 2.41\n\nPackage: mawk\nVersion: 1\nProvides: awk\n";
        let read = read(status, Arch::Amd64).unwrap();
        let needs = |name: &str| -> Vec<String> {
            read[name].needs.iter().map(|(field, text, to)| format!("{field}: {text} → {to}")).collect()
        };
        assert!(read["aa"].essential && !read["bb"].essential);
        let of_a = [
            "Pre-Depends: libc6 (>= 2) → libc6",
            "Depends: missing | bb (>= 3) | cc → cc",
            "Depends: awk → mawk",
        ];
        assert_eq!(needs("aa"), of_a);
        assert_eq!(needs("cc"), ["Recommends: aa → aa"]);
    }

    #[test]
    fn what_is_no_database_is_refused() {
        assert_eq!(read(b"x\n", Arch::Amd64).unwrap_err().to_string(), "reading dpkg's status file");
        let error = read(b"Package: aa\nDepends: (\n", Arch::Amd64).unwrap_err();
        assert_eq!(error.to_string(), "reading the relations of `aa`");
    }
}
