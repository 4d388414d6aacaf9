//! `verify`: reads a finished image back and checks it.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Absent;
use crate::cli::arguments::{Global, Report};
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The image, raw or qcow2
    pub image: PathBuf,
    /// How to show the findings
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

/// Does it.
///
/// # Errors
/// Always, until the work is part of this program.
pub fn run(_: &VerifyArguments, _: &Global, _: &Terminal) -> Result<(), Failure> {
    Err(Absent("verify").into())
}
