//! `plan`: shows what a build would do.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Absent;
use crate::cli::arguments::{Global, Report};
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// The recipe
    pub recipe: PathBuf,
    /// How to show it
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

/// Does it.
///
/// # Errors
/// Always, until the work is part of this program.
pub fn run(_: &PlanArguments, _: &Global, _: &Terminal) -> Result<(), Failure> {
    Err(Absent("plan").into())
}
