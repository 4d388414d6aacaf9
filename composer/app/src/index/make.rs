//! Makes the index of an image that is being built, and refuses a path that nobody owns.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use goni_debian::installed::{InstalledError, STATUS};
use goni_disk::tree::{ContentSource, Deed, FileTree, Hand, Kind as TreeKind, Owner, TreePath};
use goni_model::layout::Role;
use goni_model::lock::Lock;
use goni_model::recipe::persist;

use super::document::{
    Brought, HandLine, Index, Kind, Line, Package, Place, Tree, Value, What, Wish, text_of,
};
use super::relations;
use super::{stages, wishes};
use crate::failure::{Class, Classify};
use crate::project::Project;
use crate::stages::modules::Recorded;

/// What an image is made of.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Its project.
    pub(crate) project: &'a Project,
    /// Its lock.
    pub(crate) lock: &'a Lock,
    /// Its root.
    pub(crate) root: &'a FileTree,
    /// Its state.
    pub(crate) state: &'a FileTree,
    /// The bytes of both.
    pub(crate) content: &'a dyn ContentSource,
    /// Kernel modules from elsewhere.
    pub(crate) modules: &'a [Recorded],
    /// What was laid over its packages.
    pub(crate) laid: &'a Laid,
}

/// What was written of an image.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    /// What is in the initrd.
    pub(crate) initrd: &'a FileTree,
    /// What is on the partitions that it boots from.
    pub(crate) boot: &'a [(Role, FileTree)],
    /// What each file takes of the root file system, by its first path.
    pub(crate) stored: &'a [(TreePath, u64)],
    /// What the root file system uses.
    pub(crate) root_used: u64,
}

/// What was laid over the packages of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Laid {
    /// Names of overlays, in order.
    pub(crate) overlays: Vec<String>,
    /// Payloads by name, and whether the command line gave them.
    pub(crate) payloads: Vec<(String, bool)>,
}

/// Why an image has no index, and gets no name.
#[derive(Debug, thiserror::Error)]
pub enum UnownedError {
    /// A path whose owner is not one that the image has.
    #[error("nobody owns `{path}` of the {place}: {owner} is none of this image")]
    Unowned {
        /// The path.
        path: String,
        /// Where.
        place: &'static str,
        /// Whose it says that it is.
        owner: String,
    },
    /// The database of packages cannot be read.
    #[error("reading `/{STATUS}`")]
    Status(#[source] io::Error),
    /// It does not say what a package needs.
    #[error("tracing why each package is there")]
    Relations(#[from] InstalledError),
}

impl Classify for UnownedError {
    fn class(&self) -> Class {
        match self {
            Self::Unowned { .. } => Class::Check,
            Self::Status(_) => Class::Environment,
            Self::Relations(_) => Class::Content,
        }
    }
}

/// Makes the index.
///
/// # Errors
/// [`UnownedError`].
pub(crate) fn make(source: &Source<'_>, written: &Written<'_>) -> Result<Index, UnownedError> {
    let Source { project, lock, .. } = source;
    let packages = packages(source)?;
    let overlays: Vec<Brought> = wishes::brought_overlays(project)
        .into_iter()
        .filter(|it| source.laid.overlays.contains(&it.name))
        .collect();
    let mut maker = Maker { source, hands: BTreeMap::new() };
    let mut trees = vec![
        maker.tree(Place::Root, source.root)?,
        maker.tree(Place::State, source.state)?,
        maker.tree(Place::Initrd, written.initrd)?,
    ];
    for (role, tree) in written.boot {
        let place = match role {
            Role::Esp => Place::Esp,
            Role::App => Place::App,
            _ => Place::Other,
        };
        trees.push(maker.tree(place, tree)?);
    }
    let stored: BTreeMap<String, u64> =
        written.stored.iter().map(|(path, bytes)| (text_of(path.as_bytes()), *bytes)).collect();
    for line in trees.iter_mut().take(1).flat_map(|root| &mut root.lines) {
        line.5 = stored.get(&line.0).copied().unwrap_or_default();
    }
    let gone = source.root.histories().filter(|(path, _)| source.root.entry(path).is_none());
    let gone = gone
        .filter(|(_, hands)| hands.last().is_some_and(|hand| hand.deed == Deed::Removed))
        .map(|(path, hands)| Ok((text_of(path.as_bytes()), maker.hands(Place::Root, path, hands)?)))
        .collect::<Result<Vec<_>, UnownedError>>()?;
    let recipe = project
        .origins
        .iter()
        .map(|(key, effective)| (key.to_string(), Value::new(effective, &project.within(&effective.origin))));
    let kept = persist::all(&project.recipe.state.persist);
    let mut index = Index {
        name: project.recipe.name.to_string(),
        version: project.recipe.version.to_string(),
        arch: lock.arch.to_string(),
        target: project.target.name.to_string(),
        composer: concat!("goni-compose ", env!("CARGO_PKG_VERSION")).to_owned(),
        source_date: lock.source_date,
        recipe: recipe.collect(),
        kept: kept.into_iter().map(|it| (it.place.into_owned(), it.name.into_owned())).collect(),
        packages,
        overlays,
        payloads: source.laid.payloads.iter().map(payload).collect(),
        modules: source.modules.to_vec(),
        root_used: written.root_used,
        root_budget: project.recipe.root.budget.map(goni_model::size::ByteCount::get),
        hands: Vec::new(),
        trees,
        gone,
    };
    index.hands = maker.sorted(&mut index.trees, &mut index.gone);
    Ok(index)
}

fn payload((name, given): &(String, bool)) -> Brought {
    Brought {
        name: name.clone(),
        key: Some(format!("payload.{name}")),
        because: given.then(|| "`--payload` gave it".to_owned()),
    }
}

fn packages(source: &Source<'_>) -> Result<Vec<Package>, UnownedError> {
    let status = TreePath::parse(STATUS.as_bytes()).expect("a path of this program's own");
    let mut bytes = Vec::new();
    if let Some(TreeKind::File(content)) = source.root.get(&status).map(|inode| &inode.kind) {
        let read = content.open(source.content).and_then(|mut reader| reader.read_to_end(&mut bytes));
        read.map_err(UnownedError::Status)?;
    }
    let mut installed = relations::read(&bytes, source.lock.arch)?;
    let mut wishes = wishes::of(source.project);
    let numbers: BTreeMap<&str, usize> =
        source.lock.packages.iter().enumerate().map(|(at, it)| (it.name.as_str(), at)).collect();
    let package = |locked: &goni_model::lock::LockedPackage| {
        let known = installed.remove(&locked.name).unwrap_or_default();
        let mut wishes = wishes.remove(&locked.name).unwrap_or_default();
        if known.essential {
            let by = "every Debian system: it is Essential".to_owned();
            wishes.push(Wish { by, place: None, key: None });
        }
        if locked.archive == goni_model::lock::LOCAL {
            let by = "the recipe, as a loose package".to_owned();
            wishes.push(Wish { by, place: None, key: Some("debian.local".to_owned()) });
        }
        let needs = known
            .needs
            .into_iter()
            .filter_map(|(kind, text, name)| Some((kind, text, numbers.get(name.as_str()).copied()?)));
        let suites = source.lock.suites.iter().filter(|suite| suite.archive == locked.archive);
        Package {
            name: locked.name.clone(),
            version: locked.version.clone(),
            archive: locked.archive.clone(),
            suites: suites.map(|suite| suite.suite.clone()).collect(),
            wishes,
            needs: needs.collect(),
        }
    };
    Ok(source.lock.packages.iter().map(package).collect())
}

/// Hands under way: each once, by number.
struct Maker<'a> {
    source: &'a Source<'a>,
    hands: BTreeMap<HandLine, usize>,
}

impl Maker<'_> {
    fn tree(&mut self, place: Place, tree: &FileTree) -> Result<Tree, UnownedError> {
        let mut lines = Vec::new();
        for (path, entry) in tree.iter() {
            let (what, size, target) = match &tree.inode(entry.inode).kind {
                TreeKind::Directory => (What::Directory, 0, None),
                TreeKind::File(content) => (What::File, content.size(), None),
                TreeKind::Symlink(target) => {
                    (What::Link, 0, Some(String::from_utf8_lossy(target).into_owned()))
                }
                _ => (What::Special, 0, None),
            };
            self.owner(place, path, &entry.owner)?;
            let hands = self.hands(place, path, &tree.hands(path))?;
            lines.push(Line(text_of(path.as_bytes()), what, size, target, hands, 0));
        }
        Ok(Tree { place, lines })
    }

    /// Refuses somebody whom the image does not have.
    fn owner(&self, place: Place, path: &TreePath, owner: &Owner) -> Result<(), UnownedError> {
        let Source { lock, laid, .. } = self.source;
        let known = match owner {
            Owner::Package(name) => {
                lock.packages.binary_search_by(|it| it.name.as_str().cmp(name)).is_ok()
                    || lock.packages.iter().any(|it| it.name == **name)
            }
            Owner::Overlay(name) => laid.overlays.iter().any(|it| it == &**name),
            Owner::Payload(name) => laid.payloads.iter().any(|(it, _)| it == &**name),
            Owner::Stage(name) => stages::find(name).is_some(),
        };
        if known {
            return Ok(());
        }
        Err(UnownedError::Unowned { path: path.to_string(), place: place.name(), owner: owner.to_string() })
    }

    fn hands(&mut self, place: Place, path: &TreePath, hands: &[Hand]) -> Result<Vec<usize>, UnownedError> {
        let mut numbers = Vec::new();
        for hand in hands {
            self.owner(place, path, &hand.owner)?;
            let (kind, name) = match &hand.owner {
                Owner::Package(name) => (Kind::Package, name),
                Owner::Overlay(name) => (Kind::Overlay, name),
                Owner::Payload(name) => (Kind::Payload, name),
                Owner::Stage(name) => (Kind::Stage, name),
            };
            let why = hand.why.as_deref().map(str::to_owned);
            // A stage brings nothing along: what it puts somewhere it made.
            let deed = match (kind, hand.deed) {
                (Kind::Stage, Deed::Brought) => Deed::Made,
                (_, deed) => deed,
            };
            let line = HandLine(kind, name.to_string(), deed.name().to_owned(), why);
            let next = self.hands.len();
            numbers.push(*self.hands.entry(line).or_insert(next));
        }
        Ok(numbers)
    }

    /// All hands in their order, and every number changed to the place in it.
    fn sorted(self, trees: &mut [Tree], gone: &mut [(String, Vec<usize>)]) -> Vec<HandLine> {
        let mut places = vec![0; self.hands.len()];
        for (place, number) in self.hands.values().enumerate() {
            places[*number] = place;
        }
        let lines = trees.iter_mut().flat_map(|tree| tree.lines.iter_mut().map(|line| &mut line.4));
        for number in lines.chain(gone.iter_mut().map(|(_, hands)| hands)).flatten() {
            *number = places[*number];
        }
        self.hands.into_keys().collect()
    }
}
