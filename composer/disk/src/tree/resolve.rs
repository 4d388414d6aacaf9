//! Following symbolic links within a tree, never out of it.

use super::{FileTree, Kind, TreePath};

/// How many links one resolution may follow. Source: the kernel's `MAXSYMLINKS`, include/linux/namei.h.
const MAX_LINKS: u32 = 40;

impl FileTree {
    /// The path that a path means once every symbolic link on the way, the last component's too, is
    /// followed, with the tree's root as `/`. `None` if it leads nowhere or in circles.
    #[must_use]
    pub fn resolve(&self, path: &TreePath) -> Option<TreePath> {
        let mut links = 0;
        let mut done = TreePath::ROOT;
        // Components still to walk, the next one last.
        let mut ahead: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        while let Some(component) = ahead.pop() {
            if component == b".." {
                done = done.parent().unwrap_or(TreePath::ROOT);
                continue;
            }
            let next = done.join(&component).ok()?;
            let Kind::Symlink(target) = &self.get(&next)?.kind else {
                done = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            if target.starts_with(b"/") {
                done = TreePath::ROOT;
            }
            let components = target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
            ahead.extend(components.rev().map(<[u8]>::to_vec));
        }
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use goni_model::time::Timestamp;

    use super::super::{Content, Inode, Metadata, Owner};
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    /// A tree of directories (`None`) and symbolic links.
    fn tree(entries: &[(&str, Option<&str>)]) -> FileTree {
        let metadata = || Metadata {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Timestamp::from_seconds(0),
            xattrs: BTreeMap::new(),
        };
        let owner = || Owner::Stage("test".into());
        let mut tree = FileTree::new(metadata(), owner());
        for (name, target) in entries {
            let kind = target.map_or(Kind::Directory, |target| Kind::Symlink(target.into()));
            tree.insert(path(name), Inode { metadata: metadata(), kind }, owner()).unwrap();
        }
        let file = Inode { metadata: metadata(), kind: Kind::File(Content::inline(&b"x"[..])) };
        tree.insert(path("usr/lib/file"), file, owner()).unwrap();
        tree
    }

    #[test]
    fn links_are_followed_within_the_root() {
        let tree = tree(&[
            ("usr", None),
            ("usr/lib", None),
            ("lib", Some("usr/lib")),
            ("etc", None),
            ("etc/relative", Some("../lib/file")),
            ("etc/absolute", Some("/lib/./file")),
            ("etc/high", Some("../../../../usr/lib/file")),
        ]);
        for start in ["lib/file", "etc/relative", "etc/absolute", "etc/high", "usr/lib/file"] {
            assert_eq!(tree.resolve(&path(start)), Some(path("usr/lib/file")), "{start}");
        }
    }

    #[test]
    fn what_leads_nowhere_or_in_circles_resolves_to_nothing() {
        let tree = tree(&[
            ("usr", None),
            ("usr/lib", None),
            ("a", Some("b")),
            ("b", Some("a")),
            ("c", Some("none")),
        ]);
        for start in ["a", "c", "missing", "usr/lib/file/below"] {
            assert_eq!(tree.resolve(&path(start)), None, "{start}");
        }
    }
}
