//! A build for suspicion: the image is built once more under other circumstances, and must be the same.
//!
//! The second build begins from nothing but the packages: its trees are its own. Where the files that come out
//! differ, the trees are compared entry by entry, and then the disks partition by partition, so that the first
//! thing that differs is named, with who made it.

mod difference;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use goni_model::size::ByteCount;

use crate::build::{self, Built, Order, place};
use crate::failure::{Class, Classify, Failure};
use crate::host::command::{Run as _, RunError, last_lines};
use crate::host::elsewhere::Elsewhere;
use crate::host::scratch::Scratch;
use crate::progress::{Progress, Unit};
use crate::project::Project;
use crate::resolve;
use crate::workshop::Workshop;

/// How much larger than its packages a tree may be: what xz makes of programs, and twice that.
const UNPACKED: u64 = 6;
/// How many differences are told.
const TOLD: usize = 10;
/// What a second build is called in messages.
const STAGE: &str = "build again";

/// Why two builds are not known to be the same.
#[derive(Debug, thiserror::Error)]
enum TwiceError {
    #[error("two builds of `{image}` differ: {first}")]
    Differs { image: String, first: String },
    #[error("the second build of `{image}` failed: {said}")]
    Failed { image: String, said: String },
    #[error("building a second time")]
    Run(#[from] RunError),
}

impl Classify for TwiceError {
    fn class(&self) -> Class {
        match self {
            Self::Differs { .. } | Self::Failed { .. } => Class::Check,
            Self::Run(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Differs { .. } => Some(
                "make what writes it depend on its inputs alone: SOURCE_DATE_EPOCH for times, sorted lists, no \
                 random numbers"
                    .to_owned(),
            ),
            Self::Failed { .. } => None,
            Self::Run(error) => error.hint(),
        }
    }
}

/// Builds what was just built once more, elsewhere, and compares every file.
///
/// # Errors
/// Two builds that differ, of class Check; a second one that fails; anything a build says.
pub fn build_again(
    project: &Project,
    order: &Order,
    built: &Built,
    workshop: &mut Workshop,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let plan = build::plan(project, order, workshop, progress)?;
    let stem = plan.stem();
    let lock = resolve::satisfied_lock(project)?;
    let packages: u64 = lock.packages.iter().map(|package| package.size).sum();
    let scratch = Scratch::create(workshop.cache(), "twice")?;
    let room = ByteCount::new(packages.saturating_mul(UNPACKED));
    let place = Elsewhere::make(scratch.path(), &project.root, room)?;
    progress.begin(STAGE, None, Unit::Steps);
    let arguments = arguments(project, order, workshop, &place);
    let command = place.program(workshop.environment()).args(arguments);
    let output = workshop.runner().run(&command).map_err(TwiceError::from)?;
    workshop.interrupt().check()?;
    if output.exit.code() != 0 {
        let said = last_lines(&output.stderr, 5);
        return Err(TwiceError::Failed { image: stem, said }.into());
    }
    let of_image = |out: &Path| -> Result<BTreeMap<String, String>, Failure> {
        let mut sums = place::sums(out)?;
        sums.retain(|name, _| name.starts_with(&format!("{stem}.")));
        Ok(sums)
    };
    let (first, second) = (of_image(&order.out)?, of_image(&place.out())?);
    let different: Vec<&str> =
        names(&first, &second).filter(|name| first.get(*name) != second.get(*name)).collect();
    if different.is_empty() {
        let kind = if place.in_memory { "" } else { "; too little memory for another file system" };
        progress.end(STAGE, &format!("{} files, the same bytes{kind}", first.len()));
        return Ok(());
    }
    let mut found = trees(project, order, &place, workshop, progress)?;
    if found.is_empty() {
        let second: Vec<PathBuf> = built.raws.values().map(|raw| moved(raw, &place)).collect();
        let disks = plan.layouts().zip(built.raws.values().zip(&second));
        for (layout, (first, second)) in disks {
            found.extend(difference::of_disks(first, second, layout)?);
        }
    }
    if found.is_empty() {
        found.push(format!("`{}`, although the disks are the same", different.join("`, `")));
    }
    for difference in found.iter().take(TOLD).skip(1) {
        progress.warn(&format!("also different: {difference}"));
    }
    if found.len() > TOLD {
        progress.warn(&format!("and {} more", found.len() - TOLD));
    }
    Err(TwiceError::Differs { image: stem, first: found.swap_remove(0) }.into())
}

fn names<'a>(
    first: &'a BTreeMap<String, String>,
    second: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a str> {
    let only = second.keys().filter(|name| !first.contains_key(*name));
    first.keys().chain(only).map(String::as_str)
}

/// The same file of the second build.
fn moved(raw: &Path, place: &Elsewhere) -> PathBuf {
    raw.file_name().map_or_else(|| place.out(), |name| place.out().join(name))
}

/// What the second build is told.
fn arguments(project: &Project, order: &Order, workshop: &Workshop, place: &Elsewhere) -> Vec<OsString> {
    let within = project.path.strip_prefix(&project.root).unwrap_or(&project.path);
    let mut arguments: Vec<OsString> = vec!["build".into(), "--offline".into(), "--quiet".into()];
    for (flag, path) in
        [("--cache", workshop.cache().to_owned()), ("--perturbed", place.trees()), ("--out", place.out())]
    {
        arguments.extend([flag.into(), path.into()]);
    }
    for (name, file) in &order.payloads {
        let mut payload = OsString::from(format!("{name}="));
        payload.push(project.here.join(file));
        arguments.extend(["--payload".into(), payload]);
    }
    if order.emulate {
        arguments.push("--emulate".into());
    }
    arguments.extend(["--".into(), place.project().join(within).into()]);
    arguments
}

/// What differs between the trees of the two builds.
fn trees(
    project: &Project,
    order: &Order,
    place: &Elsewhere,
    workshop: &mut Workshop,
    progress: &dyn Progress,
) -> Result<Vec<String>, Failure> {
    let first = build::tree(project, order, workshop, progress)?;
    workshop.keep_trees_in(place.trees());
    let second = build::tree(project, order, workshop, progress)?;
    difference::of_trees(&first, &second)
}
