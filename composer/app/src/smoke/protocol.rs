//! What the guest's side says: JSON objects, one a line, each with the nonce of this run.
//!
//! The guest is not trusted to speak well: anything on the port that is not of this run, is not
//! whole, or was not asked for is counted and changes nothing.

use std::collections::BTreeMap;

use goni_model::digest::Sha256Digest;
use goni_model::name::Name;
use goni_model::report::Outcome;
use serde::Deserialize;

/// The longest line that is looked at.
pub const LONGEST_LINE: usize = 64 << 10;

/// A line that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The guest's own number for the boot it speaks in.
    pub boot: String,
    /// What it says.
    pub said: Said,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The guest's side runs.
    Started,
    /// The boot is over.
    Settled {
        /// The state that systemd reports.
        state: String,
        /// How long systemd says it took.
        time: String,
    },
    /// It is about to reboot, or to switch off.
    Leaving,
    /// What a person would look at first.
    Diagnosis(String),
    /// A check is over.
    Verdict {
        /// The check.
        check: String,
        /// How it came out.
        outcome: Outcome,
        /// What later boots are to be told.
        kept: BTreeMap<String, String>,
        /// What it found besides, a line each.
        warnings: Vec<String>,
    },
}

/// Why a line does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not bear the nonce.
    Foreign,
    /// It is cut off, or says nothing that could be meant.
    Malformed,
}

/// A line as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    nonce: String,
    boot: String,
    event: Option<String>,
    #[serde(rename = "uptime")]
    _uptime: Option<String>,
    state: Option<String>,
    time: Option<String>,
    text: Option<String>,
    check: Option<String>,
    outcome: Option<String>,
    expected: Option<String>,
    observed: Option<String>,
    kept: Option<String>,
    warnings: Option<String>,
}

/// 32 bytes that a check spreads and the host looks for: its own for each check and run, and nobody
/// can know them who does not know the nonce.
#[must_use]
pub fn canary(nonce: &str, check: &Name) -> Sha256Digest {
    Sha256Digest::of(format!("{nonce}/{check}").as_bytes())
}

/// Reads one line.
///
/// # Errors
/// [`Refusal`].
pub fn parse(line: &[u8], nonce: &str) -> Result<Message, Refusal> {
    if line.len() > LONGEST_LINE {
        return Err(Refusal::Malformed);
    }
    // The guest's values can hold any bytes; the frame around them is ours.
    let text = String::from_utf8_lossy(line);
    let line: Line = serde_json::from_str(&text)
        .map_err(|_| if text.contains(nonce) { Refusal::Malformed } else { Refusal::Foreign })?;
    if line.nonce != nonce {
        return Err(Refusal::Foreign);
    }
    let said = match (line.event.as_deref(), line.check) {
        (Some("started"), None) => Said::Started,
        (Some("settled"), None) => Said::Settled {
            state: line.state.ok_or(Refusal::Malformed)?,
            time: line.time.unwrap_or_default(),
        },
        (Some("leaving"), None) => Said::Leaving,
        (Some("diagnosis"), None) => Said::Diagnosis(line.text.unwrap_or_default()),
        (None, Some(check)) => {
            let outcome = outcome(line.outcome.as_deref(), line.expected, line.observed)?;
            let warnings = line.warnings.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
            Said::Verdict { check, outcome, kept: kept(&line.kept.unwrap_or_default())?, warnings }
        }
        _ => return Err(Refusal::Malformed),
    };
    Ok(Message { boot: line.boot, said })
}

fn outcome(
    word: Option<&str>,
    expected: Option<String>,
    observed: Option<String>,
) -> Result<Outcome, Refusal> {
    let observed = observed.ok_or(Refusal::Malformed)?;
    match word {
        Some("passed") => Ok(Outcome::Passed),
        Some("failed") => Ok(Outcome::Failed { expected: expected.ok_or(Refusal::Malformed)?, observed }),
        Some("skipped") => Ok(Outcome::Skipped { reason: observed }),
        _ => Err(Refusal::Malformed),
    }
}

/// `key=value` words, which go back to the guest as words of a command: so nothing but plain ones.
fn kept(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let plain = |text: &str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
    };
    text.split_ascii_whitespace()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if plain(key) && plain(value) => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Refusal::Malformed),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "0123abcd";

    fn say(rest: &str) -> Result<Said, Refusal> {
        let line = format!("{{\"nonce\":\"{NONCE}\",\"boot\":\"b1\",{rest}}}");
        parse(line.as_bytes(), NONCE).map(|message| message.said)
    }

    #[test]
    fn a_verdict_is_read_with_what_it_saw() {
        assert_eq!(
            say(
                r#""check":"x","outcome":"failed","expected":"a","observed":"b\nc","kept":"id=9f k=v ","warnings":"d\ne""#
            ),
            Ok(Said::Verdict {
                check: "x".into(),
                outcome: Outcome::Failed { expected: "a".into(), observed: "b\nc".into() },
                kept: [("id", "9f"), ("k", "v")].map(|(k, v)| (k.into(), v.into())).into(),
                warnings: vec!["d".into(), "e".into()],
            })
        );
        assert_eq!(
            say(r#""event":"settled","uptime":"5.0","state":"running","time":"5s""#),
            Ok(Said::Settled { state: "running".into(), time: "5s".into() })
        );
    }

    #[test]
    fn a_line_without_the_nonce_is_foreign() {
        for line in [
            r#"{"nonce":"guess","boot":"b","check":"x","outcome":"passed","observed":""}"#,
            r#"{"check":"x","outcome":"passed"}"#,
            "PASS all checks",
            "",
        ] {
            assert_eq!(parse(line.as_bytes(), NONCE), Err(Refusal::Foreign), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_cut_off_or_says_nothing_is_malformed() {
        let whole = format!("{{\"nonce\":\"{NONCE}\",\"boot\":\"b\",\"event\":\"started\"}}");
        assert!(parse(whole.as_bytes(), NONCE).is_ok());
        for end in NONCE.len() + 10..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..end], NONCE), Err(Refusal::Malformed), "{end}");
        }
        for rest in [
            r#""check":"x""#,
            r#""check":"x","outcome":"maybe","observed":"""#,
            r#""check":"x","outcome":"failed","observed":"""#,
            r#""check":"x","outcome":"passed","observed":"","kept":"a=$(reboot)""#,
            r#""event":"started","check":"x""#,
            r#""event":"started","extra":"x""#,
        ] {
            assert_eq!(say(rest), Err(Refusal::Malformed), "{rest}");
        }
        let long = format!(r#""event":"diagnosis","text":"{}""#, "x".repeat(LONGEST_LINE));
        assert_eq!(say(&long), Err(Refusal::Malformed));
    }
}
