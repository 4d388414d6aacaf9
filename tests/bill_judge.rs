//! Judges bills of materials: by the public schemas, and for what schemas cannot see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jsonschema::{Registry, Validator};
use serde::Deserialize;
use serde_json::Value;

const SPDX: &str = include_str!("fixtures/bill/spdx-2.3.schema.json");
const CYCLONEDX: &str = include_str!("fixtures/bill/bom-1.6.SNAPSHOT.schema.json");
const CYCLONEDX_PARTS: [(&str, &str); 2] = [
    (
        "http://cyclonedx.org/schema/spdx.SNAPSHOT.schema.json",
        include_str!("fixtures/bill/spdx.SNAPSHOT.schema.json"),
    ),
    (
        "http://cyclonedx.org/schema/jsf-0.82.SNAPSHOT.schema.json",
        include_str!("fixtures/bill/jsf-0.82.SNAPSHOT.schema.json"),
    ),
];

static SPDX_SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let mut schema: Value = serde_json::from_str(SPDX).unwrap();
    // With an empty fragment, which the validator does not know this draft by.
    schema["$schema"] = "https://json-schema.org/draft/2019-09/schema".into();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
});

static CYCLONEDX_SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let mut registry = Registry::new();
    for (address, text) in CYCLONEDX_PARTS {
        let part: Value = serde_json::from_str(text).unwrap();
        registry = registry.add(address, part).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let schema: Value = serde_json::from_str(CYCLONEDX).unwrap();
    jsonschema::options().should_validate_formats(true).with_registry(&registry).build(&schema).unwrap()
});

/// What is wrong with an SPDX document.
pub(crate) fn spdx(document: &Value) -> Vec<String> {
    let mut faults = by_schema(&SPDX_SCHEMA, document);
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let mut ids = vec![text(&document["SPDXID"])];
    ids.extend(list("packages").iter().map(|element| text(&element["SPDXID"])));
    faults.extend(twice(&ids));
    let known: BTreeSet<&String> = ids.iter().collect();
    for id in &ids {
        let rest = id.strip_prefix("SPDXRef-").unwrap_or_default();
        if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) {
            faults.push(format!("`{id}` is no identifier"));
        }
    }
    let relationships = list("relationships");
    for relationship in &relationships {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            let id = text(&relationship[end]);
            if !known.contains(&id) {
                faults.push(format!("`{id}` of a relationship is nowhere"));
            }
        }
    }
    faults.extend(twice(&relationships.iter().map(ToString::to_string).collect::<Vec<_>>()));
    let described = relationships.iter().filter(|it| it["relationshipType"] == "DESCRIBES").count();
    if described != 1 {
        faults.push(format!("the document describes {described} elements"));
    }
    for element in list("packages") {
        for reference in element["externalRefs"].as_array().into_iter().flatten() {
            faults.extend(purl(&text(&reference["referenceLocator"])));
        }
    }
    let extracted: Vec<String> =
        list("hasExtractedLicensingInfos").iter().map(|it| text(&it["licenseId"])).collect();
    faults.extend(twice(&extracted));
    let extracted: BTreeSet<&String> = extracted.iter().collect();
    for element in list("packages") {
        for word in words(&text(&element["licenseDeclared"])) {
            if word.starts_with("LicenseRef-") && !extracted.contains(&word) {
                faults.push(format!("licence `{word}` is explained nowhere"));
            }
        }
    }
    faults
}

/// What is wrong with a CycloneDX document.
pub(crate) fn cyclonedx(document: &Value) -> Vec<String> {
    let mut faults = by_schema(&CYCLONEDX_SCHEMA, document);
    let mut references = vec![text(&document["metadata"]["component"]["bom-ref"])];
    let mut purls = Vec::new();
    fn walk(component: &Value, references: &mut Vec<String>, purls: &mut Vec<String>) {
        references.push(text(&component["bom-ref"]));
        purls.extend(component["purl"].as_str().map(str::to_owned));
        component["components"].as_array().into_iter().flatten().for_each(|it| walk(it, references, purls));
    }
    document["components"]
        .as_array()
        .into_iter()
        .flatten()
        .for_each(|it| walk(it, &mut references, &mut purls));
    document["metadata"]["tools"]["components"]
        .as_array()
        .into_iter()
        .flatten()
        .for_each(|it| walk(it, &mut references, &mut purls));
    faults.extend(twice(&references));
    faults.extend(purls.iter().flat_map(|it| purl(it)));
    let known: BTreeSet<&String> = references.iter().collect();
    for dependency in document["dependencies"].as_array().into_iter().flatten() {
        let needed = dependency["dependsOn"].as_array().into_iter().flatten().map(text);
        for reference in needed.chain([text(&dependency["ref"])]) {
            if !known.contains(&reference) {
                faults.push(format!("`{reference}` of a dependency is nowhere"));
            }
        }
    }
    faults
}

/// What is wrong with an in-toto statement of SLSA provenance. There is no public schema: the types below are
/// the specifications, field by field.
pub(crate) fn provenance(document: &Value) -> Vec<String> {
    let statement: Statement = match serde_json::from_value(document.clone()) {
        Ok(statement) => statement,
        Err(error) => return vec![error.to_string()],
    };
    let mut faults = Vec::new();
    let mut constant = |name: &str, found: &str, wanted: &str| {
        if found != wanted {
            faults.push(format!("{name} is `{found}`, not `{wanted}`"));
        }
    };
    constant("_type", &statement.kind, "https://in-toto.io/Statement/v1");
    constant("predicateType", &statement.predicate_type, "https://slsa.dev/provenance/v1");
    if statement.subject.is_empty() {
        faults.push("there is no subject".to_owned());
    }
    let Predicate { build_definition: definition, run_details: run } = &statement.predicate;
    for uri in [&definition.build_type, &run.builder.id] {
        if !uri.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty()) {
            faults.push(format!("`{uri}` is no URI"));
        }
    }
    if definition.external_parameters.is_empty() || definition.internal_parameters.is_empty() {
        faults.push("there are no parameters".to_owned());
    }
    if run.metadata.started_on.is_some() || run.metadata.finished_on.is_some() {
        faults.push("a clock was asked".to_owned());
    }
    if run.metadata.invocation_id.is_empty() || run.builder.version.is_empty() {
        faults.push("the build or its program has no name".to_owned());
    }
    let described = statement.subject.iter().chain(&definition.resolved_dependencies);
    for descriptor in described.chain(&run.builder.builder_dependencies) {
        let ResourceDescriptor { name, uri, digest, annotations } = descriptor;
        if annotations.values().any(|value| !value.is_string()) {
            faults.push(format!("an annotation of `{name}` is no text"));
        }
        if name.is_empty() || uri.as_ref().is_some_and(|uri| purl(uri).is_some()) {
            faults.push(format!("`{name}` has no name, or a bad address"));
        }
        let sha256 = digest.get("sha256").map(String::as_str).unwrap_or_default();
        if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            faults.push(format!("`{sha256}` is no SHA-256"));
        }
    }
    faults.extend(twice(&statement.subject.iter().map(|it| it.name.clone()).collect::<Vec<_>>()));
    faults
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<ResourceDescriptor>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceDescriptor {
    name: String,
    uri: Option<String>,
    digest: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BuildDefinition {
    build_type: String,
    external_parameters: BTreeMap<String, Value>,
    internal_parameters: BTreeMap<String, Value>,
    resolved_dependencies: Vec<ResourceDescriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunDetails {
    builder: Builder,
    metadata: BuildMetadata,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Builder {
    id: String,
    version: BTreeMap<String, String>,
    builder_dependencies: Vec<ResourceDescriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BuildMetadata {
    invocation_id: String,
    started_on: Option<String>,
    finished_on: Option<String>,
}

fn by_schema(schema: &Validator, document: &Value) -> Vec<String> {
    schema.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// What is wrong with a package URL of type `deb`. Source: the purl specification.
fn purl(text: &str) -> Option<String> {
    let fault = |what: &str| Some(format!("`{text}` is no package URL: {what}"));
    let Some(rest) = text.strip_prefix("pkg:deb/") else { return fault("it does not begin with pkg:deb/") };
    let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let Some((names, version)) = path.split_once('@') else { return fault("it has no version") };
    let parts: Vec<&str> = names.split('/').collect();
    if parts.len() != 2 || parts.iter().chain([&version]).any(|part| part.is_empty()) {
        return fault("it wants a namespace, a name and a version");
    }
    let plain = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~' | b':' | b'%'))
    };
    if !parts.iter().chain([&version]).all(|part| plain(part)) {
        return fault("something in it is not encoded");
    }
    let keys: Vec<&str> = qualifiers.split('&').filter_map(|it| it.split_once('=')).map(|it| it.0).collect();
    if !keys.is_sorted() || !keys.contains(&"arch") {
        return fault("its qualifiers are not sorted, or lack the architecture");
    }
    None
}

/// What is in a list more than once.
fn twice(list: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&String, u32> = BTreeMap::new();
    list.iter().for_each(|it| *counts.entry(it).or_default() += 1);
    counts
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(it, _)| format!("`{it}` is there twice"))
        .collect()
}

/// The words of an expression.
fn words(expression: &str) -> Vec<String> {
    let word = |text: &str| text.trim_matches(['(', ')']).to_owned();
    expression.split_whitespace().map(word).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
