//! The machine an image is booted on: a value, and the command that makes QEMU of it.
//!
//! What a board's machine is like is the target's (`[qemu]`); what a firmware's machine needs around
//! that, `qemu/machines/<firmware>.toml` says; what one boot adds is [`Hardware`]. Paths are those of
//! the toolbox's sandbox.

mod board;
mod hardware;

use std::path::{Path, PathBuf};

use goni_model::size::SectorSize;
use goni_model::target::Qemu;

pub use board::{Board, BoardDoc, Iommu, check, schema};
pub use hardware::{Hardware, Network, Recording, Tpm, WhichTpm};

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
mod tests;
