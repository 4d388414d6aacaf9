//! A panic is a bug: one line, and exit code 70.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

/// Replaces the trace of a panic by one line.
pub(super) fn install() {
    set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    let message = message.replace('\n', " ");
    let text = format!(
        "error: this is a bug in goni-compose: {message}{place}\nhint: report it with the command and the recipe\n"
    );
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Runs work; `None` if it panicked, which the hook has reported.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    // Nothing that the work touched is used after a panic: the program ends.
    catch_unwind(AssertUnwindSafe(work)).ok()
}
