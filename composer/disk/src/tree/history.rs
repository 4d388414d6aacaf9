//! What befell the paths of a tree: who made, replaced, changed or removed what is there, in order.
//!
//! Only what is more than one owner bringing one entry is kept, so most paths have no history at all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{FileTree, Owner, TreeError, TreePath};

/// What somebody did to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Put it there as it is.
    Brought,
    /// Made it while the image was built.
    Made,
    /// Put something else in its place.
    Replaced,
    /// Changed what is there: bytes, mode, owner or target.
    Changed,
    /// Took it away.
    Removed,
}

impl Deed {
    /// Every deed.
    pub const ALL: [Self; 5] = [Self::Brought, Self::Made, Self::Replaced, Self::Changed, Self::Removed];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brought => "brought",
            Self::Made => "made",
            Self::Replaced => "replaced",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// Whose it was.
    pub owner: Owner,
    /// What was done.
    pub deed: Deed,
    /// How that is known, or why it was done.
    pub why: Option<Arc<str>>,
}

impl Hand {
    /// A deed without a reason.
    #[must_use]
    pub const fn new(owner: Owner, deed: Deed) -> Self {
        Self { owner, deed, why: None }
    }

    /// A deed, and why it was done or how that is known.
    #[must_use]
    pub fn because(owner: Owner, deed: Deed, why: impl Into<Arc<str>>) -> Self {
        Self { owner, deed, why: Some(why.into()) }
    }
}

/// The deeds of which there is more to say than who owns an entry, by path.
pub(super) type History = BTreeMap<TreePath, Vec<Hand>>;

impl FileTree {
    /// What befell a path, in order. A path that is there and was only ever brought by its owner has this
    /// one deed; one that never was there has none.
    #[must_use]
    pub fn hands(&self, path: &TreePath) -> Vec<Hand> {
        match (self.history.get(path), self.entries.get(path)) {
            (Some(hands), _) => hands.clone(),
            (None, Some(entry)) => vec![Hand::new(entry.owner.clone(), Deed::Brought)],
            (None, None) => Vec::new(),
        }
    }

    /// Every path with a history of its own, ordered; those that were removed are among them.
    pub fn histories(&self) -> impl Iterator<Item = (&TreePath, &[Hand])> {
        self.history.iter().map(|(path, hands)| (path, hands.as_slice()))
    }

    /// Notes a deed that the tree cannot see by itself.
    pub fn note(&mut self, path: &TreePath, hand: Hand) {
        let known = self.hands(path);
        self.history.entry(path.clone()).or_insert(known).push(hand);
    }

    /// Says why the last deed was done; nothing for a path that never was there.
    pub fn explain(&mut self, path: &TreePath, why: impl Into<Arc<str>>) {
        let known = self.hands(path);
        let hands = self.history.entry(path.clone()).or_insert(known);
        match hands.last_mut() {
            Some(hand) => hand.why = Some(why.into()),
            None => drop(self.history.remove(path)),
        }
    }

    /// Gives a path the history that it had elsewhere, in the place of its own.
    pub fn set_hands(&mut self, path: TreePath, hands: Vec<Hand>) {
        self.history.insert(path, hands);
    }

    /// Gives an entry another owner; nothing for a path that is not there.
    pub fn set_owner(&mut self, path: &TreePath, owner: Owner) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.owner = owner;
        }
    }

    /// Removes an entry and everything below it, and notes who did and why; returns how many went.
    ///
    /// # Errors
    /// `Missing` if it is not there.
    pub fn take_out(&mut self, path: &TreePath, by: &Owner, why: &Arc<str>) -> Result<usize, TreeError> {
        let below: Vec<TreePath> = self.below(path).map(|(path, _)| path.clone()).collect();
        if self.entries.contains_key(path) {
            for path in std::iter::once(path).chain(&below) {
                self.note(path, Hand::because(by.clone(), Deed::Removed, Arc::clone(why)));
            }
        }
        self.remove(path)
    }

    /// Before something new is at a path: whom it is taken from, if from anybody.
    pub(super) fn note_arrival(&mut self, path: &TreePath, owner: &Owner) {
        if self.entries.contains_key(path) {
            self.note(path, Hand::new(owner.clone(), Deed::Replaced));
        } else if self.history.contains_key(path) {
            self.note(path, Hand::new(owner.clone(), Deed::Brought));
        }
    }
}

#[cfg(test)]
mod tests {
    use goni_model::time::Timestamp;

    use super::super::{Content, Inode, Kind, Metadata};
    use super::*;

    fn inode(bytes: &[u8]) -> Inode {
        let mtime = Timestamp::from_seconds(1);
        let metadata = Metadata { mode: 0o644, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() };
        Inode { metadata, kind: Kind::File(Content::inline(bytes)) }
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn told(tree: &FileTree, place: &str) -> Vec<String> {
        let tell = |hand: &Hand| {
            let why = hand.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{} by {}{why}", hand.deed, hand.owner)
        };
        tree.hands(&path(place)).iter().map(tell).collect()
    }

    #[test]
    fn whoever_had_a_hand_in_a_path_is_told_in_order() {
        let package = || Owner::Package("bash".into());
        let overlay = || Owner::Overlay("base".into());
        let mut tree = FileTree::new(inode(b"").metadata, package());
        tree.insert(path("a"), inode(b"1"), package()).unwrap();
        assert_eq!(told(&tree, "a"), ["brought by package bash"]);
        tree.insert(path("a"), inode(b"2"), overlay()).unwrap();
        tree.note(&path("a"), Hand::because(Owner::Stage("x".into()), Deed::Changed, "its mode"));
        tree.take_out(&path("a"), &Owner::Stage("y".into()), &"no need".into()).unwrap();
        let all = [
            "brought by package bash",
            "replaced by overlay base",
            "changed by stage x: its mode",
            "removed by stage y: no need",
        ];
        assert_eq!(told(&tree, "a"), all);
        tree.insert(path("a"), inode(b"3"), overlay()).unwrap();
        assert_eq!(told(&tree, "a").last().unwrap(), "brought by overlay base");
        assert_eq!(told(&tree, "b"), [""; 0]);
        assert_eq!(tree.histories().count(), 1);
    }

    #[test]
    fn what_goes_with_a_directory_is_told_of_as_well() {
        let owner = || Owner::Package("bash".into());
        let mut tree = FileTree::new(inode(b"").metadata, owner());
        let directory = Inode { kind: Kind::Directory, ..inode(b"") };
        tree.insert(path("d"), directory, owner()).unwrap();
        tree.insert(path("d/f"), inode(b""), owner()).unwrap();
        assert_eq!(tree.take_out(&path("d"), &Owner::Stage("x".into()), &"old".into()), Ok(2));
        assert_eq!(told(&tree, "d/f"), ["brought by package bash", "removed by stage x: old"]);
        let missing = tree.take_out(&path("d"), &Owner::Stage("x".into()), &"old".into());
        assert_eq!(missing, Err(TreeError::Missing { path: path("d") }));
        assert_eq!(told(&tree, "d").len(), 2);
    }
}
