//! One scenario: its machines, each switched on in its turn, and what the host finds when all is over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goni_model::report::{Finding, ScenarioReport, Warning};
use goni_model::size::SectorSize;

use crate::host::command::last_lines;
use crate::host::files;
use crate::host::qemu::{self, ConsoleLog, QemuError, RunDirectory, StopWatch};
use crate::smoke::check::Check;
use crate::smoke::feature::Feature;
use crate::smoke::machine::{Accelerator, Console, Hardware, Machine, Network, WhichTpm};
use crate::smoke::outside::{self, Remains};
use crate::smoke::scenario::{self, Boot, Scenario, Tpm};
use crate::smoke::session::{Broken, Session};
use crate::smoke::{Bench, SmokeError, Subject, handover};

/// How long a boot may take by the guest's own clock before the guest's side stops waiting for its end.
const SETTLE: Duration = Duration::from_secs(240);
/// How many lines of the console are shown where something failed.
const CONSOLE_LINES: usize = 20;

/// A device: its disk, its firmware's variables, its TPM; and what its guest is handed.
struct Device {
    run: RunDirectory,
    strings: Vec<PathBuf>,
    sectors: SectorSize,
    second_disk: Option<PathBuf>,
    remains: Remains,
}

/// What is the same for all scenarios of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    /// What is booted.
    pub(super) subject: &'a Subject<'a>,
    /// What there is to work with.
    pub(super) bench: &'a Bench<'a>,
    /// What all lines of the run bear.
    pub(super) nonce: &'a str,
    /// What runs the processor.
    pub(super) accelerator: Accelerator,
}

impl Common<'_> {
    /// Goes through the first `count` boots of a scenario, running these of its checks.
    pub(super) fn run(
        &self,
        scenario: &Scenario,
        checks: &[&Check],
        count: usize,
    ) -> Result<(ScenarioReport, Vec<Finding>, Vec<Warning>), SmokeError> {
        let watch = StopWatch::start();
        let path = self.subject.console(&scenario.name);
        let mut log = ConsoleLog::create(&path)?;
        // A console that cannot be read has shown nothing.
        let shown = || files::read_capped(&path, u64::MAX).map_or(String::new(), lossy);
        let mut session = Session::new(self.nonce, scenario, checks, SETTLE, self.bench.progress, &shown);
        let mut device = self.device(scenario, checks)?;
        let mut ended = Ok(());
        for machine in scenario.machines(count) {
            let built = self.machine(&machine, &mut device)?;
            let words = machine.boots.iter().flat_map(Boot::words).map(str::to_owned);
            log.watch_for(words.collect::<BTreeSet<String>>());
            ended = qemu::power_on(
                &device.run,
                &built,
                self.bench.toolbox,
                self.bench.system,
                self.bench.interrupt,
                &mut log,
                |powered| session.machine(powered, &machine),
            )?;
            if ended.is_err() {
                break;
            }
        }
        let broken_off = match ended {
            Ok(()) => None,
            Err(Broken::Interrupted(interrupted)) => return Err(QemuError::Interrupted(interrupted).into()),
            Err(broken) => Some(broken.to_string()),
        };
        if broken_off.is_some() {
            session.leave_out(&scenario.boots[..count]);
        }
        for (boot, text) in &session.diagnoses {
            log.note(&format!("what the guest said of the boot `{boot}`:\n{text}"));
        }
        let Session { boots, mut findings, warnings, ignored, .. } = session;
        findings.extend(match &broken_off {
            None => {
                let arch = self.subject.arch;
                device.remains.judge(&device.run, &scenario.name, checks, self.nonce, arch, self.bench)?
            }
            Some(_) => outside::left_out(&scenario.name, checks),
        });
        let failed = broken_off.is_some() || findings.iter().any(|finding| finding.outcome.is_failure());
        let report = ScenarioReport {
            scenario: scenario.name.clone(),
            boots,
            broken_off,
            ignored_lines: ignored,
            console: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            console_end: failed.then(|| last_lines(shown().as_bytes(), CONSOLE_LINES)),
            milliseconds: watch.milliseconds(),
        };
        Ok((report, findings, warnings))
    }

    /// The first device of a scenario, as it leaves the factory.
    fn device(&self, scenario: &Scenario, checks: &[&Check]) -> Result<Device, SmokeError> {
        let Subject { guest, expectations, board, .. } = self.subject;
        let Bench { cache, toolbox, system, .. } = self.bench;
        let sectors = scenario.boots.first().and_then(|boot| boot.setting()).and_then(|s| s.sector_size);
        let (sectors, image) = self.subject.image(sectors).ok_or(SmokeError::NoImage)?;
        let run = RunDirectory::prepare(cache, image, &board.variables, toolbox, system)?;
        let strings = handover::strings(guest, checks, expectations, self.nonce, SETTLE.as_secs())
            .ok_or(SmokeError::TooMuch)?;
        let strings: Result<Vec<PathBuf>, QemuError> = strings
            .iter()
            .enumerate()
            .map(|(index, string)| run.write(&format!("string-{index}"), string.as_bytes()))
            .collect();
        let remains = Remains { devices: vec![sectors], ..Remains::default() };
        Ok(Device { run, strings: strings?, sectors, second_disk: None, remains })
    }

    /// Makes the device ready for a machine of the scenario, and the machine.
    fn machine(&self, machine: &scenario::Machine<'_>, device: &mut Device) -> Result<Machine, SmokeError> {
        let setting = machine.setting;
        let Bench { toolbox, system, .. } = self.bench;
        if setting.fresh {
            let (sectors, image) = self.subject.image(setting.sector_size).ok_or(SmokeError::NoImage)?;
            device.run.renew(image, toolbox, system)?;
            device.sectors = sectors;
            device.second_disk = None;
            device.remains.devices.push(sectors);
        }
        if let Some(size) = setting.disk {
            device.run.grow(size, toolbox, system)?;
        }
        for preparation in &setting.prepare {
            let arch = self.subject.arch;
            let prepared = device.run.prepare_disk(*preparation, device.sectors, arch, toolbox, system)?;
            let number = device.run.device();
            device.remains.planted.extend(prepared.planted.map(|planted| (number, planted)));
            device.second_disk = prepared.second_disk.or(device.second_disk.take());
        }
        let inside = Path::new(qemu::INSIDE);
        let network = match setting.network {
            scenario::Network::None => Network::None,
            scenario::Network::Restricted => {
                let capture = inside.join(format!("capture-{}.pcap", machine.number));
                device.remains.captures.push(capture.clone());
                Network::Restricted { capture }
            }
        };
        Ok(Machine {
            qemu: self.subject.qemu.clone(),
            board: self.subject.board.clone(),
            accelerator: self.accelerator,
            disk: device.run.disk(),
            variables: RunDirectory::variables(),
            console: Console::Socket(inside.join("console")),
            port: Some(inside.join("port")),
            strings: device.strings.clone(),
            monitor: Some(inside.join("monitor")),
            hardware: Hardware {
                network,
                iommu: setting.iommu,
                sectors: device.sectors,
                second_disk: device.second_disk.clone(),
                tpm: self.tpm(setting.tpm).map(RunDirectory::tpm),
            },
        })
    }

    /// The TPM of a machine: where the scenario says nothing, there is one if the recipe wants one.
    fn tpm(&self, wish: Option<Tpm>) -> Option<WhichTpm> {
        match wish {
            Some(Tpm::None) => None,
            Some(Tpm::Own) => Some(WhichTpm::Own),
            Some(Tpm::Replaced) => Some(WhichTpm::Replaced),
            None => self.subject.expectations.has(Feature::Tpm2).then_some(WhichTpm::Own),
        }
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
