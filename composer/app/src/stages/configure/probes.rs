//! Which maintainer scripts look at the machine that they run on.
//!
//! Where an image is made there is no board. A script that looks for one finds no device tree, no devices, and
//! the markers that the target has laid; what it makes of that is its own affair, so it is told which scripts look,
//! and at what. They are read, not traced: a line counts whether or not it was reached, and what a program does that
//! a script starts is not seen.
//!
//! Source: Debian Policy §6.5 and §6.6 for which scripts an installation runs, debconf-devel(7) for `config`.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::sync::LazyLock;

use goni_disk::tree::{ContentSource, FileTree, Kind, TreePath};
use goni_model::name::ImagePath;
use regex::bytes::Regex;
use serde::Serialize;

use crate::host::walk::Directory;

/// Where dpkg keeps the scripts.
const SCRIPTS: &str = "var/lib/dpkg/info";

/// The scripts that run while an image is made.
const KINDS: [&str; 3] = ["config", "postinst", "preinst"];

/// As much of a script as is read: no script that a person wrote is longer.
const READ: u64 = 1 << 20;

/// What tells one machine from another: files of the kernel's, and of NVIDIA's boards; programs that list
/// devices; `uname`, unless it is asked for what the image's architecture answers.
static TELLING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x-u)
        (?: /proc/ (?: cmdline | cpuinfo | device-tree | version | sys/kernel/ (?: osrelease | version ) )
          | /sys/ (?: bus/ (?: pci | usb ) | class/dmi | devices/ (?: soc0 | virtual/dmi ) | firmware )
          | /etc/nv_ (?: boot_control | tegra_release )
          | /opt/nvidia/l4t-packages
        ) \b [\w./*-]*
        | \b (?: dmidecode | lscpu | lshw | lspci | lsusb | systemd-detect-virt ) \b
        | \b uname (?: \ + -[\w-]+ )*? \ + - (?: [a-z]*[arv][a-z]* | -all | -kernel-release | -kernel-version ) \b",
    )
    .expect("the pattern is a constant, and a test uses it")
});

/// A script that looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Probe {
    /// Its package.
    pub package: String,
    /// `config`, `postinst` or `preinst`.
    pub script: String,
    /// What it looks at, as it says it; sorted.
    pub looks_at: BTreeSet<String>,
}

/// The scripts of a tree that look, in the order of their packages.
pub(crate) fn of(
    tree: &FileTree,
    contents: &dyn ContentSource,
    markers: &[ImagePath],
) -> io::Result<Vec<Probe>> {
    let Ok(place) = TreePath::parse(SCRIPTS.as_bytes()) else { return Ok(Vec::new()) };
    let mut probes = Vec::new();
    for (path, entry) in tree.children(&place) {
        let (Some((package, script)), Kind::File(content)) = (script(path), &tree.inode(entry.inode).kind)
        else {
            continue;
        };
        let mut text = Vec::new();
        content.open(contents)?.take(READ).read_to_end(&mut text)?;
        let looks_at = looks_at(&text, markers);
        if !looks_at.is_empty() {
            probes.push(Probe { package, script, looks_at });
        }
    }
    probes.sort();
    Ok(probes)
}

/// What a script looks at, of a tree whose scripts run at this very moment.
pub(super) fn of_script(tree: &Directory, package: &str, script: &str) -> BTreeSet<String> {
    let names = tree.names(SCRIPTS).unwrap_or_default();
    let is_meant = |name: &&str| {
        let instance = name.strip_suffix(script).and_then(|name| name.strip_suffix('.'));
        instance.is_some_and(|it| it == package || it.split_once(':').is_some_and(|(it, _)| it == package))
    };
    let found = names.iter().filter_map(|name| name.to_str()).find(is_meant);
    let text = found.and_then(|name| tree.read(&format!("{SCRIPTS}/{name}")).ok());
    looks_at(&text.unwrap_or_default(), &[])
}

/// Package and kind of a script.
fn script(path: &TreePath) -> Option<(String, String)> {
    let path = str::from_utf8(path.as_bytes()).ok()?;
    let (instance, kind) = path.rsplit_once('/')?.1.rsplit_once('.')?;
    let package = instance.split(':').next().unwrap_or(instance);
    KINDS.contains(&kind).then(|| (package.to_owned(), kind.to_owned()))
}

/// What the lines of a script name, but for its comments.
fn looks_at(text: &[u8], markers: &[ImagePath]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.split(|byte| *byte == b'\n') {
        if line.trim_ascii_start().starts_with(b"#") {
            continue;
        }
        for said in TELLING.find_iter(line) {
            let said = String::from_utf8_lossy(said.as_bytes());
            found.insert(said.trim_end_matches(['.', '/']).to_owned());
        }
        let named = |marker: &&ImagePath| memchr::memmem::find(line, marker.as_str().as_bytes()).is_some();
        found.extend(markers.iter().filter(named).map(ToString::to_string));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use goni_disk::tree::{Content, Inode, Metadata, NoContent, Owner};
    use goni_model::time::Timestamp;

    use super::*;

    #[test]
    fn scripts_that_run_are_listed_for_what_their_lines_say() {
        let date = Timestamp::from_seconds(0);
        let metadata = |mode| Metadata { mode, uid: 0, gid: 0, mtime: date, xattrs: BTreeMap::new() };
        let owner = || Owner::Stage("test".into());
        let mut tree = FileTree::new(metadata(0o755), owner());
        for folder in ["var", "var/lib", "var/lib/dpkg", SCRIPTS] {
            let path = TreePath::parse(folder.as_bytes()).unwrap();
            tree.insert(path, Inode { metadata: metadata(0o755), kind: Kind::Directory }, owner()).unwrap();
        }
        for (name, text) in [
            (
                "l4t-core.preinst",
                "[ ! -e /srv/marker ] || exit 0\ngrep -q tegra /proc/device-tree/compatible\n",
            ),
            ("libc6:arm64.postinst", "kernel=`uname -r`\n"),
            ("quiet.postinst", "# not /proc/cpuinfo\n\t# nor lspci\nexit 0\n"),
            ("quiet.list", "/proc/cpuinfo\n"),
            ("quiet.prerm", "lspci\n"),
        ] {
            let path = TreePath::parse(format!("{SCRIPTS}/{name}").as_bytes()).unwrap();
            let kind = Kind::File(Content::inline(text.as_bytes()));
            tree.insert(path, Inode { metadata: metadata(0o755), kind }, owner()).unwrap();
        }
        let probe = |package: &str, script: &str, looks_at: &[&str]| Probe {
            package: package.to_owned(),
            script: script.to_owned(),
            looks_at: looks_at.iter().map(|place| (*place).to_owned()).collect(),
        };
        assert_eq!(
            of(&tree, &NoContent, &["/srv/marker".parse().unwrap()]).unwrap(),
            [
                probe("l4t-core", "preinst", &["/proc/device-tree/compatible", "/srv/marker"]),
                probe("libc6", "postinst", &["uname -r"]),
            ]
        );
    }

    #[test]
    fn what_tells_machines_apart_is_named_as_the_line_has_it() {
        for (line, expected) in [
            ("case \"$(tr -d '\\0' < /proc/device-tree/model)\" in", "/proc/device-tree/model"),
            ("for node in /sys/firmware/devicetree/base/cpus/*; do", "/sys/firmware/devicetree/base/cpus/*"),
            ("if [ -d /sys/firmware/efi/ ]; then", "/sys/firmware/efi"),
            ("grep -q quiet </proc/cmdline", "/proc/cmdline"),
            ("cat /sys/class/dmi/id/product_name", "/sys/class/dmi/id/product_name"),
            ("read soc < /sys/devices/soc0/soc_id", "/sys/devices/soc0/soc_id"),
            ("gpu=$(/usr/bin/lspci -mn)", "lspci"),
            ("release=$(uname --kernel-release)", "uname --kernel-release"),
            ("set -- $(uname -a)", "uname -a"),
            ("set -- $(uname -m -sr)", "uname -m -sr"),
            (". /etc/nv_tegra_release", "/etc/nv_tegra_release"),
            ("touch /opt/nvidia/l4t-packages/.nv-l4t-disable", "/opt/nvidia/l4t-packages/.nv-l4t-disable"),
        ] {
            assert_eq!(looks_at(line.as_bytes(), &[]), BTreeSet::from([expected.to_owned()]), "{line}");
        }
        for line in [
            "uname",
            "uname -m",
            "uname --machine",
            "uname -s | grep -r x",
            "alspci",
            "/proc/versions",
            "nlscpus",
        ] {
            assert_eq!(looks_at(line.as_bytes(), &[]), BTreeSet::new(), "{line}");
        }
    }
}
