//! Small files of text that a stage puts into a tree, with the directories above them.

use std::collections::BTreeMap;

use goni_disk::tree::{Content, FileTree, Inode, Kind, Metadata, Owner, TreeError, TreePath};
use goni_model::time::Timestamp;

/// Puts a file that root owns and everybody may read.
///
/// # Errors
/// The tree has something else where a directory must be.
pub(super) fn put(
    tree: &mut FileTree,
    stage: &'static str,
    place: &str,
    text: String,
    date: Timestamp,
) -> Result<(), TreeError> {
    let owner = Owner::Stage(stage.into());
    let place = TreePath::parse(place.as_bytes()).expect("paths written in this program are canonical");
    make_above(tree, &owner, &place, date)?;
    let inode =
        Inode { metadata: metadata(0o644, date), kind: Kind::File(Content::inline(text.into_bytes())) };
    tree.insert(place, inode, owner).map(|_| ())
}

/// Makes the directories above a place that are not there.
fn make_above(
    tree: &mut FileTree,
    owner: &Owner,
    place: &TreePath,
    date: Timestamp,
) -> Result<(), TreeError> {
    let Some(parent) = place.parent().filter(|parent| tree.get(parent).is_none()) else { return Ok(()) };
    make_above(tree, owner, &parent, date)?;
    let inode = Inode { metadata: metadata(0o755, date), kind: Kind::Directory };
    tree.insert(parent, inode, owner.clone()).map(|_| ())
}

fn metadata(mode: u16, mtime: Timestamp) -> Metadata {
    Metadata { mode, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_not_there_are_made() {
        let date = Timestamp::from_seconds(7);
        let mut tree = FileTree::new(metadata(0o755, date), Owner::Stage("test".into()));
        put(&mut tree, "test", "usr/lib/x", "text".to_owned(), date).unwrap();
        let paths: Vec<String> = tree.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(paths, ["/", "/usr", "/usr/lib", "/usr/lib/x"]);
    }
}
