//! What must not leak into an image, looked for in the bytes of its files: keys, tokens, paths of the builder.
//!
//! Each file is read once, a stretch at a time, on all cores. What a Debian package brought is left out, as it
//! is public already and full of examples: while an image is built, what the tree says that nobody touched
//! since; else, what has the sum that the package's own list has. What is packed with gzip, xz or zstd is
//! looked into as well. Left out: archives in archives, and what is encoded.

mod shapes;

use std::collections::BTreeMap;
use std::io::Read;

use goni_debian::deb::Md5;
use goni_disk::tree::TreePath;

use super::evidence::{Evidence, Node, NodeKind, Root, StateKind, SystemFile};
use super::objection::{Objection, Verdict, none};
pub(super) use shapes::Kind;
use shapes::{LONGEST, Shapes};

/// Bytes that are looked at together.
const STRETCH: usize = 1 << 20;

/// Most bytes that are unpacked of a file.
const UNPACKED_LIMIT: u64 = 64 << 20;

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
    let mut leaks = Leaks::default();
    let Some(root) = evidence.root.found() else { return leaks };
    let builder = evidence.meant.map_or(&[][..], |meant| meant.builder);
    // A path that the image has, too, tells of no machine.
    let telling = builder.iter().filter(|path| root.node(path).is_none());
    let shapes = Shapes::new(telling.map(String::as_str));
    let sums = if evidence.meant.is_some() { BTreeMap::new() } else { sums(root) };
    let files: Vec<(&TreePath, &Node)> = root
        .nodes()
        .filter(|(path, node)| {
            let public = evidence.meant.is_some_and(|meant| meant.is_public(path));
            node.kind() == NodeKind::File && node.size() > 0 && !public
        })
        .collect();
    let begin = |index: usize| Look::new(&shapes, sums.contains_key(files[index].0));
    let end = |index: usize, mut look: Look<'_>| {
        let path = files[index].0;
        let public = look.sum().is_some_and(|sum| sums.get(path) == Some(&sum));
        if public { Vec::new() } else { look.leaks(&format!("`{path}`")) }
    };
    for looked in root.each(&files, &begin, &|look, bytes| look.take(bytes), &end) {
        match looked {
            Ok(found) => leaks.found.extend(found),
            Err(objection) => leaks.unread.push(objection),
        }
    }
    let mut whole = |bytes: &[u8], place: String| {
        let mut look = Look::new(&shapes, false);
        look.take(bytes);
        leaks.found.extend(look.leaks(&place));
    };
    for (path, node) in evidence.state.found().iter().flat_map(|state| &state.nodes) {
        if let StateKind::File(Some(content)) = &node.kind {
            whole(content, format!("`{path}` on the state partition"));
        }
    }
    for (path, file) in evidence.esp.found().iter().flat_map(|esp| &esp.files) {
        match file {
            SystemFile::Other(bytes) => whole(bytes, format!("`{path}` on the EFI system partition")),
            SystemFile::Program(program) => program.texts.values().for_each(|text| {
                whole(text.as_bytes(), format!("`{path}` on the EFI system partition"));
            }),
            SystemFile::Broken(_) => {}
        }
    }
    leaks
}

/// The MD5 sums that packages list, by file.
fn sums(root: &Root<'_>) -> BTreeMap<TreePath, String> {
    let lists = root.below(SUMS).filter(|(path, _)| path.name().ends_with(b".md5sums"));
    let texts = lists.filter_map(|(path, node)| root.content(path, node).ok());
    let mut sums = BTreeMap::new();
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

/// A file that is looked at, stretch by stretch.
struct Look<'s> {
    shapes: &'s Shapes,
    /// The end of what was seen, in which something may begin, and what came since.
    window: Vec<u8>,
    begun: bool,
    found: Vec<(Kind, &'static str)>,
    sum: Option<Md5>,
    /// The bytes, as long as they are to be unpacked.
    packed: Option<Vec<u8>>,
}

impl<'s> Look<'s> {
    fn new(shapes: &'s Shapes, summed: bool) -> Self {
        let sum = summed.then(Md5::default);
        Self { shapes, window: Vec::new(), begun: false, found: Vec::new(), sum, packed: None }
    }

    fn take(&mut self, bytes: &[u8]) {
        if let Some(sum) = &mut self.sum {
            sum.update(bytes);
        }
        if !self.begun {
            self.begun = true;
            self.found.extend(shapes::by_magic(bytes));
            self.packed = packing(bytes).map(|_| Vec::new());
        }
        if let Some(packed) = &mut self.packed {
            packed.extend_from_slice(bytes);
            if goni_model::number::to_u64(packed.len()) > UNPACKED_LIMIT {
                self.packed = None;
            }
        }
        self.search(bytes);
    }

    fn search(&mut self, bytes: &[u8]) {
        for stretch in bytes.chunks(STRETCH) {
            self.window.extend_from_slice(stretch);
            self.shapes.find(&self.window, &mut self.found);
            let seen = self.window.len().saturating_sub(LONGEST);
            self.window.drain(..seen);
        }
    }

    /// The sum of all that was taken, where it was asked for.
    fn sum(&mut self) -> Option<String> {
        self.sum.take().and_then(Md5::finish)
    }

    /// What was found, packed or not, each once.
    fn leaks(mut self, place: &str) -> Vec<Leak> {
        if let Some(packed) = self.packed.take() {
            self.window.clear();
            let mut unpacked = Vec::new();
            // What cannot be unpacked is no place to hide in: who reads it could not either.
            if let Some(reader) = packing(&packed).and_then(|packing| packing.open(&packed))
                && reader.take(UNPACKED_LIMIT).read_to_end(&mut unpacked).is_ok()
            {
                self.search(&unpacked);
            }
        }
        self.found.sort();
        self.found.dedup();
        let what =
            |(kind, name): &(Kind, &'static str)| Leak { kind: *kind, what: format!("{name} in {place}") };
        self.found.iter().map(what).collect()
    }
}

/// How a file is packed.
#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    fn open<'p>(self, packed: &'p [u8]) -> Option<Box<dyn Read + 'p>> {
        Some(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Self::Xz => Box::new(liblzma::read::XzDecoder::new(packed)),
            Self::Zstd => Box::new(zstd::Decoder::new(packed).ok()?),
        })
    }
}

fn packing(head: &[u8]) -> Option<Packing> {
    let magics: [(&[u8], Packing); 3] = [
        (b"\x1f\x8b\x08", Packing::Gzip),
        (b"\xfd7zXZ\0", Packing::Xz),
        (b"\x28\xb5\x2f\xfd", Packing::Zstd),
    ];
    magics.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, packing)| packing)
}
