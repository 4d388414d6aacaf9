//! `run`: boots what it built, at this terminal.

use clap::Args;

use crate::cli::Absent;
use crate::cli::arguments::Global;
use crate::cli::build::BuildArguments;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// How to build what is booted
    #[command(flatten)]
    pub build: BuildArguments,
}

/// Does it.
///
/// # Errors
/// Always, until the work is part of this program.
pub fn run(_: &RunArguments, _: &Global, _: &Terminal) -> Result<(), Failure> {
    Err(Absent("run").into())
}
