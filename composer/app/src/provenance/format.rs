//! The parts of a statement, in its own spelling. Source: in-toto Statement v1, ResourceDescriptor v1; SLSA
//! provenance v1, whose maps our parameters fill.

use std::collections::BTreeMap;

use goni_model::digest::Sha256Digest;
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statement {
    #[serde(rename = "_type")]
    pub(super) kind: &'static str,
    pub(super) subject: Vec<ResourceDescriptor>,
    pub(super) predicate_type: &'static str,
    pub(super) predicate: Predicate,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct ResourceDescriptor {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uri: Option<String>,
    pub(super) digest: Digest,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<&'static str, String>,
}

impl ResourceDescriptor {
    pub(super) const fn named(name: String, sha256: Sha256Digest) -> Self {
        Self { name, uri: None, digest: Digest::of(sha256), annotations: BTreeMap::new() }
    }

    pub(super) fn annotated(mut self, key: &'static str, value: &str) -> Self {
        self.annotations.insert(key, value.to_owned());
        self
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Digest {
    sha256: Sha256Digest,
}

impl Digest {
    pub(super) const fn of(sha256: Sha256Digest) -> Self {
        Self { sha256 }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Predicate {
    pub(super) build_definition: BuildDefinition,
    pub(super) run_details: RunDetails,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildDefinition {
    pub(super) build_type: &'static str,
    pub(super) external_parameters: ExternalParameters,
    pub(super) internal_parameters: InternalParameters,
    pub(super) resolved_dependencies: Vec<ResourceDescriptor>,
}

#[derive(Debug, Serialize)]
pub(super) struct ExternalParameters {
    pub(super) recipe: RecipeParameter,
    pub(super) target: String,
    pub(super) arch: String,
    pub(super) payloads: BTreeMap<String, Option<Digest>>,
    pub(super) values: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub(super) struct RecipeParameter {
    pub(super) name: String,
    pub(super) digest: Digest,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InternalParameters {
    pub(super) source_date: u64,
    pub(super) stages: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
pub(super) struct RunDetails {
    pub(super) builder: Builder,
    pub(super) metadata: BuildMetadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Builder {
    pub(super) id: String,
    pub(super) version: BTreeMap<&'static str, &'static str>,
    pub(super) builder_dependencies: Vec<ResourceDescriptor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildMetadata {
    pub(super) invocation_id: String,
}
