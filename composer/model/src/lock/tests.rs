use super::*;

fn digest(byte: u8) -> Sha256Digest {
    Sha256Digest::new([byte; 32])
}

fn package(name: &str) -> LockedPackage {
    LockedPackage {
        name: name.to_owned(),
        version: "1:2.0-3+deb13u1".to_owned(),
        arch: "amd64".to_owned(),
        archive: "debian".to_owned(),
        path: format!("pool/main/x/{name}_2.0-3+deb13u1_amd64.deb"),
        size: 1234,
        sha256: digest(0xab),
    }
}

fn suite(archive: &str, suite: &str, date: u64) -> LockedSuite {
    LockedSuite {
        archive: archive.to_owned(),
        suite: suite.to_owned(),
        codename: suite.to_owned(),
        date,
        sha256: digest(0xcd),
    }
}

fn archive(name: &str, suites: &[&str]) -> RequestedArchive {
    RequestedArchive {
        name: name.to_owned(),
        suites: suites.iter().map(|&s| s.to_owned()).collect(),
        components: vec!["main".to_owned()],
        allow: Vec::new(),
        keys: vec!["04B54C3CDCA79751B16BC6B5225629DF75B188BD".to_owned()],
        ..RequestedArchive::default()
    }
}

fn request() -> LockRequest {
    LockRequest {
        packages: vec!["systemd".to_owned(), "linux-image-amd64 (>= 6.12)".to_owned()],
        exclude: vec![],
        provided: vec!["linux-initramfs-tool".to_owned()],
        archives: vec![archive("debian", &["trixie", "trixie-updates"])],
        ..LockRequest::default()
    }
}

fn lock() -> Lock {
    Lock {
        recipe: "goni-appliance".to_owned(),
        arch: Arch::Amd64,
        source_date: 1_789_000_001,
        request: request(),
        suites: vec![
            suite("debian", "trixie-updates", 1_789_000_001),
            suite("debian", "trixie", 1_789_000_000),
        ],
        packages: vec![package("systemd"), package("bash")],
        signed: vec![],
        inputs: vec![input(InputKind::Overlay, "goni", 1), input(InputKind::Firmware, "pc/target.toml", 2)],
        ids: ledger::ids("root:x:0:0::/:/bin/sh\n", "root:x:0:\n"),
        build: vec![],
        twins: vec![],
    }
    .canonical()
    .unwrap()
}

fn input(kind: InputKind, name: &str, byte: u8) -> LockedInput {
    LockedInput { kind, name: name.to_owned(), sha256: digest(byte) }
}

/// A text with the digest that makes it a lock.
fn sealed(text: &str) -> String {
    let (text, _) = text.split_once("\nsha256 = ").unwrap_or((text, ""));
    format!("{text}\nsha256 = \"{}\"\n", Sha256Digest::of(format!("{text}\n").as_bytes()))
}

const GOLDEN: &str = "\
# Written by `goni-compose lock`: every input of the image, by digest.
# The last line is the digest of all before it.
schema = 2
recipe = \"goni-appliance\"
arch = \"amd64\"
source_date = 1789000001

request.packages = [
    \"linux-image-amd64 (>= 6.12)\",
    \"systemd\",
]
request.exclude = []
request.provided = [
    \"linux-initramfs-tool\",
]
request.recommends = false
request.archives = [
    { name = \"debian\", suites = [\"trixie\", \"trixie-updates\"], components = [\"main\"], allow = [], keys = [\"04B54C3CDCA79751B16BC6B5225629DF75B188BD\"] },
]

suites = [
    { archive = \"debian\", suite = \"trixie\", codename = \"trixie\", date = 1789000000, sha256 = \"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\" },
    { archive = \"debian\", suite = \"trixie-updates\", codename = \"trixie-updates\", date = 1789000001, sha256 = \"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\" },
]

signed = []

inputs = [
    { kind = \"firmware\", name = \"pc/target.toml\", sha256 = \"0202020202020202020202020202020202020202020202020202020202020202\" },
    { kind = \"overlay\", name = \"goni\", sha256 = \"0101010101010101010101010101010101010101010101010101010101010101\" },
]

ids = [
    { kind = \"group\", name = \"root\", id = 0 },
    { kind = \"user\", name = \"root\", id = 0 },
]

packages = [
    { name = \"bash\", version = \"1:2.0-3+deb13u1\", arch = \"amd64\", archive = \"debian\", path = \"pool/main/x/bash_2.0-3+deb13u1_amd64.deb\", size = 1234, sha256 = \"abababababababababababababababababababababababababababababababab\" },
    { name = \"systemd\", version = \"1:2.0-3+deb13u1\", arch = \"amd64\", archive = \"debian\", path = \"pool/main/x/systemd_2.0-3+deb13u1_amd64.deb\", size = 1234, sha256 = \"abababababababababababababababababababababababababababababababab\" },
]

sha256 = \"SEAL\"
";

/// The error and its causes, one a line.
fn refusal(text: &str) -> String {
    let error = text.parse::<Lock>().unwrap_err();
    match &error {
        ParseLockError::Lock { source, .. } => format!("{error}\n{source}"),
        ParseLockError::Toml(cause) => format!("{error}\n{}", cause.message()),
        _ => error.to_string(),
    }
}

#[test]
fn a_lock_writes_its_golden_text_and_reads_it_back() {
    let golden = sealed(GOLDEN);
    assert_eq!(lock().to_string(), golden);
    assert_eq!(golden.parse::<Lock>().unwrap(), lock());
}

#[test]
fn every_fault_is_named() {
    for (from, to, message) in [
        ("schema = 2", "schema = 3", "the lock has schema 3; this program reads schema 2"),
        ("schema = 2", "schema = 1", "the lock has schema 1; this program reads schema 2"),
        (
            "recipe =",
            "mirror = \"x\"\nrecipe =",
            "reading the lock\nunknown field `mirror`, expected one of `schema`, `recipe`, `arch`, `source_date`, `request`, `suites`, `signed`, `inputs`, `ids`, `packages`, `build`, `twins`, `sha256`",
        ),
        (
            "name = \"bash\"",
            "name = \"zsh\"",
            "checking the lock, line 40\npackages: `systemd` after `zsh` is out of order or twice",
        ),
        (
            "name = \"bash\"",
            "name = \"systemd\"",
            "checking the lock, line 40\npackages: `systemd` after `systemd` is out of order or twice",
        ),
        (
            "name = \"bash\"",
            "name = \"-rf\"",
            "checking the lock, line 39\npackages: `-rf` does not start with a lowercase letter or a digit",
        ),
        (
            "pool/main/x/bash",
            "../x/bash",
            "checking the lock, line 39\npackage `bash`: `../x/bash_2.0-3+deb13u1_amd64.deb` has an empty, `.` or `..` component",
        ),
        (
            "pool/main/x/bash",
            "/pool/bash",
            "checking the lock, line 39\npackage `bash`: `/pool/bash_2.0-3+deb13u1_amd64.deb` is an absolute path",
        ),
        (
            "pool/main/x/bash",
            "%2e%2e/bash",
            "checking the lock, line 39\npackage `bash`: `%2e%2e/bash_2.0-3+deb13u1_amd64.deb` has characters no path in an archive needs",
        ),
        (
            "version = \"1:2.0-3+deb13u1\"",
            "version = \"1:;rm\"",
            "checking the lock, line 39\npackage `bash`: `1:;rm` has characters other than letters, digits, . + - ~ :",
        ),
        (
            "arch = \"amd64\", archive = \"debian\"",
            "arch = \"arm64\", archive = \"debian\"",
            "checking the lock, line 39\npackage `bash`: `arm64` is neither `all` nor the architecture of the lock",
        ),
        (
            "arch = \"amd64\", archive = \"debian\"",
            "arch = \"amd64\", archive = \"nvidia\"",
            "checking the lock, line 39\npackage `bash` comes from archive `nvidia`, of which the lock has no suite",
        ),
        (
            "source_date = 1789000001",
            "source_date = 1",
            "checking the lock, line 6\nsource date 1 is not the newest date among the suites, 1789000001",
        ),
        (
            "size = 1234",
            "size = 0",
            "checking the lock, line 39\npackage `bash`: `0` is no size of a package",
        ),
    ] {
        let text = GOLDEN.replacen(from, to, 1);
        assert_ne!(text, GOLDEN, "{from}");
        assert_eq!(refusal(&text), message);
    }
}

#[test]
fn a_twin_is_the_same_package_built_for_another_architecture() {
    let twin = |name: &str| LockedPackage { arch: "arm64".to_owned(), ..package(name) };
    let with = |change: &dyn Fn(&mut LockedPackage)| {
        let mut changed = twin("bash");
        change(&mut changed);
        Lock { twins: vec![twin("systemd"), changed], ..lock() }.canonical()
    };
    let lock = with(&|twin| twin.version.push_str("+b2")).unwrap();
    assert!(lock.to_string().ends_with(&format!(
        "]\n\ntwins = [\n    {},\n    {},\n]\n\nsha256 = \"{}\"\n",
        text::package(&lock.twins[0]),
        text::package(&lock.twins[1]),
        lock.to_string().rsplit('"').nth(1).unwrap(),
    )));
    assert_eq!(lock.to_string().parse::<Lock>().unwrap(), lock);
    type Change = fn(&mut LockedPackage);
    let cases: [(Change, &str); 6] = [
        (
            |twin| twin.arch = "amd64".to_owned(),
            "twin `bash`: `amd64` is no architecture other than that of the lock",
        ),
        (
            |twin| twin.arch = "all".to_owned(),
            "twin `bash`: `all` is no architecture other than that of the lock",
        ),
        (|twin| twin.name = "dash".to_owned(), "twins: `dash` is no package of the image's architecture"),
        (
            |twin| twin.version = "1:2.0-3+deb13u2".to_owned(),
            "twin `bash`: `1:2.0-3+deb13u2` is not the version of the image's package",
        ),
        (
            |twin| twin.version.push_str("+bpo1"),
            "twin `bash`: `1:2.0-3+deb13u1+bpo1` is not the version of the image's package",
        ),
        (
            |twin| twin.path = "../bash.deb".to_owned(),
            "package `bash`: `../bash.deb` has an empty, `.` or `..` component",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(with(&change).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_lock_is_fresh_whatever_the_order_of_the_wishes() {
    let mut request = request();
    request.packages.reverse();
    assert_eq!(lock().stale_keys(&request), []);
    assert_eq!(lock().stale_inputs(&lock().inputs), []);
}

#[test]
fn a_stale_lock_names_the_keys_that_changed() {
    let mut now = request();
    now.packages.pop();
    now.recommends = true;
    now.archives[0].suites.pop();
    now.archives.push(archive("vendor", &["r1"]));
    assert_eq!(
        shown(&lock().stale_keys(&now)),
        [
            "`packages` has no `linux-image-amd64 (>= 6.12)` any more",
            "`archives` has `vendor` besides",
            "`archive.debian.suites` has no `trixie-updates` any more",
            "`recommends` was false, is true",
        ]
    );
}

fn shown(stale: &[Stale]) -> Vec<String> {
    stale.iter().map(ToString::to_string).collect()
}

#[test]
fn a_changed_input_is_named() {
    let now = [
        input(InputKind::Overlay, "goni", 3),
        input(InputKind::Overlay, "kiosk", 1),
        input(InputKind::Toolbox, "toolbox", 1),
    ];
    assert_eq!(
        shown(&lock().stale_inputs(&now)),
        [
            "firmware `pc/target.toml` is gone",
            "overlay `goni` changed",
            "overlay `kiosk` is new",
            "toolbox `toolbox` is new",
        ]
    );
}

#[test]
fn a_lock_that_was_changed_is_none() {
    let good = sealed(GOLDEN);
    let older = good.replace("id = 0 },\n]", "id = 1 },\n]");
    let error = older.parse::<Lock>().unwrap_err();
    assert!(matches!(error, ParseLockError::Broken { line: 43, .. }), "{error}");
    assert!(error.to_string().starts_with("line 43: the digest says "), "{error}");
    for cut in [good.strip_suffix('\n').unwrap(), good.split_once("\nsha256").unwrap().0, GOLDEN] {
        let error = cut.parse::<Lock>().unwrap_err();
        assert!(matches!(error, ParseLockError::Unsealed), "{error}");
    }
    assert_eq!(
        refusal(&sealed(&GOLDEN.replace("signed = []\n", "signed = [ ]\n"))),
        "line 26 is not as a lock has it: expected `signed = []`"
    );
    let reading = Lock::reading(&older).unwrap();
    assert!(reading.broken.is_some() && !reading.outdated);
    assert_eq!(reading.lock.ids[1].id, 1);
}

#[test]
fn a_lock_of_the_form_before_is_read_to_be_completed() {
    let (start, rest) = GOLDEN.split_once("signed = []").unwrap();
    let (packages, _) = rest.split_once("\nsha256").unwrap();
    let packages = &packages[packages.find("packages").unwrap()..];
    let text = format!("{start}{packages}").replace("schema = 2", "schema = 1");
    let Reading { lock: read, outdated, broken } = Lock::reading(&text).unwrap();
    assert!(outdated && broken.is_none());
    assert_eq!(Lock { inputs: lock().inputs, ids: lock().ids, ..read }, lock());
}

#[test]
fn two_locks_differ_in_packages_suites_inputs_and_ids() {
    let (old, mut new) = (lock(), lock());
    assert!(old.diff(&new).is_empty());
    new.packages[0].version = "1:2.0-3+deb13u2".to_owned();
    new.packages[0].size = 1300;
    new.packages[1].path = "pool/elsewhere/systemd.deb".to_owned();
    new.packages.push(package("zsh"));
    new.suites[1].date += 1;
    new.inputs.pop();
    new.ids[1].gone = true;
    let diff = old.diff(&new);
    let names: Vec<&str> = diff.packages.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["bash", "zsh"]);
    assert_eq!((diff.packages[0].source.as_str(), diff.packages[0].old.as_ref().unwrap().size), ("x", 1234));
    assert_eq!(diff.packages[1].old, None);
    assert_eq!((diff.suites.len(), diff.suites[0].suite.as_str()), (1, "trixie-updates"));
    assert_eq!(shown(&diff.inputs), ["overlay `goni` is gone"]);
    assert_eq!(diff.ids[0].id, diff::Pair { old: Some(0), new: None });
    assert_eq!(diff.bytes, diff::Pair { old: 2468, new: 3768 });
}

#[test]
fn the_minimum_date_is_that_of_the_locked_suite() {
    assert_eq!(lock().minimum_date("debian", "trixie"), Some(1_789_000_000));
    assert_eq!(lock().minimum_date("debian", "sid"), None);
}

#[test]
fn what_modules_are_built_with_is_a_set_of_its_own() {
    let mut lock = lock();
    lock.request.dkms = vec!["v4l2loopback-dkms".to_owned()];
    lock.request.build = true;
    lock.build = vec![package("gcc-14"), package("bash")];
    let lock = lock.canonical().unwrap();
    let text = lock.to_string();
    assert!(
        text.contains("request.dkms = [\n    \"v4l2loopback-dkms\",\n]\nrequest.build = true\n"),
        "{text}"
    );
    assert!(text.contains("\nbuild = [\n    { name = \"bash\""), "{text}");
    assert_eq!(text.parse::<Lock>().unwrap(), lock);
    assert_eq!(lock.stale_keys(&request())[0].to_string(), "`dkms` has no `v4l2loopback-dkms` any more");
    let twice = text.replace("name = \"gcc-14\"", "name = \"bash\"");
    assert_eq!(
        refusal(&twice),
        "checking the lock, line 49\nbuild: `bash` after `bash` is out of order or twice"
    );
}

#[test]
fn what_vendors_and_loose_packages_add_reads_back_and_goes_stale() {
    let mut lock = lock();
    let mut vendor = archive("vendor", &["r1"]);
    vendor.replace = vec!["driver".to_owned()];
    vendor.weak = vec!["sha1".to_owned()];
    vendor.depends =
        [("core".to_owned(), "libffi8 (>= 3), libc6".to_owned()), ("extra".to_owned(), String::new())].into();
    lock.request.archives.push(vendor);
    lock.request.local = vec![format!("debs/own.deb {}", digest(1))];
    let mut own = package("own");
    own.archive = LOCAL.to_owned();
    lock.packages.push(own);
    let lock = lock.canonical().unwrap();
    let text = lock.to_string();
    let line = "allow = [], keys = [\"04B54C3CDCA79751B16BC6B5225629DF75B188BD\"], replace = [\"driver\"], \
                weak = [\"sha1\"], depends = { \"core\" = \"libffi8 (>= 3), libc6\", \"extra\" = \"\" } },";
    assert!(text.contains(line), "{text}");
    assert_eq!(text.parse::<Lock>().unwrap(), lock);
    let mut now = lock.request.clone();
    now.local[0] = format!("debs/own.deb {}", digest(2));
    now.archives[1].weak.clear();
    now.archives[1].depends.remove("extra");
    let stale = lock.stale_keys(&now);
    assert_eq!(stale[1].to_string(), "`archive.vendor.weak` has no `sha1` any more");
    assert_eq!(
        stale[2].to_string(),
        "`archive.vendor.override` was { \"core\" = \"libffi8 (>= 3), libc6\", \"extra\" = \"\" }, is { \"core\" = \"libffi8 (>= 3), libc6\" }"
    );
    assert!(stale[0].to_string().starts_with("`local` has `debs/own.deb 0202"), "{stale:?}");
}
