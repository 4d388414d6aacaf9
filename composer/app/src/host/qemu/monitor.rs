//! The emulator's monitor: its buttons, and its end in order.
//!
//! One command at a time, each with its answer; what the emulator tells of itself beside that is not
//! listened to. Source: QEMU, “QEMU Machine Protocol Specification”.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::host::qemu::{GLANCE, Speaker};

/// How long the emulator has to connect, and to answer. It answers at once unless the host is loaded.
const PATIENCE: Duration = Duration::from_secs(30);
/// A longer line is no answer to anything that is asked here.
const LONGEST_LINE: u64 = 1 << 20;

/// Why a button did not work.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The emulator has not connected, or is gone.
    #[error("the emulator's monitor takes nothing")]
    Deaf(#[source] std::io::Error),
    /// It took the command and said nothing.
    #[error("the emulator did not answer `{0}`")]
    Silent(String),
    /// It refused.
    #[error("the emulator refused `{command}`: {words}")]
    Refused {
        /// The command.
        command: String,
        /// Its words.
        words: String,
    },
}

/// What the emulator says; events and the greeting have neither key.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "return")]
    done: Option<serde_json::Value>,
    error: Option<Fault>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    desc: String,
}

/// How a command came out.
pub(super) type Reply = Result<(), String>;

/// The monitor of a machine that is on.
#[derive(Debug)]
pub(super) struct Monitor {
    speaker: Speaker,
    replies: Receiver<Reply>,
}

impl Monitor {
    pub(super) fn new(replies: Receiver<Reply>) -> Self {
        Self { speaker: Speaker::default(), replies }
    }

    pub(super) fn speaker(&self) -> Speaker {
        self.speaker.clone()
    }

    /// Asks for something without arguments, and waits for the answer.
    pub(super) fn execute(&self, command: &str) -> Result<(), MonitorError> {
        let began = Instant::now();
        while let Err(error) = self.speaker.say(format!("{{\"execute\": \"{command}\"}}\n").as_bytes()) {
            if error.kind() != std::io::ErrorKind::NotConnected || began.elapsed() > PATIENCE {
                return Err(MonitorError::Deaf(error));
            }
            thread::sleep(GLANCE);
        }
        match self.replies.recv_timeout(PATIENCE) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(words)) => Err(MonitorError::Refused { command: command.into(), words }),
            Err(RecvTimeoutError::Timeout) => Err(MonitorError::Silent(command.into())),
            // It may be gone before its answer is read: that is what was asked for.
            Err(RecvTimeoutError::Disconnected) if command == "quit" => Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(MonitorError::Deaf(std::io::ErrorKind::BrokenPipe.into()))
            }
        }
    }
}

/// Follows a monitor to the end of its machine: first the handshake, then answers.
pub(super) fn follow(mut stream: UnixStream, speaker: &Speaker, replies: &Sender<Reply>) {
    // Commands are taken once capabilities are negotiated; until then nobody can speak.
    let negotiate = "{\"execute\": \"qmp_capabilities\"}\n";
    if std::io::Write::write_all(&mut stream, negotiate.as_bytes()).is_err() {
        return;
    }
    let Ok(reading) = stream.try_clone() else { return };
    let mut reading = BufReader::new(reading);
    let mut negotiated = false;
    let mut line = Vec::new();
    // An error is the end of the machine, which its process tells.
    while let Ok(1..) = (&mut reading).take(LONGEST_LINE).read_until(b'\n', &mut line) {
        let reply = answer(&line);
        line.clear();
        match reply {
            Some(Ok(())) if !negotiated => {
                negotiated = true;
                speaker.open(&stream);
            }
            // Nobody waits any more once the machine was meant to end.
            Some(reply) => drop(replies.send(reply)),
            None => {}
        }
    }
}

/// The answer in a line, if it is one.
fn answer(line: &[u8]) -> Option<Reply> {
    let message: Message = serde_json::from_slice(line).ok()?;
    match message.error {
        Some(fault) => Some(Err(fault.desc)),
        None => message.done.map(|_| Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc::channel;

    use super::*;

    /// A monitor with an emulator that answers so, line by line.
    fn monitor(answers: &[&str], test: impl FnOnce(&Monitor)) -> Vec<String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (sender, replies) = channel();
        let monitor = Monitor::new(replies);
        let speaker = monitor.speaker();
        thread::scope(|scope| {
            scope.spawn(move || follow(ours, &speaker, &sender));
            let emulator = scope.spawn(move || {
                let mut heard = Vec::new();
                let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
                for answer in answers {
                    heard.push(lines.next().unwrap().unwrap());
                    theirs.write_all(answer.as_bytes()).unwrap();
                }
                theirs.shutdown(std::net::Shutdown::Both).unwrap();
                heard
            });
            test(&monitor);
            emulator.join().unwrap()
        })
    }

    #[test]
    fn a_command_is_said_after_the_handshake_and_waits_for_its_answer() {
        let answers = &[
            "{\"QMP\": {\"version\": {}}}\r\n{\"return\": {}}\r\n",
            "{\"event\": \"RESET\"}\r\n{\"return\": {}}\r\n",
        ];
        let heard = monitor(answers, |monitor| monitor.execute("system_reset").unwrap());
        assert_eq!(heard, ["{\"execute\": \"qmp_capabilities\"}", "{\"execute\": \"system_reset\"}"]);
    }

    #[test]
    fn a_refusal_is_told_in_the_emulators_words() {
        let refusal = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}}\r\n";
        monitor(&["{\"return\": {}}\r\n", refusal], |monitor| {
            let error = monitor.execute("system_powerdown").unwrap_err();
            assert_eq!(error.to_string(), "the emulator refused `system_powerdown`: not now");
        });
    }

    #[test]
    fn an_emulator_that_goes_has_quit_but_has_not_reset() {
        monitor(&["{\"return\": {}}\r\n", ""], |monitor| monitor.execute("quit").unwrap());
        monitor(&["{\"return\": {}}\r\n", ""], |monitor| {
            let error = monitor.execute("system_reset").unwrap_err();
            assert_eq!(error.to_string(), "the emulator's monitor takes nothing");
        });
    }
}
