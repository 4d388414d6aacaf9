//! `smoke`: boots what it built, and checks it from inside.

mod power_cuts;

use std::path::{Path, PathBuf};

use clap::Args;
use goni_disk::gpt;
use goni_model::digest::ParseDigestError;
use goni_model::name::Name;
use goni_model::report::SmokeReport;
use goni_model::size::SectorSize;

use crate::build::Built;
use crate::cli::arguments::{Global, Report};
use crate::cli::build::{self, BuildArguments};
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::host::disk_file::DiskFile;
use crate::host::files::{self, FileError};
use crate::host::project::ProjectFiles;
use crate::host::sandbox::{Mapping, enter_user_namespace};
use crate::project::{self, Project};
use crate::shadow;
use crate::smoke::expectations::{Expectations, Promises};
use crate::smoke::feature::Feature;
use crate::smoke::power_cuts::points::Point;
use crate::smoke::select::{Trial, Unknown, Until, Wish, known_boot, select};
use crate::smoke::{self, Bench, SmokeError, Subject, junit, text};
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
    /// Go through every scenario, not only those that are the default
    #[arg(long, conflicts_with_all = ["scenario", "only"])]
    pub all: bool,
    /// Go through this scenario alone; may be given several times
    #[arg(long, value_name = "SCENARIO", conflicts_with = "only")]
    pub scenario: Vec<Name>,
    /// Run this check alone, in as many boots of its scenario as it needs; may be given several times
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<Name>,
    /// Go through the first boot of each scenario alone
    #[arg(long)]
    pub first_boot: bool,
    /// Go through each scenario up to this boot, where it has one
    #[arg(long, value_name = "BOOT", conflicts_with = "first_boot")]
    pub until: Option<Name>,
    /// Instead, cut the power after every write of a first boot and of a reboot under load, and boot
    /// the disks of so many cuts of each; 0: judge their file systems alone
    #[arg(long, value_name = "BOOTS", num_args = 0..=1, default_missing_value = "12")]
    #[arg(conflicts_with_all = ["all", "scenario", "only", "list", "junit"])]
    pub power_cuts: Option<u64>,
    /// Make the disk of a cut again, from the writes that `--power-cuts` kept
    #[arg(long, value_name = "POINT", conflicts_with_all = ["power_cuts", "all", "scenario", "only", "list"])]
    pub power_cut_at: Option<Point>,
    /// Fail for what a check warns of
    #[arg(long)]
    pub strict: bool,
    /// List scenarios and checks, and boot nothing
    #[arg(long)]
    pub list: bool,
    /// Write the outcomes as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// How to show the outcomes
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

impl SmokeArguments {
    fn wish(&self) -> Wish<'_> {
        match (&self.scenario[..], &self.only[..]) {
            ([], []) if self.all || self.list => Wish::All,
            ([], []) => Wish::Default,
            (scenarios, []) => Wish::Scenarios(scenarios),
            (_, checks) => Wish::Checks(checks),
        }
    }

    fn until(&self, trials: &[Trial<'_>]) -> Result<Until<'_>, Unknown> {
        match &self.until {
            Some(boot) => known_boot(trials, boot).map(|()| Until::Boot(boot)),
            None if self.first_boot => Ok(Until::First),
            None => Ok(Until::Whole),
        }
    }
}

/// Checks failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}; console: `{consoles}`")]
struct Red {
    what: String,
    consoles: String,
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
    // Of the target itself, or of the one that stands in for it.
    let machine = project.shadow.as_ref().unwrap_or(&project.target);
    let qemu = machine.qemu.as_ref().ok_or_else(no_machine).map_err(|e| during(e.into()))?;
    if project.shadow.is_some() {
        // Here, before there are threads: packages are unpacked even where nothing is built.
        enter_user_namespace(Mapping::Full).map_err(|e| during(e.into()))?;
    }
    if project.shadow.is_some() && (arguments.power_cuts.is_some() || arguments.power_cut_at.is_some()) {
        return Err(during(SmokeError::NoOwnMachine(project.target.name.clone()).into()));
    }
    let folder = smoke::load(&ProjectFiles, &project.root, qemu.firmware).map_err(|e| during(e.into()))?;
    let trials = select(&folder.scenarios, &folder.checks, arguments.wish()).map_err(|e| during(e.into()))?;
    let until = arguments.until(&trials).map_err(|e| during(e.into()))?;
    if arguments.list {
        return terminal.show(list(&trials));
    }

    let booted = booted(arguments.image.as_deref(), &arguments.build, global, terminal)?;
    if let Some(point) = arguments.power_cut_at {
        return power_cuts::remake(point, &booted.image, &project, global, terminal).map_err(during);
    }
    let workshop = Workshop::open(global.choices())?;
    let consoles = global.out.clone().unwrap_or_else(|| project.root.join("out"));
    files::create_directories(&consoles)?;
    let expectations = expectations(&project, &booted)?;
    let toolbox = workshop.toolbox(terminal.progress())?;
    let images = booted.images()?;
    let shadowed = match &project.shadow {
        Some(shadow) => {
            let order = arguments.build.order(&project, global);
            let cast = shadow::cast(&project, shadow, &images, &order, &workshop, terminal.progress());
            Some(cast.map_err(|error| error.during("preparing a shadow boot").during(intent()))?)
        }
        None => None,
    };
    let subject = Subject {
        images: shadowed.as_ref().map_or(images, |shadowed| shadowed.images.clone()),
        expectations: &expectations,
        arch: project.target.arch,
        qemu,
        board: &folder.board,
        guest: &folder.guest,
        trials,
        until,
        consoles,
    };
    let bench = Bench {
        cache: workshop.cache(),
        toolbox: &toolbox,
        system: workshop.runner(),
        interrupt: workshop.interrupt(),
        progress: terminal.progress(),
    };
    if let Some(boots) = arguments.power_cuts {
        let subject = Subject { trials: power_cuts::healthy(&folder)?, ..subject };
        let cut = power_cuts::cut(boots, arguments.report, &project, &subject, &bench, terminal);
        return cut.map_err(during);
    }
    let mut report = smoke::smoke(&subject, &bench).map_err(|error| during(error.into()))?;
    if let Some(shadowed) = shadowed {
        // Each is a check that did not run, and so none that passed.
        report.findings.extend(shadowed.report.findings());
        report.shadow = Some(shadowed.report.clone());
    }
    if arguments.strict {
        report.be_strict();
    }
    show(&report, arguments, terminal)?;
    if report.passed() {
        return Ok(());
    }
    let failed = report.failures().map(|finding| format!("{} ({})", finding.check, text::place(finding)));
    let broken_off = report.broken_off().map(|(scenario, why)| format!("{}: {why}", scenario.scenario));
    let what: Vec<String> = failed.chain(broken_off).collect();
    let red: Vec<&Name> = report.failures().filter_map(|finding| finding.scenario.as_ref()).collect();
    let consoles =
        report.scenarios.iter().filter(|ran| ran.broken_off.is_some() || red.contains(&&ran.scenario));
    let consoles: Vec<String> =
        consoles.map(|scenario| subject.console(&scenario.scenario).display().to_string()).collect();
    Err(during(Red { what: what.join(", "), consoles: consoles.join("`, `") }.into()))
}

/// What is booted, and what the build says of it.
pub(super) struct Booted {
    /// The raw image.
    pub(super) image: PathBuf,
    /// What the build knows; `None`: it was built at another time.
    built: Option<Built>,
}

impl Booted {
    /// The raw images by the sectors they are for: all that were built, or the one that was named.
    fn images(&self) -> Result<Vec<(SectorSize, PathBuf)>, Failure> {
        if let Some(built) = &self.built {
            return Ok(built.raws.clone().into_iter().collect());
        }
        let read = || gpt::sector_size(&mut DiskFile::open(&self.image)?.whole()?);
        Ok(vec![(read().map_err(FileError::io("reading", &self.image))?, self.image.clone())])
    }
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
    let mut expectations = Expectations::of_image(&booted.image, Promises::of(project))?;
    if let Some(built) = &booted.built {
        let root_hash = built.root_hash.as_deref().map(str::parse).transpose();
        expectations.root_hash = root_hash.map_err(|error| Unsaid::RootHash { error })?;
        expectations.state = Some(built.state_uuid);
    }
    Ok(expectations)
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

/// Scenarios, each with its boots and its checks.
fn list(trials: &[Trial<'_>]) -> String {
    let mut text = String::new();
    for Trial { scenario, checks } in trials {
        let word = if scenario.default { ", by default" } else { "" };
        let boots: Vec<&str> = scenario.boots.iter().map(|boot| boot.name.as_str()).collect();
        text.push_str(&format!("scenario {}{word}: {}\n", scenario.name, scenario.summary));
        text.push_str(&format!("  boots {}{}\n", boots.join(", "), needs(&scenario.needs)));
        for check in checks {
            let boots: Vec<&str> = check.boots.iter().map(Name::as_str).collect();
            let host: String = check.host.iter().map(|a| format!("; the host: {}", a.name())).collect();
            text.push_str(&format!("  {:<22} {}\n", check.name.as_str(), check.summary));
            text.push_str(&format!("{:<24}   {}{host}{}\n", "", boots.join(", "), needs(&check.needs)));
            for mutation in &check.mutations {
                text.push_str(&format!("{:<24}   red on {}: {}\n", "", mutation.name, mutation.summary));
            }
        }
    }
    text
}

fn needs(needs: &[Feature]) -> String {
    let names: Vec<&str> = needs.iter().map(|need| need.name()).collect();
    if names.is_empty() { String::new() } else { format!("; needs {}", names.join(", ")) }
}
