//! A bill as a CycloneDX document.
//!
//! The image is what the metadata describe; packages, overlays, payloads and modules are its components.
//! Source: CycloneDX 1.6.

mod format;

use goni_model::digest::Sha256Digest;
use goni_model::lock::LockedPackage;

use super::{Bill, COMPOSER, Form, Laid, LaidKind, Output, Package, purl};
use crate::stages::modules::{Origin, Recorded};
use format::{
    Bom, Component, Composition, Dependency, ExternalReference, Hash, License, Lifecycle, Metadata,
    Organization, Property, Tools,
};

pub(super) fn bom(bill: &Bill, outputs: &[Output]) -> Bom {
    let image = image(bill, outputs);
    let mut components: Vec<Component> = Vec::new();
    let mut dependencies: Vec<Dependency> = Vec::new();
    let purl_of = |package: &Package| purl::of_package(bill, &package.locked, &package.origin);
    for package in &bill.packages {
        let needs = bill.packages.iter().filter(|it| package.needs.contains(&it.locked.name));
        let mut depends_on: Vec<String> = needs.map(purl_of).collect();
        depends_on.sort();
        let component = of_package(bill, package);
        dependencies.push(Dependency { reference: component.bom_ref.clone(), depends_on });
        components.push(component);
    }
    components.extend(bill.laid.iter().map(of_laid));
    components.extend(bill.modules.iter().map(of_module));
    let mut contained: Vec<String> = components.iter().map(|it| it.bom_ref.clone()).collect();
    contained.sort();
    // What modules were built with is there to be looked up, and is in no image.
    let built = bill.modules.iter().any(|module| !matches!(module.from, Origin::File { .. }));
    components.extend(bill.module_build.iter().filter(|_| built).map(of_build_package));
    dependencies.insert(0, Dependency { reference: image.bom_ref.clone(), depends_on: contained });
    Bom {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: format!("urn:uuid:{}", bill.uuid(Form::CycloneDx)),
        version: 1,
        metadata: Metadata {
            timestamp: bill.date.to_string(),
            lifecycles: [Lifecycle { phase: "build" }],
            tools: Tools { components: tools(bill) },
            component: image.clone(),
        },
        components,
        dependencies,
        compositions: [Composition { aggregate: "complete", assemblies: [image.bom_ref] }],
    }
}

/// The image: digests of the disk, and where its other forms are, beside this file.
fn image(bill: &Bill, outputs: &[Output]) -> Component {
    let references = outputs.iter().map(|output| ExternalReference {
        kind: "distribution",
        url: purl::encode(&output.name),
        hashes: Hash::sha256(output.sha256),
        comment: Some(format!("{} bytes", output.size)),
    });
    Component {
        version: Some(bill.version.clone()),
        hashes: outputs.first().map(|output| Hash::sha256(output.sha256)).unwrap_or_default(),
        external_references: references.collect(),
        properties: vec![
            Property::new("arch", bill.arch.to_string()),
            Property::new("target", bill.target.clone()),
            Property::new("build", bill.build.to_string()),
        ],
        ..Component::new("operating-system", format!("image:{}", bill.stem()), bill.name.clone())
    }
}

fn tools(bill: &Bill) -> Vec<Component> {
    let program = Component {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        hashes: Hash::sha256(bill.program),
        licenses: License::declared(env!("CARGO_PKG_LICENSE")),
        ..Component::new("application", format!("tool:{COMPOSER}"), COMPOSER.to_owned())
    };
    let toolbox = Component {
        description: Some(
            "Programs that run and judge what is built; the hash is that of their lock.".to_owned(),
        ),
        hashes: Hash::sha256(bill.toolbox),
        ..Component::new("application", "tool:toolbox".to_owned(), format!("{COMPOSER} toolbox"))
    };
    vec![program, toolbox]
}

fn of_package(bill: &Bill, package: &Package) -> Component {
    let Package { locked, origin, installed, licences, .. } = package;
    let purl = purl::of_package(bill, locked, origin);
    let section = installed.section.as_deref().unwrap_or_default();
    let kind = match section.rsplit('/').next().unwrap_or_default() {
        "libs" | "oldlibs" | "libdevel" => "library",
        "kernel" if locked.name.starts_with("firmware-") => "firmware",
        _ => "application",
    };
    let mut properties = vec![
        Property::new("archive", locked.archive.clone()),
        Property::new("suites", origin.suites.join(" ")),
        Property::new("component", origin.component.clone()),
        Property::new("path", locked.path.clone()),
        Property::new("size", locked.size.to_string()),
        Property::new("licences", licences.source()),
    ];
    properties.extend(origin.key.clone().map(|key| Property::new("key", key)));
    properties.extend(package.excepted.clone().map(|why| Property::new("excepted", why)));
    for source in package.sources() {
        properties.push(Property::new("source", purl::of_source(bill, &source)));
    }
    let homepage = installed.homepage.iter().filter(|page| page.parse::<goni_model::name::Url>().is_ok());
    Component {
        version: Some(locked.version.clone()),
        description: Some(installed.summary.clone()).filter(|text| !text.is_empty()),
        supplier: origin.supplier.clone().map(|name| Organization { name }),
        publisher: installed.maintainer.clone(),
        scope: Some("required"),
        hashes: Hash::sha256(locked.sha256),
        licenses: licences.spdx().map(License::declared).unwrap_or_default(),
        purl: Some(purl.clone()),
        external_references: homepage
            .map(|page| ExternalReference {
                kind: "website",
                url: page.clone(),
                hashes: Vec::new(),
                comment: None,
            })
            .collect(),
        properties,
        ..Component::new(kind, purl, locked.name.clone())
    }
}

fn of_laid(laid: &Laid) -> Component {
    let kind = match laid.kind {
        LaidKind::Payload => "application",
        LaidKind::Overlay | LaidKind::Stage => "data",
    };
    let reference = format!("{}:{}", laid.kind.word(), laid.name);
    let file = |(path, sha256): &(String, Sha256Digest)| Component {
        hashes: Hash::sha256(*sha256),
        ..Component::new("file", format!("{reference}:{path}"), path.clone())
    };
    Component {
        description: Some(laid.note.clone()),
        scope: Some("required"),
        hashes: laid.sha256.map(Hash::sha256).unwrap_or_default(),
        components: laid.files.iter().map(file).collect(),
        ..Component::new(kind, reference.clone(), laid.name.clone())
    }
}

fn of_module(module: &Recorded) -> Component {
    Component {
        description: Some(format!("kernel module from {}", module.from)),
        scope: Some("required"),
        hashes: Hash::sha256(module.sha256),
        properties: vec![Property::new("signed", module.signed.to_string())],
        ..Component::new("device-driver", format!("module:{}", module.name), module.name.clone())
    }
}

fn of_build_package(locked: &LockedPackage) -> Component {
    Component {
        version: Some(locked.version.clone()),
        scope: Some("excluded"),
        hashes: Hash::sha256(locked.sha256),
        properties: vec![
            Property::new("archive", locked.archive.clone()),
            Property::new("path", locked.path.clone()),
        ],
        ..Component::new("application", format!("build:{}", locked.name), locked.name.clone())
    }
}
