//! A difference as lines for people.

use super::{Change, Difference, EntryKind, FileChange};
use crate::inspection::{change, shown};

/// A difference as lines for people; `-` was there, `+` is there, `~` changed.
#[must_use]
pub fn text(difference: &Difference) -> String {
    if difference.same_bytes {
        return "the same bytes\n".to_owned();
    }
    let mut lines = Vec::new();
    let mut section = |name: &str, rows: Vec<String>| {
        if !rows.is_empty() {
            lines.push(name.to_owned());
            lines.extend(rows.into_iter().map(|row| format!("  {row}")));
        }
    };
    section("image", changes(&difference.image));
    section("partitions", changes(&difference.partitions));
    section("boot", changes(&difference.boot));
    let words = difference.command_lines.iter().map(|line| {
        let words = |sign: char, words: &[String]| {
            words.iter().map(|word| format!(" {sign}{word}")).collect::<String>()
        };
        format!("~ {}:{}{}", line.profile, words('-', &line.removed), words('+', &line.added))
    });
    section("command lines", words.collect());
    let packages = difference.packages.iter().map(|package| {
        let (name, arch) = (&package.name, &package.architecture);
        match (&package.before, &package.after) {
            (None, Some(after)) => format!("+ {name} {arch} {after}"),
            (Some(before), None) => format!("- {name} {arch} {before}"),
            (before, after) => {
                let version = |version: &Option<String>| version.clone().unwrap_or_default();
                let way = package.direction.name();
                format!("~ {name} {arch} {} -> {} ({way})", version(before), version(after))
            }
        }
    });
    section("packages", packages.collect());
    section("units", changes(&difference.units));
    section("users", changes(&difference.users));
    section("groups", changes(&difference.groups));
    section("privileged files", changes(&difference.privileged));
    section("licences", changes(&difference.licences));
    let sizes = difference.sizes.iter().map(|size| {
        let name = size.package.as_deref().unwrap_or("files of no package");
        format!(
            "{:>10}  {name}: {} -> {}",
            change(size.before, size.after),
            shown(size.before),
            shown(size.after)
        )
    });
    section("sizes", sizes.collect());
    section("files", difference.files.iter().map(file).collect());
    if lines.is_empty() {
        return "other bytes, but nothing that is looked at differs\n".to_owned();
    }
    lines.push(summary(difference));
    lines.join("\n") + "\n"
}

/// How much differs, in one line.
pub(super) fn summary(difference: &Difference) -> String {
    let (mut added, mut removed, mut changed) = (0, 0, 0);
    for file in &difference.files {
        match (&file.before, &file.after) {
            (None, _) => added += 1,
            (_, None) => removed += 1,
            _ => changed += 1,
        }
    }
    format!(
        "packages: {} differ; files: {added} added, {removed} removed, {changed} changed",
        difference.packages.len()
    )
}

fn changes(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| match (&change.before, &change.after) {
        (None, after) => format!("+ {}: {}", change.what, after.as_deref().unwrap_or_default()),
        (Some(before), None) => format!("- {}: {before}", change.what),
        (Some(before), Some(after)) => format!("~ {}: {before} -> {after}", change.what),
    };
    changes.iter().map(|change| line(change).trim_end().to_owned()).collect()
}

fn file(file: &FileChange) -> String {
    let package = file.package().map_or_else(String::new, |package| format!("  [{package}]"));
    let what = match (&file.before, &file.after) {
        (None, _) => format!("+ {}", file.path),
        (_, None) => format!("- {}", file.path),
        (Some(_), Some(_)) => format!("~ {}: {}", file.path, told(file)),
    };
    format!("{what}{package}")
}

/// What of an entry differs, with what is short enough to be told.
pub(super) fn told(file: &FileChange) -> String {
    let (Some(before), Some(after)) = (&file.before, &file.after) else { return String::new() };
    let parts = file.changed.iter().map(|what| match *what {
        "mode" => format!("mode {:04o} -> {:04o}", before.mode, after.mode),
        "owner" => format!("owner {}:{} -> {}:{}", before.uid, before.gid, after.uid, after.gid),
        "target" => match (&before.kind, &after.kind) {
            (EntryKind::Symlink { target }, EntryKind::Symlink { target: other }) => {
                format!("target {target} -> {other}")
            }
            _ => "target".to_owned(),
        },
        "content" => match (&before.kind, &after.kind) {
            (EntryKind::File { size, .. }, EntryKind::File { size: other, .. }) if size != other => {
                format!("content ({})", change(*size, *other))
            }
            _ => "content".to_owned(),
        },
        "kind" => format!("{} -> {}", kind(&before.kind), kind(&after.kind)),
        other => other.to_owned(),
    });
    parts.collect::<Vec<_>>().join(", ")
}

const fn kind(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::Directory => "directory",
        EntryKind::File { .. } => "file",
        EntryKind::Symlink { .. } => "link",
        EntryKind::Special { .. } => "special file",
    }
}
