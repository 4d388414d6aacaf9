//! The surroundings of a firmware, as `qemu/machines/<firmware>.toml` describes them.

use std::path::PathBuf;

use goni_model::document::checker::{Checker, Text};
use goni_model::document::fault::Fault;
use goni_model::document::source::{FileId, Sources};
use goni_model::document::{self, shape};
use schemars::JsonSchema;
use serde::Deserialize;

/// The surroundings of a firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// The emulator, a program of the toolbox.
    pub program: String,
    /// The firmware's code, a file of the toolbox.
    pub code: PathBuf,
    /// The variables it begins with, a file of the toolbox; each run has a copy.
    pub variables: PathBuf,
    /// How its machine gets an IOMMU.
    pub iommu: Iommu,
    /// The device that its machine has a TPM as: `tpm-crb`.
    pub tpm: String,
}

/// How a machine gets an IOMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Iommu {
    /// By a device, before those behind it: `intel-iommu`.
    Device(String),
    /// By a property of the machine: `iommu=smmuv3`.
    Machine(String),
}

/// A machine of goni-compose: `qemu/machines/<firmware>.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose machine")]
pub struct BoardDoc {
    /// The emulator, a program of the toolbox.
    #[schemars(with = "Option<String>")]
    pub program: Option<Text>,
    /// The firmware's code, a file of the toolbox.
    #[schemars(with = "Option<String>")]
    pub code: Option<Text>,
    /// The variables it begins with, a file of the toolbox.
    #[schemars(with = "Option<String>")]
    pub variables: Option<Text>,
    /// The device that is its IOMMU, where it is one: `intel-iommu`.
    #[schemars(with = "Option<String>")]
    pub iommu_device: Option<Text>,
    /// The property of the machine that gives it an IOMMU, where it is one: `iommu=smmuv3`.
    #[schemars(with = "Option<String>")]
    pub iommu_machine: Option<Text>,
    /// The device that is its TPM: `tpm-crb`.
    #[schemars(with = "Option<String>")]
    pub tpm: Option<Text>,
}

/// The JSON Schema of a machine.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<BoardDoc>()
}

/// Checks the machine that a file describes.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, file: FileId) -> Result<Board, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: BoardDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let program = checker.require(doc.program.as_ref(), "program", "such as \"qemu-system-x86_64\"");
    let code = path(doc.code.as_ref(), "code", &mut checker);
    let variables = path(doc.variables.as_ref(), "variables", &mut checker);
    let iommu = iommu(&doc, &mut checker);
    let tpm = checker.require(doc.tpm.as_ref(), "tpm", "such as \"tpm-crb\"");
    let tpm = tpm.and_then(|text| option(text, "tpm", &mut checker));
    let board = program.zip(code.zip(variables)).zip(iommu.zip(tpm));
    let board = board.map(|((program, (code, variables)), (iommu, tpm))| Board {
        program: program.get_ref().clone(),
        code,
        variables,
        iommu,
        tpm,
    });
    checker.finish(board).map(|(board, _)| board)
}

/// The one of the two ways to an IOMMU that is given.
fn iommu(doc: &BoardDoc, checker: &mut Checker) -> Option<Iommu> {
    match (&doc.iommu_device, &doc.iommu_machine) {
        (Some(_), Some(second)) => {
            checker
                .fault_at(second, "`iommu-device` and `iommu-machine` are two ways to one IOMMU".to_owned());
            None
        }
        (None, Some(text)) => option(text, "iommu-machine", checker).map(Iommu::Machine),
        (device, None) => {
            let text = checker.require(device.as_ref(), "iommu-device", "or `iommu-machine`")?;
            option(text, "iommu-device", checker).map(Iommu::Device)
        }
    }
}

/// A name with its properties, as QEMU's options have them.
fn option(text: &Text, key: &str, checker: &mut Checker) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=,.".contains(&b);
    let good = text.get_ref().starts_with(|c: char| c.is_ascii_alphanumeric());
    if !good || !text.get_ref().bytes().all(plain) {
        checker.fault_at(text, format!("`{key}` wants a name and its properties, as in `name,key=value`"));
        return None;
    }
    Some(text.get_ref().clone())
}

/// An absolute path, without what would be a second option to QEMU.
fn path(text: Option<&Text>, key: &str, checker: &mut Checker) -> Option<PathBuf> {
    let text = checker.require(text, key, "an absolute path in the toolbox")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
    let good = text.get_ref().starts_with('/') && text.get_ref().bytes().all(plain);
    if !good || text.get_ref().contains("..") {
        checker.fault_at(text, format!("`{key}` wants an absolute path in the toolbox"));
        return None;
    }
    Some(text.get_ref().into())
}
