//! `smoke`: boots what it built, and checks it from inside.

use std::path::PathBuf;

use clap::Args;
use goni_model::name::Name;

use crate::cli::Absent;
use crate::cli::arguments::{Global, Report};
use crate::cli::build::BuildArguments;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `smoke`.
#[derive(Debug, Args)]
pub struct SmokeArguments {
    /// How to build what is booted
    #[command(flatten)]
    pub build: BuildArguments,
    /// Run these checks alone
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<Name>,
    /// List the checks and boot nothing
    #[arg(long)]
    pub list: bool,
    /// Write the outcomes as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// How to show the outcomes
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

/// Does it.
///
/// # Errors
/// Always, until the work is part of this program.
pub fn run(_: &SmokeArguments, _: &Global, _: &Terminal) -> Result<(), Failure> {
    Err(Absent("smoke").into())
}
