//! `store`: all bytes of a lock kept and moved; the cache's store looked after.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use goni_model::digest::Sha256Digest;
use goni_model::lock::Lock;
use goni_model::time::Timestamp;

use crate::bundle::{self, Subject};
use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::host::clock::{Clock as _, SystemClock};
use crate::host::environment::Environment;
use crate::host::files;
use crate::host::project::ProjectFiles;
use crate::host::store::{Store, bundle as exports};
use crate::project;
use crate::workshop::Workshop;

/// The largest lock that is read.
const LARGEST_LOCK: u64 = 64 << 20;

/// Arguments of `store`.
#[derive(Debug, Args)]
pub struct StoreArguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: StoreVerb,
}

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Write all bytes of a lock to a folder, or to one file
    Export(ExportArguments),
    /// Take all bytes of an export into the store, or none
    Import(ImportArguments),
    /// Remove what no lock refers to and nobody used lately
    Gc(GcArguments),
    /// Compare every file of the store with its name
    Verify(VerifyArguments),
}

/// Arguments of `store export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// A recipe, or a lock
    pub subject: PathBuf,
    /// Where to: a folder, to which only what it lacks is added, or a file `….tar`
    pub place: PathBuf,
    /// Leave out the program's own tools: enough to build for this machine's architecture, not to boot in QEMU
    #[arg(long)]
    pub without_tools: bool,
}

/// Arguments of `store import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// The export: a folder, or a file
    pub place: PathBuf,
}

/// Arguments of `store gc`.
#[derive(Debug, Args)]
pub struct GcArguments {
    /// Recipes or locks whose bytes stay; without any, those of the project around this folder
    pub subjects: Vec<PathBuf>,
    /// What was used in the last days stays, too
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub keep_days: u32,
    /// Remove nothing, only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `store verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Remove what is broken, so that it is fetched anew
    #[arg(long)]
    pub repair: bool,
}

/// What is wrong with a store.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{count} of {entries} files of the store are damaged")]
    Damaged { count: usize, entries: usize },
}

impl Classify for Broken {
    fn class(&self) -> Class {
        Class::Trust
    }

    fn hint(&self) -> Option<String> {
        Some("goni-compose store verify --repair removes them; they are fetched anew when needed".to_owned())
    }
}

/// Looks after the store.
///
/// # Errors
/// What the verb says.
pub fn run(arguments: &StoreArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    match &arguments.verb {
        StoreVerb::Export(arguments) => export(arguments, global, terminal)
            .map_err(|failure| failure.during(format!("exporting `{}`", arguments.subject.display()))),
        StoreVerb::Import(arguments) => import(arguments, global, terminal)
            .map_err(|failure| failure.during(format!("importing `{}`", arguments.place.display()))),
        StoreVerb::Gc(arguments) => {
            collect(arguments, global, terminal).map_err(|failure| failure.during("clearing the store"))
        }
        StoreVerb::Verify(arguments) => {
            verify(arguments, global, terminal).map_err(|failure| failure.during("verifying the store"))
        }
    }
}

fn export(arguments: &ExportArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let subject = Subject::read(&arguments.subject)?;
    let workshop = Workshop::open(global.choices())?;
    let manifest = subject.gather(!arguments.without_tools, &workshop, terminal.progress())?;
    let moved = exports::export(workshop.store(), &manifest, &arguments.place)?;
    let (place, new, all, bytes) = (arguments.place.display(), moved.new, moved.all, moved.bytes);
    terminal.show(format!("{place}: {all} files, {new} of them new, {bytes} bytes\n"))
}

fn import(arguments: &ImportArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let workshop = Workshop::open(global.choices())?;
    let (manifests, moved) = exports::import(workshop.store(), &arguments.place, bundle::check_complete)?;
    let mut text = String::new();
    for manifest in &manifests {
        let (recipe, arch, lock) = (&manifest.recipe, &manifest.arch, &manifest.lock);
        text.push_str(&format!("{recipe} {arch}, lock {lock}: {} files\n", manifest.files.len()));
    }
    let (all, new, bytes) = (moved.all, moved.new, moved.bytes);
    text.push_str(&format!("{all} files, {new} of them new, {bytes} bytes\n"));
    terminal.show(text)
}

fn collect(arguments: &GcArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let cache = Environment::of_process().cache_directory(global.cache.as_deref())?;
    let locks = match arguments.subjects.is_empty() {
        true => found_locks()?,
        false => named_locks(&arguments.subjects),
    };
    let store = Store::alone(&cache)?;
    let mut kept: BTreeSet<Sha256Digest> = bundle::tools()?;
    for path in &locks {
        // Also one that is stale, or of the form before, keeps what it names.
        let lock = Lock::reading(&files::read_text(path, LARGEST_LOCK)?)
            .map_err(|source| NoLock { path: path.display().to_string(), source })?
            .lock;
        kept.extend(bundle::referenced(&lock, &store)?);
    }
    let days = i64::from(arguments.keep_days).saturating_mul(86_400);
    let since = Timestamp::from_seconds(SystemClock.now().seconds.saturating_sub(days));
    let freed = store.collect(&kept, since, arguments.dry_run)?;
    let verb = if arguments.dry_run { "would be removed" } else { "removed" };
    terminal.show(format!(
        "{} files {verb}, {} bytes; {} stay, for {} locks and what was used in {} days\n",
        freed.entries,
        freed.bytes,
        freed.kept,
        locks.len(),
        arguments.keep_days
    ))
}

/// A lock that cannot be read keeps nothing, so nothing is removed.
#[derive(Debug, thiserror::Error)]
#[error("reading the lock `{path}`")]
struct NoLock {
    path: String,
    source: goni_model::lock::ParseLockError,
}

impl Classify for NoLock {
    fn class(&self) -> Class {
        Class::Trust
    }
}

/// The locks of recipes and locks that were named, with those of their shadow boots.
fn named_locks(subjects: &[PathBuf]) -> Vec<PathBuf> {
    let shadow = |subject: &PathBuf| {
        Some(subject.with_extension("shadow.lock")).filter(|it| files::size(it).is_some())
    };
    let both = |subject: &PathBuf| [Some(subject.with_extension("lock")), shadow(subject)];
    subjects.iter().flat_map(both).flatten().collect()
}

/// The locks of the project around this folder. Where there is none, nobody says what is to be kept.
fn found_locks() -> Result<Vec<PathBuf>, Failure> {
    let shelf = project::shelf(&ProjectFiles, Path::new("."))?;
    let folder = shelf.root.join("recipes");
    Ok(files::list(&folder, &[".lock"])?)
}

fn verify(arguments: &VerifyArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let workshop = Workshop::open(global.choices())?;
    let found = workshop.store().inspect()?;
    let mut text = String::new();
    for path in &found.broken {
        text.push_str(&format!("damaged: {}\n", path.display()));
    }
    for path in &found.strangers {
        text.push_str(&format!("no file of the store: {}\n", path.display()));
    }
    text.push_str(&format!(
        "{} files, {} bytes, {} damaged\n",
        found.entries,
        found.bytes,
        found.broken.len()
    ));
    terminal.show(text)?;
    if arguments.repair {
        workshop.store().drop_files(&found.broken)?;
        return terminal.show(format!("{} files removed\n", found.broken.len()));
    }
    match found.broken.len() {
        0 => Ok(()),
        count => Err(Broken::Damaged { count, entries: found.entries }.into()),
    }
}
