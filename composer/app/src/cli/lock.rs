//! `lock`: resolves a recipe and writes its lock.

use std::path::PathBuf;

use clap::Args;

use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::files;
use crate::host::project::ProjectFiles;
use crate::project::{self, Project};
use crate::resolve;
use crate::stages;
use crate::workshop::Workshop;

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub struct LockArguments {
    /// The recipe
    #[arg(required_unless_present = "toolbox")]
    pub recipe: Option<PathBuf>,
    /// Resolve anew even if the lock satisfies the recipe
    #[arg(long)]
    pub update: bool,
    /// Write nothing; fail if the lock does not satisfy the recipe
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
    /// Resolve the program's own tools instead, and print their lock
    #[arg(long, conflicts_with_all = ["recipe", "update", "check"])]
    pub toolbox: bool,
}

/// Locks.
///
/// # Errors
/// The recipe cannot be loaded or resolved, the lock cannot be written; with `--check`, it is stale.
pub fn run(arguments: &LockArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let Some(recipe) = &arguments.recipe else {
        let workshop = Workshop::open(global.choices())?;
        let mirrors = workshop.mirrors()?;
        let sources = workshop.sources(&mirrors, terminal.progress());
        let lock = stages::toolbox::resolve(sources, workshop.clock())?;
        return terminal.show(lock.to_string());
    };
    let intent = format!("locking `{}`", recipe.display());
    let locked = || -> Result<(), Failure> {
        let project = project::load(&ProjectFiles, recipe)?;
        let present = resolve::satisfied_lock(&project);
        if arguments.check {
            present?;
            return project
                .shadow
                .as_ref()
                .map_or(Ok(()), |shadow| resolve::satisfied_shadow_lock(&project, shadow).map(drop));
        }
        lock_shadow(&project, arguments, global, terminal)?;
        if let (Ok(lock), false) = (&present, arguments.update) {
            let count = lock.packages.len();
            return terminal
                .show(format!("{}: satisfies the recipe, {count} packages\n", project.lock().display()));
        }
        let previous = resolve::read_lock(&project)?;
        let workshop = Workshop::open(global.choices())?;
        let lock = resolve::resolve(&project, previous.as_ref(), &workshop, terminal.progress())?;
        files::replace(&project.lock(), lock.to_string().as_bytes(), 0o644)?;
        terminal.show(format!("{}: {} packages\n", project.lock().display(), lock.packages.len()))
    };
    locked().map_err(|failure| failure.during(intent))
}

/// Locks what a shadow boot takes, where the target has one that stands in for it.
fn lock_shadow(
    project: &Project,
    arguments: &LockArguments,
    global: &Global,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let Some(shadow) = &project.shadow else { return Ok(()) };
    if resolve::satisfied_shadow_lock(project, shadow).is_ok() && !arguments.update {
        return Ok(());
    }
    let previous = resolve::read_shadow_lock(project)?;
    let workshop = Workshop::open(global.choices())?;
    let lock = resolve::resolve_shadow(project, shadow, previous.as_ref(), &workshop, terminal.progress())?;
    let path = project.shadow_lock();
    files::replace(&path, lock.to_string().as_bytes(), 0o644)?;
    terminal.show(format!("{}: {} packages\n", path.display(), lock.packages.len()))
}
