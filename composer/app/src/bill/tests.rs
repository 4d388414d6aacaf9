//! The sample's bills pass the public schemas; broken in any one way, they do not.

use serde_json::{Value, json};

use super::sample::{bill, outputs};
use super::{Form, Output, judge};

fn written(form: Form) -> Value {
    serde_json::from_slice(&bill().write(form, &outputs()).unwrap()).unwrap()
}

fn judged(form: Form, document: &Value) -> Vec<String> {
    match form {
        Form::Spdx => judge::spdx(document),
        Form::CycloneDx => judge::cyclonedx(document),
    }
}

#[test]
fn both_forms_pass_the_public_schemas() {
    for form in Form::ALL {
        assert_eq!(judged(form, &written(form)), Vec::<String>::new(), "{form:?}");
    }
}

/// A way to break a document.
type Breakage = fn(&mut Value);

/// What is broken, in which form, and what the judge says of it.
#[rustfmt::skip]
const BREAKAGES: &[(Form, Breakage, &str)] = &[
    (Form::Spdx, |it| { it.as_object_mut().unwrap().remove("creationInfo"); }, "\"creationInfo\" is a required property"),
    (Form::Spdx, |it| it["packages"][0]["downloadlocation"] = "x".into(), "downloadlocation"),
    (Form::Spdx, |it| { it["packages"][0].as_object_mut().unwrap().remove("name"); }, "\"name\" is a required property"),
    (Form::Spdx, |it| it["packages"][0]["checksums"][0]["algorithm"] = "SHA-256".into(), "\"SHA-256\" is not one of"),
    (Form::Spdx, |it| it["packages"][0]["primaryPackagePurpose"] = "DISK".into(), "\"DISK\" is not one of"),
    (Form::Spdx, |it| it["relationships"][1]["relationshipType"] = "MADE_OF".into(), "\"MADE_OF\" is not one of"),
    (Form::Spdx, |it| it["relationships"][1]["relatedSpdxElement"] = "SPDXRef-Nobody".into(), "`SPDXRef-Nobody` of a relationship is nowhere"),
    (Form::Spdx, |it| { let twin = it["packages"][1].clone(); it["packages"].as_array_mut().unwrap().push(twin); }, "is there twice"),
    (Form::Spdx, |it| it["packages"][1]["SPDXID"] = "SPDXRef-a+b".into(), "`SPDXRef-a+b` is no identifier"),
    (Form::Spdx, |it| it["relationships"][0]["relationshipType"] = "CONTAINS".into(), "describes 0 elements"),
    (Form::Spdx, |it| it["hasExtractedLicensingInfos"] = json!([]), "`LicenseRef-Vendor-12345678` is explained nowhere"),
    (Form::Spdx, |it| purl_of(it, "pkg:deb/libc6@1?arch=all".into()), "it wants a namespace, a name and a version"),
    (Form::Spdx, |it| purl_of(it, "pkg:deb/debian/libstdc++6@1?arch=all".into()), "something in it is not encoded"),
    (Form::Spdx, |it| purl_of(it, "pkg:deb/debian/libc6@1?distro=trixie&arch=all".into()), "not sorted"),
    (Form::CycloneDx, |it| it["specVersion"] = Value::Null, "specVersion"),
    (Form::CycloneDx, |it| it["serialNumber"] = "urn:uuid:1".into(), "serialNumber"),
    (Form::CycloneDx, |it| it["metadata"]["timestamp"] = "yesterday".into(), "is not a \"date-time\""),
    (Form::CycloneDx, |it| { it["components"][0].as_object_mut().unwrap().remove("type"); }, "\"type\" is a required property"),
    (Form::CycloneDx, |it| it["components"][0]["hashes"][0]["content"] = "0".into(), "/components/0/hashes/0/content"),
    (Form::CycloneDx, |it| it["components"][0]["colour"] = "red".into(), "colour"),
    (Form::CycloneDx, |it| it["components"][1]["licenses"] = json!([{"license": {"id": "GPL-9"}}]), "/components/1/licenses"),
    (Form::CycloneDx, |it| it["components"][0]["purl"] = "pkg:deb/debian/x?arch=all".into(), "it has no version"),
    (Form::CycloneDx, |it| it["dependencies"][0]["dependsOn"][0] = "nobody".into(), "`nobody` of a dependency is nowhere"),
    (Form::CycloneDx, |it| it["components"][1]["bom-ref"] = it["components"][0]["bom-ref"].clone(), "is there twice"),
];

fn purl_of(document: &mut Value, purl: Value) {
    let elements = document["packages"].as_array_mut().unwrap();
    let with = elements.iter_mut().find(|element| element.get("externalRefs").is_some()).unwrap();
    with["externalRefs"][0]["referenceLocator"] = purl;
}

#[test]
fn a_broken_document_is_told_from_a_good_one() {
    for (form, breakage, expected) in BREAKAGES {
        let mut document = written(*form);
        breakage(&mut document);
        let faults = judged(*form, &document);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:#?}");
    }
}

#[test]
fn everything_of_the_image_is_in_both_forms() {
    let spdx = written(Form::Spdx);
    let names = |value: &Value, list: &str| -> Vec<String> {
        value[list].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let cyclonedx = written(Form::CycloneDx);
    for name in
        ["libstdc++6", "firmware-x", "vendor-tool", "loose", "goni", "goni-http", "settings", "foo_bar"]
    {
        assert!(names(&spdx, "packages").iter().any(|it| it == name), "{name}");
        assert!(names(&cyclonedx, "components").iter().any(|it| it == name), "{name}");
    }
    let related = |from: &str, how: &str, to: &str| {
        spdx["relationships"].as_array().unwrap().iter().any(|it| {
            it["spdxElementId"] == from && it["relationshipType"] == how && it["relatedSpdxElement"] == to
        })
    };
    for (from, how, to) in [
        ("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"),
        ("SPDXRef-Image", "CONTAINS", "SPDXRef-Package-libstdc.2B.2B6"),
        ("SPDXRef-Package-vendor-tool", "DEPENDS_ON", "SPDXRef-Package-libstdc.2B.2B6"),
        ("SPDXRef-Package-firmware-x", "GENERATED_FROM", "SPDXRef-Source-debian-glibc-2.2E41-12"),
        ("SPDXRef-Module-foo.5Fbar", "GENERATED_FROM", "SPDXRef-Build-foo-dkms"),
        ("SPDXRef-Build-gcc-14", "BUILD_DEPENDENCY_OF", "SPDXRef-Module-foo.5Fbar"),
        ("SPDXRef-Tool-toolbox", "BUILD_TOOL_OF", "SPDXRef-Image"),
    ] {
        assert!(related(from, how, to), "{from} {how} {to}");
    }
}

#[test]
fn what_is_not_known_is_not_asserted() {
    let spdx = written(Form::Spdx);
    let of = |name: &str| {
        // A source package may have the name, too; those come first.
        spdx["packages"].as_array().unwrap().iter().rfind(|it| it["name"] == name).unwrap().clone()
    };
    let firmware = of("firmware-x");
    assert_eq!(firmware["licenseDeclared"], "NOASSERTION");
    assert!(firmware["licenseComments"].as_str().unwrap().contains("free-form"), "{firmware}");
    assert_eq!(firmware.get("homepage"), None);
    assert_eq!(of("loose")["supplier"], "NOASSERTION");
    assert_eq!(
        of("vendor-tool")["downloadLocation"],
        "https://repo.example.org/jetson/pool/v/vendor%20tool.deb"
    );
    assert_eq!(of("libstdc++6")["downloadLocation"], "NOASSERTION");
    assert!(of("goni-http").get("checksums").is_none());
}

#[test]
fn the_same_bill_is_the_same_bytes_and_another_build_has_another_name() {
    for form in Form::ALL {
        let (once, again) =
            (bill().write(form, &outputs()).unwrap(), bill().write(form, &outputs()).unwrap());
        assert_eq!(once, again);
        let other = super::Bill {
            build: goni_model::plan::StageId::of(goni_model::plan::StageKind::Export, "2", "", None, 7),
            ..bill()
        };
        let other: Value = serde_json::from_slice(&other.write(form, &outputs()).unwrap()).unwrap();
        let ours: Value = serde_json::from_slice(&once).unwrap();
        let key = if form == Form::Spdx { "documentNamespace" } else { "serialNumber" };
        assert_ne!(ours[key], other[key]);
    }
    let none: Vec<Output> = Vec::new();
    assert!(bill().write(Form::CycloneDx, &none).is_ok());
}
