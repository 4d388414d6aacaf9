//! `smoke`: boots what it built, and checks it from inside.

use std::path::{Path, PathBuf};

use clap::Args;
use goni_model::digest::ParseDigestError;
use goni_model::name::Name;
use goni_model::recipe::Swap;
use goni_model::report::{Boot, SmokeReport};

use crate::build::Built;
use crate::cli::arguments::{Global, Report};
use crate::cli::build::{self, BuildArguments};
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::host::files;
use crate::host::project::ProjectFiles;
use crate::project::{self, Project};
use crate::smoke::check::Check;
use crate::smoke::{self, Bench, Expectations, SmokeError, Subject, junit, text};
use crate::workshop::Workshop;

/// Arguments of `smoke`.
#[derive(Debug, Args)]
pub struct SmokeArguments {
    /// How to build what is booted
    #[command(flatten)]
    pub build: BuildArguments,
    /// Boot this raw image of the recipe, and build nothing
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Run this check alone; may be given several times
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<Name>,
    /// Go through the first boot alone: no reboot, no power cut
    #[arg(long)]
    pub first_boot: bool,
    /// List the checks and boot nothing
    #[arg(long)]
    pub list: bool,
    /// Write the outcomes as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// How to show the outcomes
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

/// Checks failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}; console: `{}`", console.display())]
struct Red {
    what: String,
    console: PathBuf,
}

impl Classify for Red {
    fn class(&self) -> Class {
        Class::Check
    }
}

/// Builds, boots, reports.
///
/// # Errors
/// What building says, an image that could not be booted, a check that failed.
pub fn run(arguments: &SmokeArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let intent = || format!("smoking `{}`", arguments.build.recipe.display());
    let during = |failure: Failure| failure.during(intent());
    let project = project::load(&ProjectFiles, &arguments.build.recipe).map_err(|e| during(e.into()))?;
    let no_machine = || SmokeError::NoMachine(project.target.name.clone());
    let qemu = project.target.qemu.as_ref().ok_or_else(no_machine).map_err(|e| during(e.into()))?;
    let folder = smoke::load(&ProjectFiles, &project.root, qemu.firmware).map_err(|e| during(e.into()))?;
    let checks = smoke::select(&folder.checks, &arguments.only).map_err(|e| during(e.into()))?;
    if arguments.list {
        return terminal.show(list(&checks));
    }

    let booted = booted(arguments.image.as_deref(), &arguments.build, global, terminal)?;
    let workshop = Workshop::open(global.choices())?;
    let console = console(&project, global, &booted.image)?;
    let expectations = expectations(&project, &booted)?;
    let toolbox = workshop.toolbox(terminal.progress())?;
    let subject = Subject {
        image: &booted.image,
        expectations: &expectations,
        arch: project.target.arch,
        qemu,
        board: &folder.board,
        guest: &folder.guest,
        checks,
        last: if arguments.first_boot { Boot::First } else { Boot::AfterPowerCut },
        console: console.clone(),
    };
    let bench = Bench {
        cache: workshop.cache(),
        toolbox: &toolbox,
        system: workshop.runner(),
        interrupt: workshop.interrupt(),
        progress: terminal.progress(),
    };
    let report = smoke::smoke(&subject, &bench).map_err(|error| during(error.into()))?;
    show(&report, arguments, terminal)?;
    if report.passed() {
        return Ok(());
    }
    let failed: Vec<String> = report
        .failures()
        .map(|finding| match finding.boot {
            Some(boot) => format!("{} ({})", finding.check, boot.name()),
            None => finding.check.to_string(),
        })
        .chain(report.broken_off.clone())
        .collect();
    Err(during(Red { what: failed.join(", "), console }.into()))
}

/// What is booted, and what the build says of it.
pub(super) struct Booted {
    /// The raw image.
    pub(super) image: PathBuf,
    /// What the build knows; `None`: it was built at another time.
    built: Option<Built>,
}

/// The raw image: the one that was named, or the one that is built now.
pub(super) fn booted(
    named: Option<&Path>,
    build: &BuildArguments,
    global: &Global,
    terminal: &Terminal,
) -> Result<Booted, Failure> {
    if let Some(image) = named {
        return Ok(Booted { image: image.to_owned(), built: None });
    }
    let (_, built) = build::image(build, global, terminal)?;
    Ok(Booted { image: built.raw.clone(), built: Some(built) })
}

/// What is true of the image: of one just built what the build says, of another what its table says.
fn expectations(project: &Project, booted: &Booted) -> Result<Expectations, Failure> {
    let goni_http = project.recipe.payloads.keys().any(|name| name.as_str() == "goni-http");
    let mut expectations = Expectations::of_image(&booted.image, project.target.arch, goni_http)?;
    if let Some(built) = &booted.built {
        let root_hash = built.root_hash.as_deref().map(str::parse).transpose();
        expectations.root_hash = root_hash.map_err(|error| Unsaid::RootHash { error })?;
        expectations.state = Some(built.state_uuid);
    }
    expectations.swap = !matches!(project.recipe.swap, Swap::None);
    Ok(expectations)
}

/// Where the console is kept: beside where images are put.
fn console(project: &Project, global: &Global, image: &Path) -> Result<PathBuf, Failure> {
    let out = global.out.clone().unwrap_or_else(|| project.root.join("out"));
    files::create_directories(&out)?;
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    Ok(out.join(format!("{stem}.console.log")))
}

fn show(report: &SmokeReport, arguments: &SmokeArguments, terminal: &Terminal) -> Result<(), Failure> {
    if let Some(path) = &arguments.junit {
        files::replace(path, junit::write(report).as_bytes(), 0o644)?;
    }
    match arguments.report {
        Report::Text => terminal.show(text::write(report)),
        Report::Json => {
            let json = serde_json::to_string_pretty(report).map_err(Unsaid::from)?;
            terminal.show(format!("{json}\n"))
        }
    }
}

/// Something this program made and cannot use: a mistake of its own.
#[derive(Debug, thiserror::Error)]
enum Unsaid {
    #[error("writing the report")]
    Report(#[from] serde_json::Error),
    #[error("reading the root hash of the build")]
    RootHash {
        #[source]
        error: ParseDigestError,
    },
}

impl Classify for Unsaid {
    fn class(&self) -> Class {
        Class::Bug
    }
}

fn list(checks: &[&Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let boots: Vec<&str> = check.boots.iter().map(|boot| boot.name()).collect();
        text.push_str(&format!(
            "{:<20} {}\n{:<20}   {}\n",
            check.name.as_str(),
            check.summary,
            "",
            boots.join(", ")
        ));
        for mutation in &check.mutations {
            text.push_str(&format!("{:<20}   red on {}: {}\n", "", mutation.name, mutation.summary));
        }
    }
    text
}
