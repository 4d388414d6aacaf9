//! `completions`: for the shells clap knows.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::arguments::Arguments;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    pub shell: Shell,
}

/// Prints the completions.
///
/// # Errors
/// Standard output takes nothing.
pub fn run(arguments: &CompletionsArguments, terminal: &Terminal) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "goni-compose", &mut text);
    terminal.show(text)
}
