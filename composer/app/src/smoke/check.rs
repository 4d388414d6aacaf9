//! Smoke checks, as `qemu/checks/<check>.toml` describe them. How to write one: `qemu/README.md`.

use std::time::Duration;

use goni_model::document::checker::{Checker, Text};
use goni_model::document::fault::Fault;
use goni_model::document::source::{FileId, Sources};
use goni_model::document::{self, shape};
use goni_model::name::Name;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::smoke::assertion::Assertion;
use crate::smoke::feature::Feature;
use crate::smoke::scenario::{self, Expect, Scenario};

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
    /// The scenario it runs in.
    pub scenario: Name,
    /// The boots of the scenario it runs in, in their order.
    pub boots: Vec<Name>,
    /// What an image must have for it to apply.
    pub needs: Vec<Feature>,
    /// How long it may take in one boot.
    pub within: Duration,
    /// Whether it needs the record of who wrote to /var since the boot began.
    pub witness: bool,
    /// What the guest runs where it is up: sh, with the words of `qemu/guest/words.sh`. `None`: what its
    /// boots are expected to be like is all it asserts, and what the host does.
    pub script: Option<String>,
    /// What the host asserts when the scenario is over.
    pub host: Vec<Assertion>,
    /// Images that it must fail on.
    pub mutations: Vec<Mutation>,
}

/// A way to break an image that the check must notice: `qemu/checks/mutations/<name>`, one more overlay or
/// another recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// The name of its folder.
    pub name: Name,
    /// What it does.
    pub summary: String,
    /// Words of what the check then expects or observes, and of nothing else that could be wrong.
    pub says: String,
    /// Other checks that may fail with it: images of theirs cannot have it as well.
    pub disturbs: Vec<Name>,
    /// The boot by whose end the check has noticed.
    pub until: Name,
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
    /// The scenario it runs in. Default: life.
    #[schemars(with = "Option<String>")]
    pub scenario: Option<Text>,
    /// The boots of the scenario it runs in.
    #[schemars(with = "Option<Vec<String>>")]
    pub boots: Option<Vec<Text>>,
    /// What an image must have for it to apply.
    #[schemars(with = "Option<Vec<String>>")]
    pub needs: Option<Vec<Text>>,
    /// How long it may take in one boot. Default: 60s.
    #[schemars(with = "Option<String>")]
    pub within: Option<Text>,
    /// Whether it needs the record of who wrote to /var since the boot began. Default: false.
    pub witness: Option<bool>,
    /// What the guest runs. Needed, unless the boots are expected to be down or to say something on
    /// their console, or the host asserts something.
    #[schemars(with = "Option<String>")]
    pub script: Option<Text>,
    /// What the host asserts when the scenario is over: canary, capture, filesystems, untouched.
    #[schemars(with = "Option<Vec<String>>")]
    pub host: Option<Vec<Text>>,
    /// Images that it must fail on; at least one.
    pub mutation: Option<Vec<MutationDoc>>,
}

/// A way to break an image that the check must notice.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MutationDoc {
    /// The folder of an overlay or a recipe: `qemu/checks/mutations/<name>`.
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// What it does, in a few words.
    #[schemars(with = "Option<String>")]
    pub summary: Option<Text>,
    /// Words of what the check then expects or observes, and of nothing else that could be wrong.
    #[schemars(with = "Option<String>")]
    pub says: Option<Text>,
    /// Other checks that may fail with it. Default: none.
    #[schemars(with = "Option<Vec<String>>")]
    pub disturbs: Option<Vec<Text>>,
    /// The boot by whose end the check has noticed. Default: the first that the check runs in.
    #[schemars(with = "Option<String>")]
    pub until: Option<Text>,
}

/// The JSON Schema of a check.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<CheckDoc>()
}

impl Check {
    /// Whether it runs in a boot.
    #[must_use]
    pub fn runs_in(&self, boot: &Name) -> bool {
        self.boots.contains(boot)
    }
}

/// Checks the check that a file describes; it may name these scenarios.
///
/// # Errors
/// Every fault found.
pub fn check(
    sources: &Sources,
    file: FileId,
    name: Name,
    scenarios: &[Scenario],
) -> Result<Check, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: CheckDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let check = check_doc(&doc, name, scenarios, &mut checker);
    checker.finish(check).map(|(check, _)| check)
}

fn check_doc(doc: &CheckDoc, name: Name, scenarios: &[Scenario], checker: &mut Checker) -> Option<Check> {
    let summary = checker.sentence(doc.summary.as_ref(), "summary");
    let asserts = checker.sentence(doc.asserts.as_ref(), "asserts");
    let scenario = scenario_of(doc, scenarios, checker);
    let boots = scenario.map(|scenario| boots(doc, scenario, checker));
    let needs = Feature::choices(doc.needs.as_ref(), checker);
    let within = match &doc.within {
        Some(text) => seconds(text, checker),
        None => Some(Duration::from_secs(60)),
    };
    if let Some(script) =
        doc.script.as_ref().filter(|text| text.get_ref().trim().is_empty() || text.get_ref().contains('\0'))
    {
        checker.fault_at(script, "`script` is empty, or holds a NUL");
    }
    let of_check = boots.as_deref().unwrap_or_default();
    let mutations: Vec<Mutation> =
        doc.mutation.iter().flatten().filter_map(|doc| mutation(doc, of_check, checker)).collect();
    if doc.mutation.as_ref().is_none_or(Vec::is_empty) {
        checker.missing("mutation", "an image that it must fail on: [[mutation]] with name and summary");
    }
    Some(Check {
        name,
        summary: summary?,
        asserts: asserts?,
        scenario: scenario?.name.clone(),
        boots: boots?,
        needs,
        within: within?,
        witness: doc.witness.unwrap_or(false),
        script: doc.script.as_ref().map(|text| text.get_ref().clone()),
        host: assertions(doc.host.as_ref(), checker),
        mutations,
    })
}

fn scenario_of<'s>(doc: &CheckDoc, scenarios: &'s [Scenario], checker: &mut Checker) -> Option<&'s Scenario> {
    let name = doc.scenario.as_ref().map_or(scenario::USUAL, |text| text.get_ref());
    let found = scenarios.iter().find(|scenario| scenario.name.as_str() == name);
    match &doc.scenario {
        Some(text) => {
            checker.known(text, "scenario", scenarios.iter().map(|scenario| scenario.name.as_str()));
        }
        None if found.is_none() => {
            checker.missing("scenario", "there is no scenario `life`, which is meant where none is named");
        }
        None => {}
    }
    found
}

/// The boots of a check, in their order, each with something to assert.
fn boots(doc: &CheckDoc, scenario: &Scenario, checker: &mut Checker) -> Vec<Name> {
    let listed = doc.boots.as_deref().unwrap_or_default();
    if listed.is_empty() {
        checker.missing("boots", "such as [\"first\"]");
    }
    for text in listed {
        let Some(boot) = scenario.boots.iter().find(|boot| boot.name.as_str() == text.get_ref()) else {
            checker.known(text, "boot", scenario.boots.iter().map(|boot| boot.name.as_str()));
            continue;
        };
        if doc.script.is_none() && doc.host.is_none() && !boot.asserts() {
            checker.fault_at(text, format!("without a `script`, nothing is asserted of `{}`", boot.name));
        }
    }
    let down = |name: &Text| {
        let boot = scenario.boots.iter().find(|boot| boot.name.as_str() == name.get_ref());
        boot.is_some_and(|boot| boot.expect == Expect::Down)
    };
    if let Some(script) = doc.script.as_ref().filter(|_| !listed.is_empty() && listed.iter().all(down)) {
        checker.fault_at(script, "the script runs nowhere: every boot of the check is expected to be down");
    }
    let is_listed = |name: &Name| listed.iter().any(|text| text.get_ref() == name.as_str());
    scenario.boots.iter().map(|boot| boot.name.clone()).filter(is_listed).collect()
}

fn assertions(list: Option<&Vec<Text>>, checker: &mut Checker) -> Vec<Assertion> {
    let words = Assertion::ALL.map(|assertion| (assertion.name(), assertion));
    let mut assertions: Vec<Assertion> =
        list.into_iter().flatten().filter_map(|text| checker.choice(text, "host", &words)).collect();
    assertions.sort();
    assertions.dedup();
    assertions
}

fn mutation(doc: &MutationDoc, boots: &[Name], checker: &mut Checker) -> Option<Mutation> {
    let name = checker.parse_required(doc.name.as_ref(), "mutation.name", "the folder of its overlay");
    let summary = checker.sentence(doc.summary.as_ref(), "mutation.summary");
    let says = checker.sentence(doc.says.as_ref(), "mutation.says");
    let disturbs = doc.disturbs.iter().flatten();
    let disturbs = disturbs.filter_map(|text| checker.parse(text)).collect();
    let until = match &doc.until {
        Some(text) => {
            checker.known(text, "boot of the check", boots.iter().map(Name::as_str));
            boots.iter().find(|boot| boot.as_str() == text.get_ref())
        }
        None => boots.first(),
    };
    Some(Mutation { name: name?, summary: summary?, says: says?, disturbs, until: until?.clone() })
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
        let scenarios = [
            ("life", "[[boot]]\nname = 'first'\n[[boot]]\nname = 'rebooted'\nby = 'reboot'\n"),
            ("fallen", "[[boot]]\nname = 'up'\nconsole = ['x']\n[[boot]]\nname = 'down'\nby = 'reset'\nexpect = 'down'\n"),
        ]
        .map(|(name, boots)| {
            let (file, _) = sources.add(name, format!("summary = 's'\n{boots}").as_bytes());
            scenario::check(&sources, file, name.parse().unwrap()).unwrap()
        });
        let (file, _) = sources.add("x.toml", text.as_bytes());
        check(&sources, file, "x".parse().unwrap(), &scenarios)
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    fn names(boots: &[Name]) -> Vec<&str> {
        boots.iter().map(Name::as_str).collect()
    }

    const GOOD: &str = "summary = 's'\nasserts = 'a'\nboots = ['rebooted', 'first']\nscript = 'true'\n\
                        [[mutation]]\nname = 'm'\nsummary = 'breaks it'\nsays = 'broken'\n";

    #[test]
    fn a_check_is_read_with_its_defaults() {
        let check = read(GOOD).unwrap();
        assert_eq!((check.scenario.as_str(), names(&check.boots)), ("life", vec!["first", "rebooted"]));
        assert_eq!((check.within, check.needs.as_slice()), (Duration::from_secs(60), &[][..]));
        assert_eq!((check.script.as_deref(), check.host.as_slice()), (Some("true"), &[][..]));
        assert_eq!((check.mutations[0].name.as_str(), check.mutations[0].until.as_str()), ("m", "first"));
        let later = read(&format!("{GOOD}until = 'rebooted'\n")).unwrap();
        assert_eq!(later.mutations[0].until.as_str(), "rebooted");
    }

    #[test]
    fn a_check_without_a_script_leaves_all_to_the_host() {
        let fallen = GOOD.replace("script = 'true'", "scenario = 'fallen'");
        let down = read(&fallen.replace("'rebooted', 'first'", "'up', 'down'")).unwrap();
        assert_eq!((names(&down.boots), down.script), (vec!["up", "down"], None));
        let canary = read(&GOOD.replace("script = 'true'", "host = ['canary']")).unwrap();
        assert_eq!((canary.script, canary.host), (None, vec![Assertion::Canary]));
    }

    #[test]
    fn every_fault_of_a_check_is_named() {
        let faults = read("summary = ''\nboots = ['frist']\nwithin = '1m'\nscript = ' '\n").unwrap_err();
        let all = faults.join("\n");
        for words in [
            "`summary` wants one line of text",
            "missing key `asserts`",
            "unknown boot `frist`",
            "`within` wants 1s to 600s",
            "`script` is empty",
            "missing key `mutation`",
        ] {
            assert!(all.contains(words), "{words} in:\n{all}");
        }
        for (from, to, fault) in [
            ("boots", "boot", "unknown key `boot`"),
            ("name = 'm'", "name = 'm'\nuntil = 'later'", "unknown boot of the check `later`"),
            ("script = 'true'", "scenario = 'lfie'\nscript = 'true'", "unknown scenario `lfie`"),
            ("script = 'true'", "", "without a `script`, nothing is asserted of `rebooted`"),
            ("script = 'true'", "script = 'true'\nhost = ['canaries']", "`canaries` is no value of `host`"),
        ] {
            assert_eq!(read(&GOOD.replacen(from, to, 1)).unwrap_err()[0], fault);
        }
        let down =
            GOOD.replace("'rebooted', 'first'", "'down'").replace("script", "scenario = 'fallen'\nscript");
        assert_eq!(
            read(&down).unwrap_err(),
            ["the script runs nowhere: every boot of the check is expected to be down"]
        );
    }
}
