//! Where on the state partition each directory is that outlives a reboot.

use std::borrow::Cow;

use crate::name::ImagePath;

/// The directories that every image keeps, and the name of each on the state partition.
pub const ALWAYS: [(&str, &str); 5] = [
    ("/var/lib/goni", "data"),
    ("/opt/goni/models", "models"),
    ("/etc/goni", "config"),
    ("/var/log/journal", "journal"),
    ("/var/lib/systemd", "systemd"),
];

/// Where on the state partition a recipe's directories are, each at its own path below: so no two can
/// meet, and whoever looks at the partition sees what is what.
pub const BELOW: &str = "persist";

/// A directory that outlives a reboot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Persistent {
    /// Its path in the running system.
    pub place: Cow<'static, str>,
    /// Its path on the state partition, which begins with no `/`.
    pub name: Cow<'static, str>,
    /// Whether a recipe asks for it: what a tree lacks of it is made.
    pub wished: bool,
}

/// All that outlives a reboot: what always does, and what a recipe asks for.
#[must_use]
pub fn all(persist: &[ImagePath]) -> Vec<Persistent> {
    let always = ALWAYS.iter().map(|(place, name)| Persistent {
        place: Cow::Borrowed(place),
        name: Cow::Borrowed(name),
        wished: false,
    });
    let wished = persist.iter().map(|place| Persistent {
        place: Cow::Owned(place.to_string()),
        name: Cow::Owned(format!("{BELOW}{place}")),
        wished: true,
    });
    always.chain(wished).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wish_has_a_place_of_its_own() {
        let wishes = ["/var/lib/a-b", "/var/lib/a/b"].map(|text| text.parse().unwrap());
        let names: Vec<String> = all(&wishes).into_iter().map(|it| it.name.into_owned()).collect();
        assert_eq!(
            names,
            ["data", "models", "config", "journal", "systemd", "persist/var/lib/a-b", "persist/var/lib/a/b"]
        );
    }
}
