//! The two streams of the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::cli::arguments::{Color, Global};
use crate::cli::progress::{Live, Pace, Plain};
use crate::failure::{Class, Classify, Failure};
use crate::progress::{Progress, Silent};

/// Standard output for results, standard error for the rest.
pub struct Terminal {
    colors: bool,
    progress: Box<dyn Progress>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("colors", &self.colors).finish_non_exhaustive()
    }
}

/// Whoever read standard output has gone: no fault of anyone's, and nobody to tell.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

impl Classify for Closed {
    fn class(&self) -> Class {
        Class::Environment
    }
}

/// A result could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing to standard output")]
struct Unwritten(#[source] io::Error);

impl Classify for Unwritten {
    fn class(&self) -> Class {
        Class::Environment
    }
}

impl Terminal {
    /// The terminal as the options ask for it.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        let live = io::stderr().is_terminal() && !is_dumb();
        let colors = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => live && !refuses_color(),
        };
        let pace = if global.verbose { Pace::Every } else { Pace::Ends };
        let progress: Box<dyn Progress> = match (global.quiet, live) {
            (true, _) => Box::new(Plain::new(Pace::Warnings)),
            (false, true) => Box::new(Live::new()),
            (false, false) => Box::new(Plain::new(pace)),
        };
        Self { colors, progress }
    }

    /// A terminal that shows no progress and no colours.
    #[must_use]
    pub fn silent() -> Self {
        Self { colors: false, progress: Box::new(Silent) }
    }

    /// Where work tells how far it is.
    #[must_use]
    pub fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// Whether messages are coloured.
    #[must_use]
    pub const fn colors(&self) -> bool {
        self.colors
    }

    /// Writes a result to standard output.
    ///
    /// # Errors
    /// It is closed, or cannot take the bytes.
    pub fn show(&self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
            Err(error) => Err(Unwritten(error).into()),
        }
    }

    /// Writes a message to standard error. If that fails there is nobody left to tell.
    pub fn complain(&self, text: &str) {
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }
}

#[expect(clippy::disallowed_methods, reason = "a setting of the terminal, which this module owns")]
fn refuses_color() -> bool {
    // Source: no-color.org. Set and not empty, whatever the value.
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "a setting of the terminal, which this module owns")]
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}
