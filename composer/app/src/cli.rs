//! The terminal: arguments in, progress and errors out.
//!
//! Results go to standard output, everything else to standard error. What a verb does is elsewhere;
//! `cli/<verb>.rs` only turns arguments into a call and the outcome into text.

pub mod arguments;
pub mod build;
pub mod check;
pub mod completions;
pub mod diff;
pub mod inspect;
pub mod lock;
mod panic;
pub mod plan;
pub mod progress;
mod render;
pub mod run;
pub mod schema;
pub mod sign;
pub mod size;
pub mod smoke;
pub mod store;
pub mod target;
pub mod terminal;
pub mod toolbox;
pub mod verify;
pub mod why;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::arguments::{Arguments, Verb};
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Failure};

/// The program: arguments, verb, exit code.
#[must_use]
pub fn main() -> ExitCode {
    panic::install();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for and go to standard output; a closed pipe there is no fault.
            drop(error.print());
            return if error.use_stderr() { Class::Recipe.exit_code().into() } else { ExitCode::SUCCESS };
        }
    };
    let terminal = Terminal::new(&arguments.global);
    match panic::catch(|| dispatch(&arguments, &terminal)) {
        None => Class::Bug.exit_code().into(),
        Some(Ok(code)) => code,
        Some(Err(failure)) if failure.error().is::<terminal::Closed>() => ExitCode::SUCCESS,
        Some(Err(failure)) => {
            terminal.complain(&render::failure(&failure, terminal.colors()));
            failure.class().exit_code().into()
        }
    }
}

fn dispatch(arguments: &Arguments, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let global = &arguments.global;
    let done = match &arguments.verb {
        Verb::Toolbox(arguments) => return toolbox::run(arguments, global, terminal),
        Verb::Diff(arguments) => return diff::run(arguments, terminal),
        Verb::Check(arguments) => check::run(arguments, terminal),
        Verb::Lock(arguments) => lock::run(arguments, global, terminal),
        Verb::Store(arguments) => store::run(arguments, global, terminal),
        Verb::Plan(arguments) => plan::run(arguments, global, terminal),
        Verb::Build(arguments) => build::run(arguments, global, terminal),
        Verb::Verify(arguments) => verify::run(arguments, global, terminal),
        Verb::Inspect(arguments) => inspect::run(arguments, terminal),
        Verb::Sign(arguments) => sign::run(arguments, global, terminal),
        Verb::Size(arguments) => size::run(arguments, global, terminal),
        Verb::Why(arguments) => why::run(arguments, global, terminal),
        Verb::Smoke(arguments) => smoke::run(arguments, global, terminal),
        Verb::Run(arguments) => run::run(arguments, global, terminal),
        Verb::Target(arguments) => target::run(arguments, global, terminal),
        Verb::Schema(arguments) => schema::run(arguments, terminal),
        Verb::Completions(arguments) => completions::run(arguments, terminal),
    };
    done.map(|()| ExitCode::SUCCESS)
}
