//! Two lists of named things, compared: what was added, removed, changed.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use goni_debian::version::Version;
use goni_model::layout::Role;
use serde::Serialize;

use crate::inspection::{Inspection, Package, shown};

/// A thing that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is called.
    pub what: String,
    /// As it was; `None`: it was not there.
    pub before: Option<String>,
    /// As it is; `None`: it is no longer there.
    pub after: Option<String>,
}

/// Words of a command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WordChange {
    /// The profile that has it.
    pub profile: String,
    /// Words that are gone, in their order.
    pub removed: Vec<String>,
    /// Words that came, in their order.
    pub added: Vec<String>,
}

/// Which way a version went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The package was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// A later version.
    Upgraded,
    /// An earlier version.
    Downgraded,
    /// Versions that Debian counts as equal, or that are none.
    Changed,
}

impl Direction {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Upgraded => "upgraded",
            Self::Downgraded => "downgraded",
            Self::Changed => "changed",
        }
    }
}

/// A package whose version is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// What it is built for.
    pub architecture: String,
    /// Which way it went.
    pub direction: Direction,
    /// The version it had.
    pub before: Option<String>,
    /// The version it has.
    pub after: Option<String>,
}

/// What files take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizeChange {
    /// The package; `None`: files that no package lists.
    pub package: Option<String>,
    /// Bytes before.
    pub before: u64,
    /// Bytes after.
    pub after: u64,
}

/// What is not the same in two lists of names and texts.
fn changes<K: Ord + Display>(
    before: impl IntoIterator<Item = (K, String)>,
    after: impl IntoIterator<Item = (K, String)>,
) -> Vec<Change> {
    let mut all: BTreeMap<K, (Option<String>, Option<String>)> = BTreeMap::new();
    for (what, text) in before {
        all.entry(what).or_default().0 = Some(text);
    }
    for (what, text) in after {
        all.entry(what).or_default().1 = Some(text);
    }
    let differing = all.into_iter().filter(|(_, (before, after))| before != after);
    differing.map(|(what, (before, after))| Change { what: what.to_string(), before, after }).collect()
}

pub(super) fn image(before: &Inspection, after: &Inspection) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let facts = [
            ("system", image.system.clone()),
            ("target", image.target.clone()),
            ("architecture", image.arch.map(|arch| arch.to_string())),
            ("disk size", Some(format!("{} ({} bytes)", shown(image.disk_size), image.disk_size))),
            ("sector size", Some(image.sector_size.to_string())),
            ("disk GUID", Some(image.disk_guid.to_string())),
        ];
        facts.into_iter().filter_map(|(what, value)| Some((what, value?))).collect::<Vec<_>>()
    };
    changes(facts(before), facts(after))
}

pub(super) fn partitions(before: &Inspection, after: &Inspection, same: &BTreeSet<Role>) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let mut facts = Vec::new();
        for (order, partition) in (0_u32..).zip(&image.partitions) {
            let name = partition.name();
            let mut fact = |what: &str, value: String| facts.push((format!("{name} {what}"), value));
            fact("number", order.saturating_add(1).to_string());
            fact("label", partition.label.clone());
            fact("offset", partition.offset.to_string());
            fact("size", format!("{} ({} bytes)", shown(partition.size), partition.size));
            fact("PARTUUID", partition.guid.to_string());
            if partition.in_mbr {
                fact("in the MBR", "yes".to_owned());
            }
            if let Some(content) = &partition.content {
                fact("file system", content.kind.to_owned());
                fact("used", format!("{} ({} bytes)", shown(content.used), content.used));
                content.label.iter().for_each(|label| fact("file system label", label.clone()));
                content.uuid.iter().for_each(|uuid| fact("file system UUID", uuid.clone()));
            }
        }
        facts
    };
    let mut found = changes(facts(before), facts(after));
    let roles = |image: &Inspection| -> BTreeSet<Role> {
        image.partitions.iter().filter_map(|partition| partition.role).collect()
    };
    for role in roles(before).intersection(&roles(after)).filter(|role| !same.contains(role)) {
        let text = |word: &str| Some(word.to_owned());
        found.push(Change {
            what: format!("{} bytes", role.name()),
            before: text("these"),
            after: text("others"),
        });
    }
    found.sort_by(|one, other| one.what.cmp(&other.what));
    found
}

pub(super) fn boot(before: &Inspection, after: &Inspection) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let boot = &image.boot;
        let mut facts = vec![("method".to_owned(), boot.method.to_owned())];
        let mut maybe = |what: &str, value: Option<String>| {
            facts.extend(value.map(|value| (what.to_owned(), value)));
        };
        maybe("kernel image", boot.kernel_image.clone());
        maybe("kernel release", boot.kernel_release.clone());
        maybe("root hash", boot.root_hash.map(|hash| hash.to_string()));
        for profile in &boot.profiles {
            maybe(&format!("profile {}", profile.id), Some(profile.title.clone().unwrap_or_default()));
        }
        for section in &boot.sections {
            let of = section.profile.as_ref().map_or_else(String::new, |profile| format!(" of {profile}"));
            let value = format!("{} bytes, {}", section.size, section.sha256);
            maybe(&format!("section {}{of}", section.name), Some(value));
        }
        for file in &boot.files {
            let what = format!("file {}:/{}", file.partition.name(), file.path);
            maybe(&what, Some(format!("{} bytes, {}", file.size, file.sha256)));
        }
        facts
    };
    changes(facts(before), facts(after))
}

pub(super) fn command_lines(before: &Inspection, after: &Inspection) -> Vec<WordChange> {
    let lines = |image: &Inspection| -> BTreeMap<String, Vec<String>> {
        let profiles = image.boot.profiles.iter();
        profiles
            .map(|profile| {
                (profile.id.clone(), profile.command_line.split_whitespace().map(str::to_owned).collect())
            })
            .collect()
    };
    let (before, after) = (lines(before), lines(after));
    let profiles: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let nothing = Vec::new();
    let changes = profiles.into_iter().filter_map(|profile| {
        let (one, two) = (before.get(profile).unwrap_or(&nothing), after.get(profile).unwrap_or(&nothing));
        if one == two {
            return None;
        }
        let (removed, added) = (without(one, two), without(two, one));
        // The same words in another order: the later of two often wins, so the whole lines are told.
        let moved = removed.is_empty() && added.is_empty();
        let (removed, added) = if moved { (one.clone(), two.clone()) } else { (removed, added) };
        Some(WordChange { profile: profile.clone(), removed, added })
    });
    changes.collect()
}

/// The words of one line that another does not have as often.
fn without(one: &[String], other: &[String]) -> Vec<String> {
    let mut rest: Vec<&String> = other.iter().collect();
    let left = one.iter().filter(|word| match rest.iter().position(|other| other == word) {
        Some(at) => {
            rest.remove(at);
            false
        }
        None => true,
    });
    left.cloned().collect()
}

pub(super) fn packages(before: &Inspection, after: &Inspection) -> Vec<PackageChange> {
    let versions = |image: &Inspection| -> BTreeMap<(String, String), String> {
        let packages = image.packages.iter();
        packages
            .map(|package| ((package.name.clone(), package.architecture.clone()), package.version.clone()))
            .collect()
    };
    let (before, after) = (versions(before), versions(after));
    let names: BTreeSet<&(String, String)> = before.keys().chain(after.keys()).collect();
    let mut changes: Vec<PackageChange> = names
        .into_iter()
        .filter_map(|key| {
            let (one, two) = (before.get(key), after.get(key));
            let direction = match (one, two) {
                _ if one == two => return None,
                (None, _) => Direction::Added,
                (_, None) => Direction::Removed,
                (Some(one), Some(two)) => direction(one, two),
            };
            Some(PackageChange {
                name: key.0.clone(),
                architecture: key.1.clone(),
                direction,
                before: one.cloned(),
                after: two.cloned(),
            })
        })
        .collect();
    changes.sort_by_key(|change| change.direction);
    changes
}

fn direction(before: &str, after: &str) -> Direction {
    match (Version::parse(before), Version::parse(after)) {
        (Ok(before), Ok(after)) => match after.cmp(&before) {
            Ordering::Less => Direction::Downgraded,
            Ordering::Equal => Direction::Changed,
            Ordering::Greater => Direction::Upgraded,
        },
        _ => Direction::Changed,
    }
}

pub(super) fn units(before: &Inspection, after: &Inspection) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let units = image.units.iter();
        units
            .map(|unit| {
                let by = if unit.wanted_by.is_empty() {
                    String::new()
                } else {
                    format!(", wanted by {}", unit.wanted_by.join(", "))
                };
                (unit.name.clone(), format!("{}{by}", unit.state.name()))
            })
            .collect::<Vec<_>>()
    };
    changes(facts(before), facts(after))
}

pub(super) fn users(before: &Inspection, after: &Inspection) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let users = image.users.iter();
        users
            .map(|user| {
                (user.name.clone(), format!("{}:{} {} {}", user.uid, user.gid, user.home, user.shell))
            })
            .collect::<Vec<_>>()
    };
    changes(facts(before), facts(after))
}

pub(super) fn groups(before: &Inspection, after: &Inspection) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let groups = image.groups.iter();
        groups
            .map(|group| {
                (
                    group.name.clone(),
                    format!("{} {}", group.gid, group.members.join(",")).trim_end().to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    changes(facts(before), facts(after))
}

pub(super) fn privileged(before: &Inspection, after: &Inspection) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let files = image.privileged.iter();
        files
            .map(|file| {
                let capabilities = if file.capabilities { " capabilities" } else { "" };
                (file.path.clone(), format!("{:04o} {}:{}{capabilities}", file.mode, file.uid, file.gid))
            })
            .collect::<Vec<_>>()
    };
    changes(facts(before), facts(after))
}

pub(super) fn licences(before: &Inspection, after: &Inspection) -> Vec<Change> {
    let facts = |image: &Inspection| {
        let licences = &image.licences;
        let mut facts: Vec<(String, String)> =
            licences.named.iter().map(|(name, packages)| (name.clone(), packages.join(", "))).collect();
        for (what, packages) in
            [("not known: prose", &licences.prose), ("not known: no file", &licences.missing)]
        {
            if !packages.is_empty() {
                facts.push((what.to_owned(), packages.join(", ")));
            }
        }
        facts
    };
    changes(facts(before), facts(after))
}

pub(super) fn sizes(before: &Inspection, after: &Inspection) -> Vec<SizeChange> {
    let mut all: BTreeMap<Option<String>, (u64, u64)> = BTreeMap::new();
    // A package of two architectures counts as one.
    let add = |size: &mut u64, package: &Package| *size = size.saturating_add(package.size);
    for package in &before.packages {
        add(&mut all.entry(Some(package.name.clone())).or_default().0, package);
    }
    for package in &after.packages {
        add(&mut all.entry(Some(package.name.clone())).or_default().1, package);
    }
    all.insert(None, (before.tree.unlisted_size, after.tree.unlisted_size));
    let mut changes: Vec<SizeChange> = all
        .into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(package, (before, after))| SizeChange { package, before, after })
        .collect();
    changes.sort_by_key(|change| (Reverse(change.before.abs_diff(change.after)), change.package.clone()));
    changes
}
