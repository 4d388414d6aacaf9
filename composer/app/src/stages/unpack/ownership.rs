//! The second pass: who owns which path. Pure.
//!
//! Paths are made canonical first: what a package ships below `/bin`, `/sbin` or `/lib*` is below
//! `/usr` on a merged system, and two packages that ship one file under both names conflict although
//! dpkg does not see it. Directories are shared. Any other path has one owner: the only package that
//! claims it, or the one that declares to replace all others. A directory and something else under one
//! path are refused either way round, where dpkg's answer would depend on the order of unpacking.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use goni_debian::deb::{Member, MemberKind, MemberPath, Replaces};
use goni_disk::tree::{Content, Deed, FileTree, Hand, Inode, Kind, Metadata, Owner, TreeError, TreePath};
use goni_model::time::Timestamp;

use super::intake::{Intake, Stored};

/// Directories at the top that are symbolic links into `usr`. Source: Debian Policy §10.1; base-files.
const ALIASES: [&[u8]; 6] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"];
/// Whose word counts for a directory that several packages ship: it ships the skeleton of the system.
const SKELETON: &str = "base-files";

/// Why packages do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnershipError {
    /// Two packages ship one path, and neither may take it from the other.
    #[error("packages `{first}` and `{second}` both ship `{path}`")]
    Conflict {
        /// The path, as it is on the merged system.
        path: TreePath,
        /// `name=version` of the one.
        first: String,
        /// `name=version` of the other.
        second: String,
    },
    /// One package ships a directory where another ships something else.
    #[error("package `{directory}` ships `{path}` as a directory, package `{other}` does not")]
    KindConflict {
        /// The path.
        path: TreePath,
        /// `name=version` of the one with the directory.
        directory: String,
        /// `name=version` of the other.
        other: String,
    },
    /// A package ships one path twice, under two aliases of its directory.
    #[error("package `{package}` ships `{path}` under two names")]
    Twice {
        /// The path.
        path: TreePath,
        /// `name=version`.
        package: String,
    },
    /// A path leads through something that is no directory.
    #[error("package `{package}` ships `{path}` below `{above}`, a {kind} of {owner}")]
    Through {
        /// The path.
        path: TreePath,
        /// `name=version` of the package that ships it.
        package: String,
        /// What is no directory.
        above: TreePath,
        /// What it is.
        kind: &'static str,
        /// Whose it is.
        owner: Owner,
    },
    /// One of the links that merge `/usr` is something else.
    #[error("package `{package}` ships `{path}` as something other than a link to `usr{path}`")]
    Alias {
        /// The link.
        path: TreePath,
        /// `name=version`.
        package: String,
    },
    /// A hard link to a file that another package took over.
    #[error(
        "package `{package}` ships `{path}` as a hard link to `{target}`, which another package replaces"
    )]
    HardLink {
        /// The link.
        path: TreePath,
        /// The file.
        target: MemberPath,
        /// `name=version`.
        package: String,
    },
    /// A conffile that is not there or no regular file.
    #[error("package `{package}` declares conffile `{path}`, which is no regular file of it")]
    Conffile {
        /// The conffile.
        path: MemberPath,
        /// `name=version`.
        package: String,
    },
    /// A package ships a file of dpkg's database.
    #[error("`{path}` of {owner} is where the dpkg database goes")]
    Database {
        /// The file.
        path: TreePath,
        /// Whose it is.
        owner: Owner,
    },
    /// A path is too long once it is below `/usr`.
    #[error("path `{0}` cannot be")]
    Path(String),
    /// The tree cannot take an entry.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A file that changes the user or group of who runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetId {
    /// Where it is.
    pub path: TreePath,
    /// Its mode.
    pub mode: u16,
    /// Its owning user.
    pub uid: u32,
    /// Its owning group.
    pub gid: u32,
    /// Whose it is.
    pub owner: Owner,
}

/// What was decided.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) tree: FileTree,
    /// What each package still owns, as it names it, in the order of its archive.
    pub(super) kept: Vec<Vec<MemberPath>>,
    pub(super) conffiles: BTreeSet<TreePath>,
    pub(super) set_id: Vec<SetId>,
}

/// Decides who owns what.
pub(super) fn decide(intakes: &[Intake]) -> Result<Decided, OwnershipError> {
    let packages: Vec<Package<'_>> = intakes.iter().map(Package::of).collect();
    let mut claims: BTreeMap<TreePath, Vec<Claim<'_>>> = BTreeMap::new();
    for (number, package) in packages.iter().enumerate() {
        for stored in &package.intake.members {
            let path = canonical(&stored.member, package)?;
            claims.entry(path).or_default().push(Claim { number, package, stored });
        }
    }
    let mut lost: BTreeSet<(usize, &MemberPath)> = BTreeSet::new();
    let mut tree = FileTree::new(directory_metadata(0), Owner::Stage(super::STAGE.into()));
    let mut hard_links = Vec::new();
    for (path, claims) in &claims {
        let winner = winner(path, claims)?;
        if !winner.is_directory() {
            let losers = claims.iter().filter(|claim| claim.number != winner.number);
            lost.extend(losers.map(|claim| (claim.number, &claim.stored.member.path)));
        }
        let Some(kind) = kind_of(winner.stored) else {
            hard_links.push((path, winner));
            continue;
        };
        add_parents(&mut tree, path, winner)?;
        let inode = Inode { metadata: metadata_of(&winner.stored.member), kind };
        tree.insert(path.clone(), inode, winner.package.owner.clone())?;
        if !winner.is_directory() && claims.len() > 1 {
            tree.set_hands(path.clone(), hands(claims, winner));
        }
    }
    for (path, claim) in hard_links {
        add_parents(&mut tree, path, claim)?;
        link(&mut tree, path, claim, &lost)?;
    }
    add_missing_aliases(&mut tree)?;
    let kept = kept(&packages, &lost);
    let conffiles = conffiles(&packages, &tree, &lost)?;
    let set_id = set_id(&tree);
    Ok(Decided { tree, kept, conffiles, set_id })
}

/// A package, and what is asked of it often.
struct Package<'a> {
    intake: &'a Intake,
    owner: Owner,
    replaces: Replaces<'a>,
}

impl<'a> Package<'a> {
    fn of(intake: &'a Intake) -> Self {
        let owner = Owner::Package(intake.control.package().into());
        Self { intake, owner, replaces: intake.control.replaces() }
    }

    fn may_take_from(&self, other: &Self) -> bool {
        self.replaces.covers(other.intake.control.package(), other.intake.control.version())
    }
}

impl fmt::Display for Package<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.intake.control.package(), self.intake.control.version())
    }
}

/// A package's wish to have a path.
#[derive(Clone, Copy)]
struct Claim<'a> {
    number: usize,
    package: &'a Package<'a>,
    stored: &'a Stored,
}

impl Claim<'_> {
    fn is_directory(&self) -> bool {
        matches!(self.stored.member.kind, MemberKind::Directory)
    }
}

fn winner<'a>(path: &TreePath, claims: &'a [Claim<'a>]) -> Result<&'a Claim<'a>, OwnershipError> {
    let directory = claims.iter().find(|claim| claim.is_directory());
    let other = claims.iter().find(|claim| !claim.is_directory());
    match (directory, other) {
        (Some(directory), Some(other)) => Err(OwnershipError::KindConflict {
            path: path.clone(),
            directory: directory.package.to_string(),
            other: other.package.to_string(),
        }),
        (Some(first), None) => {
            let skeleton = claims.iter().find(|c| c.package.intake.control.package() == SKELETON);
            Ok(skeleton.unwrap_or(first))
        }
        (None, _) => owner_of(path, claims),
    }
}

/// Whose something was before the one took it that declares to replace them.
fn hands(claims: &[Claim<'_>], winner: &Claim<'_>) -> Vec<Hand> {
    let others = claims.iter().filter(|claim| claim.number != winner.number);
    let before = others.map(|claim| Hand::new(claim.package.owner.clone(), Deed::Brought));
    let taken = Hand::because(winner.package.owner.clone(), Deed::Replaced, "it declares `Replaces`");
    before.chain([taken]).collect()
}

fn owner_of<'a>(path: &TreePath, claims: &'a [Claim<'a>]) -> Result<&'a Claim<'a>, OwnershipError> {
    if let [first, second, ..] = claims
        && first.number == second.number
    {
        return Err(OwnershipError::Twice { path: path.clone(), package: first.package.to_string() });
    }
    let takes_all = |claim: &Claim<'_>| {
        let mut others = claims.iter().filter(|other| other.number != claim.number);
        others.all(|other| claim.package.may_take_from(other.package))
    };
    let mut takers = claims.iter().filter(|claim| takes_all(claim));
    match (takers.next(), takers.next(), claims) {
        (Some(winner), None, _) => Ok(winner),
        (_, _, [first, .., last]) => Err(OwnershipError::Conflict {
            path: path.clone(),
            first: first.package.to_string(),
            second: last.package.to_string(),
        }),
        // A path is in the map because somebody claims it, and who claims alone takes all.
        (_, _, _) => Err(OwnershipError::Path(path.to_string())),
    }
}

/// Where a member is on a system whose `/usr` is merged.
fn canonical(member: &Member, package: &Package<'_>) -> Result<TreePath, OwnershipError> {
    let bytes = member.path.as_bytes();
    let top = bytes.split(|byte| *byte == b'/').next().unwrap_or_default();
    if !ALIASES.contains(&top) {
        return tree_path(bytes);
    }
    let merged = [b"usr/", bytes].concat();
    match &member.kind {
        _ if top.len() < bytes.len() => tree_path(&merged),
        MemberKind::Directory => tree_path(&merged),
        MemberKind::Symlink(target) if target.strip_prefix(b"/").unwrap_or(target) == merged => {
            tree_path(bytes)
        }
        _ => Err(OwnershipError::Alias { path: tree_path(bytes)?, package: package.to_string() }),
    }
}

/// A path of the tree.
pub(super) fn tree_path(bytes: &[u8]) -> Result<TreePath, OwnershipError> {
    TreePath::parse(bytes).map_err(|error| OwnershipError::Path(error.to_string()))
}

/// What a member becomes; `None` for a hard link.
fn kind_of(stored: &Stored) -> Option<Kind> {
    match (&stored.member.kind, &stored.blob) {
        (MemberKind::Directory, _) => Some(Kind::Directory),
        (MemberKind::Symlink(target), _) => Some(Kind::Symlink(target.to_vec())),
        (MemberKind::File { size }, Some(key)) => {
            Some(Kind::File(Content::Stored { key: key.clone(), size: *size }))
        }
        (MemberKind::File { .. }, None) => Some(Kind::File(Content::Inline(Arc::default()))),
        (MemberKind::HardLink(_), _) => None,
    }
}

fn metadata_of(member: &Member) -> Metadata {
    let mtime = Timestamp::from_seconds(i64::try_from(member.mtime).unwrap_or(i64::MAX));
    // A symbolic link's own mode is not kept anywhere; lstat says this.
    let mode = if matches!(member.kind, MemberKind::Symlink(_)) { 0o777 } else { member.mode };
    Metadata { mode, uid: member.uid, gid: member.gid, mtime, xattrs: BTreeMap::new() }
}

fn directory_metadata(mtime: i64) -> Metadata {
    let mtime = Timestamp::from_seconds(mtime);
    Metadata { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
}

/// Adds the directories above a path that nobody ships, and refuses what is there and is none.
fn add_parents(tree: &mut FileTree, path: &TreePath, claim: &Claim<'_>) -> Result<(), OwnershipError> {
    let mut missing = Vec::new();
    let mut above = path.parent();
    while let Some(directory) = above {
        match tree.entry(&directory) {
            None => above = directory.parent(),
            Some(entry) => {
                let kind = match tree.inode(entry.inode).kind {
                    Kind::Directory => break,
                    Kind::Symlink(_) => "symbolic link",
                    _ => "file",
                };
                let owner = entry.owner.clone();
                let (path, package) = (path.clone(), claim.package.to_string());
                return Err(OwnershipError::Through { path, package, above: directory, kind, owner });
            }
        }
        missing.push(directory);
    }
    let mtime = metadata_of(&claim.stored.member).mtime.seconds;
    for directory in missing.into_iter().rev() {
        let inode = Inode { metadata: directory_metadata(mtime), kind: Kind::Directory };
        tree.insert(directory, inode, claim.package.owner.clone())?;
    }
    Ok(())
}

/// Adds a directory and those above it where they are missing.
pub(super) fn add_directory(
    tree: &mut FileTree,
    path: &[u8],
    metadata: &Metadata,
    owner: &Owner,
) -> Result<(), OwnershipError> {
    let ends = (0..path.len()).filter(|at| path[*at] == b'/').chain([path.len()]);
    for end in ends {
        let path = tree_path(&path[..end])?;
        match tree.entry(&path) {
            None => {
                let inode = Inode { metadata: metadata.clone(), kind: Kind::Directory };
                tree.insert(path, inode, owner.clone())?;
            }
            Some(entry) if matches!(tree.inode(entry.inode).kind, Kind::Directory) => {}
            Some(entry) => return Err(OwnershipError::Database { path, owner: entry.owner.clone() }),
        }
    }
    Ok(())
}

fn link(
    tree: &mut FileTree,
    path: &TreePath,
    claim: &Claim<'_>,
    lost: &BTreeSet<(usize, &MemberPath)>,
) -> Result<(), OwnershipError> {
    let members = &claim.package.intake.members;
    let mut target = &claim.stored.member;
    // The reader lets a link point only to an earlier file or link, so this ends at a file.
    while let MemberKind::HardLink(next) = &target.kind {
        let found = members.iter().map(|stored| &stored.member).find(|member| member.path == *next);
        target = found.ok_or_else(|| OwnershipError::Path(next.to_string()))?;
    }
    let file = canonical(target, claim.package)?;
    match tree.entry(&file).map(|entry| entry.inode) {
        Some(inode) if !lost.contains(&(claim.number, &target.path)) => {
            Ok(tree.link(path.clone(), inode, claim.package.owner.clone())?)
        }
        _ => Err(OwnershipError::HardLink {
            path: path.clone(),
            target: target.path.clone(),
            package: claim.package.to_string(),
        }),
    }
}

/// Adds the links that no package shipped, for the directories that are there.
fn add_missing_aliases(tree: &mut FileTree) -> Result<(), OwnershipError> {
    for alias in ALIASES {
        let (link, merged) = (tree_path(alias)?, [b"usr/", alias].concat());
        let Some(directory) = tree.get(&tree_path(&merged)?) else { continue };
        if tree.entry(&link).is_none() {
            let metadata = Metadata { mode: 0o777, ..directory.metadata.clone() };
            let kind = Kind::Symlink(merged);
            tree.insert(link, Inode { metadata, kind }, Owner::Stage(super::STAGE.into()))?;
        }
    }
    Ok(())
}

fn kept(packages: &[Package<'_>], lost: &BTreeSet<(usize, &MemberPath)>) -> Vec<Vec<MemberPath>> {
    let kept = packages.iter().enumerate().map(|(number, package)| {
        let paths = package.intake.members.iter().map(|stored| &stored.member.path);
        paths.filter(|path| !lost.contains(&(number, *path))).cloned().collect()
    });
    kept.collect()
}

fn conffiles(
    packages: &[Package<'_>],
    tree: &FileTree,
    lost: &BTreeSet<(usize, &MemberPath)>,
) -> Result<BTreeSet<TreePath>, OwnershipError> {
    let mut all = BTreeSet::new();
    for (number, package) in packages.iter().enumerate() {
        // The control archive was refused on arrival if its conffiles do not parse.
        for path in package.intake.control.conffiles().unwrap_or_default() {
            if lost.contains(&(number, &path)) {
                continue;
            }
            let member = package.intake.members.iter().find(|stored| stored.member.path == path);
            let place = match member.map(|stored| &stored.member) {
                Some(member) if matches!(member.kind, MemberKind::File { .. }) => canonical(member, package)?,
                _ => return Err(OwnershipError::Conffile { path, package: package.to_string() }),
            };
            debug_assert!(tree.entry(&place).is_some(), "what was not lost is in the tree");
            all.insert(place);
        }
    }
    Ok(all)
}

fn set_id(tree: &FileTree) -> Vec<SetId> {
    let files = tree.iter().filter_map(|(path, entry)| {
        let inode = tree.inode(entry.inode);
        let Metadata { mode, uid, gid, .. } = inode.metadata;
        let is_one = matches!(inode.kind, Kind::File(_)) && mode & 0o6000 != 0;
        is_one.then(|| SetId { path: path.clone(), mode, uid, gid, owner: entry.owner.clone() })
    });
    files.collect()
}
