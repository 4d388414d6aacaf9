use std::ffi::OsString;
use std::fs;
use std::num::NonZero;

use super::*;

const KEYRING: &str = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg";

fn environment(variables: &[(Variable, &str)]) -> Environment {
    let variables = variables.iter().map(|(variable, value)| (*variable, OsString::from(value)));
    Environment::fixed(variables, 1000, NonZero::<usize>::MIN)
}

fn bases(mirrors: &Mirrors) -> [String; 2] {
    [DEBIAN, DEBIAN_SECURITY].map(|archive| mirrors.base(archive).unwrap().to_string())
}

#[test]
fn the_machines_sources_give_main_and_security() {
    let main = "http://m.example.org/debian/";
    let sibling = "http://m.example.org/debian-security/";
    for (case, list, expected) in [
        (
            "a stock Debian",
            "deb http://m.example.org/debian trixie main
             deb http://m.example.org/debian trixie-updates main
             deb http://s.example.org/debian-security trixie-security main",
            Some([main, "http://s.example.org/debian-security/"]),
        ),
        ("main alone", "deb http://m.example.org/debian/ bookworm main", Some([main, sibling])),
        (
            "security named by its suite",
            "deb http://m.example.org/debian stable main
             deb http://s.example.org/sec stable-security main",
            Some([main, "http://s.example.org/sec/"]),
        ),
        (
            "a mirror with a path of its own",
            "deb https://m.example.org/mirror/deb trixie main",
            Some(["https://m.example.org/mirror/deb/", "https://m.example.org/mirror/deb-security/"]),
        ),
        (
            "vendors first",
            "deb https://v.example.org/apt cloud-sdk-bookworm main
             deb https://w.example.org/linux/debian bookworm stable
             deb https://x.example.org/oss/deb stable main
             deb https://y.example.org/debian/12/prod bookworm main
             deb http://m.example.org/debian trixie main",
            Some([main, sibling]),
        ),
        (
            "a vendor that looks just like Debian",
            &format!(
                "deb https://v.example.org/debian trixie main
                 deb [{KEYRING}] http://m.example.org/debian trixie main"
            ),
            Some([main, sibling]),
        ),
        (
            "schemes we do not speak",
            "deb cdrom:[Debian]/ trixie main
             deb mirror+file:/etc/apt/mirrors/debian.list trixie main
             deb http://m.example.org/debian trixie main",
            Some([main, sibling]),
        ),
        ("only vendors", "deb https://v.example.org/node nodistro main", None),
        ("only security", "deb http://s.example.org/debian-security trixie-security main", None),
        ("nothing", "", None),
    ] {
        let list: String = list.lines().map(|line| format!("{}\n", line.trim())).collect();
        let found = Mirrors::of_apt(&apt::parse_list(&list)).as_ref().map(bases);
        assert_eq!(found, expected.map(|bases| bases.map(String::from)), "{case}");
    }
}

#[test]
fn flag_variable_configuration_and_apt_are_asked_in_this_order() {
    let directory = tempfile::tempdir().unwrap();
    let apt = directory.path().join("apt");
    fs::create_dir_all(apt.join("sources.list.d")).unwrap();
    let sources = "Types: deb\nURIs: http://apt.example.org/debian\nSuites: trixie\nComponents: main\n";
    fs::write(apt.join("sources.list.d/debian.sources"), sources).unwrap();
    let config = directory.path().join("goni-compose");
    fs::create_dir_all(&config).unwrap();
    let text = "[mirror]\ndebian = \"http://c.example.org/debian\"\ndebian-security = \"http://c.example.org/sec\"\n";
    fs::write(config.join("config.toml"), text).unwrap();

    let base = (Variable::XdgConfigHome, directory.path().to_str().unwrap());
    let variable = (Variable::Mirror, "http://v.example.org/debian http://vs.example.org/debian-security");
    let found =
        |flag, variables: &[_]| bases(&Mirrors::discover(flag, &environment(variables), &apt).unwrap());
    assert_eq!(
        found(Some("file:///srv/debian"), &[base, variable]),
        ["file:///srv/debian/", "file:///srv/debian-security/"]
    );
    assert_eq!(
        found(None, &[base, variable]),
        ["http://v.example.org/debian/", "http://vs.example.org/debian-security/"]
    );
    assert_eq!(found(None, &[base]), ["http://c.example.org/debian/", "http://c.example.org/sec/"]);
    assert_eq!(
        found(None, &[]),
        ["http://apt.example.org/debian/", "http://apt.example.org/debian-security/"]
    );
    let error = Mirrors::discover(None, &environment(&[]), &directory.path().join("none")).unwrap_err();
    assert_eq!(error.to_string(), "no mirror of the archive `debian` is known on this machine");
    assert_eq!(error.hint().unwrap(), "name one with --mirror URL or GONI_COMPOSE_MIRROR=URL");
    assert_eq!(error.class(), Class::Environment);
}

#[test]
fn what_is_no_mirror_is_refused_by_name() {
    for (text, expected) in [
        (
            "ftp://m.example.org/debian",
            "`ftp://m.example.org/debian` is not a mirror: the scheme `ftp` is not one we fetch by",
        ),
        ("m.example.org/debian", "`m.example.org/debian` is not a mirror: relative URL without a base"),
        (
            "http://m.example.org/?debian",
            "`http://m.example.org/?debian` is not a mirror: a query or fragment has no place in it",
        ),
        ("  ", "`  ` is not a mirror: it is empty"),
        (
            "http://a/ http://b/ http://c/",
            "`http://a/ http://b/ http://c/` is not a mirror: more than two URLs",
        ),
    ] {
        let error = Mirrors::discover(Some(text), &environment(&[]), Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.class(), Class::Recipe);
    }
}

#[test]
fn paths_stay_below_their_mirror() {
    let mirrors = Mirrors::debian("http://m.example.org/debian", None).unwrap();
    let url = |path: &str| mirrors.url(DEBIAN, path).map(|url| url.to_string());
    assert_eq!(
        url("pool/main/g/g++/g++_4%3a14".replace("%3a", "~").as_str()).unwrap(),
        "http://m.example.org/debian/pool/main/g/g++/g++_4~14"
    );
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "//host/x",
        "%2e%2e/x",
        "a b",
        "a\nb",
        "a?b",
        "a#b",
        "a\\b",
    ] {
        let error = mirrors.url(DEBIAN, path).unwrap_err();
        assert_eq!(error.class(), Class::Trust, "{path}");
    }
    let unknown = mirrors.url("vendor", "x").unwrap_err();
    assert_eq!(unknown.to_string(), "no mirror of the archive `vendor` is known");
    let vendor = mirrors.with("vendor", "https://v.example.org/som").unwrap();
    assert_eq!(vendor.url("vendor", "pool/x:y").unwrap().as_str(), "https://v.example.org/som/pool/x:y");
}
