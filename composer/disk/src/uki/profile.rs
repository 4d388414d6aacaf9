//! Profiles: ways to boot one image, each with sections of its own over those that all share.
//!
//! Source: UAPI.5 Unified Kernel Image, “Multi-Profile UKIs”; systemd-stub(7). Which of them is the
//! default is their order: systemd-boot lists them by number, and the stub takes the first where it
//! is not told (`@N` at the beginning of its arguments) which.

use goni_model::number::to_u64;
use goni_model::size::ByteCount;

use super::{NewSection, Section, UkiError};

/// The section that begins a profile.
pub(super) const SECTION: &str = ".profile";

/// What a name and a title may be.
const NAME: &str = "name of a profile: letters, digits, `.`, `_` and `-`";
const TITLE: &str = "title of a profile: one line without quotes, `\\` and `$`";

/// A profile to append.
#[derive(Debug)]
pub struct NewProfile<'a> {
    /// What it is called.
    pub label: Label,
    /// What stands in for the sections that all share.
    pub sections: Vec<NewSection<'a>>,
}

/// What a profile is called: the content of its `.profile`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name; in the boot loader's, behind the image's and an `@`.
    pub id: String,
    /// What the menu shows behind the system's name, if anything.
    pub title: Option<String>,
}

impl Label {
    /// As lines of an os-release file, which is the section's format.
    fn encode(&self) -> Result<Vec<u8>, UkiError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            return Err(UkiError::Label { what: NAME, text: self.id.clone() });
        }
        let mut text = format!("ID={}\n", self.id);
        if let Some(title) = &self.title {
            let odd = |letter: char| letter.is_control() || "\"\\$`".contains(letter);
            if title.is_empty() || title.contains(odd) {
                return Err(UkiError::Label { what: TITLE, text: title.clone() });
            }
            text.push_str(&format!("TITLE=\"{title}\"\n"));
        }
        Ok(text.into_bytes())
    }

    /// Reads a `.profile`. A profile need not have a name: the boot loader then goes by its number.
    #[must_use]
    pub fn parse(section: &str) -> Self {
        let value = |key: &str| {
            let line = section.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
            let bare = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
            Some(bare.unwrap_or(line).to_owned())
        };
        Self { id: value("ID").unwrap_or_default(), title: value("TITLE") }
    }
}

/// A profile of an image.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'a> {
    /// The sections that all share.
    pub(super) base: &'a [Section],
    /// Its own, `.profile` first.
    pub(super) own: &'a [Section],
}

impl<'a> Profile<'a> {
    /// Its own sections, `.profile` first.
    #[must_use]
    pub const fn own(&self) -> &'a [Section] {
        self.own
    }

    /// The section of a name that counts: its own, or that which all share.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&'a Section> {
        self.own.iter().chain(self.base).find(|section| section.name == name)
    }
}

/// Every section in the order of the file, each profile's behind its `.profile`.
pub(super) fn in_order<'a>(
    base: Vec<NewSection<'a>>,
    profiles: Vec<NewProfile<'a>>,
) -> Result<Vec<NewSection<'a>>, UkiError> {
    let mut names: Vec<String> = Vec::new();
    let mut all = base;
    let stray = |sections: &[NewSection<'_>]| sections.iter().any(|section| section.name == SECTION);
    if stray(&all) || profiles.iter().any(|profile| stray(&profile.sections)) {
        return Err(UkiError::Duplicate { name: SECTION.to_owned() });
    }
    for NewProfile { label, sections } in profiles {
        let text = label.encode()?;
        if names.contains(&label.id) {
            return Err(UkiError::TwoProfiles { id: label.id });
        }
        names.push(label.id);
        let size = ByteCount::new(to_u64(text.len()));
        all.push(NewSection::stream(SECTION, size, std::io::Cursor::new(text)));
        all.extend(sections);
    }
    Ok(all)
}
