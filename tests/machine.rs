//! Machines with nothing but firmware: buttons, typing, TPMs, and what leaves a restricted network; and
//! what the host finds on their disks.
//! Needs the toolbox, as `tests/toolbox.rs` does; no image.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]

#[path = "machine/disk.rs"]
mod disk;

use std::fs;
use std::path::Path;
use std::time::Duration;

use goni_compose::host::clock::SystemClock;
use goni_compose::host::command::System;
use goni_compose::host::environment::Environment;
use goni_compose::host::fetch::http::{HttpFetch, Options};
use goni_compose::host::interrupt::Interrupt;
use goni_compose::host::mirror::Mirrors;
use goni_compose::host::qemu::{self, ConsoleLog, Event, Powered, RunDirectory};
use goni_compose::host::store::Store;
use goni_compose::host::toolbox::Toolbox;
use goni_compose::progress::Silent;
use goni_compose::smoke::machine::{
    Accelerator, Board, Console, Hardware, Iommu, Machine, Network, WhichTpm,
};
use goni_compose::stages::fetch::Sources;
use goni_compose::stages::toolbox;
use goni_model::report::Outcome;
use goni_model::size::ByteCount;
use goni_model::target::{Qemu, QemuFirmware};

/// The shell's prompt.
const PROMPT: &str = "Shell> ";
/// From power on to the prompt, on a host that has other things to do.
const START: Duration = Duration::from_secs(180);

fn tools() -> Toolbox {
    let environment = Environment::of_process();
    let cache = environment.cache_directory(None).unwrap();
    let store = Store::open(&cache).unwrap();
    let fetch = HttpFetch::new(Options::of(&environment).unwrap(), Interrupt::default()).unwrap();
    let mirrors = Mirrors::discover(None, &environment, Path::new("/etc/apt")).unwrap();
    let sources = Sources { mirrors: &mirrors, store: &store, fetch: &fetch, progress: &Silent };
    toolbox::open(&cache, sources, &SystemClock).unwrap()
}

struct Bench {
    directory: tempfile::TempDir,
    tools: Toolbox,
    system: System,
    run: RunDirectory,
}

impl Bench {
    /// A run over an empty disk: the firmware finds nothing to boot, and offers its shell.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("empty.raw");
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let (tools, system) = (tools(), System::new(env!("CARGO_BIN_EXE_goni-compose")));
        let variables = Path::new("/usr/share/OVMF/OVMF_VARS_4M.fd");
        let run = RunDirectory::prepare(directory.path(), &image, variables, &tools, &system).unwrap();
        Self { directory, tools, system, run }
    }

    fn power_on<T>(&self, hardware: Hardware, drive: impl FnOnce(&Powered) -> T) -> T {
        let machine = Machine {
            qemu: Qemu {
                machine: "q35".parse().unwrap(),
                cpu: "max".parse().unwrap(),
                processors: 1,
                memory: ByteCount::from_mib(256),
                firmware: QemuFirmware::Ovmf,
            },
            board: Board {
                program: "qemu-system-x86_64".into(),
                code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(),
                variables: "/usr/share/OVMF/OVMF_VARS_4M.fd".into(),
                iommu: Iommu::Device("intel-iommu,intremap=off".into()),
                tpm: "tpm-crb".into(),
            },
            accelerator: Accelerator::Tcg,
            disk: self.run.disk(),
            variables: RunDirectory::variables(),
            console: Console::Socket("/machine/console".into()),
            port: None,
            strings: Vec::new(),
            monitor: Some("/machine/monitor".into()),
            hardware,
        };
        let path = self.directory.path().join("console.log");
        let mut log = ConsoleLog::create(&path).unwrap();
        log.watch_for([PROMPT.to_owned()]);
        let (tools, interrupt) = (&self.tools, Interrupt::default());
        let ended = qemu::power_on(&self.run, &machine, tools, &self.system, &interrupt, &mut log, drive);
        ended.unwrap_or_else(|error| panic!("{error}\n{}", fs::read_to_string(&path).unwrap()))
    }
}

fn prompt(powered: &Powered) {
    assert_eq!(powered.next(START).unwrap(), Some(Event::Words(PROMPT.into())));
}

fn say(powered: &Powered, line: &str) {
    powered.type_text(line).unwrap();
    powered.type_text("\r").unwrap();
}

#[test]
fn a_machine_obeys_its_buttons_and_its_keyboard_and_its_tpm_remembers() {
    let bench = Bench::new();
    let hardware =
        |which| Hardware { tpm: Some(RunDirectory::tpm(which)), iommu: true, ..Hardware::default() };
    let state =
        |which: &str| bench.run.outside(Path::new("/machine/tpm")).join(which).join("tpm2-00.permall");
    bench.power_on(hardware(WhichTpm::Own), |powered| {
        prompt(powered);
        powered.reset().unwrap();
        prompt(powered);
        say(powered, "reset -s");
        let off = powered.next(START).unwrap();
        assert_eq!(off, Some(Event::Off("the guest switched the machine off".into())));
    });
    let own = fs::read(state("own")).unwrap();
    bench.power_on(hardware(WhichTpm::Replaced), |powered| powered.quit().unwrap());
    // The seeds of another TPM are others, and its coming changes nothing of the first.
    assert_ne!(fs::read(state("replaced")).unwrap(), own);
    assert_eq!(fs::read(state("own")).unwrap(), own);
}

#[test]
fn a_firmware_that_asks_for_an_address_sends_nothing_else() {
    let bench = Bench::new();
    let capture = Path::new("/machine/capture.pcap");
    let network = Network::Restricted { capture: capture.to_owned() };
    bench.power_on(Hardware { network, ..Hardware::default() }, |powered| {
        prompt(powered);
        // The ping is there to pass the time: without an address, nothing of it leaves.
        for line in ["connect -r", "ifconfig -s eth0 dhcp", "ping -n 1 10.0.2.2"] {
            say(powered, line);
            prompt(powered);
        }
        powered.quit().unwrap();
    });
    assert_eq!(bench.run.judge_capture(capture).unwrap(), Outcome::Passed);
}
