//! The folder `qemu` of a project: machines, scenarios, checks, and the guest's side of the checks.

use std::io;
use std::path::Path;

use goni_model::document::MAX_BYTES;
use goni_model::document::fault::{Fault, Faults};
use goni_model::document::source::{FileId, Sources};
use goni_model::name::{InvalidName, Name};
use goni_model::target::QemuFirmware;

use crate::failure::{Class, Classify};
use crate::project::Files;
use crate::smoke::check::{self, Check};
use crate::smoke::handover::GuestSide;
use crate::smoke::machine::{self, Board};
use crate::smoke::scenario::{self, Scenario};

/// What the folder holds.
#[derive(Debug)]
pub struct Qemus {
    /// The machine of the firmware that was asked for.
    pub board: Board,
    /// The scenarios, those that run by default first, then by name.
    pub scenarios: Vec<Scenario>,
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
    /// The file of a check or a scenario bears a name that none can have.
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
    let mut folder = Folder { files, root, sources: Sources::new(), faults: Vec::new() };
    let guest = GuestSide {
        agent: folder.text("qemu/guest/agent.sh")?,
        words: folder.text("qemu/guest/words.sh")?,
        unit: folder.text("qemu/guest/smoke.service")?,
        witness: folder.text("qemu/guest/witness.pl")?,
        witness_unit: folder.text("qemu/guest/witness.service")?,
    };
    let place = format!(
        "qemu/machines/{}.toml",
        match firmware {
            QemuFirmware::Ovmf => "ovmf",
            QemuFirmware::Aavmf => "aavmf",
        }
    );
    let board = folder.document(&place, machine::check)?;
    let mut scenarios = folder.documents("qemu/scenarios", scenario::check)?;
    scenarios.sort_by_key(|scenario| !scenario.default);
    // Checks of a scenario that could not be read would only say that it is unknown.
    if !folder.faults.is_empty() {
        return Err(Faults::new(folder.sources, folder.faults).into());
    }
    let checks = folder
        .documents("qemu/checks", |sources, file, name| check::check(sources, file, name, &scenarios))?;
    match board {
        Some(board) if folder.faults.is_empty() => Ok(Qemus { board, scenarios, checks, guest }),
        _ => Err(Faults::new(folder.sources, folder.faults).into()),
    }
}

/// The folder while it is being read.
struct Folder<'a> {
    files: &'a dyn Files,
    root: &'a Path,
    sources: Sources,
    faults: Vec<Fault>,
}

impl Folder<'_> {
    fn read(&self, place: &str) -> Result<Vec<u8>, LoadError> {
        let error = |source| LoadError::Read { path: place.to_owned(), source };
        self.files.read(&self.root.join(place), MAX_BYTES).map_err(error)
    }

    fn text(&self, place: &str) -> Result<String, LoadError> {
        Ok(String::from_utf8_lossy(&self.read(place)?).into_owned())
    }

    /// A document, or nothing where it has faults.
    fn document<T>(
        &mut self,
        place: &str,
        check: impl FnOnce(&Sources, FileId) -> Result<T, Vec<Fault>>,
    ) -> Result<Option<T>, LoadError> {
        let bytes = self.read(place)?;
        let (file, _) = self.sources.add(place.to_owned(), &bytes);
        Ok(check(&self.sources, file).map_err(|found| self.faults.extend(found)).ok())
    }

    /// The documents of a folder that have no faults, by name.
    fn documents<T>(
        &mut self,
        place: &str,
        check: impl Fn(&Sources, FileId, Name) -> Result<T, Vec<Fault>>,
    ) -> Result<Vec<T>, LoadError> {
        let error = |source| LoadError::Read { path: place.to_owned(), source };
        let names = self.files.names(&self.root.join(place)).map_err(error)?;
        let mut documents = Vec::new();
        for stem in names.iter().filter_map(|name| name.strip_suffix(".toml")) {
            let name: Name = stem.parse()?;
            let file = format!("{place}/{stem}.toml");
            documents.extend(self.document(&file, |sources, file| check(sources, file, name))?);
        }
        Ok(documents)
    }
}
