//! Ctrl-C, SIGTERM and SIGHUP: a flag that long work looks at.
//!
//! Whoever sees the flag returns an error, and destructors take away what is unfinished. A second
//! signal does not wait for that: the process ends at once, and leftovers are swept at the next start.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Class, Classify};

/// How often a wait looks at the flag.
const GLANCE: Duration = Duration::from_millis(50);

/// The flag; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Which signal came last, by its value in [`ASKED`].
    which: Arc<AtomicUsize>,
    any: Arc<AtomicBool>,
}

/// The signals that ask us to stop, as the flag's values; 0 is none.
const ASKED: [(i32, usize, Interrupted); 3] = [
    (SIGINT, 1, Interrupted::Interrupt),
    (SIGTERM, 2, Interrupted::Terminate),
    (SIGHUP, 3, Interrupted::HangUp),
];

/// Somebody asked us to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// SIGINT.
    #[error("interrupted")]
    Interrupt,
    /// SIGTERM.
    #[error("asked to terminate")]
    Terminate,
    /// SIGHUP.
    #[error("the terminal went away")]
    HangUp,
}

impl Classify for Interrupted {
    fn class(&self) -> Class {
        match self {
            Self::Interrupt => Class::Interrupted,
            Self::Terminate | Self::HangUp => Class::Terminated,
        }
    }
}

impl Interrupt {
    /// A flag that the signals of this process set.
    ///
    /// # Errors
    /// If the handlers cannot be set.
    pub fn install() -> io::Result<Self> {
        let this = Self::default();
        for (signal, value, meaning) in ASKED {
            // Order matters: the shutdown is taken only if the flag was set before this signal.
            let code = i32::from(meaning.class().exit_code());
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&this.any))?;
            signal_hook::flag::register(signal, Arc::clone(&this.any))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&this.which), value)?;
        }
        Ok(this)
    }

    /// Sets the flag, as a signal would.
    pub fn raise(&self, reason: Interrupted) {
        let value = ASKED.into_iter().find(|(_, _, meaning)| *meaning == reason);
        self.which.store(value.map_or(0, |(_, value, _)| value), Ordering::SeqCst);
        self.any.store(true, Ordering::SeqCst);
    }

    /// The flag for those who need not know why: true once somebody asked.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.any)
    }

    /// Goes on, or stops because somebody asked.
    ///
    /// # Errors
    /// [`Interrupted`] once the flag is set.
    pub fn check(&self) -> Result<(), Interrupted> {
        let value = self.which.load(Ordering::Relaxed);
        match ASKED.into_iter().find(|(_, set, _)| *set == value) {
            Some((_, _, meaning)) => Err(meaning),
            None => Ok(()),
        }
    }

    /// Waits, looking at the flag all the while.
    ///
    /// # Errors
    /// [`Interrupted`] as soon as the flag is set.
    pub fn wait(&self, time: Duration) -> Result<(), Interrupted> {
        let start = Instant::now();
        loop {
            self.check()?;
            let Some(left) = time.checked_sub(start.elapsed()) else { return Ok(()) };
            std::thread::sleep(left.min(GLANCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wrong_until_somebody_asks() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.check(), Ok(()));
        for (reason, code) in
            [(Interrupted::Interrupt, 130), (Interrupted::Terminate, 143), (Interrupted::HangUp, 143)]
        {
            interrupt.raise(reason);
            assert_eq!(interrupt.clone().check(), Err(reason));
            assert_eq!(reason.class().exit_code(), code);
        }
    }

    #[test]
    fn a_signal_sets_the_flag() {
        let interrupt = Interrupt::install().unwrap();
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert_eq!(interrupt.check(), Err(Interrupted::HangUp));
        assert!(interrupt.flag().load(Ordering::SeqCst));
    }

    #[test]
    fn a_wait_ends_with_its_time_or_with_a_signal() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.wait(Duration::from_millis(5)), Ok(()));
        interrupt.raise(Interrupted::Interrupt);
        assert_eq!(interrupt.wait(Duration::from_secs(3600)), Err(Interrupted::Interrupt));
    }
}
