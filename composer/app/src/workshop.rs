//! What every verb that acts works with: cache, store, mirrors, downloads, commands, clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::failure::{Class, Classify, Failure};
use crate::host::clock::{Clock, SystemClock};
use crate::host::command::System;
use crate::host::environment::Environment;
use crate::host::fetch::http::{HttpFetch, Options};
use crate::host::fetch::{Fetch, Refusing};
use crate::host::interrupt::Interrupt;
use crate::host::mirror::{MirrorError, Mirrors};
use crate::host::store::Store;
use crate::host::toolbox::Toolbox;
use crate::progress::Progress;
use crate::stages::fetch::Sources;
use crate::stages::toolbox;

/// Where apt keeps its configuration.
const APT: &str = "/etc/apt";

/// What the caller chose; everything else is found.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The mirror of the archive `debian`.
    pub mirror: Option<String>,
    /// Mirrors of other archives, by name.
    pub mirrors: Vec<(String, String)>,
    /// Where packages are that their mirror has no longer, as patterns.
    pub fallbacks: Vec<String>,
    /// Where downloads and finished stages are kept.
    pub cache: Option<PathBuf>,
    /// Where configured trees are kept; elsewhere than in the cache for a build that must find none.
    pub trees: Option<PathBuf>,
    /// Fetch nothing.
    pub offline: bool,
}

/// The machine, as far as a build needs it.
pub struct Workshop {
    choices: Choices,
    environment: Environment,
    cache: PathBuf,
    trees: PathBuf,
    store: Store,
    fetch: Box<dyn Fetch>,
    runner: System,
    interrupt: Interrupt,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Workshop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// Signals could not be caught.
#[derive(Debug, thiserror::Error)]
#[error("preparing for Ctrl-C")]
struct Signals(#[source] std::io::Error);

impl Classify for Signals {
    fn class(&self) -> Class {
        Class::Environment
    }
}

impl Workshop {
    /// Finds and opens everything.
    ///
    /// # Errors
    /// No place for the cache, a cache that is not ours, settings that cannot be read.
    pub fn open(choices: Choices) -> Result<Self, Failure> {
        let environment = Environment::of_process();
        let cache = environment.cache_directory(choices.cache.as_deref())?;
        let store = Store::open(&cache)?;
        let trees = choices.trees.clone().unwrap_or_else(|| cache.join("trees"));
        let interrupt = Interrupt::install().map_err(Signals)?;
        let fetch: Box<dyn Fetch> = match choices.offline {
            true => Box::new(Refusing),
            false => Box::new(HttpFetch::new(Options::of(&environment)?, interrupt.clone())?),
        };
        let runner = System::default().stopping_on(interrupt.flag());
        Ok(Self {
            choices,
            environment,
            cache,
            trees,
            store,
            fetch,
            runner,
            interrupt,
            clock: Arc::new(SystemClock),
        })
    }

    /// Where finished stages are kept.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Where configured trees are kept.
    #[must_use]
    pub fn trees(&self) -> &Path {
        &self.trees
    }

    /// From now on, they are kept there.
    pub fn keep_trees_in(&mut self, trees: PathBuf) {
        self.trees = trees;
    }

    /// The store of bytes.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The downloads.
    #[must_use]
    pub fn fetch(&self) -> &dyn Fetch {
        &*self.fetch
    }

    /// What runs commands.
    #[must_use]
    pub const fn runner(&self) -> &System {
        &self.runner
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Whether somebody wants this to end.
    #[must_use]
    pub const fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The variables and directories of the process.
    #[must_use]
    pub const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Where each archive is, from the command line, the environment, the user's file or apt.
    ///
    /// # Errors
    /// None of them names one.
    pub fn mirrors(&self) -> Result<Mirrors, Failure> {
        let found = Mirrors::discover(self.choices.mirror.as_deref(), &self.environment, Path::new(APT));
        let mut mirrors = match found {
            // Nothing is fetched, so nobody need know from where.
            Err(MirrorError::NoneFound) if self.choices.offline => Mirrors::default(),
            found => found?,
        };
        for (archive, uri) in &self.choices.mirrors {
            mirrors = mirrors.with(archive, uri)?;
        }
        Ok(mirrors.with_fallbacks(&self.choices.fallbacks, &self.environment)?)
    }

    /// Where packages come from and go to.
    #[must_use]
    pub fn sources<'a>(&'a self, mirrors: &'a Mirrors, progress: &'a dyn Progress) -> Sources<'a> {
        Sources { mirrors, store: &self.store, fetch: &*self.fetch, progress }
    }

    /// The tools, fetched if they are not here yet.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn toolbox(&self, progress: &dyn Progress) -> Result<Toolbox, Failure> {
        if let Some(toolbox) = Toolbox::find(&self.cache) {
            return Ok(toolbox);
        }
        toolbox::open(&self.cache, self.sources(&self.mirrors()?, progress), self.clock())
    }
}
