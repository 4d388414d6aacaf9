//! A difference as Markdown for pull requests: what matters as short tables, what is long folded.

use super::text::{summary, told};
use super::{Change, Difference};
use crate::inspection::{cell, change, details, shown, table};

/// Files that are named: what is longer is for the other forms.
const FILES: usize = 500;

/// Packages whose sizes are named.
const SIZES: usize = 25;

/// A difference as Markdown.
#[must_use]
pub fn markdown(difference: &Difference) -> String {
    if difference.same_bytes {
        return "### The images are the same bytes\n".to_owned();
    }
    let mut text = format!("### {}\n\n", cell(&summary(difference)));
    let packages = table(
        &["package", "", "before", "after"],
        difference.packages.iter().map(|package| {
            vec![
                package.name.clone(),
                package.direction.name().to_owned(),
                package.before.clone().unwrap_or_default(),
                package.after.clone().unwrap_or_default(),
            ]
        }),
    );
    text.push_str(&packages);
    let words = |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
    text.push_str(&table(
        &["command line of", "gone", "new"],
        difference
            .command_lines
            .iter()
            .map(|line| vec![line.profile.clone(), words(&line.removed), words(&line.added)]),
    ));
    for (name, list) in [
        ("unit", &difference.units),
        ("user", &difference.users),
        ("group", &difference.groups),
        ("privileged file", &difference.privileged),
    ] {
        text.push_str(&rows(name, list));
    }
    let sizes = difference.sizes.iter().take(SIZES).map(|size| {
        let name = size.package.as_deref().unwrap_or("files of no package").to_owned();
        vec![name, shown(size.before), shown(size.after), change(size.before, size.after)]
    });
    for (line, table) in [
        ("Sizes", table(&["package", "before", "after", "change"], sizes)),
        (
            "Image and partitions",
            format!("{}{}", rows("image", &difference.image), rows("partition", &difference.partitions)),
        ),
        ("Boot", rows("boot", &difference.boot)),
        ("Licences", rows("licence", &difference.licences)),
    ] {
        if !table.is_empty() {
            text.push_str(&details(line, &table));
        }
    }
    if !difference.files.is_empty() {
        let files = difference.files.iter().take(FILES).map(|file| {
            let what = match (&file.before, &file.after) {
                (None, _) => "added".to_owned(),
                (_, None) => "removed".to_owned(),
                _ => told(file),
            };
            vec![format!("`{}`", file.path), what, file.package().unwrap_or_default().to_owned()]
        });
        let mut table = table(&["file", "", "package"], files);
        if let Some(more) = difference.files.len().checked_sub(FILES).filter(|more| *more > 0) {
            table.push_str(&format!("and {more} more\n"));
        }
        text.push_str(&details(&format!("{} files", difference.files.len()), &table));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn rows(name: &str, changes: &[Change]) -> String {
    let cells = changes.iter().map(|change| {
        let value = |value: &Option<String>| value.clone().unwrap_or_default();
        vec![change.what.clone(), value(&change.before), value(&change.after)]
    });
    table(&[name, "before", "after"], cells)
}
