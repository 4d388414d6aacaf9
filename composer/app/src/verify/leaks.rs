//! What must not leak into an image, looked for in the bytes of its files: keys, tokens, paths of the builder.
//!
//! Each file is read once, a stretch at a time, on all cores: those of the root here, all others in `beside`.
//! What a Debian package brought is left out, as it is public already and full of examples: in the root of an
//! image that is being built, what the tree says that nobody touched since; else, what has the sum that the
//! package's own list has. What is packed with gzip, xz or zstd is looked into as well. Left out: archives in
//! archives but for the initrd, and what is encoded.

mod beside;
mod look;
mod shapes;

use std::collections::BTreeMap;

use goni_disk::tree::TreePath;

use super::evidence::{Evidence, Node, NodeKind, Root};
use super::objection::{Objection, Verdict, none};
use beside::Beside;
use look::Look;
use shapes::Shapes;

pub(super) use shapes::Kind;

/// Where packages list the sums of their files.
const SUMS: &str = "var/lib/dpkg/info";

/// Something that is where it must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leak {
    /// What kind of thing it is.
    pub(super) kind: Kind,
    /// What it is, and where, in words.
    pub(super) what: String,
}

/// What was found in the files of an image.
#[derive(Debug, Default)]
pub(super) struct Leaks {
    found: Vec<Leak>,
    /// Why a file could not be looked into.
    unread: Vec<Objection>,
}

impl Leaks {
    /// What was found of a kind.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = String> {
        self.found.iter().filter(move |leak| leak.kind == kind).map(|leak| leak.what.clone())
    }

    /// The first file that could not be looked into, for the check that owns that fault.
    pub(super) fn readable(&self) -> Verdict {
        self.unread.first().map_or(Ok(()), |objection| Err(objection.clone()))
    }
}

/// No token is in an image: it opens somebody's account.
pub(super) fn no_tokens(evidence: &Evidence<'_>) -> Verdict {
    evidence.root.aid()?;
    none("no token", evidence.leaks.of(Kind::Token))
}

/// No path of the machine that built an image is in it: it tells of somebody, and no two builds are the same.
pub(super) fn builder_paths(evidence: &Evidence<'_>) -> Verdict {
    evidence.root.aid()?;
    match evidence.meant {
        Some(meant) if !meant.builder.is_empty() => {
            none("no path of the machine that built it", evidence.leaks.of(Kind::BuilderPath))
        }
        _ => Err(Objection::unseen("only a build knows its own paths")),
    }
}

/// Looks into every file that is not public already.
pub(super) fn look(evidence: &Evidence<'_>) -> Leaks {
    let Some(root) = evidence.root.found() else { return Leaks::default() };
    let builder = evidence.meant.map_or(&[][..], |meant| meant.builder);
    // A path that the image has, too, tells of no machine.
    let telling = builder.iter().filter(|path| root.node(path).is_none());
    let shapes = Shapes::new(telling.map(String::as_str));
    let sums = sums(root);
    let (mut leaks, others) = rayon::join(
        || of_root(evidence, root, &shapes, &sums),
        || Beside::new(&shapes, &sums).look(evidence),
    );
    leaks.found.extend(others.found);
    leaks.unread.extend(others.unread);
    leaks
}

/// What is in the files of the root.
fn of_root(evidence: &Evidence<'_>, root: &Root<'_>, shapes: &Shapes, sums: &Sums) -> Leaks {
    let files: Vec<(&TreePath, &Node)> = root
        .nodes()
        .filter(|(path, node)| {
            let public = evidence.meant.is_some_and(|meant| meant.is_public(path));
            node.kind() == NodeKind::File && node.size() > 0 && !public
        })
        .collect();
    // Of an image that is being built, the tree said it already.
    let listed = |path: &TreePath| sums.get(path).filter(|_| evidence.meant.is_none());
    let begin = |index: usize| Look::new(shapes, listed(files[index].0).is_some());
    let end = |index: usize, mut look: Look<'_>| {
        let path = files[index].0;
        let public = look.sum().is_some_and(|sum| listed(path) == Some(&sum));
        if public { Vec::new() } else { look.leaks(&format!("`{path}`")) }
    };
    let mut leaks = Leaks::default();
    for looked in root.each(&files, &begin, &|look, bytes| look.take(bytes), &end) {
        match looked {
            Ok(found) => leaks.found.extend(found),
            Err(objection) => leaks.unread.push(objection),
        }
    }
    leaks
}

/// The MD5 sums that packages list, by file.
type Sums = BTreeMap<TreePath, String>;

/// Reads the lists of all packages.
fn sums(root: &Root<'_>) -> Sums {
    let lists = root.below(SUMS).filter(|(path, _)| path.name().ends_with(b".md5sums"));
    let texts = lists.filter_map(|(path, node)| root.content(path, node).ok());
    let mut sums = Sums::new();
    for text in texts {
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((sum, path)) = line.split_once("  ") else { continue };
            // A package may list a file by a name from before /usr was merged.
            let merged = ["bin/", "sbin/", "lib/", "lib64/", "lib32/", "libx32/"];
            let merged = merged.iter().any(|top| path.starts_with(top)).then(|| format!("usr/{path}"));
            if let Ok(path) = TreePath::parse(merged.as_deref().unwrap_or(path).as_bytes()) {
                sums.insert(path, sum.to_owned());
            }
        }
    }
    sums
}
