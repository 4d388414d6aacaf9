//! `lock`: resolves a recipe and writes its lock; holds it against the recipe; compares two.

mod difference;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use goni_model::lock::Lock;

use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::host::project::ProjectFiles;
use crate::lock::renew::{Renewed, renew};
use crate::lock::{changelog, read_alone, satisfied_lock, satisfied_shadow_lock};
use crate::project;
use crate::resolve::Renewal;
use crate::stages;
use crate::workshop::Workshop;

/// Arguments of `lock`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LockArguments {
    /// The recipe; before it, with --update, the only packages to update
    #[arg(value_name = "RECIPE", required_unless_present = "toolbox")]
    pub words: Vec<PathBuf>,
    /// Take the newest of everything, or of the packages that are named and what they force
    #[arg(long)]
    pub update: bool,
    /// Write nothing, fetch nothing; fail if the lock does not satisfy the recipe, and say which key is stale
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
    /// Resolve the program's own tools instead, and print their lock
    #[arg(long, conflicts_with_all = ["words", "update", "check"])]
    pub toolbox: bool,
    /// What else can be done with locks.
    #[command(subcommand)]
    pub verb: Option<LockVerb>,
}

/// What else can be done with locks.
#[derive(Debug, Subcommand)]
pub enum LockVerb {
    /// Show what differs between two locks
    Diff(DiffArguments),
}

/// Arguments of `lock diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// One lock
    pub old: PathBuf,
    /// The other
    pub new: PathBuf,
    /// How to show it
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: DiffReport,
}

/// How a difference is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffReport {
    /// Lines for people.
    Text,
    /// One JSON value.
    Json,
    /// Markdown, for a pull request.
    Markdown,
}

/// What the command line does not mean.
#[derive(Debug, thiserror::Error)]
enum WordsError {
    #[error("`lock` is about one recipe: {0} were named")]
    Several(usize),
    #[error("the packages to update stand before the recipe, with --update")]
    NotUpdating,
    #[error("writing the difference as JSON")]
    Json(#[from] serde_json::Error),
}

impl Classify for WordsError {
    fn class(&self) -> Class {
        match self {
            Self::Json(_) => Class::Bug,
            _ => Class::Recipe,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Json(_) => None,
            _ => Some("goni-compose lock [--update [PACKAGE …]] recipes/NAME.toml".to_owned()),
        }
    }
}

/// Locks.
///
/// # Errors
/// The recipe cannot be loaded or resolved, the lock cannot be written; with `--check`, it is stale.
pub fn run(arguments: &LockArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    if let Some(LockVerb::Diff(arguments)) = &arguments.verb {
        let intent = format!("comparing `{}` with `{}`", arguments.old.display(), arguments.new.display());
        return diff(arguments, global, terminal).map_err(|failure| failure.during(intent));
    }
    if arguments.toolbox {
        let workshop = Workshop::open(global.choices())?;
        let mirrors = workshop.mirrors()?;
        let sources = workshop.sources(&mirrors, terminal.progress());
        let lock = stages::toolbox::resolve(sources, workshop.clock())?;
        return terminal.show(lock.to_string());
    }
    let (recipe, packages) = words(arguments)?;
    let intent = format!("locking `{}`", recipe.display());
    let locked = || -> Result<(), Failure> {
        let project = project::load(&ProjectFiles, recipe)?;
        if arguments.check {
            satisfied_lock(&project)?;
            return project
                .shadow
                .as_ref()
                .map_or(Ok(()), |shadow| satisfied_shadow_lock(&project, shadow).map(drop));
        }
        let renewal = match (arguments.update, packages.is_empty()) {
            (false, _) => Renewal::Keep,
            (true, true) => Renewal::Everything,
            (true, false) => Renewal::Only(packages.clone()),
        };
        for renewed in renew(&project, &renewal, &global.choices(), terminal.progress())? {
            terminal.show(told(&renewed))?;
        }
        Ok(())
    };
    locked().map_err(|failure| failure.during(intent))
}

/// The recipe, and the packages before it.
fn words(arguments: &LockArguments) -> Result<(&Path, Vec<String>), WordsError> {
    let of_recipe = |word: &&PathBuf| word.extension().is_some_and(|it| it == "toml");
    let recipes = arguments.words.iter().filter(of_recipe).count();
    match arguments.words.split_last() {
        // One word alone is the recipe, whatever it is called: that it is none is said where it is read.
        Some((recipe, packages)) if recipes <= 1 && (packages.is_empty() || of_recipe(&recipe)) => {
            if !packages.is_empty() && !arguments.update {
                return Err(WordsError::NotUpdating);
            }
            Ok((recipe, packages.iter().map(|it| it.display().to_string()).collect()))
        }
        _ if recipes > 1 => Err(WordsError::Several(recipes)),
        _ => Err(WordsError::NotUpdating),
    }
}

/// What became of a lock, in lines.
fn told(renewed: &Renewed) -> String {
    let (path, count) = (renewed.path.display(), renewed.lock.packages.len());
    let head = match (&renewed.was, renewed.written) {
        (_, false) => format!("{path}: satisfies the recipe, {count} packages\n"),
        (None, true) => format!("{path}: new, {count} packages\n"),
        (Some(_), true) => format!("{path}: {count} packages\n"),
    };
    let changes = renewed.was.as_ref().map(|was| was.diff(&renewed.lock)).filter(|diff| !diff.is_empty());
    changes.map_or_else(|| head.clone(), |diff| format!("{head}{}", difference::text(&diff)))
}

fn diff(arguments: &DiffArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let (old, new): (Lock, Lock) = (read_alone(&arguments.old)?, read_alone(&arguments.new)?);
    let mut diff = old.diff(&new);
    if !diff.packages.is_empty() {
        let workshop = Workshop::open(global.choices())?;
        changelog::add(&mut diff, workshop.store(), terminal.progress());
    }
    terminal.show(match arguments.report {
        DiffReport::Text => difference::text(&diff),
        DiffReport::Markdown => difference::markdown(&diff),
        DiffReport::Json => serde_json::to_string_pretty(&diff).map_err(WordsError::from)? + "\n",
    })
}
