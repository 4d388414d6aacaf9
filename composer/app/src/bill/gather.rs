//! Reads a bill out of a lock and a finished tree.

mod laid;

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use goni_debian::copyright::{self, Copyright};
use goni_debian::installed::{self, Installed, InstalledError, STATUS};
use goni_debian::licence::{Expression, reference_word, spdx_of};
use goni_disk::tree::{ContentSource, FileTree, Kind, TreePath};
use goni_model::digest::Sha256Digest;
use goni_model::lock::{LOCAL, Lock, LockedPackage};
use goni_model::plan::{Plan, StageId};
use goni_model::time::Timestamp;

use super::{Bill, CopyrightFile, Licences, Origin, Package, REFERENCE, Reference};
use crate::build::plan::Input;
use crate::failure::{Class, Classify};
use crate::host::mirror::DEBIAN_BACKPORTS;
use crate::project::Project;
use crate::stages::modules::Recorded;

/// The largest copyright file that is read: Chromium's has some 3 MiB.
const COPYRIGHT_LIMIT: u64 = 32 << 20;

/// The largest database that is read.
const STATUS_LIMIT: u64 = 256 << 20;

/// What a bill is read from.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a source of bytes has nothing to show")]
pub struct Materials<'a> {
    /// The project.
    pub project: &'a Project,
    /// Its lock.
    pub lock: &'a Lock,
    /// Its plan.
    pub plan: &'a Plan,
    /// What the whole image depends on.
    pub build: StageId,
    /// Digest of the program that builds.
    pub program: Sha256Digest,
    /// Digest of the lock of the tools.
    pub toolbox: Sha256Digest,
    /// Overlays and payloads, by digest.
    pub inputs: &'a [Input],
    /// Payloads for which a stand-in was laid.
    pub stand_ins: &'a [String],
    /// The root.
    pub root: &'a FileTree,
    /// The state, set apart from it.
    pub state: &'a FileTree,
    /// The bytes of both.
    pub contents: &'a dyn ContentSource,
    /// Kernel modules that the kernel's package does not bring.
    pub modules: &'a [Recorded],
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// dpkg's database is wrong.
    #[error("what dpkg's database says of the packages")]
    Installed(#[from] InstalledError),
    /// A package of the lock is not in the tree, or is another.
    #[error("package `{name}` of the lock is {wanted}, and the tree has {found}")]
    Differs {
        /// The package.
        name: String,
        /// The version of the lock.
        wanted: String,
        /// What the tree has.
        found: String,
    },
    /// The tree has a package that the lock has not.
    #[error("the tree has package `{name}`, which the lock does not")]
    Unknown {
        /// The package.
        name: String,
    },
    /// A file of the tree is larger than any of its kind.
    #[error("`{path}` of the tree is {size} bytes; the most is {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// A file of the tree could not be read.
    #[error("reading `{path}` of the tree")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Classify for BillError {
    fn class(&self) -> Class {
        match self {
            Self::Read { .. } => Class::Environment,
            _ => Class::Content,
        }
    }
}

/// Reads the bill of a finished tree.
///
/// # Errors
/// A tree whose packages are not those of the lock, or whose files cannot be read.
pub fn gather(materials: &Materials<'_>) -> Result<Bill, BillError> {
    let Materials { project, lock, plan, .. } = materials;
    let mut references = References::default();
    let debian = lock.suites.iter().find(|suite| suite.archive == "debian");
    Ok(Bill {
        name: plan.name.clone(),
        version: plan.version.clone(),
        arch: plan.arch,
        target: project.target.name.to_string(),
        suite: debian.map(|suite| suite.codename.clone()).unwrap_or_default(),
        date: Timestamp::from_seconds(i64::try_from(plan.source_date).unwrap_or(i64::MAX)),
        build: materials.build,
        program: materials.program,
        toolbox: materials.toolbox,
        packages: packages(materials, &mut references)?,
        laid: laid::laid(materials)?,
        modules: materials.modules.to_vec(),
        module_build: lock.build.clone(),
        references: references.0,
    })
}

fn packages(materials: &Materials<'_>, references: &mut References) -> Result<Vec<Package>, BillError> {
    let status = TreePath::parse(STATUS.as_bytes()).expect("a path written in this program is canonical");
    let (_, status) = read(materials, &status, STATUS_LIMIT)?.unwrap_or_default();
    let installed = installed::parse(&status)?;
    let needs = installed::needs(&installed, materials.plan.arch)?;
    let locked = &materials.lock.packages;
    if let Some(unknown) = installed.iter().find(|it| !locked.iter().any(|locked| locked.name == it.name)) {
        return Err(BillError::Unknown { name: unknown.name.clone() });
    }
    let mut packages = Vec::new();
    for locked in locked {
        let there = installed.iter().find(|it| it.name == locked.name);
        let found = there.filter(|it| it.version == locked.version).ok_or_else(|| BillError::Differs {
            name: locked.name.clone(),
            wanted: locked.version.clone(),
            found: there.map_or_else(|| "none of it".to_owned(), |it| it.version.clone()),
        })?;
        packages.push(Package {
            locked: locked.clone(),
            origin: origin(materials, locked),
            needs: needs[found.name.as_str()].iter().map(|name| (*name).to_owned()).collect(),
            licences: licences(materials, found, references)?,
            installed: found.clone(),
            excepted: None,
        });
    }
    Ok(packages)
}

/// Where a package of the lock comes from.
fn origin(materials: &Materials<'_>, locked: &LockedPackage) -> Origin {
    let archive = locked.archive.as_str();
    let suites = materials.lock.suites.iter().filter(|suite| suite.archive == archive);
    let vendor = materials.project.recipe.archives.iter().find(|it| it.name.as_str() == archive);
    Origin {
        supplier: match archive {
            LOCAL => None,
            name if is_debian(name) => Some("Debian".to_owned()),
            name => Some(name.to_owned()),
        },
        suites: suites.map(|suite| suite.suite.clone()).collect(),
        component: component(locked).to_owned(),
        key: vendor.map(|it| it.key.fingerprint.to_string()),
        address: vendor.map(|it| it.uri.as_str().to_owned()).filter(|uri| uri.starts_with("http")),
    }
}

fn is_debian(archive: &str) -> bool {
    matches!(archive, "debian" | "debian-security" | DEBIAN_BACKPORTS)
}

/// The component of a package: Debian's from its path, `pool/main/…` or `pool/updates/main/…`; `vendor` for
/// other archives and `local` for files of the project.
pub(crate) fn component(locked: &LockedPackage) -> &str {
    match locked.archive.as_str() {
        LOCAL => LOCAL,
        archive if is_debian(archive) => {
            let path = locked.path.strip_prefix("pool/").unwrap_or(&locked.path);
            let path = path.strip_prefix("updates/").unwrap_or(path);
            path.split_once('/').map_or(path, |(component, _)| component)
        }
        _ => "vendor",
    }
}

/// What the copyright file of a package says.
fn licences(
    materials: &Materials<'_>,
    package: &Installed,
    references: &mut References,
) -> Result<Licences, BillError> {
    let place = TreePath::parse(format!("usr/share/doc/{}/copyright", package.name).as_bytes());
    let place = place.ok().and_then(|place| materials.root.resolve(&place));
    let found = place.map(|place| read(materials, &place, COPYRIGHT_LIMIT)).transpose()?.flatten();
    let Some((path, bytes)) = found else { return Ok(Licences::Absent) };
    let file = CopyrightFile { path, sha256: Sha256Digest::of(&bytes) };
    let text = String::from_utf8_lossy(&bytes);
    let Copyright::MachineReadable(named) = copyright::parse(&text) else {
        return Ok(Licences::FreeForm(file));
    };
    let mut expressions: Vec<Expression> =
        named.expressions.iter().filter_map(|text| Expression::parse(text)).collect();
    expressions.sort();
    expressions.dedup();
    let texts = copyright::texts(&text);
    let text_of = |name: &str| texts.get(name).map(String::as_str).unwrap_or_default();
    let whole = (!expressions.is_empty()).then(|| Expression::all(expressions.clone()));
    let spdx = whole.map(|whole| {
        for name in whole.names().into_iter().filter(|name| spdx_of(name).is_none()) {
            references.add(name, text_of(name));
        }
        whole.spdx(&|name| reference(name, text_of(name))).to_string()
    });
    Ok(Licences::Declared { expressions, spdx, unnamed: named.unnamed, file })
}

/// Licences that SPDX does not know.
#[derive(Default)]
struct References(BTreeMap<String, Reference>);

impl References {
    fn add(&mut self, name: &str, text: &str) {
        let explained = || Reference { name: name.to_owned(), text: text.to_owned() };
        self.0.entry(reference(name, text)).or_insert_with(explained);
    }
}

/// The reference of a licence: one name may stand for several texts, so the text is in it.
fn reference(name: &str, text: &str) -> String {
    let digest = Sha256Digest::of(format!("{name}\n{text}").as_bytes()).to_string();
    format!("{REFERENCE}{}-{}", reference_word(name), digest.get(..8).unwrap_or(&digest))
}

/// The place and the bytes of a file of the root; `None`: there is no such file.
fn read(
    materials: &Materials<'_>,
    path: &TreePath,
    limit: u64,
) -> Result<Option<(String, Vec<u8>)>, BillError> {
    let Some(Kind::File(content)) = materials.root.get(path).map(|inode| &inode.kind) else {
        return Ok(None);
    };
    let failed = |source| BillError::Read { path: path.to_string(), source };
    if content.size() > limit {
        return Err(BillError::TooLarge { path: path.to_string(), size: content.size(), limit });
    }
    let mut bytes = Vec::new();
    let mut reader = content.open(materials.contents).map_err(failed)?;
    reader.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some((path.to_string(), bytes)))
}
