use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::progress::{Silent, Unit};

/// Keeps what it was warned of.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn begin(&self, _: &'static str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn end(&self, _: &'static str, _: &str) {}
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.into());
    }
}

/// Every file below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn bytes_are_found_again_by_their_digest() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let (digest, path) = store.insert(b"bytes").unwrap();
    assert_eq!(digest, Sha256Digest::of(b"bytes"));
    assert_eq!(path, cache.path().join(format!("store/sha256/{}/{digest}", &digest.to_string()[..2])));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444);
    let again = Store::open(cache.path()).unwrap();
    assert_eq!(again.lookup(&digest, &Silent).unwrap(), Some(path));
    assert_eq!(again.lookup(&Sha256Digest::of(b"other"), &Silent).unwrap(), None);
}

#[test]
fn a_flipped_bit_is_reported_and_the_entry_removed() {
    let cache = tempfile::tempdir().unwrap();
    let (digest, path) = Store::open(cache.path()).unwrap().insert(b"bytes").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"bytez").unwrap();
    let store = Store::open(cache.path()).unwrap();
    let warnings = Warnings::default();
    assert_eq!(store.lookup(&digest, &warnings).unwrap(), None);
    let text = format!("removed a damaged entry of the cache: `{}`", path.display());
    assert_eq!(*warnings.0.lock().unwrap(), [text]);
    assert!(!path.exists());
    assert_eq!(store.insert(b"bytes").unwrap().1, path);
}

#[test]
fn a_link_in_the_place_of_an_entry_is_not_followed() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let outside = cache.path().join("outside");
    fs::write(&outside, b"bytes").unwrap();
    let path = store.path(&Sha256Digest::of(b"bytes"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    assert!(store.lookup(&Sha256Digest::of(b"bytes"), &Silent).is_err());
}

#[test]
fn bytes_of_another_digest_never_get_the_name() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let mut incoming = store.incoming().unwrap();
    incoming.write_all(b"forged").unwrap();
    let error = incoming.commit_as(&Sha256Digest::of(b"genuine")).unwrap_err();
    assert_eq!(error.class(), Class::Trust);
    let (expected, found) = (Sha256Digest::of(b"genuine"), Sha256Digest::of(b"forged"));
    assert_eq!(error.to_string(), format!("expected the SHA-256 {expected}, found {found} (6 bytes)"));
    assert_eq!(files_below(cache.path()), [cache.path().join("store/lock")]);
}

#[test]
fn an_interrupted_insert_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let mut incoming = store.incoming().unwrap();
    incoming.write_all(b"half").unwrap();
    assert_eq!(files_below(cache.path()).len(), 2);
    drop(incoming);
    assert_eq!(files_below(cache.path()), [cache.path().join("store/lock")]);
}

#[test]
fn a_restart_forgets_what_came_before() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let mut incoming = store.incoming().unwrap();
    incoming.write_all(b"first attempt").unwrap();
    incoming.restart().unwrap();
    assert_eq!(incoming.length(), 0);
    incoming.write_all(b"bytes").unwrap();
    let path = incoming.commit_as(&Sha256Digest::of(b"bytes")).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"bytes");
}

#[test]
fn leftovers_are_swept_but_not_while_another_store_is_open() {
    let cache = tempfile::tempdir().unwrap();
    let first = Store::open(cache.path()).unwrap();
    let left = cache.path().join("store/unfinished/left");
    fs::write(&left, b"half").unwrap();
    let second = Store::open(cache.path()).unwrap();
    assert!(left.exists());
    drop((first, second));
    drop(Store::open(cache.path()).unwrap());
    assert!(!left.exists());
}

#[test]
fn a_cache_that_everybody_can_write_to_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Store::open(cache.path()).unwrap_err();
    assert_eq!(error.class(), Class::Environment);
    let text = format!("the cache `{}` is not ours alone: everybody can write to it", cache.path().display());
    assert_eq!(error.to_string(), text);
}

#[test]
fn an_inspection_names_what_is_damaged_and_changes_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let (_, good) = store.insert(b"good").unwrap();
    let (_, bad) = store.insert(b"bytes").unwrap();
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&bad, b"bytez").unwrap();
    let stranger = bad.with_file_name("stranger");
    fs::write(&stranger, b"x").unwrap();
    let found = store.inspect().unwrap();
    assert_eq!((found.entries, found.bytes), (2, 9));
    assert_eq!((&found.broken, &found.strangers), (&vec![bad.clone()], &vec![stranger]));
    assert!(bad.exists() && good.exists());
    store.drop_files(&found.broken).unwrap();
    assert_eq!(store.inspect().unwrap().broken, Vec::<PathBuf>::new());
}

#[test]
fn what_nobody_keeps_and_nobody_used_goes() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let old = |bytes: &[u8]| {
        let (digest, path) = store.insert(bytes).unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        File::open(&path).unwrap().set_modified(long_ago).unwrap();
        (digest, path)
    };
    let (kept, used, unused) = (old(b"kept"), old(b"used"), old(b"unused"));
    let since = goni_model::time::Timestamp::from_seconds(2000);
    drop(store);
    let open = Store::open(cache.path()).unwrap();
    assert!(open.lookup(&used.0, &Silent).unwrap().is_some());
    let error = Store::alone(cache.path()).unwrap_err();
    assert!(error.to_string().contains("is in use"), "{error}");
    drop(open);
    let store = Store::alone(cache.path()).unwrap();
    let told = store.collect(&[kept.0].into(), since, true).unwrap();
    assert!(unused.1.exists());
    let freed = store.collect(&[kept.0].into(), since, false).unwrap();
    assert_eq!(freed, told);
    assert_eq!(freed, Freed { entries: 1, bytes: 6, kept: 2 });
    assert!(kept.1.exists() && used.1.exists() && !unused.1.exists());
}
