//! `lock`: resolves a recipe and writes its lock.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Absent;
use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub struct LockArguments {
    /// The recipe
    pub recipe: PathBuf,
    /// Resolve anew even if the lock satisfies the recipe
    #[arg(long)]
    pub update: bool,
    /// Write nothing; fail if the lock does not satisfy the recipe
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
}

/// Does it.
///
/// # Errors
/// Always, until the work is part of this program.
pub fn run(_: &LockArguments, _: &Global, _: &Terminal) -> Result<(), Failure> {
    Err(Absent("lock").into())
}
