//! Where a path is: in the root through its links, on the state partition, in what boots.

use std::collections::BTreeMap;

use super::super::document::{Index, Line, Place, What, text_of};
use super::super::near;

/// How many links one path may lead through. Source: the kernel's `MAXSYMLINKS`, include/linux/namei.h.
const MAX_LINKS: usize = 40;

/// Where the EFI system partition is mounted.
const ESP: &str = "/efi";

/// What an index has at a path.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    /// It.
    There(&'a Line),
    /// The hands that what was there went through.
    Gone(&'a [usize]),
}

/// The entries of an index, by path.
pub(super) struct Places<'a> {
    index: &'a Index,
    root: BTreeMap<&'a str, &'a Line>,
}

impl<'a> Places<'a> {
    pub(super) fn of(index: &'a Index) -> Self {
        let root = index.lines(Place::Root).iter().map(|line| (line.0.as_str(), line)).collect();
        Self { index, root }
    }

    /// Every place where a path is; those where a link leads behind the link.
    pub(super) fn find(&self, asked: &str) -> Vec<(Place, String, Entry<'a>)> {
        let (only, path) = split(asked);
        let path = canonical(path);
        let mut found = Vec::new();
        if only.is_none_or(|only| only == Place::Root) {
            self.in_root(&path, only.is_some(), &mut found);
        }
        for place in Place::ALL.into_iter().filter(|place| *place != Place::Root) {
            let asked_here = only == Some(place);
            if only.is_some() && !asked_here {
                continue;
            }
            let mut paths = vec![path.clone()];
            match place {
                // A name on the state partition is only that of a place of the system if it is said so.
                Place::State if !asked_here => paths = self.on_state(&path).into_iter().collect(),
                Place::Esp if !asked_here => {
                    paths.extend(path.strip_prefix(ESP).filter(|rest| !rest.is_empty()).map(str::to_owned));
                }
                // The top of each is not what is meant by the top of the system.
                _ if !asked_here && path == "/" => continue,
                _ => {}
            }
            let lines = self.index.lines(place).iter().filter(|line| paths.contains(&line.0));
            found.extend(lines.map(|line| (place, line.0.clone(), Entry::There(line))));
        }
        found
    }

    fn in_root(&self, path: &str, only: bool, found: &mut Vec<(Place, String, Entry<'a>)>) {
        let mut next = self.resolve(path);
        for _ in 0..MAX_LINKS {
            if found.iter().any(|(_, known, _)| *known == next) {
                return;
            }
            let Some(line) = self.root.get(next.as_str()) else { break };
            found.push((Place::Root, next.clone(), Entry::There(line)));
            let Line(_, What::Link, _, Some(target), ..) = line else { return };
            next = self.resolve(&joined(&next, target));
        }
        // A link may lead to what is kept elsewhere, or nowhere.
        if (!found.is_empty() || only)
            && let Some(name) = self.on_state(&next)
        {
            let lines = self.index.lines(Place::State).iter().filter(|line| line.0 == name);
            found.extend(lines.map(|line| (Place::State, line.0.clone(), Entry::There(line))));
        }
        if found.is_empty() {
            let gone = self.index.gone.iter().filter(|(path, _)| *path == next);
            found.extend(gone.map(|(path, hands)| (Place::Root, path.clone(), Entry::Gone(hands))));
        }
    }

    /// The path once every link among the directories on the way is followed.
    fn resolve(&self, path: &str) -> String {
        let (mut links, mut done) = (0, String::new());
        let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        while let Some(name) = ahead.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    done.truncate(done.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = format!("{done}/{name}");
            match self.root.get(next.as_str()) {
                Some(Line(_, What::Link, _, Some(target), ..)) if !ahead.is_empty() && links < MAX_LINKS => {
                    links += 1;
                    if target.starts_with('/') {
                        done.clear();
                    }
                    ahead.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => done = next,
            }
        }
        if done.is_empty() { "/".to_owned() } else { done }
    }

    /// The name on the state partition of what is kept there.
    fn on_state(&self, path: &str) -> Option<String> {
        self.index.kept.iter().find_map(|(place, name)| {
            let rest = path.strip_prefix(place.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("/{name}{rest}"))
        })
    }

    /// Paths that may have been meant: of the same name elsewhere, or of a similar one in the same directory.
    pub(super) fn near(&self, asked: &str, most: usize) -> Vec<String> {
        let path = self.resolve(&canonical(split(asked).1));
        let (above, name) = path.rsplit_once('/').unwrap_or_default();
        let beside = self.root.keys().filter(|other| other.rsplit_once('/').is_some_and(|it| it.0 == above));
        let similar = near(&path, beside.copied());
        let same = self.root.keys().copied().filter(|other| other.rsplit('/').next() == Some(name));
        let mut offered: Vec<String> = similar.into_iter().chain(same).map(str::to_owned).collect();
        offered.truncate(most);
        offered
    }
}

/// A place and a path in it, from `initrd:/init`; a path alone is of the running system.
fn split(asked: &str) -> (Option<Place>, &str) {
    let named = asked.split_once(":/").and_then(|(name, _)| {
        let place = Place::ALL.into_iter().find(|place| place.name() == name)?;
        Some((place, &asked[name.len() + 1..]))
    });
    named.map_or((None, asked), |(place, path)| (Some(place), path))
}

/// A path as an index has it.
fn canonical(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    text_of(parts.join("/").as_bytes())
}

/// Where a link at a path leads.
fn joined(link: &str, target: &str) -> String {
    match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("{}/{target}", link.rsplit_once('/').unwrap_or_default().0),
    }
}
