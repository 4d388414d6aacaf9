//! Rules of compatibility, held against the versions of a lock.
//!
//! The rules are the project's, in `firmware/rules.toml`; a recipe may override them by name.

use goni_debian::relation::{Relation, RelationError};
use goni_debian::version::{Version, VersionError};
use goni_model::lock::Lock;
use goni_model::name::Name;
use goni_model::rules::{Rule, Verdict};
use serde::Serialize;

use crate::failure::{Class, Classify};
use crate::progress::Progress;
use crate::project::Project;

/// What stands for the target's kernel package in a rule.
const KERNEL: &str = "kernel";

/// A rule that is broken, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ruling {
    /// The rule.
    pub rule: Name,
    /// What was found.
    pub found: String,
    /// Why the rule is there.
    pub reason: String,
    /// Where it is known from.
    pub source: String,
    /// The reason why the recipe overrides it, if it does.
    pub overridden: Option<String>,
    /// What happens.
    pub verdict: Verdict,
}

/// Why a lock is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It breaks rules that refuse.
    #[error("{}", broken.iter().map(sentence).collect::<Vec<_>>().join("; "))]
    Broken {
        /// The rules.
        broken: Vec<Ruling>,
    },
    /// A rule is written wrongly.
    #[error("rule `{rule}` in `firmware/rules.toml`")]
    Relation {
        /// The rule.
        rule: String,
        /// Why.
        source: RelationError,
    },
    /// A package of the lock has a version that is none.
    #[error("package `{package}` of the lock")]
    Version {
        /// The package.
        package: String,
        /// Why.
        source: VersionError,
    },
}

impl Classify for RulesError {
    fn class(&self) -> Class {
        Class::Recipe
    }

    fn hint(&self) -> Option<String> {
        let Self::Broken { broken } = self else { return None };
        let rule = &broken.first()?.rule;
        Some(format!(
            "choose other packages; or, if you know better, say why in the recipe: [rules.override] {rule} = \"…\""
        ))
    }
}

fn sentence(ruling: &Ruling) -> String {
    format!("rule `{}`: {}: {} (known from: {})", ruling.rule, ruling.found, ruling.reason, ruling.source)
}

/// Holds the rules against a lock: those that are broken but do not refuse, in the order of the file.
///
/// # Errors
/// A broken rule that refuses and is not overridden; a rule that cannot be read.
pub fn judge(project: &Project, lock: &Lock) -> Result<Vec<Ruling>, RulesError> {
    let mut rulings = Vec::new();
    for rule in project.rules.iter().filter(|rule| concerns(rule, project)) {
        if let Some(found) = broken(rule, project, lock)? {
            rulings.push(Ruling {
                rule: rule.name.clone(),
                found,
                reason: rule.reason.clone(),
                source: rule.source.clone(),
                overridden: project.recipe.overridden_rules.get(&rule.name).cloned(),
                verdict: rule.verdict,
            });
        }
    }
    let (refused, rest): (Vec<_>, Vec<_>) = rulings
        .into_iter()
        .partition(|ruling| ruling.verdict == Verdict::Refuse && ruling.overridden.is_none());
    if refused.is_empty() { Ok(rest) } else { Err(RulesError::Broken { broken: refused }) }
}

/// Says which rules are broken and do not count, and which are overridden without need: once in every build.
pub fn confess(project: &Project, rulings: &[Ruling], progress: &dyn Progress) {
    for ruling in rulings {
        match &ruling.overridden {
            Some(why) => progress.warn(&format!("{}; overridden by the recipe: {why}", sentence(ruling))),
            None => progress.warn(&sentence(ruling)),
        }
    }
    for name in project.recipe.overridden_rules.keys() {
        if !rulings.iter().any(|ruling| ruling.rule == *name) {
            progress.warn(&format!("rule `{name}` is overridden by the recipe, and is not broken"));
        }
    }
}

/// Whether a rule is for targets like this.
fn concerns(rule: &Rule, project: &Project) -> bool {
    rule.traits.iter().all(|(name, value)| project.target.traits.get(name) == Some(value))
}

/// What breaks a rule; `None`: nothing does, or it does not apply.
fn broken(rule: &Rule, project: &Project, lock: &Lock) -> Result<Option<String>, RulesError> {
    let mut found = Vec::new();
    for text in &rule.when {
        match answer(rule, text, project, lock)? {
            Answer::Holds(package) => found.push(package),
            Answer::Differs(_) | Answer::Absent(_) => return Ok(None),
        }
    }
    found.dedup();
    for text in &rule.needs {
        match answer(rule, text, project, lock)? {
            Answer::Holds(_) => {}
            Answer::Differs(package) | Answer::Absent(package) => {
                return Ok(Some(format!("it has {package}, and needs `{text}`")));
            }
        }
    }
    Ok(rule.needs.is_empty().then(|| format!("it has {}", found.join(" and "))))
}

/// What a lock has for a relation, in words.
enum Answer {
    Holds(String),
    Differs(String),
    Absent(String),
}

fn answer(rule: &Rule, text: &str, project: &Project, lock: &Lock) -> Result<Answer, RulesError> {
    let relation = Relation::parse(text)
        .map_err(|source| RulesError::Relation { rule: rule.name.to_string(), source })?;
    let name = if relation.name == KERNEL { project.target.kernel.as_str() } else { relation.name };
    let Some(package) = lock.packages.iter().chain(&lock.build).find(|package| package.name == name) else {
        return Ok(Answer::Absent(format!("no `{name}`")));
    };
    let shown = format!("`{name}` {}", package.version);
    let version = Version::parse(&package.version)
        .map_err(|source| RulesError::Version { package: name.to_owned(), source })?;
    let holds = relation.constraint.is_none_or(|constraint| constraint.allows(version));
    Ok(if holds { Answer::Holds(shown) } else { Answer::Differs(shown) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use goni_model::lock::LockedPackage;

    use super::*;
    use crate::host::files;
    use crate::host::project::ProjectFiles;
    use crate::project;

    /// The project of Strix Halo as it is shipped, with other traits, and a lock of these packages.
    fn case(traits: &[(&str, &str)], packages: &[(&str, &str)]) -> (Project, Lock) {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/strix-halo.toml");
        let mut project = project::load(&ProjectFiles, &recipe).unwrap();
        project.target.traits =
            traits.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let text = files::read_text(&recipe.with_extension("lock"), 1 << 20).unwrap();
        let mut lock: Lock = text.parse().unwrap();
        let like = lock.packages[0].clone();
        lock.packages = packages
            .iter()
            .map(|(name, version)| LockedPackage {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                ..like.clone()
            })
            .collect();
        (project, lock)
    }

    /// The rules of the project that a lock breaks, those that only warn included.
    fn broken_by(traits: &[(&str, &str)], packages: &[(&str, &str)]) -> Vec<String> {
        let (project, lock) = case(traits, packages);
        let names = |rulings: Vec<Ruling>| rulings.iter().map(|ruling| ruling.rule.to_string()).collect();
        match judge(&project, &lock) {
            Ok(rulings) => names(rulings),
            Err(RulesError::Broken { broken }) => names(broken),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_rule_is_broken_by_what_it_is_about_and_by_nothing_else() {
        let kernel = |version| ("linux-image-amd64", version);
        let strix: &[_] = &[("gpu", "gfx1151")];
        let firmware = |version| ("firmware-amd-graphics", version);
        let none: [&str; 0] = [];
        assert_eq!(broken_by(strix, &[kernel("6.12.117-1")]), ["gfx1151-kernel"]);
        assert_eq!(broken_by(strix, &[kernel("6.18.4-1~bpo13+1"), firmware("20260110-1")]), none);
        assert_eq!(broken_by(&[], &[kernel("6.12.117-1"), firmware("20251125-1")]), none);
        let of_november = [kernel("7.3.4-1"), firmware("20251125-1~bpo13+1")];
        assert_eq!(broken_by(strix, &of_november), ["gfx1151-firmware-20251125"]);

        let driver = ("nvidia-open-kernel-dkms", "550.163.01-4");
        assert_eq!(broken_by(&[], &[kernel("7.3.4-1~bpo13+1"), driver]), ["nvidia-550-kernel-7"]);
        assert_eq!(broken_by(&[], &[kernel("6.12.117-1"), driver]), none);

        let cuda = ("nvidia-l4t-cuda", "39.2.0-20260101");
        let (orin, thor): (&[_], &[_]) = (&[("soc", "tegra234")], &[("soc", "tegra264")]);
        assert_eq!(broken_by(orin, &[cuda, ("openrm", "1")]), ["jetson-orin-nvgpu"]);
        assert_eq!(broken_by(orin, &[cuda, ("nvgpu", "1")]), none);
        assert_eq!(broken_by(thor, &[cuda, ("nvgpu", "1")]), ["jetson-thor-openrm"]);
        assert_eq!(broken_by(orin, &[("nvidia-l4t-core", "39.2.0")]), ["jetson-r39-qspi"]);
        assert_eq!(broken_by(orin, &[("nvidia-l4t-core", "36.4.0")]), none);
    }

    #[test]
    fn a_rule_that_is_overridden_is_told_and_does_not_refuse() {
        let (mut project, lock) = case(&[("gpu", "gfx1151")], &[("linux-image-amd64", "6.12.117-1")]);
        let error = judge(&project, &lock).unwrap_err();
        assert!(error.to_string().contains("it has `linux-image-amd64` 6.12.117-1, and needs"), "{error}");
        assert!(error.hint().unwrap().contains("[rules.override] gfx1151-kernel"), "{:?}", error.hint());
        project.recipe.overridden_rules.insert("gfx1151-kernel".parse().unwrap(), "patched".to_owned());
        let [ruling] = &judge(&project, &lock).unwrap()[..] else { panic!("one ruling") };
        assert_eq!(ruling.overridden.as_deref(), Some("patched"));
    }
}
