//! An inspection as lines for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Inspection, UnitState, shown};

/// Packages that are named with their sizes.
const LARGEST: usize = 25;

/// An inspection as lines for people: everything of the disk and of what boots, the largest packages, and
/// how much there is of the rest.
#[must_use]
pub fn text(image: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |indent: usize, words: &str| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{:indent$}{words}", "");
    };
    let known = |value: Option<&str>| value.unwrap_or("not known").to_owned();
    line(0, &format!("system      {}", known(image.system.as_deref())));
    line(
        0,
        &format!(
            "for         {}, {}",
            known(image.target.as_deref()),
            known(image.arch.map(|arch| arch.to_string()).as_deref())
        ),
    );
    line(
        0,
        &format!(
            "disk        {} ({} bytes), {}, sectors of {} bytes, {}",
            shown(image.disk_size),
            image.disk_size,
            image.format,
            image.sector_size,
            image.disk_guid
        ),
    );
    line(0, "partitions");
    for partition in &image.partitions {
        let content = partition.content.as_ref().map_or_else(String::new, |content| {
            let named = [content.label.as_deref(), content.uuid.as_deref()];
            let named = named.into_iter().flatten().collect::<Vec<_>>().join(" ");
            format!("{} {} used {named}", content.kind, shown(content.used))
        });
        let (number, name, size) = (partition.number, partition.name(), shown(partition.size));
        let (offset, guid) = (partition.offset, partition.guid);
        let content = if partition.in_mbr { format!("{content}, in the MBR, too") } else { content };
        line(2, format!("{number} {name:<11} {size:>10} at {offset:>12}  {guid}  {content}").trim_end());
    }
    line(0, &format!("boot        {}", image.boot.method));
    line(
        2,
        &format!(
            "kernel    {} in {}",
            known(image.boot.kernel_release.as_deref()),
            known(image.boot.kernel_image.as_deref())
        ),
    );
    if let Some(hash) = image.boot.root_hash {
        line(2, &format!("root hash {hash}"));
    }
    for profile in &image.boot.profiles {
        line(2, &format!("profile   {}", profile.id));
        line(4, &profile.command_line);
    }
    for section in &image.boot.sections {
        let of = section.profile.as_ref().map_or_else(String::new, |profile| format!("  of {profile}"));
        line(
            2,
            &format!("section   {:<9} {:>10}  {}{of}", section.name, shown(section.size), section.sha256),
        );
    }
    for file in &image.boot.files {
        line(
            2,
            &format!(
                "file      {}:/{}  {}  {}",
                file.partition.name(),
                file.path,
                shown(file.size),
                file.sha256
            ),
        );
    }
    let tree = &image.tree;
    line(
        0,
        &format!(
            "root        {} files, {} directories, {} links; {} before compression, {} of it in {} files that no package lists",
            tree.files,
            tree.directories,
            tree.symlinks,
            shown(tree.size),
            shown(tree.unlisted_size),
            tree.unlisted_files
        ),
    );
    line(0, &format!("packages    {}", image.packages.len()));
    let mut largest: Vec<_> = image.packages.iter().collect();
    largest.sort_by_key(|package| (std::cmp::Reverse(package.size), &package.name));
    for package in largest.iter().take(LARGEST) {
        line(
            2,
            &format!(
                "{:>10}  {} {} {}",
                shown(package.size),
                package.name,
                package.version,
                package.architecture
            ),
        );
    }
    if let Some(rest) = largest.get(LARGEST..).filter(|rest| !rest.is_empty()) {
        let size = rest.iter().map(|package| package.size).sum();
        line(2, &format!("{:>10}  {} more", shown(size), rest.len()));
    }
    let mut states: BTreeMap<UnitState, Vec<&str>> = BTreeMap::new();
    for unit in &image.units {
        states.entry(unit.state).or_default().push(&unit.name);
    }
    line(0, &format!("units       {}", image.units.len()));
    for (state, names) in states {
        let named = matches!(state, UnitState::Enabled | UnitState::Masked | UnitState::Disabled);
        let names = if named { format!("  {}", names.join(" ")) } else { String::new() };
        let count = image.units.iter().filter(|unit| unit.state == state).count();
        line(2, &format!("{:<8} {count:>3}{names}", state.name()));
    }
    line(0, &format!("users       {}", image.users.len()));
    for user in &image.users {
        line(2, &format!("{:>5}  {}  {}  {}", user.uid, user.name, user.home, user.shell));
    }
    let groups: Vec<String> = image
        .groups
        .iter()
        .map(|group| {
            let members = if group.members.is_empty() {
                String::new()
            } else {
                format!(" ({})", group.members.join(", "))
            };
            format!("{}={}{members}", group.name, group.gid)
        })
        .collect();
    line(0, &format!("groups      {}", image.groups.len()));
    line(2, &groups.join(" "));
    line(0, &format!("privileged  {}", image.privileged.len()));
    for file in &image.privileged {
        let capabilities = if file.capabilities { "  capabilities" } else { "" };
        line(2, &format!("{:04o} {}:{}  {}{capabilities}", file.mode, file.uid, file.gid, file.path));
    }
    let licences = &image.licences;
    line(
        0,
        &format!(
            "licences    {} named; not known of packages: {} whose copyright file is prose, {} without one",
            licences.named.len(),
            licences.prose.len(),
            licences.missing.len()
        ),
    );
    for (licence, packages) in &licences.named {
        let word = if packages.len() == 1 { "package" } else { "packages" };
        line(2, &format!("{licence}: {} {word}", packages.len()));
    }
    text
}
