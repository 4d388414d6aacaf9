use goni_model::arch::Arch;

use super::*;
use crate::index::Index;

/// A stanza of `name version`, with more fields.
fn package(name: &str, version: &str, more: &str) -> String {
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}_{version}.deb\nSize: 1\n\
         SHA256: {}\n{more}\n\n",
        "ab".repeat(32)
    )
}

/// `name=version: why` of each package chosen from these suites.
fn answer(suites: &[(&str, String)], request: &Request) -> Result<Vec<String>, String> {
    let indexes: Vec<Index<'_>> =
        suites.iter().map(|(_, text)| Index::parse(text.as_bytes(), Arch::Amd64).unwrap()).collect();
    let sources: Vec<Source<'_, '_>> = indexes
        .iter()
        .zip(suites)
        .map(|(index, (suite, _))| Source { archive: "debian", suite, index, allow: None, vendor: None })
        .collect();
    let universe = Universe::new(Arch::Amd64, &sources).map_err(|e| e.to_string())?;
    let chosen = solve(&universe, request).map_err(|e| e.to_string())?;
    Ok(chosen.iter().map(|c| format!("{}={}: {}", c.package.name, c.package.version, c.why)).collect())
}

fn wish(packages: &[&str]) -> Request {
    Request { packages: packages.iter().map(|&p| p.to_owned()).collect(), ..Request::default() }
}

fn from(stanzas: &[String], packages: &[&str]) -> Result<Vec<String>, String> {
    answer(&[("trixie", stanzas.concat())], &wish(packages))
}

#[test]
fn essential_packages_and_first_alternatives_come_in() {
    let stanzas = [
        package("base", "1", "Essential: yes"),
        package("app", "1", "Depends: second | first, virtual-thing, any:any"),
        package("first", "1", ""),
        package("second", "1", ""),
        package("unwanted", "1", ""),
        package("provider", "1", "Provides: virtual-thing"),
        package("any", "1", "Multi-Arch: allowed"),
    ];
    assert_eq!(
        from(&stanzas, &["app"]),
        Ok([
            "any=1: app depends on any:any",
            "app=1: requested",
            "base=1: essential",
            "provider=1: app depends on virtual-thing",
            "second=1: app depends on second | first",
        ]
        .map(str::to_owned)
        .to_vec())
    );
}

#[test]
fn the_newest_of_all_suites_wins_unless_a_version_is_named() {
    let suites = [("trixie", package("app", "1.9", "")), ("trixie-security", package("app", "1.10", ""))];
    assert_eq!(answer(&suites, &wish(&["app"])), Ok(vec!["app=1.10: requested".to_owned()]));
    assert_eq!(answer(&suites, &wish(&["app=1.9"])), Ok(vec!["app=1.9: requested".to_owned()]));
    assert_eq!(answer(&suites, &wish(&["app (<< 1.10)"])), Ok(vec!["app=1.9: requested".to_owned()]));
    let other = package("app", "1.9", "").replace("ab", "cd");
    let error =
        answer(&[("trixie", package("app", "1.9", "")), ("sid", other)], &wish(&["app"])).unwrap_err();
    assert!(
        error.starts_with("package `app=1.9` is abab") && error.contains("in `trixie` but cdcd"),
        "{error}"
    );
}

#[test]
fn what_is_kept_stays_as_long_as_it_does_and_gives_way_to_what_must_be_new() {
    let both = |name: &str, more: &dyn Fn(&str) -> String| {
        ["1", "2"].map(|version| package(name, version, &more(version))).concat()
    };
    let plain = |_: &str| String::new();
    let suites = [(
        "trixie",
        [
            both("lib", &plain),
            both("dev", &|version| format!("Depends: lib (= {version})")),
            both("other", &plain),
            package("needy", "1", "Depends: lib (>= 2)"),
        ]
        .concat(),
    )];
    let kept = |names: &[&str], newest: &[&str], packages: &[&str]| {
        let kept = names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        let newest = newest.iter().map(|&name| name.to_owned()).collect();
        let chosen = answer(&suites, &Request { kept, newest, ..wish(packages) }).unwrap();
        chosen.iter().map(|it| it.split(':').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let all = ["lib", "dev", "other"];
    assert_eq!(kept(&[], &[], &["dev", "other"]), "dev=2 lib=2 other=2");
    assert_eq!(kept(&all, &[], &["dev", "other"]), "dev=1 lib=1 other=1");
    assert_eq!(kept(&all, &[], &["lib", "other", "needy"]), "lib=2 needy=1 other=1");
    assert_eq!(kept(&["dev", "other"], &["lib"], &["dev", "other"]), "dev=2 lib=2 other=1");
    // What must be new brings nothing in, and what cannot be new stays.
    assert_eq!(kept(&all, &["needy"], &["dev"]), "dev=1 lib=1");
    assert_eq!(kept(&["other"], &["dev"], &["dev", "lib (= 1)"]), "dev=1 lib=1");
}

#[test]
fn versioned_provides_meet_bounds_and_plain_ones_do_not() {
    let with = |provides: &str| {
        from(&[package("app", "1", "Depends: api (>= 2)"), package("lib", "9", provides)], &["app"])
    };
    assert_eq!(with("Provides: api (= 2)").map(|c| c.len()), Ok(2));
    let missing = "`app=1` needs `api (>= 2)`: no package answers that";
    assert_eq!(with("Provides: api (= 1)"), Err(missing.to_owned()));
    assert_eq!(with("Provides: api"), Err(missing.to_owned()));
}

#[test]
fn conflicts_turn_to_the_next_alternative_or_say_so() {
    let stanzas = [
        package("app", "1", "Depends: aa | bb"),
        package("aa", "1", ""),
        package("bb", "1", ""),
        package("foe", "1", "Conflicts: aa"),
    ];
    assert_eq!(from(&stanzas, &["app", "foe"]).unwrap()[1], "bb=1: app depends on aa | bb");
    let error = from(&stanzas, &["aa", "foe"]).unwrap_err();
    assert!(error.starts_with("no set of packages answers every wish"), "{error}");
}

#[test]
fn what_the_composer_provides_is_not_fetched() {
    let stanzas = [
        package("linux", "1", "Depends: initramfs-tools | linux-initramfs-tool"),
        package("initramfs-tools", "1", ""),
    ];
    let mut request = wish(&["linux"]);
    assert_eq!(answer(&[("s", stanzas.concat())], &request).map(|c| c.len()), Ok(2));
    request.provided.push("linux-initramfs-tool".to_owned());
    assert_eq!(answer(&[("s", stanzas.concat())], &request), Ok(vec!["linux=1: requested".to_owned()]));
}

#[test]
fn recommended_packages_come_in_when_asked_and_possible() {
    let stanzas = [
        package("app", "1", "Recommends: extra, foe, absent"),
        package("extra", "1", "Recommends: more"),
        package("more", "1", ""),
        package("foe", "1", "Conflicts: app"),
    ];
    let mut request = wish(&["app"]);
    request.recommends = true;
    assert_eq!(
        answer(&[("s", stanzas.concat())], &request),
        Ok(["app=1: requested", "extra=1: app recommends extra", "more=1: extra recommends more"]
            .map(str::to_owned)
            .to_vec())
    );
}

#[test]
fn cycles_are_no_obstacle() {
    let stanzas = [package("aa", "1", "Pre-Depends: bb"), package("bb", "1", "Pre-Depends: aa")];
    assert_eq!(from(&stanzas, &["aa"]).map(|c| c.len()), Ok(2));
}

#[test]
fn without_an_answer_the_reason_is_named() {
    let stanzas = [
        package("app", "1", "Depends: lib"),
        package("lib", "2", "Depends: gone (>= 3)"),
        package("gone", "1", ""),
        package("p1", "1", "Provides: mta"),
        package("p2", "1", "Provides: mta"),
        package("broken", "1", "Depends: a b"),
    ];
    for (wishes, message) in [
        (&["app"], "`app=1` needs `lib`, `lib=2` needs `gone (>= 3)`: no package answers that"),
        (&["gonne"], "no package `gonne` in `trixie`: did you mean `gone`?"),
        (&["nothing-like-it"], "no package `nothing-like-it` in `trixie`"),
        (&["gone=2"], "no version of `gone=2`: there is 1"),
        (&["mta"], "`mta` is no package but what several stand for: ask for one of p1, p2"),
        (&["broken"], "package `broken=1`"),
        (&["-rf"], "`-rf` is no package to ask for"),
    ] {
        assert_eq!(from(&stanzas, wishes), Err(message.to_owned()));
    }
}

#[test]
fn what_is_excluded_stays_out() {
    let stanzas = [package("app", "1", "Depends: aa | bb"), package("aa", "1", ""), package("bb", "1", "")];
    let mut request = wish(&["app"]);
    request.exclude.push("aa".to_owned());
    let found = answer(&[("s", stanzas.concat())], &request).unwrap();
    assert_eq!(found, ["app=1: requested", "bb=1: app depends on aa | bb"]);
    request.exclude.push("app".to_owned());
    let error = answer(&[("s", stanzas.concat())], &request).unwrap_err();
    assert_eq!(error, "package `app` is excluded, but it is asked for too");
}

/// As [`from`], with a vendor's archive `v` beside that may bring `allow` and put it in Debian's place.
fn beside(
    debian: &str,
    vendors: &str,
    allow: &[&str],
    replace: &[&str],
    depends: &[(&str, &str)],
    wish_for: &[&str],
) -> Result<Vec<String>, String> {
    let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<String>>();
    let (allow, replace) = (owned(allow), owned(replace));
    let depends = depends.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let parse = |text| Index::parse(text, Arch::Amd64).unwrap();
    let (ours, theirs) = (parse(debian.as_bytes()), parse(vendors.as_bytes()));
    let vendor = Vendor { replace: &replace, depends: &depends };
    let universe = Universe::new(
        Arch::Amd64,
        &[
            Source { archive: "debian", suite: "trixie", index: &ours, allow: None, vendor: None },
            Source { archive: "v", suite: "r39", index: &theirs, allow: Some(&allow), vendor: Some(vendor) },
        ],
    )
    .map_err(|error| error.to_string())?;
    let chosen = solve(&universe, &wish(wish_for)).map_err(|error| error.to_string())?;
    Ok(chosen
        .iter()
        .map(|c| format!("{}={}: {}", c.package.name, c.package.version, c.package.archive))
        .collect())
}

#[test]
fn of_a_suite_that_may_bring_little_the_newest_of_that_wins() {
    let debian = [package("linux", "6", ""), package("bash", "5", "")].concat();
    let backports = [package("linux", "7", ""), package("bash", "6", "")].concat();
    let parse = |text| Index::parse(text, Arch::Amd64).unwrap();
    let (ours, theirs) = (parse(debian.as_bytes()), parse(backports.as_bytes()));
    let allow = ["lin*".to_owned()];
    let sources = [
        Source { archive: "debian", suite: "trixie", index: &ours, allow: None, vendor: None },
        Source { archive: "debian-backports", suite: "b", index: &theirs, allow: Some(&allow), vendor: None },
    ];
    let universe = Universe::new(Arch::Amd64, &sources).unwrap();
    let chosen = solve(&universe, &wish(&["bash", "linux"])).unwrap();
    let chosen: Vec<String> =
        chosen.iter().map(|c| format!("{}={}", c.package.name, c.package.version)).collect();
    assert_eq!(chosen, ["bash=5", "linux=7"]);
}

#[test]
fn a_vendor_brings_what_it_may_and_the_rest_is_invisible() {
    let debian = package("libc6", "2", "");
    let vendors = [
        package("v-core", "1", "Depends: libc6, v-more"),
        package("v-more", "1", "Essential: yes"),
        package("v-essential", "1", "Essential: yes"),
        package("libopencv", "9", ""),
    ]
    .concat();
    assert_eq!(
        beside(&debian, &vendors, &["v-*"], &[], &[], &["v-core"]),
        Ok(vec!["libc6=2: debian".to_owned(), "v-core=1: v".to_owned(), "v-more=1: v".to_owned()])
    );
    assert_eq!(
        beside(&debian, &vendors, &["v-*"], &[], &[], &["libopencv"]),
        Err("package `libopencv` is in archive `v` alone, whose `allow` does not list it".to_owned())
    );
    assert_eq!(
        beside(&debian, &vendors, &["v-core"], &[], &[], &["v-core"]),
        Err("`v-core=1` needs `v-more`: archive `v` has `v-more`, and its `allow` does not list it"
            .to_owned())
    );
}

#[test]
fn a_vendor_shadows_nothing_unless_it_is_said_by_name() {
    let debian = package("driver", "2", "");
    let vendors = package("driver", "1", "");
    assert_eq!(
        beside(&debian, &vendors, &["*"], &[], &[], &["driver"]),
        Err("archive `v` has `driver=1`, which `trixie` has too, as 2".to_owned())
    );
    // What is not allowed shadows nothing.
    assert_eq!(
        beside(&debian, &vendors, &["v-*"], &[], &[], &["driver"]),
        Ok(vec!["driver=2: debian".to_owned()])
    );
    assert_eq!(
        beside(&debian, &vendors, &["*"], &["driver"], &[], &["driver"]),
        Ok(vec!["driver=1: v".to_owned()])
    );
}

#[test]
fn a_vendors_dependencies_can_be_overridden() {
    let debian = package("libffi8", "3", "");
    let vendors = package("v-core", "1", "Depends: libffi7");
    let with = |depends: &[(&str, &str)]| beside(&debian, &vendors, &["v-*"], &[], depends, &["v-core"]);
    assert_eq!(with(&[]), Err("`v-core=1` needs `libffi7`: no package answers that".to_owned()));
    assert_eq!(with(&[("v-core", "libffi8")]).map(|chosen| chosen.len()), Ok(2));
    assert_eq!(with(&[("v-core", "")]).map(|chosen| chosen.len()), Ok(1));
    assert_eq!(
        with(&[("v-cor", "libffi8")]),
        Err("archive `v` brings no package `v-cor` whose dependencies could be overridden".to_owned())
    );
    assert_eq!(with(&[("v-core", "a b")]), Err("the override of package `v-core` of archive `v`".to_owned()));
}
