//! A project directory: finds and loads a recipe, those it extends, its target and its overlays.
//!
//! The root is the nearest folder above the recipe that has `firmware/` or `overlays/`. Nothing
//! outside the root is read. Checking is the model's, and pure; files come through [`Files`].

mod fit;
mod graphics;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use goni_model::digest::Sha256Digest;
use goni_model::document::checker::{Checker, Text};
use goni_model::document::fault::{Fault, Faults, Place};
use goni_model::document::source::{FileId, Sources, Span};
use goni_model::document::{MAX_BYTES, nearest};
use goni_model::gpu::Driver;
use goni_model::lock::{InputKind, LockedInput};
use goni_model::modules::extra::ExtraModules;
use goni_model::name::{Name, ProjectPath};
use goni_model::overlay::{self, Overlay};
use goni_model::recipe::origin::{Origin, Origins};
use goni_model::recipe::{self, Known, Recipe, StateEncryption};
use goni_model::rules::{self, Rule};
use goni_model::target::{self, Target};

use crate::failure::{Class, Classify};

/// How many recipes may extend one another; more is a mistake.
const LONGEST_CHAIN: usize = 16;

/// The overlay of every image whose state is encrypted.
const ENCRYPTED: &str = "tpm2";

/// What loading a project asks of a file system.
pub trait Files {
    /// The path, absolute and free of symbolic links.
    ///
    /// # Errors
    /// The path leads nowhere.
    fn absolute(&self, path: &Path) -> io::Result<PathBuf>;

    /// The folder that paths are shown relative to.
    ///
    /// # Errors
    /// There is none.
    fn here(&self) -> io::Result<PathBuf>;

    /// All bytes of a regular file.
    ///
    /// # Errors
    /// It is no regular file, has more than `limit` bytes, or cannot be read.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// The names in a folder, sorted; none if there is no such folder.
    ///
    /// # Errors
    /// It cannot be read.
    fn names(&self, folder: &Path) -> io::Result<BTreeSet<String>>;

    /// Whether the path is a regular file.
    fn is_file(&self, path: &Path) -> bool;

    /// Whether the path is a folder.
    fn is_folder(&self, path: &Path) -> bool;
}

/// A recipe with all it names, checked.
#[derive(Debug)]
pub struct Project {
    /// The absolute path of the project's folder.
    pub root: PathBuf,
    /// The absolute path of the recipe.
    pub path: PathBuf,
    /// The current directory, which names of files in messages and origins are relative to.
    pub here: PathBuf,
    /// The recipe.
    pub recipe: Recipe,
    /// Where each of its values comes from.
    pub origins: Origins,
    /// Everything that was read of it.
    pub sources: Sources,
    /// Its target.
    pub target: Target,
    /// The target that stands in for it where images are smoked, if it names one.
    pub shadow: Option<Target>,
    /// What is known not to fit together.
    pub rules: Vec<Rule>,
    /// Its overlays with those they require, each behind what it requires.
    pub overlays: Vec<LoadedOverlay>,
    /// By payload, the overlays that stand in where nothing gives its bytes.
    pub stand_ins: BTreeMap<Name, Vec<LoadedOverlay>>,
    /// The files that the target is made of, by path below `firmware/` and digest; sorted.
    pub firmware: Vec<LockedInput>,
}

/// An overlay and its place.
#[derive(Debug, Clone)]
pub struct LoadedOverlay {
    /// What it declares.
    pub overlay: Overlay,
    /// The absolute path of its `tree/`; `None`: it has none.
    pub tree: Option<PathBuf>,
}

impl Project {
    /// The absolute path of a file that a recipe names.
    #[must_use]
    pub fn file(&self, path: &ProjectPath) -> PathBuf {
        self.root.join(path.as_str())
    }

    /// The kernel modules that the kernel's package does not bring: those of the target, and the recipe's.
    #[must_use]
    pub fn extra_modules(&self) -> ExtraModules {
        self.target.extra_modules.and(&self.recipe.kernel.extra_modules)
    }

    /// Every file that was read of it: its path from the project's folder, and its text.
    pub fn files(&self) -> impl Iterator<Item = (String, &str)> {
        self.sources.files().filter_map(|(path, text)| {
            let path = self.here.join(path);
            Some((path.strip_prefix(&self.root).ok()?.display().to_string(), text))
        })
    }

    /// An origin with its file as seen from the project's folder, wherever the caller stood.
    #[must_use]
    pub fn within(&self, origin: &Origin) -> Origin {
        let mut within = origin.clone();
        if let Origin::Typed { file, .. } = &mut within
            && let Ok(path) = self.here.join(&*file).strip_prefix(&self.root)
        {
            *file = path.display().to_string();
        }
        within
    }

    /// The absolute path of the lock of what a shadow boot takes: the recipe's name with `.shadow.lock`.
    #[must_use]
    pub fn shadow_lock(&self) -> PathBuf {
        self.path.with_extension("shadow.lock")
    }

    /// The absolute path of the lock: the recipe's name with `.lock`.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.path.with_extension("lock")
    }
}

/// Why a project cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The recipe is not there, or no file.
    #[error("reading recipe `{path}`")]
    Recipe {
        /// As typed.
        path: String,
        /// Recipes beside it that may have been meant.
        hint: Option<String>,
        /// Why.
        source: io::Error,
    },
    /// The project has no such target.
    #[error("there is no target `{name}` in `firmware/`")]
    Target {
        /// As typed.
        name: String,
        /// One that may have been meant.
        hint: Option<String>,
    },
    /// A file or folder of the project cannot be read.
    #[error("reading `{path}`")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No folder above the recipe is a project.
    #[error("no project around `{path}`")]
    NoProject {
        /// The recipe.
        path: String,
    },
    /// What the files say is not right. The command line renders it with its place.
    #[error(transparent)]
    Faults(#[from] Faults),
}

impl Classify for ProjectError {
    fn class(&self) -> Class {
        Class::Recipe
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe { hint, .. } | Self::Target { hint, .. } => hint.clone(),
            Self::NoProject { .. } => Some("a project's folder has `firmware/` and `overlays/`".to_owned()),
            Self::Read { .. } | Self::Faults(_) => None,
        }
    }
}

/// Loads the recipe at `path` and all it names.
///
/// # Errors
/// [`ProjectError`], with every fault that could be found at once.
pub fn load(files: &dyn Files, path: &Path) -> Result<Project, ProjectError> {
    let absolute = files.absolute(path).map_err(|source| ProjectError::Recipe {
        path: path.display().to_string(),
        hint: neighbour(files, path),
        source,
    })?;
    let root = absolute
        .ancestors()
        .skip(1)
        .find(|folder| files.is_folder(&folder.join("firmware")) || files.is_folder(&folder.join("overlays")))
        .ok_or_else(|| ProjectError::NoProject { path: path.display().to_string() })?
        .to_owned();
    let here = files.here().unwrap_or_default();
    let mut loader = Loader { files, root, here, sources: Sources::new(), digests: BTreeMap::new() };
    match loader.load(absolute) {
        Ok(project) => Ok(Project { sources: loader.sources, ..project }),
        Err(Stop::Faults(faults)) => Err(Faults::new(loader.sources, faults).into()),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// A project's folder and what it has in it, without a recipe.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// The absolute path of the project's folder.
    pub root: PathBuf,
    /// Its targets.
    pub targets: BTreeSet<String>,
    /// Its recipes: files in `recipes/`.
    pub recipes: Vec<PathBuf>,
}

/// Looks for the project around a folder.
///
/// # Errors
/// There is none, or a folder cannot be read.
pub fn shelf(files: &dyn Files, folder: &Path) -> Result<Shelf, ProjectError> {
    let shown = || folder.display().to_string();
    let absolute = files.absolute(folder).map_err(|source| ProjectError::Read { path: shown(), source })?;
    let root = absolute
        .ancestors()
        .find(|folder| files.is_folder(&folder.join("firmware")))
        .ok_or_else(|| ProjectError::NoProject { path: shown() })?
        .to_owned();
    let here = files.here().unwrap_or_default();
    let loader = Loader { files, root, here, sources: Sources::new(), digests: BTreeMap::new() };
    let targets = match loader.folders_with("firmware", "target.toml") {
        Ok(targets) => targets,
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Faults(faults)) => return Err(Faults::new(loader.sources, faults).into()),
    };
    let folder = loader.root.join("recipes");
    let names =
        files.names(&folder).map_err(|source| ProjectError::Read { path: loader.shown(&folder), source })?;
    let recipes = names.iter().filter(|name| name.ends_with(".toml")).map(|name| folder.join(name));
    Ok(Shelf { recipes: recipes.collect(), targets, root: loader.root })
}

/// Loads one target of a project, without a recipe.
///
/// # Errors
/// There is none of this name, or its files are not right.
pub fn target(files: &dyn Files, shelf: &Shelf, name: &Name) -> Result<Target, ProjectError> {
    let here = files.here().unwrap_or_default();
    let mut loader =
        Loader { files, root: shelf.root.clone(), here, sources: Sources::new(), digests: BTreeMap::new() };
    if !shelf.targets.contains(name.as_str()) {
        let hint = nearest::nearest(name.as_str(), shelf.targets.iter().map(String::as_str));
        return Err(ProjectError::Target {
            name: name.to_string(),
            hint: hint.map(|meant| format!("did you mean `{meant}`?")),
        });
    }
    let known = Known { targets: shelf.targets.clone(), ..Known::default() };
    let loaded = loader
        .boards(name, &known)
        .and_then(|chain| Ok(target::check(&loader.sources, &chain, name.clone())?));
    match loaded {
        Ok(target) => Ok(target),
        Err(Stop::Faults(faults)) => Err(Faults::new(loader.sources, faults).into()),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// The recipe beside `path` whose name is nearest.
fn neighbour(files: &dyn Files, path: &Path) -> Option<String> {
    let folder = path.parent()?;
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = files.names(listed).ok()?;
    let recipes = names.iter().map(String::as_str).filter(|name| name.ends_with(".toml"));
    let meant = nearest::nearest(path.file_name()?.to_str()?, recipes)?;
    Some(format!("did you mean `{}`?", folder.join(meant).display()))
}

enum Stop {
    Faults(Vec<Fault>),
    Error(ProjectError),
}

impl From<Vec<Fault>> for Stop {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Faults(faults)
    }
}

struct Loader<'f> {
    files: &'f dyn Files,
    root: PathBuf,
    here: PathBuf,
    sources: Sources,
    /// The digest of each file that was read, by its path.
    digests: BTreeMap<PathBuf, Sha256Digest>,
}

impl Loader<'_> {
    fn load(&mut self, path: PathBuf) -> Result<Project, Stop> {
        let rules = self.rules()?;
        let known = Known {
            rules: rules.iter().map(|rule| rule.name.to_string()).collect(),
            targets: self.folders_with("firmware", "target.toml")?,
            overlays: self.folders_with("overlays", "overlay.toml")?,
            drivers: self.drivers()?,
        };
        let chain = self.chain(path.clone())?;
        let (recipe, origins) = recipe::check(&self.sources, &chain, &known)?;

        let mut faults = Vec::new();
        let boards = self.boards(&recipe.target, &known)?;
        let target = target::check(&self.sources, &boards, recipe.target.clone());
        let mut target = target.map_err(|found| faults.extend(found)).ok();
        let driver = match &mut target {
            Some(target) => self.driver(target, &recipe, &chain, &mut faults)?,
            None => None,
        };

        if let Some(target) = &target {
            fit::modules(target, &recipe, chain.first(), &mut faults);
        }
        // What is read below `firmware/` up to here makes the target, but for the rules.
        let firmware = self.firmware();

        if let Some(target) = &target {
            fit::sectors(target, &recipe, chain.first(), &mut faults);
        }

        let shadow = match &target {
            Some(target) => self.shadow(target, boards[0], &known)?,
            None => None,
        };

        let mut overlays = Vec::new();
        // What an encrypted state needs comes with its key: nobody has to know these packages.
        let encrypted = recipe.state.encryption != StateEncryption::None;
        let encrypted = encrypted.then(|| ENCRYPTED.parse().expect("an overlay's name is a name"));
        let brought = driver.iter().flat_map(Driver::overlays);
        for name in recipe.overlays.iter().chain(&encrypted).chain(brought) {
            self.overlay(name, &known, &mut Vec::new(), &mut overlays, &mut faults)?;
        }
        let mut stand_ins = BTreeMap::new();
        for (payload, name) in
            recipe.payloads.iter().filter_map(|(name, it)| Some((name, it.stand_in.as_ref()?)))
        {
            let mut with = overlays.clone();
            self.overlay(name, &known, &mut Vec::new(), &mut with, &mut faults)?;
            stand_ins.insert(payload.clone(), with.split_off(overlays.len()));
        }
        match target {
            Some(target) if faults.is_empty() => Ok(Project {
                root: self.root.clone(),
                here: self.here.clone(),
                path,
                recipe,
                origins,
                sources: Sources::new(),
                target,
                shadow,
                rules,
                overlays,
                stand_ins,
                firmware,
            }),
            _ => Err(faults.into()),
        }
    }

    /// The files of targets and drivers that were read so far.
    fn firmware(&self) -> Vec<LockedInput> {
        let folder = self.root.join("firmware");
        let input = |(path, sha256): (&PathBuf, &Sha256Digest)| {
            let name = path.strip_prefix(&folder).ok()?.to_str()?;
            let of_a_target = name.contains('/');
            let (kind, name) = (InputKind::Firmware, name.to_owned());
            of_a_target.then_some(LockedInput { kind, name, sha256: *sha256 })
        };
        self.digests.iter().filter_map(input).collect()
    }

    /// The project's rules of compatibility; a project may have none.
    fn rules(&mut self) -> Result<Vec<Rule>, Stop> {
        let path = self.root.join("firmware/rules.toml");
        if !self.files.is_file(&path) {
            return Ok(Vec::new());
        }
        let file = self.add(&path)?;
        Ok(rules::check(&self.sources, file)?)
    }

    /// The files of a recipe: itself first, the one that extends none last.
    fn chain(&mut self, path: PathBuf) -> Result<Vec<FileId>, Stop> {
        let mut chain = Vec::new();
        let mut paths = vec![path.clone()];
        let mut links: Vec<Span> = Vec::new();
        let mut next = Some(path);
        while let Some(path) = next {
            let file = match (self.add(&path), links.last()) {
                (Err(Stop::Error(ProjectError::Read { path, source })), Some(link)) => {
                    return Err(vec![Fault::new(*link, format!("cannot read `{path}`: {source}"))].into());
                }
                (read, _) => read?,
            };
            chain.push(file);
            let Some(text) = recipe::inspect(&self.sources, file)? else { break };
            let extended = self.extended(&path, &text)?;
            let link = Span::from(text.span());
            if let Some(first) = paths.iter().position(|seen| *seen == extended) {
                let round: Vec<String> =
                    paths.iter().skip(first).chain([&extended]).map(|path| self.shown(path)).collect();
                let fault = Fault::new(link, format!("recipes extend each other: {}", round.join(" → ")));
                return Err(vec![
                    links.iter().skip(first).fold(fault, |fault, link| fault.related(*link, "from here")),
                ]
                .into());
            }
            if chain.len() == LONGEST_CHAIN {
                let message = format!("more than {LONGEST_CHAIN} recipes extend one another");
                return Err(vec![Fault::new(link, message)].into());
            }
            links.push(link);
            paths.push(extended.clone());
            next = Some(extended);
        }
        Ok(chain)
    }

    /// The files of a target: itself first, the one that extends none last.
    fn boards(&mut self, name: &Name, known: &Known) -> Result<Vec<FileId>, Stop> {
        let mut chain = Vec::new();
        let mut names = vec![name.to_string()];
        while let Some(name) = names.last() {
            let file = self.add(&self.root.join("firmware").join(name).join("target.toml"))?;
            chain.push(file);
            let Some(text) = target::inspect(&self.sources, file)? else { break };
            let mut checker = Checker::new(file);
            checker.known(&text, "target", known.targets.iter().map(String::as_str));
            if names.contains(text.get_ref()) {
                let round: Vec<&str> = names.iter().chain([text.get_ref()]).map(String::as_str).collect();
                checker.fault_at(&text, format!("targets extend each other: {}", round.join(" → ")));
            }
            checker.finish(Some(()))?;
            names.push(text.into_inner());
        }
        Ok(chain)
    }

    /// The target that stands in for one.
    fn shadow(&mut self, target: &Target, file: FileId, known: &Known) -> Result<Option<Target>, Stop> {
        let Some(name) = &target.shadow else { return Ok(None) };
        let wrong = |message: String| Stop::from(vec![Fault::new(Place::File(file), message)]);
        if !known.targets.contains(name.as_str()) {
            let fault = Fault::new(Place::File(file), format!("`shadow` names `{name}`, which is no target"));
            let near = nearest::nearest(name.as_str(), known.targets.iter().map(String::as_str));
            let near = near.map(|near| format!("did you mean `{near}`?"));
            return Err(vec![fault.hint(near.unwrap_or_else(|| "see firmware/".to_owned()))].into());
        }
        let boards = self.boards(name, known)?;
        let shadow = target::check(&self.sources, &boards, name.clone())?;
        if shadow.qemu.is_none() {
            return Err(wrong(format!("`shadow` names `{name}`, which has no [qemu]")));
        }
        if shadow.arch != target.arch {
            let (its, ours) = (shadow.arch, target.arch);
            return Err(wrong(format!("`shadow` names `{name}`, which is {its}; this target is {ours}")));
        }
        Ok(Some(shadow))
    }

    /// The path that `extends` means: relative to its file, and inside the project.
    fn extended(&self, from: &Path, text: &Text) -> Result<PathBuf, Stop> {
        let fault = |message: String| Stop::from(vec![Fault::new(Span::from(text.span()), message)]);
        let typed: ProjectPath = text.get_ref().parse().map_err(|error| fault(format!("{error}")))?;
        let joined = from.with_file_name(typed.as_str());
        let missing = |error: io::Error| {
            let found = Fault::new(
                Span::from(text.span()),
                format!("cannot read `{}`: {error}", self.shown(&joined)),
            );
            let near = neighbour(self.files, &joined).map(|hint| hint.replace(&self.prefix(), ""));
            Stop::from(vec![match near {
                Some(hint) => found.hint(hint),
                None => found.hint("`extends` is relative to the file that says it"),
            }])
        };
        let path = self.files.absolute(&joined).map_err(missing)?;
        if path.starts_with(&self.root) {
            return Ok(path);
        }
        Err(fault(format!("`{typed}` leads out of the project")))
    }

    /// Adds an overlay behind those it requires, unless it is there already.
    fn overlay(
        &mut self,
        name: &Name,
        known: &Known,
        asked: &mut Vec<Name>,
        overlays: &mut Vec<LoadedOverlay>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Stop> {
        if overlays.iter().any(|loaded| loaded.overlay.name == *name) {
            return Ok(());
        }
        let folder = self.root.join("overlays").join(name.as_str());
        let file = self.add(&folder.join("overlay.toml"))?;
        if asked.contains(name) {
            let round: Vec<&str> = asked.iter().chain([name]).map(Name::as_str).collect();
            let message = format!("overlays require each other: {}", round.join(" → "));
            return Err(vec![Fault::new(Place::File(file), message)].into());
        }
        match overlay::check(&self.sources, file, name.clone(), &known.overlays) {
            Err(found) => faults.extend(found),
            Ok(overlay) => {
                asked.push(name.clone());
                for required in &overlay.requires {
                    self.overlay(required, known, asked, overlays, faults)?;
                }
                asked.pop();
                let tree = folder.join("tree");
                let tree = self.files.is_folder(&tree).then_some(tree);
                overlays.push(LoadedOverlay { overlay, tree });
            }
        }
        Ok(())
    }

    /// Reads a file into the sources.
    fn add(&mut self, path: &Path) -> Result<FileId, Stop> {
        let shown = self.shown(path);
        let bytes = match self.files.read(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(source) => return Err(Stop::Error(ProjectError::Read { path: shown, source })),
        };
        self.digests.insert(path.to_owned(), Sha256Digest::of(&bytes));
        let (file, good) = self.sources.add(shown, &bytes);
        if good {
            return Ok(file);
        }
        let fault = Fault::new(Place::File(file), "the text is not UTF-8");
        Err(vec![fault.hint("save the file as UTF-8")].into())
    }

    /// The folders in a folder of the project that hold a certain file.
    fn folders_with(&self, folder: &str, file: &str) -> Result<BTreeSet<String>, Stop> {
        let folder = self.root.join(folder);
        let names = self
            .files
            .names(&folder)
            .map_err(|source| Stop::Error(ProjectError::Read { path: self.shown(&folder), source }))?;
        let holds = |name: &String| Name::fits(name) && self.files.is_file(&folder.join(name).join(file));
        Ok(names.into_iter().filter(holds).collect())
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.here).unwrap_or(path).display().to_string()
    }

    fn prefix(&self) -> String {
        format!("{}/", self.here.display())
    }
}
