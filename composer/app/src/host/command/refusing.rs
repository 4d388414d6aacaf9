//! The runner that runs nothing.

use super::{CommandSpec, Output, Run, RunError};

/// Refuses every command.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusing;

impl Run for Refusing {
    fn run_watched(&self, command: &CommandSpec, _: &(dyn Fn(&[u8]) + Sync)) -> Result<Output, RunError> {
        Err(RunError::Refused { command: command.to_string() })
    }
}
