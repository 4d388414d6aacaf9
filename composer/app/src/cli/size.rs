//! `size`: what takes the room of an image's root, and what grew.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::cli::why;
use crate::failure::Failure;
use crate::index;
use crate::index::sizes::{Change, Share, Since, Sizes, mebibytes, signed};

/// Arguments of `size`.
#[derive(Debug, Args)]
pub struct SizeArguments {
    /// The image, raw or qcow2, or the recipe it was built from
    #[arg(value_name = "IMAGE|RECIPE")]
    pub image: PathBuf,
    /// Say what changed since another image, by its index
    #[arg(long, value_name = "INDEX")]
    pub since: Option<PathBuf>,
    /// How many to name
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub top: usize,
    /// The index of the image, if it is not beside it
    #[arg(long, value_name = "FILE")]
    pub index: Option<PathBuf>,
    /// How to show the sizes
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Form,
}

/// How sizes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Lines for people.
    Text,
    /// One JSON value, with everybody in it.
    Json,
    /// Tables for a pull request.
    Markdown,
}

/// Shows the sizes, and fails if the root is over its budget.
///
/// # Errors
/// Class `Check`, exit code 7, if it is over its budget, or an index is damaged; else as `why`.
pub fn run(arguments: &SizeArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let during = |failure: Failure| failure.during(format!("measuring `{}`", arguments.image.display()));
    let index = why::read(&arguments.image, arguments.index.as_deref(), global, terminal).map_err(during)?;
    let before =
        arguments.since.as_deref().map(index::read).transpose().map_err(|error| during(error.into()))?;
    let sizes = index.sizes(before.as_ref());
    terminal.show(match arguments.report {
        Form::Text => text(&sizes, arguments.top),
        Form::Markdown => markdown(&sizes, arguments.top),
        Form::Json => {
            let text = serde_json::to_string_pretty(&sizes);
            text.expect("names and numbers have a form in JSON") + "\n"
        }
    })?;
    sizes.within_budget().map_err(|error| during(error.into()))
}

/// A line each, the largest first.
fn text(sizes: &Sizes, top: usize) -> String {
    let mut text = format!("{}: {}\n", sizes.image, used(sizes));
    for Share { kind, name, files, bytes, stored } in sizes.shares.iter().take(top) {
        let (stored, bytes) = (mebibytes(*stored), mebibytes(*bytes));
        text.push_str(&format!("{stored:>12}  of {bytes:>12}  {files:>6} files  {} {name}\n", kind.name()));
    }
    text.push_str(&format!("{:>12}  {}\n", "", rest(sizes, top)));
    if let Some(since) = &sizes.since {
        text.push_str(&format!("since {}: {}\n", since.image, total(sizes, since)));
        for change in since.changes.iter().take(top) {
            text.push_str(&format!(
                "{:>12}  {} {}\n",
                signed(change.difference()),
                change.kind.name(),
                change.name
            ));
        }
    }
    text
}

/// Tables of Markdown.
fn markdown(sizes: &Sizes, top: usize) -> String {
    let mut text = format!("**{}**: {}\n\n", sizes.image, used(sizes));
    text.push_str("| what | in the root | of bytes | files |\n|---|--:|--:|--:|\n");
    for Share { kind, name, files, bytes, stored } in sizes.shares.iter().take(top) {
        let (stored, bytes) = (mebibytes(*stored), mebibytes(*bytes));
        text.push_str(&format!("| {} `{name}` | {stored} | {bytes} | {files} |\n", kind.name()));
    }
    text.push_str(&format!("\n{}\n", rest(sizes, top)));
    if let Some(since) = &sizes.since {
        text.push_str(&format!("\nSince {}: {}\n\n", since.image, total(sizes, since)));
        text.push_str("| what | change | before | after |\n|---|--:|--:|--:|\n");
        for Change { kind, name, before, after } in since.changes.iter().take(top) {
            let change = signed(i128::from(*after) - i128::from(*before));
            let (before, after) = (mebibytes(*before), mebibytes(*after));
            text.push_str(&format!("| {} `{name}` | {change} | {before} | {after} |\n", kind.name()));
        }
    }
    text
}

fn used(sizes: &Sizes) -> String {
    let of = sizes.budget.map(|budget| format!(" of a budget of {}", mebibytes(budget))).unwrap_or_default();
    format!("the root uses {}{of}", mebibytes(sizes.used))
}

fn total(sizes: &Sizes, since: &Since) -> String {
    signed(i128::from(sizes.used) - i128::from(since.used))
}

/// What is not named one by one.
fn rest(sizes: &Sizes, top: usize) -> String {
    let others: Vec<&Share> = sizes.shares.iter().skip(top).collect();
    let stored = mebibytes(others.iter().map(|share| share.stored).sum());
    let metadata = mebibytes(sizes.unattributed);
    match others.len() {
        0 => format!("and {metadata} of metadata"),
        count => format!("and {count} others with {stored}, and {metadata} of metadata"),
    }
}
