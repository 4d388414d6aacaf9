//! What a recorded guest says of its writes, each line with the length of the log when it came.
//!
//! The log's superblock counts every write that has ended; so a line that tells of a write comes when
//! the log has it, and the count that is read then is no smaller.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use goni_disk::write_log;
use goni_model::number::to_u64;

use super::{FileError, LONGEST_PORT_LINE, MOST_PORT_BYTES, QemuError, RunDirectory, accept};
use crate::host::disk_file::DiskFile;

/// Listens at the port of a guest's load.
#[derive(Debug)]
pub struct Hearing {
    listener: UnixListener,
    log: PathBuf,
    heard: Mutex<Vec<(Vec<u8>, u64)>>,
    over: AtomicBool,
}

impl Hearing {
    /// Listens at the socket of this name, and looks at the log of that name.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn begin(run: &RunDirectory, socket: &str, log: &Path) -> Result<Self, QemuError> {
        let listener = run.listen(socket)?;
        Ok(Self { listener, log: log.to_owned(), heard: Mutex::default(), over: AtomicBool::new(false) })
    }

    /// Hears what comes until the machine is off.
    pub fn follow(&self) {
        let Some(stream) = accept(&self.listener, &self.over) else { return };
        let mut lines = BufReader::new(stream.take(to_u64(MOST_PORT_BYTES)));
        loop {
            let mut line = Vec::new();
            // An error is the end of the machine, which its process tells.
            let mut one = (&mut lines).take(to_u64(LONGEST_PORT_LINE));
            if !matches!(one.read_until(b'\n', &mut line), Ok(count) if count > 0) {
                return;
            }
            // A log that cannot be read now will be told of when it is replayed; without a count, a
            // line promises nothing.
            if let Ok(entries) = self.entries() {
                let line = line.trim_ascii_end().to_vec();
                self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((line, entries));
            }
        }
    }

    /// How many entries the log has by now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn entries(&self) -> Result<u64, QemuError> {
        let error = |source| FileError::io("reading", &self.log)(source);
        let log = DiskFile::open(&self.log).map_err(error)?;
        let mut whole = log.whole().map_err(error)?;
        Ok(write_log::count(&mut whole).map_err(|source| error(std::io::Error::other(source)))?)
    }

    /// Takes what was heard since the last time.
    pub fn take(&self) -> Vec<(Vec<u8>, u64)> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The machine is off: nobody will come any more.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}
