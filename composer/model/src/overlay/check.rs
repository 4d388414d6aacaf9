//! From an overlay as typed to an overlay as meant.

use std::collections::BTreeMap;

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::name::{ImagePath, Mode, Name, UserName};
use crate::overlay::doc::{DirectoryDoc, LinkDoc, OverlayDoc, PathDoc};
use crate::overlay::{Directory, Link, Overlay, PathRule, Units};

/// Checks an overlay; `None` goes with at least one fault in the checker.
pub(super) fn check<'k>(
    doc: &OverlayDoc,
    name: Name,
    known: impl IntoIterator<Item = &'k str, IntoIter: Clone>,
    checker: &mut Checker,
) -> Option<Overlay> {
    let known = known.into_iter();
    let summary = checker.sentence(doc.summary.as_ref(), "summary");
    let packages = checker.set(doc.packages.as_ref());
    let requires = doc.requires.as_deref().unwrap_or_default();
    for text in requires {
        checker.known(text, "overlay", known.clone());
        if text.get_ref() == name.as_str() {
            checker.fault_at(text, format!("overlay `{name}` requires itself"));
        }
    }
    let requires = checker.list(requires);
    let paths = each(doc.path.as_deref(), |doc| doc.path.as_ref(), path_rule, "path", checker);
    let directories =
        each(doc.directories.as_deref(), |doc| doc.path.as_ref(), directory, "directories", checker);
    let links = each(doc.links.as_deref(), |doc| doc.path.as_ref(), link, "links", checker);
    let units = units(doc, checker);
    let volatile: Vec<ImagePath> = checker.set(doc.volatile.as_ref());
    for text in doc.volatile.iter().flatten().filter(|text| !text.get_ref().starts_with("/var/")) {
        let message = format!("`{}` is not below /var, which alone forgets", text.get_ref().escape_debug());
        checker.fault_at(text, message);
    }
    let listens = checker.set(doc.listens.as_ref());
    let devices = checker.set(doc.devices.as_ref());
    Some(Overlay {
        name,
        summary: summary?,
        packages,
        requires,
        paths,
        directories,
        links,
        units,
        volatile,
        listens,
        devices,
    })
}

/// Checks entries that are known by their path, which none may share; sorted by path.
fn each<D, T>(
    docs: Option<&[D]>,
    path_of: impl Fn(&D) -> Option<&Text>,
    check: impl Fn(&D, ImagePath, &Text, &mut Checker) -> Option<T>,
    key: &str,
    checker: &mut Checker,
) -> Vec<T> {
    let mut entries = BTreeMap::new();
    let mut seen: BTreeMap<ImagePath, &Text> = BTreeMap::new();
    for doc in docs.unwrap_or_default() {
        let hint = "every entry says which path it is about";
        let Some(text) = checker.require(path_of(doc), &format!("{key}.path"), hint) else { continue };
        let Some(path) = checker.parse::<ImagePath>(text) else { continue };
        if let Some(first) = seen.insert(path.clone(), text) {
            let fault = Fault::new(Span::from(text.span()), format!("`{path}` has two entries in `{key}`"));
            checker.fault(fault.related(Span::from(first.span()), "first here"));
        }
        entries.extend(check(doc, path.clone(), text, checker).map(|entry| (path, entry)));
    }
    entries.into_values().collect()
}

fn path_rule(doc: &PathDoc, path: ImagePath, text: &Text, checker: &mut Checker) -> Option<PathRule> {
    let mode = doc.mode.as_ref().and_then(|text| mode(text, checker));
    let (owner, group) = (owner(doc.owner.as_ref(), checker), owner(doc.group.as_ref(), checker));
    if doc.mode.is_none() && doc.owner.is_none() && doc.group.is_none() {
        let fault = Fault::new(Span::from(text.span()), format!("the entry for `{path}` changes nothing"));
        checker.fault(fault.hint("give at least one of `mode`, `owner` and `group`"));
    }
    let Some(why) = &doc.why else {
        let fault = Fault::new(Span::from(text.span()), format!("the entry for `{path}` does not say why"));
        checker.fault(fault.hint("add `why = \"…\"`: what would break with the usual owner and mode"));
        return None;
    };
    let why = checker.sentence(Some(why), "why")?;
    Some(PathRule { path, mode, owner, group, why })
}

fn directory(doc: &DirectoryDoc, path: ImagePath, _: &Text, checker: &mut Checker) -> Option<Directory> {
    let mode = doc.mode.as_ref().map_or(Some(Mode::DIRECTORY), |text| mode(text, checker));
    let (owner, group) = (owner(doc.owner.as_ref(), checker), owner(doc.group.as_ref(), checker));
    Some(Directory { path, mode: mode?, owner, group })
}

fn link(doc: &LinkDoc, path: ImagePath, text: &Text, checker: &mut Checker) -> Option<Link> {
    let Some(target) = &doc.target else {
        checker.fault_at(text, format!("the link `{path}` has no `target`"));
        return None;
    };
    let good =
        (1..=4095).contains(&target.get_ref().len()) && !target.get_ref().chars().any(char::is_control);
    if !good {
        let shown = target.get_ref().escape_debug();
        checker.fault_at(target, format!("`{shown}` is no text of a link: 1 to 4095 bytes, none a control"));
    }
    good.then(|| Link { path, target: target.get_ref().clone() })
}

fn mode(text: &Text, checker: &mut Checker) -> Option<Mode> {
    let mode = checker.parse::<Mode>(text)?;
    if mode.is_open_to_all() {
        let fault = Fault::new(Span::from(text.span()), format!("mode {mode} lets everyone write"));
        checker.fault(fault.hint("give the files to a user or a group that may"));
    }
    Some(mode)
}

fn owner(text: Option<&Text>, checker: &mut Checker) -> UserName {
    text.and_then(|text| checker.parse(text)).unwrap_or_else(UserName::root)
}

fn units(doc: &OverlayDoc, checker: &mut Checker) -> Units {
    let lists = [("enable", &doc.enable), ("disable", &doc.disable), ("mask", &doc.mask)];
    let mut seen: BTreeMap<&str, (&str, &Text)> = BTreeMap::new();
    for (verb, list) in lists {
        for text in list.iter().flatten() {
            let before = seen.insert(text.get_ref(), (verb, text));
            if let Some((other, first)) = before.filter(|(other, _)| *other != verb) {
                let message = format!("unit `{}` is in `{other}` and in `{verb}`", text.get_ref());
                let fault = Fault::new(Span::from(text.span()), message);
                checker.fault(fault.related(Span::from(first.span()), "first here"));
            }
        }
    }
    Units {
        enable: checker.set(doc.enable.as_ref()),
        disable: checker.set(doc.disable.as_ref()),
        mask: checker.set(doc.mask.as_ref()),
    }
}
