//! What is run of all there is: scenarios, each with the checks that belong to it.

use goni_model::document::nearest::nearest;
use goni_model::name::Name;

use crate::failure::{Class, Classify};
use crate::smoke::check::Check;
use crate::smoke::scenario::Scenario;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub enum Wish<'a> {
    /// What runs by default.
    Default,
    /// Everything.
    All,
    /// These scenarios, with all their checks.
    Scenarios(&'a [Name]),
    /// These checks, each in its scenario.
    Checks(&'a [Name]),
}

/// Where scenarios end before their time.
#[derive(Debug, Clone, Copy)]
pub enum Until<'a> {
    /// They do not.
    Whole,
    /// With their first boot.
    First,
    /// With the boot of this name, where they have one.
    Boot(&'a Name),
}

/// A scenario, and the checks that are run in it.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The checks, by name.
    pub checks: Vec<&'a Check>,
}

/// Why it cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("no {kind} is called `{name}`")]
pub struct Unknown {
    /// A check or a scenario.
    kind: &'static str,
    /// As typed.
    name: Name,
    /// The one that may have been meant.
    meant: Option<String>,
}

impl Classify for Unknown {
    fn class(&self) -> Class {
        Class::Recipe
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`smoke --list` names them all".into(),
        })
    }
}

/// The trials that were asked for: scenarios in the order given, each with those of the checks.
///
/// # Errors
/// `Unknown`.
pub fn select<'a>(
    scenarios: &'a [Scenario],
    checks: &'a [Check],
    wish: Wish<'_>,
) -> Result<Vec<Trial<'a>>, Unknown> {
    match wish {
        Wish::Scenarios(names) => known("scenario", names, scenarios.iter().map(|s| &s.name))?,
        Wish::Checks(names) => known("check", names, checks.iter().map(|c| &c.name))?,
        Wish::Default | Wish::All => {}
    }
    let wanted = |scenario: &Scenario, check: &Check| match wish {
        Wish::Default => scenario.default,
        Wish::All => true,
        Wish::Scenarios(names) => names.contains(&scenario.name),
        Wish::Checks(names) => names.contains(&check.name),
    };
    let trials = scenarios.iter().map(|scenario| {
        let own = checks.iter().filter(|check| check.scenario == scenario.name);
        Trial { scenario, checks: own.filter(|check| wanted(scenario, check)).collect() }
    });
    Ok(trials.filter(|trial| !trial.checks.is_empty()).collect())
}

fn known<'k>(
    kind: &'static str,
    names: &[Name],
    known: impl Iterator<Item = &'k Name> + Clone,
) -> Result<(), Unknown> {
    match names.iter().find(|name| !known.clone().any(|known| known == *name)) {
        None => Ok(()),
        Some(name) => {
            let meant = nearest(name.as_str(), known.map(Name::as_str)).map(str::to_owned);
            Err(Unknown { kind, name: name.clone(), meant })
        }
    }
}

impl Trial<'_> {
    /// How many of the scenario's boots these checks need: up to the last that one asks for, and none
    /// past the limit.
    #[must_use]
    pub fn boots(&self, checks: &[&Check], until: Until<'_>) -> usize {
        let limit = match until {
            Until::Whole => usize::MAX,
            Until::First => 1,
            Until::Boot(boot) => self.scenario.place(boot).map_or(usize::MAX, |place| place + 1),
        };
        let last = checks.iter().flat_map(|check| &check.boots).filter_map(|boot| self.scenario.place(boot));
        last.map(|place| place + 1).max().unwrap_or(0).min(limit)
    }
}

/// The boot that scenarios are to end with, which one of them must have.
///
/// # Errors
/// `Unknown`.
pub fn known_boot(trials: &[Trial<'_>], boot: &Name) -> Result<(), Unknown> {
    let boots = trials.iter().flat_map(|trial| trial.scenario.boots.iter().map(|boot| &boot.name));
    known("boot", std::slice::from_ref(boot), boots)
}
