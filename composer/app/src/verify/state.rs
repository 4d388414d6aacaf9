//! The state partition: clean, with the directories that persist, owned as the overlays declare; or
//! empty, where the device makes it. The seed in the root is the same in any case.

use goni_disk::tree::TreePath;
use goni_model::layout::Role;
use goni_model::recipe::persist::BELOW;

use super::evidence::{Accounts, Evidence, Node, NodeKind, Root, StateKind};
use super::mounts::wished;
use super::objection::{Objection, Verdict, equal, none};
use super::swap::first_byte;

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

/// Where the root keeps what a device makes its state of.
const SEED: &str = "usr/share/goni/state";

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    if evidence.state_is_encrypted() {
        match first_byte(evidence, Role::State) {
            Ok(None) => {}
            Ok(Some(offset)) => {
                return Err(Objection::differs("zeros", format!("something at offset {offset}")));
            }
            Err(error) => return Err(Objection::differs("it can be read", error)),
        }
    } else {
        inspect_partition(evidence)?;
    }
    inspect_seed(evidence)
}

/// The seed is closed to all but root, has what persists, and has it as the partition has it.
fn inspect_seed(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let accounts = Accounts::read(root)?;
    let described = |node: &Node| format!("{:04o} {}:{}", node.mode(), node.uid(), node.gid());
    let top = root.node(SEED).map_or_else(|| "nothing".to_owned(), described);
    equal(&format!("`/{SEED}` is"), "0700 0:0".to_owned(), top)?;
    for place in &PLACES {
        let path = format!("{SEED}/{}", place.name);
        let node =
            root.node(&path).ok_or_else(|| Objection::differs(format!("`/{path}`"), "there is none"))?;
        expect_owner(place, &format!("/{path}"), &accounts, (node.mode(), node.uid(), node.gid()))?;
    }
    for place in wished(root)? {
        expect_as_in_root(&place, root)?;
    }
    let Some(state) = evidence.state.found() else { return Ok(()) };
    let below = root.below(SEED).filter_map(|(path, node)| {
        let name = String::from_utf8_lossy(path.as_bytes().get(SEED.len() + 1..)?).into_owned();
        Some((name, node.mode(), node.uid(), node.gid()))
    });
    let mut seed: Vec<_> = below.collect();
    let there = state.nodes.iter().filter(|(path, _)| path.as_bytes() != b"lost+found");
    let mut there: Vec<_> = there
        .map(|(path, node)| {
            (String::from_utf8_lossy(path.as_bytes()).into_owned(), node.mode, node.uid, node.gid)
        })
        .collect();
    seed.sort();
    there.sort();
    let listed = |nodes: &[(String, u32, u32, u32)]| {
        let lines = nodes.iter().map(|(path, mode, uid, gid)| format!("{path} {mode:04o} {uid}:{gid}"));
        lines.collect::<Vec<_>>().join(", ")
    };
    equal("what the state is made of is", listed(&there), listed(&seed))
}

fn inspect_partition(evidence: &Evidence<'_>) -> Verdict {
    let state = evidence.state.object()?;
    if !state.superblock.clean {
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

/// What a recipe wants kept is a directory of the seed with the owner and mode of the one it is mounted on.
fn expect_as_in_root(place: &str, root: &Root<'_>) -> Verdict {
    let described = |path: &str| {
        let node = root.node(path).filter(|node| node.kind() == NodeKind::Directory);
        node.map(|node| format!("{:04o} {}:{}", node.mode(), node.uid(), node.gid()))
    };
    let seed = format!("{SEED}/{BELOW}{place}");
    let expected = described(place).unwrap_or_else(|| "a directory".to_owned());
    let observed = described(&seed).unwrap_or_else(|| "no directory".to_owned());
    equal(&format!("`/{seed}` is, as `{place}`,"), expected, observed)
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
