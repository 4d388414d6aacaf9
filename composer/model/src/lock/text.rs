//! The text form of a lock: strict to read, canonical to write.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::Deserialize;

use super::check::{LockError, check};
use super::{Lock, LockRequest, LockedPackage, LockedSuite, SCHEMA};
use crate::arch::Arch;

/// What is wrong with the text of a lock.
#[derive(Debug, thiserror::Error)]
pub enum ParseLockError {
    /// It is not the TOML of a lock.
    #[error("reading the lock")]
    Toml(#[from] toml::de::Error),
    /// It is of a form this program does not know.
    #[error("the lock has schema {found}; this program reads schema {SCHEMA}: resolve again")]
    Schema {
        /// The number found.
        found: u32,
    },
    /// It says something a lock cannot say.
    #[error("checking the lock")]
    Lock(#[from] LockError),
}

/// The schema number alone, so that a newer lock is told from a damaged one.
#[derive(Deserialize)]
struct SchemaDoc {
    schema: u32,
}

/// The text as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockDoc {
    #[serde(rename = "schema")]
    _schema: u32,
    recipe: String,
    arch: Arch,
    source_date: u64,
    request: LockRequest,
    suites: Vec<LockedSuite>,
    packages: Vec<LockedPackage>,
    #[serde(default)]
    build: Vec<LockedPackage>,
    #[serde(default)]
    twins: Vec<LockedPackage>,
}

impl FromStr for Lock {
    type Err = ParseLockError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let SchemaDoc { schema } = toml::from_str(text)?;
        if schema != SCHEMA {
            return Err(ParseLockError::Schema { found: schema });
        }
        let LockDoc { _schema, recipe, arch, source_date, request, suites, packages, build, twins } =
            toml::from_str(text)?;
        let lock = Self { recipe, arch, source_date, request, suites, packages, build, twins };
        check(&lock)?;
        Ok(lock)
    }
}

/// A list on one line. The checks let no character through that would need an escape.
pub(super) fn list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

/// A table on one line.
pub(super) fn table(items: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = items.iter().map(|(key, value)| format!("\"{key}\" = \"{value}\"")).collect();
    match pairs.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", pairs.join(", ")),
    }
}

/// A list of one item a line; `[]` when there is none.
fn lines<T>(f: &mut fmt::Formatter<'_>, key: &str, items: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
    if items.is_empty() {
        return writeln!(f, "{key} = []");
    }
    writeln!(f, "{key} = [")?;
    items.iter().try_for_each(|item| writeln!(f, "    {},", line(item)))?;
    f.write_str("]\n")
}

/// A package on one line.
pub(super) fn package(p: &LockedPackage) -> String {
    format!(
        "{{ name = \"{}\", version = \"{}\", arch = \"{}\", archive = \"{}\", path = \"{}\", size = {}, sha256 = \"{}\" }}",
        p.name, p.version, p.arch, p.archive, p.path, p.size, p.sha256
    )
}

/// Writes the canonical text. What was made by [`Lock::canonical`] or parsed reads back as itself.
impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# Written by `goni-compose lock`: every input of the image, by digest.\n")?;
        writeln!(f, "schema = {SCHEMA}")?;
        writeln!(f, "recipe = \"{}\"", self.recipe)?;
        writeln!(f, "arch = \"{}\"", self.arch)?;
        writeln!(f, "source_date = {}", self.source_date)?;
        f.write_char('\n')?;
        let request = &self.request;
        lines(f, "request.packages", &request.packages, |name| format!("\"{name}\""))?;
        lines(f, "request.exclude", &request.exclude, |name| format!("\"{name}\""))?;
        lines(f, "request.provided", &request.provided, |name| format!("\"{name}\""))?;
        writeln!(f, "request.recommends = {}", request.recommends)?;
        if !request.dkms.is_empty() {
            lines(f, "request.dkms", &request.dkms, |name| format!("\"{name}\""))?;
        }
        if request.build {
            f.write_str("request.build = true\n")?;
        }
        if !request.local.is_empty() {
            lines(f, "request.local", &request.local, |file| format!("\"{file}\""))?;
        }
        lines(f, "request.archives", &request.archives, |archive| {
            // What only vendors' archives have is written where there is some.
            let mut more = String::new();
            for (key, list_of) in [("replace", &archive.replace), ("weak", &archive.weak)] {
                if !list_of.is_empty() {
                    more.push_str(&format!(", {key} = {}", list(list_of)));
                }
            }
            if !archive.depends.is_empty() {
                more.push_str(&format!(", depends = {}", table(&archive.depends)));
            }
            format!(
                "{{ name = \"{}\", suites = {}, components = {}, allow = {}, keys = {}{more} }}",
                archive.name,
                list(&archive.suites),
                list(&archive.components),
                list(&archive.allow),
                list(&archive.keys),
            )
        })?;
        f.write_char('\n')?;
        lines(f, "suites", &self.suites, |s| {
            format!(
                "{{ archive = \"{}\", suite = \"{}\", codename = \"{}\", date = {}, sha256 = \"{}\" }}",
                s.archive, s.suite, s.codename, s.date, s.sha256
            )
        })?;
        f.write_char('\n')?;
        lines(f, "packages", &self.packages, package)?;
        for (key, list) in [("build", &self.build), ("twins", &self.twins)] {
            if !list.is_empty() {
                f.write_char('\n')?;
                lines(f, key, list, package)?;
            }
        }
        Ok(())
    }
}
