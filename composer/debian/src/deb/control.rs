//! The control archive: what a package says of itself, and its maintainer scripts.

mod stanza;

use std::collections::BTreeMap;
use std::io::Read;

pub use stanza::Field;

use super::Replaces;
use super::error::{ControlFault, DebError, shown};
use super::path::MemberPath;
use super::tar::{MemberKind, Members};

/// Whether a value may hold a byte.
type MayHold = fn(u8) -> bool;

/// Everything the control archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    fields: Vec<Field>,
    files: BTreeMap<String, ControlFile>,
}

/// A file of the control archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Permission bits.
    pub mode: u16,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The programs among the files. Source: deb-postinst(5) and its siblings, deb-control(5), debconf-devel(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    /// Before the files are there.
    Preinst,
    /// Once they are.
    Postinst,
    /// Before they go.
    Prerm,
    /// Once they are gone.
    Postrm,
    /// Asks debconf questions.
    Config,
}

impl Script {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Preinst, Self::Postinst, Self::Prerm, Self::Postrm, Self::Config];

    /// Its file name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preinst => "preinst",
            Self::Postinst => "postinst",
            Self::Prerm => "prerm",
            Self::Postrm => "postrm",
            Self::Config => "config",
        }
    }
}

impl Control {
    /// Reads a whole control archive.
    pub(super) fn read<R: Read>(mut members: Members<R>) -> Result<Self, DebError> {
        let mut files = BTreeMap::new();
        while let Some(member) = members.next()? {
            let not_plain = || ControlFault::File(member.path.to_string());
            match member.kind {
                MemberKind::Directory if member.path.is_root() => continue,
                MemberKind::File { .. } => {}
                _ => return Err(not_plain().into()),
            }
            let name = plain_name(member.path.as_bytes()).ok_or_else(not_plain)?;
            let mut bytes = Vec::new();
            members.read_to_end(&mut bytes).map_err(DebError::from_read)?;
            files.insert(name, ControlFile { mode: member.mode, bytes });
        }
        let control = files.remove("control").ok_or(ControlFault::Missing)?;
        let control = Self { fields: stanza::parse(&control.bytes)?, files };
        control.check()?;
        Ok(control)
    }

    fn check(&self) -> Result<(), ControlFault> {
        let plausible: [(_, MayHold); 3] = [
            ("Package", |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.')),
            ("Version", |byte| byte.is_ascii_alphanumeric() || b".+-:~".contains(&byte)),
            ("Architecture", |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')),
        ];
        for (field, may_hold) in plausible {
            let value = self.field(field).ok_or(ControlFault::NoField(field))?;
            let starts_well = value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
            if !starts_well || !value.bytes().all(may_hold) {
                return Err(ControlFault::Value { field, value: shown(value.as_bytes()) });
            }
        }
        Script::ALL.into_iter().try_for_each(|script| self.check_script(script))?;
        self.conffiles().map(drop)
    }

    fn check_script(&self, script: Script) -> Result<(), ControlFault> {
        let Some(file) = self.script(script) else { return Ok(()) };
        let first = file.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let interpreter = first.strip_prefix(b"#!").map(<[u8]>::trim_ascii);
        if !interpreter.is_some_and(|interpreter| interpreter.starts_with(b"/")) {
            return Err(ControlFault::NoInterpreter(script.name()));
        }
        if first.ends_with(b"\r") {
            return Err(ControlFault::CarriageReturn(script.name()));
        }
        if file.mode & 0o111 == 0 {
            return Err(ControlFault::NotExecutable(script.name()));
        }
        Ok(())
    }

    /// Checks that this is the package that was asked for.
    ///
    /// # Errors
    /// `Mismatch` for the first of the three that differs: a package of another name, version or
    /// architecture is served under this one's.
    pub fn check_identity(&self, package: &str, version: &str, arch: &str) -> Result<(), DebError> {
        let expectations = [("Package", package), ("Version", version), ("Architecture", arch)];
        for (field, expected) in expectations {
            let found = self.field(field).unwrap_or_default();
            if found != expected {
                return Err(DebError::Mismatch {
                    field,
                    expected: expected.to_owned(),
                    found: shown(found.as_bytes()),
                });
            }
        }
        Ok(())
    }

    /// Has the package depend on something else than it says. What it said stays, as `Original-Depends`,
    /// a field that dpkg keeps and takes no notice of.
    pub fn override_depends(&mut self, depends: &str) {
        let own = self.fields.iter_mut().find(|field| field.name.eq_ignore_ascii_case("Depends"));
        if let Some(field) = own {
            "Original-Depends".clone_into(&mut field.name);
        }
        if !depends.is_empty() {
            self.fields.push(Field { name: "Depends".to_owned(), value: depends.to_owned() });
        }
    }

    /// Whether the package ships no list of MD5 sums, so that whoever unpacks it must make one.
    #[must_use]
    pub fn lacks_md5sums(&self) -> bool {
        !self.files.contains_key("md5sums")
    }

    /// Gives the package the list that it does not ship, as dpkg does while it unpacks: without conffiles.
    pub fn set_md5sums(&mut self, sums: &[(MemberPath, String)]) {
        let conffiles = self.conffiles().unwrap_or_default();
        let mut bytes = Vec::new();
        for (path, sum) in sums.iter().filter(|(path, _)| !conffiles.contains(path)) {
            bytes.extend([sum.as_bytes(), b"  ", path.as_bytes(), b"\n"].concat());
        }
        self.files.insert("md5sums".to_owned(), ControlFile { mode: 0o644, bytes });
    }

    /// The fields in the order of the file.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of a field, whatever the case of its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| &*field.value)
    }

    /// The package's name.
    #[must_use]
    pub fn package(&self) -> &str {
        self.field("Package").unwrap_or_default()
    }

    /// The package's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.field("Version").unwrap_or_default()
    }

    /// The package's architecture.
    #[must_use]
    pub fn arch(&self) -> &str {
        self.field("Architecture").unwrap_or_default()
    }

    /// Whether packages of this name for several architectures can be installed side by side; dpkg
    /// then tells them apart by `name:arch`.
    #[must_use]
    pub fn is_multi_arch_same(&self) -> bool {
        self.field("Multi-Arch") == Some("same")
    }

    /// What the package declares to occupy, in bytes; zero where it declares nothing sensible.
    #[must_use]
    pub fn installed_size(&self) -> u64 {
        let kibibytes = self.field("Installed-Size").and_then(|size| size.parse::<u64>().ok());
        kibibytes.unwrap_or_default().saturating_mul(1024)
    }

    /// The packages some of whose files this one may take over.
    #[must_use]
    pub fn replaces(&self) -> Replaces<'_> {
        Replaces::parse(self.field("Replaces").unwrap_or_default())
    }

    /// Every file but `control`, by name: scripts, `conffiles`, `md5sums`, `triggers`, `shlibs` and so on.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<String, ControlFile> {
        &self.files
    }

    /// A maintainer script.
    #[must_use]
    pub fn script(&self, script: Script) -> Option<&ControlFile> {
        self.files.get(script.name())
    }

    /// The configuration files that the package ships; those it only wants removed on upgrade are
    /// left out. Source: deb-conffiles(5).
    ///
    /// # Errors
    /// `Conffile` for a line that is no absolute path.
    pub fn conffiles(&self) -> Result<Vec<MemberPath>, ControlFault> {
        let text = self.files.get("conffiles").map_or(&b""[..], |file| &file.bytes);
        let mut paths = Vec::new();
        for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let text = text.trim_ascii_end();
            if text.is_empty() || text.starts_with(b"remove-on-upgrade ") {
                continue;
            }
            let path = text.strip_prefix(b"/").and_then(|path| MemberPath::parse(path).ok());
            let path = path.filter(|path| !path.is_root());
            paths.push(path.ok_or_else(|| ControlFault::Conffile { line, text: shown(text) })?);
        }
        Ok(paths)
    }
}

/// A name that can follow `package.` in the dpkg database.
fn plain_name(path: &[u8]) -> Option<String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(byte);
    let is_plain = !path.starts_with(b".") && path.iter().all(plain) && !path.is_empty();
    std::str::from_utf8(path).ok().filter(|_| is_plain).map(str::to_owned)
}
