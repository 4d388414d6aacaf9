//! Power cuts: every write of a first boot and of a reboot under load is recorded, and the power is
//! cut after each of them, on a copy.
//!
//! After every cut the file systems must recover and hold what fsync promised ([`judge`]); after some
//! of them the image is booted again. Cutting is replaying: a disk is built from the image and the
//! log, as far as the cut ([`replay`]). What a disk may lose that was never flushed, [`points`] tells.

pub mod judge;
pub mod load;
pub mod points;
pub mod record;
pub mod replay;
mod stretch;
pub mod text;

use std::path::Path;

use goni_disk::gpt::{self, GptError};
use goni_disk::write_log::{self, Action, WriteLogError};
use goni_model::number::{to_u64, to_usize};
use goni_model::report::{Finding, Outcome, PowerCutFault, PowerCutPart, PowerCutReport};
use goni_model::size::ByteCount;
use rayon::prelude::*;

use crate::failure::{Class, Classify};
use crate::host::command::RunError;
use crate::host::disk_file::DiskFile;
use crate::host::files::{self, FileError};
use crate::host::interrupt::Interrupted;
use crate::host::qemu::{self, QemuError, StopWatch};
use crate::host::scratch::Scratch;
use crate::host::toolbox::ToolboxError;
use crate::progress::Unit;
use crate::smoke::power_cuts::judge::{Fault, Files, Law, Places};
use crate::smoke::power_cuts::load::GuestLoad;
use crate::smoke::power_cuts::points::Point;
use crate::smoke::power_cuts::record::{Part, Recorded};
use crate::smoke::power_cuts::replay::{Replica, Tape};
use crate::smoke::power_cuts::stretch::{Stretch, Verdicts};
use crate::smoke::select::Until;
use crate::smoke::{Bench, SmokeError, Subject};

/// The name of this stage where progress is told.
const STAGE: &str = "power cuts";
/// How the name of a disk ends that is booted after a cut.
const CUT: &str = "cut.raw";
/// Magic of ext4, and where it is. Source: Linux, Documentation/filesystems/ext4/super.rst.
const EXT4_MAGIC: (u64, [u8; 2]) = (1024 + 0x38, [0x53, 0xEF]);

/// What to cut.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The boots that are recorded, and the guest's load.
    pub load: &'a GuestLoad,
    /// How many disks of each part are booted, to run what the subject has to run.
    pub boots: u64,
    /// Where the log is kept if something is wrong.
    pub kept: &'a Path,
}

/// Why the power could not be cut. That a disk did not recover is no error: the report tells.
#[derive(Debug, thiserror::Error)]
pub enum PowerCutError {
    /// The image cannot be booted or read.
    #[error(transparent)]
    Smoke(#[from] SmokeError),
    /// The machine cannot run.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A judge is missing.
    #[error(transparent)]
    Toolbox(#[from] ToolboxError),
    /// A judge could not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The judges did not judge everything.
    #[error("judging file systems: {0}")]
    Judges(String),
    /// What was recorded cannot be read.
    #[error(transparent)]
    Log(#[from] WriteLogError),
    /// The image's partition table cannot be read.
    #[error("reading the partition table of the image")]
    Table(#[from] GptError),
    /// The image is not one whose file systems can be judged from outside.
    #[error("the power cannot be cut: {0}")]
    Unfit(String),
    /// There is no such cut in the log.
    #[error("there is no cut {point}: the log has {entries} entries")]
    NoCut {
        /// As typed.
        point: Point,
        /// How many there are.
        entries: u64,
    },
    /// Asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for PowerCutError {
    fn class(&self) -> Class {
        match self {
            Self::Smoke(error) => error.class(),
            Self::Qemu(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Toolbox(error) => error.class(),
            Self::Run(error) => error.class(),
            Self::Interrupted(error) => error.class(),
            Self::Judges(_) => Class::Bug,
            Self::Log(_) | Self::Table(_) => Class::Content,
            Self::Unfit(_) | Self::NoCut { .. } => Class::Recipe,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Smoke(error) => error.hint(),
            Self::Qemu(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Toolbox(error) => error.hint(),
            Self::Run(error) => error.hint(),
            _ => None,
        }
    }
}

/// Records a run and cuts the power after each of its writes.
///
/// # Errors
/// [`PowerCutError`]: it could not be tried, or somebody put an end to it.
pub fn power_cuts(
    subject: &Subject<'_>,
    wish: &Wish<'_>,
    bench: &Bench<'_>,
) -> Result<PowerCutReport, PowerCutError> {
    let watch = StopWatch::start();
    let nonce = qemu::nonce().map_err(QemuError::Socket)?;
    // The nonce is in no file that could be replayed without this run; its beginning is a fair lot.
    let seed = u64::from(nonce.get(..6).and_then(|text| u32::from_str_radix(text, 16).ok()).unwrap_or(0));
    let (law, image) = law(subject)?;
    let size = record::disk_size(&wish.load.scenario);
    bench.progress.begin(STAGE, None, Unit::Steps);
    let recorded = record::record(subject, wish.load, &nonce, bench)?;
    let trial = Trial { subject, wish, bench, recorded: &recorded, seed };
    let mut parts = Vec::new();
    if recorded.broken_off.is_none() {
        let tape = tape(image, size, &recorded.log())?;
        let law = Law { ledger: &recorded.ledger, ..law };
        for part in &recorded.parts {
            parts.push(trial.part(part, &tape, &law)?);
        }
    }
    let mut report = PowerCutReport {
        image: subject.name(),
        accelerator: recorded.accelerator.clone(),
        seed,
        parts,
        broken_off: recorded.broken_off.clone(),
        log: None,
        milliseconds: 0,
    };
    if report.parts.iter().any(|part| !part.faults.is_empty()) {
        keep(&recorded.log(), wish.kept)?;
        report.log = Some(wish.kept.display().to_string());
    }
    report.milliseconds = watch.milliseconds();
    let faults: usize = report.parts.iter().map(|part| part.faults.len()).sum();
    bench
        .progress
        .end(STAGE, &format!("{} cuts, {faults} faults", report.parts.iter().map(|p| p.cuts).sum::<u64>()));
    Ok(report)
}

/// Makes the disk of a cut from an image and the log that was kept, in the place of an earlier one.
///
/// # Errors
/// There is no such log or cut, or the disk cannot be written.
pub fn remake(
    image: &Path,
    load: &GuestLoad,
    log: &Path,
    point: Point,
    path: &Path,
) -> Result<(), PowerCutError> {
    let image = DiskFile::open(image).map_err(FileError::io("opening", image))?;
    let tape = tape(image, record::disk_size(&load.scenario), log)?;
    let entries = to_u64(tape.index.entries.len());
    if point.at > entries {
        return Err(PowerCutError::NoCut { point, entries });
    }
    let scratch = Scratch::create(files::parent(path), "cut")?;
    let disk = scratch.path().join("disk.raw");
    let writing = |source| FileError::io("writing", &disk)(source);
    let mut replica = Replica::begin(&tape, &disk).map_err(writing)?;
    replica.cut(point).map_err(writing)?;
    Ok(files::rename(&disk, path)?)
}

/// What the disks of an image are judged against, but for promises; and the image.
fn law<'l>(subject: &Subject<'_>) -> Result<(Law<'l>, DiskFile), PowerCutError> {
    let (sectors, path) = subject.image(None).ok_or(SmokeError::NoImage)?;
    let reading = |source| FileError::io("reading", path)(source);
    let image = DiskFile::open(path).map_err(reading)?;
    let size = image.size().map_err(reading)?;
    let table = gpt::read(&mut image.whole().map_err(reading)?, size, sectors)?;
    let unfit = |what: &str| PowerCutError::Unfit(what.to_owned());
    let places = Places::of(&table, subject.arch)
        .ok_or_else(|| unfit("the image has no EFI system partition, or no state"))?;
    let length = |range: &std::ops::Range<u64>| ByteCount::new(range.end - range.start);
    let (place, magic) = EXT4_MAGIC;
    let mut found = [0; 2];
    let mut window = image.window(ByteCount::new(places.state.start + place), ByteCount::new(2));
    std::io::Read::read_exact(&mut window, &mut found).map_err(reading)?;
    if found != magic {
        return Err(unfit(
            "the state is not ext4 from the start, so its files cannot be judged from outside",
        ));
    }
    let window = image.window(ByteCount::new(places.esp.start), length(&places.esp));
    let files = Files::of(window).map_err(PowerCutError::Unfit)?;
    Ok((Law { table, files, ledger: const { &load::Ledger::EMPTY }, arch: subject.arch, sectors }, image))
}

fn tape(image: DiskFile, wanted: Option<ByteCount>, log: &Path) -> Result<Tape, PowerCutError> {
    let size = image.size().map_err(FileError::io("reading", image.path()))?;
    let size = wanted.map_or(size, |wanted| wanted.max(size));
    let file = DiskFile::open(log).map_err(FileError::io("opening", log))?;
    let index = write_log::read(&mut file.whole().map_err(FileError::io("reading", log))?)?;
    Ok(Tape { image, size, log: file, index })
}

/// Keeps a log, in the place of an earlier one.
fn keep(log: &Path, kept: &Path) -> Result<(), FileError> {
    let scratch = Scratch::create(files::parent(kept), "writes")?;
    let copy = scratch.path().join("log");
    let file = DiskFile::open(log).map_err(FileError::io("opening", log))?;
    let size = file.size().map_err(FileError::io("reading", log))?;
    file.copy_part(0..size.get(), &copy).map_err(FileError::io("writing", &copy))?;
    files::rename(&copy, kept)
}

/// A recorded run in front of its judges.
#[derive(Clone, Copy)]
struct Trial<'a> {
    subject: &'a Subject<'a>,
    wish: &'a Wish<'a>,
    bench: &'a Bench<'a>,
    recorded: &'a Recorded,
    seed: u64,
}

impl Trial<'_> {
    fn part(&self, part: &Part, tape: &Tape, law: &Law<'_>) -> Result<PowerCutPart, PowerCutError> {
        let watch = StopWatch::start();
        let (first, last) = (*part.cuts.start(), *part.cuts.end());
        let entries = &tape.index.entries[to_usize(first)..to_usize(last).min(tape.index.entries.len())];
        let losses = points::losses(&tape.index.entries, &part.cuts, self.seed);
        let scratch = Scratch::create(&self.bench.cache.join("machines"), "cuts")?;
        // As many stretches as there are processors: each begins with a copy of the disk.
        let workers = to_u64(rayon::current_num_threads().max(1));
        let stride = (last - first + 1).div_ceil(workers).max(1);
        let stretches: Vec<(u64, u64)> = (first..=last)
            .step_by(to_usize(stride))
            .map(|start| (start, last.min(start + stride - 1)))
            .collect();
        let verdicts: Result<Vec<Verdicts>, PowerCutError> = stretches
            .into_par_iter()
            .map(|(start, end)| {
                let losses: Vec<Point> =
                    losses.iter().copied().filter(|loss| (start..=end).contains(&loss.at)).collect();
                let folder = scratch.path().join(format!("from-{start}"));
                files::create_directories(&folder)?;
                Stretch { bench: self.bench, tape, law, folder: &folder }.judge(start, end, &losses)
            })
            .collect();
        let mut all = Verdicts::default();
        for found in verdicts? {
            all.judged += found.judged;
            all.equal += found.equal;
            all.lossy += found.lossy;
            all.faults.extend(found.faults);
        }
        drop(scratch);
        let (boots, faults) = self.boots(part, tape, law)?;
        all.faults.extend(faults);
        all.faults.sort_by_key(|fault| fault.point);
        let count = |wanted: fn(&write_log::Entry) -> bool| {
            to_u64(entries.iter().filter(|entry| wanted(entry)).count())
        };
        Ok(PowerCutPart {
            name: part.name.to_string(),
            writes: count(|entry| entry.action != Action::None),
            flushes: count(|entry| entry.flush),
            cuts: last - first + 1,
            judged: all.judged,
            equal: all.equal,
            lossy: all.lossy,
            promises: self.recorded.ledger.count(first, last),
            boots: boots.iter().map(Point::to_string).collect(),
            faults: all
                .faults
                .into_iter()
                .map(|fault| PowerCutFault { point: fault.point.to_string(), what: fault.what })
                .collect(),
            milliseconds: watch.milliseconds(),
        })
    }

    /// Boots the disks of some cuts.
    fn boots(
        &self,
        part: &Part,
        tape: &Tape,
        law: &Law<'_>,
    ) -> Result<(Vec<Point>, Vec<Fault>), PowerCutError> {
        let places = Places::of(&law.table, law.arch)
            .ok_or_else(|| PowerCutError::Unfit("the image has no state".into()))?;
        let odd = |number: &u64| {
            let range = tape.index.entries.get(to_usize(*number)).map(write_log::Entry::range);
            let touched = range.map(|range| places.touched(&range)).unwrap_or_default();
            touched.table || touched.esp
        };
        let interesting: Vec<u64> = part.cuts.clone().filter(odd).map(|number| number + 1).collect();
        let chosen = points::sample(&tape.index.entries, &part.cuts, self.wish.boots, &interesting);
        if chosen.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let scratch = Scratch::create(&self.bench.cache.join("machines"), "boots")?;
        // Consoles are named for the disk.
        let name = Path::new(&self.subject.name()).with_extension(CUT);
        let path = scratch.path().join(name);
        let (sectors, _) = self.subject.image(None).ok_or(SmokeError::NoImage)?;
        let subject =
            Subject { images: vec![(sectors, path.clone())], until: Until::First, ..self.subject.clone() };
        let writing = |source| FileError::io("writing", &path)(source);
        let mut replica = Replica::begin(tape, &path).map_err(writing)?;
        let (mut booted, mut faults) = (Vec::new(), Vec::new());
        for at in chosen {
            replica.advance(at).map_err(writing)?;
            let report = crate::smoke::smoke(&subject, self.bench)?;
            booted.push(Point::after(at));
            let failures = report.failures().map(Finding::to_string);
            let broken_off = report.broken_off().map(|(_, why)| why.to_owned());
            let what: Vec<String> = broken_off.chain(failures).collect();
            let skipped = report.findings.iter().filter(|finding| finding.outcome != Outcome::Passed).count();
            for scenario in &report.scenarios {
                let console = subject.consoles.join(&scenario.console);
                match report.passed() {
                    true => files::remove_file(&console)?,
                    false => files::rename(&console, &console.with_extension(format!("{at}.log")))?,
                }
            }
            if !report.passed() {
                let what = format!("it does not boot to a healthy node: {}", what.join("; "));
                faults.push(Fault { point: Point::after(at), what });
            } else if skipped > 0 || report.findings.is_empty() {
                let what = "no check said whether it boots to a healthy node".to_owned();
                faults.push(Fault { point: Point::after(at), what });
            }
        }
        Ok((booted, faults))
    }
}
