//! The finished bytes, booted and checked from inside.
//!
//! The image is never written to: the machine has a throw-away overlay. It is not prepared for this
//! either: unit, agent and checks come in through the firmware, and the answers come out at a port of
//! their own, each with the nonce of the run. Boots are shared: everything is checked in the first,
//! what must outlive a clean reboot in the second, what must outlive a power cut in the third.
//!
//! What a check is, `qemu/README.md` tells; the checks are data below `qemu/checks`.

pub mod check;
pub mod handover;
pub mod junit;
mod load;
pub mod machine;
pub mod power_cuts;
pub mod protocol;
pub mod session;
#[cfg(test)]
mod testing;
pub mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goni_disk::gpt::{self, GptError, Table};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::document::nearest::nearest;
use goni_model::layout::Role;
use goni_model::name::Name;
use goni_model::report::{Boot, Finding, Outcome, SmokeReport};
use goni_model::size::SectorSize;
use goni_model::target::Qemu;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::host::command::System;
use crate::host::disk_file::DiskFile;
use crate::host::files::{self, FileError};
use crate::host::interrupt::Interrupt;
use crate::host::qemu::{self, ConsoleLog, Powered, QemuError, RunDirectory, probe};
use crate::host::toolbox::Toolbox;
use crate::progress::{Progress, Unit};
use crate::smoke::check::Check;
use crate::smoke::handover::GuestSide;
use crate::smoke::machine::{Board, Console, Machine, Network};
use crate::smoke::session::{Broken, Session};

pub use load::{Qemus, load};

/// The name of this stage where progress is told.
pub(crate) const STAGE: &str = "smoke";
/// How long a boot may take by the guest's own clock before the guest's side stops waiting for its end.
const SETTLE: Duration = Duration::from_secs(240);
/// How many lines of the console are shown where something failed.
const CONSOLE_LINES: usize = 20;

/// Something an image can have, which a check can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A root protected by dm-verity.
    Verity,
    /// A swap partition.
    Swap,
    /// A partition for the state.
    State,
    /// The payload `goni-http`.
    GoniHttp,
}

impl Feature {
    /// All.
    pub const ALL: [Self; 4] = [Self::Verity, Self::Swap, Self::State, Self::GoniHttp];

    /// Its name in check files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verity => "verity",
            Self::Swap => "swap",
            Self::State => "state",
            Self::GoniHttp => "goni-http",
        }
    }
}

/// What is true of the image if it is the one that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectations {
    /// The root hash of its verity tree; `None`: it has none.
    pub root_hash: Option<Sha256Digest>,
    /// The unique identifier of its state partition.
    pub state: Option<Uuid>,
    /// Whether there is to be swap.
    pub swap: bool,
    /// Whether it brings goni-http.
    pub goni_http: bool,
}

impl Expectations {
    /// What the partition table of an image promises. The root hash is in it, too: the identifiers of
    /// root and hash tree are its halves. Source: Discoverable Partitions Specification.
    ///
    /// # Errors
    /// The image cannot be read, or has no good table.
    pub fn of_image(image: &Path, arch: Arch, goni_http: bool) -> Result<Self, SmokeError> {
        let error = |source| SmokeError::Table { image: image.to_owned(), source };
        let disk = DiskFile::open(image).map_err(FileError::io("opening", image))?;
        let size = disk.size().map_err(FileError::io("reading", image))?;
        let mut whole = disk.whole().map_err(FileError::io("reading", image))?;
        Ok(Self::of_table(&gpt::read(&mut whole, size, SectorSize::B512).map_err(error)?, arch, goni_http))
    }

    fn of_table(table: &Table, arch: Arch, goni_http: bool) -> Self {
        let find = |role: Role| table.partitions.iter().find(|found| found.type_guid == role.type_guid(arch));
        let state = table.partitions.iter().find(|found| {
            found.type_guid == Role::State.type_guid(arch) && found.name == Role::State.label()
        });
        let root_hash = find(Role::Root).zip(find(Role::RootVerity)).and_then(|(root, verity)| {
            format!("{}{}", root.guid.simple(), verity.guid.simple()).parse().ok()
        });
        Self { root_hash, state: state.map(|found| found.guid), swap: find(Role::Swap).is_some(), goni_http }
    }

    /// Whether the image has it.
    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Verity => self.root_hash.is_some(),
            Feature::Swap => self.swap,
            Feature::State => self.state.is_some(),
            Feature::GoniHttp => self.goni_http,
        }
    }
}

/// What there is to work with.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The cache directory, which runs have a directory in.
    pub cache: &'a Path,
    /// The tools.
    pub toolbox: &'a Toolbox,
    /// What runs them.
    pub system: &'a System,
    /// Whether somebody wants this to end.
    pub interrupt: &'a Interrupt,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// What is booted, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The raw image.
    pub image: &'a Path,
    /// What is true of it.
    pub expectations: &'a Expectations,
    /// The architecture of its programs.
    pub arch: Arch,
    /// The machine of its target.
    pub qemu: &'a Qemu,
    /// What that machine's firmware needs.
    pub board: &'a Board,
    /// The guest's side of the checks.
    pub guest: &'a GuestSide,
    /// The checks to run.
    pub checks: Vec<&'a Check>,
    /// The last boot to go through; checks of later boots are left out.
    pub last: Boot,
    /// Where the console is kept.
    pub console: PathBuf,
}

/// Why an image could not be smoked. That checks failed is no error: the report tells.
#[derive(Debug, thiserror::Error)]
pub enum SmokeError {
    /// There is no such check.
    #[error("no check is called `{name}`")]
    UnknownCheck {
        /// As typed.
        name: Name,
        /// The one that may have been meant.
        meant: Option<String>,
    },
    /// The target has no machine in QEMU.
    #[error("target `{0}` has no [qemu]: its images cannot be booted here")]
    NoMachine(Name),
    /// The checks are more than the firmware can hand over.
    #[error("the checks are more than {} KiB together", handover::MOST_BYTES >> 10)]
    TooMuch,
    /// The image's partition table cannot be read.
    #[error("reading the partition table of `{}`", image.display())]
    Table {
        /// The image.
        image: PathBuf,
        /// What is wrong.
        source: GptError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The machine cannot run.
    #[error(transparent)]
    Qemu(#[from] QemuError),
}

impl Classify for SmokeError {
    fn class(&self) -> Class {
        match self {
            Self::UnknownCheck { .. } | Self::NoMachine(_) | Self::TooMuch => Class::Recipe,
            Self::Table { .. } => Class::Content,
            Self::File(error) => error.class(),
            Self::Qemu(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownCheck { meant: Some(meant), .. } => Some(format!("did you mean `{meant}`?")),
            Self::UnknownCheck { meant: None, .. } => Some("`smoke --list` names them all".into()),
            Self::File(error) => error.hint(),
            Self::Qemu(error) => error.hint(),
            Self::NoMachine(_) | Self::TooMuch | Self::Table { .. } => None,
        }
    }
}

/// The checks that were asked for, or all of them.
///
/// # Errors
/// `UnknownCheck`.
pub fn select<'c>(checks: &'c [Check], only: &[Name]) -> Result<Vec<&'c Check>, SmokeError> {
    for name in only {
        if !checks.iter().any(|check| check.name == *name) {
            let meant = nearest(name.as_str(), checks.iter().map(|check| check.name.as_str()));
            return Err(SmokeError::UnknownCheck { name: name.clone(), meant: meant.map(str::to_owned) });
        }
    }
    Ok(checks.iter().filter(|check| only.is_empty() || only.contains(&check.name)).collect())
}

/// The boots to go through: up to the last that a check asks for, and none past the limit.
fn boots(checks: &[&Check], limit: Boot) -> BTreeSet<Boot> {
    let wanted = checks.iter().flat_map(|check| &check.boots).filter(|boot| **boot <= limit).max();
    Boot::ALL.into_iter().filter(|boot| Some(boot) <= wanted).collect()
}

/// Boots an image as often as the checks ask for, and runs them.
///
/// # Errors
/// [`SmokeError`]: it could not be tried, or somebody put an end to it.
pub fn smoke(subject: &Subject<'_>, bench: &Bench<'_>) -> Result<SmokeReport, SmokeError> {
    let lacking = |check: &Check| check.needs.iter().copied().find(|need| !subject.expectations.has(*need));
    let (apply, do_not): (Vec<&Check>, Vec<&Check>) =
        subject.checks.iter().copied().partition(|check| lacking(check).is_none());
    let boots = boots(&apply, subject.last);
    let total: usize = apply.iter().map(|check| check.boots.intersection(&boots).count()).sum();
    bench.progress.begin(STAGE, Some(goni_model::number::to_u64(total)), Unit::Checks);

    let watch = qemu::StopWatch::start();
    let nonce = qemu::nonce().map_err(QemuError::Socket)?;
    let mut log = ConsoleLog::create(&subject.console)?;
    let (accelerator, why) = probe::choose(subject.arch, bench.toolbox, bench.system);
    let run = RunDirectory::prepare(
        bench.cache,
        subject.image,
        &subject.board.variables,
        bench.toolbox,
        bench.system,
    )?;
    let strings = handover::strings(subject.guest, &apply, subject.expectations, &nonce, SETTLE.as_secs())
        .ok_or(SmokeError::TooMuch)?;
    let strings: Result<Vec<PathBuf>, QemuError> = strings
        .iter()
        .enumerate()
        .map(|(index, string)| run.write(&format!("string-{index}"), string.as_bytes()))
        .collect();
    let machine = Machine {
        qemu: subject.qemu.clone(),
        board: subject.board.clone(),
        accelerator,
        disk: RunDirectory::disk(),
        variables: RunDirectory::variables(),
        console: Console::Socket(Path::new(qemu::INSIDE).join("console")),
        port: Some(Path::new(qemu::INSIDE).join("port")),
        strings: strings?,
        network: Network::None,
        recording: None,
    };
    let mut session = Session::new(&nonce, &apply, SETTLE, bench.progress);
    let mut ended = Ok(());
    // One machine goes through the first boot and a clean reboot; its end is the power cut.
    for machine_boots in [&[Boot::First, Boot::Rebooted][..], &[Boot::AfterPowerCut]] {
        let wanted: Vec<Boot> = machine_boots.iter().copied().filter(|boot| boots.contains(boot)).collect();
        if ended.is_err() || wanted.is_empty() {
            break;
        }
        let drive = |powered: &Powered| -> Result<(), Broken> {
            for (index, boot) in wanted.iter().enumerate() {
                if index > 0 {
                    session.reboot(powered)?;
                }
                session.boot(powered, *boot)?;
            }
            Ok(())
        };
        ended =
            qemu::power_on(&run, &machine, bench.toolbox, bench.system, bench.interrupt, &mut log, drive)?;
    }
    let broken_off = match ended {
        Ok(()) => None,
        Err(Broken::Interrupted(interrupted)) => return Err(QemuError::Interrupted(interrupted).into()),
        Err(broken) => Some(broken.to_string()),
    };
    if broken_off.is_some() {
        session.leave_out(&boots);
    }
    for (boot, text) in &session.diagnoses {
        log.note(&format!("what the guest said of the boot `{}`:\n{text}", boot.name()));
    }
    let Session { boots, mut findings, ignored, .. } = session;
    findings.extend(do_not.iter().map(|check| Finding {
        check: check.name.clone(),
        boot: None,
        outcome: Outcome::Skipped {
            reason: format!("the image has no {}", lacking(check).map_or("", Feature::name)),
        },
        milliseconds: 0,
    }));
    let mut report = SmokeReport {
        image: subject.image.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        accelerator: why,
        boots,
        findings,
        broken_off,
        ignored_lines: ignored,
        console_end: None,
        milliseconds: watch.milliseconds(),
    };
    if !report.passed() {
        let kept = files::read_capped(log.path(), u64::MAX)?;
        report.console_end = Some(crate::host::command::last_lines(&kept, CONSOLE_LINES));
    }
    bench.progress.end(STAGE, &text::tally(&report));
    Ok(report)
}

#[cfg(test)]
mod tests;
