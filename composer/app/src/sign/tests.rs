//! Signatures are judged by programs that share nothing with what made them: `minisign-verify`, and `gpg` of the
//! machine where there is one.
#![expect(clippy::disallowed_methods, reason = "tests ask programs of the machine")]

use std::process::Command;

use minisign::KeyPair;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::serialize::SerializeInto as _;
use tempfile::TempDir;

use super::*;
use crate::progress::Silent;

const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

/// A folder with two files and their digests.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut sums = String::new();
    for (name, text) in [("a.raw", "the disk"), ("a.spdx.json", "{}")] {
        files::replace(&folder.path().join(name), text.as_bytes(), 0o644).unwrap();
        sums.push_str(&format!("{}  {name}\n", Sha256Digest::of(text.as_bytes())));
    }
    files::replace(&folder.path().join(SUMS), sums.as_bytes(), 0o644).unwrap();
    folder
}

/// A file beside the folder's own.
fn secret(keys: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = keys.path().join(name);
    files::replace(&path, bytes, 0o600).unwrap();
    path
}

fn signed(folder: &TempDir, key: &Path, passphrase: Option<&Path>) -> Result<Signed, Failure> {
    sign(&Order { folder: folder.path(), key, passphrase, now: NOW }, &Silent)
}

/// Exit code and text of a failure, with its causes.
fn refusal(folder: &TempDir, key: &Path, passphrase: Option<&Path>) -> (u8, String) {
    let before = files::names(folder.path()).unwrap();
    let failure = signed(folder, key, passphrase).unwrap_err();
    assert_eq!(files::names(folder.path()).unwrap(), before, "something was written");
    (failure.class().exit_code(), format!("{failure:?}"))
}

fn minisign_verdict(folder: &TempDir, public: &str) -> Result<(), minisign_verify::Error> {
    let read = |name: &str| files::read_capped(&folder.path().join(name), 1 << 20).unwrap();
    let signature = String::from_utf8(read("SHA256SUMS.minisig")).unwrap();
    let signature = minisign_verify::Signature::decode(&signature)?;
    minisign_verify::PublicKey::decode(public)?.verify(&read(SUMS), &signature, false)
}

fn certificate(password: Option<&str>) -> sequoia_openpgp::Cert {
    let made = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000);
    let builder = CertBuilder::new().add_userid("owner <owner@example.org>").add_signing_subkey();
    let builder = builder.set_creation_time(made).set_password(password.map(Into::into));
    builder.set_validity_period(std::time::Duration::from_secs(20_000_000)).generate().unwrap().0
}

/// What `gpg` says of a signature; `None`: there is no such program.
fn gpg_verdict(folder: &TempDir, certificate: &sequoia_openpgp::Cert) -> Option<bool> {
    let home = tempfile::tempdir().unwrap();
    let public = secret(&home, "public.asc", &certificate.armored().to_vec().unwrap());
    let gpg = |arguments: &[&Path]| {
        let mut command = Command::new("gpg");
        command.env_clear().env("PATH", "/usr/bin:/bin").arg("--homedir").arg(home.path()).arg("--batch");
        command.args(["--quiet", "--no-autostart"]).args(arguments).output().map(|it| it.status.success())
    };
    let imported = gpg(&[Path::new("--import"), &public]).ok()?;
    assert!(imported, "gpg takes the certificate");
    let (signature, sums) = (folder.path().join("SHA256SUMS.asc"), folder.path().join(SUMS));
    Some(gpg(&[Path::new("--verify"), &signature, &sums]).unwrap())
}

#[test]
fn a_signature_of_minisign_is_good_and_only_for_what_was_signed() {
    let (folder, keys) = (folder(), tempfile::tempdir().unwrap());
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let public = pair.pk.to_box().unwrap().into_string();
    let key = secret(&keys, "key", pair.sk.to_box(None).unwrap().into_string().as_bytes());
    let made = signed(&folder, &key, None).unwrap();
    assert_eq!((made.path, made.files), (folder.path().join("SHA256SUMS.minisig"), 2));
    minisign_verdict(&folder, &public).unwrap();
    let other = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_box().unwrap().into_string();
    assert!(minisign_verdict(&folder, &other).is_err());
    files::replace(&folder.path().join(SUMS), b"other", 0o644).unwrap();
    assert!(minisign_verdict(&folder, &public).is_err());
}

#[test]
fn a_locked_key_of_minisign_wants_its_passphrase() {
    let (folder, keys) = (folder(), tempfile::tempdir().unwrap());
    let pair = KeyPair::generate_encrypted_keypair(Some("open sesame".to_owned())).unwrap();
    let public = pair.pk.to_box().unwrap().into_string();
    let key = secret(&keys, "key", pair.sk.to_box(None).unwrap().into_string().as_bytes());
    let (code, said) = refusal(&folder, &key, None);
    assert!(code == 2 && said.contains("is locked"), "{code} {said}");
    let (code, said) = refusal(&folder, &key, Some(&secret(&keys, "wrong", b"close\n")));
    assert!(code == 3 && !said.contains("close"), "{code} {said}");
    signed(&folder, &key, Some(&secret(&keys, "right", b"open sesame\nmore\n"))).unwrap();
    minisign_verdict(&folder, &public).unwrap();
}

#[test]
fn a_signature_of_openpgp_is_good_and_only_for_what_was_signed() {
    let (folder, keys) = (folder(), tempfile::tempdir().unwrap());
    for password in [None, Some("open sesame")] {
        let certificate = certificate(password);
        let key = secret(&keys, "key", &certificate.as_tsk().armored().to_vec().unwrap());
        let phrase = secret(&keys, "right", b"open sesame\n");
        if password.is_some() {
            let (code, said) = refusal(&folder, &key, None);
            assert!(code == 2 && said.contains("is locked"), "{code} {said}");
            let (code, said) = refusal(&folder, &key, Some(&secret(&keys, "wrong", b"close")));
            assert!(code == 3 && said.contains("does not unlock it") && !said.contains("close"), "{said}");
        }
        let made = signed(&folder, &key, password.map(|_| phrase.as_path())).unwrap();
        assert_eq!(made.path, folder.path().join("SHA256SUMS.asc"));
        let Some(good) = gpg_verdict(&folder, &certificate) else {
            eprintln!("skipped: this machine has no gpg");
            return;
        };
        assert!(good);
        assert_eq!(gpg_verdict(&folder, &self::certificate(None)), Some(false));
        let sums = files::read_capped(&folder.path().join(SUMS), 1 << 20).unwrap();
        files::replace(&folder.path().join(SUMS), b"other", 0o644).unwrap();
        assert_eq!(gpg_verdict(&folder, &certificate), Some(false));
        files::replace(&folder.path().join(SUMS), &sums, 0o644).unwrap();
        files::remove_file(&made.path).unwrap();
    }
}

#[test]
fn what_cannot_sign_says_why_and_nothing_is_written() {
    let (folder, keys) = (folder(), tempfile::tempdir().unwrap());
    let public = secret(&keys, "public", &certificate(None).armored().to_vec().unwrap());
    let noise = secret(&keys, "noise", b"-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let cut = secret(&keys, "cut", b"untrusted comment: x\nRWQA\n");
    let key = secret(&keys, "key", &certificate(None).as_tsk().armored().to_vec().unwrap());
    let (code, said) = refusal(&folder, &public, None);
    assert!(code == 3 && said.contains("no secret key that may sign now"), "{code} {said}");
    let (code, said) = refusal(&folder, &noise, None);
    assert!(
        code == 2 && said.contains("neither a secret key of minisign nor one of OpenPGP"),
        "{code} {said}"
    );
    let (code, said) = refusal(&folder, &cut, None);
    assert!(code == 3 && said.contains("of minisign"), "{code} {said}");
    let (code, said) = refusal(&folder, &key, Some(&secret(&keys, "empty", b"\n")));
    assert!(code == 2 && said.contains("holds no text"), "{code} {said}");
    for (later, expected) in [(21_000_000, "no secret key"), (-1, "no secret key")] {
        let now = Timestamp::from_seconds(1_780_000_000 + later);
        let order = Order { folder: folder.path(), key: &key, passphrase: None, now };
        let said = format!("{:?}", sign(&order, &Silent).unwrap_err());
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn only_what_is_as_it_is_listed_is_signed() {
    let keys = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let key = secret(&keys, "key", pair.sk.to_box(None).unwrap().into_string().as_bytes());
    let changed = folder();
    files::replace(&changed.path().join("a.raw"), b"another disk", 0o644).unwrap();
    let (code, said) = refusal(&changed, &key, None);
    assert!(
        code == 3 && said.contains("`a.raw` is ") && said.contains("and `SHA256SUMS` says"),
        "{code} {said}"
    );
    let gone = folder();
    files::remove_file(&gone.path().join("a.raw")).unwrap();
    let (code, said) = refusal(&gone, &key, None);
    assert!(code == 6 && said.contains("a.raw"), "{code} {said}");
    let digest = Sha256Digest::of(b"x");
    for (sums, expected) in [
        (String::new(), "lists nothing"),
        (format!("{digest}  ../key\n"), "line 1 of `SHA256SUMS`"),
        (format!("{digest} a.raw\n"), "line 1 of `SHA256SUMS`"),
        ("abc  a.raw\n".to_owned(), "line 1 of `SHA256SUMS`"),
    ] {
        let odd = folder();
        files::replace(&odd.path().join(SUMS), sums.as_bytes(), 0o644).unwrap();
        let (code, said) = refusal(&odd, &key, None);
        assert!(code == 3 && said.contains(expected), "{code} {said}");
    }
}

#[test]
fn a_signature_goes_when_what_it_signed_changes() {
    let folder = folder();
    let sums = files::read_capped(&folder.path().join(SUMS), 1 << 20).unwrap();
    for name in SIGNATURES {
        files::replace(&folder.path().join(name), b"signature", 0o644).unwrap();
    }
    assert_eq!(remove_stale(folder.path(), &sums).unwrap(), Vec::<&str>::new());
    assert_eq!(remove_stale(folder.path(), b"other").unwrap(), SIGNATURES);
    assert_eq!(remove_stale(folder.path(), b"other").unwrap(), Vec::<&str>::new());
    let empty = tempfile::tempdir().unwrap();
    files::replace(&empty.path().join(SIGNATURES[0]), b"of nothing", 0o644).unwrap();
    assert_eq!(remove_stale(empty.path(), b"").unwrap(), Vec::<&str>::new());
}
