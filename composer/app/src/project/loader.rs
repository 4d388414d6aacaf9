//! The way through a project's files: from the recipe to those it extends, to its target and its overlays.
//!
//! Every file is read once, in an order that depends on nothing but the files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use goni_model::digest::Sha256Digest;
use goni_model::document::checker::{Checker, Text};
use goni_model::document::fault::{Fault, Place};
use goni_model::document::source::{FileId, Sources, Span};
use goni_model::document::{MAX_BYTES, nearest};
use goni_model::gpu::Driver;
use goni_model::lock::{InputKind, LockedInput};
use goni_model::name::{Name, ProjectPath};
use goni_model::overlay;
use goni_model::recipe::{self, Known, StateEncryption};
use goni_model::rules::{self, Rule};
use goni_model::target::{self, Target};

use super::{Files, LoadedOverlay, Project, ProjectError, fit, neighbour};

/// How many recipes may extend one another; more is a mistake.
const LONGEST_CHAIN: usize = 16;

/// The overlay of every image whose state is encrypted.
const ENCRYPTED: &str = "tpm2";

/// Why loading ends.
pub(super) enum Stop {
    /// The files are not right.
    Faults(Vec<Fault>),
    /// They cannot be read, or are not there.
    Error(ProjectError),
}

impl From<Vec<Fault>> for Stop {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Faults(faults)
    }
}

/// What is being loaded.
pub(super) struct Loader<'f> {
    pub(super) files: &'f dyn Files,
    pub(super) root: PathBuf,
    here: PathBuf,
    /// Everything that was read.
    pub(super) sources: Sources,
    /// The digest of each file that was read, by its path.
    digests: BTreeMap<PathBuf, Sha256Digest>,
}

impl<'f> Loader<'f> {
    /// Nothing was read yet of the project in this folder.
    pub(super) fn new(files: &'f dyn Files, root: PathBuf) -> Self {
        let here = files.here().unwrap_or_default();
        Self { files, root, here, sources: Sources::new(), digests: BTreeMap::new() }
    }

    /// The project of a recipe.
    pub(super) fn load(&mut self, path: PathBuf) -> Result<Project, Stop> {
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
    pub(super) fn boards(&mut self, name: &Name, known: &Known) -> Result<Vec<FileId>, Stop> {
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
    pub(super) fn add(&mut self, path: &Path) -> Result<FileId, Stop> {
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
    pub(super) fn folders_with(&self, folder: &str, file: &str) -> Result<BTreeSet<String>, Stop> {
        let folder = self.root.join(folder);
        let names = self
            .files
            .names(&folder)
            .map_err(|source| Stop::Error(ProjectError::Read { path: self.shown(&folder), source }))?;
        let holds = |name: &String| Name::fits(name) && self.files.is_file(&folder.join(name).join(file));
        Ok(names.into_iter().filter(holds).collect())
    }

    pub(super) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.here).unwrap_or(path).display().to_string()
    }

    fn prefix(&self) -> String {
        format!("{}/", self.here.display())
    }
}
