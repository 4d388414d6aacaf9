//! The users and groups of the root. Source: passwd(5), group(5).

use std::collections::BTreeMap;

use super::Root;
use crate::verify::objection::Objection;

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::verify) struct Account {
    /// Its name.
    pub(in crate::verify) name: String,
    /// The second field: `x`, or a password.
    pub(in crate::verify) password: String,
    /// Its number.
    pub(in crate::verify) uid: u32,
    /// Its first group.
    pub(in crate::verify) gid: u32,
    /// Its directory.
    pub(in crate::verify) home: String,
    /// What it logs in with.
    pub(in crate::verify) shell: String,
}

/// Who there is.
#[derive(Debug)]
pub(in crate::verify) struct Accounts {
    /// The users, in the order of the file.
    pub(in crate::verify) users: Vec<Account>,
    /// The groups: number and members by name.
    pub(in crate::verify) groups: BTreeMap<String, (u32, Vec<String>)>,
}

impl Accounts {
    /// Reads both files.
    pub(in crate::verify) fn read(root: &Root<'_>) -> Result<Self, Objection> {
        let mut users = Vec::new();
        for line in root.text("etc/passwd")?.lines() {
            users.push(account(line).ok_or_else(|| Objection::differs("lines of passwd(5)", line))?);
        }
        let mut groups = BTreeMap::new();
        for line in root.text("etc/group")?.lines() {
            let (name, group) = group(line).ok_or_else(|| Objection::differs("lines of group(5)", line))?;
            if groups.insert(name, group).is_some() {
                return Err(Objection::differs("every group once in `/etc/group`", line));
            }
        }
        Ok(Self { users, groups })
    }

    /// The number of a user.
    pub(in crate::verify) fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().find(|user| user.name == name).map(|user| user.uid)
    }

    /// The number of a group.
    pub(in crate::verify) fn gid(&self, name: &str) -> Option<u32> {
        self.groups.get(name).map(|(gid, _)| *gid)
    }
}

fn account(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, password, uid, gid, _, home, shell] = fields[..] else { return None };
    Some(Account {
        name: name.to_owned(),
        password: password.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.to_owned(),
        shell: shell.to_owned(),
    })
}

fn group(line: &str) -> Option<(String, (u32, Vec<String>))> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some((name.to_owned(), (gid.parse().ok()?, members)))
}
