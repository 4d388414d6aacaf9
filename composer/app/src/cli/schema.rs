//! `schema`: what an editor needs to help with the files of a project.

use clap::{Args, ValueEnum};
use goni_model::{gpu, overlay, recipe, rules, target};

use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::smoke::{check, machine, scenario};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArguments {
    /// The kind of document
    #[arg(default_value = "recipe")]
    pub kind: Kind,
}

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// `recipes/*.toml`
    Recipe,
    /// `firmware/*/target.toml`
    Target,
    /// `overlays/*/overlay.toml`
    Overlay,
    /// `firmware/rules.toml`
    Rules,
    /// `firmware/_gpu/*.toml`
    Gpu,
    /// `qemu/checks/*.toml`
    Check,
    /// `qemu/scenarios/*.toml`
    Scenario,
    /// `qemu/machines/*.toml`
    Machine,
}

/// Prints the schema.
///
/// # Errors
/// Standard output takes nothing.
pub fn run(arguments: &SchemaArguments, terminal: &Terminal) -> Result<(), Failure> {
    let schema = match arguments.kind {
        Kind::Recipe => recipe::schema(),
        Kind::Target => target::schema(),
        Kind::Overlay => overlay::schema(),
        Kind::Rules => rules::schema(),
        Kind::Gpu => gpu::schema(),
        Kind::Check => check::schema(),
        Kind::Scenario => scenario::schema(),
        Kind::Machine => machine::schema(),
    };
    terminal.show(format!("{:#}\n", schema.as_value()))
}
