//! `diff`: shows what differs between two images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::arguments::Form;
use crate::cli::terminal::Terminal;
use crate::diff::{self, Difference};
use crate::failure::{Class, Failure};
use crate::host::image::Image;
use crate::inspection;
use crate::verify::reading::{self, ReadingError};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The image as it was, raw or qcow2
    pub before: PathBuf,
    /// The image as it is, raw or qcow2
    pub after: PathBuf,
    /// How to show what differs
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Form,
    /// End with exit code 7 if they differ
    #[arg(long)]
    pub exit_code: bool,
}

/// Compares two images and shows what differs.
///
/// # Errors
/// As [`crate::cli::inspect::run`], of either image.
pub fn run(arguments: &DiffArguments, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let (before, after) = (&arguments.before, &arguments.after);
    let difference = difference(arguments).map_err(|error| {
        let intent = format!("comparing `{}` with `{}`", before.display(), after.display());
        Failure::from(error).during(intent)
    })?;
    terminal.show(match arguments.report {
        Form::Text => diff::text(&difference),
        Form::Json => inspection::json(&difference),
        Form::Markdown => diff::markdown(&difference),
    })?;
    let differ = arguments.exit_code && !difference.same_bytes;
    Ok(if differ { Class::Check.exit_code().into() } else { ExitCode::SUCCESS })
}

fn difference(arguments: &DiffArguments) -> Result<Difference, ReadingError> {
    let (before, after) = (Image::open(&arguments.before)?, Image::open(&arguments.after)?);
    if reading::same_bytes(&before, &after)? {
        // Two files of zeros are the same, and no images.
        reading::check(&before)?;
        return Ok(Difference::none());
    }
    let [one, two] = reading::sides(&before, &after)?;
    Ok(Difference::between(&one, &two))
}
