//! `smoke --power-cuts` and `smoke --power-cut-at`.

use std::path::{Path, PathBuf};

use goni_model::name::Name;
use goni_model::report::PowerCutPart;

use super::{Red, Unsaid};
use crate::cli::arguments::{Global, Report};
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::project::ProjectFiles;
use crate::project::Project;
use crate::smoke::power_cuts::load::GuestLoad;
use crate::smoke::power_cuts::points::Point;
use crate::smoke::power_cuts::{self, Wish, text};
use crate::smoke::select::{self, Trial, select};
use crate::smoke::{Bench, Qemus, Subject};

/// The checks that say whether a disk boots to a healthy node.
const HEALTHY: [&str; 2] = ["system-running", "goni-http"];

/// What the disks of cuts are booted for.
pub(super) fn healthy(folder: &Qemus) -> Result<Vec<Trial<'_>>, Failure> {
    let names = HEALTHY.map(|name| name.parse::<Name>().expect("plain words are names"));
    Ok(select(&folder.scenarios, &folder.checks, select::Wish::Checks(&names))?)
}

/// Cuts the power after every write, and tells what came of it.
pub(super) fn cut(
    boots: u64,
    form: Report,
    project: &Project,
    subject: &Subject<'_>,
    bench: &Bench<'_>,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let load = GuestLoad::read(&ProjectFiles, &project.root)?;
    let kept = log(&subject.consoles, Path::new(&subject.name()));
    let wish = Wish { load: &load, boots, kept: &kept };
    let report = power_cuts::power_cuts(subject, &wish, bench)?;
    match form {
        Report::Text => terminal.show(text::write(&report))?,
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
    let faults = report.parts.iter().filter_map(first);
    let what: Vec<String> = report.broken_off.iter().cloned().chain(faults).collect();
    let consoles = subject.console(&load.scenario.name).display().to_string();
    Err(Red { what: what.join("; "), consoles }.into())
}

/// Makes the disk of a cut from the writes that were kept.
pub(super) fn remake(
    point: Point,
    image: &Path,
    project: &Project,
    global: &Global,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let out = global.out.clone().unwrap_or_else(|| project.root.join("out"));
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    // A colon is no part of a file's name everywhere.
    let disk = out.join(format!("{stem}.cut-{}.raw", point.to_string().replace(':', "-")));
    let load = GuestLoad::read(&ProjectFiles, &project.root)?;
    power_cuts::remake(image, &load, &log(&out, image), point, &disk)?;
    terminal.show(format!("{}\n", disk.display()))
}

/// Where the writes are kept.
fn log(out: &Path, image: &Path) -> PathBuf {
    out.join(format!("{}.writes.log", image.file_stem().unwrap_or_default().to_string_lossy()))
}
