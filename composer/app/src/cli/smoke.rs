//! `smoke`: boots what it built, and checks it from inside.

use std::path::{Path, PathBuf};

use clap::Args;
use goni_model::digest::ParseDigestError;
use goni_model::name::Name;
use goni_model::recipe::Swap;
use goni_model::report::{Boot, PowerCutPart, SmokeReport};

use crate::build::Built;
use crate::cli::arguments::{Global, Report};
use crate::cli::build::{self, BuildArguments};
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::host::files;
use crate::host::project::ProjectFiles;
use crate::project::{self, Project};
use crate::smoke::check::Check;
use crate::smoke::power_cuts::load::GuestLoad;
use crate::smoke::power_cuts::points::Point;
use crate::smoke::power_cuts::{self, Wish};
use crate::smoke::{self, Bench, Expectations, SmokeError, Subject, junit, text};
use crate::workshop::Workshop;

/// How the name of the writes ends that were kept.
const WRITES: &str = "writes.log";

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
    /// Cut the power after every write of a first boot and of a reboot instead, and boot the disks of
    /// so many cuts of each
    #[arg(long, value_name = "BOOTS", num_args = 0..=1, default_missing_value = "12")]
    #[arg(conflicts_with_all = ["only", "list", "junit"])]
    pub power_cuts: Option<u64>,
    /// Make the disk of a cut again, from the writes that were kept where `--power-cuts` found faults
    #[arg(long, value_name = "POINT", conflicts_with_all = ["power_cuts", "only", "list", "junit"])]
    pub power_cut_at: Option<Point>,
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
    if let Some(point) = arguments.power_cut_at {
        return remake(point, &project, global, &booted.image, terminal).map_err(during);
    }
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
    if let Some(boots) = arguments.power_cuts {
        return power_cuts(boots, arguments, &project, &subject, &bench, terminal).map_err(during);
    }
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

/// The checks that say whether a disk whose power was cut boots to a healthy node.
const HEALTHY: [&str; 2] = ["system-running", "goni-http"];

/// Cuts the power after every write, and tells what came of it.
fn power_cuts(
    boots: u64,
    arguments: &SmokeArguments,
    project: &Project,
    subject: &Subject<'_>,
    bench: &Bench<'_>,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let load = GuestLoad::read(&ProjectFiles, &project.root)?;
    let checks: Vec<&Check> =
        subject.checks.iter().copied().filter(|check| HEALTHY.contains(&check.name.as_str())).collect();
    let subject = Subject { checks, ..subject.clone() };
    let kept = subject.console.with_extension("").with_extension(WRITES);
    let wish = Wish { load: &load, boots, first_alone: arguments.first_boot, kept: &kept };
    let report = power_cuts::power_cuts(&subject, &wish, bench)?;
    match arguments.report {
        Report::Text => terminal.show(power_cuts::text::write(&report))?,
        Report::Json => {
            let json = serde_json::to_string_pretty(&report).map_err(Unsaid::from)?;
            terminal.show(format!("{json}\n"))?;
        }
    }
    if report.passed() {
        return Ok(());
    }
    let first = |part: &PowerCutPart| {
        part.faults.first().map(|fault| format!("{} after {}: {}", part.name, fault.point, fault.what))
    };
    let what: Vec<String> = report.broken_off.clone().into_iter().chain(report.parts.iter().filter_map(first)).collect();
    Err(Red { what: what.join("; "), console: subject.console.clone() }.into())
}

/// Makes the disk of a cut from the writes that were kept.
fn remake(
    point: Point,
    project: &Project,
    global: &Global,
    image: &Path,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let console = console(project, global, image)?;
    let log = console.with_extension("").with_extension(WRITES);
    // A colon is no part of a file's name everywhere.
    let name = point.to_string().replace(':', "-");
    let disk = console.with_extension("").with_extension(format!("cut-{name}.raw"));
    power_cuts::remake(image, &log, point, &disk)?;
    terminal.show(format!("{}\n", disk.display()))
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
