//! A project directory: finds and loads a recipe, those it extends, its target and its overlays.
//!
//! The root is the nearest folder above the recipe that has `firmware/` or `overlays/`. Nothing
//! outside the root is read. Checking is the model's, and pure; files come through [`Files`].

mod fit;
mod graphics;
mod loader;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use goni_model::document::fault::Faults;
use goni_model::document::nearest;
use goni_model::document::source::Sources;
use goni_model::lock::LockedInput;
use goni_model::modules::extra::ExtraModules;
use goni_model::name::{Name, ProjectPath};
use goni_model::overlay::Overlay;
use goni_model::recipe::origin::{Origin, Origins};
use goni_model::recipe::{Known, Recipe};
use goni_model::rules::Rule;
use goni_model::target::{self, Target};

use crate::failure::{Class, Classify};
use loader::{Loader, Stop};

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
    let mut loader = Loader::new(files, root);
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
    let loader = Loader::new(files, root);
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
    let mut loader = Loader::new(files, shelf.root.clone());
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
