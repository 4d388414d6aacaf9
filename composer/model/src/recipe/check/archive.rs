//! Vendors' archives: where they are, whose key counts, and what they may bring.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::arch::Arch;
use crate::document::checker::{Checker, Text};
use crate::lock::LOCAL;
use crate::name::{Name, PackageName};
use crate::recipe::doc::{ArchiveDoc, KeyDoc, OverrideDoc, WeakKeyDoc};
use crate::recipe::{Archive, ArchiveKey, KeySource, KeyWeakness, Override, WeakKey};

/// The most days an archive may be old: ten years. Older is no archive but a museum.
const MAX_AGE_MOST: u16 = 3650;

pub(super) fn archives(docs: &[ArchiveDoc], checker: &mut Checker) -> Vec<Archive> {
    let mut archives = BTreeMap::new();
    for doc in docs {
        let Some(text) = checker.require(doc.name.as_ref(), "archive.name", "every archive has a name")
        else {
            continue;
        };
        let Some(name) = checker.parse::<Name>(text) else { continue };
        if matches!(name.as_str(), "debian" | "debian-security" | "debian-backports") {
            checker.fault_at(text, format!("`{name}` is Debian's own archive"));
        }
        if name.as_str() == LOCAL {
            checker.fault_at(text, format!("`{name}` is what the lock calls loose packages"));
        }
        let archive = archive(name.clone(), doc, checker);
        if archives.contains_key(&name) {
            checker.fault_at(text, format!("archive `{name}` is there twice"));
        }
        archives.insert(name, archive);
    }
    archives.into_values().flatten().collect()
}

fn archive(name: Name, doc: &ArchiveDoc, checker: &mut Checker) -> Option<Archive> {
    let key_of = |key: &str| format!("archive[{name}].{key}");
    let uri = checker.parse_required(doc.uri.as_ref(), &key_of("uri"), "where the archive is");
    let suite = checker.parse_required(doc.suite.as_ref(), &key_of("suite"), "its folder below dists/");
    let listed = checker.require(doc.components.as_ref(), &key_of("components"), "such as [\"main\"]");
    let components = listed.map(|list| checker.list(list));
    let hint = "say which packages it may provide, such as [\"nvidia-l4t-*\"]";
    let allow = checker.require(doc.allow.as_ref(), &key_of("allow"), hint).map(|list| checker.list(list));
    let key = checker.require(doc.key.as_ref(), &key_of("key"), "such as { file = …, fingerprint = … }");
    let key = key.and_then(|key| archive_key(key, &key_of("key"), checker));
    let architectures = [Arch::Amd64, Arch::Arm64].map(|arch| (arch.debian(), arch));
    let architecture =
        doc.architecture.as_ref().map(|text| checker.choice(text, &key_of("architecture"), &architectures));
    let replace = checker.set(doc.replace.as_ref());
    let max_age = doc.max_age.as_ref().and_then(|days| {
        let fitting = u16::try_from(*days.get_ref()).ok().filter(|days| (1..=MAX_AGE_MOST).contains(days));
        if fitting.is_none() {
            let message =
                format!("`{}` is {} days; use 1 to {MAX_AGE_MOST}", key_of("max-age"), days.get_ref());
            checker.fault_at(days, message);
        }
        fitting
    });
    let weak_key = doc.weak_key.as_ref().map(|doc| weak_key(doc, &key_of("weak-key"), checker));
    let overrides = overrides(doc.overrides.as_ref(), &key_of("override"), checker);
    Some(Archive {
        name,
        uri: uri?,
        suite: suite?,
        components: components?,
        key: key?,
        architecture: architecture.flatten(),
        allow: allow?,
        replace,
        max_age,
        weak_key: weak_key.flatten(),
        overrides,
    })
}

/// What is accepted of a weak key: never silently, never everything.
fn weak_key(doc: &Spanned<WeakKeyDoc>, key: &str, checker: &mut Checker) -> Option<WeakKey> {
    let WeakKeyDoc { accept, reason } = doc.get_ref();
    let choices = [KeyWeakness::Sha1, KeyWeakness::Short].map(|weakness| (weakness.name(), weakness));
    let accept_key = format!("{key}.accept");
    let texts = accept.as_deref().unwrap_or_default();
    let mut accept: Vec<KeyWeakness> =
        texts.iter().filter_map(|text| checker.choice(text, &accept_key, &choices)).collect();
    if texts.is_empty() {
        checker.fault_at(doc, format!("`{key}` wants an `accept`: `sha1`, `1024-bit` or both"));
    }
    accept.sort();
    accept.dedup();
    Some(WeakKey { accept, reason: checker.sentence(reason.as_ref(), &format!("{key}.reason"))? })
}

fn overrides(
    docs: Option<&BTreeMap<Text, OverrideDoc>>,
    key: &str,
    checker: &mut Checker,
) -> BTreeMap<PackageName, Override> {
    let mut overrides = BTreeMap::new();
    for (text, doc) in docs.into_iter().flatten() {
        let package = checker.parse::<PackageName>(text);
        let key_of = |name: &str| format!("{key}.{}.{name}", text.get_ref().escape_debug());
        let hint = "list what it depends on instead, or [] for nothing";
        let depends = checker.require(doc.depends.as_ref(), &key_of("depends"), hint);
        for relation in depends.into_iter().flatten() {
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ',') || c == ' ';
            if relation.get_ref().trim().is_empty() || !relation.get_ref().chars().all(plain) {
                let shown = relation.get_ref().escape_debug();
                checker.fault_at(relation, format!("`{shown}` is no relation: write one an entry"));
            }
        }
        let depends = depends.map(|list| list.iter().map(|text| text.get_ref().clone()).collect());
        let reason = checker.sentence(doc.reason.as_ref(), &key_of("reason"));
        if let (Some(package), Some(depends), Some(reason)) = (package, depends, reason) {
            overrides.insert(package, Override { depends, reason });
        }
    }
    overrides
}

fn archive_key(doc: &Spanned<KeyDoc>, key: &str, checker: &mut Checker) -> Option<ArchiveKey> {
    let KeyDoc { file, url, fingerprint } = doc.get_ref();
    let source = match (file, url) {
        (Some(file), None) => checker.parse(file).map(KeySource::File),
        (None, Some(url)) => checker.parse(url).map(KeySource::Url),
        _ => {
            checker.fault_at(doc, format!("`{key}` wants either `file` or `url`"));
            None
        }
    };
    if fingerprint.is_none() {
        checker.fault_at(doc, format!("`{key}` wants a `fingerprint`"));
    }
    let fingerprint = fingerprint.as_ref().and_then(|text| checker.parse(text));
    Some(ArchiveKey { source: source?, fingerprint: fingerprint? })
}
