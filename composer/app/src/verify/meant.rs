//! What a build knows of its image beyond the image itself, and the check that every path has an owner.

use std::collections::BTreeMap;

use goni_disk::tree::TreePath;

use super::evidence::Evidence;
use super::objection::{Objection, Verdict, none};
use crate::index::{Index, Kind, Line, Place, text_of};

/// Where dpkg keeps what came with a package beside its files.
const RECORDS: &str = "/var/lib/dpkg/info/";

/// What a build knows of its image.
#[derive(Debug)]
pub struct Meant<'a> {
    /// Who owns what, by place and path.
    owned: BTreeMap<(Place, &'a str), &'a Line>,
    index: &'a Index,
    /// Paths of the machine that builds, which must not be in it.
    pub(super) builder: &'a [String],
}

impl<'a> Meant<'a> {
    /// Of an index, and the paths of the machine that builds.
    #[must_use]
    pub fn new(index: &'a Index, builder: &'a [String]) -> Self {
        let places = [Place::Root, Place::State, Place::Esp];
        let lines =
            places.into_iter().flat_map(|place| index.lines(place).iter().map(move |line| (place, line)));
        let owned = lines.map(|(place, line)| ((place, line.0.as_str()), line)).collect();
        Self { owned, index, builder }
    }

    /// Whether a file of the root is what a package brought, and nobody touched it: anybody can have it.
    pub(super) fn is_public(&self, path: &TreePath) -> bool {
        let text = text_of(path.as_bytes());
        let Some(line) = self.owned.get(&(Place::Root, text.as_str())) else { return false };
        let [hand] = line.4.as_slice() else { return false };
        let hand = self.index.hands.get(*hand);
        hand.is_some_and(|hand| hand.0 == Kind::Package && (hand.2 == "brought" || text.starts_with(RECORDS)))
    }
}

/// Every path of root, state and EFI system partition has an owner, and is there.
pub(super) fn owned(evidence: &Evidence<'_>) -> Verdict {
    let Some(meant) = evidence.meant else {
        return Err(Objection::unseen("only a build knows who owns what"));
    };
    let root = evidence.root.aid()?;
    let mut there: Vec<(Place, String)> =
        root.nodes().map(|(path, _)| (Place::Root, text_of(path.as_bytes()))).collect();
    if let Some(state) = evidence.state.found() {
        there.extend(state.nodes.keys().map(|path| (Place::State, text_of(path.as_bytes()))));
    }
    if let Some(esp) = evidence.esp.found() {
        there.extend(esp.files.keys().map(|path| (Place::Esp, text_of(path.as_bytes()))));
    }
    let unowned = there.iter().filter(|(place, path)| {
        // What a file system makes for itself belongs to it.
        let own = *place == Place::State && path == "/lost+found";
        !own && !meant.owned.contains_key(&(*place, path.as_str()))
    });
    none(
        "an owner for every path",
        unowned.map(|(place, path)| format!("`{path}` of the {}", place.name())),
    )?;
    let there: std::collections::BTreeSet<&str> =
        there.iter().filter(|(place, _)| *place == Place::Root).map(|(_, path)| path.as_str()).collect();
    let missing = meant.owned.keys().filter(|(place, path)| *place == Place::Root && !there.contains(path));
    none("every path that has an owner", missing.map(|(_, path)| format!("no `{path}`")))
}
