//! Smoke checks, as `qemu/checks/<check>.toml` describe them. How to write one: `qemu/README.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use goni_model::document::checker::{Checker, Text};
use goni_model::document::fault::Fault;
use goni_model::document::source::{FileId, Sources};
use goni_model::document::{self, shape};
use goni_model::name::Name;
use goni_model::report::Boot;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::smoke::Feature;

/// Longer than this, no check may take: the boot it is in would not end.
const LONGEST: Duration = Duration::from_secs(600);

/// A check as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of its file.
    pub name: Name,
    /// What is true of an image that passes, in a few words.
    pub summary: String,
    /// What exactly is asserted.
    pub asserts: String,
    /// The boots it runs in, in order.
    pub boots: BTreeSet<Boot>,
    /// What an image must have for it to apply.
    pub needs: Vec<Feature>,
    /// How long it may take in one boot.
    pub within: Duration,
    /// What the guest runs: sh, with the words of `qemu/guest/words.sh`.
    pub script: String,
    /// Images that it must fail on.
    pub mutations: Vec<Mutation>,
}

/// A way to break an image that the check must notice: one more overlay, `qemu/checks/mutations/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// The name of its folder.
    pub name: Name,
    /// What it does.
    pub summary: String,
}

/// A smoke check of goni-compose: `qemu/checks/<check>.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose smoke check")]
pub struct CheckDoc {
    /// What is true of an image that passes, in a few words.
    #[schemars(with = "Option<String>")]
    pub summary: Option<Text>,
    /// What exactly is asserted, in one sentence.
    #[schemars(with = "Option<String>")]
    pub asserts: Option<Text>,
    /// The boots it runs in.
    #[schemars(with = "Option<Vec<String>>")]
    pub boots: Option<Vec<Text>>,
    /// What an image must have for it to apply: verity, swap, state, goni-http.
    #[schemars(with = "Option<Vec<String>>")]
    pub needs: Option<Vec<Text>>,
    /// How long it may take in one boot. Default: 60s.
    #[schemars(with = "Option<String>")]
    pub within: Option<Text>,
    /// What the guest runs.
    #[schemars(with = "Option<String>")]
    pub script: Option<Text>,
    /// Images that it must fail on; at least one.
    pub mutation: Option<Vec<MutationDoc>>,
}

/// A way to break an image that the check must notice.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MutationDoc {
    /// The folder of an overlay: `qemu/checks/mutations/<name>`.
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// What it does, in a few words.
    #[schemars(with = "Option<String>")]
    pub summary: Option<Text>,
}

/// The JSON Schema of a check.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<CheckDoc>()
}

/// Checks the check that a file describes.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, file: FileId, name: Name) -> Result<Check, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: CheckDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let check = check_doc(&doc, name, &mut checker);
    checker.finish(check).map(|(check, _)| check)
}

fn check_doc(doc: &CheckDoc, name: Name, checker: &mut Checker) -> Option<Check> {
    let summary = checker.sentence(doc.summary.as_ref(), "summary");
    let asserts = checker.sentence(doc.asserts.as_ref(), "asserts");
    let boots: BTreeSet<Boot> =
        choices(doc.boots.as_ref(), "boots", Boot::ALL.map(|b| (b.name(), b)), checker);
    if boots.is_empty() {
        checker.missing("boots", "such as [\"first\"]");
    }
    let needs = choices(doc.needs.as_ref(), "needs", Feature::ALL.map(|f| (f.name(), f)), checker);
    let within = match &doc.within {
        Some(text) => seconds(text, checker),
        None => Some(Duration::from_secs(60)),
    };
    let script = checker.require(doc.script.as_ref(), "script", "what the guest runs, in sh");
    if let Some(script) =
        script.filter(|script| script.get_ref().trim().is_empty() || script.get_ref().contains('\0'))
    {
        checker.fault_at(script, "`script` is empty, or holds a NUL");
    }
    let mutations: Vec<Mutation> =
        doc.mutation.iter().flatten().filter_map(|doc| mutation(doc, checker)).collect();
    if mutations.is_empty() {
        checker.missing("mutation", "an image that it must fail on: [[mutation]] with name and summary");
    }
    Some(Check {
        name,
        summary: summary?,
        asserts: asserts?,
        boots,
        needs: needs.into_iter().collect(),
        within: within?,
        script: script?.get_ref().clone(),
        mutations,
    })
}

fn mutation(doc: &MutationDoc, checker: &mut Checker) -> Option<Mutation> {
    let name = checker.parse_required(doc.name.as_ref(), "mutation.name", "the folder of its overlay");
    let summary = checker.sentence(doc.summary.as_ref(), "mutation.summary");
    Some(Mutation { name: name?, summary: summary? })
}

/// Values out of a closed set.
fn choices<T: Copy + Ord, const N: usize>(
    list: Option<&Vec<Text>>,
    key: &str,
    known: [(&'static str, T); N],
    checker: &mut Checker,
) -> BTreeSet<T> {
    list.into_iter().flatten().filter_map(|text| checker.choice(text, key, &known)).collect()
}

/// A time, written `60s`.
fn seconds(text: &Text, checker: &mut Checker) -> Option<Duration> {
    let number = text.get_ref().strip_suffix('s').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let time = number.and_then(|digits| digits.parse().ok()).map(Duration::from_secs);
    let good = time.filter(|time| !time.is_zero() && *time <= LONGEST);
    if good.is_none() {
        checker.fault_at(text, format!("`within` wants 1s to {}s", LONGEST.as_secs()));
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Check, Vec<String>> {
        let mut sources = Sources::new();
        let (file, _) = sources.add("x.toml", text.as_bytes());
        check(&sources, file, "x".parse().unwrap())
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    const GOOD: &str = "summary = 's'\nasserts = 'a'\nboots = ['rebooted', 'first']\nscript = 'true'\n\
                        [[mutation]]\nname = 'm'\nsummary = 'breaks it'\n";

    #[test]
    fn a_check_is_read_with_its_defaults() {
        let check = read(GOOD).unwrap();
        assert_eq!(check.boots.iter().copied().collect::<Vec<_>>(), [Boot::First, Boot::Rebooted]);
        assert_eq!((check.within, check.needs.as_slice()), (Duration::from_secs(60), &[][..]));
        assert_eq!(check.mutations[0].name.as_str(), "m");
    }

    #[test]
    fn every_fault_of_a_check_is_named() {
        let faults = read("summary = ''\nboots = ['frist']\nwithin = '1m'\nscript = ' '\n").unwrap_err();
        let all = faults.join("\n");
        for words in [
            "`summary` wants one line of text",
            "missing key `asserts`",
            "`frist` is no value of `boots`",
            "`within` wants 1s to 600s",
            "`script` is empty",
            "missing key `mutation`",
        ] {
            assert!(all.contains(words), "{words} in:\n{all}");
        }
        assert_eq!(read(&GOOD.replace("boots", "boot")).unwrap_err(), ["unknown key `boot`"]);
    }
}
