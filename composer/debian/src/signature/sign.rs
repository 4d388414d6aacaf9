//! Detached signatures of OpenPGP, by a secret key that the owner gives.
//!
//! Which key signs, a policy decides as it does where signatures are verified: it may sign, has neither expired
//! nor been revoked, and is not weak. Source: RFC 9580 §5.2, §6.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use goni_model::time::Timestamp;
use openpgp::Cert;
use openpgp::crypto::Password;
use openpgp::parse::Parse as _;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::stream::{Armorer, Message, Signer};
use sequoia_openpgp as openpgp;

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The bytes are no certificate.
    #[error("reading the certificate: {0}")]
    Certificate(String),
    /// It has no part that may sign now.
    #[error("it has no secret key that may sign now: {0}")]
    Unfit(String),
    /// Its secrets are locked, and nothing was given to unlock them.
    #[error("it is locked")]
    Locked,
    /// What was given does not unlock them.
    #[error("the passphrase does not unlock it")]
    Passphrase,
    /// Signing failed.
    #[error("signing: {0}")]
    Sign(String),
}

/// Whether bytes are a certificate at all, with or without secrets.
#[must_use]
pub fn is_certificate(bytes: &[u8]) -> bool {
    Cert::from_bytes(bytes).is_ok()
}

/// Signs a text; the signature is apart from it, and armoured.
///
/// # Errors
/// A certificate that is none, holds no secret, is locked, has expired or may not sign.
pub fn detached(
    certificate: &[u8],
    passphrase: Option<&str>,
    text: &[u8],
    now: Timestamp,
) -> Result<Vec<u8>, SignError> {
    let certificate =
        Cert::from_bytes(certificate).map_err(|error| SignError::Certificate(error.to_string()))?;
    let policy = StandardPolicy::new();
    let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(now.seconds).unwrap_or(0));
    let unfit = |error: openpgp::anyhow::Error| SignError::Unfit(error.to_string());
    let valid = certificate.with_policy(&policy, now).map_err(unfit)?;
    valid.alive().map_err(unfit)?;
    let password = passphrase.map(Password::from);
    // The primary key of a certificate may be a stub, and its owner elsewhere: the first that opens signs.
    let mut why = SignError::Unfit("none of its keys".to_owned());
    let mut opened = None;
    for key in valid.keys().alive().revoked(false).for_signing().secret() {
        let key = key.key().clone();
        if key.has_unencrypted_secret() {
            opened = Some(key);
        } else if let Some(password) = &password {
            opened = key.decrypt_secret(password).ok();
            why = SignError::Passphrase;
        } else {
            why = SignError::Locked;
        }
        if opened.is_some() {
            break;
        }
    }
    let key = opened.ok_or(why)?;
    let sign = |error: openpgp::anyhow::Error| SignError::Sign(error.to_string());
    let pair = key.into_keypair().map_err(sign)?;
    let mut signature = Vec::new();
    let message = Message::new(&mut signature);
    let message = Armorer::new(message).kind(openpgp::armor::Kind::Signature).build().map_err(sign)?;
    let signer = Signer::new(message, pair).map_err(sign)?.detached().creation_time(now);
    let mut message = signer.build().map_err(sign)?;
    message.write_all(text).map_err(|error| SignError::Sign(error.to_string()))?;
    message.finalize().map_err(sign)?;
    Ok(signature)
}
