//! Package URLs of packages and of their sources.
//!
//! Source: the purl specification, and its type `deb`: the namespace is who is behind the archive.

use goni_model::lock::LockedPackage;

use super::{Bill, Origin, Source};

/// The package URL of a package.
pub(super) fn of_package(bill: &Bill, locked: &LockedPackage, origin: &Origin) -> String {
    let suite = match origin.supplier.as_deref() {
        Some("Debian") => Some(bill.suite.as_str()),
        _ => origin.suites.first().map(String::as_str),
    };
    deb(&origin.namespace(), &locked.name, &locked.version, &locked.arch, suite)
}

/// The package URL of a source package.
pub(super) fn of_source(bill: &Bill, source: &Source) -> String {
    let suite = (source.namespace == "debian").then_some(bill.suite.as_str());
    deb(&source.namespace, &source.name, &source.version, "source", suite)
}

fn deb(namespace: &str, name: &str, version: &str, arch: &str, suite: Option<&str>) -> String {
    let part = encode;
    // Qualifiers stand in the order of the alphabet.
    let suite = suite.map(|suite| format!("&distro={}", part(suite))).unwrap_or_default();
    format!("pkg:deb/{}/{}@{}?arch={}{suite}", part(namespace), part(name), part(version), part(arch))
}

/// A path below an address.
pub(super) fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// Percent-encodes all but what stays as it is: letters, digits, `.-_~`, and the colon.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'.' | b'-' | b'_' | b'~' | b':' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_cannot_hold_is_encoded() {
        assert_eq!(
            deb("debian", "libstdc++6", "1:14.2.0-19+b1~x", "amd64", Some("trixie")),
            "pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19%2Bb1~x?arch=amd64&distro=trixie"
        );
        assert_eq!(deb("a/b", "c", "1", "all", None), "pkg:deb/a%2Fb/c@1?arch=all");
    }
}
