//! A bill as an SPDX document.
//!
//! The image is the element that the document describes; packages, overlays, payloads and modules are contained
//! in it. Files are not listed one by one: what packages hold, their digests say.
//! Source: SPDX 2.3.

mod format;

use std::collections::BTreeSet;

use goni_model::lock::LockedPackage;

use super::{Bill, COMPOSER, Form, Laid, LaidKind, Licences, Output, Package, Source, purl};
use crate::stages::modules::{Origin, Recorded};
use format::{Checksum, CreationInfo, Document, Element, ExternalReference, Extracted, Relationship};

/// What is not known, and what nobody looked for. Source: SPDX 2.3 §7.
const NOASSERTION: &str = "NOASSERTION";

/// The document's own identifier. Source: SPDX 2.3 §6.3.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

const IMAGE: &str = "SPDXRef-Image";
const PROGRAM: &str = "SPDXRef-Tool-goni-compose";
const TOOLBOX: &str = "SPDXRef-Tool-toolbox";

pub(super) fn document(bill: &Bill, outputs: &[Output]) -> Document {
    let mut document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: bill.stem(),
        // What the specification names for documents that are published nowhere.
        document_namespace: format!(
            "https://spdx.org/spdxdocs/{}-{}",
            purl::encode(&bill.stem()),
            bill.uuid(Form::Spdx)
        ),
        creation_info: CreationInfo {
            created: bill.date.to_string(),
            creators: vec![format!("Tool: {COMPOSER}-{}", env!("CARGO_PKG_VERSION"))],
            comment: "The time is the latest of anything in the image, not that of the build.",
        },
        packages: Vec::new(),
        relationships: Vec::new(),
        has_extracted_licensing_infos: Vec::new(),
    };
    document.relate(DOCUMENT, "DESCRIBES", IMAGE);
    document.image(bill, outputs);
    document.tools(bill);
    document.sources(bill);
    for package in &bill.packages {
        document.package(bill, package);
    }
    for laid in &bill.laid {
        document.laid(laid);
    }
    for module in &bill.modules {
        document.module(bill, module);
    }
    document.has_extracted_licensing_infos = bill.references.iter().map(extracted).collect();
    document
}

impl Document {
    fn relate(&mut self, from: &str, how: &'static str, to: &str) {
        self.relationships.push(Relationship {
            spdx_element_id: from.to_owned(),
            relationship_type: how,
            related_spdx_element: to.to_owned(),
        });
    }

    /// The image: the disk itself, and what else it is handed out as.
    fn image(&mut self, bill: &Bill, outputs: &[Output]) {
        for (at, output) in outputs.iter().enumerate() {
            let element = Element {
                version_info: Some(bill.version.clone()),
                package_file_name: Some(output.name.clone()),
                checksums: Checksum::sha256(output.sha256),
                primary_package_purpose: if at == 0 { "OPERATING_SYSTEM" } else { "ARCHIVE" },
                comment: Some(format!("{} bytes; for {}, target {}", output.size, bill.arch, bill.target)),
                ..Element::new(IMAGE.to_owned(), bill.name.clone())
            };
            if at == 0 {
                self.packages.push(element);
                continue;
            }
            let id = id_of("Output", &[&output.name]);
            self.relate(&id, "VARIANT_OF", IMAGE);
            self.packages.push(Element { id, ..element });
        }
    }

    fn tools(&mut self, bill: &Bill) {
        self.packages.push(Element {
            version_info: Some(env!("CARGO_PKG_VERSION").to_owned()),
            checksums: Checksum::sha256(bill.program),
            license_declared: env!("CARGO_PKG_LICENSE").to_owned(),
            ..Element::new(PROGRAM.to_owned(), COMPOSER.to_owned())
        });
        self.packages.push(Element {
            checksums: Checksum::sha256(bill.toolbox),
            comment: Some(
                "Programs that run and judge what is built; no byte of the image comes from them. The \
                 checksum is that of their lock."
                    .to_owned(),
            ),
            ..Element::new(TOOLBOX.to_owned(), format!("{COMPOSER} toolbox"))
        });
        self.relate(PROGRAM, "BUILD_TOOL_OF", IMAGE);
        self.relate(TOOLBOX, "BUILD_TOOL_OF", IMAGE);
    }

    fn sources(&mut self, bill: &Bill) {
        for source in bill.sources() {
            self.packages.push(Element {
                version_info: Some(source.version.clone()),
                primary_package_purpose: "SOURCE",
                external_refs: ExternalReference::purl(purl::of_source(bill, &source)),
                ..Element::new(source_id(&source), source.name)
            });
        }
    }

    fn package(&mut self, bill: &Bill, package: &Package) {
        let Package { locked, origin, installed, licences, .. } = package;
        let id = package_id(&locked.name);
        let homepage = installed.homepage.clone().filter(|page| is_address(page));
        self.packages.push(Element {
            version_info: Some(locked.version.clone()),
            package_file_name: locked.path.rsplit('/').next().map(str::to_owned),
            supplier: origin
                .supplier
                .as_ref()
                .map_or(NOASSERTION.to_owned(), |it| format!("Organization: {it}")),
            originator: installed.maintainer.as_deref().map(originator),
            download_location: origin.address.as_ref().map_or(NOASSERTION.to_owned(), |address| {
                format!("{}/{}", address.trim_end_matches('/'), purl::encode_path(&locked.path))
            }),
            checksums: Checksum::sha256(locked.sha256),
            homepage,
            source_info: Some(source_info(package)),
            license_declared: licences.spdx().unwrap_or(NOASSERTION).to_owned(),
            license_comments: Some(comments(licences)),
            comment: package.excepted.clone(),
            summary: Some(installed.summary.clone()).filter(|text| !text.is_empty()),
            external_refs: ExternalReference::purl(purl::of_package(bill, locked, origin)),
            primary_package_purpose: "INSTALL",
            ..Element::new(id.clone(), locked.name.clone())
        });
        self.relate(IMAGE, "CONTAINS", &id);
        for needed in &package.needs {
            self.relate(&id, "DEPENDS_ON", &package_id(needed));
        }
        for source in package.sources() {
            self.relate(&id, "GENERATED_FROM", &source_id(&source));
        }
    }

    fn laid(&mut self, laid: &Laid) {
        let id = id_of(laid.kind.word(), &[&laid.name]);
        let files = laid.files.iter().map(|(path, sha256)| format!("\n{sha256}  {path}"));
        self.packages.push(Element {
            checksums: laid.sha256.map(Checksum::sha256).unwrap_or_default(),
            comment: Some(format!("{}; files: {}{}", laid.note, laid.files.len(), files.collect::<String>())),
            primary_package_purpose: match laid.kind {
                LaidKind::Payload => "APPLICATION",
                LaidKind::Overlay | LaidKind::Stage => "OTHER",
            },
            ..Element::new(id.clone(), laid.name.clone())
        });
        self.relate(IMAGE, "CONTAINS", &id);
    }

    fn module(&mut self, bill: &Bill, module: &Recorded) {
        let id = id_of("Module", &[&module.name]);
        self.packages.push(Element {
            package_file_name: Some(format!("{}.ko", module.name)),
            checksums: Checksum::sha256(module.sha256),
            source_info: Some(format!("kernel module from {}", module.from)),
            ..Element::new(id.clone(), module.name.clone())
        });
        self.relate(IMAGE, "CONTAINS", &id);
        if let Origin::File { .. } = module.from {
            return;
        }
        let known: BTreeSet<String> = self.packages.iter().map(|element| element.id.clone()).collect();
        for locked in &bill.module_build {
            let build = id_of("Build", &[&locked.name]);
            if !known.contains(&build) {
                self.packages.push(build_package(build.clone(), locked));
            }
            match &module.from {
                Origin::Dkms { package, .. } if *package == locked.name => {
                    self.relate(&id, "GENERATED_FROM", &build);
                }
                _ => self.relate(&build, "BUILD_DEPENDENCY_OF", &id),
            }
        }
    }
}

/// A package that modules were built with.
fn build_package(id: String, locked: &LockedPackage) -> Element {
    Element {
        version_info: Some(locked.version.clone()),
        package_file_name: locked.path.rsplit('/').next().map(str::to_owned),
        checksums: Checksum::sha256(locked.sha256),
        source_info: Some(format!("archive {}, {}; not in the image", locked.archive, locked.path)),
        ..Element::new(id, locked.name.clone())
    }
}

fn extracted((id, reference): (&String, &super::Reference)) -> Extracted {
    let text = match reference.text.as_str() {
        "" => "The copyright file names this licence and has no text of it.".to_owned(),
        text => text.to_owned(),
    };
    Extracted { license_id: id.clone(), name: reference.name.clone(), extracted_text: text }
}

/// What is known of where a package was.
fn source_info(package: &Package) -> String {
    let Package { locked, origin, .. } = package;
    let suites = match origin.suites.is_empty() {
        true => String::new(),
        false => format!(" ({})", origin.suites.join(", ")),
    };
    let key = origin.key.as_ref().map(|key| format!("; signed by {key}")).unwrap_or_default();
    format!(
        "archive {}{suites}, component {}, {}, {} bytes{key}",
        locked.archive, origin.component, locked.path, locked.size
    )
}

/// Where the licences are known from.
fn comments(licences: &Licences) -> String {
    format!("Declared, not concluded: {}", licences.source())
}

/// A maintainer as SPDX names people and teams: which of both, the address tells.
fn originator(maintainer: &str) -> String {
    let team = ["lists.", "team+", "@packages.", "-team@"].iter().any(|part| maintainer.contains(part));
    let kind = if team { "Organization" } else { "Person" };
    let (name, address) = maintainer.split_once('<').unwrap_or((maintainer, ""));
    match address.trim_end_matches(['>', ' ']) {
        "" => format!("{kind}: {}", name.trim()),
        address => format!("{kind}: {} ({address})", name.trim()),
    }
}

/// Whether a text is an address that SPDX takes.
fn is_address(text: &str) -> bool {
    text.parse::<goni_model::name::Url>().is_ok()
}

fn package_id(name: &str) -> String {
    id_of("Package", &[name])
}

fn source_id(source: &Source) -> String {
    id_of("Source", &[&source.namespace, &source.name, &source.version])
}

/// An identifier; no two names share one. Source: SPDX 2.3 §7.2: letters, digits, `.` and `-`.
fn id_of(kind: &str, names: &[&str]) -> String {
    let mut id = format!("SPDXRef-{kind}");
    for name in names {
        id.push('-');
        for byte in name.bytes() {
            match byte {
                b'-' => id.push('-'),
                _ if byte.is_ascii_alphanumeric() => id.push(char::from(byte)),
                // The dot itself, too: it begins what stands for another.
                _ => id.push_str(&format!(".{byte:02X}")),
            }
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ_where_names_do() {
        let ids = ["libstdc++6", "libstdc.2B.2B6", "a.b", "a-b", "a_b"].map(|name| id_of("Package", &[name]));
        assert_eq!(ids[0], "SPDXRef-Package-libstdc.2B.2B6");
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn maintainers_are_people_or_teams() {
        for (maintainer, expected) in [
            ("A B <a@example.org>", "Person: A B (a@example.org)"),
            ("GCC <debian-gcc@lists.debian.org>", "Organization: GCC (debian-gcc@lists.debian.org)"),
            ("nobody", "Person: nobody"),
        ] {
            assert_eq!(originator(maintainer), expected);
        }
    }
}
