//! What recipes and targets say of kernel modules: load these, never load those, and with which options.
//!
//! Whether a kernel has a module of a name is for the build to say, which has the kernel.

pub mod extra;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::name::{KernelWord, ModuleName};

/// Kernel modules, as typed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModulesDoc {
    /// Modules that are loaded at each boot, whether or not a device asks for them.
    #[schemars(with = "Option<Vec<String>>")]
    pub load: Option<Vec<Text>>,
    /// Modules that are never loaded, whoever asks.
    #[schemars(with = "Option<Vec<String>>")]
    pub deny: Option<Vec<Text>>,
    /// Options of modules by name, one an entry: { snd_hda_intel = ["power_save=0"] }.
    #[schemars(with = "Option<BTreeMap<String, Vec<String>>>")]
    pub options: Option<BTreeMap<Text, Vec<Text>>>,
}

/// Kernel modules, as meant. `-` and `_` in a name are one: here it is `_`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Modules {
    /// Loaded at each boot, in order.
    pub load: Vec<ModuleName>,
    /// Never loaded, sorted.
    pub deny: Vec<ModuleName>,
    /// Options by module.
    pub options: BTreeMap<ModuleName, Vec<KernelWord>>,
}

/// Checks what is typed.
pub(crate) fn check(doc: Option<&ModulesDoc>, checker: &mut Checker) -> Modules {
    let Some(doc) = doc else { return Modules::default() };
    let load = names(doc.load.as_deref().unwrap_or_default(), checker);
    let mut deny = names(doc.deny.as_deref().unwrap_or_default(), checker);
    for text in doc.deny.iter().flatten() {
        let same = |other: &&Text| canonical(other.get_ref()) == canonical(text.get_ref());
        if let Some(wanted) = doc.load.iter().flatten().find(same) {
            let message = format!("module `{}` is both loaded and denied", text.get_ref().escape_debug());
            let fault = Fault::new(Span::from(text.span()), message);
            checker.fault(fault.related(Span::from(wanted.span()), "loaded here"));
        }
    }
    deny.sort();
    let mut options = BTreeMap::new();
    for (text, words) in doc.options.iter().flatten() {
        let Some(name) = name(text, checker) else { continue };
        let words = checker.list(words);
        if words.is_empty() {
            checker.fault_at(text, format!("`{name}` has no options"));
        }
        if options.insert(name, words).is_some() {
            checker.fault_at(text, "options of this module are there twice: `-` and `_` are one");
        }
    }
    Modules { load, deny, options }
}

fn names(list: &[Text], checker: &mut Checker) -> Vec<ModuleName> {
    let _: Vec<ModuleName> = checker.list(list);
    list.iter().filter_map(|text| canonical(text.get_ref()).parse().ok()).collect()
}

fn name(text: &Text, checker: &mut Checker) -> Option<ModuleName> {
    checker.parse::<ModuleName>(text).and_then(|name| canonical(name.as_str()).parse().ok())
}

/// A name as the kernel writes it. Source: modprobe(8).
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

impl Modules {
    /// What this says, over what `lower` says: of one module, the upper word counts. Options of one
    /// module are replaced as a whole.
    #[must_use]
    pub fn over(&self, lower: &Self) -> Self {
        let rest = |lower: &[ModuleName], upper: &[ModuleName], against: &[ModuleName]| {
            let kept = lower.iter().filter(|name| !upper.contains(name) && !against.contains(name));
            kept.chain(upper).cloned().collect::<Vec<_>>()
        };
        let mut deny = rest(&lower.deny, &self.deny, &self.load);
        deny.sort();
        let mut options = lower.options.clone();
        options.extend(self.options.clone());
        Self { load: rest(&lower.load, &self.load, &self.deny), deny, options }
    }

    /// Every module that is named, each once.
    pub fn named(&self) -> impl Iterator<Item = &ModuleName> {
        let all: std::collections::BTreeSet<_> =
            self.load.iter().chain(&self.deny).chain(self.options.keys()).collect();
        all.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(load: &[&str], deny: &[&str]) -> Modules {
        let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect();
        Modules { load: names(load), deny: names(deny), options: BTreeMap::new() }
    }

    #[test]
    fn the_upper_word_counts() {
        let target = modules(&["nct6775", "tun"], &["nouveau"]);
        let recipe = modules(&["nouveau"], &["tun", "floppy"]);
        assert_eq!(recipe.over(&target), modules(&["nct6775", "nouveau"], &["floppy", "tun"]));
        assert_eq!(Modules::default().over(&target), target);
    }
}
