//! The place of an output: its names, what stands in their way, what is there already, and the moment when
//! everything gets its final name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use goni_model::digest::Sha256Digest;
use goni_model::layout::Layout;
use goni_model::plan::Plan;
use goni_model::recipe::OutputFormat;

use crate::build::{OutputFile, documents, manifest};
use crate::failure::{Class, Classify, Failure};
use crate::host::files;
use crate::host::files::lock::Lock as FileLock;
use crate::host::scratch::Scratch;
use crate::index::{self, Index};
use crate::project::Project;
use crate::sign;

/// Something is where an output is to be.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is in the way: it is a {kind}")]
struct InTheWay {
    path: PathBuf,
    kind: &'static str,
}

impl Classify for InTheWay {
    fn class(&self) -> Class {
        Class::Environment
    }

    fn hint(&self) -> Option<String> {
        Some("move it, or name another directory with --out".to_owned())
    }
}

/// The names of the files of an output.
pub(super) fn names(project: &Project, plan: &Plan) -> Vec<String> {
    // The raw image is always there: it is what is verified and booted.
    let formats = || project.recipe.output.formats.iter().chain([&OutputFormat::Raw]);
    let of_layout = |layout: &Layout| {
        let sector_size = layout.sector_size;
        formats().map(move |format| plan.file_name(sector_size, *format)).collect::<Vec<_>>()
    };
    let mut names: Vec<String> = plan.layouts().flat_map(of_layout).collect();
    names.extend(documents::names(plan));
    names.sort();
    names.dedup();
    names
}

/// Refuses to begin where the end cannot be: at a name that is no file.
pub(super) fn check(out: &Path, names: &[String]) -> Result<(), Failure> {
    if let Some(kind) = files::other_kind(out, files::Wanted::Directory)? {
        return Err(InTheWay { path: out.to_owned(), kind }.into());
    }
    for name in names {
        let path = out.join(name);
        if let Some(kind) = files::other_kind(&path, files::Wanted::File)? {
            return Err(InTheWay { path, kind }.into());
        }
    }
    Ok(())
}

/// The name of a plan's manifest.
pub(super) fn manifest_name(plan: &Plan) -> String {
    format!("{}.manifest.json", plan.stem())
}

/// The index of the image that was built last in this place: of the same name and version, or else the one
/// that `manifest.json` leads to, if it has the same name. One that cannot be read tells nothing of growth.
pub(super) fn last(out: &Path, plan: &Plan) -> Option<Index> {
    let of_stem = |stem: &str| index::read(&out.join(format!("{stem}{}", index::SUFFIX))).ok();
    of_stem(&plan.stem()).or_else(|| {
        let known: manifest::Titled =
            serde_json::from_slice(&files::read_capped(&out.join("manifest.json"), 64 << 20).ok()?).ok()?;
        let same = known.name == plan.name && known.arch == plan.arch.to_string();
        of_stem(&format!("{}_{}_{}", known.name, known.version, known.arch)).filter(|_| same)
    })
}

/// What is written beside the files of an image.
pub(super) struct Texts<'a> {
    pub(super) manifest: &'a [u8],
    pub(super) documents: &'a BTreeMap<String, Vec<u8>>,
}

/// Gives everything its final name; the manifest, which vouches for the rest, comes last.
///
/// `SHA256SUMS` keeps the lines of other images that are still there; `manifest.json` leads to the
/// manifest of the image built last. A signature of what `SHA256SUMS` said before goes: its names come back.
pub(super) fn finish(
    scratch: &Scratch,
    out: &Path,
    plan: &Plan,
    files: &BTreeMap<String, OutputFile>,
    texts: &Texts<'_>,
) -> Result<Vec<&'static str>, Failure> {
    let manifest_name = manifest_name(plan);
    let stem = format!("{}.", plan.stem());
    files::flush_filesystem(scratch.path())?;
    // Several images may end here at the same moment, and have one list.
    let _alone = FileLock::of_directory(out)?;
    let mut sums = sums(out)?;
    sums.retain(|name, _| !name.starts_with(&stem) && files::size(&out.join(name)).is_some());
    sums.extend(files.iter().map(|(name, file)| (name.clone(), file.sha256.to_string())));
    let digest = |text: &[u8]| Sha256Digest::of(text).to_string();
    sums.extend(texts.documents.iter().map(|(name, text)| (name.clone(), digest(text))));
    sums.insert(manifest_name.clone(), digest(texts.manifest));
    let sums: String = sums.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect();
    let stale = sign::remove_stale(out, sums.as_bytes())?;
    // From here on until the end nothing vouches for what is there.
    if files::size(&out.join(&manifest_name)).is_some() {
        files::remove_file(&out.join(&manifest_name))?;
    }
    for name in files.keys() {
        files::rename(&scratch.path().join(name), &out.join(name))?;
    }
    for (name, text) in texts.documents {
        files::replace(&out.join(name), text, 0o644)?;
    }
    files::replace(&out.join(sign::SUMS), sums.as_bytes(), 0o644)?;
    files::replace(&out.join(&manifest_name), texts.manifest, 0o644)?;
    files::replace_link(&out.join("manifest.json"), &manifest_name)?;
    files::flush_directory(out)?;
    Ok(stale)
}

/// The lines of `SHA256SUMS`: digests by name.
pub(super) fn sums(out: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = match files::read_text(&out.join(sign::SUMS), sign::LARGEST_SUMS) {
        Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
        text => text?,
    };
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    Ok(lines.map(|(sha256, name)| (name.to_owned(), sha256.to_owned())).collect())
}
