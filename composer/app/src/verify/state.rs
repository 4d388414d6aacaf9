//! The state partition: clean, with the directories that persist, owned as the overlays declare.

use goni_disk::tree::TreePath;
use goni_model::recipe::persist::BELOW;

use super::evidence::{Accounts, Evidence, NodeKind, Root, State, StateKind};
use super::mounts::wished;
use super::objection::{Objection, Verdict, equal, none};

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
pub(super) const PLACES: [Place; 8] = [
    place("data", "var/lib/goni", true, 0o700, "goni", "goni"),
    place("models", "opt/goni/models", true, 0o750, "goni", "goni"),
    place("config", "etc/goni", true, 0o750, "root", "goni"),
    place("config/goni.env", "etc/goni/goni.env", false, 0o640, "root", "goni"),
    place("journal", "var/log/journal", true, 0o2755, "root", "systemd-journal"),
    place("systemd", "var/lib/systemd", true, 0o755, "root", "root"),
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
    let wished = wished(evidence.root.aid()?)?;
    for place in &wished {
        expect_as_in_root(place, state, evidence.root.aid()?)?;
    }
    let others = state.nodes.keys().filter(|path| {
        path.components().count() == 1
            && path.as_bytes() != b"lost+found"
            && path.as_bytes() != BELOW.as_bytes()
            && !PLACES.iter().any(|place| place.name.as_bytes() == path.as_bytes())
    });
    let unwished = state.nodes.keys().filter(|path| is_unwished(path, &wished));
    let others = others.chain(unwished);
    none("nothing else on the state partition", others.map(|path| format!("`{path}`")))?;
    let special = state.nodes.iter().filter(|(_, node)| node.kind == StateKind::Other);
    none("only files and directories", special.map(|(path, _)| format!("`{path}`")))?;
    let open = state.nodes.iter().filter(|(_, node)| node.mode & 0o002 != 0);
    none("nothing that all may write", open.map(|(path, node)| format!("`{path}` {:04o}", node.mode)))
}

/// What a recipe wants kept is a directory with the owner and mode of the one it is mounted on.
fn expect_as_in_root(place: &str, state: &State, root: &Root<'_>) -> Verdict {
    let name = format!("{BELOW}{place}");
    let node = state.nodes.iter().find(|(path, _)| path.as_bytes() == name.as_bytes());
    let kept = node.filter(|(_, node)| node.kind == StateKind::Directory);
    let kept = kept.map(|(_, node)| format!("{:04o} {}:{}", node.mode, node.uid, node.gid));
    let mount_point = root.node(place).filter(|node| node.kind() == NodeKind::Directory);
    let mount_point = mount_point.map(|node| format!("{:04o} {}:{}", node.mode(), node.uid(), node.gid()));
    let shown = |found: Option<String>| found.unwrap_or_else(|| "no directory".to_owned());
    let expected = mount_point.unwrap_or_else(|| "a directory".to_owned());
    equal(&format!("`/{name}` on the state partition is, as `{place}`,"), expected, shown(kept))
}

/// Whether something is where a recipe's directories are, but neither one of them nor on the way to one.
fn is_unwished(path: &TreePath, wished: &[String]) -> bool {
    let Some(place) = path.as_bytes().strip_prefix(BELOW.as_bytes()) else { return false };
    let inside = |inner: &[u8], outer: &[u8]| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    !wished.iter().any(|wish| inside(place, wish.as_bytes()) || inside(wish.as_bytes(), place))
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
