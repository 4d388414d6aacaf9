//! What boots: profiles, the sections of the kernel image, the files beside it.

use goni_model::digest::Sha256Digest;
use goni_model::layout::Role;
use goni_model::number::to_u64;

use crate::inspection::{Boot, BootFile, Profile, Section};
use crate::verify::esp::IMAGES;
use crate::verify::evidence::{Contents, Evidence, chain};
use crate::verify::objection::Objection;

/// What boots, as far as the partitions it is on can be read.
pub(super) fn read(evidence: &Evidence<'_>) -> Result<Boot, String> {
    let booted = evidence.booted();
    let mut boot = Boot {
        method: evidence.boot.name(),
        kernel_image: booted.as_ref().map(|booted| booted.kernel.clone()),
        kernel_release: booted.as_ref().map(|booted| booted.release.clone()),
        root_hash: evidence.root_hash.found().copied(),
        profiles: Vec::new(),
        sections: Vec::new(),
        files: Vec::new(),
    };
    for way in booted.into_iter().flat_map(|booted| booted.ways) {
        boot.profiles.push(Profile { id: way.id, title: way.title, command_line: way.command_line });
    }
    let of_esp = |error: std::io::Error| format!("the EFI system partition: {}", chain(&error));
    if let (Some(esp), Some(window)) = (evidence.esp.found(), evidence.window(Role::Esp)) {
        let contents = Contents::open(window).map_err(of_esp)?;
        for path in esp.files.keys() {
            let (size, sha256) = contents.digest(path).map_err(of_esp)?;
            boot.files.push(BootFile { partition: Role::Esp, path: path.clone(), size, sha256 });
        }
        if let Some((path, program)) = esp.programs(IMAGES).next() {
            let sums = contents.sections(path, &program.image).map_err(of_esp)?;
            let mut labels = program.profiles.iter().map(|profile| profile.label.id.clone());
            let mut profile = None;
            for (section, sha256) in program.image.sections.iter().zip(sums) {
                if section.name == ".profile" {
                    profile = labels.next();
                }
                let name = section.name.clone();
                boot.sections.push(Section { profile: profile.clone(), name, size: section.size, sha256 });
            }
        }
    }
    if let Some(app) = evidence.app.found() {
        for path in app.files.iter().filter(|(_, file)| file.regular).map(|(path, _)| path) {
            let bytes = app.bytes(path).map_err(|objection| match objection {
                Objection::Differs { expected, observed } => format!("not {expected}: {observed}"),
                Objection::Unseen { reason } => reason,
            })?;
            boot.files.push(BootFile {
                partition: Role::App,
                path: path.clone(),
                size: to_u64(bytes.len()),
                sha256: Sha256Digest::of(&bytes),
            });
        }
    }
    Ok(boot)
}
