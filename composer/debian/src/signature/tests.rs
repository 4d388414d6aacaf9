use std::io::Write as _;

use openpgp::Packet;
use openpgp::cert::CertBuilder;
use openpgp::packet::key::{self, Key4};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, UserID};
use openpgp::serialize::SerializeInto as _;
use openpgp::serialize::stream::{Armorer, Message, Signer};
use openpgp::types::{Curve, KeyFlags, SignatureType};

use super::*;

const TEXT: &str = "Origin: Test\nSuite: stable\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nSHA256:\n";
const MADE: i64 = 1_789_199_741;

fn now() -> Timestamp {
    Timestamp::from_seconds(MADE + 60)
}

fn key() -> Cert {
    let made = UNIX_EPOCH + Duration::from_secs(1_780_000_000);
    let builder = CertBuilder::new().add_userid("archive").add_signing_subkey();
    builder.set_creation_time(made).set_validity_period(Duration::from_secs(20_000_000)).generate().unwrap().0
}

fn keyring(cert: &Cert) -> Keyring {
    let name = Fingerprint::from_openpgp(&cert.fingerprint());
    Keyring::parse("test", &cert.armored().to_vec().unwrap(), &[name]).unwrap()
}

fn sign(cert: &Cert, text: &str) -> String {
    let policy = StandardPolicy::new();
    let made = UNIX_EPOCH + Duration::from_secs(u64::try_from(MADE).unwrap());
    let secret = cert.keys().with_policy(&policy, made).for_signing().secret().next().unwrap();
    let pair = secret.key().clone().into_keypair().unwrap();
    let mut out = Vec::new();
    let signer = Signer::new(Message::new(&mut out), pair).unwrap().cleartext().creation_time(made);
    let mut message = signer.build().unwrap();
    message.write_all(text.as_bytes()).unwrap();
    message.finalize().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn signed_text_comes_back_with_its_signer() {
    let cert = key();
    let verified = verify(sign(&cert, TEXT).as_bytes(), &keyring(&cert), now()).unwrap();
    assert_eq!(String::from_utf8_lossy(verified.text()).trim_end(), TEXT.trim_end());
    assert_eq!(verified.signers(), [Fingerprint::from_openpgp(&cert.fingerprint())]);
}

#[test]
fn another_archives_key_a_changed_text_and_an_expired_key_are_refused() {
    let cert = key();
    let signed = sign(&cert, TEXT);
    let foreign = verify(signed.as_bytes(), &keyring(&key()), now()).unwrap_err();
    assert!(foreign.to_string().starts_with("no good signature by a key of archive `test`: Missing key"));
    let changed = signed.replace("Origin: Test", "Origin: Evil");
    let error = verify(changed.as_bytes(), &keyring(&cert), now()).unwrap_err();
    assert!(matches!(error, SignatureError::Untrusted { .. }), "{error}");
    let later = Timestamp::from_seconds(MADE + 40_000_000);
    let error = verify(signed.as_bytes(), &keyring(&cert), later).unwrap_err();
    assert!(matches!(error, SignatureError::Untrusted { .. }), "{error}");
}

#[test]
fn anything_but_one_whole_message_is_refused() {
    let cert = key();
    let (keys, good) = (keyring(&cert), sign(&cert, TEXT));
    for (name, text, message) in [
        ("nothing", String::new(), "line 1: this is not the start of a signed message"),
        ("unsigned", TEXT.to_owned(), "line 1: this is not the start of a signed message"),
        (
            "text before",
            format!("Origin: Evil\n\n{good}"),
            "line 1: this is not the start of a signed message",
        ),
        ("an empty line before", format!("\n{good}"), "line 1: this is not the start of a signed message"),
        (
            "a line end of another kind",
            good.replace('\n', "\r\n"),
            "line 1: there is a carriage return or a NUL",
        ),
        (
            "a foreign header",
            good.replacen("Hash:", "Comment:", 1),
            "line 2: the signed message has a header other than `Hash`",
        ),
        (
            "white space as empty line",
            good.replacen("\n\n", "\n \n\n", 1),
            "line 3: the signed message has a header other than `Hash`",
        ),
        (
            "a nested start",
            good.replacen("Origin", "- -----BEGIN PGP SIGNED MESSAGE-----\nOrigin", 1),
            "line 4: a line of the signed text begins with a dash",
        ),
    ] {
        assert_eq!(verify(text.as_bytes(), &keys, now()).unwrap_err().to_string(), message, "{name}");
    }
    for (name, text, fault) in [
        ("text after", format!("{good}Origin: Evil\n"), FramingFault::Trailing),
        ("an empty line after", format!("{good}\n"), FramingFault::Trailing),
        ("two messages", format!("{good}{good}"), FramingFault::Trailing),
        (
            "no end",
            good.trim_end().trim_end_matches("-----END PGP SIGNATURE-----").to_owned(),
            FramingFault::Truncated,
        ),
        ("text in the signature", good.replace("-----END", "é\n-----END"), FramingFault::SignatureLine),
    ] {
        match verify(text.as_bytes(), &keys, now()).unwrap_err() {
            SignatureError::Framing { fault: found, .. } => assert_eq!(found, fault, "{name}"),
            other => panic!("{name}: {other}"),
        }
    }
}

/// A key of one packet that signs, bound to its name by a hash of choice.
fn plain_key(key: Key4<key::SecretParts, key::PrimaryRole>, hash: HashAlgorithm) -> Cert {
    let made = UNIX_EPOCH + Duration::from_secs(1_780_000_000);
    let mut key: Key<key::SecretParts, key::PrimaryRole> = key.into();
    key.set_creation_time(made).unwrap();
    let mut signer = key.clone().into_keypair().unwrap();
    let name = UserID::from("vendor");
    let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
        .set_hash_algo(hash)
        .set_signature_creation_time(made)
        .unwrap()
        .set_key_flags(KeyFlags::empty().set_signing().set_certification())
        .unwrap()
        .sign_userid_binding(&mut signer, None, &name)
        .unwrap();
    Cert::from_packets([Packet::from(key), name.into(), binding.into()].into_iter()).unwrap()
}

/// Signs with the primary key, whatever a policy thinks of it.
fn sign_plainly(cert: &Cert) -> String {
    let secret = cert.primary_key().key().clone().parts_into_secret().unwrap();
    let made = UNIX_EPOCH + Duration::from_secs(u64::try_from(MADE).unwrap());
    let mut out = Vec::new();
    let signer = Signer::new(Message::new(&mut out), secret.into_keypair().unwrap()).unwrap();
    let mut message =
        signer.cleartext().hash_algo(HashAlgorithm::SHA256).unwrap().creation_time(made).build().unwrap();
    message.write_all(TEXT.as_bytes()).unwrap();
    message.finalize().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_weak_key_is_refused_by_name_unless_just_that_is_accepted() {
    let sha1 = plain_key(Key4::generate_ecc(true, Curve::Ed25519).unwrap(), HashAlgorithm::SHA1);
    let short = plain_key(Key4::generate_rsa(1024).unwrap(), HashAlgorithm::SHA256);
    for (cert, weakness, other, said) in [
        (&sha1, KeyWeakness::Sha1, KeyWeakness::Short, "it vouches for itself by SHA-1"),
        (&short, KeyWeakness::Short, KeyWeakness::Sha1, "it has fewer than 2048 bits"),
    ] {
        let (keys, signed) = (keyring(cert), sign_plainly(cert));
        for keys in [keys.clone(), keys.clone().accepting(&[other])] {
            let error = verify(signed.as_bytes(), &keys, now()).unwrap_err();
            assert_eq!(error.to_string(), format!("the key of archive `test` is weak: {said}"));
        }
        let verified = verify(signed.as_bytes(), &keys.clone().accepting(&[weakness]), now()).unwrap();
        assert_eq!(verified.waived(), [weakness]);
        // A waiver is none for a text that was changed.
        let changed = signed.replace("Origin: Test", "Origin: Evil");
        let error = verify(changed.as_bytes(), &keys.accepting(&[weakness]), now()).unwrap_err();
        assert!(matches!(error, SignatureError::Untrusted { .. }), "{error}");
    }
    let sound = key();
    let keys = keyring(&sound).accepting(&[KeyWeakness::Sha1, KeyWeakness::Short]);
    assert_eq!(verify(sign(&sound, TEXT).as_bytes(), &keys, now()).unwrap().waived(), []);
}

#[test]
fn a_detached_signature_is_as_good_and_of_one_text_alone() {
    let cert = key();
    let policy = StandardPolicy::new();
    let made = UNIX_EPOCH + Duration::from_secs(u64::try_from(MADE).unwrap());
    let secret = cert.keys().with_policy(&policy, made).for_signing().secret().next().unwrap();
    let pair = secret.key().clone().into_keypair().unwrap();
    let mut out = Vec::new();
    let armored = Armorer::new(Message::new(&mut out)).kind(openpgp::armor::Kind::Signature).build().unwrap();
    let mut message = Signer::new(armored, pair).unwrap().detached().creation_time(made).build().unwrap();
    message.write_all(TEXT.as_bytes()).unwrap();
    message.finalize().unwrap();
    let verified = verify_detached(TEXT.as_bytes(), &out, &keyring(&cert), now()).unwrap();
    assert_eq!((verified.text(), verified.signers().len()), (TEXT.as_bytes(), 1));
    let changed = TEXT.replace("Test", "Evil");
    for (text, signature, keys) in [
        (changed.as_bytes(), &out[..], keyring(&cert)),
        (TEXT.as_bytes(), &out[..], keyring(&key())),
        (TEXT.as_bytes(), b"", keyring(&cert)),
        (TEXT.as_bytes(), &out[..out.len() / 2], keyring(&cert)),
    ] {
        let error = verify_detached(text, signature, &keys, now()).unwrap_err();
        let refused = matches!(error, SignatureError::Untrusted { .. } | SignatureError::Damaged(_));
        assert!(refused, "{error}");
    }
}

#[test]
fn the_embedded_keys_are_those_named() {
    let names = |keys: Keyring| keys.fingerprints().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        names(Keyring::debian().unwrap()),
        ["04B54C3CDCA79751B16BC6B5225629DF75B188BD", "41587F7DB8C774BCCF131416762F67A0B2C39DE4"]
    );
    assert_eq!(names(Keyring::debian_security().unwrap()), ["5E04A1E3223A19A20706E20F9904613D4CCE68C6"]);
}

#[test]
fn a_keyring_needs_the_fingerprints_it_trusts() {
    let cert = key().armored().to_vec().unwrap();
    assert_eq!(Keyring::parse("v", &cert, &[]).unwrap_err().to_string(), "archive `v` trusts no fingerprint");
    let other = Fingerprint::from_openpgp(&key().fingerprint());
    assert!(matches!(Keyring::parse("v", &cert, &[other]), Err(KeyringError::Missing { .. })));
    assert!("225629DF75B188BD".parse::<Fingerprint>().is_err());
}

impl Verified {
    /// Text taken as signed, for tests of what reads it.
    pub(crate) fn for_test(text: &str) -> Self {
        Self { text: text.as_bytes().to_vec(), signers: Vec::new(), waived: Vec::new() }
    }
}
