//! The text form of a lock: strict to read, canonical to write.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::Deserialize;

use super::check::{Found, LockError, check};
use super::{
    FIRST_SCHEMA, Lock, LockRequest, LockedId, LockedInput, LockedPackage, LockedSuite, SCHEMA, SignedFile,
};
use crate::arch::Arch;
use crate::digest::Sha256Digest;

/// What the last line begins with; the digest is of all before that line.
const SEAL: &str = "sha256 = \"";

/// What is wrong with the text of a lock.
#[derive(Debug, thiserror::Error)]
pub enum ParseLockError {
    /// It is not the TOML of a lock.
    #[error("reading the lock")]
    Toml(#[from] toml::de::Error),
    /// It is of a form this program does not know.
    #[error("the lock has schema {found}; this program reads schema {SCHEMA}")]
    Schema {
        /// The number found.
        found: u32,
    },
    /// It says something a lock cannot say.
    #[error("checking the lock, line {line}")]
    Lock {
        /// The line, from 1.
        line: usize,
        /// What it says.
        source: LockError,
    },
    /// It does not end in a digest.
    #[error("the lock does not end in its own digest: it was cut short, or changed")]
    Unsealed,
    /// Its text is not the one that its last line is the digest of.
    #[error(
        "line {line}: the digest says {said}, the text before it has {found}: it was changed since it was written"
    )]
    Broken {
        /// The line of the digest, from 1.
        line: usize,
        /// What it says.
        said: Sha256Digest,
        /// What the text has.
        found: Sha256Digest,
    },
    /// The digest is right, and still no program wrote this.
    #[error("line {line} is not as a lock has it: expected `{expected}`")]
    Layout {
        /// The first such line, from 1.
        line: usize,
        /// What a lock has there.
        expected: String,
    },
}

/// A lock that is read to be completed or made anew, not to be built from.
#[derive(Debug)]
pub struct Reading {
    /// What it says.
    pub lock: Lock,
    /// Whether the text is of the form before this.
    pub outdated: bool,
    /// How it was changed since it was written; then nothing it says is believed unseen.
    pub broken: Option<ParseLockError>,
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
    #[serde(default)]
    signed: Vec<SignedFile>,
    #[serde(default)]
    inputs: Vec<LockedInput>,
    #[serde(default)]
    ids: Vec<LockedId>,
    packages: Vec<LockedPackage>,
    #[serde(default)]
    build: Vec<LockedPackage>,
    #[serde(default)]
    twins: Vec<LockedPackage>,
    #[serde(default, rename = "sha256")]
    _sha256: Option<String>,
}

/// The lock that a text of either schema says, sealed or not.
fn read(text: &str) -> Result<(u32, Lock), ParseLockError> {
    let SchemaDoc { schema } = toml::from_str(text)?;
    if !(FIRST_SCHEMA..=SCHEMA).contains(&schema) {
        return Err(ParseLockError::Schema { found: schema });
    }
    let LockDoc {
        _schema,
        recipe,
        arch,
        source_date,
        request,
        suites,
        signed,
        inputs,
        ids,
        packages,
        build,
        twins,
        _sha256,
    } = toml::from_str(text)?;
    let lock =
        Lock { recipe, arch, source_date, request, suites, signed, inputs, ids, packages, build, twins };
    check(&lock).map_err(|found| {
        let line = line_of(text, &found);
        ParseLockError::Lock { line, source: found.error }
    })?;
    Ok((schema, lock))
}

/// The line that a fault is in, by the layout of one item a line.
fn line_of(text: &str, found: &Found) -> usize {
    let key = format!("{} =", found.list);
    let head = text.lines().position(|line| line.starts_with(&key)).unwrap_or(0);
    let item = found.item.map_or(0, |item| item.saturating_add(1));
    head.saturating_add(item).saturating_add(1)
}

/// Sees that a text ends in the digest of all before.
fn check_seal(text: &str) -> Result<(), ParseLockError> {
    let at = text.rfind(&format!("\n{SEAL}")).ok_or(ParseLockError::Unsealed)?.saturating_add(1);
    let (before, last) = text.split_at(at);
    let said = last.strip_prefix(SEAL).and_then(|rest| rest.strip_suffix("\"\n"));
    let said: Sha256Digest = said.and_then(|said| said.parse().ok()).ok_or(ParseLockError::Unsealed)?;
    let found = Sha256Digest::of(before.as_bytes());
    match said == found {
        true => Ok(()),
        false => Err(ParseLockError::Broken { line: before.lines().count().saturating_add(1), said, found }),
    }
}

/// Sees that a text is the one that a lock is written as.
fn check_layout(text: &str, lock: &Lock) -> Result<(), ParseLockError> {
    let canonical = lock.to_string();
    if canonical == text {
        return Ok(());
    }
    let mut lines = text.lines();
    let differs = canonical.lines().enumerate().find(|(_, line)| lines.next() != Some(line));
    let (at, expected) = differs.unwrap_or_else(|| (canonical.lines().count(), ""));
    Err(ParseLockError::Layout { line: at.saturating_add(1), expected: expected.to_owned() })
}

impl Lock {
    /// Reads a lock to complete it or to make it anew: also one of the form before, or one that was changed.
    ///
    /// # Errors
    /// Text that says nothing a lock can say.
    pub fn reading(text: &str) -> Result<Reading, ParseLockError> {
        let (schema, lock) = read(text)?;
        let outdated = schema != SCHEMA;
        let sealed = check_seal(text).and_then(|()| check_layout(text, &lock));
        Ok(Reading { lock, outdated, broken: sealed.err().filter(|_| !outdated) })
    }
}

impl FromStr for Lock {
    type Err = ParseLockError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (schema, lock) = read(text)?;
        if schema != SCHEMA {
            return Err(ParseLockError::Schema { found: schema });
        }
        check_seal(text)?;
        check_layout(text, &lock)?;
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
fn lines<T>(f: &mut String, key: &str, items: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
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
        let mut text = String::new();
        self.write(&mut text)?;
        let seal = Sha256Digest::of(text.as_bytes());
        writeln!(f, "{text}{SEAL}{seal}\"")
    }
}

impl Lock {
    /// Everything but the last line.
    fn write(&self, f: &mut String) -> fmt::Result {
        f.write_str("# Written by `goni-compose lock`: every input of the image, by digest.\n")?;
        f.write_str("# The last line is the digest of all before it.\n")?;
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
        lines(f, "signed", &self.signed, |it| {
            format!(
                "{{ archive = \"{}\", suite = \"{}\", file = \"{}\", sha256 = \"{}\" }}",
                it.archive, it.suite, it.file, it.sha256
            )
        })?;
        f.write_char('\n')?;
        lines(f, "inputs", &self.inputs, |it| {
            format!("{{ kind = \"{}\", name = \"{}\", sha256 = \"{}\" }}", it.kind, it.name, it.sha256)
        })?;
        f.write_char('\n')?;
        lines(f, "ids", &self.ids, |it| {
            let gone = if it.gone { ", gone = true" } else { "" };
            format!("{{ kind = \"{}\", name = \"{}\", id = {}{gone} }}", it.kind, it.name, it.id)
        })?;
        f.write_char('\n')?;
        lines(f, "packages", &self.packages, package)?;
        for (key, list) in [("build", &self.build), ("twins", &self.twins)] {
            if !list.is_empty() {
                f.write_char('\n')?;
                lines(f, key, list, package)?;
            }
        }
        f.write_char('\n')
    }
}
