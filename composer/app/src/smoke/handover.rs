//! What an unmodified image is handed so that it checks itself: systemd credentials, which the
//! firmware passes on as SMBIOS strings. Source: systemd.system-credentials(7), SMBIOS 3.6 §7.12.

use goni_model::number::to_u64;

use crate::smoke::check::Check;
use crate::smoke::expectations::Expectations;

/// The unit, as systemd.extra-unit.*.
pub const UNIT: &str = "goni-smoke.service";

/// The unit that watches who writes to /var, started before all others where a check asks for it.
pub const WITNESS: &str = "goni-smoke-witness.service";

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
    /// `witness.pl`.
    pub witness: String,
    /// `witness.service`.
    pub witness_unit: String,
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
    let values = format!("nonce={nonce}\nsettle_seconds={settle_seconds}\n{}", expectations.values());
    let mut credentials = vec![
        (format!("systemd.extra-unit.{UNIT}"), guest.unit.as_str()),
        ("systemd.unit-dropin.multi-user.target".into(), wants.as_str()),
        ("goni.smoke.agent".into(), guest.agent.as_str()),
        ("goni.smoke.words".into(), guest.words.as_str()),
        ("goni.smoke.values".into(), values.as_str()),
    ];
    let early = format!("[Unit]\nWants={WITNESS}\n");
    if checks.iter().any(|check| check.witness) {
        credentials.extend([
            (format!("systemd.extra-unit.{WITNESS}"), guest.witness_unit.as_str()),
            ("systemd.unit-dropin.sysinit.target".into(), early.as_str()),
            ("goni.smoke.witness".into(), guest.witness.as_str()),
        ]);
    }
    let scripts = checks.iter().filter_map(|check| Some((&check.name, check.script.as_deref()?)));
    credentials.extend(scripts.map(|(name, script)| (format!("goni.smoke.check.{name}"), script)));
    let strings: Vec<String> = credentials.into_iter().map(|(name, text)| credential(&name, text)).collect();
    (strings.iter().map(|string| to_u64(string.len())).sum::<u64>() <= MOST_BYTES).then_some(strings)
}

/// A credential as an SMBIOS string.
#[must_use]
pub fn credential(name: &str, text: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", base64(text.as_bytes()))
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
        let guest = GuestSide {
            agent: "A".into(),
            words: "W".into(),
            unit: "U".into(),
            witness: "P".into(),
            witness_unit: "V".into(),
        };
        let promises = crate::smoke::testing::promises();
        let expectations = Expectations { root_hash: None, state: None, promises };
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
    }
}
