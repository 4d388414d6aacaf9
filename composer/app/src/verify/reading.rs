//! What an image is made of, read out of its parts: an [`Inspection`], and for comparisons every entry.
//!
//! It judges nothing: what is wrong with an image, the checks say. But an image whose partition table or
//! root cannot be read is none that there is something to be said of.

mod boot;
mod entries;
mod packages;
mod partitions;
mod same;
#[cfg(test)]
mod tests;
mod units;

use goni_disk::gpt::Table;

use crate::diff::Side;
use crate::failure::{Class, Classify};
use crate::host::image::{Image, ImageError};
use crate::inspection::{Group, Inspection, Privileged, SCHEMA, User};

use super::board::board;
use super::evidence::{Accounts, Evidence, NodeKind, Reading, Root};
use super::objection::Objection;
pub use same::same_bytes;

/// What lends a program the rights of root, but for a set-id bit.
const CAPABILITY: &[u8] = b"security.capability";

/// Why an image was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// It cannot be read at all.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is none of ours, or a damaged one.
    #[error("`{path}` is no image that this program makes, or a damaged one: {part}: {reason}")]
    Foreign {
        /// The file.
        path: String,
        /// What cannot be read.
        part: &'static str,
        /// Why.
        reason: String,
    },
}

impl Classify for ReadingError {
    fn class(&self) -> Class {
        match self {
            Self::Image(error) => error.class(),
            Self::Foreign { .. } => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Foreign { .. } => None,
        }
    }
}

/// Reads what an image is made of.
///
/// # Errors
/// It cannot be read, or is none of ours.
pub fn inspect(image: &Image) -> Result<Inspection, ReadingError> {
    Opened::open(image)?.inspection()
}

/// Whether an image is one that there is something to be said of.
///
/// # Errors
/// It cannot be read, or is none of ours.
pub fn check(image: &Image) -> Result<(), ReadingError> {
    Opened::open(image).map(|_| ())
}

/// Reads two images and every entry of theirs; the content of files is digested where it may differ.
///
/// # Errors
/// One cannot be read, or is none of ours.
pub fn sides(before: &Image, after: &Image) -> Result<[Side; 2], ReadingError> {
    let (one, two) = rayon::join(|| Opened::open(before), || Opened::open(after));
    let (one, two) = (one?, two?);
    let (first, second) = rayon::join(|| one.side(), || two.side());
    let (mut first, mut second) = (first?, second?);
    let same = same::partitions(&one.evidence, &two.evidence)
        .map_err(|source| ImageError::Io { path: before.path().display().to_string(), source })?;
    entries::digest([&one, &two], [&mut first, &mut second], &same)?;
    first.same.clone_from(&same);
    second.same = same;
    Ok([first, second])
}

/// An image whose table and root can be read.
struct Opened<'a> {
    evidence: Evidence<'a>,
}

impl<'a> Opened<'a> {
    fn open(image: &'a Image) -> Result<Self, ReadingError> {
        // The builder's name is for checks alone.
        let evidence = Evidence::gather(image, "")?;
        let opened = Self { evidence };
        opened.table()?;
        opened.root()?;
        Ok(opened)
    }

    fn foreign(&self, part: &'static str, reason: impl ToString) -> ReadingError {
        let path = self.evidence.image.path().display().to_string();
        ReadingError::Foreign { path, part, reason: reason.to_string() }
    }

    fn objection(&self, part: &'static str, objection: &Objection) -> ReadingError {
        match objection {
            Objection::Differs { expected, observed } => {
                self.foreign(part, format_args!("not {expected}: {observed}"))
            }
            Objection::Unseen { reason } => self.foreign(part, reason),
        }
    }

    /// A part that has to be there.
    fn part<'t, T>(&self, part: &'static str, reading: &'t Reading<T>) -> Result<&'t T, ReadingError> {
        match reading {
            Reading::Read(value) => Ok(value),
            Reading::Unreadable(reason) | Reading::Absent(reason) => Err(self.foreign(part, reason)),
        }
    }

    fn table(&self) -> Result<&Table, ReadingError> {
        self.part("the partition table", &self.evidence.table)
    }

    fn root(&self) -> Result<&Root<'a>, ReadingError> {
        self.part("the root", &self.evidence.root)
    }

    fn inspection(&self) -> Result<Inspection, ReadingError> {
        self.read().map(|(inspection, _)| inspection)
    }

    fn side(&self) -> Result<Side, ReadingError> {
        let (inspection, owners) = self.read()?;
        let entries = entries::read(self.root()?, &owners).map_err(|it| self.objection("the root", &it))?;
        Ok(Side { inspection, entries, ..Side::default() })
    }

    /// The value, and the package of each path that one lists.
    fn read(&self) -> Result<(Inspection, packages::Owners), ReadingError> {
        let (table, root, evidence) = (self.table()?, self.root()?, &self.evidence);
        let found = packages::read(root).map_err(|it| self.objection("the packages", &it))?;
        let units = units::read(root).map_err(|it| self.objection("the units", &it))?;
        let (users, groups) = accounts(root).map_err(|it| self.objection("the accounts", &it))?;
        let inspection = Inspection {
            schema: SCHEMA,
            format: evidence.image.format(),
            arch: evidence.arch,
            target: board(root).ok().flatten().map(|board| board.target),
            system: system(root),
            disk_size: evidence.size.get(),
            sector_size: table.sector_size.get(),
            disk_guid: table.disk_guid,
            partitions: partitions::read(evidence, table),
            boot: boot::read(evidence).map_err(|reason| self.foreign("what boots", reason))?,
            tree: found.tree,
            packages: found.packages,
            units,
            users,
            groups,
            privileged: privileged(root).map_err(|it| self.objection("the root", &it))?,
            licences: found.licences,
        };
        Ok((inspection, found.owners))
    }
}

/// What the system calls itself. Source: os-release(5).
fn system(root: &Root<'_>) -> Option<String> {
    let (path, node) =
        ["etc/os-release", "usr/lib/os-release"].into_iter().find_map(|place| root.resolve(place))?;
    let text = root.content(&path, node).ok().filter(|_| node.kind() == NodeKind::File)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    let pretty = value("PRETTY_NAME");
    match (value("IMAGE_ID"), value("IMAGE_VERSION")) {
        (Some(id), Some(version)) => {
            Some(format!("{id} {version}{}", pretty.map_or_else(String::new, |name| format!(" ({name})"))))
        }
        _ => pretty,
    }
}

fn accounts(root: &Root<'_>) -> Result<(Vec<User>, Vec<Group>), Objection> {
    let accounts = Accounts::read(root)?;
    let mut users: Vec<User> = accounts
        .users
        .into_iter()
        .map(|user| User {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            home: user.home,
            shell: user.shell,
        })
        .collect();
    users.sort_by(|one, other| one.name.cmp(&other.name));
    let groups = accounts.groups.into_iter().map(|(name, (gid, members))| Group { name, gid, members });
    Ok((users, groups.collect()))
}

fn privileged(root: &Root<'_>) -> Result<Vec<Privileged>, Objection> {
    let mut found = Vec::new();
    for (path, node) in root.nodes().filter(|(_, node)| node.kind() == NodeKind::File) {
        let capabilities = root.xattrs(node)?.contains_key(CAPABILITY);
        if capabilities || node.mode() & 0o6000 != 0 {
            found.push(Privileged {
                path: path.to_string(),
                mode: node.mode(),
                uid: node.uid(),
                gid: node.gid(),
                capabilities,
            });
        }
    }
    Ok(found)
}
