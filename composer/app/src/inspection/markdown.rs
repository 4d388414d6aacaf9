//! An inspection as Markdown: short tables, and what is long folded.

use std::fmt::Write as _;

use super::{Inspection, UnitState, shown};

/// What a cell of a table may hold: no bar, no line break, nothing that GitHub takes for HTML.
pub(crate) fn cell(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// A table, with an empty line behind it; nothing for no rows.
pub(crate) fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rows: String =
        rows.into_iter().map(|cells| row(&cells.iter().map(|text| cell(text)).collect::<Vec<_>>())).collect();
    if rows.is_empty() {
        return rows;
    }
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    format!("{}{}{rows}\n", row(&heads), row(&vec!["---".to_owned(); heads.len()]))
}

/// What is folded behind a line.
pub(crate) fn details(line: &str, text: &str) -> String {
    format!("<details><summary>{}</summary>\n\n{}\n\n</details>\n\n", cell(line), text.trim_end())
}

/// An inspection as Markdown.
#[must_use]
pub fn markdown(image: &Inspection) -> String {
    let known = |value: Option<&str>| value.unwrap_or("not known").to_owned();
    let mut text = format!("### {}\n\n", cell(&known(image.system.as_deref())));
    let arch = image.arch.map(|arch| arch.to_string());
    text.push_str(&table(
        &["what", "value"],
        [
            ("target", format!("{}, {}", known(image.target.as_deref()), known(arch.as_deref()))),
            ("disk", format!("{}, sectors of {} bytes", shown(image.disk_size), image.sector_size)),
            ("boot", image.boot.method.to_owned()),
            ("kernel", known(image.boot.kernel_release.as_deref())),
            ("root hash", image.boot.root_hash.map_or_else(|| known(None), |hash| format!("`{hash}`"))),
            ("root", format!("{} files, {} before compression", image.tree.files, shown(image.tree.size))),
            ("packages", image.packages.len().to_string()),
            (
                "units",
                format!(
                    "{}, {} of them enabled",
                    image.units.len(),
                    image.units.iter().filter(|unit| unit.state == UnitState::Enabled).count()
                ),
            ),
            ("privileged files", image.privileged.len().to_string()),
        ]
        .map(|(what, value)| vec![what.to_owned(), value]),
    ));
    text.push_str(&table(
        &["partition", "size", "offset", "content", "used", "PARTUUID"],
        image.partitions.iter().map(|partition| {
            let content = partition.content.as_ref();
            vec![
                partition.name().to_owned(),
                shown(partition.size),
                partition.offset.to_string(),
                content.map_or_else(String::new, |content| content.kind.to_owned()),
                content.map_or_else(String::new, |content| shown(content.used)),
                format!("`{}`", partition.guid),
            ]
        }),
    ));
    let lines = image.boot.profiles.iter().fold(String::new(), |mut lines, profile| {
        // Writing to a text cannot fail.
        let _ = writeln!(lines, "**{}**\n\n```\n{}\n```\n", cell(&profile.id), profile.command_line);
        lines
    });
    if !lines.is_empty() {
        text.push_str(&details("Command lines", &lines));
    }
    let sections = table(
        &["section", "profile", "size", "SHA-256"],
        image.boot.sections.iter().map(|section| {
            let profile = section.profile.clone().unwrap_or_default();
            vec![format!("`{}`", section.name), profile, shown(section.size), format!("`{}`", section.sha256)]
        }),
    );
    folded(&mut text, "Sections of the kernel image", &sections);
    let packages = table(
        &["package", "version", "architecture", "size"],
        image.packages.iter().map(|package| {
            vec![
                package.name.clone(),
                package.version.clone(),
                package.architecture.clone(),
                shown(package.size),
            ]
        }),
    );
    folded(&mut text, &format!("{} packages", image.packages.len()), &packages);
    let units = table(
        &["unit", "state", "wanted by"],
        image.units.iter().map(|unit| {
            vec![format!("`{}`", unit.name), unit.state.name().to_owned(), unit.wanted_by.join(", ")]
        }),
    );
    folded(&mut text, &format!("{} units", image.units.len()), &units);
    let users = table(
        &["user", "number", "directory", "shell"],
        image
            .users
            .iter()
            .map(|user| vec![user.name.clone(), user.uid.to_string(), user.home.clone(), user.shell.clone()]),
    );
    folded(&mut text, &format!("{} users", image.users.len()), &users);
    let privileged = table(
        &["privileged file", "mode", "owner", "capabilities"],
        image.privileged.iter().map(|file| {
            let capabilities = if file.capabilities { "yes" } else { "" };
            vec![
                format!("`{}`", file.path),
                format!("{:04o}", file.mode),
                format!("{}:{}", file.uid, file.gid),
                capabilities.to_owned(),
            ]
        }),
    );
    folded(&mut text, &format!("{} privileged files", image.privileged.len()), &privileged);
    let licences = table(
        &["licence", "packages"],
        image.licences.named.iter().map(|(licence, packages)| vec![licence.clone(), packages.join(", ")]),
    );
    let unknown = table(
        &["licence not known", "packages"],
        [("copyright file is prose", &image.licences.prose), ("no copyright file", &image.licences.missing)]
            .into_iter()
            .filter(|(_, packages)| !packages.is_empty())
            .map(|(why, packages)| vec![why.to_owned(), packages.join(", ")]),
    );
    let line = format!("{} licences", image.licences.named.len());
    folded(&mut text, &line, &format!("{licences}{unknown}"));
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn folded(text: &mut String, line: &str, table: &str) {
    if !table.is_empty() {
        text.push_str(&details(line, table));
    }
}
