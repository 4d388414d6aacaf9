//! The state partition: clean, with the directories that persist, owned as the overlays declare.

use super::evidence::{Accounts, Evidence, StateKind};
use super::objection::{Objection, Verdict, none};

/// A directory or file that persists.
pub(super) struct Place {
    /// Its path on the state partition.
    pub(super) name: &'static str,
    /// Its path in the running system.
    pub(super) path: &'static str,
    /// Whether it is mounted there by itself.
    pub(super) mounted: bool,
    mode: u32,
    user: &'static str,
    group: &'static str,
}

/// What persists, as `overlays/base` and `overlays/goni` declare it.
pub(super) const PLACES: [Place; 7] = [
    place("data", "var/lib/goni", true, 0o700, "goni", "goni"),
    place("models", "opt/goni/models", true, 0o750, "goni", "goni"),
    place("config", "etc/goni", true, 0o750, "root", "goni"),
    place("config/goni.env", "etc/goni/goni.env", false, 0o640, "root", "goni"),
    place("journal", "var/log/journal", true, 0o2755, "root", "systemd-journal"),
    place("identity", "", false, 0o755, "root", "root"),
    place("identity/etc", "", false, 0o755, "root", "root"),
];

const fn place(
    name: &'static str,
    path: &'static str,
    mounted: bool,
    mode: u32,
    user: &'static str,
    group: &'static str,
) -> Place {
    Place { name, path, mounted, mode, user, group }
}

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let state = evidence.state.object()?;
    if !state.clean {
        return Err(Objection::differs("a clean file system", "errors, or a journal to replay"));
    }
    let accounts = Accounts::read(evidence.root.aid()?)?;
    for place in &PLACES {
        let node = state.nodes.iter().find(|(path, _)| path.as_bytes() == place.name.as_bytes());
        let Some((path, node)) = node else {
            return Err(Objection::differs(
                format!("`/{}` on the state partition", place.name),
                "there is none",
            ));
        };
        expect_owner(place, &path.to_string(), &accounts, (node.mode, node.uid, node.gid))?;
    }
    let others = state.nodes.keys().filter(|path| path.components().count() == 1);
    let others = others.filter(|path| {
        path.as_bytes() != b"lost+found"
            && !PLACES.iter().any(|place| place.name.as_bytes() == path.as_bytes())
    });
    none("nothing else on the state partition", others.map(|path| format!("`{path}`")))?;
    let special = state.nodes.iter().filter(|(_, node)| node.kind == StateKind::Other);
    none("only files and directories", special.map(|(path, _)| format!("`{path}`")))?;
    let open = state.nodes.iter().filter(|(_, node)| node.mode & 0o002 != 0);
    none("nothing that all may write", open.map(|(path, node)| format!("`{path}` {:04o}", node.mode)))
}

/// Compares mode, user and group with what a place must have.
pub(super) fn expect_owner(
    place: &Place,
    path: &str,
    accounts: &Accounts,
    (mode, uid, gid): (u32, u32, u32),
) -> Verdict {
    let wanted = (Some(place.mode), accounts.uid(place.user), accounts.gid(place.group));
    if wanted == (Some(mode), Some(uid), Some(gid)) {
        return Ok(());
    }
    let number = |id: Option<u32>| id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let expected = format!(
        "`{path}` is {:04o} {}:{} ({}:{})",
        place.mode,
        place.user,
        place.group,
        number(wanted.1),
        number(wanted.2)
    );
    Err(Objection::differs(expected, format!("{mode:04o} {uid}:{gid}")))
}
