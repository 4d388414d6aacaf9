//! The TPM of a machine: swtpm in a sandbox of its own, which sees its state and its socket alone.
//!
//! It is started before the machine, that connects to it, and ends after it. What it keeps, it writes
//! to a new file that takes the place of the old one, so that ending it at any moment loses nothing
//! that it has acknowledged. Source: swtpm(8).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::host::command::{CommandSpec, Run as _, System};
use crate::host::files::{self, FileError};
use crate::host::interrupt::Interrupt;
use crate::host::qemu::{GLANCE, QemuError, RunDirectory, error_chain};
use crate::host::toolbox::Toolbox;
use crate::smoke::machine::{Tpm, WhichTpm};

/// The directory of its socket and its states, in the run's.
pub(super) const DIRECTORY: &str = "tpm";
/// The same as it sees it.
const INSIDE: &str = "/tpm";
/// Written once it listens.
const READY: &str = "ready";
/// How long it has until then.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command of a TPM, whose directories are made. A replaced one begins anew.
pub(super) fn command(run: &RunDirectory, tpm: &Tpm, toolbox: &Toolbox) -> Result<CommandSpec, QemuError> {
    let place = run.outside(&Path::new(super::INSIDE).join(DIRECTORY));
    let state = place.join(tpm.which.name());
    if tpm.which == WhichTpm::Replaced && state.exists() {
        files::remove_tree(&state)?;
    }
    files::create_directories(&state)?;
    for left in [READY, "socket"] {
        // An earlier one of the same run left them; that there are none is as good.
        drop(std::fs::remove_file(place.join(left)));
    }
    let sandbox = toolbox.sandbox().bind_writable(&place, INSIDE);
    Ok(toolbox
        .command_in("swtpm", sandbox)?
        .args(["socket", "--tpm2", "--terminate"])
        .args(["--tpmstate".into(), format!("dir={INSIDE}/{}", tpm.which.name())])
        .args(["--ctrl".into(), format!("type=unixio,path={INSIDE}/socket")])
        .args(["--pid".into(), format!("file={INSIDE}/{READY}")])
        .merge_output())
}

/// Starts it, and waits until it listens. It ends with its machine, or when `system` is stopped.
pub(super) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    system: System,
    command: CommandSpec,
    run: &RunDirectory,
    interrupt: &Interrupt,
) -> Result<(), QemuError> {
    let ready = run.outside(&Path::new(super::INSIDE).join(DIRECTORY).join(READY));
    let ended = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&ended);
    let running = scope.spawn(move || {
        let words = match system.run(&command).map_err(|error| error_chain(&error)) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Err(words) => words,
        };
        tell.store(true, Ordering::SeqCst);
        words
    });
    let began = Instant::now();
    loop {
        interrupt.check()?;
        if std::fs::metadata(&ready).map_err(FileError::io("reading", &ready)).is_ok_and(|it| it.len() > 0) {
            return Ok(());
        }
        if ended.load(Ordering::SeqCst) {
            return Err(QemuError::Tpm(running.join().unwrap_or_default()));
        }
        if began.elapsed() > PATIENCE {
            return Err(QemuError::Tpm(format!("it was not ready after {} s", PATIENCE.as_secs())));
        }
        thread::sleep(GLANCE);
    }
}
