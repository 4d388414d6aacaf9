//! What was laid over the packages: overlays, payloads, and what stages of the build made.

use std::collections::BTreeMap;
use std::io::Read as _;

use goni_disk::tree::{Content, Kind, Owner, TreePath};
use goni_model::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};

use super::{BillError, Materials};
use crate::bill::{Laid, LaidKind};

/// Files by who put them there.
type Files = BTreeMap<(LaidKind, String), Vec<(String, Sha256Digest)>>;

pub(super) fn laid(materials: &Materials<'_>) -> Result<Vec<Laid>, BillError> {
    let mut files = files(materials)?;
    let mut laid = Vec::new();
    for (word, kind) in [("overlay", LaidKind::Overlay), ("payload", LaidKind::Payload)] {
        for input in materials.inputs.iter().filter(|input| input.kind == word) {
            let files = files.remove(&(kind, input.name.clone())).unwrap_or_default();
            let note = match kind {
                LaidKind::Payload => "program of the owner's, laid as it is".to_owned(),
                _ => overlay_note(materials, &input.name),
            };
            laid.push(Laid { kind, name: input.name.clone(), sha256: Some(input.sha256), note, files });
        }
    }
    for name in materials.stand_ins {
        let note = "A STAND-IN, NOT THE REAL PROGRAM: nothing gave this payload".to_owned();
        let (kind, name) = (LaidKind::Payload, name.clone());
        laid.push(Laid { kind, name, sha256: None, note, files: Vec::new() });
    }
    for ((kind, name), files) in files {
        let mut hasher = Sha256::new();
        files.iter().for_each(|(path, sha256)| hasher.update(format!("{sha256}  {path}\n")));
        let note = match name.as_str() {
            "configure" => "files that maintainer scripts of packages made".to_owned(),
            "unpack" => "dpkg's database, and what else unpacking packages leaves".to_owned(),
            _ => format!("files that stage `{name}` of the build made"),
        };
        laid.push(Laid { kind, name, sha256: Some(Sha256Digest::finish(hasher)), note, files });
    }
    Ok(laid)
}

/// The files of the image that no package brought, by who did.
fn files(materials: &Materials<'_>) -> Result<Files, BillError> {
    let mut files = Files::new();
    for tree in [materials.root, materials.state] {
        for (path, entry) in tree.iter() {
            let (kind, name) = match &entry.owner {
                Owner::Package(_) => continue,
                Owner::Overlay(name) => (LaidKind::Overlay, name),
                Owner::Payload(name) => (LaidKind::Payload, name),
                Owner::Stage(name) => (LaidKind::Stage, name),
            };
            let Kind::File(content) = &tree.inode(entry.inode).kind else { continue };
            let digest = digest(materials, path, content)?;
            files.entry((kind, name.to_string())).or_default().push((path.to_string(), digest));
        }
    }
    Ok(files)
}

/// What there is to say of an overlay.
fn overlay_note(materials: &Materials<'_>, name: &str) -> String {
    let stands = materials.project.stand_ins.iter().find(|(payload, overlays)| {
        materials.stand_ins.iter().any(|it| it == payload.as_str())
            && overlays.iter().any(|it| it.overlay.name.as_str() == name)
    });
    match stands {
        Some((payload, _)) => format!("overlay of the project; it stands in for payload `{payload}`"),
        None => "overlay of the project".to_owned(),
    }
}

/// The digest of a file's bytes.
fn digest(materials: &Materials<'_>, path: &TreePath, content: &Content) -> Result<Sha256Digest, BillError> {
    let failed = |source| BillError::Read { path: path.to_string(), source };
    let mut reader = content.open(materials.contents).map_err(failed)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match reader.read(&mut buffer).map_err(failed)? {
            0 => return Ok(Sha256Digest::finish(hasher)),
            read => hasher.update(&buffer[..read]),
        }
    }
}
