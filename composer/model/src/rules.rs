//! Rules of compatibility: what is known not to fit together, as `firmware/rules.toml` says.
//!
//! Reads and checks the file. Whether a rule is broken is for those to say who know versions.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::{FileId, Sources};
use crate::document::{self, shape};
use crate::name::Name;

/// Rules of compatibility for goni-compose: `firmware/rules.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose rules")]
pub struct RulesDoc {
    /// The rules.
    pub rule: Option<Vec<RuleDoc>>,
}

/// One rule. It applies to targets with all `traits`, where the lock has all packages of `when`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleDoc {
    /// What messages call it, and recipes that override it.
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// Facts about the target: { gpu = "gfx1151" }.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub traits: Option<BTreeMap<Text, Text>>,
    /// Packages, as in "firmware-amd-graphics (>= 20251125~)"; `kernel` is the target's kernel package.
    #[schemars(with = "Option<Vec<String>>")]
    pub when: Option<Vec<Text>>,
    /// Packages that must be there if the rule applies; without any, it is broken wherever it applies.
    #[schemars(with = "Option<Vec<String>>")]
    pub needs: Option<Vec<Text>>,
    /// What happens where it is broken. Default: refuse.
    #[schemars(with = "Option<String>", extend("enum" = ["refuse", "warn"]))]
    pub verdict: Option<Text>,
    /// Why, in one line.
    #[schemars(with = "Option<String>")]
    pub reason: Option<Text>,
    /// Where it is known from, in one line.
    #[schemars(with = "Option<String>")]
    pub source: Option<Text>,
}

/// A rule, as meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// What messages call it.
    pub name: Name,
    /// Facts about the targets it is for.
    pub traits: BTreeMap<Name, Name>,
    /// Relations that must all hold for it to apply.
    pub when: Vec<String>,
    /// Relations that must then hold, too.
    pub needs: Vec<String>,
    /// What happens where it is broken.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Where it is known from.
    pub source: String,
}

/// What happens where a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is built.
    Refuse,
    /// A warning is given.
    Warn,
}

/// The JSON Schema of the rules.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<RulesDoc>()
}

/// Checks the rules; in the order of the file.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, file: FileId) -> Result<Vec<Rule>, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: RulesDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let mut names = BTreeSet::new();
    let rules: Vec<Rule> =
        doc.rule.iter().flatten().filter_map(|doc| check_rule(doc, &mut names, &mut checker)).collect();
    checker.finish(Some(rules)).map(|(rules, _)| rules)
}

fn check_rule(doc: &RuleDoc, names: &mut BTreeSet<Name>, checker: &mut Checker) -> Option<Rule> {
    let text = checker.require(doc.name.as_ref(), "rule.name", "what recipes call it that override it")?;
    let name = checker.parse::<Name>(text)?;
    if !names.insert(name.clone()) {
        checker.fault_at(text, format!("rule `{name}` is there twice"));
    }
    let traits: BTreeMap<Name, Name> = doc
        .traits
        .iter()
        .flatten()
        .filter_map(|(name, value)| Some((checker.parse(name)?, checker.parse(value)?)))
        .collect();
    let when: Vec<String> = checker.list(doc.when.as_deref().unwrap_or_default());
    let needs = checker.list(doc.needs.as_deref().unwrap_or_default());
    if traits.is_empty() && when.is_empty() {
        checker
            .fault_at(text, format!("rule `{name}` would apply to everything: give it `traits` or `when`"));
    } else if when.is_empty() && needs.is_empty() {
        checker.fault_at(text, format!("rule `{name}` has no package in `when` or `needs`"));
    }
    let verdict = checker.choose(
        doc.verdict.as_ref(),
        "rule.verdict",
        [("refuse", Verdict::Refuse), ("warn", Verdict::Warn)],
    );
    let reason = checker.sentence(doc.reason.as_ref(), "rule.reason");
    let source = checker.sentence(doc.source.as_ref(), "rule.source");
    Some(Rule { name, traits, when, needs, verdict, reason: reason?, source: source? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fault::Faults;

    fn checked(text: &str) -> Result<Vec<Rule>, String> {
        let mut sources = Sources::new();
        let (file, _) = sources.add("rules.toml", text.as_bytes());
        check(&sources, file).map_err(|faults| Faults::new(sources, faults).to_string())
    }

    const GOOD: &str = "[[rule]]\nname = \"a\"\nwhen = [\"b (>= 1)\"]\nreason = \"r\"\nsource = \"s\"\n";

    #[test]
    fn a_rule_refuses_unless_it_only_warns() {
        let rules = checked(GOOD).unwrap();
        assert_eq!((rules.len(), rules[0].verdict), (1, Verdict::Refuse));
        let rules = checked(&format!("{GOOD}verdict = \"warn\"\n")).unwrap();
        assert_eq!(rules[0].verdict, Verdict::Warn);
    }

    #[test]
    fn what_a_rule_may_not_be() {
        for (text, message) in [
            (GOOD.replace("when = [\"b (>= 1)\"]\n", ""), "give it `traits` or `when`"),
            (
                GOOD.replace("when = [\"b (>= 1)\"]", "traits = { a = \"b\" }"),
                "no package in `when` or `needs`",
            ),
            (GOOD.replace("source = \"s\"\n", ""), "missing key `rule.source`"),
            (format!("{GOOD}{GOOD}"), "rule `a` is there twice"),
        ] {
            let error = checked(&text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
