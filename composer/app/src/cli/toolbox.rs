//! `toolbox`: runs a program of the toolbox.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::command::Run as _;
use crate::host::files::FileError;
use crate::host::project::ProjectFiles;
use crate::project::Files as _;
use crate::workshop::Workshop;

/// Arguments of `toolbox`.
#[derive(Debug, Args)]
pub struct ToolboxArguments {
    /// The program
    pub program: String,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Runs it in the current directory, and passes its output and exit code on.
///
/// # Errors
/// The tools cannot be had, or the program cannot be started.
pub fn run(arguments: &ToolboxArguments, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let workshop = Workshop::open(global.choices())?;
    let toolbox = workshop.toolbox(terminal.progress())?;
    let here = ProjectFiles.here().map_err(FileError::io("finding", Path::new(".")))?;
    let sandbox = toolbox.sandbox().bind_writable(&here, &here);
    let command =
        toolbox.command_in(&arguments.program, sandbox)?.args(arguments.arguments.clone()).directory(here);
    let output = workshop.runner().run(&command)?;
    terminal.show(&output.stdout)?;
    terminal.complain(&String::from_utf8_lossy(&output.stderr));
    Ok(output.exit.code().into())
}
