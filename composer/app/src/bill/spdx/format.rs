//! The parts of an SPDX document, in its own spelling. Source: SPDX 2.3 §6 to §11, and its JSON schema.

use goni_model::digest::Sha256Digest;
use serde::Serialize;

use super::NOASSERTION;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bill) struct Document {
    pub(super) spdx_version: &'static str,
    pub(super) data_license: &'static str,
    #[serde(rename = "SPDXID")]
    pub(super) id: &'static str,
    pub(super) name: String,
    pub(super) document_namespace: String,
    pub(super) creation_info: CreationInfo,
    pub(super) packages: Vec<Element>,
    pub(super) relationships: Vec<Relationship>,
    pub(super) has_extracted_licensing_infos: Vec<Extracted>,
}

#[derive(Debug, Serialize)]
pub(super) struct CreationInfo {
    pub(super) created: String,
    pub(super) creators: Vec<String>,
    pub(super) comment: &'static str,
}

/// What SPDX calls a package: anything that has a name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Element {
    #[serde(rename = "SPDXID")]
    pub(super) id: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) package_file_name: Option<String>,
    pub(super) supplier: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) originator: Option<String>,
    pub(super) download_location: String,
    pub(super) files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) homepage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_info: Option<String>,
    pub(super) license_concluded: &'static str,
    pub(super) license_declared: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) license_comments: Option<String>,
    pub(super) copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) external_refs: Vec<ExternalReference>,
    pub(super) primary_package_purpose: &'static str,
}

impl Element {
    /// An element of which nothing is known but its name.
    pub(super) fn new(id: String, name: String) -> Self {
        Self {
            id,
            name,
            version_info: None,
            package_file_name: None,
            supplier: NOASSERTION.to_owned(),
            originator: None,
            download_location: NOASSERTION.to_owned(),
            files_analyzed: false,
            checksums: Vec::new(),
            homepage: None,
            source_info: None,
            license_concluded: NOASSERTION,
            license_declared: NOASSERTION.to_owned(),
            license_comments: None,
            copyright_text: NOASSERTION,
            summary: None,
            comment: None,
            external_refs: Vec::new(),
            primary_package_purpose: "OTHER",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checksum {
    algorithm: &'static str,
    checksum_value: Sha256Digest,
}

impl Checksum {
    pub(super) fn sha256(digest: Sha256Digest) -> Vec<Self> {
        vec![Self { algorithm: "SHA256", checksum_value: digest }]
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExternalReference {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

impl ExternalReference {
    pub(super) fn purl(locator: String) -> Vec<Self> {
        vec![Self {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: locator,
        }]
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Relationship {
    pub(super) spdx_element_id: String,
    pub(super) relationship_type: &'static str,
    pub(super) related_spdx_element: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Extracted {
    pub(super) license_id: String,
    pub(super) name: String,
    pub(super) extracted_text: String,
}
