//! What the changelogs of packages say between two versions, read from packages that are at hand.
//!
//! A Debian package brings its changelog as `usr/share/doc/NAME/changelog.Debian.gz`; one that is native to
//! Debian as `changelog.gz`. Some share the folder of another package, through a link: these say nothing here.
//! Source: Debian Policy §4.4 and §12.7.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use goni_debian::deb::{Deb, DebError, MemberKind};
use goni_debian::version::Version;
use goni_model::lock::diff::{ChangelogEntry, LockDiff};

use crate::host::files;
use crate::host::plant::open_package;
use crate::host::store::Store;
use crate::progress::Progress;

/// How much of a changelog is read: the newest entries come first.
const LARGEST: u64 = 4 << 20;

/// Most entries that are told of one package.
const MOST: usize = 100;

/// Adds to a difference what changelogs say, where the newer package is in the store.
pub fn add(diff: &mut LockDiff, store: &Store, progress: &dyn Progress) {
    for package in &mut diff.packages {
        let (Some(old), Some(new)) = (&package.old, &package.new) else { continue };
        // What cannot be read is not told: the versions are, in any case.
        let Ok(Some(path)) = store.lookup(&new.sha256, progress) else { continue };
        if let Some(text) = changelog(&path, &package.name) {
            package.changes = between(&text, &old.version, &new.version);
        }
    }
}

/// The beginning of a package's changelog.
fn changelog(path: &Path, name: &str) -> Option<String> {
    let deb = Deb::open(open_package(path).ok()?, files::size(path)?).ok()?;
    let cap = deb.data_cap();
    let folder = format!("usr/share/doc/{name}/");
    let names = ["changelog.Debian.gz", "changelog.gz"].map(|name| format!("{folder}{name}"));
    let mut found: [Option<String>; 2] = [None, None];
    deb.read_data::<DebError>(cap, 1, |member, bytes| {
        let at = names.iter().position(|name| name.as_bytes() == member.path.as_bytes());
        if let (Some(at), MemberKind::File { .. }) = (at, &member.kind) {
            let mut text = Vec::new();
            // A changelog that is no gzip is none.
            if MultiGzDecoder::new(bytes).take(LARGEST).read_to_end(&mut text).is_ok() {
                found[at] = Some(String::from_utf8_lossy(&text).into_owned());
            }
        }
        Ok(())
    })
    .ok()?;
    found.into_iter().flatten().next()
}

/// The entries above one version, up to another.
fn between(text: &str, old: &str, new: &str) -> Vec<ChangelogEntry> {
    let (Ok(old), Ok(new)) = (Version::parse(old), Version::parse(new)) else { return Vec::new() };
    let mut entries: Vec<ChangelogEntry> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        if let Some((version, urgency)) = head(line) {
            let Ok(parsed) = Version::parse(version) else { break };
            if parsed <= old || entries.len() == MOST {
                break;
            }
            within = parsed <= new;
            if within {
                let (version, urgency) = (version.to_owned(), urgency.to_owned());
                entries.push(ChangelogEntry { version, urgency, cves: Vec::new() });
            }
        } else if let Some(entry) = entries.last_mut().filter(|_| within) {
            entry.cves.extend(cves(line));
        }
    }
    for entry in &mut entries {
        entry.cves.sort();
        entry.cves.dedup();
    }
    entries
}

/// Version and urgency of the first line of an entry: `bash (5.2-1) unstable; urgency=medium`.
fn head(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" (")?;
    let (version, rest) = rest.split_once(')')?;
    let urgency = rest.split_once("urgency=")?.1.split([',', ' ']).next()?;
    (!name.is_empty() && !name.contains(' ')).then_some((version, urgency))
}

/// The vulnerabilities that a line names.
fn cves(line: &str) -> Vec<String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = line.split(|c| !inside(c));
    let number = |word: &str| {
        let (year, number) = word.strip_prefix("CVE-")?.split_once('-')?;
        let digits = |text: &str| text.len() >= 4 && text.bytes().all(|b| b.is_ascii_digit());
        (year.len() == 4 && digits(year) && digits(number)).then(|| word.to_owned())
    };
    words.filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
bash (5.2-4) unstable; urgency=high

  * Future.

 -- A <a@example.org>  Mon, 01 Jan 2026 00:00:00 +0000

bash (5.2-3) trixie-security; urgency=high, binary-only=yes

  * CVE-2026-12345: a fault (CVE-2026-1111, CVE-2026-12345; not CVE-26-1).

 -- A <a@example.org>  Mon, 01 Jan 2026 00:00:00 +0000

bash (5.2-2) unstable; urgency=medium

  * Typo.

bash (5.2-1) unstable; urgency=low

  * CVE-2020-0001
";

    #[test]
    fn the_entries_between_two_versions_are_told_with_their_vulnerabilities() {
        let entries = between(TEXT, "5.2-1", "5.2-3");
        let told: Vec<String> =
            entries.iter().map(|it| format!("{} {} {}", it.version, it.urgency, it.cves.join(" "))).collect();
        assert_eq!(told, ["5.2-3 high CVE-2026-1111 CVE-2026-12345", "5.2-2 medium "]);
        assert_eq!(between(TEXT, "5.2-4", "5.2-4"), []);
        assert_eq!(between("no changelog", "1", "2"), []);
    }
}
