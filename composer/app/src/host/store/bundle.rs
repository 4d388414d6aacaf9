//! Exports: all bytes of a lock, in a folder or in one file, to be kept and moved.
//!
//! An export holds `manifest/<SHA-256 of the lock>.json`, which says what is in it, and every file by its
//! digest: `sha256/ab/abcdef…`. A folder can hold several, and what it has is not written again. One file is a tar
//! archive of the same names, manifest first, the rest by digest: the same lock gives the same bytes.
//!
//! An import takes all or nothing, and nothing that was not hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use goni_model::digest::Sha256Digest;
use goni_model::number::to_u64;
use serde::{Deserialize, Serialize};

use super::incoming::Staged;
use super::tarball::{Reader, TarError, Writer};
use super::{Store, StoreError, no_follow};
use crate::failure::{Class, Classify};
use crate::host::contents;
use crate::host::files::{self, FileError};

/// The version of this form.
const SCHEMA: u32 = 1;

/// A manifest has a line or two for each of some hundred files.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// What kind of file an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The lock itself.
    Lock,
    /// A package of the image, of what builds modules, or a twin.
    Package,
    /// A payload whose recipe declares its digest.
    Payload,
    /// A signed file of an archive.
    Signed,
    /// An index that a signed file names.
    Index,
    /// The keys of an archive.
    Key,
    /// A package of the program's own tools.
    Tool,
}

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// What it is called: a .deb, a suite and its file.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form.
    pub schema: u32,
    /// The recipe of the lock.
    pub recipe: String,
    /// Its architecture.
    pub arch: String,
    /// Digest of the lock's text.
    pub lock: Sha256Digest,
    /// The files, sorted.
    pub files: Vec<Item>,
}

impl Manifest {
    /// The manifest of a lock's files.
    #[must_use]
    pub fn new(recipe: &str, arch: &str, lock: Sha256Digest, mut files: Vec<Item>) -> Self {
        files.sort();
        files.dedup();
        Self { schema: SCHEMA, recipe: recipe.to_owned(), arch: arch.to_owned(), lock, files }
    }

    /// Its name in an export.
    fn name(&self) -> String {
        format!("manifest/{}.json", self.lock)
    }

    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Each file once, by digest.
    fn objects(&self) -> BTreeMap<Sha256Digest, &Item> {
        self.files.iter().map(|item| (item.sha256, item)).collect()
    }
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Files that were not there before.
    pub new: usize,
    /// Files in all.
    pub all: usize,
    /// Bytes of those that were not there before.
    pub bytes: u64,
}

/// What is wrong with an export.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no manifest.
    #[error("`{}` is no export: it has no manifest", path.display())]
    None {
        /// The export.
        path: PathBuf,
    },
    /// A manifest is not one.
    #[error("`{name}` of `{}` is no manifest: {reason}", path.display())]
    Manifest {
        /// The export.
        path: PathBuf,
        /// The member.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The archive is not as an export's.
    #[error("reading the export `{}`", path.display())]
    Tar {
        /// The export.
        path: PathBuf,
        /// What is wrong.
        source: TarError,
    },
    /// A member that no export has, such as a path that leads out of it.
    #[error("the export `{}` has a member `{name}`, which no manifest lists", path.display())]
    Foreign {
        /// The export.
        path: PathBuf,
        /// The member.
        name: String,
    },
    /// A file that the manifest lists is not there.
    #[error("the export `{}` lacks `{name}` (SHA-256 {sha256})", path.display())]
    Missing {
        /// The export.
        path: PathBuf,
        /// What it is called.
        name: String,
        /// Its digest.
        sha256: Sha256Digest,
    },
    /// The bytes of a file are others.
    #[error("`{name}` of the export `{}` is damaged", path.display())]
    Damaged {
        /// The export.
        path: PathBuf,
        /// What it is called.
        name: String,
        /// Which digest was expected and found.
        source: Box<StoreError>,
    },
    /// Something is at the place of an export.
    #[error("`{}` is in the way: it is a {kind}", path.display())]
    InTheWay {
        /// The place.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store cannot take something.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for BundleError {
    fn class(&self) -> Class {
        match self {
            Self::None { .. } => Class::Recipe,
            Self::Tar { source: TarError::Io(_), .. } | Self::InTheWay { .. } => Class::Environment,
            Self::Manifest { .. } | Self::Tar { .. } | Self::Missing { .. } | Self::Damaged { .. } => {
                Class::Trust
            }
            Self::Foreign { .. } => Class::Content,
            Self::File(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tar { source: TarError::Io(_), .. } => None,
            Self::Manifest { .. } | Self::Tar { .. } | Self::Missing { .. } | Self::Damaged { .. } => {
                Some("nothing was imported; copy the export again, or make it anew".to_owned())
            }
            Self::Foreign { .. } => Some("nothing was imported".to_owned()),
            Self::None { .. } => Some("make one with `goni-compose store export`".to_owned()),
            Self::InTheWay { .. } => Some("move it, or name another place".to_owned()),
            Self::File(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// The name of a file in an export.
fn object(sha256: &Sha256Digest) -> String {
    let name = sha256.to_string();
    format!("sha256/{}/{name}", &name[..2])
}

/// Whether a place is one for a single file.
fn is_tar(place: &Path) -> bool {
    place.extension().is_some_and(|ending| ending == "tar")
}

/// Writes what a manifest lists, all of which is in the store, to a folder, or to a file `….tar`.
///
/// # Errors
/// Something that cannot be read or written; a tar file then keeps its former bytes.
pub fn export(store: &Store, manifest: &Manifest, place: &Path) -> Result<Moved, BundleError> {
    let wanted = if is_tar(place) { files::Wanted::File } else { files::Wanted::Directory };
    if let Some(kind) = files::other_kind(place, wanted)? {
        return Err(BundleError::InTheWay { path: place.to_owned(), kind });
    }
    match wanted {
        files::Wanted::File => export_tar(store, manifest, place),
        files::Wanted::Directory => export_folder(store, manifest, place),
    }
}

fn export_tar(store: &Store, manifest: &Manifest, place: &Path) -> Result<Moved, BundleError> {
    let failed = |source| BundleError::Tar { path: place.to_owned(), source };
    let folder = files::parent(place);
    files::create_directories(folder)?;
    let file =
        tempfile::NamedTempFile::new_in(folder).map_err(FileError::io("creating a file in", folder))?;
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file));
    let text = manifest.text();
    writer.add(&manifest.name(), to_u64(text.len()), &mut &text[..]).map_err(failed)?;
    let mut moved = Moved::default();
    for (sha256, item) in manifest.objects() {
        let mut bytes = open(&store.path(&sha256))?;
        writer.add(&object(&sha256), item.size, &mut bytes).map_err(failed)?;
        moved.new = moved.new.saturating_add(1);
        moved.bytes = moved.bytes.saturating_add(item.size);
    }
    moved.all = moved.new;
    let file = writer
        .finish()
        .map_err(failed)?
        .into_inner()
        .map_err(|error| failed(TarError::Io(error.into_error())))?;
    file.as_file().sync_all().map_err(FileError::io("writing", place))?;
    file.persist(place).map_err(|error| FileError::io("renaming into", place)(error.error))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(place, mode).map_err(FileError::io("finishing", place))?;
    Ok(moved)
}

fn export_folder(store: &Store, manifest: &Manifest, place: &Path) -> Result<Moved, BundleError> {
    let mut moved = Moved::default();
    for (sha256, item) in manifest.objects() {
        moved.all = moved.all.saturating_add(1);
        let to = place.join(object(&sha256));
        // What is there already is believed only as far as its bytes go.
        if contents::inspect(&to).is_ok_and(|there| there.sha256 == sha256) {
            continue;
        }
        let folder = files::parent(&to);
        files::create_directories(folder)?;
        let io = |error| FileError::io("writing", &to)(error);
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
        io::copy(&mut open(&store.path(&sha256))?, &mut file).map_err(io)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o444);
        file.as_file().set_permissions(mode).map_err(io)?;
        file.persist(&to).map_err(|error| io(error.error))?;
        moved.new = moved.new.saturating_add(1);
        moved.bytes = moved.bytes.saturating_add(item.size);
    }
    files::create_directories(&place.join("manifest"))?;
    files::flush_filesystem(place)?;
    // Last: with it the export is whole.
    files::replace(&place.join(manifest.name()), &manifest.text(), 0o444)?;
    Ok(moved)
}

fn open(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().read(true).custom_flags(no_follow()).open(path).map_err(FileError::io("opening", path))
}

/// Takes a whole export into the store; returns its manifests, and what was moved. `check` sees each manifest
/// with the text of its lock before anything is taken.
///
/// # Errors
/// Any byte that is not as the manifest says, any file that is missing or that nobody lists, what `check`
/// raises: then nothing is taken.
pub fn import<E: From<BundleError>>(
    store: &Store,
    place: &Path,
    check: impl Fn(&Manifest, &[u8]) -> Result<(), E>,
) -> Result<(Vec<Manifest>, Moved), E> {
    let staged = match place.is_dir() {
        true => stage_folder(store, place)?,
        false => stage_tar(store, place)?,
    };
    let (manifests, staged) = staged;
    for manifest in &manifests {
        // A manifest lists its lock, so it is among what is staged.
        if let Some((_, lock)) = staged.iter().find(|(_, one)| *one.digest() == manifest.lock) {
            let text = files::read_capped(lock.path(), LARGEST_MANIFEST).map_err(BundleError::from)?;
            check(manifest, &text)?;
        }
    }
    let mut moved = Moved { all: staged.len(), ..Moved::default() };
    for (size, one) in staged {
        if one.commit().map_err(BundleError::from)? {
            moved.new = moved.new.saturating_add(1);
            moved.bytes = moved.bytes.saturating_add(size);
        }
    }
    Ok((manifests, moved))
}

type Stage<'s> = (Vec<Manifest>, Vec<(u64, Staged<'s>)>);

fn stage_folder<'s>(store: &'s Store, place: &Path) -> Result<Stage<'s>, BundleError> {
    let folder = place.join("manifest");
    let names = match files::names(&folder) {
        Err(error) if error.is_not_found() => return Err(BundleError::None { path: place.to_owned() }),
        names => names?,
    };
    let mut manifests = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".json")) {
        let text = files::read_capped(&folder.join(name), LARGEST_MANIFEST)?;
        manifests.push(read_manifest(place, &format!("manifest/{name}"), &text)?);
    }
    if manifests.is_empty() {
        return Err(BundleError::None { path: place.to_owned() });
    }
    let mut staged = BTreeMap::new();
    for item in manifests.iter().flat_map(|manifest| &manifest.files) {
        if staged.contains_key(&item.sha256) {
            continue;
        }
        let path = place.join(object(&item.sha256));
        let missing =
            || BundleError::Missing { path: place.to_owned(), name: item.name.clone(), sha256: item.sha256 };
        let mut file = match open(&path) {
            Err(error) if error.is_not_found() => return Err(missing()),
            file => file?,
        };
        let one =
            stage(store, place, item, &mut file, |error| FileError::io("reading", &path)(error).into())?;
        staged.insert(item.sha256, (item.size, one));
    }
    Ok((manifests, staged.into_values().collect()))
}

fn stage_tar<'s>(store: &'s Store, place: &Path) -> Result<Stage<'s>, BundleError> {
    let failed = |source| BundleError::Tar { path: place.to_owned(), source };
    let file = File::open(place).map_err(FileError::io("opening", place))?;
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, file));
    let none = || BundleError::None { path: place.to_owned() };
    let first = match reader.next() {
        // A file that does not even begin as one is not an export that was cut short.
        Err(TarError::Header { offset: 0, .. }) | Ok(None) => return Err(none()),
        first => first.map_err(failed)?,
    };
    let Some((name, size)) = first else { return Err(none()) };
    if size > LARGEST_MANIFEST {
        return Err(none());
    }
    let mut text = Vec::new();
    if let Err(error) = reader.read_to_end(&mut text) {
        return Err(failed(reader.failed(error)));
    }
    let manifest = read_manifest(place, &name, &text)?;
    let objects = manifest.objects();
    let mut staged = BTreeMap::new();
    while let Some((name, _)) = reader.next().map_err(failed)? {
        let listed =
            objects.iter().find(|(sha256, _)| object(sha256) == name && !staged.contains_key(*sha256));
        let Some((sha256, item)) = listed else {
            return Err(BundleError::Foreign { path: place.to_owned(), name });
        };
        // What reading the member raises is told below, as a fault of the archive.
        let mut broken = None;
        let one =
            stage(store, place, item, &mut Noting { reader: &mut reader, broken: &mut broken }, |error| {
                FileError::io("reading", place)(error).into()
            });
        if let Some(error) = broken {
            return Err(failed(reader.failed(error)));
        }
        staged.insert(*sha256, (item.size, one?));
    }
    if let Some((sha256, item)) = objects.iter().find(|(sha256, _)| !staged.contains_key(*sha256)) {
        let (path, name) = (place.to_owned(), item.name.clone());
        return Err(BundleError::Missing { path, name, sha256: *sha256 });
    }
    drop(objects);
    Ok((vec![manifest], staged.into_values().collect()))
}

/// Keeps the error that reading raised, so that it can be told as what it is.
struct Noting<'a, R> {
    reader: &'a mut R,
    broken: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Noting<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.reader.read(bytes).map_err(|error| {
            let kind = error.kind();
            *self.broken = Some(error);
            kind.into()
        })
    }
}

/// Hashes a file into the store's unfinished ones.
fn stage<'s>(
    store: &'s Store,
    place: &Path,
    item: &Item,
    bytes: &mut dyn Read,
    failed: impl Fn(io::Error) -> BundleError,
) -> Result<Staged<'s>, BundleError> {
    let mut incoming = store.incoming()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                incoming.write_all(&buffer[..count]).map_err(FileError::io("writing to", &store.root))?
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let damaged = |source| BundleError::Damaged {
        path: place.to_owned(),
        name: item.name.clone(),
        source: Box::new(source),
    };
    incoming.stage(&item.sha256).map_err(|error| match error {
        StoreError::WrongDigest { .. } => damaged(error),
        other => other.into(),
    })
}

/// Reads a manifest, and sees that it is of the lock that its name says, and lists that lock.
fn read_manifest(place: &Path, name: &str, text: &[u8]) -> Result<Manifest, BundleError> {
    let wrong =
        |reason: String| BundleError::Manifest { path: place.to_owned(), name: name.to_owned(), reason };
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    if manifest.schema != SCHEMA {
        return Err(wrong(format!("it has schema {}; this program reads {SCHEMA}", manifest.schema)));
    }
    if manifest.name() != name {
        return Err(wrong(format!("it is of the lock {}", manifest.lock)));
    }
    let mut of_lock = manifest.files.iter().filter(|item| item.kind == Kind::Lock);
    if of_lock.next().map(|item| item.sha256) != Some(manifest.lock) || of_lock.next().is_some() {
        return Err(wrong("it does not list its lock".to_owned()));
    }
    Ok(manifest)
}

/// The digests that a manifest lists.
#[must_use]
pub fn listed(manifest: &Manifest) -> BTreeSet<Sha256Digest> {
    manifest.files.iter().map(|item| item.sha256).collect()
}

#[cfg(test)]
mod tests;
