//! `build`: builds an image and verifies it.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Absent;
use crate::cli::arguments::{Global, PayloadFile};
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArguments {
    /// The recipe
    pub recipe: PathBuf,
    /// Take a payload from a file
    #[arg(long, value_name = "NAME=FILE")]
    pub payload: Vec<PayloadFile>,
    /// Replace an image that is there already
    #[arg(long)]
    pub force: bool,
}

/// Does it.
///
/// # Errors
/// Always, until the work is part of this program.
pub fn run(_: &BuildArguments, _: &Global, _: &Terminal) -> Result<(), Failure> {
    Err(Absent("build").into())
}
