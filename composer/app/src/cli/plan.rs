//! `plan`: what a build would do.

use std::path::PathBuf;

use clap::Args;

use crate::build;
use crate::cli::arguments::{Global, Report};
use crate::cli::build::BuildArguments;
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::workshop::Workshop;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// What would be built
    #[command(flatten)]
    pub build: BuildArguments,
    /// How to show it
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

/// A plan that cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("writing the plan as JSON")]
struct Unwritten(#[from] serde_json::Error);

impl Classify for Unwritten {
    fn class(&self) -> Class {
        Class::Bug
    }
}

/// Plans, and shows the plan.
///
/// # Errors
/// The recipe cannot be loaded, its lock is stale, its sizes make no disk.
pub fn run(arguments: &PlanArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let recipe: &PathBuf = &arguments.build.recipe;
    let planned = || -> Result<String, Failure> {
        let project = arguments.build.project()?;
        let workshop = Workshop::open(global.choices())?;
        let order = arguments.build.order(&project, global);
        let plan = build::plan(&project, &order, &workshop, terminal.progress())?;
        Ok(match arguments.report {
            Report::Text => plan.to_string(),
            Report::Json => serde_json::to_string_pretty(&plan).map_err(Unwritten)? + "\n",
        })
    };
    terminal.show(planned().map_err(|failure| failure.during(format!("planning `{}`", recipe.display())))?)
}
