//! `toolbox`: runs a program of the toolbox.

use std::ffi::OsString;

use clap::Args;

use crate::cli::Absent;
use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `toolbox`.
#[derive(Debug, Args)]
pub struct ToolboxArguments {
    /// The program
    pub program: String,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Does it.
///
/// # Errors
/// Always, until the work is part of this program.
pub fn run(_: &ToolboxArguments, _: &Global, _: &Terminal) -> Result<(), Failure> {
    Err(Absent("toolbox").into())
}
