//! What an index says, as it is written.

use std::collections::BTreeMap;

use goni_model::recipe::origin;
use serde::{Deserialize, Serialize};

use crate::stages::modules::Recorded;

/// Everything that an image can tell of where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Name of the image.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: String,
    /// Its target.
    pub target: String,
    /// The program that made it.
    pub composer: String,
    /// The latest time of anything in it, in seconds since 1970.
    pub source_date: u64,
    /// Every value of the recipe that applies, and where it comes from.
    pub recipe: BTreeMap<String, Value>,
    /// The directories that are kept on the state partition: place in the running system, name there.
    pub kept: Vec<(String, String)>,
    /// The packages, by name.
    pub packages: Vec<Package>,
    /// The overlays, in the order in which they were laid.
    pub overlays: Vec<Brought>,
    /// The payloads, by name.
    pub payloads: Vec<Brought>,
    /// Kernel modules that the kernel's package does not bring.
    pub modules: Vec<Recorded>,
    /// Bytes that the root file system uses.
    pub root_used: u64,
    /// How many it may use.
    pub root_budget: Option<u64>,
    /// Every deed that a path can have met.
    pub hands: Vec<HandLine>,
    /// What is on each partition, and in the initrd.
    pub trees: Vec<Tree>,
    /// What the root does not have any more, with the deeds that it met.
    pub gone: Vec<(String, Vec<usize>)>,
}

/// A value of the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// As text.
    pub value: String,
    /// File, below the project's folder, line and column.
    pub origin: String,
}

impl Value {
    /// A value with its origin as seen from the project's folder.
    pub(super) fn new(effective: &origin::Effective, origin: &origin::Origin) -> Self {
        Self { value: effective.value.clone(), origin: origin.to_string() }
    }
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The archive it comes from.
    pub archive: String,
    /// The suites of that archive that the lock names.
    pub suites: Vec<String>,
    /// What asks for it, whatever else needs it.
    pub wishes: Vec<Wish>,
    /// What it needs: kind of the relation, the relation, and which package answers it.
    pub needs: Vec<(String, String, usize)>,
}

/// Who asks for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Such as `overlay base`.
    pub by: String,
    /// File and line, where there is one.
    pub place: Option<String>,
    /// What of the recipe brought who asks: its key.
    pub key: Option<String>,
}

/// An overlay or a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Its name.
    pub name: String,
    /// The key of the recipe that brought it.
    pub key: Option<String>,
    /// Who asks for it, where that is not the recipe itself.
    pub because: Option<String>,
}

/// A deed: kind and name of whose it was, what it was, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HandLine(pub Kind, pub String, pub String, pub Option<String>);

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A package.
    Package,
    /// An overlay.
    Overlay,
    /// A payload.
    Payload,
    /// A stage of the build.
    Stage,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Overlay => "overlay",
            Self::Payload => "payload",
            Self::Stage => "stage",
        }
    }
}

/// Where a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The root.
    Root,
    /// The state partition.
    State,
    /// The initrd.
    Initrd,
    /// The EFI system partition.
    Esp,
    /// The partition that a loader reads from ext4.
    App,
    /// Another partition of a boot method.
    Other,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Root, Self::State, Self::Initrd, Self::Esp, Self::App, Self::Other];

    /// The word for it, before a path of it and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::State => "state",
            Self::Initrd => "initrd",
            Self::Esp => "esp",
            Self::App => "app",
            Self::Other => "other",
        }
    }
}

/// What is at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Where.
    pub place: Place,
    /// Every entry, ordered by path.
    pub lines: Vec<Line>,
}

/// An entry: its path, absolute; what it is; bytes of a file; the target of a link; the deeds it met; bytes
/// that the file takes of the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line(pub String, pub What, pub u64, pub Option<String>, pub Vec<usize>, pub u64);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A directory.
    #[serde(rename = "d")]
    Directory,
    /// A regular file.
    #[serde(rename = "f")]
    File,
    /// A symbolic link.
    #[serde(rename = "l")]
    Link,
    /// A device or pipe.
    #[serde(rename = "s")]
    Special,
}

impl Index {
    /// What is wrong with an index whose shape is right.
    pub(super) fn check(&self) -> Result<(), String> {
        let hands = self.hands.len();
        let lines = self.trees.iter().flat_map(|tree| tree.lines.iter().map(|line| (&line.0, &line.4)));
        for (path, of_path) in lines.chain(self.gone.iter().map(|(path, hands)| (path, hands))) {
            if of_path.is_empty() || of_path.iter().any(|hand| *hand >= hands) {
                return Err(format!("`{}` has nobody that it lists", path.escape_debug()));
            }
        }
        let packages = self.packages.len();
        let lost = self.packages.iter().find(|it| it.needs.iter().any(|(_, _, to)| *to >= packages));
        lost.map_or(Ok(()), |it| Err(format!("`{}` needs what it does not list", it.name.escape_debug())))
    }

    /// The entries of a place; none if the image has no such place.
    #[must_use]
    pub fn lines(&self, place: Place) -> &[Line] {
        self.trees.iter().find(|tree| tree.place == place).map_or(&[], |tree| &tree.lines)
    }
}

/// A path as an index has it: absolute, as text. Bytes that are no UTF-8, controls and `%` are `%` and two
/// digits, so that no two paths are one.
pub(crate) fn text_of(path: &[u8]) -> String {
    let mut text = String::from("/");
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '%' => text.push_str("%25"),
                c if c.is_control() => {
                    let mut bytes = [0; 4];
                    c.encode_utf8(&mut bytes).bytes().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
                }
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}
