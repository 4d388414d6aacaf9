//! A board, a recipe and a root for the tests of boot methods.

use goni_disk::tree::{Content, FileTree, Kind, NoContent, TreePath};
use goni_model::arch::Arch;
use goni_model::document::source::Sources;
use goni_model::recipe::{self, Known, Recipe};
use goni_model::target::{self, Target};
use goni_model::time::Timestamp;

use super::method::{BootPartition, Method, Order, Taken, tree};
use super::{BootError, Kernel, profiles};
use crate::stages::initrd::{Source, Stock};

const DATE: Timestamp = Timestamp::from_seconds(0);

/// The beginning of every device tree, and little more.
pub(super) const TREE: &[u8] = b"\xD0\x0D\xFE\xEDtree";

/// A board of arm64 with these further lines.
pub(super) fn board(more: &str) -> Target {
    let text = format!(
        "summary = \"a board\"\narch = \"arm64\"\nkernel = {{ package = \"linux-image-arm64\" }}\n{more}"
    );
    let mut sources = Sources::new();
    let (file, _) = sources.add("target.toml", text.as_bytes());
    target::check(&sources, &[file], "board".parse().unwrap()).unwrap()
}

fn node() -> Recipe {
    let mut sources = Sources::new();
    let text = b"schema = 1\nname = \"node\"\nversion = \"1.2\"\ntarget = \"board\"\n";
    let (file, _) = sources.add("recipe.toml", text);
    let known = Known { targets: ["board".to_owned()].into(), ..Known::default() };
    recipe::check(&sources, &[file], &known).unwrap().0
}

/// What a method takes of a root with these files.
pub(super) fn taken(
    method: &dyn Method,
    files: &[(&str, &[u8])],
    target: &Target,
) -> Result<Taken, BootError> {
    let root = tree(files.iter().map(|(place, bytes)| ((*place).to_owned(), bytes.to_vec())), DATE)?;
    let source = Source { tree: &root, content: &NoContent, arch: Arch::Arm64 };
    method.take(&Stock::of(source), target, "6.8")
}

/// What a method fills its partitions with.
pub(super) fn filled(
    method: &dyn Method,
    files: &[(&str, &[u8])],
    target: &Target,
    image: Vec<u8>,
) -> Result<Vec<BootPartition>, BootError> {
    let taken = taken(method, files, target)?;
    let kernel = Kernel { release: "6.8".into(), image, initrd: b"initrd".to_vec(), taken };
    let (profiles, recipe) = (profiles("roothash=00 ro"), node());
    method.fill(&Order { kernel: &kernel, recipe: &recipe, target, profiles: &profiles, date: DATE })
}

/// Every path of a tree.
pub(super) fn paths(tree: &FileTree) -> Vec<String> {
    tree.iter().map(|(path, _)| path.to_string()).collect()
}

/// The text of a file.
pub(super) fn text(tree: &FileTree, place: &str) -> String {
    let path = TreePath::parse(place.as_bytes()).unwrap();
    let Kind::File(Content::Inline(bytes)) = &tree.get(&path).unwrap().kind else {
        panic!("`{place}` is no file")
    };
    String::from_utf8(bytes.to_vec()).unwrap()
}
