//! Names people choose: each a type whose values are all well-formed, so that no name can be a
//! path, an option, a shell word of its own or a surprise on a terminal.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::lock::archive_path_fault;

/// Why text is no name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {kind}: {rule}", text.escape_debug())]
pub struct InvalidName {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

/// Defines a name: what it is called in errors, its rule in words, and the rule.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $holds:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let holds: fn(&str) -> bool = $holds;
                match holds(text) {
                    true => Ok(Self(text.to_owned())),
                    false => Err(InvalidName { text: text.to_owned(), kind: $kind, rule: $rule }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a recipe, target, overlay, archive or payload.
    Name, "a name", "use a-z, 0-9, `.`, `_` and `-`, begin with a letter or digit, 64 at most",
    |text| text.len() <= 64 && plain(text, b"._-")
}

name! {
    /// The version of an image.
    ///
    /// At most 24 characters, so that a partition label that is to carry it, `root-verity_…`, keeps
    /// within the 36 UTF-16 units of a GPT entry. Source: UEFI 2.10 §5.3.3.
    Version, "a version", "use a-z, 0-9, `.`, `_` and `-`, begin with a letter or digit, 24 at most",
    |text| text.len() <= 24 && plain(text, b"._-")
}

name! {
    /// The name of a Debian package. Source: Debian Policy §5.6.1.
    PackageName, "a package name", "use a-z, 0-9, `+`, `-` and `.`, begin with a letter or digit, 2 at least",
    |text| (2..=128).contains(&text.len()) && plain(text, b"+-.")
}

name! {
    /// A package name in which `*` stands for any characters, none included.
    PackagePattern, "a package pattern", "write a package name, in which `*` stands for any characters",
    |text| (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.*".contains(&b))
        && !text.starts_with(['+', '-', '.'])
}

name! {
    /// The name of a suite or a component of an archive: `trixie-security`, `non-free-firmware`.
    SuiteName, "the name of a suite or component", "use letters, digits, `.`, `_`, `-`, `/`; no `..`",
    |text| (1..=64).contains(&text.len())
        && text.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
        && !text.contains("..")
}

name! {
    /// The name of a user or a group. Source: systemd, “User/Group Name Syntax”, the strict form.
    UserName, "a user or group name", "use a-z, 0-9, `_` and `-`, begin with a letter or `_`, 31 at most",
    |text| (1..=31).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

name! {
    /// The name of a systemd unit, suffix included. Source: systemd.unit(5).
    UnitName, "a unit name",
    "write the whole name with its suffix, such as `goni-http.service`",
    |text| text.len() <= 255
        && text.rsplit_once('.').is_some_and(|(stem, suffix)| !stem.is_empty() && UNIT_TYPES.contains(&suffix))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

name! {
    /// The name of a kernel module.
    ModuleName, "the name of a kernel module", "use letters, digits, `_` and `-`, without `.ko`",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        && !text.starts_with('-')
}

name! {
    /// Device nodes by the group of their driver in `/proc/devices`. Source: systemd.resource-control(5), `DeviceAllow=`.
    DeviceGroup, "a group of devices",
    "write `char-` or `block-` and a name of /proc/devices, such as `char-drm`",
    |text| text.len() <= 64
        && text.strip_prefix("char-").or(text.strip_prefix("block-")).is_some_and(|group| !group.is_empty())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

name! {
    /// What a device says of itself, so that a driver can be found for it: its file `modalias` in /sys.
    Modalias, "a modalias", "write what the device's file `modalias` in /sys says, such as `pci:v00008086d…`",
    |text| (3..=1024).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'*?[]".contains(&b))
        && text.split_once(':').is_some_and(|(bus, rest)| !bus.is_empty() && !rest.is_empty())
}

name! {
    /// A file below `/usr/lib/firmware`, in which `*` stands for any characters.
    FirmwarePattern, "a firmware file", "write a path below /usr/lib/firmware, in which `*` stands for any characters",
    |text| (1..=512).contains(&text.len())
        && !text.starts_with('/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+,/*".contains(&b))
        && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

name! {
    /// A device tree of a kernel package, or an overlay of one, below its directory of device trees.
    DeviceTree, "a device tree", "write its path below the kernel's device trees, such as `rockchip/rk3588-rock-5b.dtb`",
    |text| (5..=256).contains(&text.len())
        && (text.ends_with(".dtb") || text.ends_with(".dtbo"))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+,/".contains(&b))
        && text.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.starts_with('-'))
}

name! {
    /// A line of the Raspberry Pi's `config.txt` that sets something, and not what the build sets itself.
    ///
    /// The firmware reads 98 characters of a line; what is compared with is a key, not a beginning.
    FirmwareSetting, "a setting of the firmware",
    "write `key=value` of at most 98 characters, and none of the keys that the build writes: it names kernel, \
     initrd, command line and device trees itself",
    |text| (3..=98).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        && text.split_once('=').is_some_and(|(key, value)| {
            !value.is_empty()
                && key.starts_with(|c: char| c.is_ascii_lowercase())
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !FIRMWARE_KEYS.contains(&key)
        })
}

/// Settings that decide what boots, which the build writes.
const FIRMWARE_KEYS: [&str; 18] = [
    "arm_64bit",
    "auto_initramfs",
    "boot_partition",
    "cmdline",
    "device_tree",
    "device_tree_address",
    "disable_commandline_tags",
    "dtoverlay",
    "include",
    "initramfs",
    "initramfs_file",
    "kernel",
    "kernel_address",
    "os_prefix",
    "overlay_prefix",
    "ramfsaddr",
    "ramfsfile",
    "start_file",
];

name! {
    /// One word of a kernel command line: a flag or `key=value`, without spaces or quotes.
    KernelWord, "a word of a kernel command line",
    "write one flag or key=value an entry, printable ASCII without spaces or quotes",
    |text| (1..=512).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\'')
}

name! {
    /// A word handed to QEMU as the value of an option: a machine or a processor model.
    QemuWord, "a QEMU machine or processor", "use letters, digits, `.`, `_`, `-`, `+`, `=` and `,`",
    |text| (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+=,".contains(&b))
        && !text.starts_with('-')
}

name! {
    /// An absolute path inside the image, canonical: no `.`, `..`, empty component or trailing `/`.
    ImagePath, "a path in the image",
    "begin with `/`, without `.`, `..`, `//`, a trailing `/` or control characters",
    |text| text.len() <= 4095
        && !text.chars().any(|c| c.is_control() || is_directional(c))
        && text.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255)
        })
}

name! {
    /// A relative path inside the project, from its root or from the file that names it.
    ProjectPath, "a path in the project", "write a relative path without `..` or control characters",
    |text| (1..=1024).contains(&text.len())
        && !text.starts_with('/')
        && !text.chars().any(|c| c.is_control() || c == '\\' || is_directional(c))
        && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

name! {
    /// An `http` or `https` address, printable ASCII, without user, password or fragment.
    Url, "an address", "write an http or https URL in printable ASCII, without user, password or fragment",
    |text| text.len() <= 2048
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\`{}|^#".contains(&b))
        && text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).is_some_and(|rest| {
            let host = rest.split('/').next().unwrap_or_default();
            !host.is_empty() && !host.contains('@') && !host.contains('?')
        })
}

name! {
    /// Where an archive is: an [`Url`], or `file:` with a folder, absolute or from the project's root.
    ArchiveUri, "the address of an archive",
    "write an http or https URL, or file: with a folder of the project or an absolute one, without `..`",
    |text| match text.strip_prefix("file:") {
        Some(folder) => {
            let folder = folder.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(folder);
            folder.strip_prefix('/').unwrap_or(folder).parse::<ProjectPath>().is_ok()
        }
        None => text.parse::<Url>().is_ok() && !text.contains('?'),
    }
}

name! {
    /// A relative path inside the project to .deb files; `*` in a file name stands for any characters.
    DebPattern, "a place of .deb files",
    "write a relative path that ends in `.deb`, with `*` in the file name alone",
    |text| {
        let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
        name.ends_with(".deb") && !folder.contains('*') && archive_path_fault(&text.replace('*', "x")).is_none()
    }
}

name! {
    /// A licence by its name, in which `*` stands for any characters: `AGPL-3.0-only`, `LicenseRef-*`.
    LicencePattern, "a licence", "write its name, in which `*` stands for any characters",
    |text| (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && text.bytes().filter(|b| *b == b'*').count() <= 4
        && text.trim() == text
        && !text.contains("  ")
}

name! {
    /// The fingerprint of an OpenPGP certificate: 40 (v4) or 64 (v6) uppercase hexadecimal digits.
    Fingerprint, "a fingerprint", "write 40 or 64 uppercase hexadecimal digits without spaces",
    |text| matches!(text.len(), 40 | 64)
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
}

/// Suffixes of units. Source: systemd.unit(5).
const UNIT_TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

impl UserName {
    /// The superuser, who owns what nobody else is said to own.
    #[must_use]
    pub fn root() -> Self {
        Self("root".to_owned())
    }
}

impl Name {
    /// Whether a file name may be this kind of name; what a listing of a folder is filtered by.
    #[must_use]
    pub fn fits(text: &str) -> bool {
        text.parse::<Self>().is_ok()
    }
}

/// Lowercase letters, digits and the given marks; a letter or digit in front.
fn plain(text: &str, marks: &[u8]) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || marks.contains(&b))
}

/// Characters that reorder what a terminal shows. Source: Unicode Standard Annex #9 §2.
const fn is_directional(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The permission bits of a file, setuid, setgid and sticky included. As text: octal, `0755`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u16);

/// Text that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a mode: write four octal digits in quotes, such as `\"0755\"`", .0.escape_debug())]
pub struct InvalidMode(String);

impl Mode {
    /// What a directory has where nothing else is said.
    pub const DIRECTORY: Self = Self(0o755);
    /// What a file has where nothing else is said.
    pub const FILE: Self = Self(0o644);

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether everyone may write, and no sticky bit keeps them from each other's files.
    #[must_use]
    pub const fn is_open_to_all(self) -> bool {
        self.0 & 0o1002 == 0o0002
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || InvalidMode(text.to_owned());
        if text.len() != 4 || !text.bytes().all(|b| matches!(b, b'0'..=b'7')) {
            return Err(error());
        }
        u16::from_str_radix(text, 8).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_paths_options_or_tricks() {
        for text in ["", "-rf", ".hidden", "a/b", "..", "Goni", "a b", "a\n", "gö", "a\u{202e}b"] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        assert_eq!("goni-qemu_1.0".parse::<Name>().unwrap().as_str(), "goni-qemu_1.0");
        assert!("a".repeat(65).parse::<Name>().is_err());
        assert!("1".repeat(25).parse::<Version>().is_err());
    }

    #[test]
    fn hostile_characters_are_shown_escaped() {
        assert_eq!(
            "a\u{202e}\n".parse::<Name>().unwrap_err().to_string(),
            "`a\\u{202e}\\n` is not a name: use a-z, 0-9, `.`, `_` and `-`, begin with a letter or digit, 64 at most"
        );
    }

    #[test]
    fn paths_in_the_image_are_absolute_and_canonical() {
        for text in ["", "/", "etc", "/etc/", "/a//b", "/a/../b", "/./a", "/a\0", "/a\n", "/\u{202e}"] {
            assert!(text.parse::<ImagePath>().is_err(), "{text:?}");
        }
        assert_eq!("/opt/goni/bin".parse::<ImagePath>().unwrap().as_str(), "/opt/goni/bin");
    }

    #[test]
    fn paths_in_the_project_never_leave_it() {
        for text in ["", "/etc/passwd", "../x", "a/../b", "a/./b", "a\\b", "a//b"] {
            assert!(text.parse::<ProjectPath>().is_err(), "{text:?}");
        }
        assert!("_base/appliance.toml".parse::<ProjectPath>().is_ok());
    }

    #[test]
    fn modes_are_four_octal_digits() {
        for text in ["", "755", "0o755", "0888", "-755", "00755"] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
        assert_eq!("4755".parse::<Mode>().unwrap().bits(), 0o4755);
        assert!("0666".parse::<Mode>().unwrap().is_open_to_all());
        assert!(!"1777".parse::<Mode>().unwrap().is_open_to_all());
    }

    #[test]
    fn addresses_carry_no_password_and_no_host_tricks() {
        for text in ["ftp://a/b", "https://", "https://u:p@h/x", "https://h/a b", "https://h?x", "//h/x"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
        assert!("https://example.org/a?b=c".parse::<Url>().is_ok());
    }

    #[test]
    fn archives_are_on_the_network_or_in_a_folder() {
        for text in [
            "file:",
            "file:///",
            "file:../x",
            "file:///a/../b",
            "file://host/x",
            "ftp://h/x",
            "https://h/x?y",
        ] {
            assert!(text.parse::<ArchiveUri>().is_err(), "{text}");
        }
        for text in
            ["https://e.org/som", "http://e.org/x", "file:///srv/apt", "file:/srv/apt", "file:vendor/apt"]
        {
            assert!(text.parse::<ArchiveUri>().is_ok(), "{text}");
        }
    }

    #[test]
    fn loose_packages_are_debs_of_the_project() {
        for text in ["*.rpm", "/x/*.deb", "../*.deb", "de*/x.deb", "a b.deb", ""] {
            assert!(text.parse::<DebPattern>().is_err(), "{text}");
        }
        assert!("debs/*.deb".parse::<DebPattern>().is_ok());
    }

    #[test]
    fn groups_of_devices_say_of_which_kind_they_are() {
        for text in ["drm", "char-", "block-a b", "/dev/dri", "tty-drm", "char-*"] {
            assert!(text.parse::<DeviceGroup>().is_err(), "{text}");
        }
        assert!("char-nvidia-uvm".parse::<DeviceGroup>().is_ok());
    }

    #[test]
    fn units_have_a_suffix() {
        for text in ["goni-http", ".service", "a/b.service", "x.unit", "a b.service"] {
            assert!(text.parse::<UnitName>().is_err(), "{text}");
        }
        assert!("getty@tty1.service".parse::<UnitName>().is_ok());
    }
}
