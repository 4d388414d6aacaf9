//! OpenPGP signatures of archives: from the bytes of an InRelease file to the text that was signed.
//!
//! Only [`verify`] makes a [`Verified`], and only a `Verified` can be parsed as a Release file: what was
//! not signed is never read. The file must be one cleartext signed message and nothing else; detached
//! and unsigned forms do not exist here. Source: RFC 9580 §7, and the faults apt had (CVE-2013-1051,
//! CVE-2016-1252). Whether the text is fresh is a question for [`crate::release`].

mod framing;
mod keyring;

use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use goni_model::digest::Sha256Digest;
use goni_model::time::Timestamp;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::Cert;
use sequoia_openpgp::KeyHandle;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::parse::stream::{MessageLayer, MessageStructure, VerificationHelper, VerifierBuilder};
use sequoia_openpgp::policy::StandardPolicy;

pub use framing::FramingFault;
pub use keyring::{Fingerprint, FingerprintError, Keyring, KeyringError};

/// Largest InRelease accepted. Debian's largest is about 150 KiB.
pub const MAX_SIZE: usize = 16 << 20;

/// Text that a trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    text: Vec<u8>,
    signers: Vec<Fingerprint>,
}

/// Why an InRelease is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Larger than [`MAX_SIZE`].
    #[error("the file has {size} bytes, more than the {MAX_SIZE} an InRelease may have")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// Not exactly one cleartext signed message.
    #[error("line {line}: {fault}")]
    Framing {
        /// Number of the line, from one.
        line: usize,
        /// What is wrong there.
        fault: FramingFault,
    },
    /// No signature by a key trusted for this archive is good.
    #[error("no good signature by a key of archive `{archive}`: {}", found.join("; "))]
    Untrusted {
        /// The archive whose keys were tried.
        archive: String,
        /// What was found instead, one entry a signature.
        found: Vec<String>,
    },
    /// The OpenPGP reader refuses the message.
    #[error("the signed message is damaged: {0}")]
    Damaged(String),
    /// Our reading of the text and the verifier's differ.
    #[error("the text that was verified is not the text of the file")]
    TextDiffers,
}

impl Verified {
    /// The signed text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Primary keys of the good signatures, sorted. At least one.
    #[must_use]
    pub fn signers(&self) -> &[Fingerprint] {
        &self.signers
    }

    /// Digest of the signed text: what a lock remembers of a Release file.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.text)
    }
}

/// Verifies an InRelease file with the keys of its archive, as of `now`.
///
/// # Errors
/// Anything but one signed message with at least one good signature by a trusted key.
pub fn verify(inrelease: &[u8], keys: &Keyring, now: Timestamp) -> Result<Verified, SignatureError> {
    if inrelease.len() > MAX_SIZE {
        return Err(SignatureError::TooLarge { size: inrelease.len() });
    }
    let framed =
        framing::signed_text(inrelease).map_err(|(line, fault)| SignatureError::Framing { line, fault })?;
    let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(now.seconds).unwrap_or(0));
    let policy = StandardPolicy::at(now);
    let damaged = |error: openpgp::anyhow::Error| SignatureError::Damaged(error.to_string());
    let helper = Judge { keys, policy: &policy, now, good: Vec::new(), bad: Vec::new() };
    let mut verifier =
        match VerifierBuilder::from_bytes(inrelease).map_err(damaged)?.with_policy(&policy, now, helper) {
            Ok(verifier) => verifier,
            Err(error) => return Err(untrusted_or_damaged(error, keys)),
        };
    let mut text = Vec::with_capacity(framed.len());
    if let Err(error) = verifier.read_to_end(&mut text) {
        return Err(SignatureError::Damaged(error.to_string()));
    }
    if !verifier.message_processed() || verifier.processing_csf_message() != Some(true) {
        return Err(SignatureError::Damaged("it is not a cleartext signed message".to_owned()));
    }
    let Judge { mut good, bad, .. } = verifier.into_helper();
    if good.is_empty() {
        return Err(SignatureError::Untrusted { archive: keys.archive().to_owned(), found: bad });
    }
    // The line end before the signature belongs to the frame, so the two may differ by that one.
    if text != framed && framed.strip_suffix(b"\n") != Some(text.as_slice()) {
        return Err(SignatureError::TextDiffers);
    }
    good.sort();
    good.dedup();
    Ok(Verified { text, signers: good })
}

/// Judges the signatures of a message by the keys of one archive.
struct Judge<'a> {
    keys: &'a Keyring,
    policy: &'a StandardPolicy<'a>,
    now: SystemTime,
    good: Vec<Fingerprint>,
    bad: Vec<String>,
}

/// Carries what was found out of the verifier when it refuses.
#[derive(Debug, thiserror::Error)]
#[error("no good signature")]
struct NoGoodSignature(Vec<String>);

fn untrusted_or_damaged(error: openpgp::anyhow::Error, keys: &Keyring) -> SignatureError {
    match error.downcast::<NoGoodSignature>() {
        Ok(NoGoodSignature(found)) => SignatureError::Untrusted { archive: keys.archive().to_owned(), found },
        Err(error) => SignatureError::Damaged(error.to_string()),
    }
}

impl VerificationHelper for Judge<'_> {
    fn get_certs(&mut self, _: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(self.keys.certs().to_vec())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else {
                return Err(openpgp::Error::MalformedMessage("compressed or encrypted".to_owned()).into());
            };
            for result in results {
                match result {
                    Ok(good) => {
                        let primary = Fingerprint::from_openpgp(&good.ka.cert().fingerprint());
                        // The verifier asks whether the key was alive when it signed; a key that has
                        // expired since must not sign for an archive either.
                        let alive = good.ka.cert().with_policy(self.policy, self.now).and_then(|c| c.alive());
                        if !self.keys.trusts(&primary) {
                            self.bad.push(format!("key {primary} is not trusted for this archive"));
                        } else if let Err(error) = alive {
                            self.bad.push(format!("key {primary}: {error}"));
                        } else {
                            self.good.push(primary);
                        }
                    }
                    Err(error) => self.bad.push(error.to_string()),
                }
            }
        }
        if self.good.is_empty() {
            if self.bad.is_empty() {
                self.bad.push("there is no signature".to_owned());
            }
            return Err(NoGoodSignature(std::mem::take(&mut self.bad)).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
