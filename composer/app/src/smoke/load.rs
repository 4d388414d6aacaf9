//! The folder `qemu` of a project: machines, checks, and the guest's side of the checks.

use std::io;
use std::path::Path;

use goni_model::document::MAX_BYTES;
use goni_model::document::fault::Faults;
use goni_model::document::source::Sources;
use goni_model::name::{InvalidName, Name};
use goni_model::target::QemuFirmware;

use crate::failure::{Class, Classify};
use crate::project::Files;
use crate::smoke::check::{self, Check};
use crate::smoke::handover::GuestSide;
use crate::smoke::machine::{self, Board};

/// What the folder holds.
#[derive(Debug)]
pub struct Qemus {
    /// The machine of the firmware that was asked for.
    pub board: Board,
    /// The checks, by name.
    pub checks: Vec<Check>,
    /// The guest's side.
    pub guest: GuestSide,
}

/// Why it cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder cannot be read.
    #[error("reading `{path}`")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A check's file bears a name that none can have.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// What the files say is not right.
    #[error(transparent)]
    Faults(#[from] Faults),
}

impl Classify for LoadError {
    fn class(&self) -> Class {
        Class::Recipe
    }
}

/// Loads the folder of the project at `root`, with the machine for a firmware.
///
/// # Errors
/// `LoadError`, with the faults of all files at once.
pub fn load(files: &dyn Files, root: &Path, firmware: QemuFirmware) -> Result<Qemus, LoadError> {
    let mut sources = Sources::new();
    let mut faults = Vec::new();
    let read = |place: &str| {
        files
            .read(&root.join(place), MAX_BYTES)
            .map_err(|source| LoadError::Read { path: place.to_owned(), source })
    };
    let text = |place: &str| Ok::<_, LoadError>(String::from_utf8_lossy(&read(place)?).into_owned());
    let guest = GuestSide {
        agent: text("qemu/guest/agent.sh")?,
        words: text("qemu/guest/words.sh")?,
        unit: text("qemu/guest/smoke.service")?,
    };
    let place = format!(
        "qemu/machines/{}.toml",
        match firmware {
            QemuFirmware::Ovmf => "ovmf",
            QemuFirmware::Aavmf => "aavmf",
        }
    );
    let (file, _) = sources.add(place.clone(), &read(&place)?);
    let board = machine::check(&sources, file).map_err(|found| faults.extend(found)).ok();
    let folder = root.join("qemu/checks");
    let names =
        files.names(&folder).map_err(|source| LoadError::Read { path: "qemu/checks".to_owned(), source })?;
    let mut checks = Vec::new();
    for stem in names.iter().filter_map(|name| name.strip_suffix(".toml")) {
        let name: Name = stem.parse()?;
        let place = format!("qemu/checks/{stem}.toml");
        let (file, _) = sources.add(place.clone(), &read(&place)?);
        match check::check(&sources, file, name) {
            Ok(check) => checks.push(check),
            Err(found) => faults.extend(found),
        }
    }
    match board {
        Some(board) if faults.is_empty() => Ok(Qemus { board, checks, guest }),
        _ => Err(Faults::new(sources, faults).into()),
    }
}
