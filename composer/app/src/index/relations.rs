//! What each package of an image needs, by the image's own dpkg database: the lock does not say.

use std::collections::BTreeMap;

use goni_debian::installed::{self, BRINGING, InstalledError};
use goni_debian::relation::AnyOf;
use goni_debian::version::Version;
use goni_model::arch::Arch;

/// A need of a package: the field, the relation, and the package that answers it.
pub(super) type Need = (String, String, String);

/// What the database says of a package.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Whether every system must have it.
    pub(super) essential: bool,
    /// What it needs, in the order of [`BRINGING`].
    pub(super) needs: Vec<Need>,
}

/// Reads the database of an image.
pub(super) fn read(status: &[u8], arch: Arch) -> Result<BTreeMap<String, Known>, InstalledError> {
    let packages = installed::parse(status)?;
    let names: BTreeMap<&str, Option<Version<'_>>> =
        packages.iter().map(|it| (it.name.as_str(), Version::parse(&it.version).ok())).collect();
    let mut provided: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &packages {
        for relation in package.provides()? {
            provided.entry(relation.name).or_default().push(&package.name);
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
    let mut known = BTreeMap::new();
    for package in &packages {
        let mut needs = Vec::new();
        for (field, relations) in BRINGING.iter().zip(package.brings()?) {
            for any_of in relations {
                if let Some(name) = answer(&any_of).filter(|name| *name != package.name) {
                    needs.push(((*field).to_owned(), any_of.to_string(), name));
                }
            }
        }
        known.insert(package.name.clone(), Known { essential: package.essential, needs });
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_answered_by_what_is_there() {
        let package = |text: &str| format!("Architecture: amd64\n{text}\n");
        let status = [
            "Package: aa\nVersion: 2\nEssential: yes\nPre-Depends: libc6 (>= 2)\n\
             Depends: missing | bb (>= 3) | cc, awk\n",
            "Package: bb\nVersion: 1\n",
            "Package: cc\nVersion: 1\nRecommends: aa, nothing\n",
            "Package: libc6\nVersion: 2.41\n",
            "Package: mawk\nVersion: 1\nProvides: awk\n",
        ];
        let status: String = status.map(package).concat();
        let read = read(status.as_bytes(), Arch::Amd64).unwrap();
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
}
