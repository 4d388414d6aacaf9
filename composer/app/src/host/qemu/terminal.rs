//! A machine at this terminal, for a person.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

use crate::host::command::{Run as _, System};
use crate::host::interrupt::Interrupt;
use crate::host::qemu::{GLANCE, QemuError, RunDirectory, emulator};
use crate::host::toolbox::Toolbox;
use crate::smoke::machine::Machine;

/// Switches a machine on and leaves the terminal to it until it is off.
///
/// The emulator makes the terminal raw, so Ctrl-C goes to the guest; Ctrl-A X is the way out.
///
/// # Errors
/// It could not be switched on, ended badly, or somebody asked us to stop.
pub fn power_on_here(
    run: &RunDirectory,
    machine: &Machine,
    toolbox: &Toolbox,
    system: &System,
    interrupt: &Interrupt,
) -> Result<(), QemuError> {
    let command = emulator(run, machine, toolbox)?.at_terminal();
    let _restored = Restored::of_standard_input();
    let off = Arc::new(AtomicBool::new(false));
    let system = system.clone().stopping_on(Arc::clone(&off));
    let over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) && interrupt.check().is_ok() {
                thread::sleep(GLANCE);
            }
            off.store(true, Ordering::SeqCst);
        });
        let ended = system.run(&command);
        over.store(true, Ordering::SeqCst);
        ended
    });
    interrupt.check()?;
    ended?.success(&command)?;
    Ok(())
}

/// Gives the terminal back as it was: an emulator that is killed leaves it raw.
struct Restored(Option<Termios>);

impl Restored {
    fn of_standard_input() -> Self {
        let input = std::io::stdin();
        // What is no terminal has no attributes, and needs none restored.
        Self(input.is_terminal().then(|| tcgetattr(&input).ok()).flatten())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that went away needs nothing restored.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}
