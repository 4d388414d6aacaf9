//! Nobody logs in: no password, empty ones included, and no service that asks for one.
//! Source: passwd(5), shadow(5), gshadow(5).

use super::evidence::{Account, Accounts, Evidence, Root};
use super::objection::{Objection, Verdict, none};

/// What a field of `/etc/shadow` may hold: nothing that any password hashes to.
const LOCKED: [&str; 3] = ["*", "!", "!*"];

/// What stands in `/etc/passwd` for a password that is in `/etc/shadow`.
const SHADOWED: &str = "x";

/// Programs that let somebody in from elsewhere.
const DOORS: [&str; 4] = ["usr/sbin/sshd", "usr/sbin/dropbear", "usr/sbin/in.telnetd", "usr/sbin/telnetd"];

/// Where units that ask at a terminal would be enabled.
const TERMINALS: &str = "etc/systemd/system/getty.target.wants";

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let accounts = Accounts::read(root)?;
    let open = accounts.users.iter().filter(|user| user.password != SHADOWED && !is_locked(&user.password));
    none("no password in `/etc/passwd`", open.map(|user| format!("`{}` has one, or needs none", user.name)))?;
    let shadowed: Vec<&Account> = accounts.users.iter().filter(|user| user.password == SHADOWED).collect();
    if !shadowed.is_empty() || root.node("etc/shadow").is_some() {
        inspect_shadow(&root.text("etc/shadow")?, &shadowed)?;
    }
    inspect_group_shadow(root)?;
    let doors = DOORS.into_iter().filter(|door| root.node(door).is_some());
    none("no way in from the network", doors.map(|door| format!("`/{door}`")))?;
    none("no login at a terminal", root.below(TERMINALS).map(|(path, _)| format!("`{path}`")))
}

/// Whether nothing that anybody types is this password.
fn is_locked(hash: &str) -> bool {
    LOCKED.contains(&hash)
}

fn inspect_shadow(shadow: &str, users: &[&Account]) -> Verdict {
    let mut locked = Vec::new();
    let mut open = Vec::new();
    for line in shadow.lines() {
        let mut fields = line.split(':');
        match (fields.next(), fields.next()) {
            (Some(name), Some(hash)) if is_locked(hash) => locked.push(name),
            (Some(name), Some("")) => open.push(format!("`{name}` needs none")),
            (Some(name), Some(_)) => open.push(format!("`{name}` has one")),
            _ => return Err(Objection::differs("lines of shadow(5)", line)),
        }
    }
    none("no password in `/etc/shadow`", open)?;
    let missing = users.iter().filter(|user| !locked.contains(&user.name.as_str()));
    none("a line of `/etc/shadow` for every user", missing.map(|user| format!("none for `{}`", user.name)))
}

/// The password of a group lets anybody into it.
fn inspect_group_shadow(root: &Root<'_>) -> Verdict {
    let Some(bytes) = root.file("etc/gshadow")? else { return Ok(()) };
    let text = String::from_utf8_lossy(&bytes);
    let open = text.lines().filter(|line| {
        let hash = line.split(':').nth(1).unwrap_or_default();
        !hash.is_empty() && !is_locked(hash)
    });
    none(
        "no password in `/etc/gshadow`",
        open.map(|line| format!("`{}` has one", line.split(':').next().unwrap_or_default())),
    )
}
