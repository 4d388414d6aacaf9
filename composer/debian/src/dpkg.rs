//! The dpkg database of a tree whose packages are unpacked and not yet configured.
//!
//! Written so that `dpkg --configure -a` takes over as if dpkg had unpacked the packages itself:
//! every package is `install ok unpacked`, every conffile is `newconffile` (its file waits as
//! `*.dpkg-new`, see [`conffile_waiting_name`]), every trigger interest is registered. Activations are
//! not recorded: dpkg records none for a package that is not configured yet, whose postinst does
//! on `configure` all that its triggers would.
//!
//! Left out: `md5sums` for packages that ship none; whoever unpacks makes them, as dpkg does, and
//! gives them to the [`Control`].
//! Source: dpkg `lib/dpkg/dbdir.c`, `parse.c`, `triglib.c`, `src/main/unpack.c`, `configure.c`;
//! deb-triggers(5); `doc/spec/triggers.txt`.

mod triggers;

use std::collections::BTreeMap;

use crate::deb::{Control, ControlFault, MemberPath, Script};

pub use triggers::TriggerFault;

use triggers::Interests;

/// Where the database is.
const DIRECTORY: &str = "var/lib/dpkg";
/// Directories of it that packages need not ship.
const SUBDIRECTORIES: [&str; 5] = ["alternatives", "info", "parts", "triggers", "updates"];

/// A package as it lies in the tree.
#[derive(Debug, Clone, Copy)]
pub struct UnpackedPackage<'a> {
    /// What its control archive says.
    pub control: &'a Control,
    /// The paths it shipped and still owns, in the order of the archive, the root included.
    pub paths: &'a [MemberPath],
}

/// The database, as directories and files to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Database {
    /// Directories below the root, upper ones first.
    pub directories: Vec<String>,
    /// Files below the root.
    pub files: BTreeMap<String, DatabaseFile>,
}

/// A file of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFile {
    /// Permission bits.
    pub mode: u16,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Why no database can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// A package's `triggers` file is wrong.
    #[error("triggers of `{package}`, line {line}")]
    Triggers {
        /// The package.
        package: String,
        /// Counted from one.
        line: usize,
        /// What is wrong.
        #[source]
        source: TriggerFault,
    },
    /// A package's `conffiles` file is wrong.
    #[error("conffiles of `{package}`")]
    Conffiles {
        /// The package.
        package: String,
        /// What is wrong.
        #[source]
        source: ControlFault,
    },
}

impl Database {
    /// The database of these packages, in the order given.
    ///
    /// # Errors
    /// [`DatabaseError`] for control files that dpkg would stumble over.
    pub fn of(packages: &[UnpackedPackage<'_>]) -> Result<Self, DatabaseError> {
        let mut database = Self::default();
        database.directories.push(DIRECTORY.to_owned());
        database.directories.extend(SUBDIRECTORIES.map(|name| format!("{DIRECTORY}/{name}")));
        let mut interests = Interests::default();
        let mut status = Vec::new();
        for package in packages {
            let name = info_name(package.control);
            status.extend(stanza(package.control)?);
            database.add(&format!("info/{name}.list"), 0o644, list(package.paths));
            for (file, content) in package.control.files() {
                let is_script = Script::ALL.iter().any(|script| script.name() == file);
                let mode = if is_script { 0o755 } else { 0o644 };
                database.add(&format!("info/{name}.{file}"), mode, content.bytes.clone());
            }
            if let Some(file) = package.control.files().get("triggers") {
                interests.read(&name, &file.bytes).map_err(|(line, source)| DatabaseError::Triggers {
                    package: name.clone(),
                    line,
                    source,
                })?;
            }
        }
        database.add("status", 0o644, status);
        database.add("info/format", 0o644, b"1\n".to_vec());
        for empty in ["available", "diversions", "statoverride", "triggers/Unincorp"] {
            database.add(empty, 0o644, Vec::new());
        }
        for (name, bytes) in interests.into_files() {
            database.add(&format!("triggers/{name}"), 0o644, bytes);
        }
        Ok(database)
    }

    fn add(&mut self, name: &str, mode: u16, bytes: Vec<u8>) {
        self.files.insert(format!("{DIRECTORY}/{name}"), DatabaseFile { mode, bytes });
    }
}

/// Where dpkg expects a conffile between unpacking and configuring. Configuring renames it into place
/// and only then writes its digest into the status file: a conffile already in place would stay
/// `newconffile` there for good, and be taken for changed on the first upgrade.
#[must_use]
pub fn conffile_waiting_name(path: &[u8]) -> Vec<u8> {
    [path, b".dpkg-new"].concat()
}

/// How files in `info` are named after a package.
fn info_name(control: &Control) -> String {
    if control.is_multi_arch_same() {
        format!("{}:{}", control.package(), control.arch())
    } else {
        control.package().to_owned()
    }
}

fn stanza(control: &Control) -> Result<Vec<u8>, DatabaseError> {
    let conffiles = control
        .conffiles()
        .map_err(|source| DatabaseError::Conffiles { package: control.package().to_owned(), source })?;
    let mut text = format!("Package: {}\nStatus: install ok unpacked\n", control.package()).into_bytes();
    for field in control.fields() {
        let ours = ["Package", "Status", "Conffiles"];
        if !ours.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            let space = if field.value.is_empty() || field.value.starts_with('\n') { "" } else { " " };
            text.extend(format!("{}:{space}{}\n", field.name, field.value).into_bytes());
        }
    }
    if !conffiles.is_empty() {
        text.extend(b"Conffiles:\n");
        for path in conffiles {
            text.extend([b" /", path.as_bytes(), b" newconffile\n"].concat());
        }
    }
    text.push(b'\n');
    Ok(text)
}

fn list(paths: &[MemberPath]) -> Vec<u8> {
    let mut text = Vec::new();
    for path in paths {
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        text.extend([b"/", name, b"\n"].concat());
    }
    text
}

#[cfg(test)]
mod tests;
