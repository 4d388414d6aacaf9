//! The provenance of an image: an in-toto statement of what was built, from what, by which program.
//!
//! The statement is not signed by itself: `SHA256SUMS` lists it, and that is what an owner signs. It asks no
//! clock and names no machine, so that a second build can say the same.
//! Source: in-toto attestation framework, Statement v1; SLSA provenance v1.

mod format;

use std::collections::{BTreeMap, BTreeSet};

use goni_model::digest::Sha256Digest;
use goni_model::lock::{Lock, LockedPackage};
use goni_model::plan::Plan;
use goni_model::recipe::origin::Origin;

use crate::bill::{Bill, LaidKind, Output};
use crate::failure::Failure;
use crate::host::files;
use crate::project::Project;
use format::{
    BuildDefinition, BuildMetadata, Builder, Digest, ExternalParameters, InternalParameters, Predicate,
    RecipeParameter, ResourceDescriptor, RunDetails, Statement,
};

/// What kind of build this is. The README says what its parameters mean.
pub const BUILD_TYPE: &str = "urn:x-goni-compose:build:1";

/// The ending of its file names.
pub const ENDING: &str = "provenance.json";

/// The largest file of a recipe that is digested.
const LARGEST: u64 = 64 << 20;

/// What a statement is made of.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The project.
    pub project: &'a Project,
    /// Its lock.
    pub lock: &'a Lock,
    /// The twins of its packages that this machine used.
    pub twins: &'a [LockedPackage],
    /// Its plan.
    pub plan: &'a Plan,
    /// What the image is made of.
    pub bill: &'a Bill,
}

/// The files that say what is to be built, by digest: the recipe, those it extends, the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    recipe: (String, Sha256Digest),
    extended: Vec<(String, Sha256Digest)>,
    lock: (String, Sha256Digest),
}

/// Reads the files that say what is to be built. Of the lock counts what it says, not what is on the disk: a build
/// may complete it, and writes that last.
///
/// # Errors
/// One of them cannot be read.
pub fn sources(project: &Project, lock: &Lock) -> Result<Sources, Failure> {
    let digest = |name: String| -> Result<(String, Sha256Digest), Failure> {
        let text = files::read_capped(&project.root.join(&name), LARGEST)?;
        let sha256 = Sha256Digest::of(&text);
        Ok((name, sha256))
    };
    let below =
        |path: &std::path::Path| path.strip_prefix(&project.root).unwrap_or(path).display().to_string();
    let recipe = below(&project.path);
    let typed = project.origins.values().filter_map(|effective| match project.within(&effective.origin) {
        Origin::Typed { file, .. } => Some(file),
        Origin::Default => None,
    });
    let others: BTreeSet<String> = typed.filter(|file| *file != recipe).collect();
    Ok(Sources {
        recipe: digest(recipe)?,
        extended: others.into_iter().map(digest).collect::<Result<_, _>>()?,
        lock: (below(&project.lock()), Sha256Digest::of(lock.to_string().as_bytes())),
    })
}

/// Writes the statement about these files.
///
/// # Errors
/// A value that JSON cannot hold; there is none.
pub fn write(
    ground: &Ground<'_>,
    sources: &Sources,
    subjects: &[Output],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(&statement(ground, sources, subjects))?;
    text.push(b'\n');
    Ok(text)
}

fn statement(ground: &Ground<'_>, sources: &Sources, subjects: &[Output]) -> Statement {
    let Ground { project, plan, bill, .. } = ground;
    let version = env!("CARGO_PKG_VERSION");
    let payloads = bill.laid.iter().filter(|laid| laid.kind == LaidKind::Payload);
    Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: subjects
            .iter()
            .map(|output| ResourceDescriptor::named(output.name.clone(), output.sha256))
            .collect(),
        predicate_type: "https://slsa.dev/provenance/v1",
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                external_parameters: ExternalParameters {
                    recipe: RecipeParameter {
                        name: sources.recipe.0.clone(),
                        digest: Digest::of(sources.recipe.1),
                    },
                    target: project.target.name.to_string(),
                    arch: plan.arch.to_string(),
                    // One that nothing gave has no digest: a stand-in is there instead.
                    payloads: payloads.map(|laid| (laid.name.clone(), laid.sha256.map(Digest::of))).collect(),
                    values: project
                        .origins
                        .iter()
                        .map(|(key, effective)| (key.clone(), effective.value.clone()))
                        .collect(),
                },
                internal_parameters: InternalParameters {
                    source_date: plan.source_date,
                    stages: plan
                        .stages
                        .iter()
                        .map(|stage| (stage.kind.name(), stage.id.to_string()))
                        .collect(),
                },
                resolved_dependencies: dependencies(ground, sources),
            },
            run_details: RunDetails {
                builder: Builder {
                    id: format!("urn:x-goni-compose:program:{version}"),
                    version: BTreeMap::from([("goni-compose", version)]),
                    builder_dependencies: vec![
                        ResourceDescriptor::named("goni-compose".to_owned(), bill.program),
                        ResourceDescriptor::named("toolbox.lock".to_owned(), bill.toolbox),
                    ],
                },
                metadata: BuildMetadata { invocation_id: bill.build.to_string() },
            },
        },
    }
}

/// Everything that went in, by digest.
fn dependencies(ground: &Ground<'_>, sources: &Sources) -> Vec<ResourceDescriptor> {
    let Ground { lock, twins, bill, .. } = ground;
    let files = std::iter::once(&sources.lock).chain(&sources.extended);
    let mut all: Vec<ResourceDescriptor> =
        files.map(|(name, sha256)| ResourceDescriptor::named(name.clone(), *sha256)).collect();
    for suite in &lock.suites {
        let name = format!("{} {} Release", suite.archive, suite.suite);
        all.push(ResourceDescriptor::named(name, suite.sha256));
    }
    for package in &bill.packages {
        let descriptor = of_package(&package.locked, "in the image");
        all.push(ResourceDescriptor { uri: Some(bill.purl(package)), ..descriptor });
    }
    all.extend(bill.module_build.iter().map(|locked| of_package(locked, "builds kernel modules")));
    all.extend(twins.iter().map(|locked| of_package(locked, "runs while the image is configured")));
    for laid in bill.laid.iter().filter(|laid| laid.kind != LaidKind::Stage) {
        let Some(sha256) = laid.sha256 else { continue };
        let (word, role) = match laid.kind {
            LaidKind::Payload => ("payload", "program laid into the image"),
            _ => ("overlay", "laid into the image; the digest is of all it says and holds"),
        };
        let descriptor = ResourceDescriptor::named(format!("{word} {}", laid.name), sha256);
        all.push(descriptor.annotated("role", role));
    }
    all
}

fn of_package(locked: &LockedPackage, role: &str) -> ResourceDescriptor {
    let name = format!("{}_{}_{}", locked.name, locked.version, locked.arch);
    ResourceDescriptor::named(name, locked.sha256)
        .annotated("archive", &locked.archive)
        .annotated("path", &locked.path)
        .annotated("role", role)
}

#[cfg(test)]
mod tests;
