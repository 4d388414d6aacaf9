//! Licences held against what a recipe allows: of everything that is in the image, before it gets a name.
//!
//! What a package's copyright file declares counts, and where the archive sorts the package. A file that
//! declares nothing is no breach unless the recipe says so, but it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use goni_debian::licence::{Expression, reference_word, spdx_of};
use goni_model::lock::Lock;
use goni_model::policy::LicencePolicy;
use serde::Serialize;

use crate::bill::{Bill, Licences, Package, component};
use crate::failure::{Class, Classify};
use crate::progress::Progress;
use crate::project::Project;
use crate::stages::modules::Origin;

/// The prefix of keys that the policy has in recipes.
const KEY: &str = "policy.licences";

/// How many packages an error tells of at length.
const SHOWN: usize = 10;

/// A package that the policy does not allow, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// What is not allowed of it.
    pub what: Vec<String>,
    /// The line that brought it, and the packages between.
    pub brought_by: String,
    /// Why the recipe excepts it, if it does.
    pub excepted: Option<String>,
}

/// Why an image is not made.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Something in it is not allowed.
    #[error("the recipe's policy on licences does not allow\n{}", sentences(breaches))]
    Breached {
        /// What.
        breaches: Vec<Breach>,
    },
}

impl Classify for PolicyError {
    fn class(&self) -> Class {
        Class::Check
    }

    fn hint(&self) -> Option<String> {
        let Self::Breached { breaches } = self;
        let package = &breaches.first()?.package;
        Some(format!("leave it out; or, if you may ship it, say why: [{KEY}.except] {package} = \"…\""))
    }
}

fn sentences(breaches: &[Breach]) -> String {
    let sentence = |breach: &Breach| {
        let Breach { package, version, what, brought_by, .. } = breach;
        format!("package `{package}` {version}: {}; {brought_by}", what.join("; "))
    };
    let mut lines: Vec<String> = breaches.iter().take(SHOWN).map(sentence).collect();
    if let Some(rest) = breaches.get(SHOWN..).filter(|rest| !rest.is_empty()) {
        let names: Vec<&str> = rest.iter().map(|breach| breach.package.as_str()).collect();
        lines.push(format!("and {} more: {}", rest.len(), names.join(", ")));
    }
    lines.join("\n")
}

/// Holds the policy of a recipe against a bill: what is excepted, by package.
///
/// # Errors
/// A package that is not allowed, and not excepted.
pub fn judge(project: &Project, lock: &Lock, bill: &Bill) -> Result<Vec<Breach>, PolicyError> {
    let policy = &project.recipe.licences;
    if policy.is_silent() {
        return Ok(Vec::new());
    }
    let mut breaches = Vec::new();
    let mut note = |package: &str, version: &str, what: Vec<String>, brought_by: String| {
        if what.is_empty() {
            return;
        }
        let excepted = policy.except.iter().find(|(name, _)| name.as_str() == package);
        breaches.push(Breach {
            package: package.to_owned(),
            version: version.to_owned(),
            what,
            brought_by,
            excepted: excepted.map(|(_, why)| why.clone()),
        });
    };
    let place = |key: &str| place(project, key);
    for package in &bill.packages {
        let what = faults(policy, bill, package, &place);
        let name = &package.locked.name;
        let brought_by = if what.is_empty() { String::new() } else { brought_by(project, lock, bill, name) };
        note(name, &package.locked.version, what, brought_by);
    }
    // What a module was built from is in the image, too, in another form.
    let sources: BTreeSet<&String> = bill.modules.iter().filter_map(|module| dkms(&module.from)).collect();
    for locked in bill.module_build.iter().filter(|locked| sources.contains(&locked.name)) {
        let what = of_component(policy, component(locked), &place).into_iter().collect();
        let brought_by =
            format!("{} builds modules from it", at(project, &format!("kernel.dkms[{}]", locked.name)));
        note(&locked.name, &locked.version, what, brought_by);
    }
    let (excepted, refused): (Vec<_>, Vec<_>) =
        breaches.into_iter().partition(|breach| breach.excepted.is_some());
    if refused.is_empty() { Ok(excepted) } else { Err(PolicyError::Breached { breaches: refused }) }
}

/// Says what is excepted, what is excepted without need, which packages declare nothing where licences are
/// denied, and which lost the copyright file that has to go with them: once in every build.
pub fn confess(project: &Project, bill: &Bill, excepted: &[Breach], progress: &dyn Progress) {
    let policy = &project.recipe.licences;
    for breach in excepted {
        let why = breach.excepted.as_deref().unwrap_or_default();
        let (package, what) = (&breach.package, breach.what.join(", "));
        progress.warn(&format!("package `{package}`: {what}; excepted by the recipe: {why}"));
    }
    for name in policy.except.keys() {
        if !excepted.iter().any(|breach| breach.package == name.as_str()) {
            progress.warn(&format!("package `{name}` is excepted by `{KEY}.except`, and need not be"));
        }
    }
    let absent = names(bill, |licences| matches!(licences, Licences::Absent));
    if !absent.is_empty() {
        progress.warn(&format!("no copyright file, which most licences want to go along: {absent}"));
    }
    if policy.deny.is_empty() || policy.deny_undeclared {
        return;
    }
    let undeclared = names(bill, undeclared);
    if !undeclared.is_empty() {
        progress.warn(&format!(
            "`{KEY}.deny` says nothing of packages whose copyright files declare no licence by name: {undeclared}"
        ));
    }
}

/// The names of packages whose licences are so.
fn names(bill: &Bill, are: impl Fn(&Licences) -> bool) -> String {
    let those = bill.packages.iter().filter(|package| are(&package.licences));
    those.map(|package| package.locked.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn dkms(origin: &Origin) -> Option<&String> {
    match origin {
        Origin::Dkms { package, .. } => Some(package),
        Origin::Source { .. } | Origin::File { .. } => None,
    }
}

/// What a policy does not allow of a package.
fn faults(
    policy: &LicencePolicy,
    bill: &Bill,
    package: &Package,
    place: &dyn Fn(&str) -> String,
) -> Vec<String> {
    let mut faults: Vec<String> =
        of_component(policy, &package.origin.component, place).into_iter().collect();
    if let Licences::Declared { expressions, file, .. } = &package.licences {
        let meant = |name: &str| {
            policy.deny.iter().find(|pattern| {
                let reference = format!("LicenseRef-{}", reference_word(name));
                pattern.matches(name)
                    || spdx_of(name).is_some_and(|known| pattern.matches(known))
                    || spdx_of(name).is_none() && pattern.matches(&reference)
                    || references(bill, package, name).any(|reference| pattern.matches(reference))
            })
        };
        let refused = |name: &str| meant(name).is_some();
        let broken = expressions.iter().filter(|expression| !expression.holds_without(&refused));
        let names: BTreeSet<&str> = broken.flat_map(Expression::names).filter(|name| refused(name)).collect();
        for name in names {
            let known = spdx_of(name).filter(|known| *known != name);
            let known = known.map(|known| format!(" ({known})")).unwrap_or_default();
            let pattern = meant(name).map(ToString::to_string).unwrap_or_default();
            let denied = place(&format!("{KEY}.deny[{pattern}]"));
            faults.push(format!("licence `{name}`{known} of `{}`, denied by {denied}", file.path));
        }
    }
    if policy.deny_undeclared && undeclared(&package.licences) {
        let denied = place(&format!("{KEY}.undeclared"));
        faults.push(format!(
            "its licences are not declared ({}), denied by {denied}",
            package.licences.source()
        ));
    }
    faults
}

fn of_component(policy: &LicencePolicy, component: &str, place: &dyn Fn(&str) -> String) -> Option<String> {
    let allowed = policy.allow_components.as_ref()?;
    if allowed.iter().any(|it| it.name() == component) {
        return None;
    }
    let first = allowed.first().map(|it| it.name()).unwrap_or_default();
    let allows = place(&format!("{KEY}.allow-components[{first}]"));
    Some(format!("component `{component}`, which {allows} does not list"))
}

/// Whether nobody can tell the licences by their names.
const fn undeclared(licences: &Licences) -> bool {
    match licences {
        Licences::Declared { spdx, unnamed, .. } => spdx.is_none() || *unnamed,
        Licences::FreeForm(_) | Licences::Absent => true,
    }
}

/// What stands for a licence of a package that SPDX does not know.
fn references<'b>(bill: &'b Bill, package: &'b Package, name: &'b str) -> impl Iterator<Item = &'b str> {
    let Licences::Declared { spdx, .. } = &package.licences else {
        unreachable!("asked of what is declared")
    };
    let words = spdx.as_deref().unwrap_or_default().split_whitespace();
    words
        .map(|word| word.trim_matches(['(', ')']))
        .filter(move |word| bill.references.get(*word).is_some_and(|it| it.name == name))
}

/// A key of the recipe with its place.
fn place(project: &Project, key: &str) -> String {
    match project.origins.get(key) {
        Some(effective) => format!("`{key}` ({})", project.within(&effective.origin)),
        None => format!("`{key}`"),
    }
}

/// The place of a key.
fn at(project: &Project, key: &str) -> String {
    project.origins.get(key).map_or_else(|| format!("`{key}`"), |it| project.within(&it.origin).to_string())
}

/// The line that brought a package, and the packages between.
fn brought_by(project: &Project, lock: &Lock, bill: &Bill, name: &str) -> String {
    let asked: BTreeSet<&str> = lock.request.packages.iter().map(|it| base(it)).collect();
    let local = bill.packages.iter().filter(|it| it.locked.archive == goni_model::lock::LOCAL);
    let roots: BTreeSet<&str> = asked.into_iter().chain(local.map(|it| it.locked.name.as_str())).collect();
    let needs: BTreeMap<&str, &BTreeSet<String>> =
        bill.packages.iter().map(|it| (it.locked.name.as_str(), &it.needs)).collect();
    // The shortest way there; of several, the first by name.
    let mut before: BTreeMap<&str, Option<&str>> = roots.iter().map(|root| (*root, None)).collect();
    let mut ahead: VecDeque<&str> = roots.iter().copied().collect();
    while let Some(package) = ahead.pop_front() {
        for needed in needs.get(package).into_iter().copied().flatten() {
            if !before.contains_key(needed.as_str()) {
                before.insert(needed, Some(package));
                ahead.push_back(needed);
            }
        }
    }
    let mut chain = Vec::new();
    let mut next = before.get(name).map(|_| name);
    while let Some(package) = next {
        chain.push(package);
        next = before.get(package).copied().flatten();
    }
    let Some(root) = chain.last().copied() else {
        return "every system of Debian has it".to_owned();
    };
    let way: Vec<String> = chain.iter().rev().map(|it| format!("`{it}`")).collect();
    format!("brought by {}: {}", asked_by(project, root), way.join(" needs "))
}

/// The name in what was asked: `name=version` and `name (>= version)` are asked, too.
fn base(asked: &str) -> &str {
    asked.split(['=', ' ', '(']).next().unwrap_or(asked)
}

/// Who asks for a package.
fn asked_by(project: &Project, package: &str) -> String {
    let key = format!("debian.packages[{package}]");
    if project.origins.contains_key(&key) {
        return at(project, &key);
    }
    let overlays = project.overlays.iter().chain(project.stand_ins.values().flatten());
    let mut overlays = overlays.map(|loaded| &loaded.overlay);
    let asks = |list: &[goni_model::name::PackageName]| list.iter().any(|it| base(it.as_str()) == package);
    let target = &project.target;
    if asks(&target.packages) || asks(&target.firmware) || asks(std::slice::from_ref(&target.kernel)) {
        return format!("target `{}`", target.name);
    }
    match overlays.find(|overlay| asks(&overlay.packages)) {
        Some(overlay) => format!("overlay `{}`", overlay.name),
        None => "`debian.local`".to_owned(),
    }
}

#[cfg(test)]
mod tests;
