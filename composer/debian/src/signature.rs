//! OpenPGP signatures of archives: from the bytes of an InRelease file to the text that was signed.
//!
//! Only [`verify`] and [`verify_detached`] make a [`Verified`], and only a `Verified` can be parsed as a
//! Release file: what was not signed is never read. The file must be one cleartext signed message and
//! nothing else, or come with a detached signature; an unsigned form does not exist here. Weak keys are
//! refused unless the keyring accepts just that weakness. Source: RFC 9580 §7, and the faults apt had
//! (CVE-2013-1051, CVE-2016-1252). Whether the text is fresh is a question for [`crate::release`].

mod framing;
mod keyring;
pub mod sign;

use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use goni_model::digest::Sha256Digest;
use goni_model::recipe::KeyWeakness;
use goni_model::time::Timestamp;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::Cert;
use sequoia_openpgp::KeyHandle;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::parse::stream::{
    DetachedVerifierBuilder, MessageLayer, MessageStructure, VerificationHelper, VerifierBuilder,
};
use sequoia_openpgp::policy::{AsymmetricAlgorithm, HashAlgoSecurity, StandardPolicy};
use sequoia_openpgp::types::HashAlgorithm;

pub use framing::FramingFault;
pub use keyring::{Fingerprint, FingerprintError, Keyring, KeyringError, certificates};

/// Largest InRelease accepted. Debian's largest is about 150 KiB.
pub const MAX_SIZE: usize = 16 << 20;

/// Text that a trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    text: Vec<u8>,
    signers: Vec<Fingerprint>,
    waived: Vec<KeyWeakness>,
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
    /// The signature is good but for what is known to be weak, and was not accepted.
    #[error("the key of archive `{archive}` is weak: {}", weaknesses.iter().map(|it| it.meaning()).collect::<Vec<_>>().join("; "))]
    Weak {
        /// The archive.
        archive: String,
        /// What would have to be accepted besides.
        weaknesses: Vec<KeyWeakness>,
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

    /// What had to be accepted of its key; nothing for a sound one.
    #[must_use]
    pub fn waived(&self) -> &[KeyWeakness] {
        &self.waived
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
    waiving(keys, |waived| {
        let (policy, now) = policy(now, waived);
        let mut verifier = VerifierBuilder::from_bytes(inrelease)
            .map_err(damaged)?
            .with_policy(&policy, now, Judge::new(keys, &policy, now))
            .map_err(|error| untrusted_or_damaged(error, keys))?;
        let mut text = Vec::with_capacity(framed.len());
        verifier.read_to_end(&mut text).map_err(|error| SignatureError::Damaged(error.to_string()))?;
        if !verifier.message_processed() || verifier.processing_csf_message() != Some(true) {
            return Err(SignatureError::Damaged("it is not a cleartext signed message".to_owned()));
        }
        // The line end before the signature belongs to the frame, so the two may differ by that one.
        if text != framed && framed.strip_suffix(b"\n") != Some(text.as_slice()) {
            return Err(SignatureError::TextDiffers);
        }
        Ok(Verified { text, signers: verifier.into_helper().signers(keys)?, waived: waived.to_vec() })
    })
}

/// Verifies a Release file with its `Release.gpg`: the form of archives without an InRelease.
///
/// # Errors
/// As [`verify`].
pub fn verify_detached(
    release: &[u8],
    signature: &[u8],
    keys: &Keyring,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    if let Some(size) = [release.len(), signature.len()].into_iter().find(|size| *size > MAX_SIZE) {
        return Err(SignatureError::TooLarge { size });
    }
    waiving(keys, |waived| {
        let (policy, now) = policy(now, waived);
        let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
            .map_err(damaged)?
            .with_policy(&policy, now, Judge::new(keys, &policy, now))
            .map_err(|error| untrusted_or_damaged(error, keys))?;
        verifier.verify_bytes(release).map_err(|error| untrusted_or_damaged(error, keys))?;
        let signers = verifier.into_helper().signers(keys)?;
        Ok(Verified { text: release.to_vec(), signers, waived: waived.to_vec() })
    })
}

/// Verifies strictly, and where that fails looks whether a weakness of the key is the only reason.
fn waiving(
    keys: &Keyring,
    verify: impl Fn(&[KeyWeakness]) -> Result<Verified, SignatureError>,
) -> Result<Verified, SignatureError> {
    use KeyWeakness::{Sha1, Short};
    let refused = match verify(&[]) {
        Err(error @ SignatureError::Untrusted { .. }) => error,
        strict => return strict,
    };
    for waived in [&[Sha1][..], &[Short], &[Sha1, Short]] {
        let Ok(verified) = verify(waived) else { continue };
        let weaknesses: Vec<KeyWeakness> =
            waived.iter().copied().filter(|weakness| !keys.accepts(*weakness)).collect();
        return match weaknesses.is_empty() {
            true => Ok(verified),
            false => Err(SignatureError::Weak { archive: keys.archive().to_owned(), weaknesses }),
        };
    }
    Err(refused)
}

/// The policy of a time but for what is waived. SHA-1 is only ever accepted where the vendor alone
/// chose what is signed, in the signatures of a key upon itself; never for the text of a Release file.
fn policy(now: Timestamp, waived: &[KeyWeakness]) -> (StandardPolicy<'static>, SystemTime) {
    let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(now.seconds).unwrap_or(0));
    let mut policy = StandardPolicy::at(now);
    for weakness in waived {
        match weakness {
            KeyWeakness::Sha1 => {
                policy.accept_hash_property(HashAlgorithm::SHA1, HashAlgoSecurity::SecondPreImageResistance);
            }
            KeyWeakness::Short => {
                policy.accept_asymmetric_algo(AsymmetricAlgorithm::RSA1024);
                policy.accept_asymmetric_algo(AsymmetricAlgorithm::DSA1024);
            }
        }
    }
    (policy, now)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn damaged(error: openpgp::anyhow::Error) -> SignatureError {
    SignatureError::Damaged(error.to_string())
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

impl<'a> Judge<'a> {
    const fn new(keys: &'a Keyring, policy: &'a StandardPolicy<'a>, now: SystemTime) -> Self {
        Self { keys, policy, now, good: Vec::new(), bad: Vec::new() }
    }

    /// The keys of the good signatures: one at least.
    fn signers(self, keys: &Keyring) -> Result<Vec<Fingerprint>, SignatureError> {
        let Self { mut good, bad, .. } = self;
        if good.is_empty() {
            return Err(SignatureError::Untrusted { archive: keys.archive().to_owned(), found: bad });
        }
        good.sort();
        good.dedup();
        Ok(good)
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
