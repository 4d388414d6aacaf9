//! The files beside an image that tell of it: bills of materials, and where it comes from.
//!
//! Bills are of the image's files, the manifest lists both, and the statement of provenance is about them all.

use std::collections::BTreeMap;

use goni_model::digest::Sha256Digest;
use goni_model::number::to_u64;
use goni_model::plan::Plan;
use goni_model::recipe::OutputFormat;

use crate::bill::{Bill, Form, Output};
use crate::build::{Document, OutputFile};
use crate::index;
use crate::provenance;

/// The names of the documents of a plan.
pub(super) fn names(plan: &Plan) -> impl Iterator<Item = String> {
    Form::ALL.into_iter().map(|form| name(plan, form)).chain([provenance_name(plan), index_name(plan)])
}

/// The name of the index.
pub(super) fn index_name(plan: &Plan) -> String {
    format!("{}{}", plan.stem(), index::SUFFIX)
}

/// The name of the statement of provenance.
pub(super) fn provenance_name(plan: &Plan) -> String {
    format!("{}.{}", plan.stem(), provenance::ENDING)
}

fn name(plan: &Plan, form: Form) -> String {
    format!("{}.{}", plan.stem(), form.ending())
}

/// The documents of these files, by name.
///
/// # Errors
/// A value that JSON cannot hold.
pub(super) fn of(
    bill: &Bill,
    plan: &Plan,
    files: &BTreeMap<String, OutputFile>,
) -> Result<BTreeMap<String, Vec<u8>>, serde_json::Error> {
    let outputs = outputs(plan, files);
    Form::ALL.into_iter().map(|form| Ok((name(plan, form), bill.write(form, &outputs)?))).collect()
}

/// The files of an image, the disk itself first.
fn outputs(plan: &Plan, files: &BTreeMap<String, OutputFile>) -> Vec<Output> {
    let disk = plan.file_name(plan.layout.sector_size, OutputFormat::Raw);
    let mut outputs: Vec<Output> = files
        .iter()
        .map(|(name, file)| Output { name: name.clone(), size: file.size, sha256: file.sha256 })
        .collect();
    outputs.sort_by_key(|output| output.name != disk);
    outputs
}

/// What a statement of provenance is about: the files of an image, and the texts that tell of them.
pub(super) fn subjects<'t>(
    plan: &Plan,
    files: &BTreeMap<String, OutputFile>,
    texts: impl IntoIterator<Item = (&'t String, &'t Vec<u8>)>,
) -> Vec<Output> {
    let mut subjects = outputs(plan, files);
    subjects.extend(texts.into_iter().map(|(name, text)| {
        let Document { size, sha256 } = told(text);
        Output { name: name.clone(), size, sha256 }
    }));
    subjects
}

/// What a manifest says of a document.
pub(super) fn told(text: &[u8]) -> Document {
    Document { size: to_u64(text.len()), sha256: Sha256Digest::of(text) }
}
