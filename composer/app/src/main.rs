//! The command `goni-compose`.

use std::process::ExitCode;

use goni_compose::{cli, host::sandbox};

fn main() -> ExitCode {
    sandbox::enter_if_asked().unwrap_or_else(cli::main)
}
