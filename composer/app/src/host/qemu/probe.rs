//! Whether the kernel's accelerator works here: asked of a machine of our own, in bounded time.
//!
//! That /dev/kvm opens says little: there are hosts where it does and a guest then spins for ever.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goni_model::arch::Arch;

use crate::host::command::{CommandSpec, Run as _, System};
use crate::host::toolbox::Toolbox;
use crate::smoke::machine::Accelerator;

/// The kernel's accelerator.
const DEVICE: &str = "/dev/kvm";
/// How long the machine has to say its line.
const LIMIT: Duration = Duration::from_secs(5);

/// A boot sector that writes `K`, line feed to the first serial port and halts.
///
/// mov dx, 0x3f8; mov al, 'K'; out dx, al; mov al, 10; out dx, al; cli; hlt; jmp to the hlt.
const SECTOR: [u8; 13] = [0xba, 0xf8, 0x03, 0xb0, b'K', 0xee, 0xb0, 0x0a, 0xee, 0xfa, 0xf4, 0xeb, 0xfd];

/// The accelerator to use for guests of an architecture, and why it is that one.
#[must_use]
pub fn choose(arch: Arch, toolbox: &Toolbox, system: &System) -> (Accelerator, String) {
    let tcg = |why: &str| (Accelerator::Tcg, format!("tcg: {why}"));
    if arch != Arch::Amd64 || std::env::consts::ARCH != "x86_64" {
        return tcg("the probe of kvm is for amd64 on amd64");
    }
    if let Err(error) = File::options().read(true).write(true).open(DEVICE) {
        return tcg(&format!("opening {DEVICE}: {error}"));
    }
    match answers(toolbox, system) {
        Some(true) => (Accelerator::Kvm, "kvm".into()),
        Some(false) => tcg(&format!("a guest under kvm said nothing for {} s", LIMIT.as_secs())),
        None => tcg("kvm could not be probed"),
    }
}

/// Lets a command see the accelerator.
pub(super) fn with_kvm(command: CommandSpec) -> CommandSpec {
    match command.sandbox().cloned() {
        Some(sandbox) => command.inside(sandbox.bind_writable(DEVICE, DEVICE)),
        None => command,
    }
}

fn answers(toolbox: &Toolbox, system: &System) -> Option<bool> {
    let directory = tempfile::tempdir().ok()?;
    let mut sector = SECTOR.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    std::fs::write(directory.path().join("sector"), sector).ok()?;
    let sandbox = toolbox.sandbox().bind(directory.path(), Path::new("/machine"));
    let command = toolbox
        .command_in("qemu-system-x86_64", sandbox)
        .ok()?
        .args(["-nodefaults", "-display", "none", "-machine", "pc", "-accel", "kvm", "-m", "16"])
        .args(["-drive", "if=ide,format=raw,readonly=on,file=/machine/sector,snapshot=on"])
        .args(["-serial", "stdio"])
        .timeout(LIMIT);
    // The guest never ends by itself: its line ends it.
    let seen = Arc::new(AtomicBool::new(false));
    let system = system.clone().stopping_on(Arc::clone(&seen));
    let watch = |line: &[u8]| {
        if line.ends_with(b"K") {
            seen.store(true, Ordering::SeqCst);
        }
    };
    // Killed either way, by its line or by its time: that is what tells them apart.
    drop(system.run_watched(&with_kvm(command), &watch));
    Some(seen.load(Ordering::SeqCst))
}
