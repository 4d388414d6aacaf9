//! Where packages are that their own mirror has no longer: archives of all that ever was, or a store served
//! by HTTP. The user names them; like a mirror, they are not trusted.
//!
//! `{archive}` stands for the archive's name as Debian has it, `{date}` for the moment of the lock, such as
//! `20261121T203046Z`, `{path}` for the path in the archive, `{sha256}` for the digest. Where neither of the last
//! two is said, the path is put behind.

use goni_debian::release::iso;
use goni_model::lock::LockedPackage;
use reqwest::Url;

use super::{DEBIAN, DEBIAN_BACKPORTS, MirrorError, base_url, is_plain};

/// A pattern of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback(String);

impl Fallback {
    /// Checks a pattern.
    ///
    /// # Errors
    /// `BadUrl` if it makes no http, https or file URL, or has braces around another word.
    pub fn parse(text: &str) -> Result<Self, MirrorError> {
        let whole = text.contains("{path}") || text.contains("{sha256}");
        let pattern = match whole {
            true => text.to_owned(),
            false => format!("{}/{{path}}", text.trim_end_matches('/')),
        };
        let filled = fill(&pattern, DEBIAN, 0, "pool/x.deb", "00");
        if let Some(rest) = filled.find(['{', '}']).and_then(|at| filled.get(at..)) {
            let reason = format!("`{rest}` is none of {{archive}}, {{date}}, {{path}}, {{sha256}}");
            return Err(MirrorError::BadUrl { text: text.to_owned(), reason });
        }
        base_url(&filled)?;
        Ok(Self(pattern))
    }

    /// Where a package would be, `moment` being that of its lock, in seconds since 1970.
    pub(super) fn url(&self, package: &LockedPackage, moment: u64) -> Option<Url> {
        // Backports are suites of the main archive.
        let archive = if package.archive == DEBIAN_BACKPORTS { DEBIAN } else { &package.archive };
        let fits = is_plain(&package.path) && is_plain(archive);
        let text = fill(&self.0, archive, moment, &package.path, &package.sha256.to_string());
        Url::parse(&text).ok().filter(|_| fits)
    }
}

fn fill(pattern: &str, archive: &str, moment: u64, path: &str, sha256: &str) -> String {
    let date = i64::try_from(moment).map(iso).unwrap_or_default().replace(['-', ':'], "");
    let filled = pattern.replace("{archive}", archive).replace("{date}", &date);
    filled.replace("{path}", path).replace("{sha256}", sha256)
}

#[cfg(test)]
mod tests {
    use goni_model::digest::Sha256Digest;

    use super::*;

    fn package(archive: &str, path: &str) -> LockedPackage {
        LockedPackage {
            name: "bash".to_owned(),
            version: "5.2-1".to_owned(),
            arch: "amd64".to_owned(),
            archive: archive.to_owned(),
            path: path.to_owned(),
            size: 1,
            sha256: Sha256Digest::new([0xab; 32]),
        }
    }

    #[test]
    fn a_pattern_becomes_the_address_of_a_package() {
        let digest = "ab".repeat(32);
        for (pattern, archive, url) in [
            (
                "http://old.example.org/{archive}/{date}",
                "debian",
                "http://old.example.org/debian/20261121T203046Z/pool/main/b/bash.deb",
            ),
            (
                "http://old.example.org/{archive}/{date}/",
                "debian-backports",
                "http://old.example.org/debian/20261121T203046Z/pool/main/b/bash.deb",
            ),
            ("https://own.example.org/{sha256}", "debian", &format!("https://own.example.org/{digest}")),
            ("file:///old", "vendor", "file:///old/pool/main/b/bash.deb"),
        ] {
            let fallback = Fallback::parse(pattern).unwrap();
            let found = fallback.url(&package(archive, "pool/main/b/bash.deb"), 1_795_293_046).unwrap();
            assert_eq!(found.as_str(), url);
        }
        let fallback = Fallback::parse("http://old.example.org/").unwrap();
        assert_eq!(fallback.url(&package("debian", "../../etc/passwd"), 0), None);
    }

    #[test]
    fn a_pattern_that_makes_no_address_is_refused() {
        for (text, message) in [
            ("old.example.org", "`old.example.org/pool/x.deb` is not a mirror: relative URL without a base"),
            ("ftp://x/", "`ftp://x/pool/x.deb` is not a mirror: the scheme `ftp` is not one we fetch by"),
            (
                "http://x/{day}",
                "`http://x/{day}` is not a mirror: `{day}/pool/x.deb` is none of {archive}, {date}, {path}, {sha256}",
            ),
        ] {
            assert_eq!(Fallback::parse(text).unwrap_err().to_string(), message);
        }
    }
}
