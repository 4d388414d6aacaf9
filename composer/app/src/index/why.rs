//! Answers: who brought a path or a package, and why that came along.

mod chains;
mod places;

use serde::Serialize;

use super::document::{HandLine, Index, Kind, Line, Package, Place, Value, What, Wish};
use super::{near, stages};
use chains::Chains;
use places::Places;

/// How many names are offered for one that is not there.
const OFFERED: usize = 5;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A path of the running system, or `initrd:/init` and the like.
    Path(&'a str),
    /// A package, by name.
    Package(&'a str),
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The image: name, version and architecture.
    pub image: String,
    /// What was asked.
    pub asked: String,
    /// Every place where it is, or was.
    pub found: Vec<Found>,
    /// The package, if one was asked about.
    pub package: Option<PackageAnswer>,
    /// What may have been meant, if nothing was found.
    pub near: Vec<String>,
}

/// A path at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Where.
    pub place: Place,
    /// Its path there.
    pub path: String,
    /// What it is; `None`: it is there no more.
    pub what: Option<What>,
    /// The bytes of a file.
    pub size: Option<u64>,
    /// Where a link leads.
    pub target: Option<String>,
    /// Everybody who had a hand in it, in order.
    pub hands: Vec<HandAnswer>,
}

/// A deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandAnswer {
    /// The word for it.
    pub deed: String,
    /// Who did it.
    pub by: Maker,
    /// How that is known, or why it was done.
    pub why: Option<String>,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Maker {
    /// What they are.
    pub kind: Kind,
    /// Their name.
    pub name: String,
    /// What there is to say of a package.
    pub package: Option<PackageAnswer>,
    /// What a stage does, or who asked for an overlay.
    pub what: Option<String>,
    /// The values of the recipe that brought them.
    pub recipe: Vec<Setting>,
}

/// A value of the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// The value, as text.
    pub value: String,
    /// File, line and column; `default`: no recipe says so.
    pub origin: String,
}

/// A package, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageAnswer {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The archive that it comes from.
    pub archive: String,
    /// The suites of that archive.
    pub suites: Vec<String>,
    /// The shortest way from a wish to it; `None`: nothing asks for it.
    pub chain: Option<Chain>,
}

/// A way from a wish to a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// The package that was wished for.
    pub wished: String,
    /// Who wished for it.
    pub wish: Wish,
    /// What of the recipe brought them.
    pub recipe: Option<Setting>,
    /// From there on: each link a relation and the package that answers it.
    pub links: Vec<Link>,
}

/// A relation that brought a package along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The field: `Depends`.
    pub kind: String,
    /// What it says.
    pub relation: String,
    /// The package that answers it.
    pub package: String,
}

impl Index {
    /// Answers.
    #[must_use]
    pub fn why(&self, asked: Asked<'_>) -> Answer {
        let chains = Chains::of(&self.packages);
        let image = format!("{}_{}_{}", self.name, self.version, self.arch);
        match asked {
            Asked::Path(path) => {
                let places = Places::of(self);
                let found: Vec<Found> = places
                    .find(path)
                    .into_iter()
                    .map(|(place, path, line)| self.found(&chains, place, path, line))
                    .collect();
                let near = if found.is_empty() { places.near(path, OFFERED) } else { Vec::new() };
                Answer { image, asked: path.to_owned(), found, package: None, near }
            }
            Asked::Package(name) => {
                let at = self.packages.iter().position(|package| package.name == name);
                let package = at.map(|at| self.package(&chains, at));
                let names = || self.packages.iter().map(|package| package.name.as_str());
                let meant = if package.is_none() { near(name, names()) } else { None };
                let near = meant.into_iter().map(str::to_owned).collect();
                Answer { image, asked: name.to_owned(), found: Vec::new(), package, near }
            }
        }
    }

    fn found(&self, chains: &Chains, place: Place, path: String, line: places::Entry<'_>) -> Found {
        let (what, size, target, numbers): (_, _, _, &[usize]) = match line {
            places::Entry::There(Line(_, what, size, target, hands, _)) => {
                (Some(*what), (*what == What::File).then_some(*size), target.clone(), hands)
            }
            places::Entry::Gone(hands) => (None, None, None, hands),
        };
        let hands = numbers.iter().filter_map(|number| self.hands.get(*number));
        let hands = hands.map(|hand| self.hand(chains, hand, &path)).collect();
        Found { place, path, what, size, target, hands }
    }

    fn hand(&self, chains: &Chains, hand: &HandLine, path: &str) -> HandAnswer {
        let HandLine(kind, name, deed, why) = hand;
        let mut by = Maker { kind: *kind, name: name.clone(), package: None, what: None, recipe: Vec::new() };
        match kind {
            Kind::Package => {
                let at = self.packages.iter().position(|package| package.name == *name);
                by.package = at.map(|at| self.package(chains, at));
            }
            Kind::Overlay => {
                let (key, because) = self.overlay(name);
                by.what = because;
                by.recipe = key.iter().flat_map(|key| self.settings(&[key])).collect();
            }
            Kind::Payload => {
                let payload = self.payloads.iter().find(|it| it.name == *name);
                by.what = payload.and_then(|it| it.because.clone());
                by.recipe = self.settings(&[&format!("payload.{name}")]);
            }
            Kind::Stage => {
                let stage = stages::find(name);
                by.what = stage.map(|stage| stage.what.to_owned());
                by.recipe = stage.map_or_else(Vec::new, |stage| self.settings(stages::keys(stage, path)));
                let module =
                    self.modules.iter().find(|module| name == "modules" && names(path, &module.name));
                if let Some(module) = module {
                    by.what = Some(format!("builds kernel modules, this one from {}", module.from));
                }
            }
        }
        HandAnswer { deed: deed.clone(), by, why: why.clone() }
    }

    /// The key that brought an overlay, by way of those that require it, and that way.
    fn overlay(&self, name: &str) -> (Option<String>, Option<String>) {
        let (mut name, mut way): (&str, Vec<&str>) = (name, Vec::new());
        // An overlay requires no more others than there are.
        for _ in 0..=self.overlays.len() {
            let Some(overlay) = self.overlays.iter().find(|it| it.name == name) else { break };
            way.extend(overlay.because.as_deref());
            if overlay.key.is_some() {
                return (overlay.key.clone(), (!way.is_empty()).then(|| way.join(", ")));
            }
            let next =
                overlay.because.as_deref().and_then(|it| it.strip_prefix("overlay ")?.split(' ').next());
            let Some(next) = next else { break };
            name = next;
        }
        (None, (!way.is_empty()).then(|| way.join(", ")))
    }

    fn package(&self, chains: &Chains, at: usize) -> PackageAnswer {
        let Package { name, version, archive, suites, .. } = &self.packages[at];
        let chain = chains.to(&self.packages, at).map(|(wished, wish, links)| Chain {
            wished: wished.to_owned(),
            wish: wish.clone(),
            recipe: wish.key.as_ref().and_then(|key| self.settings(&[key]).into_iter().next()),
            links,
        });
        PackageAnswer {
            name: name.clone(),
            version: version.clone(),
            archive: archive.clone(),
            suites: suites.clone(),
            chain,
        }
    }

    /// The values of these keys, and of all below them; a key that no recipe has is a default.
    fn settings(&self, keys: &[&str]) -> Vec<Setting> {
        let mut settings = Vec::new();
        for key in keys {
            let below = |other: &str| {
                other.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let found = self.recipe.iter().filter(|(other, _)| below(other));
            settings.extend(found.map(|(key, Value { value, origin })| Setting {
                key: key.clone(),
                value: value.clone(),
                origin: origin.clone(),
            }));
        }
        settings
    }
}

/// Whether a path is that of a kernel module.
fn names(path: &str, module: &str) -> bool {
    path.rsplit('/').next().is_some_and(|file| file.split(".ko").next() == Some(module))
}
