//! The command `goni-compose`.

use std::process::ExitCode;

fn main() -> ExitCode {
    goni_compose::cli::main()
}
