use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::progress::Silent;

/// A store with a lock and two files, and their manifest.
fn filled(cache: &Path) -> (Store, Manifest) {
    let store = Store::open(cache).unwrap();
    let mut files = Vec::new();
    let mut lock = None;
    for (kind, name, bytes) in [
        (Kind::Lock, "x.lock", &b"the lock"[..]),
        (Kind::Package, "bash", &[7; 700]),
        (Kind::Key, "key", b"k"),
    ] {
        let (sha256, _) = store.insert(bytes).unwrap();
        lock.get_or_insert(sha256);
        files.push(Item { kind, name: name.to_owned(), size: to_u64(bytes.len()), sha256 });
    }
    (store, Manifest::new("x", "amd64", lock.unwrap(), files))
}

/// What a store has, by digest.
fn digests(store: &Store) -> Vec<Sha256Digest> {
    store.entries().unwrap().into_iter().map(|(digest, _)| digest).collect()
}

/// Imports what nobody looks at.
fn taken(store: &Store, place: &Path) -> Result<(Vec<Manifest>, Moved), BundleError> {
    import(store, place, |_, _| Ok(()))
}

/// What importing into an empty store says; nothing may be in it then.
fn refusal(place: &Path) -> (Class, String) {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path()).unwrap();
    let error = taken(&store, place).unwrap_err();
    assert_eq!(digests(&store), []);
    assert!(files::names(&cache.path().join("store/unfinished")).unwrap().is_empty());
    let place = place.display().to_string();
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    (error.class(), text.replace(&place, "EXPORT"))
}

#[test]
fn an_export_is_taken_in_whole_and_is_always_the_same() {
    let cache = tempfile::tempdir().unwrap();
    let (store, manifest) = filled(&cache.path().join("a"));
    for name in ["folder", "one.tar"] {
        let place = cache.path().join(name);
        let moved = export(&store, &manifest, &place).unwrap();
        assert_eq!((moved.all, moved.new, moved.bytes), (3, 3, 709));
        let other = Store::open(&cache.path().join(format!("to {name}"))).unwrap();
        let (manifests, moved) = taken(&other, &place).unwrap();
        assert_eq!((manifests, moved.new, moved.bytes), (vec![manifest.clone()], 3, 709));
        assert_eq!(digests(&other), digests(&store));
        for digest in digests(&store) {
            assert!(other.lookup(&digest, &Silent).unwrap().is_some());
        }
        assert_eq!(taken(&other, &place).unwrap().1.new, 0);
    }
    let again = cache.path().join("again.tar");
    export(&store, &manifest, &again).unwrap();
    assert_eq!(fs::read(again).unwrap(), fs::read(cache.path().join("one.tar")).unwrap());
    let moved = export(&store, &manifest, &cache.path().join("folder")).unwrap();
    assert_eq!((moved.all, moved.new), (3, 0));
}

#[test]
fn an_export_that_was_cut_or_damaged_is_refused_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let (store, manifest) = filled(&cache.path().join("a"));
    let place = cache.path().join("one.tar");
    export(&store, &manifest, &place).unwrap();
    let good = fs::read(&place).unwrap();
    fs::remove_file(&place).unwrap();
    let with = |bytes: &[u8]| {
        fs::write(&place, bytes).unwrap();
        refusal(&place)
    };
    for length in (512..good.len()).step_by(97) {
        let (class, text) = with(&good[..length]);
        assert_eq!(class, Class::Trust, "{text}");
        assert!(text.starts_with("reading the export `EXPORT`: it is cut short, within "), "{text}");
    }
    let at = good.windows(700).position(|bytes| bytes == [7; 700]).unwrap();
    let mut flipped = good.clone();
    flipped[at + 300] ^= 1;
    let (class, text) = with(&flipped);
    assert_eq!(class, Class::Trust);
    assert!(text.starts_with("`bash` of the export `EXPORT` is damaged: expected the SHA-256 "), "{text}");
    assert_eq!(with(b"no archive").1, "reading the export `EXPORT`: it is cut short, within a header");
    assert_eq!(with(&[1; 2000]).1, "`EXPORT` is no export: it has no manifest");
}

#[test]
fn a_member_that_leads_out_is_refused_before_anything_is_written() {
    let cache = tempfile::tempdir().unwrap();
    let (_, manifest) = filled(&cache.path().join("a"));
    let place = cache.path().join("one.tar");
    let text = manifest.text();
    for name in ["../../etc/passwd", "/etc/passwd", "sha256/../../x", "unlisted"] {
        let mut writer = Writer::new(Vec::new());
        writer.add(&manifest.name(), to_u64(text.len()), &mut &text[..]).unwrap();
        writer.add(name, 2, &mut &b"xx"[..]).unwrap();
        fs::write(&place, writer.finish().unwrap()).unwrap();
        let expected = format!("the export `EXPORT` has a member `{name}`, which no manifest lists");
        assert_eq!(refusal(&place), (Class::Content, expected));
    }
    let mut writer = Writer::new(Vec::new());
    writer.add("../manifest.json", to_u64(text.len()), &mut &text[..]).unwrap();
    fs::write(&place, writer.finish().unwrap()).unwrap();
    let (class, text) = refusal(&place);
    assert_eq!(class, Class::Trust);
    assert!(text.starts_with("`../manifest.json` of `EXPORT` is no manifest: it is of the lock "), "{text}");
}

#[test]
fn a_folder_that_lacks_a_file_or_has_a_link_in_its_place_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let (store, manifest) = filled(&cache.path().join("a"));
    let place = cache.path().join("folder");
    assert_eq!(refusal(cache.path()).1, "`EXPORT` is no export: it has no manifest");
    export(&store, &manifest, &place).unwrap();
    let sha256 = manifest.files[1].sha256;
    let file = place.join(object(&sha256));
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(
        refusal(&place),
        (Class::Trust, format!("the export `EXPORT` lacks `bash` (SHA-256 {sha256})"))
    );
    let outside = cache.path().join("outside");
    fs::write(&outside, &bytes).unwrap();
    std::os::unix::fs::symlink(&outside, &file).unwrap();
    assert_eq!(refusal(&place).0, Class::Environment);
    fs::remove_file(&file).unwrap();
    fs::write(&file, &bytes[1..]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&place).1.starts_with("`bash` of the export `EXPORT` is damaged"));
    assert_eq!(export(&store, &manifest, &place).unwrap().new, 1);
    let other = Store::open(&cache.path().join("b")).unwrap();
    assert_eq!(taken(&other, &place).unwrap().1.new, 3);
}
