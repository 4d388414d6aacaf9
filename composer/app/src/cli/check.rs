//! `check`: a recipe and all it names.

use std::path::PathBuf;

use clap::Args;

use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::project::ProjectFiles;
use crate::project;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The recipe
    pub recipe: PathBuf,
    /// Print every value that applies, and the file, line and column it comes from
    #[arg(long)]
    pub origins: bool,
}

/// Checks, and says so.
///
/// # Errors
/// The recipe cannot be loaded.
pub fn run(arguments: &CheckArguments, terminal: &Terminal) -> Result<(), Failure> {
    let project = project::load(&ProjectFiles, &arguments.recipe)
        .map_err(|error| Failure::from(error).during(format!("checking `{}`", arguments.recipe.display())))?;
    if !arguments.origins {
        let recipe = &project.recipe;
        return terminal.show(format!(
            "{} {} for {} ({}): good\n",
            recipe.name, recipe.version, recipe.target, project.target.arch
        ));
    }
    let lines: Vec<(String, String)> = project
        .origins
        .iter()
        .map(|(key, effective)| (format!("{key} = {}", effective.value), effective.origin.to_string()))
        .collect();
    let width = lines.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (left, origin) in lines {
        text.push_str(&format!("{left:width$}  # {origin}\n"));
    }
    terminal.show(text)
}
