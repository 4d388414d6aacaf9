//! Packages become a directory in which `dpkg --configure -a` can take over.
//!
//! Three passes. Every package's bytes are written as blobs, under names of ours, while what belongs
//! where is only noted. Then, with everything known, each path gets its one owner, in memory:
//! a conflict is found before anything is at its place. Then the tree is planted, with dpkg's database.
//! No path that a package names is touched before the last pass, and none is ever followed.
//!
//! Left out: maintainer scripts, `preinst` included; they belong to the stage that configures.

mod intake;
mod ownership;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goni_debian::deb::{Control, DebError, Member, MemberPath};
use goni_debian::dpkg::{self, Database, DatabaseError, UnpackedPackage};
use goni_disk::tree::{Content, Deed, FileTree, Hand, Inode, Kind, Metadata, Owner, TreePath};
use goni_model::digest::Sha256Digest;
use goni_model::lock::LockedPackage;
use goni_model::time::Timestamp;

use crate::failure::{Class, Classify};
use crate::host::plant::{self, Blobs, PlantError};
use crate::progress::Progress;

pub use ownership::{OwnershipError, SetId};

use intake::Intake;

/// How the stage calls itself.
const STAGE: &str = "unpack";

/// A package to unpack.
#[derive(Debug, Clone)]
pub struct DebFile {
    /// What it must be.
    pub locked: LockedPackage,
    /// Where its bytes are.
    pub path: PathBuf,
    /// What it depends on, if that is not what it says.
    pub depends: Option<String>,
}

/// What of packages is unpacked, and what that is called where progress is told.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The name of the stage.
    pub stage: &'static str,
    /// Whether a member is wanted.
    pub wanted: &'a (dyn Fn(&Member) -> bool + Sync),
}

impl Part<'_> {
    /// All there is.
    pub const WHOLE: Self = Self { stage: STAGE, wanted: &|_| true };
}

impl std::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// A file that comes into the directory beside what packages bring.
#[derive(Debug, Clone)]
pub struct Laid {
    /// Its place, where no package may have anything.
    pub path: TreePath,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// Every path and its owner. Conffiles are under their own names, although their files wait under
    /// another until they are configured. The contents' keys are used up: the bytes are in the directory.
    pub tree: FileTree,
    /// The packages' control information, ordered by name.
    pub packages: Vec<Control>,
    /// The conffiles, by their own names.
    pub conffiles: BTreeSet<TreePath>,
    /// Files that change the user or group of who runs them. Packages cannot carry file capabilities,
    /// for which tar has no place without PAX headers: those are set by maintainer scripts.
    pub set_id: Vec<SetId>,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Why packages cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A package is not what a package must be.
    #[error("package `{package}`")]
    Package {
        /// `name=version`.
        package: String,
        /// What is wrong.
        #[source]
        source: DebError,
    },
    /// A package's bytes are others than the locked ones.
    #[error("package `{package}` has digest {found}, not {expected} as locked")]
    Digest {
        /// `name=version`.
        package: String,
        /// As locked.
        expected: Sha256Digest,
        /// Of the bytes read.
        found: Sha256Digest,
    },
    /// A package's bytes could not be stored.
    #[error("storing the files of package `{package}`")]
    Store {
        /// `name=version`.
        package: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The packages do not fit together.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// No dpkg database can be written for the packages.
    #[error("writing the dpkg database")]
    Database(#[from] DatabaseError),
    /// The directory could not be made.
    #[error(transparent)]
    Plant(#[from] PlantError),
}

impl Classify for UnpackError {
    fn class(&self) -> Class {
        match self {
            Self::Package { source: DebError::Mismatch { .. }, .. } | Self::Digest { .. } => Class::Trust,
            Self::Package { source: DebError::Io(_), .. } | Self::Store { .. } | Self::Plant(_) => {
                Class::Environment
            }
            Self::Package { .. } | Self::Ownership(_) | Self::Database(_) => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ownership(OwnershipError::Conflict { second, .. }) => Some(format!(
                "leave one of the two out, or use a version of {second} that declares `Replaces`"
            )),
            _ => None,
        }
    }
}

/// Unpacks all of packages, or a part, into `root`, by way of `scratch`, and lays more files. Neither may exist;
/// both must be on one file system.
/// To give files their owners, the caller must be root in its user namespace.
///
/// # Errors
/// [`UnpackError`]; what `root` and `scratch` then hold is for the caller to remove.
pub fn unpack(
    packages: &[DebFile],
    part: Part<'_>,
    more: &[Laid],
    scratch: &Path,
    root: &Path,
    progress: &dyn Progress,
) -> Result<Unpacked, UnpackError> {
    let blobs = Blobs::create(scratch)?;
    let intakes = intake::take_in(packages, part, &blobs, progress)?;
    let mut decided = ownership::decide(&intakes)?;
    add_database(&mut decided.tree, &database_of(&intakes, &decided.kept)?)?;
    for laid in more {
        add_file(&mut decided.tree, laid)?;
    }
    let conffiles = &decided.conffiles;
    plant::plant(&decided.tree, &blobs, root, &|path| match conffiles.contains(path) {
        true => dpkg::conffile_waiting_name(path.name()),
        false => path.name().to_vec(),
    })?;
    blobs.remove()?;
    let bytes = intakes.iter().map(|intake| intake.bytes).fold(0, u64::saturating_add);
    progress.end(part.stage, &format!("{} packages, {} entries", intakes.len(), decided.tree.iter().count()));
    let packages = intakes.into_iter().map(|intake| intake.control).collect();
    let ownership::Decided { tree, conffiles, set_id, .. } = decided;
    Ok(Unpacked { tree, packages, conffiles, set_id, bytes })
}

fn database_of(intakes: &[Intake], kept: &[Vec<MemberPath>]) -> Result<Database, DatabaseError> {
    let packages: Vec<UnpackedPackage<'_>> = intakes
        .iter()
        .zip(kept)
        .map(|(intake, paths)| UnpackedPackage { control: &intake.control, paths })
        .collect();
    Database::of(&packages)
}

/// Puts the database into the tree, where no package may have put anything but directories.
fn add_database(tree: &mut FileTree, database: &Database) -> Result<(), OwnershipError> {
    let owner = Owner::Stage(STAGE.into());
    let latest = tree.iter().map(|(_, entry)| tree.inode(entry.inode).metadata.mtime).max();
    let mtime = latest.unwrap_or(Timestamp::from_seconds(0));
    let metadata = |mode| Metadata { mode, uid: 0, gid: 0, mtime, xattrs: std::collections::BTreeMap::new() };
    for directory in &database.directories {
        ownership::add_directory(tree, directory.as_bytes(), &metadata(0o755), &owner)?;
    }
    for (name, file) in &database.files {
        let path = ownership::tree_path(name.as_bytes())?;
        if let Some(entry) = tree.entry(&path) {
            return Err(OwnershipError::Database { path, owner: entry.owner.clone() });
        }
        let kind = Kind::File(Content::inline(Arc::<[u8]>::from(&file.bytes[..])));
        let inode = Inode { metadata: metadata(file.mode), kind };
        match recorded_package(name) {
            Some(package) => {
                let owner = Owner::Package(package.into());
                tree.insert(path.clone(), inode, owner.clone())?;
                let record = "dpkg's record of the package, from its control archive";
                tree.set_hands(path, vec![Hand::because(owner, Deed::Made, record)]);
            }
            None => drop(tree.insert(path, inode, owner.clone())?),
        }
    }
    Ok(())
}

/// The package that a file of dpkg's database is about, where it is about one.
fn recorded_package(name: &str) -> Option<&str> {
    let (instance, _) = name.strip_prefix("var/lib/dpkg/info/")?.rsplit_once('.')?;
    instance.split(':').next()
}

/// Puts a file where nothing is yet.
fn add_file(tree: &mut FileTree, laid: &Laid) -> Result<(), OwnershipError> {
    let owner = Owner::Stage("modules".into());
    let mtime = Timestamp::from_seconds(0);
    let metadata = |mode| Metadata { mode, uid: 0, gid: 0, mtime, xattrs: std::collections::BTreeMap::new() };
    if let Some(above) = laid.path.parent() {
        ownership::add_directory(tree, above.as_bytes(), &metadata(0o755), &owner)?;
    }
    if let Some(entry) = tree.entry(&laid.path) {
        return Err(OwnershipError::Database { path: laid.path.clone(), owner: entry.owner.clone() });
    }
    let kind = Kind::File(Content::inline(Arc::<[u8]>::from(&laid.bytes[..])));
    tree.insert(laid.path.clone(), Inode { metadata: metadata(0o644), kind }, owner)?;
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests look at the directory that was made")]
mod tests;
