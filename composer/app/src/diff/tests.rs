//! Differences of values: what each kind of change is told as, and the three forms as files.

use goni_model::digest::Sha256Digest;
use uuid::Uuid;

use super::*;
use crate::inspection::json;
use crate::inspection::tests::small;

fn entry(kind: EntryKind) -> Entry {
    Entry {
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        xattrs: BTreeMap::new(),
        package: Some("base-files".to_owned()),
    }
}

fn file(content: &str) -> Entry {
    entry(EntryKind::File {
        size: u64::try_from(content.len()).unwrap(),
        sha256: Some(Sha256Digest::of(content.as_bytes())),
    })
}

fn side(entries: &[(&str, Entry)]) -> Side {
    Side {
        inspection: small(),
        entries: entries.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone())).collect(),
        same: BTreeSet::new(),
    }
}

/// What differs, each with what of it.
fn told(before: &[(&str, Entry)], after: &[(&str, Entry)]) -> Vec<String> {
    let difference = Difference::between(&side(before), &side(after));
    let line = |change: &FileChange| format!("{} {}", change.path, change.changed.join("+"));
    difference.files.iter().map(line).collect()
}

#[test]
fn equal_sides_differ_in_nothing_but_their_bytes() {
    let mut one = side(&[("/a", file("x"))]);
    one.same = [Role::Esp, Role::Root].into();
    let difference = Difference::between(&one, &one.clone());
    assert_eq!(difference, Difference { same_bytes: false, ..Difference::none() });
    assert_eq!(text(&difference), "other bytes, but nothing that is looked at differs\n");
    assert_eq!(text(&Difference::none()), "the same bytes\n");
    assert_eq!(markdown(&Difference::none()), "### The images are the same bytes\n");
}

#[test]
fn each_kind_of_change_of_a_file_is_told() {
    let base = file("x");
    let attribute = [("security.capability".to_owned(), "\\x01".to_owned())];
    let cases = [
        (file("y"), "content"),
        (Entry { mode: 0o755, ..base.clone() }, "mode"),
        (Entry { uid: 7, ..base.clone() }, "owner"),
        (Entry { gid: 7, ..base.clone() }, "owner"),
        (Entry { xattrs: attribute.into(), ..base.clone() }, "xattrs"),
        (entry(EntryKind::Directory), "kind"),
        (Entry { mode: 0o4755, ..file("longer") }, "content+mode"),
    ];
    for (changed, what) in cases {
        assert_eq!(told(&[("/a", base.clone())], &[("/a", changed)]), [format!("/a {what}")]);
    }
    let link = |target: &str| entry(EntryKind::Symlink { target: target.to_owned() });
    assert_eq!(told(&[("/a", link("b"))], &[("/a", link("c"))]), ["/a target"]);
    let device = |minor| entry(EntryKind::Special { device: Some((1, minor)) });
    assert_eq!(told(&[("/a", device(3))], &[("/a", device(5))]), ["/a device"]);
    assert_eq!(told(&[("/a", base.clone())], &[("/b", base)]), ["/a ", "/b "]);
}

#[test]
fn another_package_that_lists_a_file_is_no_change_of_it() {
    let other = Entry { package: None, ..file("x") };
    assert_eq!(told(&[("/a", file("x"))], &[("/a", other)]), Vec::<String>::new());
}

#[test]
fn versions_go_up_and_down_as_debian_counts_them() {
    let versions = |version: &str| {
        let mut side = side(&[]);
        side.inspection.packages[0].version = version.to_owned();
        side
    };
    for (before, after, direction) in [
        ("1.9", "1.10", Direction::Upgraded),
        ("1.0", "1.0~rc1", Direction::Downgraded),
        ("2.0", "1:1.0", Direction::Upgraded),
        ("1.0", "1.00", Direction::Changed),
        ("1.0", "", Direction::Changed),
    ] {
        let difference = Difference::between(&versions(before), &versions(after));
        assert_eq!(difference.packages[0].direction, direction, "{before} to {after}");
        assert_eq!(difference.packages.len(), 1);
    }
}

#[test]
fn words_of_a_command_line_are_told_once_for_each_time() {
    let line = |line: &str| {
        let mut side = side(&[]);
        side.inspection.boot.profiles[0].command_line = line.to_owned();
        side
    };
    let words = |before: &str, after: &str| {
        let difference = Difference::between(&line(before), &line(after));
        let [change] = &difference.command_lines[..] else { panic!("one line differs") };
        (change.removed.join(" "), change.added.join(" "))
    };
    assert_eq!(words("ro quiet a=1", "ro a=2 quiet"), ("a=1".into(), "a=2".into()));
    assert_eq!(words("ro ro", "ro"), ("ro".into(), String::new()));
    assert_eq!(words("a b", "b a"), ("a b".into(), "b a".into()));
}

/// An image, and the same with one change of every kind.
fn changed() -> (Side, Side) {
    let before = side(&[("/etc/a", file("x")), ("/usr/bin/old", file("x")), ("/usr/lib/x", file("x"))]);
    let mut after = side(&[
        ("/etc/a", file("longer")),
        ("/usr/bin/new|er", Entry { package: None, ..file("x") }),
        ("/usr/lib/x", Entry { mode: 0o4755, ..file("x") }),
    ]);
    after.same.insert(Role::Esp);
    let image = &mut after.inspection;
    image.system = Some("goni 0.2.0".to_owned());
    image.partitions[1].guid = Uuid::from_u128(77);
    image.boot.kernel_release = Some("6.13.0".to_owned());
    image.boot.profiles[0].command_line = "ro loglevel=3".to_owned();
    image.packages[1].version = "2.41-13".to_owned();
    image.packages[1].size += 5000;
    let mut added = image.packages[0].clone();
    added.name = "zsh".to_owned();
    image.packages.push(added);
    image.units.remove(2);
    image.users[0].shell = "/bin/sh".to_owned();
    image.groups[1].members.clear();
    image.privileged[0].mode = 0o6755;
    image.licences.prose.push("zsh".to_owned());
    image.tree.unlisted_size = 3000;
    (before, after)
}

#[test]
fn the_forms_of_a_difference_are_these() {
    let (before, after) = changed();
    let difference = Difference::between(&before, &after);
    let forms = [
        ("text", text(&difference), include_str!("golden/small.txt")),
        ("json", json(&difference), include_str!("golden/small.json")),
        ("markdown", markdown(&difference), include_str!("golden/small.md")),
    ];
    let other = forms.iter().filter(|(_, found, expected)| found != expected);
    let other: Vec<String> = other.map(|(form, found, _)| format!("{form} is now\n{found}")).collect();
    assert!(other.is_empty(), "{}", other.join(""));
}
