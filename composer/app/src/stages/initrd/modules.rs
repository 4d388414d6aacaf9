//! Which kernel modules an initrd takes: those the target names, closed over what they depend on.

use std::collections::{BTreeMap, BTreeSet};

use goni_disk::tree::TreePath;

use super::{InitrdError, Source};

/// Index files that libkmod reads, beside the modules themselves. They stay those of the whole
/// kernel: an alias that leads to a module left out fails at once, and no second depmod can disagree
/// with the first. Source: modules.dep(5), libkmod.
const INDEXES: [&str; 8] = [
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.builtin.modinfo",
    "modules.dep.bin",
    "modules.softdep",
    "modules.symbols.bin",
    "modules.order",
];

/// The kernel release of a tree: the one directory below /usr/lib/modules.
///
/// # Errors
/// `NoKernel`, `ManyKernels`.
pub(crate) fn kernel_release(source: &Source<'_>) -> Result<String, InitrdError> {
    let modules = super::path("usr/lib/modules");
    let mut releases =
        source.tree.children(&modules).map(|(path, _)| String::from_utf8_lossy(path.name()).into_owned());
    match (releases.next(), releases.next()) {
        (Some(release), None) => Ok(release),
        (None, _) => Err(InitrdError::NoKernel),
        (Some(first), Some(second)) => Err(InitrdError::ManyKernels { first, second }),
    }
}

/// The module files and indexes to take.
///
/// # Errors
/// `UnknownModule` for a name that is neither a module nor built in.
pub(super) fn select(
    source: &Source<'_>,
    release: &str,
    wanted: &[String],
) -> Result<BTreeSet<TreePath>, InitrdError> {
    let directory = super::path(&format!("usr/lib/modules/{release}"));
    let text = |name: &str| source.read_text(&directory.join(name.as_bytes()).map_err(InitrdError::Path)?);
    let dependencies = Dependencies::parse(&text("modules.dep")?, &text("modules.softdep")?);
    let builtin: BTreeSet<String> = text("modules.builtin")?.lines().map(module_name).collect();
    let mut chosen = BTreeSet::new();
    let mut queue: Vec<String> = wanted.iter().map(|name| module_name(name)).collect();
    while let Some(name) = queue.pop() {
        let Some(file) = dependencies.files.get(&name) else {
            if builtin.contains(&name) {
                continue;
            }
            return Err(InitrdError::UnknownModule { name, release: release.to_owned() });
        };
        if chosen.insert(file.clone()) {
            queue.extend(dependencies.needs.get(&name).into_iter().flatten().cloned());
        }
    }
    chosen
        .iter()
        .map(String::as_str)
        .chain(INDEXES)
        .map(|file| directory.join(file.as_bytes()).map_err(InitrdError::Path))
        .collect()
}

/// The names of all modules of a kernel: those in files, and those built in.
///
/// # Errors
/// The kernel's lists cannot be read.
pub(crate) fn module_names(
    source: &Source<'_>,
    release: &str,
) -> Result<(BTreeSet<String>, BTreeSet<String>), InitrdError> {
    let text = |name: &str| source.read_text(&super::path(&format!("usr/lib/modules/{release}/{name}")));
    let loadable = text("modules.dep")?;
    let loadable =
        loadable.lines().filter_map(|line| line.split_once(':')).map(|(file, _)| module_name(file));
    let built_in = text("modules.builtin")?.lines().map(module_name).collect();
    Ok((loadable.collect(), built_in))
}

/// The names of the modules that an initrd takes for those wanted.
///
/// # Errors
/// As [`select`].
pub(crate) fn closure(
    source: &Source<'_>,
    release: &str,
    wanted: &[String],
) -> Result<BTreeSet<String>, InitrdError> {
    let files = select(source, release, wanted)?;
    Ok(files.iter().map(|path| module_name(&String::from_utf8_lossy(path.name()))).collect())
}

/// What modules.dep and modules.softdep say, by module name.
#[derive(Debug, Default)]
struct Dependencies {
    files: BTreeMap<String, String>,
    needs: BTreeMap<String, Vec<String>>,
}

impl Dependencies {
    /// Soft dependencies count where the module exists: they are hints, not needs.
    fn parse(dep: &str, softdep: &str) -> Self {
        let mut parsed = Self::default();
        for (file, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            parsed.files.insert(module_name(file), file.to_owned());
            parsed.needs.insert(module_name(file), needs.split_whitespace().map(module_name).collect());
        }
        for line in softdep.lines().filter_map(|line| line.strip_prefix("softdep ")) {
            let mut words = line.split_whitespace();
            let Some(module) = words.next().map(module_name) else { continue };
            let hints: Vec<String> = words
                .filter(|word| !word.ends_with(':'))
                .map(module_name)
                .filter(|hint| parsed.files.contains_key(hint))
                .collect();
            parsed.needs.entry(module).or_default().extend(hints);
        }
        parsed
    }
}

/// The name of a module from its file or a word: `kernel/fs/erofs/erofs.ko.xz` and `erofs` are one,
/// and so are `-` and `_`.
fn module_name(text: &str) -> String {
    let file = text.rsplit('/').next().unwrap_or(text);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_and_words_agree() {
        for text in ["kernel/drivers/md/dm-verity.ko.xz", "dm-verity", "dm_verity", "dm-verity.ko"] {
            assert_eq!(module_name(text), "dm_verity");
        }
    }

    #[test]
    fn soft_dependencies_count_where_the_module_exists() {
        let parsed = Dependencies::parse(
            "kernel/ext4.ko.xz: kernel/jbd2.ko.xz\nkernel/jbd2.ko.xz:\nkernel/crc32c.ko.xz:\n",
            "# comment\nsoftdep ext4 pre: crc32c absent\n",
        );
        assert_eq!(parsed.needs["ext4"], ["jbd2", "crc32c"]);
    }
}
