//! The difference of two locks, for a terminal and for a pull request.

use goni_debian::release::iso;
use goni_model::lock::diff::{LockDiff, PackageDiff, PackageList, PackageSide};

/// As lines.
pub(super) fn text(diff: &LockDiff) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    };
    section("lock", heads(diff));
    section("suites", suites(diff));
    for (list, title) in LISTS {
        let of_list = || diff.packages.iter().filter(move |package| package.list == list);
        let mut lines: Vec<String> = of_list().map(line).collect();
        if !lines.is_empty() {
            lines.push(sum(of_list()));
        }
        section(title, lines);
    }
    section("inputs", diff.inputs.iter().map(ToString::to_string).collect());
    section("ids", ids(diff));
    match text.is_empty() {
        true => "no difference\n".to_owned(),
        false => text,
    }
}

/// As Markdown.
pub(super) fn markdown(diff: &LockDiff) -> String {
    let mut text = String::new();
    let mut list = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("### {title}\n\n"));
            lines.iter().for_each(|line| text.push_str(&format!("- {line}\n")));
            text.push('\n');
        }
    };
    list("Lock", heads(diff));
    list("Suites", suites(diff));
    list("Inputs", diff.inputs.iter().map(ToString::to_string).collect());
    list("Ids", ids(diff));
    for (list, title) in LISTS {
        let of_list = || diff.packages.iter().filter(move |package| package.list == list);
        if of_list().next().is_none() {
            continue;
        }
        text.push_str(&format!("### {}\n\n", capital(title)));
        text.push_str("| package | was | is | bytes | origin | changelog |\n|---|---|---|---|---|---|\n");
        for package in of_list() {
            let version =
                |side: &Option<PackageSide>| side.as_ref().map_or("", |it| it.version.as_str()).to_owned();
            text.push_str(&format!(
                "| `{}` | {} | {} | {} | {} | {} |\n",
                package.name,
                version(&package.old),
                version(&package.new),
                growth(package),
                origin(package),
                changes(package)
            ));
        }
        text.push_str(&format!("\n{}\n\n", sum(of_list())));
    }
    match text.is_empty() {
        true => "No difference.\n".to_owned(),
        false => text,
    }
}

const LISTS: [(PackageList, &str); 3] = [
    (PackageList::Packages, "packages"),
    (PackageList::Build, "packages that kernel modules are built with"),
    (PackageList::Twins, "twins"),
];

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn heads(diff: &LockDiff) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, pair) in [("recipe", &diff.recipe), ("architecture", &diff.arch)] {
        if !pair.is_same() {
            lines.push(format!("{key} {} -> {}", pair.old, pair.new));
        }
    }
    if !diff.source_date.is_same() {
        lines.push(format!("date {} -> {}", date(diff.source_date.old), date(diff.source_date.new)));
    }
    lines
}

fn date(seconds: u64) -> String {
    i64::try_from(seconds).map(iso).unwrap_or_default()
}

fn suites(diff: &LockDiff) -> Vec<String> {
    let shown = |seconds: Option<u64>| seconds.map_or_else(|| "none".to_owned(), date);
    let line = |it: &goni_model::lock::diff::SuiteDiff| {
        format!("{} {} {} -> {}", it.archive, it.suite, shown(it.date.old), shown(it.date.new))
    };
    diff.suites.iter().map(line).collect()
}

fn ids(diff: &LockDiff) -> Vec<String> {
    let shown = |id: Option<u32>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    diff.ids
        .iter()
        .map(|it| format!("{} `{}` {} -> {}", it.kind, it.name, shown(it.id.old), shown(it.id.new)))
        .collect()
}

fn line(package: &PackageDiff) -> String {
    let name = &package.name;
    let mut line = match (&package.old, &package.new) {
        (Some(old), Some(new)) => {
            format!("{name} {} -> {}, {}, {}", old.version, new.version, growth(package), origin(package))
        }
        (None, Some(new)) => format!("+ {name} {}, {}, {}", new.version, growth(package), new.origin),
        (Some(old), None) => format!("- {name} {}, {}, {}", old.version, growth(package), old.origin),
        (None, None) => name.clone(),
    };
    let changes = changes(package);
    if !changes.is_empty() {
        line.push_str(&format!(" ({changes})"));
    }
    line
}

fn growth(package: &PackageDiff) -> String {
    let size = |side: &Option<PackageSide>| side.as_ref().map_or(0, |side| side.size);
    signed(size(&package.old), size(&package.new))
}

/// How much something grew, in bytes.
fn signed(old: u64, new: u64) -> String {
    match new.checked_sub(old) {
        Some(more) => format!("+{more} bytes"),
        None => format!("-{} bytes", old.saturating_sub(new)),
    }
}

fn origin(package: &PackageDiff) -> String {
    match (&package.old, &package.new) {
        (Some(old), Some(new)) if old.origin != new.origin => format!("{} -> {}", old.origin, new.origin),
        (_, Some(side)) | (Some(side), None) => side.origin.clone(),
        (None, None) => String::new(),
    }
}

/// What the changelog says; where nobody has it, the source package and the versions between.
fn changes(package: &PackageDiff) -> String {
    let (Some(old), Some(new)) = (&package.old, &package.new) else { return String::new() };
    if package.changes.is_empty() {
        return format!("source {}, {} to {}", package.source, old.version, new.version);
    }
    let entry = |it: &goni_model::lock::diff::ChangelogEntry| {
        let cves = if it.cves.is_empty() { String::new() } else { format!(": {}", it.cves.join(", ")) };
        format!("{} {}{cves}", it.version, it.urgency)
    };
    package.changes.iter().map(entry).collect::<Vec<_>>().join("; ")
}

fn sum<'a>(packages: impl Iterator<Item = &'a PackageDiff>) -> String {
    let (mut changed, mut added, mut removed, mut old, mut new) = (0_usize, 0_usize, 0_usize, 0_u64, 0_u64);
    for package in packages {
        match (&package.old, &package.new) {
            (Some(_), Some(_)) => changed = changed.saturating_add(1),
            (None, _) => added = added.saturating_add(1),
            (Some(_), None) => removed = removed.saturating_add(1),
        }
        old = old.saturating_add(package.old.as_ref().map_or(0, |side| side.size));
        new = new.saturating_add(package.new.as_ref().map_or(0, |side| side.size));
    }
    format!("{changed} changed, {added} added, {removed} removed, {}", signed(old, new))
}

#[cfg(test)]
mod tests {
    use goni_model::digest::Sha256Digest;
    use goni_model::lock::diff::{ChangelogEntry, Pair};

    use super::*;

    fn side(version: &str, origin: &str, size: u64) -> Option<PackageSide> {
        let (version, origin) = (version.to_owned(), origin.to_owned());
        let sha256 = Sha256Digest::of(version.as_bytes());
        Some(PackageSide { version, arch: "amd64".to_owned(), origin, size, sha256 })
    }

    fn package(name: &str, old: Option<PackageSide>, new: Option<PackageSide>) -> PackageDiff {
        let (name, source) = (name.to_owned(), "src".to_owned());
        PackageDiff { list: PackageList::Packages, name, source, old, new, changes: Vec::new() }
    }

    fn diff() -> LockDiff {
        let same = Pair { old: "x".to_owned(), new: "x".to_owned() };
        let mut bash = package("bash", side("1", "debian", 10), side("2", "debian-security/s", 15));
        let (version, urgency) = ("2".to_owned(), "high".to_owned());
        bash.changes = vec![ChangelogEntry { version, urgency, cves: vec!["CVE-2026-0001".to_owned()] }];
        LockDiff {
            recipe: same.clone(),
            arch: same,
            source_date: Pair { old: 0, new: 86_400 },
            suites: Vec::new(),
            packages: vec![
                bash,
                package("libc6", side("3", "debian", 30), side("4", "debian", 20)),
                package("new", None, side("1", "debian", 5)),
                package("old", side("1", "debian", 7), None),
            ],
            inputs: Vec::new(),
            ids: Vec::new(),
            bytes: Pair { old: 47, new: 40 },
        }
    }

    #[test]
    fn a_difference_is_shown_line_by_line() {
        assert_eq!(
            text(&diff()),
            "lock\n  date 1970-01-01T00:00:00Z -> 1970-01-02T00:00:00Z\npackages\n  \
             bash 1 -> 2, +5 bytes, debian -> debian-security/s (2 high: CVE-2026-0001)\n  \
             libc6 3 -> 4, -10 bytes, debian (source src, 3 to 4)\n  \
             + new 1, +5 bytes, debian\n  - old 1, -7 bytes, debian\n  \
             2 changed, 1 added, 1 removed, -7 bytes\n"
        );
    }

    #[test]
    fn a_difference_is_a_table_in_markdown() {
        let text = markdown(&diff());
        assert!(
            text.starts_with(
                "### Lock\n\n- date 1970-01-01T00:00:00Z -> 1970-01-02T00:00:00Z\n\n### Packages\n"
            ),
            "{text}"
        );
        let line = "| `bash` | 1 | 2 | +5 bytes | debian -> debian-security/s | 2 high: CVE-2026-0001 |\n";
        assert!(text.contains(line), "{text}");
    }
}
