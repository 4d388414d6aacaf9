//! The ledger of ids: which number each user and group of an image has, for good.
//!
//! What lies on a device's state partition belongs to numbers, not to names. An update in which a user has
//! another number would give its files to somebody else, so a number once given stays given: to whoever has it,
//! and to nobody else when its owner is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a number is a user's or a group's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// A line of `/etc/group`.
    Group,
    /// A line of `/etc/passwd`.
    User,
}

impl AccountKind {
    /// As a lock writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::User => "user",
        }
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedId {
    /// User or group.
    pub kind: AccountKind,
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// Whether the image has it no longer; its number stays reserved.
    #[serde(default)]
    pub gone: bool,
}

/// How the accounts of a tree differ from the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// A name has another number.
    Changed {
        /// User or group.
        kind: AccountKind,
        /// Its name.
        name: String,
        /// The number of the ledger.
        was: u32,
        /// The number of the tree.
        now: u32,
        /// Whose number that is, by the ledger.
        reserved: Option<String>,
    },
    /// A name is in the tree that the ledger does not know.
    New {
        /// User or group.
        kind: AccountKind,
        /// Its name.
        name: String,
        /// Its number.
        now: u32,
        /// Whose number that is, by the ledger.
        reserved: Option<String>,
    },
}

impl Drift {
    /// Whether it takes a number away from somebody who is gone: nobody can simply accept that.
    #[must_use]
    pub const fn takes_a_reserved_id(&self) -> bool {
        matches!(self, Self::Changed { reserved: Some(_), .. } | Self::New { reserved: Some(_), .. })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reserved = match self {
            Self::Changed { kind, name, was, now, reserved } => {
                write!(f, "{kind} `{name}` had id {was} and has {now}")?;
                reserved
            }
            Self::New { kind, name, now, reserved } => {
                write!(f, "{kind} `{name}`, id {now}, is new")?;
                reserved
            }
        };
        reserved.as_ref().map_or(Ok(()), |owner| write!(f, ", an id reserved for `{owner}`"))
    }
}

/// The ids of an image's account files.
///
/// Lines that are none are left out: what such files must be is for `verify` to say.
#[must_use]
pub fn ids(passwd: &str, group: &str) -> Vec<LockedId> {
    let of = |kind: AccountKind, text: &str| -> Vec<LockedId> {
        let id = |line: &str| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?, fields.nth(1)?.parse().ok()?);
            (!name.is_empty()).then(|| LockedId { kind, name: name.to_owned(), id, gone: false })
        };
        text.lines().filter_map(id).collect()
    };
    let mut ids = [of(AccountKind::Group, group), of(AccountKind::User, passwd)].concat();
    ids.sort();
    ids.dedup_by(|second, first| (second.kind, &second.name) == (first.kind, &first.name));
    ids
}

/// How a tree's ids differ from a ledger; empty where every number is as it was.
#[must_use]
pub fn drift(ledger: &[LockedId], found: &[LockedId]) -> Vec<Drift> {
    let known: BTreeMap<(AccountKind, &str), u32> =
        ledger.iter().map(|it| ((it.kind, it.name.as_str()), it.id)).collect();
    let here: BTreeSet<(AccountKind, &str)> = found.iter().map(|it| (it.kind, it.name.as_str())).collect();
    // Only who is not in the tree can be robbed of a number: who is has it, or is named by a line of its own.
    let reserved = |one: &LockedId| {
        let owner = ledger.iter().find(|it| {
            it.kind == one.kind
                && it.id == one.id
                && it.name != one.name
                && !here.contains(&(it.kind, &it.name))
        });
        owner.map(|owner| owner.name.clone())
    };
    let of = |one: &LockedId| match known.get(&(one.kind, one.name.as_str())) {
        Some(was) if *was == one.id => None,
        Some(was) => Some(Drift::Changed {
            kind: one.kind,
            name: one.name.clone(),
            was: *was,
            now: one.id,
            reserved: reserved(one),
        }),
        None => {
            Some(Drift::New { kind: one.kind, name: one.name.clone(), now: one.id, reserved: reserved(one) })
        }
    };
    found.iter().filter_map(of).collect()
}

/// The ledger with the ids of a tree: who is not in it stays, as gone.
#[must_use]
pub fn accept(ledger: &[LockedId], found: &[LockedId]) -> Vec<LockedId> {
    let mut ids: BTreeMap<(AccountKind, &str), LockedId> = BTreeMap::new();
    for old in ledger {
        ids.insert((old.kind, &old.name), LockedId { gone: true, ..old.clone() });
    }
    for now in found {
        ids.insert((now.kind, &now.name), now.clone());
    }
    ids.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:998:998::/:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nmessagebus:x:998:\n";

    fn ledger() -> Vec<LockedId> {
        ids(PASSWD, GROUP)
    }

    fn said(passwd: &str, group: &str) -> Vec<String> {
        drift(&ledger(), &ids(passwd, group)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_ids_of_account_files_are_read_and_do_not_drift_from_themselves() {
        let shown: Vec<String> =
            ledger().iter().map(|it| format!("{} {} {}", it.kind, it.name, it.id)).collect();
        assert_eq!(shown, ["group messagebus 998", "group root 0", "user messagebus 998", "user root 0"]);
        assert_eq!(drift(&ledger(), &ledger()), []);
        assert_eq!(ids("no line\nx:y\n:x:1:1\n", ""), []);
    }

    #[test]
    fn another_id_and_a_new_name_are_told_with_their_numbers() {
        assert_eq!(
            said(&PASSWD.replace("998:998", "997:998"), GROUP),
            ["user `messagebus` had id 998 and has 997"]
        );
        assert_eq!(said(PASSWD, &format!("{GROUP}tss:x:107:\n")), ["group `tss`, id 107, is new"]);
    }

    #[test]
    fn who_is_gone_keeps_the_number() {
        assert_eq!(said("root:x:0:0::/:/bin/sh\n", GROUP), Vec::<String>::new());
        let thief = PASSWD.replace("messagebus:x:998", "thief:x:998");
        assert_eq!(said(&thief, GROUP), ["user `thief`, id 998, is new, an id reserved for `messagebus`"]);
        let found = ids(&PASSWD.replace("messagebus:x:998", "tss:x:107"), GROUP);
        let accepted = accept(&ledger(), &found);
        let gone: Vec<&LockedId> = accepted.iter().filter(|it| it.gone).collect();
        assert_eq!((gone.len(), gone[0].name.as_str(), gone[0].id), (1, "messagebus", 998));
        assert_eq!(drift(&accepted, &found), []);
        let thief = ids(&thief, GROUP);
        assert!(drift(&accepted, &thief).iter().all(Drift::takes_a_reserved_id));
    }
}
