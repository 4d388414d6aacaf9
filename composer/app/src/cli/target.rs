//! `target`: targets made, checked and drafted.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use goni_model::name::Name;
use goni_model::target::Target;

use crate::build::{self, Order};
use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::draft;
use crate::failure::{Class, Classify, Failure};
use crate::host::files;
use crate::host::image::Image;
use crate::host::project::ProjectFiles;
use crate::host::sandbox::{Mapping, enter_user_namespace};
use crate::host::sysfs;
use crate::project::{self, Project, ProjectError, Shelf};
use crate::verify::{Fit, board_fit};
use crate::workshop::Workshop;

/// Arguments of `target`.
#[derive(Debug, Args)]
pub struct TargetArguments {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with a target.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Write `firmware/NAME/target.toml`, commented, like another target
    New {
        /// The name of the new target
        name: Name,
        /// The target that it is like
        #[arg(long, value_name = "TARGET")]
        from: Name,
    },
    /// Check a target; build the recipes for it and show how the image fits the board
    Check {
        /// The target
        name: Name,
    },
    /// Print a draft of a target for the machine that this runs on
    Probe {
        /// Look at a copy of a machine's /sys and /proc in this directory
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
}

/// Why a target is not made or drafted.
#[derive(Debug, thiserror::Error)]
enum TargetError {
    #[error("there is a target `{name}` already: `{path}`")]
    Taken { name: Name, path: String },
    #[error("looking at `{path}`")]
    Look { path: String, source: std::io::Error },
}

impl Classify for TargetError {
    fn class(&self) -> Class {
        match self {
            Self::Taken { .. } => Class::Recipe,
            Self::Look { .. } => Class::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Taken { .. } => Some("edit that, or choose another name".to_owned()),
            Self::Look { .. } => {
                Some("run it on the board, or give --root a copy of its /sys and /proc".to_owned())
            }
        }
    }
}

/// Does it.
///
/// # Errors
/// No project around, no such target, a target whose image does not fit its board.
pub fn run(arguments: &TargetArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    match &arguments.action {
        Action::New { name, from } => {
            new(name, from, terminal).map_err(|failure| failure.during(format!("making target `{name}`")))
        }
        Action::Check { name } => check(name, global, terminal)
            .map_err(|failure| failure.during(format!("checking target `{name}`"))),
        Action::Probe { root } => probe(root, terminal),
    }
}

fn new(name: &Name, from: &Name, terminal: &Terminal) -> Result<(), Failure> {
    let shelf = project::shelf(&ProjectFiles, Path::new("."))?;
    // A target that is like a broken one would be broken, too.
    project::target(&ProjectFiles, &shelf, from)?;
    let path = shelf.root.join("firmware").join(name.as_str()).join("target.toml");
    if shelf.targets.contains(name.as_str()) || files::size(&path).is_some() {
        let path = path.display().to_string();
        return Err(TargetError::Taken { name: name.clone(), path }.into());
    }
    files::create_directories(files::parent(&path))?;
    files::replace(&path, draft::new(name, from).as_bytes(), 0o644)?;
    terminal.show(format!("{}\n", path.display()))
}

fn probe(root: &Path, terminal: &Terminal) -> Result<(), Failure> {
    let look = |source| TargetError::Look { path: root.display().to_string(), source };
    terminal.show(draft::of(&sysfs::look(root).map_err(look)?))
}

fn check(name: &Name, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let shelf = project::shelf(&ProjectFiles, Path::new("."))?;
    let target = project::target(&ProjectFiles, &shelf, name)?;
    let remarks = remarks(&target);
    let mut text = format!("{name} ({}): {}\n", target.arch, target.summary);
    for remark in &remarks {
        text.push_str(&format!("remark: {remark}\n"));
    }
    terminal.show(&text)?;
    let recipes = recipes_for(&shelf, name)?;
    if recipes.is_empty() {
        return terminal.show(format!(
            "not tried: no recipe is for `{name}`; with recipes/{name}.toml, this shows how its image fits the board\n"
        ));
    }
    enter_user_namespace(Mapping::Full)?;
    let workshop = Workshop::open(global.choices())?;
    for project in recipes {
        let out = global.out.clone().unwrap_or_else(|| project.root.join("out"));
        let order = Order {
            payloads: std::collections::BTreeMap::new(),
            out,
            force: false,
            emulate: false,
            accept_ids: false,
        };
        let built = build::build(&project, &order, &workshop, terminal.progress())?;
        terminal.show(table(&project, &board_fit(&Image::open(&built.raw)?)?))?;
    }
    Ok(())
}

/// What is allowed, and seldom meant.
fn remarks(target: &Target) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut remark = |holds: bool, text: String| {
        if holds {
            remarks.push(text);
        }
    };
    remark(
        target.summary.ends_with(": what it is, in one line"),
        "`summary` does not say yet what it is".to_owned(),
    );
    remark(
        !target.expect.iter().any(|expected| expected.root),
        "no [[expect]] has root = true: nothing proves that the initrd reaches the disk".to_owned(),
    );
    remark(target.console.is_none(), "no `console`: the kernel chooses one, maybe the screen".to_owned());
    remark(target.qemu.is_none(), "no [qemu]: its images cannot be smoked".to_owned());
    remark(
        target.initrd_modules.is_empty(),
        "no `initrd.modules`: a kernel with modules does not reach its root".to_owned(),
    );
    remarks
}

/// The recipes that are for a target; one that cannot be loaded is an error, as it may be.
fn recipes_for(shelf: &Shelf, name: &Name) -> Result<Vec<Project>, ProjectError> {
    let mut found = Vec::new();
    for path in &shelf.recipes {
        let project = project::load(&ProjectFiles, path)?;
        if project.recipe.target == *name {
            found.push(project);
        }
    }
    Ok(found)
}

/// How an image fits its board, a line for each device and driver.
fn table(project: &Project, fits: &[Fit]) -> String {
    let mut text = format!("{}: {} devices and drivers\n", project.recipe.name, fits.len());
    let width = fits.iter().map(|fit| fit.device.len()).max().unwrap_or_default();
    for fit in fits {
        let driver = fit.driver.as_deref().unwrap_or("none");
        let mut facts = vec![if fit.built_in { "built in".to_owned() } else { "module".to_owned() }];
        if fit.firmware > 0 {
            facts.push(format!("{} firmware files", fit.firmware));
        }
        if fit.root {
            facts.push("in the initrd".to_owned());
        }
        let outcome = if fit.problems.is_empty() { "fits    " } else { "MISSING " };
        let facts = if fit.problems.is_empty() { facts.join(", ") } else { fit.problems.join("; ") };
        text.push_str(&format!("{outcome} {:width$}  {driver:20} {facts}\n", fit.device));
    }
    text
}
