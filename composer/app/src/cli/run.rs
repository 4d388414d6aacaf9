//! `run`: boots what it built, at this terminal.

use std::path::PathBuf;

use clap::Args;

use crate::cli::arguments::Global;
use crate::cli::build::BuildArguments;
use crate::cli::smoke::booted;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::project::ProjectFiles;
use crate::host::qemu::{RunDirectory, probe, terminal};
use crate::project;
use crate::smoke::handover;
use crate::smoke::machine::{Console, Hardware, Machine, Network};
use crate::smoke::{self, SmokeError};
use crate::workshop::Workshop;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// How to build what is booted
    #[command(flatten)]
    pub build: BuildArguments,
    /// Boot this raw image of the recipe, and build nothing
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// The port of 127.0.0.1 that leads to goni-http
    #[arg(long, default_value_t = 7000)]
    pub port: u16,
    /// Keep the overlay with what the machine wrote, and say where it is
    #[arg(long)]
    pub keep: bool,
}

/// What lets the forwarded port lead to goni-http, by unit: a node lets nobody in, and goni-http answers
/// its own node alone. What comes through the port comes from QEMU's side of its user network.
/// Source: QEMU's network documentation, “Using the user mode network stack”.
const FORWARDED: [(&str, &str); 2] = [
    ("goni-http.service", "[Service]\nIPAddressAllow=10.0.2.2\n"),
    (
        "nftables.service",
        "[Service]\nExecStartPost=/usr/sbin/nft add element inet goni open { tcp . 7000 }\n",
    ),
];

/// Builds, boots, and leaves the terminal to the machine. The image itself is never written to.
///
/// # Errors
/// What building says, or a machine that could not run.
pub fn run(arguments: &RunArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let during = |failure: Failure| failure.during(format!("running `{}`", arguments.build.recipe.display()));
    let project = project::load(&ProjectFiles, &arguments.build.recipe).map_err(|e| during(e.into()))?;
    let no_machine = || match project.shadow {
        Some(_) => SmokeError::NoOwnMachine(project.target.name.clone()),
        None => SmokeError::NoMachine(project.target.name.clone()),
    };
    let qemu = project.target.qemu.as_ref().ok_or_else(no_machine).map_err(|e| during(e.into()))?;
    let folder = smoke::load(&ProjectFiles, &project.root, qemu.firmware).map_err(|e| during(e.into()))?;
    let booted = booted(arguments.image.as_deref(), &arguments.build, global, terminal)?;
    let workshop = Workshop::open(global.choices())?;
    let toolbox = workshop.toolbox(terminal.progress())?;
    let system = workshop.runner();
    let (accelerator, why) = probe::choose(project.target.arch, &toolbox, system);
    let run =
        RunDirectory::prepare(workshop.cache(), &booted.image, &folder.board.variables, &toolbox, system)
            .map_err(|e| during(e.into()))?;
    let mut opened = Vec::new();
    for (unit, text) in FORWARDED {
        let credential = handover::credential(&format!("systemd.unit-dropin.{unit}"), text);
        opened.push(run.write(unit, credential.as_bytes()).map_err(|error| during(error.into()))?);
    }
    let machine = Machine {
        qemu: qemu.clone(),
        board: folder.board,
        accelerator,
        disk: run.disk(),
        variables: RunDirectory::variables(),
        console: Console::Terminal,
        port: None,
        strings: opened,
        monitor: None,
        hardware: Hardware { network: Network::Forward(arguments.port), ..Hardware::default() },
    };
    terminal
        .complain(&format!("{why}; goni-http at http://127.0.0.1:{}; Ctrl-A X ends it\n", arguments.port));
    let ended = terminal::power_on_here(&run, &machine, &toolbox, system, workshop.interrupt());
    if arguments.keep {
        terminal.complain(&format!("what it wrote is in {}\n", run.keep().display()));
    }
    ended.map_err(|error| during(error.into()))
}
