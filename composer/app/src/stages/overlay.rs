//! Overlays and payloads are laid over the configured tree.
//!
//! Modes and owners come from `overlay.toml` alone, never from the checkout, so that a umask or a
//! builder's user cannot reach an image. Paths are followed through the tree's own links first:
//! what is laid at /bin/x lands in /usr/bin/x.

mod accounts;
mod units;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::sync::Arc;

use goni_disk::tree::{
    Content, ContentSource, Deed, FileTree, Hand, Inode, InvalidPath, Kind, Metadata, Owner, TreeError,
    TreePath,
};
use goni_model::name::{ImagePath, Mode};
use goni_model::overlay::Overlay;
use goni_model::time::Timestamp;

use crate::failure::{Class, Classify};

pub use accounts::AccountError;

use accounts::Files;

/// An overlay with the content of its tree.
#[derive(Debug, Clone)]
pub struct LoadedOverlay {
    /// What it declares.
    pub overlay: Overlay,
    /// Its files, directories and links; everything else about them comes from the declaration.
    pub entries: Vec<(TreePath, Kind)>,
}

/// A program to lay into the tree.
#[derive(Debug, Clone)]
pub struct LoadedPayload {
    /// Its name.
    pub name: String,
    /// Its place.
    pub path: ImagePath,
    /// Its bytes.
    pub content: Content,
}

/// Why an overlay cannot be laid.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A declaration for a path that the overlay does not have.
    #[error("overlay `{overlay}` declares `{path}`, which its tree does not have")]
    NoPath {
        /// The overlay.
        overlay: Arc<str>,
        /// The path.
        path: String,
    },
    /// A file where the tree has a directory, or the other way round.
    #[error("overlay `{overlay}` cannot lay `{path}`: the tree has something of another kind there")]
    OtherKind {
        /// The overlay.
        overlay: Arc<str>,
        /// The path.
        path: TreePath,
    },
    /// A unit that is not in the tree.
    #[error("overlay `{overlay}` enables `{unit}`, which is not in the tree")]
    NoUnit {
        /// The overlay.
        overlay: Arc<str>,
        /// The unit.
        unit: String,
    },
    /// A unit that cannot be enabled.
    #[error("overlay `{overlay}` enables `{unit}`, which has no [Install] section")]
    NoInstall {
        /// The overlay.
        overlay: Arc<str>,
        /// The unit.
        unit: String,
    },
    /// Users and groups that do not fit the tree.
    #[error("overlay `{overlay}`")]
    Account {
        /// The overlay.
        overlay: Arc<str>,
        /// What is wrong.
        #[source]
        error: AccountError,
    },
    /// A file of the tree could not be read.
    #[error("reading `{path}`")]
    Read {
        /// The file.
        path: TreePath,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A path the tree cannot take.
    #[error("laying a file")]
    Tree(#[from] TreeError),
    /// A name that makes no path.
    #[error("laying a file")]
    Path(#[from] InvalidPath),
}

impl Classify for OverlayError {
    fn class(&self) -> Class {
        match self {
            Self::NoPath { .. } | Self::NoUnit { .. } | Self::NoInstall { .. } => Class::Recipe,
            Self::Read { .. } => Class::Environment,
            _ => Class::Content,
        }
    }
}

/// Lays overlays in order, then payloads, then applies presets.
///
/// # Errors
/// [`OverlayError`]; the tree is then half laid and of no use.
pub fn lay(
    tree: &mut FileTree,
    content: &dyn ContentSource,
    overlays: &[LoadedOverlay],
    payloads: &[LoadedPayload],
    date: Timestamp,
) -> Result<(), OverlayError> {
    for loaded in overlays {
        let name: Arc<str> = loaded.overlay.name.as_str().into();
        let mut laying = Laying { tree, content, overlay: name.clone(), owner: Owner::Overlay(name), date };
        laying.files(loaded)?;
        laying.accounts(loaded)?;
        laying.declared(&loaded.overlay)?;
    }
    for payload in payloads {
        let name: Arc<str> = payload.name.as_str().into();
        let owner = Owner::Payload(name.clone());
        let mut laying = Laying { tree, content, overlay: name, owner, date };
        laying.put(&path(payload.path.as_str()), Kind::File(payload.content.clone()), 0o755)?;
    }
    for loaded in overlays {
        let name: Arc<str> = loaded.overlay.name.as_str().into();
        let mut laying = Laying { tree, content, overlay: name.clone(), owner: Owner::Overlay(name), date };
        laying.presets(&loaded.overlay)?;
    }
    Ok(())
}

/// A path of this program's own making, or checked by the model.
fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("checked paths are canonical")
}

/// One overlay being laid.
struct Laying<'a> {
    tree: &'a mut FileTree,
    content: &'a dyn ContentSource,
    overlay: Arc<str>,
    owner: Owner,
    date: Timestamp,
}

impl Laying<'_> {
    fn files(&mut self, loaded: &LoadedOverlay) -> Result<(), OverlayError> {
        for (path, kind) in &loaded.entries {
            let mode = match kind {
                Kind::Directory => Mode::DIRECTORY.bits(),
                Kind::Symlink(_) => 0o777,
                _ => Mode::FILE.bits(),
            };
            self.put(path, kind.clone(), mode)?;
        }
        Ok(())
    }

    /// Users and groups, before anything can belong to them.
    fn accounts(&mut self, loaded: &LoadedOverlay) -> Result<(), OverlayError> {
        let directory = path("usr/lib/sysusers.d");
        let failed = |error| OverlayError::Account { overlay: self.overlay.clone(), error };
        let mut files = self.account_files()?;
        let before = files.clone();
        for (path, _) in loaded.entries.iter().filter(|(path, _)| path.parent().as_ref() == Some(&directory))
        {
            let text = self.read_text(path)?;
            for account in accounts::parse(path, &text).map_err(failed)? {
                files.add(&account, self.date.seconds.div_euclid(86_400)).map_err(failed)?;
            }
        }
        for (path, was, text) in [
            ("etc/passwd", &before.passwd, &files.passwd),
            ("etc/group", &before.group, &files.group),
            ("etc/shadow", &before.shadow, &files.shadow),
            ("etc/gshadow", &before.gshadow, &files.gshadow),
        ] {
            // The file stays its package's or stage's: only its text grows.
            let path = self::path(path);
            if was != text
                && let Some(inode) = self.tree.get_mut(&path)
            {
                inode.kind = Kind::File(Content::inline(text.as_bytes()));
                self.tree
                    .note(&path, Hand::because(self.owner.clone(), Deed::Changed, "its users and groups"));
            }
        }
        Ok(())
    }

    fn account_files(&self) -> Result<Files, OverlayError> {
        Ok(Files {
            passwd: self.read_text(&path("etc/passwd"))?,
            group: self.read_text(&path("etc/group"))?,
            shadow: self.read_text(&path("etc/shadow"))?,
            gshadow: self.read_text(&path("etc/gshadow"))?,
        })
    }

    /// What `overlay.toml` makes or changes.
    fn declared(&mut self, overlay: &Overlay) -> Result<(), OverlayError> {
        let files = self.account_files()?;
        let failed = |error| OverlayError::Account { overlay: self.overlay.clone(), error };
        let ids = |owner: &str, group: &str| Ok((files.uid(owner)?, files.gid(group)?));
        let mut owned = Vec::new();
        for rule in &overlay.paths {
            owned.push((
                &rule.path,
                rule.mode,
                ids(rule.owner.as_str(), rule.group.as_str()).map_err(failed)?,
            ));
        }
        for directory in &overlay.directories {
            let ids = ids(directory.owner.as_str(), directory.group.as_str()).map_err(failed)?;
            owned.push((&directory.path, Some(directory.mode), ids));
        }
        for directory in &overlay.directories {
            self.put(&path(directory.path.as_str()), Kind::Directory, directory.mode.bits())?;
        }
        for link in &overlay.links {
            self.link(&path(link.path.as_str()), &link.target)?;
        }
        for (path, mode, (uid, gid)) in owned {
            let place = self.place(&self::path(path.as_str()))?;
            let owner = self.tree.entry(&place).map(|entry| entry.owner.clone());
            let inode = self.tree.get_mut(&place).ok_or_else(|| OverlayError::NoPath {
                overlay: self.overlay.clone(),
                path: path.as_str().to_owned(),
            })?;
            let before = (inode.metadata.uid, inode.metadata.gid, inode.metadata.mode);
            inode.metadata.uid = uid;
            inode.metadata.gid = gid;
            if let Some(mode) = mode {
                inode.metadata.mode = mode.bits();
            }
            let changed = before != (uid, gid, inode.metadata.mode);
            if changed && owner.is_some_and(|owner| owner != self.owner) {
                self.tree.note(&place, Hand::because(self.owner.clone(), Deed::Changed, "its owner or mode"));
            }
        }
        Ok(())
    }

    /// Units, once every overlay and payload is there; and the preset that says the same on the device.
    fn presets(&mut self, overlay: &Overlay) -> Result<(), OverlayError> {
        let units = &overlay.units;
        for unit in &units.disable {
            units::disable(self, unit.as_str())?;
        }
        for unit in &units.enable {
            units::enable(self, unit.as_str())?;
        }
        for unit in &units.mask {
            units::mask(self, unit.as_str())?;
        }
        let enabled = units.enable.iter().map(|unit| format!("enable {}\n", unit.as_str()));
        let disabled = units.disable.iter().map(|unit| format!("disable {}\n", unit.as_str()));
        let preset: String = enabled.chain(disabled).collect();
        if preset.is_empty() {
            return Ok(());
        }
        let file = path(&format!("usr/lib/systemd/system-preset/10-{}.preset", overlay.name.as_str()));
        self.put(&file, Kind::File(Content::inline(preset.into_bytes())), Mode::FILE.bits())
    }

    /// Where a path leads through the tree's links, its last component apart.
    fn place(&self, path: &TreePath) -> Result<TreePath, OverlayError> {
        let Some(parent) = path.parent() else { return Ok(TreePath::ROOT) };
        let parent = match self.tree.resolve(&parent) {
            Some(real) => real,
            None => self.place(&parent)?,
        };
        Ok(parent.join(path.name())?)
    }

    /// Puts something at a path, with the directories above it.
    fn put(&mut self, path: &TreePath, kind: Kind, mode: u16) -> Result<(), OverlayError> {
        let place = self.place(path)?;
        if place.is_root() {
            return Ok(());
        }
        let is_directory = matches!(kind, Kind::Directory);
        let real = self.tree.resolve(&place).unwrap_or_else(|| place.clone());
        match self.tree.get(&real).map(|inode| matches!(inode.kind, Kind::Directory)) {
            // A directory that is there, or a link to one, stays as it is.
            Some(true) if is_directory => return Ok(()),
            Some(there) if there != is_directory => {
                return Err(OverlayError::OtherKind { overlay: self.overlay.clone(), path: place });
            }
            _ => {}
        }
        if let Some(parent) = place.parent() {
            self.put(&parent, Kind::Directory, Mode::DIRECTORY.bits())?;
        }
        let metadata = Metadata { mode, uid: 0, gid: 0, mtime: self.date, xattrs: BTreeMap::new() };
        self.tree.insert(place, Inode { metadata, kind }, self.owner.clone())?;
        Ok(())
    }

    fn link(&mut self, path: &TreePath, target: &str) -> Result<(), OverlayError> {
        self.put(path, Kind::Symlink(target.as_bytes().to_vec()), 0o777)
    }

    fn read_text(&self, path: &TreePath) -> Result<String, OverlayError> {
        let failed = |error| OverlayError::Read { path: path.clone(), error };
        let real = self.tree.resolve(path).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let Some(Kind::File(content)) = self.tree.get(&real).map(|inode| &inode.kind) else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        let mut text = String::new();
        content.open(self.content).and_then(|mut reader| reader.read_to_string(&mut text)).map_err(failed)?;
        Ok(text)
    }
}
