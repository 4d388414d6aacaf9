//! What an unmodified image is handed so that it checks itself: systemd credentials, which the
//! firmware passes on as SMBIOS strings. Source: systemd.system-credentials(7), SMBIOS 3.6 §7.12.

use goni_model::number::to_u64;

use crate::smoke::Expectations;
use crate::smoke::check::Check;

/// The unit, as systemd.extra-unit.*.
pub const UNIT: &str = "goni-smoke.service";

/// The strings of one machine must fit the table the firmware makes of them.
pub const MOST_BYTES: u64 = 512 << 10;

/// The guest's side, as `qemu/guest` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestSide {
    /// `agent.sh`.
    pub agent: String,
    /// `words.sh`.
    pub words: String,
    /// `smoke.service`.
    pub unit: String,
}

/// The SMBIOS strings that hand over checks; `None` if they are more than a table holds.
#[must_use]
pub fn strings(
    guest: &GuestSide,
    checks: &[&Check],
    expectations: &Expectations,
    nonce: &str,
    settle_seconds: u64,
) -> Option<Vec<String>> {
    let wants = format!("[Unit]\nWants={UNIT}\n");
    let values = values(expectations, nonce, settle_seconds);
    let mut credentials = vec![
        (format!("systemd.extra-unit.{UNIT}"), guest.unit.as_str()),
        ("systemd.unit-dropin.multi-user.target".into(), wants.as_str()),
        ("goni.smoke.agent".into(), guest.agent.as_str()),
        ("goni.smoke.words".into(), guest.words.as_str()),
        ("goni.smoke.values".into(), values.as_str()),
    ];
    credentials.extend(checks.iter().map(|c| (format!("goni.smoke.check.{}", c.name), c.script.as_str())));
    let strings: Vec<String> = credentials.into_iter().map(|(name, text)| credential(&name, text)).collect();
    (strings.iter().map(|string| to_u64(string.len())).sum::<u64>() <= MOST_BYTES).then_some(strings)
}

/// A credential as an SMBIOS string.
#[must_use]
pub fn credential(name: &str, text: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", base64(text.as_bytes()))
}

/// Variables of the checks, as sh reads them. Every value is of our making and needs no quotes.
fn values(expectations: &Expectations, nonce: &str, settle_seconds: u64) -> String {
    let root_hash = expectations.root_hash.map(|hash| hash.to_string()).unwrap_or_default();
    let state = expectations.state.map(|uuid| uuid.hyphenated().to_string()).unwrap_or_default();
    let swap = u8::from(expectations.swap);
    format!(
        "nonce={nonce}\nroot_hash={root_hash}\nstate_uuid={state}\nswap={swap}\nsettle_seconds={settle_seconds}\n"
    )
}

/// Source: RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| usize::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = ALPHABET[bits >> (18 - 6 * place) & 63];
            text.push(if place > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648 §10.
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, encoded) in vectors {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn the_guest_is_handed_unit_agent_words_values_and_scripts() {
        let guest = GuestSide { agent: "A".into(), words: "W".into(), unit: "U".into() };
        let expectations = Expectations { root_hash: None, state: None, swap: true, goni_http: false };
        let strings = strings(&guest, &[], &expectations, "n0", 240).unwrap();
        let names: Vec<&str> = strings.iter().map(|string| string.split('=').next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "io.systemd.credential.binary:systemd.extra-unit.goni-smoke.service",
                "io.systemd.credential.binary:systemd.unit-dropin.multi-user.target",
                "io.systemd.credential.binary:goni.smoke.agent",
                "io.systemd.credential.binary:goni.smoke.words",
                "io.systemd.credential.binary:goni.smoke.values",
            ]
        );
        assert_eq!(
            values(&expectations, "n0", 240),
            "nonce=n0\nroot_hash=\nstate_uuid=\nswap=1\nsettle_seconds=240\n"
        );
    }
}
