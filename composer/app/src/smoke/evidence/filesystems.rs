//! Whether file systems are whole after a run, in the eyes of their own judges.
//!
//! A machine may have lost its power. Then the state is allowed what the next mount does by itself:
//! replaying the journal and forgetting files that were open and had no name. What is left after that
//! has to be without a fault. The judges get a copy; the disk stays as it was.

use goni_model::report::Outcome;

use crate::host::command::{Exit, Output, last_lines};

/// What `e2fsck -p` says of a file system that the kernel itself found faults in. Source: e2fsprogs,
/// `e2fsck/unix.c`.
const KNOWN_FAULTS: &str = "file system with errors";
/// How many lines of a judge are told.
const LINES: usize = 4;

/// A file system and what its judge said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    name: &'static str,
    /// `None`: no fault.
    fault: Option<String>,
}

impl Verdict {
    /// After `e2fsck -p`, which does what a mount does: 0 and 1 are good. Source: e2fsck(8).
    #[must_use]
    pub fn of_replay(name: &'static str, output: &Output) -> Self {
        let good = matches!(output.exit, Exit::Code(0 | 1)) && !said(output).contains(KNOWN_FAULTS);
        Self { name, fault: (!good).then(|| words("e2fsck -p", output)) }
    }

    /// After a judge that changes nothing, such as `e2fsck -fn` and `fsck.fat -n`: only 0 is good.
    #[must_use]
    pub fn of_judge(name: &'static str, judge: &str, output: &Output) -> Self {
        Self { name, fault: (output.exit != Exit::Code(0)).then(|| words(judge, output)) }
    }

    /// Of all file systems of a disk.
    #[must_use]
    pub fn outcome(verdicts: &[Self]) -> Outcome {
        let faults: Vec<String> = verdicts
            .iter()
            .filter_map(|verdict| Some(format!("{}: {}", verdict.name, verdict.fault.as_ref()?)))
            .collect();
        if verdicts.is_empty() {
            return Outcome::Skipped { reason: "there is no file system that can be judged".into() };
        }
        if faults.is_empty() {
            return Outcome::Passed;
        }
        Outcome::Failed { expected: "file systems without a fault".into(), observed: faults.join("; ") }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn words(judge: &str, output: &Output) -> String {
    let last = last_lines(said(output).trim().as_bytes(), LINES).replace('\n', ", ");
    format!("`{judge}` ended with {}: {last}", output.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(code: i32, text: &str) -> Output {
        Output { exit: Exit::Code(code), stdout: text.into(), stderr: b"e2fsck 1.47.2\n".to_vec() }
    }

    #[test]
    fn a_replayed_journal_is_no_fault_and_known_errors_are() {
        let replayed = Verdict::of_replay("state", &output(1, "recovering journal\n"));
        assert_eq!(replayed.fault, None);
        let text = "state contains a file system with errors, check forced.\n";
        let known = Verdict::of_replay("state", &output(1, text));
        let observed = format!("state: `e2fsck -p` ended with exit code 1: {}, e2fsck 1.47.2", text.trim());
        let expected = "file systems without a fault".into();
        assert_eq!(Verdict::outcome(&[known]), Outcome::Failed { expected, observed });
    }

    #[test]
    fn every_fault_is_told() {
        let clean = Verdict::of_judge("esp", "fsck.fat -n", &output(0, "clean"));
        assert_eq!(Verdict::outcome(std::slice::from_ref(&clean)), Outcome::Passed);
        let bad = Verdict::of_judge("state", "e2fsck -fn", &output(4, "one\ntwo\nthree\nfour\n"));
        let worse = Verdict::of_judge("esp", "fsck.fat -n", &output(1, "cut\n"));
        let Outcome::Failed { observed, .. } = Verdict::outcome(&[clean, bad, worse]) else { panic!() };
        let state = "state: `e2fsck -fn` ended with exit code 4: two, three, four, e2fsck 1.47.2";
        assert_eq!(
            observed,
            format!("{state}; esp: `fsck.fat -n` ended with exit code 1: cut, e2fsck 1.47.2")
        );
    }

    #[test]
    fn nothing_to_judge_is_no_pass() {
        assert!(matches!(Verdict::outcome(&[]), Outcome::Skipped { .. }));
    }
}
