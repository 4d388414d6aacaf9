//! The machine an image is booted on: a value, and the command that makes QEMU of it.
//!
//! What a board's machine is like is the target's (`[qemu]`); what a firmware's machine needs around
//! that, `qemu/machines/<firmware>.toml` says; what one boot adds is [`Hardware`]. Paths are those of
//! the toolbox's sandbox.

mod hardware;

use std::path::{Path, PathBuf};

use goni_model::document::checker::{Checker, Text};
use goni_model::document::fault::Fault;
use goni_model::document::source::{FileId, Sources};
use goni_model::document::{self, shape};
use goni_model::size::SectorSize;
use goni_model::target::Qemu;
use schemars::JsonSchema;
use serde::Deserialize;

pub use hardware::{Hardware, Network, Recording, Tpm, WhichTpm};

/// The surroundings of a firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// The emulator, a program of the toolbox.
    pub program: String,
    /// The firmware's code, a file of the toolbox.
    pub code: PathBuf,
    /// The variables it begins with, a file of the toolbox; each run has a copy.
    pub variables: PathBuf,
    /// How its machine gets an IOMMU.
    pub iommu: Iommu,
    /// The device that its machine has a TPM as: `tpm-crb`.
    pub tpm: String,
}

/// How a machine gets an IOMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Iommu {
    /// By a device, before those behind it: `intel-iommu`.
    Device(String),
    /// By a property of the machine: `iommu=smmuv3`.
    Machine(String),
}

/// A machine of goni-compose: `qemu/machines/<firmware>.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose machine")]
pub struct BoardDoc {
    /// The emulator, a program of the toolbox.
    #[schemars(with = "Option<String>")]
    pub program: Option<Text>,
    /// The firmware's code, a file of the toolbox.
    #[schemars(with = "Option<String>")]
    pub code: Option<Text>,
    /// The variables it begins with, a file of the toolbox.
    #[schemars(with = "Option<String>")]
    pub variables: Option<Text>,
    /// The device that is its IOMMU, where it is one: `intel-iommu`.
    #[schemars(with = "Option<String>")]
    pub iommu_device: Option<Text>,
    /// The property of the machine that gives it an IOMMU, where it is one: `iommu=smmuv3`.
    #[schemars(with = "Option<String>")]
    pub iommu_machine: Option<Text>,
    /// The device that is its TPM: `tpm-crb`.
    #[schemars(with = "Option<String>")]
    pub tpm: Option<Text>,
}

/// Checks the machine that a file describes.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, file: FileId) -> Result<Board, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &shape::of::<BoardDoc>());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: BoardDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let program = checker.require(doc.program.as_ref(), "program", "such as \"qemu-system-x86_64\"");
    let code = path(doc.code.as_ref(), "code", &mut checker);
    let variables = path(doc.variables.as_ref(), "variables", &mut checker);
    let iommu = iommu(&doc, &mut checker);
    let tpm = checker.require(doc.tpm.as_ref(), "tpm", "such as \"tpm-crb\"");
    let tpm = tpm.and_then(|text| option(text, "tpm", &mut checker));
    let board = program.zip(code.zip(variables)).zip(iommu.zip(tpm));
    let board = board.map(|((program, (code, variables)), (iommu, tpm))| Board {
        program: program.get_ref().clone(),
        code,
        variables,
        iommu,
        tpm,
    });
    checker.finish(board).map(|(board, _)| board)
}

/// The one of the two ways to an IOMMU that is given.
fn iommu(doc: &BoardDoc, checker: &mut Checker) -> Option<Iommu> {
    match (&doc.iommu_device, &doc.iommu_machine) {
        (Some(_), Some(second)) => {
            checker
                .fault_at(second, "`iommu-device` and `iommu-machine` are two ways to one IOMMU".to_owned());
            None
        }
        (None, Some(text)) => option(text, "iommu-machine", checker).map(Iommu::Machine),
        (device, None) => {
            let text = checker.require(device.as_ref(), "iommu-device", "or `iommu-machine`")?;
            option(text, "iommu-device", checker).map(Iommu::Device)
        }
    }
}

/// A name with its properties, as QEMU's options have them.
fn option(text: &Text, key: &str, checker: &mut Checker) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=,.".contains(&b);
    let good = text.get_ref().starts_with(|c: char| c.is_ascii_alphanumeric());
    if !good || !text.get_ref().bytes().all(plain) {
        checker.fault_at(text, format!("`{key}` wants a name and its properties, as in `name,key=value`"));
        return None;
    }
    Some(text.get_ref().clone())
}

/// An absolute path, without what would be a second option to QEMU.
fn path(text: Option<&Text>, key: &str, checker: &mut Checker) -> Option<PathBuf> {
    let text = checker.require(text, key, "an absolute path in the toolbox")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
    let good = text.get_ref().starts_with('/') && text.get_ref().bytes().all(plain);
    if !good || text.get_ref().contains("..") {
        checker.fault_at(text, format!("`{key}` wants an absolute path in the toolbox"));
        return None;
    }
    Some(text.get_ref().into())
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU itself; runs everywhere.
    Tcg,
    /// The processor, through the kernel.
    Kvm,
}

impl Accelerator {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// Where the guest's console is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Console {
    /// On the emulator's standard streams, with its monitor behind Ctrl-A C.
    Terminal,
    /// At a socket that somebody listens at.
    Socket(PathBuf),
}

/// A machine with all it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The target's machine.
    pub qemu: Qemu,
    /// What its firmware needs.
    pub board: Board,
    /// What runs it.
    pub accelerator: Accelerator,
    /// Its disk: a qcow2 image that will be written to.
    pub disk: PathBuf,
    /// Its own copy of the firmware's variables.
    pub variables: PathBuf,
    /// Its console.
    pub console: Console,
    /// The socket for the guest's side of the checks, if they run.
    pub port: Option<PathBuf>,
    /// Files that each hold one SMBIOS string of type 11.
    pub strings: Vec<PathBuf>,
    /// The socket that its monitor is asked at, if it has one.
    pub monitor: Option<PathBuf>,
    /// What this boot adds.
    pub hardware: Hardware,
}

/// The name of the port that the guest's side finds in `/dev/virtio-ports`.
pub const PORT: &str = "org.goni.smoke";
/// The name of the port at which the guest's load tells what it has flushed.
pub const LOAD_PORT: &str = "org.goni.load";

impl Machine {
    /// The emulator's arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Arguments(vec!["-nodefaults".into()]);
        self.add_board(&mut arguments);
        self.add_disks(&mut arguments);
        arguments.add("-device", "virtio-rng-pci".into());
        match &self.console {
            Console::Terminal => arguments.add("-serial", "mon:stdio".into()),
            Console::Socket(path) => {
                arguments.add_socket("console", path);
                arguments.add("-serial", "chardev:console".into());
            }
        }
        if let Some(path) = &self.monitor {
            arguments.add_socket("monitor", path);
            arguments.add("-mon", "chardev=monitor,mode=control".into());
        }
        if let Some(path) = &self.port {
            arguments.add("-device", "virtio-serial-pci".into());
            arguments.add_socket("port", path);
            arguments.add("-device", format!("virtserialport,chardev=port,name={PORT}"));
        }
        if let Some(recording) = &self.hardware.recording {
            arguments.add_socket("load", &recording.port);
            arguments.add("-device", format!("virtserialport,chardev=load,name={LOAD_PORT}"));
        }
        for path in &self.strings {
            arguments.add("-smbios", format!("type=11,path={}", escaped(path)));
        }
        if let Some(tpm) = &self.hardware.tpm {
            arguments.add_socket("tpm-socket", &tpm.socket);
            arguments.add("-tpmdev", "emulator,id=tpm,chardev=tpm-socket".into());
            arguments.add("-device", format!("{},tpmdev=tpm", self.board.tpm));
        }
        self.add_network(&mut arguments);
        arguments.0
    }

    /// Board, processor, memory, firmware.
    fn add_board(&self, arguments: &mut Arguments) {
        arguments.add("-display", "none".into());
        let machine = match &self.board.iommu {
            Iommu::Machine(property) if self.hardware.iommu => format!("{},{property}", self.qemu.machine),
            _ => self.qemu.machine.to_string(),
        };
        arguments.add("-machine", machine);
        arguments.add(
            "-accel",
            match self.accelerator {
                Accelerator::Tcg => "tcg,thread=multi".into(),
                Accelerator::Kvm => "kvm".into(),
            },
        );
        arguments.add("-cpu", self.qemu.cpu.to_string());
        arguments.add("-smp", self.qemu.processors.to_string());
        arguments.add("-m", format!("{}B", self.qemu.memory.get()));
        let firmware = |unit: u8, rest: &str, path: &Path| {
            format!("if=pflash,format=raw,unit={unit}{rest},file={}", escaped(path))
        };
        arguments.add("-drive", firmware(0, ",readonly=on", &self.board.code));
        arguments.add("-drive", firmware(1, "", &self.variables));
        // It has to come before the devices behind it. The virtio devices are in its groups, but reach
        // memory past it (no `iommu_platform`): with them behind it, a guest under TCG found a foreign word
        // in its page tables, and lost a module over it.
        if let (true, Iommu::Device(device)) = (self.hardware.iommu, &self.board.iommu) {
            arguments.add("-device", device.clone());
        }
    }

    fn add_disks(&self, arguments: &mut Arguments) {
        let sectors = match self.hardware.sectors {
            SectorSize::B512 => String::new(),
            SectorSize::B4096 => ",logical_block_size=4096,physical_block_size=4096".into(),
        };
        // A flush of the guest reaches the overlay, which then outlives the emulator; that the host
        // flushes it to its own disk, nobody needs.
        let drive = |id: &str, format: &str, path: &Path| {
            format!("if=none,id={id},format={format},cache=unsafe,file={}", escaped(path))
        };
        match &self.hardware.recording {
            None => arguments.add("-drive", drive("disk", "qcow2", &self.disk)),
            Some(recording) => {
                let nodes = recorded(&self.disk, &recording.log, self.hardware.sectors);
                nodes.into_iter().for_each(|node| arguments.add("-blockdev", node));
            }
        }
        // A firmware that is told where to begin looks nowhere else: not at the network either.
        let disk = format!(",drive=disk,bootindex=0{sectors}");
        arguments.add("-device", format!("virtio-blk-pci{disk}"));
        if let Some(path) = &self.hardware.second_disk {
            arguments.add("-drive", drive("second", "raw", path));
            arguments.add("-device", format!("virtio-blk-pci,drive=second{sectors}"));
        }
    }

    fn add_network(&self, arguments: &mut Arguments) {
        match &self.hardware.network {
            Network::None => arguments.add("-nic", "none".into()),
            Network::Restricted { capture } => {
                arguments.add("-netdev", "user,id=network,restrict=on".into());
                let dump = format!("filter-dump,id=capture,netdev=network,file={}", escaped(capture));
                arguments.add("-object", dump);
                // Without its ROM the firmware has no reason to try it.
                arguments.add("-device", "virtio-net-pci,netdev=network,romfile=".into());
            }
            Network::Forward(port) => {
                let forward = format!("hostfwd=tcp:127.0.0.1:{port}-:7000");
                arguments.add("-nic", format!("user,model=virtio-net-pci,{forward}"));
            }
        }
    }
}

/// Options with their values, in order.
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, option: &str, value: String) {
        self.0.extend([option.to_owned(), value]);
    }

    /// A socket that somebody listens at.
    fn add_socket(&mut self, id: &str, path: &Path) {
        self.add("-chardev", format!("socket,id={id},path={}", escaped(path)));
    }
}

/// The nodes between the file of a recorded disk and its device, from below. The uppermost alone lets the
/// guest flush, which it records; below that nothing reaches the host's disk, as without a recording.
/// The log's superblock is always up to date: it tells how far the guest was when it said something.
fn recorded(disk: &Path, log: &Path, sectors: SectorSize) -> [String; 4] {
    let below = "cache.no-flush=on,discard=unmap";
    [
        format!("driver=file,node-name=overlay-file,{below},filename={}", escaped(disk)),
        format!("driver=qcow2,node-name=overlay,{below},file=overlay-file"),
        format!("driver=file,node-name=log,cache.no-flush=on,filename={}", escaped(log)),
        format!(
            "driver=blklogwrites,node-name=disk,discard=unmap,file=overlay,log=log,\
             log-sector-size={},log-super-update-interval=1",
            sectors.get()
        ),
    ]
}

/// A path as the value of a key: QEMU writes a comma twice. Source: qemu(1), “-drive file”.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use goni_model::size::ByteCount;
    use goni_model::target::QemuFirmware;

    use super::*;

    fn machine() -> Machine {
        Machine {
            qemu: Qemu {
                machine: "q35".parse().unwrap(),
                cpu: "max".parse().unwrap(),
                processors: 2,
                memory: ByteCount::from_mib(1024),
                firmware: QemuFirmware::Ovmf,
            },
            board: Board {
                program: "qemu-system-x86_64".into(),
                code: "/usr/share/code.fd".into(),
                variables: "/usr/share/vars.fd".into(),
                iommu: Iommu::Device("intel-iommu,intremap=off".into()),
                tpm: "tpm-crb".into(),
            },
            accelerator: Accelerator::Tcg,
            disk: "/machine/a,b.qcow2".into(),
            variables: "/machine/vars.fd".into(),
            console: Console::Socket("/machine/console".into()),
            port: Some("/machine/port".into()),
            strings: vec!["/machine/0".into()],
            monitor: Some("/machine/monitor".into()),
            hardware: Hardware::default(),
        }
    }

    #[test]
    fn a_checked_machine_has_these_arguments() {
        let lines = machine().arguments().join("\n");
        let expected = "-nodefaults
-display\nnone
-machine\nq35
-accel\ntcg,thread=multi
-cpu\nmax
-smp\n2
-m\n1073741824B
-drive\nif=pflash,format=raw,unit=0,readonly=on,file=/usr/share/code.fd
-drive\nif=pflash,format=raw,unit=1,file=/machine/vars.fd
-drive\nif=none,id=disk,format=qcow2,cache=unsafe,file=/machine/a,,b.qcow2
-device\nvirtio-blk-pci,drive=disk,bootindex=0
-device\nvirtio-rng-pci
-chardev\nsocket,id=console,path=/machine/console
-serial\nchardev:console
-chardev\nsocket,id=monitor,path=/machine/monitor
-mon\nchardev=monitor,mode=control
-device\nvirtio-serial-pci
-chardev\nsocket,id=port,path=/machine/port
-device\nvirtserialport,chardev=port,name=org.goni.smoke
-smbios\ntype=11,path=/machine/0
-nic\nnone";
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_machine_at_the_terminal_has_a_network_and_no_port() {
        let console = Console::Terminal;
        let hardware = Hardware { network: Network::Forward(7000), ..Hardware::default() };
        let machine =
            Machine { console, monitor: None, port: None, strings: Vec::new(), hardware, ..machine() };
        let arguments = machine.arguments();
        let tail: Vec<&str> = arguments.iter().rev().take(4).rev().map(String::as_str).collect();
        assert_eq!(
            tail,
            ["-serial", "mon:stdio", "-nic", "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:7000-:7000"]
        );
        assert!(!arguments.iter().any(|argument| argument.contains(PORT)));
    }

    #[test]
    fn a_recorded_machine_writes_to_its_disk_through_the_log() {
        let recording = Recording { log: "/machine/log".into(), port: "/machine/load".into() };
        let plain = machine().arguments();
        let hardware = Hardware { recording: Some(recording), ..Hardware::default() };
        let arguments = Machine { hardware, ..machine() }.arguments();
        let more: Vec<&str> =
            arguments.iter().filter(|argument| !plain.contains(argument)).map(String::as_str).collect();
        let expected = "-blockdev
driver=file,node-name=overlay-file,cache.no-flush=on,discard=unmap,filename=/machine/a,,b.qcow2
-blockdev
driver=qcow2,node-name=overlay,cache.no-flush=on,discard=unmap,file=overlay-file
-blockdev
driver=file,node-name=log,cache.no-flush=on,filename=/machine/log
-blockdev
driver=blklogwrites,node-name=disk,discard=unmap,file=overlay,log=log,log-sector-size=512,log-super-update-interval=1
socket,id=load,path=/machine/load
virtserialport,chardev=load,name=org.goni.load";
        assert_eq!(more.join("\n"), expected);
        assert!(!arguments.iter().any(|argument| argument.contains("cache=unsafe")), "{arguments:?}");
    }

    #[test]
    fn what_a_boot_adds_has_these_arguments() {
        let capture = "/machine/capture.pcap".into();
        let hardware = Hardware {
            network: Network::Restricted { capture },
            iommu: true,
            sectors: SectorSize::B4096,
            second_disk: Some("/machine/second.raw".into()),
            tpm: Some(Tpm { which: WhichTpm::Own, socket: "/machine/tpm/socket".into() }),
            recording: None,
        };
        let plain = machine().arguments();
        let added: Vec<String> = Machine { hardware, ..machine() }
            .arguments()
            .into_iter()
            .filter(|argument| argument.starts_with(|c: char| c != '-') && !plain.contains(argument))
            .collect();
        let expected = "intel-iommu,intremap=off
virtio-blk-pci,drive=disk,bootindex=0,logical_block_size=4096,physical_block_size=4096
if=none,id=second,format=raw,cache=unsafe,file=/machine/second.raw
virtio-blk-pci,drive=second,logical_block_size=4096,physical_block_size=4096
socket,id=tpm-socket,path=/machine/tpm/socket
emulator,id=tpm,chardev=tpm-socket
tpm-crb,tpmdev=tpm
user,id=network,restrict=on
filter-dump,id=capture,netdev=network,file=/machine/capture.pcap
virtio-net-pci,netdev=network,romfile=";
        assert_eq!(added.join("\n"), expected);
    }

    #[test]
    fn an_iommu_that_the_machine_is_asked_for_is_no_device() {
        let board = Board {
            iommu: Iommu::Machine("iommu=smmuv3".into()),
            tpm: "tpm-tis-device".into(),
            ..machine().board
        };
        let tpm = Some(Tpm { which: WhichTpm::Own, socket: "/machine/tpm/socket".into() });
        let hardware = Hardware { iommu: true, tpm, ..Hardware::default() };
        let arguments = Machine { board, hardware, ..machine() }.arguments();
        let has = |argument: &str| arguments.iter().any(|given| given == argument);
        assert!(has("q35,iommu=smmuv3") && has("tpm-tis-device,tpmdev=tpm"), "{arguments:?}");
        assert!(!arguments.iter().any(|argument| argument.contains("intel-iommu")), "{arguments:?}");
    }

    #[test]
    fn a_board_with_a_path_out_of_the_toolbox_is_refused() {
        let mut sources = Sources::new();
        let text =
            "program = 'q'\ncode = '/usr/../etc/x'\nvariables = '/a,b'\niommu-device = 'i'\ntpm = 't t'\n";
        let (file, _) = sources.add("ovmf.toml", text.as_bytes());
        let faults = check(&sources, file).unwrap_err();
        let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`code` wants an absolute path in the toolbox",
                "`variables` wants an absolute path in the toolbox",
                "`tpm` wants a name and its properties, as in `name,key=value`"
            ]
        );
    }
}
