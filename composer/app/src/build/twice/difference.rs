//! What differs between two builds, and who is likely to have made the difference.

use std::io::{self, Read};
use std::path::Path;

use goni_disk::tree::{Content, Entry, FileTree, Inode, Kind, Owner, TreePath};
use goni_model::layout::{Layout, Role};
use goni_model::number::to_u64;
use rayon::prelude::*;

use crate::build::Finished;
use crate::failure::Failure;
use crate::host::contents::Contents;
use crate::host::disk_file::DiskFile;
use crate::host::files::FileError;
use crate::stages::configure;

/// Scripts and triggers of packages, which may be what makes a file.
const SCRIPTS: [&str; 4] = [".preinst", ".postinst", ".config", ".triggers"];
/// The longest script that is searched.
const LONGEST_SCRIPT: u64 = 1 << 20;
/// How many characters of a line are shown.
const SHOWN: usize = 60;

/// A tree and its bytes.
type Side<'a> = (&'a FileTree, &'a Contents);

/// What differs between the trees of two builds, root first, in order of paths.
///
/// # Errors
/// Bytes that cannot be read.
pub(super) fn of_trees(first: &Finished, second: &Finished) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for (a, b, place) in
        [(&first.root, &second.root, ""), (&first.state, &second.state, "on the state partition, ")]
    {
        let different = compare((a, &first.contents), (b, &second.contents));
        for (path, what) in different.map_err(FileError::io("comparing trees in", first.contents.path()))? {
            let entry = a.entry(&path).or_else(|| b.entry(&path));
            let origin = entry.map(|entry| origin(entry, &path, (&first.root, &first.contents)));
            found.push(format!("{place}`{path}`: {what}{}", origin.unwrap_or_default()));
        }
    }
    Ok(found)
}

fn compare(first: Side<'_>, second: Side<'_>) -> io::Result<Vec<(TreePath, String)>> {
    let only = second.0.iter().map(|(path, _)| path).filter(|path| first.0.entry(path).is_none());
    let mut paths: Vec<&TreePath> = first.0.iter().map(|(path, _)| path).chain(only).collect();
    paths.sort();
    let compared = paths.into_par_iter().map(|path| {
        let what = match (first.0.get(path), second.0.get(path)) {
            (Some(a), Some(b)) => inodes((a, first.1), (b, second.1))?,
            _ => Some("it is in one of the two alone".to_owned()),
        };
        Ok(what.map(|what| (path.clone(), what)))
    });
    compared.filter_map(io::Result::transpose).collect()
}

fn inodes(first: (&Inode, &Contents), second: (&Inode, &Contents)) -> io::Result<Option<String>> {
    let said = match (&first.0.kind, &second.0.kind) {
        (Kind::File(one), Kind::File(other)) => contents((one, first.1), (other, second.1))?,
        (one, other) if one.type_bits() != other.type_bits() => Some("its kind differs".to_owned()),
        (Kind::Symlink(one), Kind::Symlink(other)) if one != other => {
            Some(format!("it leads to `{}` and `{}`", one.escape_ascii(), other.escape_ascii()))
        }
        _ => None,
    };
    if said.is_some() {
        return Ok(said);
    }
    let (a, b) = (&first.0.metadata, &second.0.metadata);
    Ok(if a.mode != b.mode {
        Some(format!("its mode is {:04o} and {:04o}", a.mode, b.mode))
    } else if (a.uid, a.gid) != (b.uid, b.gid) {
        Some(format!("its owner is {}:{} and {}:{}", a.uid, a.gid, b.uid, b.gid))
    } else if a.mtime != b.mtime {
        Some(format!("its time is {} and {}", a.mtime.seconds, b.mtime.seconds))
    } else {
        (a.xattrs != b.xattrs).then(|| "its extended attributes differ".to_owned())
    })
}

fn contents(first: (&Content, &Contents), second: (&Content, &Contents)) -> io::Result<Option<String>> {
    let (mut a, mut b) = (first.0.open(first.1)?, second.0.open(second.1)?);
    let Some(parting) = parting(&mut a, &mut b, 1 << 16)? else { return Ok(None) };
    Ok(Some(match parting.lines {
        Some((one, other)) => format!("from byte {} on it says `{one}` and `{other}`", parting.at),
        None => format!("its bytes differ from byte {} on", parting.at),
    }))
}

/// Who is likely to have made it so: the owner, and the scripts that speak of it.
fn origin(entry: &Entry, path: &TreePath, root: Side<'_>) -> String {
    let named = || match speaking_of(path, root) {
        named if named.is_empty() => String::new(),
        named => format!(", probably {}", named.join(" or ")),
    };
    match &entry.owner {
        Owner::Stage(stage) if **stage == *configure::NAME => {
            format!("; a maintainer script or trigger made it{}", named())
        }
        // What a script makes may have been traced to its package.
        Owner::Package(package) => {
            format!(
                "; it is of package `{package}`, and a maintainer script or trigger made it so{}",
                named()
            )
        }
        owner => format!("; it is of {owner}"),
    }
}

/// The scripts that have the path in them, as `package.postinst`.
fn speaking_of(path: &TreePath, root: Side<'_>) -> Vec<String> {
    let wanted = path.to_string();
    let scripts = root.0.iter().filter_map(|(script, entry)| {
        let shown = script.to_string();
        let name = shown.strip_prefix("/var/lib/dpkg/info/")?.to_owned();
        let Kind::File(content) = &root.0.inode(entry.inode).kind else { return None };
        let script = SCRIPTS.iter().any(|suffix| name.ends_with(suffix)) && content.size() <= LONGEST_SCRIPT;
        script.then_some((name, content))
    });
    let speaks = |content: &Content| {
        let mut text = Vec::new();
        let read = content.open(root.1).and_then(|mut reader| reader.read_to_end(&mut text));
        read.is_ok() && String::from_utf8_lossy(&text).contains(&wanted)
    };
    scripts.filter(|(_, content)| speaks(content)).map(|(name, _)| name).collect()
}

/// The first partition in which two disks of a layout differ, and where, if they do.
///
/// # Errors
/// Disks that cannot be read.
pub(super) fn of_disks(first: &Path, second: &Path, layout: &Layout) -> Result<Option<String>, Failure> {
    let open = |path: &Path| DiskFile::open(path).map_err(FileError::io("reading", path));
    let (a, b) = (open(first)?, open(second)?);
    for slot in layout.slots() {
        let (mut one, mut other) = (a.window(slot.offset, slot.size), b.window(slot.offset, slot.size));
        let parting = parting(&mut one, &mut other, 1 << 20);
        if let Some(parting) = parting.map_err(FileError::io("comparing disks, reading", first))? {
            let writer = match slot.role {
                Role::Esp => "what makes kernel image and initrd",
                Role::State => "what writes the state",
                _ => "what writes the root",
            };
            return Ok(Some(format!(
                "partition `{}` from byte {} on, although the trees are the same: the fault is in {writer}",
                slot.role, parting.at
            )));
        }
    }
    Ok(None)
}

/// Where two runs of bytes part.
struct Parting {
    at: u64,
    /// The rests of both lines, if they are text.
    lines: Option<(String, String)>,
}

/// Reads both, `step` bytes at a time, until they part or end together.
fn parting(first: &mut dyn Read, second: &mut dyn Read, step: usize) -> io::Result<Option<Parting>> {
    let (mut left, mut right) = (vec![0; step], vec![0; step]);
    let mut before = 0;
    loop {
        let (one, other) = (fill(first, &mut left)?, fill(second, &mut right)?);
        let (one, other) = (&left[..one], &right[..other]);
        if one != other {
            let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
            let lines = line(&one[same..]).zip(line(&other[same..]));
            return Ok(Some(Parting { at: before + to_u64(same), lines }));
        }
        if one.is_empty() {
            return Ok(None);
        }
        before += to_u64(one.len());
    }
}

/// Reads until the buffer is full or nothing is left.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// The first line, if it is text.
fn line(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes.split(|byte| *byte == b'\n').next()?).ok()?;
    let plain = !text.chars().any(char::is_control);
    plain.then(|| text.chars().take(SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parted(first: &str, second: &str) -> Option<(u64, Option<(String, String)>)> {
        let parting = parting(&mut first.as_bytes(), &mut second.as_bytes(), 4).unwrap();
        parting.map(|parting| (parting.at, parting.lines))
    }

    #[test]
    fn two_runs_of_bytes_part_where_they_first_differ() {
        let lines = |one: &str, other: &str| Some((one.to_owned(), other.to_owned()));
        assert_eq!(parted("", ""), None);
        assert_eq!(parted("same bytes", "same bytes"), None);
        assert_eq!(parted("stamp 17", "stamp 18"), Some((7, lines("7", "8"))));
        assert_eq!(parted("stamp", "stamp\nand more"), Some((5, lines("", ""))));
        assert_eq!(parted("a\0b", "a\u{1}b"), Some((1, None)));
    }
}
