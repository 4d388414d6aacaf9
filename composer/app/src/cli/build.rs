//! `build`: builds an image and verifies it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use crate::build::{self, Built, Order};
use crate::cli::arguments::{Global, PayloadFile};
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::elsewhere;
use crate::host::project::ProjectFiles;
use crate::host::sandbox::{Mapping, enter_user_namespace};
use crate::project::{self, Project};
use crate::workshop::{Choices, Workshop};

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildVerb {
    /// What to build.
    #[command(flatten)]
    pub build: BuildArguments,
    /// Build once more under other circumstances, and compare every byte
    #[arg(long)]
    pub twice: bool,
    /// For the second build of `--twice`: where its trees are
    #[arg(long, hide = true, value_name = "DIR")]
    pub perturbed: Option<PathBuf>,
}

/// Arguments of every verb that builds.
#[derive(Debug, Args)]
pub struct BuildArguments {
    /// The recipe
    pub recipe: PathBuf,
    /// Take a payload from a file
    #[arg(long, value_name = "NAME=FILE")]
    pub payload: Vec<PayloadFile>,
    /// Build even if nothing changed
    #[arg(long)]
    pub force: bool,
    /// Emulate every program of an image of another architecture: slower, for suspicion
    #[arg(long)]
    pub emulate: bool,
    /// Take ids of users and groups that differ from the lock's into the lock
    #[arg(long)]
    pub accept_ids: bool,
}

impl BuildArguments {
    /// The project of the recipe.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn project(&self) -> Result<Project, Failure> {
        Ok(project::load(&ProjectFiles, &self.recipe)?)
    }

    /// What to build from the project.
    #[must_use]
    pub fn order(&self, project: &Project, global: &Global) -> Order {
        let payloads: BTreeMap<_, _> =
            self.payload.iter().map(|given| (given.name.clone(), given.path.clone())).collect();
        let out = global.out.clone().unwrap_or_else(|| project.root.join("out"));
        Order { payloads, out, force: self.force, emulate: self.emulate, accept_ids: self.accept_ids }
    }
}

/// Builds, and says what is where.
///
/// # Errors
/// Anything that keeps the image from being built or from passing its checks.
pub fn run(arguments: &BuildVerb, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let intent = format!("building `{}`", arguments.build.recipe.display());
    let built = || -> Result<Built, Failure> {
        let (project, mut workshop) = prepare(&arguments.build, global, arguments.perturbed.clone())?;
        let order = arguments.build.order(&project, global);
        let built = build::build(&project, &order, &workshop, terminal.progress())?;
        if arguments.twice {
            build::twice::build_again(&project, &order, &built, &mut workshop, terminal.progress())?;
        }
        Ok(built)
    };
    let built = built().map_err(|failure| failure.during(intent))?;
    terminal.show(summary(&built))
}

/// Project and workshop of a build; `trees` is where its trees are, if it is a perturbed one.
fn prepare(
    arguments: &BuildArguments,
    global: &Global,
    trees: Option<PathBuf>,
) -> Result<(Project, Workshop), Failure> {
    let project = arguments.project()?;
    enter_user_namespace(Mapping::Full)?;
    if trees.is_some() {
        elsewhere::adapt()?;
    }
    let workshop = Workshop::open(Choices { trees, ..global.choices() })?;
    Ok((project, workshop))
}

/// Builds the image that a verb is about.
///
/// # Errors
/// As [`run`].
pub fn image(
    arguments: &BuildArguments,
    global: &Global,
    terminal: &Terminal,
) -> Result<(Project, Built), Failure> {
    let intent = format!("building `{}`", arguments.recipe.display());
    let built = || -> Result<(Project, Built), Failure> {
        let (project, workshop) = prepare(arguments, global, None)?;
        let order = arguments.order(&project, global);
        let built = build::build(&project, &order, &workshop, terminal.progress())?;
        Ok((project, built))
    };
    built().map_err(|failure| failure.during(intent))
}

/// What was built, in lines.
fn summary(built: &Built) -> String {
    let directory = built.raw.parent().unwrap_or(&built.raw).display();
    let mut text = String::new();
    for (name, file) in &built.files {
        text.push_str(&format!("{directory}/{name}  {} bytes  sha256 {}\n", file.size, file.sha256));
    }
    if let Some(since) = &built.since {
        let grown = since.grown(5);
        if !grown.is_empty() {
            text.push_str(&format!("grew since the last build: {}\n", grown.join(", ")));
        }
    }
    for name in &built.stand_ins {
        text.push_str(&format!("payload {name}: A STAND-IN, NOT THE REAL PROGRAM\n"));
    }
    text
}
