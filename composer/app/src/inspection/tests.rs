//! The three forms of a small image, as files: a change of any shows there.

use uuid::Uuid;

use super::*;

fn digest(of: &str) -> Sha256Digest {
    Sha256Digest::of(of.as_bytes())
}

/// A small image of everything that there can be.
pub(crate) fn small() -> Inspection {
    let partition = |number: u32, role, label: &str, offset: u64, content| Partition {
        number,
        role,
        label: label.to_owned(),
        type_guid: Uuid::from_u128(u128::from(number)),
        guid: Uuid::from_u128(0x100 + u128::from(number)),
        offset,
        size: 64 << 20,
        in_mbr: false,
        content,
    };
    let system = FileSystem {
        kind: "vfat",
        label: Some("GONI-ESP".to_owned()),
        uuid: Some("0000-0007".to_owned()),
        used: 1_500_000,
    };
    let root =
        FileSystem { kind: "erofs", label: None, uuid: Some(Uuid::from_u128(9).to_string()), used: 40 << 20 };
    let package = |name: &str, version: &str, size: u64| Package {
        name: name.to_owned(),
        architecture: "amd64".to_owned(),
        version: version.to_owned(),
        installed_size: size + 1024,
        size,
        files: 3,
    };
    let unit = |name: &str, state, by: &[&str]| Unit {
        name: name.to_owned(),
        state,
        wanted_by: by.iter().map(|by| (*by).to_owned()).collect(),
    };
    Inspection {
        schema: SCHEMA,
        format: "raw",
        arch: Some(Arch::Amd64),
        target: Some("qemu-x86_64".to_owned()),
        system: Some("goni 0.1.0 (Debian <trixie>)".to_owned()),
        disk_size: 130 << 20,
        sector_size: 512,
        disk_guid: Uuid::from_u128(5),
        partitions: vec![
            partition(1, Some(Role::Esp), "goni-esp", 1 << 20, Some(system)),
            partition(2, Some(Role::Root), "goni-root", 65 << 20, Some(root)),
            partition(3, None, "other", 129 << 20, None),
        ],
        boot: Boot {
            method: "systemd-boot",
            kernel_image: Some("EFI/Linux/goni_0.1.0.efi".to_owned()),
            kernel_release: Some("6.12.0-test".to_owned()),
            root_hash: Some(RootHash::new([0xAB; 32])),
            profiles: vec![
                Profile { id: "main".to_owned(), title: None, command_line: "ro quiet".to_owned() },
                Profile {
                    id: "factory-reset".to_owned(),
                    title: Some("Factory reset".to_owned()),
                    command_line: "ro quiet goni.factory-reset".to_owned(),
                },
            ],
            sections: vec![
                Section { profile: None, name: ".linux".to_owned(), size: 14 << 20, sha256: digest("linux") },
                Section {
                    profile: Some("factory-reset".to_owned()),
                    name: ".cmdline".to_owned(),
                    size: 27,
                    sha256: digest("cmdline"),
                },
            ],
            files: vec![BootFile {
                partition: Role::Esp,
                path: "loader/loader.conf".to_owned(),
                size: 20,
                sha256: digest("conf"),
            }],
        },
        tree: Tree {
            files: 4,
            directories: 20,
            symlinks: 3,
            size: 50_000_000,
            unlisted_files: 1,
            unlisted_size: 1000,
        },
        packages: vec![package("base-files", "13.8", 70_000), package("libc6", "2.41-12", 13_000_000)],
        units: vec![
            unit("goni-http.service", UnitState::Enabled, &["multi-user.target"]),
            unit("systemd-journald.service", UnitState::Static, &["sysinit.target"]),
            unit("tmp.mount", UnitState::Masked, &[]),
        ],
        users: vec![User {
            name: "goni".to_owned(),
            uid: 700,
            gid: 700,
            home: "/var/lib/goni".to_owned(),
            shell: "/usr/sbin/nologin".to_owned(),
        }],
        groups: vec![
            Group { name: "goni".to_owned(), gid: 700, members: Vec::new() },
            Group { name: "render".to_owned(), gid: 105, members: vec!["goni".to_owned()] },
        ],
        privileged: vec![Privileged {
            path: "/usr/bin/su".to_owned(),
            mode: 0o4755,
            uid: 0,
            gid: 0,
            capabilities: false,
        }],
        licences: Licences {
            named: [("GPL-2+ | or not".to_owned(), vec!["base-files".to_owned()])].into(),
            prose: vec!["libc6".to_owned()],
            missing: Vec::new(),
        },
    }
}

#[test]
fn the_forms_of_an_inspection_are_these() {
    let image = small();
    let forms = [
        ("text", text(&image), include_str!("golden/small.txt")),
        ("json", json(&image), include_str!("golden/small.json")),
        ("markdown", markdown(&image), include_str!("golden/small.md")),
    ];
    let other = forms.iter().filter(|(_, found, expected)| found != expected);
    let other: Vec<String> = other.map(|(form, found, _)| format!("{form} is now\n{found}")).collect();
    assert!(other.is_empty(), "{}", other.join(""));
}

#[test]
fn what_ends_a_cell_or_is_a_tag_is_escaped() {
    assert_eq!(cell("a|b\n<script>&"), "a\\|b &lt;script>&amp;");
    assert_eq!(table(&["one"], std::iter::empty()), "");
}
