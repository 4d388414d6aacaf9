//! The users and groups: ids that never change, one superuser, nobody beside goni in its group.

use std::collections::BTreeMap;

use super::evidence::{Accounts, Evidence};
use super::objection::{Objection, Verdict, equal, none};

/// What is on a node's state partition belongs to these for good.
const GONI: u32 = 700;

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let accounts = Accounts::read(evidence.root.aid()?)?;
    let goni = accounts.users.iter().find(|user| user.name == "goni");
    let goni = goni.ok_or_else(|| Objection::differs("a user `goni`", "there is none"))?;
    equal("user `goni` is", format!("{GONI}:{GONI}"), format!("{}:{}", goni.uid, goni.gid))?;
    let (gid, members) =
        accounts.groups.get("goni").ok_or_else(|| Objection::differs("a group `goni`", "there is none"))?;
    equal("group `goni` is", GONI, *gid)?;
    let others = members.iter().filter(|member| *member != "goni");
    none("nobody but goni in its group", others.map(|member| format!("`{member}`")))?;
    let primary = accounts.users.iter().filter(|user| user.gid == GONI && user.name != "goni");
    none("nobody but goni in its group", primary.map(|user| format!("`{}`", user.name)))?;

    let mut by_uid: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for user in &accounts.users {
        by_uid.entry(user.uid).or_default().push(&user.name);
    }
    let shared = by_uid.iter().filter(|(_, names)| names.len() > 1);
    none("a number for each user", shared.map(|(uid, names)| format!("{uid}: {}", names.join(", "))))?;
    equal("user 0 is", "root", by_uid.get(&0).and_then(|names| names.first().copied()).unwrap_or("nobody"))?;
    let lost =
        accounts.users.iter().filter(|user| !accounts.groups.values().any(|(gid, _)| *gid == user.gid));
    none("a group for each user", lost.map(|user| format!("`{}` of group {}", user.name, user.gid)))
}
