//! Who is to be told of what: interests in triggers, as dpkg keeps them.
//!
//! An interest in a path is a line of `triggers/File`, in a name a line of `triggers/<name>`.
//! Source: deb-triggers(5); dpkg `lib/dpkg/triglib.c`.

use std::collections::BTreeMap;

/// What is wrong with a line of a `triggers` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TriggerFault {
    /// A word that is no directive.
    #[error("unknown directive `{0}`")]
    Directive(String),
    /// A name that no trigger can have.
    #[error("`{0}` cannot name a trigger")]
    Name(String),
}

/// The interests of all packages.
#[derive(Debug, Default)]
pub(super) struct Interests {
    by_file: BTreeMap<String, String>,
}

impl Interests {
    /// Takes in a package's `triggers` file. `package` is the name dpkg writes: with its architecture
    /// where the package is Multi-Arch: same. The error is of the line given, counted from one.
    pub(super) fn read(&mut self, package: &str, text: &[u8]) -> Result<(), (usize, TriggerFault)> {
        let text = String::from_utf8_lossy(text);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (directive, name) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let name = name.trim();
            // An activating package that need not wait does not hold up the interested one's answer.
            let suffix = match directive {
                "interest" | "interest-await" => Some(""),
                "interest-noawait" => Some("/noawait"),
                "activate" | "activate-await" | "activate-noawait" => None,
                other => return Err((number, TriggerFault::Directive(other.escape_debug().to_string()))),
            };
            if !is_trigger_name(name) {
                return Err((number, TriggerFault::Name(name.escape_debug().to_string())));
            }
            let Some(suffix) = suffix else { continue };
            let (file, line) = if name.starts_with('/') {
                ("File", format!("{name} {package}{suffix}\n"))
            } else {
                (name, format!("{package}{suffix}\n"))
            };
            self.by_file.entry(file.to_owned()).or_default().push_str(&line);
        }
        Ok(())
    }

    /// The files below `triggers`, `File` always among them.
    pub(super) fn into_files(mut self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.by_file.entry("File".to_owned()).or_default();
        self.by_file.into_iter().map(|(name, text)| (name, text.into_bytes()))
    }
}

/// A path without `.` and `..`, or a word that can be a file name beside dpkg's own.
fn is_trigger_name(name: &str) -> bool {
    if let Some(path) = name.strip_prefix('/') {
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        return path.bytes().all(|byte| byte.is_ascii_graphic()) && path.split('/').all(plain);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.:".contains(&byte);
    let reserved = ["File", "Lock", "Unincorp"].contains(&name);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain) && !reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(package: &str, text: &str) -> Vec<(String, String)> {
        let mut interests = Interests::default();
        interests.read(package, text.as_bytes()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        interests.into_files().map(|(name, bytes)| (name, text(bytes))).collect()
    }

    #[test]
    fn paths_go_to_file_and_names_to_files_of_their_own() {
        let written = files(
            "libc-bin",
            "# a comment\ninterest-noawait ldconfig\ninterest /usr/lib/x\nactivate-noawait other\n",
        );
        let expected = [("File", "/usr/lib/x libc-bin\n"), ("ldconfig", "libc-bin/noawait\n")];
        assert_eq!(written, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_name_that_would_leave_the_directory_is_refused() {
        for name in ["../status", "a/b", ".hidden", "File", "Lock", "", "/a/../b", "//x"] {
            let mut interests = Interests::default();
            let refused = interests.read("p", format!("interest {name}").as_bytes());
            assert_eq!(refused, Err((1, TriggerFault::Name(name.into()))));
        }
        let unknown = Interests::default().read("p", b"\ninterests x");
        assert_eq!(unknown, Err((2, TriggerFault::Directive("interests".into()))));
    }
}
