//! `build`: builds an image and verifies it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use crate::build::{self, Built, Order};
use crate::cli::arguments::{Global, PayloadFile};
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::project::ProjectFiles;
use crate::host::sandbox::{Mapping, enter_user_namespace};
use crate::project::{self, Project};
use crate::workshop::Workshop;

/// Arguments of `build`.
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
        Order { payloads, out, force: self.force, emulate: self.emulate }
    }
}

/// Builds, and says what is where.
///
/// # Errors
/// Anything that keeps the image from being built or from passing its checks.
pub fn run(arguments: &BuildArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let (_, built) = image(arguments, global, terminal)?;
    terminal.show(summary(&built))
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
        let project = arguments.project()?;
        enter_user_namespace(Mapping::Full)?;
        let workshop = Workshop::open(global.choices())?;
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
