//! The parts of a CycloneDX document, in its own spelling. Source: CycloneDX 1.6, JSON schema.

use goni_model::digest::Sha256Digest;
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bill) struct Bom {
    #[serde(rename = "$schema")]
    pub(super) schema: &'static str,
    pub(super) bom_format: &'static str,
    pub(super) spec_version: &'static str,
    pub(super) serial_number: String,
    pub(super) version: u32,
    pub(super) metadata: Metadata,
    pub(super) components: Vec<Component>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) compositions: [Composition; 1],
}

#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    pub(super) timestamp: String,
    pub(super) lifecycles: [Lifecycle; 1],
    pub(super) tools: Tools,
    pub(super) component: Component,
}

#[derive(Debug, Serialize)]
pub(super) struct Lifecycle {
    pub(super) phase: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Tools {
    pub(super) components: Vec<Component>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(rename = "bom-ref")]
    pub(super) bom_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) supplier: Option<Organization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publisher: Option<String>,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) licenses: Vec<License>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) external_references: Vec<ExternalReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) components: Vec<Component>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<Property>,
}

impl Component {
    /// A component of which nothing is known but its name.
    pub(super) const fn new(kind: &'static str, bom_ref: String, name: String) -> Self {
        Self {
            kind,
            bom_ref,
            supplier: None,
            publisher: None,
            name,
            version: None,
            description: None,
            scope: None,
            hashes: Vec::new(),
            licenses: Vec::new(),
            purl: None,
            external_references: Vec::new(),
            components: Vec::new(),
            properties: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Organization {
    pub(super) name: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Hash {
    alg: &'static str,
    content: Sha256Digest,
}

impl Hash {
    pub(super) fn sha256(content: Sha256Digest) -> Vec<Self> {
        vec![Self { alg: "SHA-256", content }]
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct License {
    expression: String,
    acknowledgement: &'static str,
}

impl License {
    pub(super) fn declared(expression: &str) -> Vec<Self> {
        vec![Self { expression: expression.to_owned(), acknowledgement: "declared" }]
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct ExternalReference {
    pub(super) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Property {
    name: String,
    value: String,
}

impl Property {
    /// A property of our own names.
    pub(super) fn new(name: &str, value: String) -> Self {
        Self { name: format!("goni:{name}"), value }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dependency {
    #[serde(rename = "ref")]
    pub(super) reference: String,
    pub(super) depends_on: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Composition {
    pub(super) aggregate: &'static str,
    pub(super) assemblies: [String; 1],
}
