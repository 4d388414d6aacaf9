//! What an owner allows in an image: components that packages may come from, and licences they may have.
//!
//! Which licences a package has is for the build to say, which has its copyright file.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::name::{LicencePattern, PackageName};

/// What an owner allows in an image.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyDoc {
    /// Under which licences packages may be there.
    pub licences: Option<LicencesDoc>,
}

/// Under which licences packages may be there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LicencesDoc {
    /// The components that packages may come from; "vendor" is any archive but Debian's, "local" loose
    /// packages. Default: any.
    #[schemars(with = "Option<Vec<String>>", extend("items" = {"enum": ["main", "contrib", "non-free", "non-free-firmware", "vendor", "local"], "type": "string"}))]
    pub allow_components: Option<Vec<Text>>,
    /// Licences that no package may need, by SPDX's name or that of copyright files; `*` stands for any
    /// characters.
    #[schemars(with = "Option<Vec<String>>")]
    pub deny: Option<Vec<Text>>,
    /// Packages whose licences nobody can read from their copyright file. Default: allow.
    #[schemars(with = "Option<String>", extend("enum" = ["allow", "deny"]))]
    pub undeclared: Option<Text>,
    /// Packages that are there in spite of that, by name: why, in one line.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub except: Option<BTreeMap<Text, Text>>,
}

/// What an owner allows of licences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LicencePolicy {
    /// The components that packages may come from; `None`: any.
    pub allow_components: Option<BTreeSet<Component>>,
    /// Licences that no package may need, in order.
    pub deny: Vec<LicencePattern>,
    /// Whether packages are denied whose licences cannot be read.
    pub deny_undeclared: bool,
    /// Packages that are there in spite of that, and why.
    pub except: BTreeMap<PackageName, String>,
}

impl LicencePolicy {
    /// Whether it says anything.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a package is from, as far as licences go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// Free by Debian's guidelines.
    Main,
    /// Free, and of use only with what is not.
    Contrib,
    /// Not free.
    NonFree,
    /// Not free, and firmware.
    NonFreeFirmware,
    /// From an archive that is not Debian's.
    Vendor,
    /// A file of the project.
    Local,
}

impl Component {
    /// Every component.
    pub const ALL: [Self; 6] =
        [Self::Main, Self::Contrib, Self::NonFree, Self::NonFreeFirmware, Self::Vendor, Self::Local];

    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Contrib => "contrib",
            Self::NonFree => "non-free",
            Self::NonFreeFirmware => "non-free-firmware",
            Self::Vendor => "vendor",
            Self::Local => "local",
        }
    }
}

impl LicencePattern {
    /// Whether a licence is meant by it. Case does not matter.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        fn rest(pattern: &[u8], name: &[u8]) -> bool {
            match pattern.split_first() {
                None => name.is_empty(),
                Some((b'*', after)) => (0..=name.len()).any(|skipped| rest(after, &name[skipped..])),
                Some((first, after)) => {
                    name.first().is_some_and(|byte| byte.eq_ignore_ascii_case(first))
                        && rest(after, &name[1..])
                }
            }
        }
        rest(self.as_str().as_bytes(), name.as_bytes())
    }
}

/// Checks what is typed.
pub(crate) fn check(doc: Option<&PolicyDoc>, checker: &mut Checker) -> LicencePolicy {
    let Some(doc) = doc.and_then(|doc| doc.licences.as_ref()) else { return LicencePolicy::default() };
    let components = Component::ALL.map(|component| (component.name(), component));
    let key = "policy.licences.allow-components";
    let allow_components = doc.allow_components.as_ref().map(|list| {
        if list.is_empty() {
            checker.missing(&format!("{key}[…]"), "list at least one, such as \"main\"");
        }
        list.iter().filter_map(|text| checker.choice(text, key, &components)).collect()
    });
    for text in doc.deny.iter().flatten() {
        if let Some((name, _)) = components.iter().find(|(name, _)| name == text.get_ref()) {
            let message = format!("`{name}` is a component and no licence");
            let fault = Fault::new(Span::from(text.span()), message);
            checker.fault(fault.hint("leave it out of `allow-components`, and list there what may come in"));
        }
    }
    let deny = doc.deny.as_deref().map(|list| checker.list(list)).unwrap_or_default();
    let undeclared = [("allow", false), ("deny", true)];
    let deny_undeclared = checker.choose(doc.undeclared.as_ref(), "policy.licences.undeclared", undeclared);
    let mut except = BTreeMap::new();
    for (text, reason) in doc.except.iter().flatten() {
        let package = checker.parse::<PackageName>(text);
        let key = format!("policy.licences.except.{}", text.get_ref().escape_debug());
        if let (Some(package), Some(reason)) = (package, checker.sentence(Some(reason), &key)) {
            except.insert(package, reason);
        }
    }
    LicencePolicy { allow_components, deny, deny_undeclared, except }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_whole_names_in_any_case() {
        for (pattern, name, expected) in [
            ("AGPL-3.0-only", "agpl-3.0-only", true),
            ("AGPL-3.0-only", "AGPL-3.0-only WITH x", false),
            ("AGPL*", "AGPL-3.0-or-later", true),
            ("*-NC-*", "CC-BY-NC-4.0", true),
            ("*-NC-*", "CC-BY-4.0", false),
            ("LicenseRef-*", "MIT", false),
        ] {
            assert_eq!(
                pattern.parse::<LicencePattern>().unwrap().matches(name),
                expected,
                "{pattern} {name}"
            );
        }
        for text in ["", "a  b", "a\u{7}b", " a"] {
            assert!(text.parse::<LicencePattern>().is_err(), "{text:?}");
        }
    }
}
