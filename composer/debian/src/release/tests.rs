use super::*;

const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn text() -> String {
    format!(
        "Origin: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n\
         Acquire-By-Hash: yes\nComponents: main contrib\nArchitectures: amd64 arm64\nSHA256:\n \
         {HASH} 300 main/binary-amd64/Packages\n {HASH}   40 main/binary-amd64/Packages.xz\n"
    )
}

fn release(text: &str) -> Result<Release, ReleaseError> {
    Release::parse(&Verified::for_test(text))
}

#[test]
fn an_index_is_found_by_its_digest() {
    let release = release(&text()).unwrap();
    let index = release.packages_index("main", Arch::Amd64).unwrap();
    assert_eq!(index.path, format!("main/binary-amd64/by-hash/SHA256/{HASH}"));
    assert_eq!(
        (index.name.as_str(), index.file.size, index.unpacked),
        ("main/binary-amd64/Packages.xz", 40, Some(300))
    );
    assert_eq!(
        release.packages_index("main", Arch::Arm64).unwrap_err().to_string(),
        "the Release file of suite `trixie` lists no `main/binary-arm64/Packages`, compressed or not"
    );
    assert_eq!(release.components, ["main", "contrib"]);
}

#[test]
fn every_fault_is_named() {
    let line = format!(" {HASH} 300 main");
    for (from, to, message) in [
        ("SHA256:", "MD5Sum:", "the Release file has no `SHA256`".to_owned()),
        ("Date: S", "Dote: S", "the Release file has no `Date`".to_owned()),
        ("12 Sep", "32 Sep", "the Release file's `Date` is `Sat, 32 Sep 2026 07:55:41 UTC`: it is not a date such as `Sat, 12 Sep 2026 07:55:41 UTC`".to_owned()),
        ("300 main", "300 ../main", format!("the Release file's `SHA256` is `{HASH} 300 ../main/binary-amd64/Packages`: the path does not stay below the suite")),
        ("300 main", "300 /main", format!("the Release file's `SHA256` is `{HASH} 300 /main/binary-amd64/Packages`: the path does not stay below the suite")),
        ("300 main", "-3 main", format!("the Release file's `SHA256` is `{HASH} -3 main/binary-amd64/Packages`: the size is not a number")),
        ("SHA256:", &format!("SHA256:\n {HASH} 301 main/binary-amd64/Packages"), "the Release file lists `main/binary-amd64/Packages` twice with different contents".to_owned()),
        ("SHA256:", "\nSHA256:", "the Release file has no `SHA256`".to_owned()),
    ] {
        assert!(text().contains(&line));
        let broken = text().replacen(from, to, 1);
        let error = release(&broken).unwrap_err();
        let expected = if to == "\nSHA256:" { "the Release file has 2 stanzas, not one".to_owned() } else { message };
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn another_suite_in_the_place_of_this_is_refused() {
    let release = release(&text()).unwrap();
    assert_eq!(release.require_suite("trixie"), Ok(()));
    assert_eq!(release.require_suite("stable"), Ok(()));
    assert_eq!(
        release.require_suite("bookworm").unwrap_err().to_string(),
        "asked for suite `bookworm`, but the Release file is of suite `stable`, codename `trixie`"
    );
}

#[test]
fn dates_are_weighed_against_clock_lock_and_age() {
    let plain = release(&text()).unwrap();
    let date = plain.date.seconds;
    let mut ends = plain.clone();
    ends.valid_until = Some(Timestamp::from_seconds(date + 7 * 86_400));
    let day = 86_400;
    for (release, now, known, message) in [
        (&plain, date, None, ""),
        (&plain, date - 10, None, ""),
        (
            &plain,
            date - 11,
            None,
            "suite `trixie` is of 2026-09-12T07:55:41Z, but it is only 2026-09-12T07:55:30Z by this machine's clock",
        ),
        (&plain, date + 180 * day, None, ""),
        (
            &plain,
            date + 180 * day + 1,
            None,
            "suite `trixie` is of 2026-09-12T07:55:41Z, more than 180 days before 2027-03-11T07:55:42Z, the time by this machine's clock",
        ),
        (&plain, date, Some(date), ""),
        (
            &plain,
            date,
            Some(date + 1),
            "suite `trixie` is rolled back: its Release is of 2026-09-12T07:55:41Z, the lock knows one of 2026-09-12T07:55:42Z",
        ),
        (&ends, date + 7 * day, None, ""),
        (
            &ends,
            date + 7 * day + 1,
            None,
            "suite `trixie` of 2026-09-12T07:55:41Z was valid until 2026-09-19T07:55:41Z, and it is 2026-09-19T07:55:42Z by this machine's clock",
        ),
    ] {
        let mut policy = Freshness::at(Timestamp::from_seconds(now));
        policy.not_before = known.map(Timestamp::from_seconds);
        let found = release.check_freshness(&policy).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(found, message);
    }
}
