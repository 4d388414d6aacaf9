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
        build: vec![],
        twins: vec![],
    }
    .canonical()
    .unwrap()
}

const GOLDEN: &str = "\
# Written by `goni-compose lock`: every input of the image, by digest.
schema = 1
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

packages = [
    { name = \"bash\", version = \"1:2.0-3+deb13u1\", arch = \"amd64\", archive = \"debian\", path = \"pool/main/x/bash_2.0-3+deb13u1_amd64.deb\", size = 1234, sha256 = \"abababababababababababababababababababababababababababababababab\" },
    { name = \"systemd\", version = \"1:2.0-3+deb13u1\", arch = \"amd64\", archive = \"debian\", path = \"pool/main/x/systemd_2.0-3+deb13u1_amd64.deb\", size = 1234, sha256 = \"abababababababababababababababababababababababababababababababab\" },
]
";

/// The error and its causes, one a line.
fn refusal(text: &str) -> String {
    let error = text.parse::<Lock>().unwrap_err();
    match &error {
        ParseLockError::Lock(cause) => format!("{error}\n{cause}"),
        ParseLockError::Toml(cause) => format!("{error}\n{}", cause.message()),
        ParseLockError::Schema { .. } => error.to_string(),
    }
}

#[test]
fn a_lock_writes_its_golden_text_and_reads_it_back() {
    assert_eq!(lock().to_string(), GOLDEN);
    assert_eq!(GOLDEN.parse::<Lock>().unwrap(), lock());
}

#[test]
fn every_fault_is_named() {
    for (from, to, message) in [
        ("schema = 1", "schema = 2", "the lock has schema 2; this program reads schema 1: resolve again"),
        (
            "recipe =",
            "mirror = \"x\"\nrecipe =",
            "reading the lock\nunknown field `mirror`, expected one of `schema`, `recipe`, `arch`, `source_date`, `request`, `suites`, `packages`, `build`, `twins`",
        ),
        (
            "name = \"bash\"",
            "name = \"zsh\"",
            "checking the lock\npackages: `systemd` after `zsh` is out of order or twice",
        ),
        (
            "name = \"bash\"",
            "name = \"systemd\"",
            "checking the lock\npackages: `systemd` after `systemd` is out of order or twice",
        ),
        (
            "name = \"bash\"",
            "name = \"-rf\"",
            "checking the lock\npackages: `-rf` does not start with a lowercase letter or a digit",
        ),
        (
            "pool/main/x/bash",
            "../x/bash",
            "checking the lock\npackage `bash`: `../x/bash_2.0-3+deb13u1_amd64.deb` has an empty, `.` or `..` component",
        ),
        (
            "pool/main/x/bash",
            "/pool/bash",
            "checking the lock\npackage `bash`: `/pool/bash_2.0-3+deb13u1_amd64.deb` is an absolute path",
        ),
        (
            "pool/main/x/bash",
            "%2e%2e/bash",
            "checking the lock\npackage `bash`: `%2e%2e/bash_2.0-3+deb13u1_amd64.deb` has characters no path in an archive needs",
        ),
        (
            "version = \"1:2.0-3+deb13u1\"",
            "version = \"1:;rm\"",
            "checking the lock\npackage `bash`: `1:;rm` has characters other than letters, digits, . + - ~ :",
        ),
        (
            "arch = \"amd64\", archive = \"debian\"",
            "arch = \"arm64\", archive = \"debian\"",
            "checking the lock\npackage `bash`: `arm64` is neither `all` nor the architecture of the lock",
        ),
        (
            "arch = \"amd64\", archive = \"debian\"",
            "arch = \"amd64\", archive = \"nvidia\"",
            "checking the lock\npackage `bash` comes from archive `nvidia`, of which the lock has no suite",
        ),
        (
            "source_date = 1789000001",
            "source_date = 1",
            "checking the lock\nsource date 1 is not the newest date among the suites, 1789000001",
        ),
        ("size = 1234", "size = 0", "checking the lock\npackage `bash`: `0` is no size of a package"),
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
        "]\n\ntwins = [\n    {},\n    {},\n]\n",
        text::package(&lock.twins[0]),
        text::package(&lock.twins[1])
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
    assert_eq!(lock().stale_keys(&request), Vec::<String>::new());
}

#[test]
fn a_stale_lock_names_the_keys_that_changed() {
    let mut now = request();
    now.packages.pop();
    now.recommends = true;
    now.archives[0].suites.pop();
    now.archives.push(archive("vendor", &["r1"]));
    assert_eq!(
        lock().stale_keys(&now),
        [
            "`packages` was [\"linux-image-amd64 (>= 6.12)\", \"systemd\"], is [\"systemd\"]",
            "`recommends` was false, is true",
            "`archives` was [\"debian\"], is [\"debian\", \"vendor\"]",
            "`archive.debian.suites` was [\"trixie\", \"trixie-updates\"], is [\"trixie\"]",
        ]
    );
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
    assert_eq!(lock.stale_keys(&request())[0], "`dkms` was [\"v4l2loopback-dkms\"], is []");
    let twice = text.replace("name = \"gcc-14\"", "name = \"bash\"");
    assert_eq!(refusal(&twice), "checking the lock\nbuild: `bash` after `bash` is out of order or twice");
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
    assert_eq!(stale[1], "`archive.vendor.weak` was [\"sha1\"], is []");
    assert_eq!(
        stale[2],
        "`archive.vendor.override` was { \"core\" = \"libffi8 (>= 3), libc6\", \"extra\" = \"\" }, is { \"core\" = \"libffi8 (>= 3), libc6\" }"
    );
    assert!(stale[0].starts_with("`local` was [\"debs/own.deb 0101"), "{stale:?}");
}
