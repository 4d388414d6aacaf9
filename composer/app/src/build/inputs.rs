//! What is laid over the configured tree: overlays with their files, payloads with their bytes.

use std::path::{Path, PathBuf};

use goni_disk::tree::{Content, Kind, Owner};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::name::{ImagePath, Name};
use goni_model::recipe::PayloadSource;
use sha2::{Digest as _, Sha256};

use crate::build::Order;
use crate::build::plan::Input;
use crate::failure::{Class, Classify, Failure};
use crate::host::contents::{self, Contents, Inspected};
use crate::host::fetch::Request;
use crate::host::files::FileError;
use crate::host::walk::{Directory, WalkError};
use crate::index::Laid;
use crate::progress::Progress;
use crate::project::{self, Project};
use crate::stages::overlay::{LoadedOverlay, LoadedPayload};
use crate::workshop::Workshop;

/// The largest file of an overlay: they hold configuration. Programs are payloads.
const LARGEST_OVERLAY_FILE: u64 = 16 << 20;

/// The largest payload that is downloaded: a service and its libraries in one file.
const LARGEST_PAYLOAD: u64 = 2 << 30;

/// Everything that is laid in.
pub(super) struct Inputs {
    /// Overlays, in order, stand-ins last.
    pub(super) overlays: Vec<LoadedOverlay>,
    /// Payloads for which a stand-in is laid.
    pub(super) stand_ins: Vec<String>,
    payloads: Vec<Payload>,
}

struct Payload {
    name: String,
    place: ImagePath,
    file: PathBuf,
    inspected: Inspected,
}

/// What cannot be laid in.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("`--payload {name}=…`: the recipe has no payload `{name}`")]
    Unknown { name: String, known: String },
    #[error("nothing gives the payload `{name}`")]
    Nothing { name: String },
    #[error("the payload `{name}`, `{path}`, is for machine {found} of ELF, not for {arch}")]
    OtherMachine { name: String, path: PathBuf, found: u16, arch: Arch },
    #[error("the payload `{name}`, `{path}`, is no program: neither ELF nor a script")]
    NoProgram { name: String, path: PathBuf },
    #[error("`{path}` of overlay `{overlay}` is {size} bytes: an overlay holds configuration")]
    TooLarge { overlay: String, path: String, size: u64 },
    #[error("`{path}` of overlay `{overlay}` is {kind}: an overlay holds files, directories and links")]
    OtherKind { overlay: String, path: String, kind: &'static str },
    #[error("reading overlay `{overlay}`")]
    Walk { overlay: String, source: WalkError },
}

impl Classify for InputError {
    fn class(&self) -> Class {
        match self {
            Self::Unknown { .. } | Self::Nothing { .. } => Class::Recipe,
            Self::Walk { source, .. } => source.class(),
            _ => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => Some("the recipe has no payloads".to_owned()),
            Self::Unknown { known, .. } => Some(format!("it has {known}")),
            Self::Nothing { name } => Some(format!(
                "give --payload {name}=FILE, or say [payload.{name}] source or stand-in in the recipe"
            )),
            Self::TooLarge { .. } => Some("make it a payload".to_owned()),
            _ => None,
        }
    }
}

/// Reads everything that is laid in, and digests it.
///
/// # Errors
/// What is not there, not readable, or not what it must be.
pub(super) fn gather(
    project: &Project,
    order: &Order,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<Inputs, Failure> {
    let known: Vec<&str> = project.recipe.payloads.keys().map(Name::as_str).collect();
    if let Some(unknown) = order.payloads.keys().find(|name| !project.recipe.payloads.contains_key(name)) {
        return Err(InputError::Unknown { name: unknown.to_string(), known: known.join(", ") }.into());
    }
    let mut inputs = Inputs { overlays: Vec::new(), stand_ins: Vec::new(), payloads: Vec::new() };
    let mut laid: Vec<&project::LoadedOverlay> = project.overlays.iter().collect();
    for (name, payload) in &project.recipe.payloads {
        let file = match (order.payloads.get(name), &payload.source) {
            (Some(file), _) => file.clone(),
            (None, PayloadSource::File(file)) => project.file(file),
            (None, PayloadSource::Url { url, sha256 }) => download(url.as_str(), sha256, workshop, progress)?,
            (None, PayloadSource::Open) => {
                let overlays = project
                    .stand_ins
                    .get(name)
                    .ok_or_else(|| InputError::Nothing { name: name.to_string() })?;
                laid.extend(overlays);
                inputs.stand_ins.push(name.to_string());
                continue;
            }
        };
        let inspected = contents::inspect(&file).map_err(FileError::io("reading", &file))?;
        check_program(name.as_str(), &file, &inspected.head, project.target.arch)?;
        let place = payload.path.clone();
        inputs.payloads.push(Payload { name: name.to_string(), place, file, inspected });
    }
    for overlay in laid {
        inputs.overlays.push(load(overlay)?);
    }
    Ok(inputs)
}

/// A payload from its address, by its digest.
pub(crate) fn download(
    url: &str,
    sha256: &Sha256Digest,
    workshop: &Workshop,
    progress: &dyn Progress,
) -> Result<PathBuf, Failure> {
    if let Some(path) = workshop.store().lookup(sha256, progress)? {
        return Ok(path);
    }
    let request = Request::at_most(url, LARGEST_PAYLOAD)?;
    let mut incoming = workshop.store().incoming()?;
    workshop.fetch().fetch(&request, &mut incoming)?;
    Ok(incoming.commit_as(sha256)?)
}

/// Refuses a program that the target could not run.
fn check_program(name: &str, path: &Path, head: &[u8], arch: Arch) -> Result<(), InputError> {
    // e_machine: two bytes at 18, in the file's byte order; both our architectures are little-endian.
    let machine = head.get(18..20).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    match machine {
        Some(found) if head.starts_with(b"\x7fELF") => {
            if found == arch.elf_machine() {
                return Ok(());
            }
            Err(InputError::OtherMachine { name: name.to_owned(), path: path.to_owned(), found, arch })
        }
        _ if head.starts_with(b"#!") => Ok(()),
        _ => Err(InputError::NoProgram { name: name.to_owned(), path: path.to_owned() }),
    }
}

/// An overlay with its files, in memory.
fn load(loaded: &project::LoadedOverlay) -> Result<LoadedOverlay, Failure> {
    let name = loaded.overlay.name.to_string();
    let Some(tree) = &loaded.tree else {
        return Ok(LoadedOverlay { overlay: loaded.overlay.clone(), entries: Vec::new() });
    };
    let directory = Directory::open(tree).map_err(FileError::io("reading", tree))?;
    let owner = |_: &_, _: &_| Owner::Overlay(name.as_str().into());
    let walked =
        directory.walk(&owner).map_err(|source| InputError::Walk { overlay: name.clone(), source })?;
    let mut entries = Vec::new();
    for (path, entry) in walked.iter().filter(|(path, _)| !path.is_root()) {
        let kind = match &walked.inode(entry.inode).kind {
            Kind::Directory => Kind::Directory,
            Kind::Symlink(target) => Kind::Symlink(target.clone()),
            Kind::File(content) if content.size() > LARGEST_OVERLAY_FILE => {
                let (overlay, path, size) = (name, path.to_string(), content.size());
                return Err(InputError::TooLarge { overlay, path, size }.into());
            }
            Kind::File(content) => {
                let mut bytes = Vec::new();
                content.open(&directory).and_then(|mut reader| reader.read_to_end(&mut bytes)).map_err(
                    FileError::io("reading", &tree.join(String::from_utf8_lossy(path.as_bytes()).as_ref())),
                )?;
                Kind::File(Content::inline(bytes))
            }
            other => {
                let kind = match other {
                    Kind::Fifo => "a named pipe",
                    _ => "a device",
                };
                return Err(InputError::OtherKind { overlay: name, path: path.to_string(), kind }.into());
            }
        };
        entries.push((path.clone(), kind));
    }
    Ok(LoadedOverlay { overlay: loaded.overlay.clone(), entries })
}

impl Inputs {
    /// What a plan needs to know of them.
    pub(super) fn listed(&self) -> Vec<Input> {
        let overlays = self.overlays.iter().map(|loaded| Input {
            kind: "overlay",
            name: loaded.overlay.name.to_string(),
            sha256: digest(loaded),
        });
        let payloads = self.payloads.iter().map(|payload| Input {
            kind: "payload",
            name: payload.name.clone(),
            sha256: payload.inspected.sha256,
        });
        overlays.chain(payloads).collect()
    }

    /// What was laid, by name.
    pub(super) fn laid(&self, order: &Order) -> Laid {
        let given = |payload: &Payload| {
            let given = order.payloads.keys().any(|name| name.as_str() == payload.name);
            (payload.name.clone(), given)
        };
        Laid {
            overlays: self.overlays.iter().map(|loaded| loaded.overlay.name.to_string()).collect(),
            payloads: self.payloads.iter().map(given).collect(),
        }
    }

    /// The payloads, their bytes made known to `contents`.
    pub(super) fn payloads(&self, contents: &mut Contents) -> Vec<LoadedPayload> {
        let load = |payload: &Payload| LoadedPayload {
            name: payload.name.clone(),
            path: payload.place.clone(),
            content: contents.add(&payload.file, &payload.inspected),
        };
        self.payloads.iter().map(load).collect()
    }
}

/// Digest of everything an overlay of a project says and holds.
///
/// # Errors
/// It cannot be read, or holds what no overlay may.
pub(crate) fn overlay_digest(overlay: &project::LoadedOverlay) -> Result<Sha256Digest, Failure> {
    Ok(digest(&load(overlay)?))
}

/// Digest of everything an overlay says and holds.
fn digest(loaded: &LoadedOverlay) -> Sha256Digest {
    let mut hasher = Sha256::new_with_prefix("goni-compose overlay\n");
    let mut part = |bytes: &[u8]| {
        hasher.update(goni_model::number::to_u64(bytes.len()).to_le_bytes());
        hasher.update(bytes);
    };
    part(serde_json::to_string(&loaded.overlay).unwrap_or_default().as_bytes());
    for (path, kind) in &loaded.entries {
        part(path.as_bytes());
        part(&kind.type_bits().to_le_bytes());
        match kind {
            Kind::File(Content::Inline(bytes)) => part(bytes),
            Kind::Symlink(target) => part(target),
            _ => part(b""),
        }
    }
    Sha256Digest::finish(hasher)
}
