//! `inspect`: shows what an image is made of.

use std::path::PathBuf;

use clap::Args;

use crate::cli::arguments::Form;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::image::Image;
use crate::inspection;
use crate::verify::reading::{self, ReadingError};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The image, raw or qcow2
    pub image: PathBuf,
    /// How to show it
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Form,
}

/// Reads an image and shows what it is made of.
///
/// # Errors
/// Class `Environment` if the file cannot be read; `Recipe` if it is of a format that is not read, or a qcow2
/// image that needs another file; `Content` if it is none of ours, damaged or cut short.
pub fn run(arguments: &InspectArguments, terminal: &Terminal) -> Result<(), Failure> {
    let path = &arguments.image;
    let read = || -> Result<_, ReadingError> { reading::inspect(&Image::open(path)?) };
    let found =
        read().map_err(|error| Failure::from(error).during(format!("inspecting `{}`", path.display())))?;
    terminal.show(match arguments.report {
        Form::Text => inspection::text(&found),
        Form::Json => inspection::json(&found),
        Form::Markdown => inspection::markdown(&found),
    })
}
