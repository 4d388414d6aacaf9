//! What a program needs beside itself: its interpreter, its libraries, and those it may load later.

use std::collections::BTreeSet;

use goni_disk::tree::{Content, Kind, TreePath};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _};

use super::{InitrdError, Source};

/// Note type of “this may be loaded with dlopen”, owner `FDO`.
/// Source: UAPI group specification “ELF dlopen metadata”.
const FDO_DLOPEN: elf::NoteType = elf::NoteType(0x407c_0c0a);

/// The needs of one ELF file, as names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Path of the program interpreter.
    interpreter: Option<String>,
    /// Sonames it cannot start without.
    libraries: Vec<String>,
    /// Alternatives of sonames it may load later, each with the feature that wants them.
    optional: Vec<Optional>,
    /// Directories to look in before the usual ones.
    search: Vec<String>,
}

/// Libraries that a feature loads when it is used: the first of `soname` that is there.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
struct Optional {
    feature: String,
    soname: Vec<String>,
}

/// Reads the needs of an ELF file; `None` for a file that is not ELF.
fn needs(bytes: &[u8]) -> Result<Option<Needs>, object::read::Error> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Ok(None);
    }
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let mut needs = Needs::default();
    for segment in header.program_headers(endian, bytes)? {
        if let Some(interpreter) = segment.interpreter(endian, bytes)? {
            needs.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
        }
    }
    let sections = header.sections(endian, bytes)?;
    if let Some((dynamic, strings)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in dynamic {
            let text =
                || entry.string(endian, strings).map(|text| String::from_utf8_lossy(text).into_owned());
            match entry.tag(endian) {
                elf::DT_NEEDED => needs.libraries.push(text()?),
                elf::DT_RPATH | elf::DT_RUNPATH => {
                    needs.search.extend(text()?.split(':').map(str::to_owned));
                }
                _ => {}
            }
        }
    }
    for section in sections.iter() {
        let Some(mut notes) = section.notes(endian, bytes)? else { continue };
        while let Some(note) = notes.next()? {
            if note.name() == b"FDO" && note.n_type(endian) == FDO_DLOPEN {
                let text = note.desc().split(|byte| *byte == 0).next().unwrap_or_default();
                // A note we cannot read asks for nothing: what is missing shows when the image boots.
                needs.optional.extend(serde_json::from_slice::<Vec<Optional>>(text).unwrap_or_default());
            }
        }
    }
    Ok(Some(needs))
}

/// Closes a set of files over what they need: the links on the way to them, their interpreter, their
/// libraries, and the libraries of the features in `features` wherever a file of the set may load them.
///
/// # Errors
/// `Missing` for a file of the set that is nowhere, `MissingLibrary` for a library that is nowhere,
/// `Elf` for a file that cannot be read as ELF.
pub(super) fn close(
    source: &Source<'_>,
    files: impl IntoIterator<Item = TreePath>,
    features: &[&str],
) -> Result<BTreeSet<TreePath>, InitrdError> {
    let mut closed = BTreeSet::new();
    let mut queue: Vec<TreePath> = files.into_iter().collect();
    while let Some(path) = queue.pop() {
        let path = source.canonical(&path)?;
        if closed.insert(path.clone()) {
            queue.extend(step(source, &path, features)?);
        }
    }
    Ok(closed)
}

/// What one file or link needs at once, whose path is canonical.
///
/// # Errors
/// As [`close`].
pub(in crate::stages) fn step(
    source: &Source<'_>,
    path: &TreePath,
    features: &[&str],
) -> Result<Vec<TreePath>, InitrdError> {
    match source.tree.get(path).map(|inode| &inode.kind) {
        Some(Kind::Symlink(target)) => Ok(vec![follow(path, target)?]),
        Some(Kind::File(content)) => wanted_by(source, path, content, features),
        _ => Err(InitrdError::Missing { path: path.clone() }),
    }
}

/// One step along a symbolic link.
fn follow(link: &TreePath, target: &[u8]) -> Result<TreePath, InitrdError> {
    let broken = |_| InitrdError::Missing { path: link.clone() };
    let mut path =
        if target.starts_with(b"/") { TreePath::ROOT } else { link.parent().unwrap_or(TreePath::ROOT) };
    for component in target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        path = match component {
            b".." => path.parent().unwrap_or(TreePath::ROOT),
            name => path.join(name).map_err(broken)?,
        };
    }
    Ok(path)
}

/// The paths that one file needs.
fn wanted_by(
    source: &Source<'_>,
    path: &TreePath,
    content: &Content,
    features: &[&str],
) -> Result<Vec<TreePath>, InitrdError> {
    let bytes = source.read(path, content)?;
    let elf = |error| InitrdError::Elf { path: path.clone(), error };
    let Some(mut needs) = needs(&bytes).map_err(elf)? else { return Ok(Vec::new()) };
    // A private library finds its siblings because the program that brought it has loaded them already.
    needs.search.extend(path.parent().map(|directory| directory.to_string()));
    let missing =
        |library: &str| InitrdError::MissingLibrary { library: library.to_owned(), wanted_by: path.clone() };
    let mut wanted = Vec::new();
    for library in &needs.libraries {
        wanted.push(find(source, library, &needs.search).ok_or_else(|| missing(library))?);
    }
    if let Some(interpreter) = &needs.interpreter {
        wanted.push(TreePath::parse(interpreter.as_bytes()).map_err(|_| missing(interpreter))?);
    }
    let later = needs.optional.iter().filter(|optional| features.contains(&&*optional.feature));
    wanted.extend(later.filter_map(|optional| {
        optional.soname.iter().find_map(|library| find(source, library, &needs.search))
    }));
    Ok(wanted)
}

/// The path of a library: in the directories the file names, then where the loader looks.
fn find(source: &Source<'_>, library: &str, search: &[String]) -> Option<TreePath> {
    let usual = [format!("/usr/lib/{}", source.arch.multiarch()), "/usr/lib".to_owned()];
    search.iter().chain(&usual).find_map(|directory| {
        let path = TreePath::parse(format!("{directory}/{library}").as_bytes()).ok()?;
        source.tree.resolve(&path).map(|_| path)
    })
}
