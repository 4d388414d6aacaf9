//! Keys, scoped to one archive and named by fingerprint.

use std::fmt;
use std::str::FromStr;

use goni_model::recipe::KeyWeakness;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::parse::Parse as _;

/// The fingerprint of a primary key: 40 or 64 uppercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

/// Text that is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fingerprint: expected 40 or 64 hexadecimal digits; a short key id is not enough")]
pub struct FingerprintError(String);

impl Fingerprint {
    pub(super) fn from_openpgp(fingerprint: &openpgp::Fingerprint) -> Self {
        Self(fingerprint.to_hex())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        if !matches!(digits.len(), 40 | 64) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(FingerprintError(text.to_owned()));
        }
        Ok(Self(digits.to_ascii_uppercase()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys trusted for one archive, and for no other.
#[derive(Debug, Clone)]
pub struct Keyring {
    archive: String,
    certs: Vec<Cert>,
    trusted: Vec<Fingerprint>,
    accepted: Vec<KeyWeakness>,
}

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The bytes are no certificates.
    #[error("the key file of archive `{archive}` is no OpenPGP certificate: {reason}")]
    Unreadable {
        /// The archive.
        archive: String,
        /// What the OpenPGP reader says.
        reason: String,
    },
    /// No fingerprint is trusted, so no signature could be good.
    #[error("archive `{archive}` trusts no fingerprint")]
    Nothing {
        /// The archive.
        archive: String,
    },
    /// A trusted key is not in the file.
    #[error("the key file of archive `{archive}` has no certificate {fingerprint}; it has {}", present.join(", "))]
    Missing {
        /// The archive.
        archive: String,
        /// The fingerprint asked for.
        fingerprint: Fingerprint,
        /// The fingerprints in the file.
        present: Vec<String>,
    },
}

/// Certificates of an archive and the fingerprints they must have. See `keys/README.md`.
static DEBIAN: [(&[u8], &str); 2] = [
    (include_bytes!("../../keys/trixie-automatic.asc"), "04B54C3CDCA79751B16BC6B5225629DF75B188BD"),
    (include_bytes!("../../keys/trixie-stable.asc"), "41587F7DB8C774BCCF131416762F67A0B2C39DE4"),
];

/// The same for the security archive, which has a key of its own.
static DEBIAN_SECURITY: [(&[u8], &str); 1] = [(
    include_bytes!("../../keys/trixie-security-automatic.asc"),
    "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
)];

/// The certificates of Debian that the program holds, by archive and fingerprint, as files have them.
pub fn certificates() -> impl Iterator<Item = (&'static str, &'static str, &'static [u8])> {
    let of =
        |archive| move |(bytes, fingerprint): &'static (&[u8], &'static str)| (archive, *fingerprint, *bytes);
    DEBIAN.iter().map(of("debian")).chain(DEBIAN_SECURITY.iter().map(of("debian-security")))
}

impl Keyring {
    /// The keys of the Debian archive, release 13.
    ///
    /// # Errors
    /// None in a sound build: the certificates are part of the program.
    pub fn debian() -> Result<Self, KeyringError> {
        Self::embedded("debian", &DEBIAN)
    }

    /// The keys of the Debian security archive, release 13.
    ///
    /// # Errors
    /// None in a sound build: the certificates are part of the program.
    pub fn debian_security() -> Result<Self, KeyringError> {
        Self::embedded("debian-security", &DEBIAN_SECURITY)
    }

    fn embedded(archive: &str, files: &[(&[u8], &str)]) -> Result<Self, KeyringError> {
        let mut all = Self {
            archive: archive.to_owned(),
            certs: Vec::new(),
            trusted: Vec::new(),
            accepted: Vec::new(),
        };
        for (bytes, fingerprint) in files {
            let fingerprint = Fingerprint((*fingerprint).to_owned());
            let one = Self::parse(archive, bytes, &[fingerprint])?;
            all.certs.extend(one.certs);
            all.trusted.extend(one.trusted);
        }
        Ok(all)
    }

    /// Reads certificates, armored or not, and keeps those with a trusted fingerprint.
    ///
    /// # Errors
    /// Bytes that are no certificates, no fingerprint to trust, or one that is not among them.
    pub fn parse(archive: &str, bytes: &[u8], trusted: &[Fingerprint]) -> Result<Self, KeyringError> {
        let unreadable = |error: openpgp::anyhow::Error| KeyringError::Unreadable {
            archive: archive.to_owned(),
            reason: error.to_string(),
        };
        if trusted.is_empty() {
            return Err(KeyringError::Nothing { archive: archive.to_owned() });
        }
        let certs: Vec<Cert> = CertParser::from_bytes(bytes)
            .map_err(unreadable)?
            .collect::<Result<_, _>>()
            .map_err(unreadable)?;
        let named: Vec<(Fingerprint, Cert)> =
            certs.into_iter().map(|cert| (Fingerprint::from_openpgp(&cert.fingerprint()), cert)).collect();
        if let Some(missing) = trusted.iter().find(|wanted| named.iter().all(|(name, _)| name != *wanted)) {
            return Err(KeyringError::Missing {
                archive: archive.to_owned(),
                fingerprint: missing.clone(),
                present: named.iter().map(|(name, _)| name.to_string()).collect(),
            });
        }
        let certs =
            named.into_iter().filter(|(name, _)| trusted.contains(name)).map(|(_, cert)| cert).collect();
        Ok(Self { archive: archive.to_owned(), certs, trusted: trusted.to_vec(), accepted: Vec::new() })
    }

    /// The same keys, of which these weaknesses are accepted.
    #[must_use]
    pub fn accepting(mut self, weaknesses: &[KeyWeakness]) -> Self {
        self.accepted = weaknesses.to_vec();
        self
    }

    /// The archive these keys are for.
    #[must_use]
    pub fn archive(&self) -> &str {
        &self.archive
    }

    /// The fingerprints trusted: what a lock remembers as keys of the archive.
    #[must_use]
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.trusted
    }

    pub(super) fn certs(&self) -> &[Cert] {
        &self.certs
    }

    pub(super) fn accepts(&self, weakness: KeyWeakness) -> bool {
        self.accepted.contains(&weakness)
    }

    pub(super) fn trusts(&self, primary: &Fingerprint) -> bool {
        self.trusted.contains(primary)
    }
}
