//! Recipes: as typed ([`doc`]) and as meant ([`Recipe`]).
//!
//! A recipe file and those it `extends` become one table ([`merge`]), by key and never by
//! index; the table becomes a [`doc::RecipeDoc`], and [`check`] makes the [`Recipe`] of it. Reading
//! the files, and asking whether a target or an overlay exists, is left to the caller.

mod check;
pub mod doc;
mod merge;
pub mod origin;

pub(crate) use check::command_line;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::digest::Sha256Digest;
use crate::document::checker::{Checker, Text};
use crate::document::fault::{Fault, Place};
use crate::document::source::{FileId, Sources, Span};
use crate::document::{self, shape};
use crate::name::{
    Fingerprint, ImagePath, KernelWord, Name, PackageName, PackagePattern, ProjectPath, SuiteName, Url,
    Version,
};
use crate::recipe::doc::RecipeDoc;
use crate::recipe::origin::{Effective, Origin, Origins};
use crate::size::ByteCount;

/// The version of the format this program reads.
pub const SCHEMA: i64 = 1;

/// What a recipe may name: folders of the project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Folders below `firmware/` with a `target.toml`.
    pub targets: BTreeSet<String>,
    /// Folders below `overlays/` with an `overlay.toml`.
    pub overlays: BTreeSet<String>,
}

/// The JSON Schema of a recipe.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<RecipeDoc>()
}

/// Checks one recipe file by itself and says which recipe it extends.
///
/// # Errors
/// Every fault of syntax or shape, and a format version this program does not read.
pub fn inspect(sources: &Sources, file: FileId) -> Result<Option<Text>, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let mut faults = check_schema(&table, file);
    if faults.is_empty() {
        faults = shape::check(&table, &schema());
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let extends = table
        .get("extends")
        .and_then(|value| value.get_ref().as_str().map(|text| Spanned::new(value.span(), text.to_owned())));
    Ok(extends)
}

/// Checks a recipe and those it extends: first the one asked for, last the one that extends none.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, chain: &[FileId], known: &Known) -> Result<(Recipe, Origins), Vec<Fault>> {
    let mut faults = Vec::new();
    let mut merged = DeTable::new();
    for file in chain.iter().rev() {
        inspect(sources, *file)?;
        merged = merge::merge(merged, document::parse(sources, *file)?, &mut faults);
    }
    let Some(file) = chain.first().copied() else { return Err(faults) };
    let mut origins = origin::of(sources, &merged);
    let doc: RecipeDoc = document::read(merged, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    faults.into_iter().for_each(|fault| checker.fault(fault));
    let recipe = check::check(&doc, known, &mut checker);
    let (recipe, defaults) = checker.finish(recipe)?;
    for (key, value) in defaults {
        origins.entry(key).or_insert(Effective { value, origin: Origin::Default });
    }
    Ok((recipe, origins))
}

/// A file of another format version is told so before anything else about it.
fn check_schema(table: &DeTable<'_>, file: FileId) -> Vec<Fault> {
    let hint = format!("begin the file with `schema = {SCHEMA}`");
    let Some(value) = table.get("schema") else {
        return vec![Fault::new(Place::File(file), "missing key `schema`").hint(hint)];
    };
    let DeValue::Integer(number) = value.get_ref() else { return Vec::new() };
    if number.to_string() == SCHEMA.to_string() {
        return Vec::new();
    }
    let message = format!("this recipe has format version {number}; this program reads version {SCHEMA}");
    vec![Fault::new(Span::from(value.span()), message)]
}

/// A recipe as meant: every value present, checked and in its own type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The first part of the image's file name.
    pub name: Name,
    /// The version of the image.
    pub version: Version,
    /// The folder below `firmware/` that describes the board.
    pub target: Name,
    /// Folders below `overlays/`, in the order in which they are laid over the tree.
    pub overlays: Vec<Name>,
    /// What comes from Debian.
    pub debian: Debian,
    /// Vendors' archives, sorted by name.
    pub archives: Vec<Archive>,
    /// What is laid into the image as it is, by name.
    pub payloads: BTreeMap<Name, Payload>,
    /// The EFI system partition.
    pub esp: Esp,
    /// The root file system.
    pub root: Root,
    /// The swap partition, or none.
    pub swap: Swap,
    /// The partition that keeps what must outlive an update.
    pub state: State,
    /// The kernel.
    pub kernel: Kernel,
    /// What is written.
    pub output: Output,
}

/// What comes from Debian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// The release.
    pub suite: Suite,
    /// Components of the archive, in order.
    pub components: Vec<SuiteName>,
    /// Packages that must be there, sorted.
    pub packages: Vec<PackageName>,
    /// Packages that must not be there, sorted.
    pub exclude: Vec<PackageName>,
    /// Packages whose job something else in the image does: dependencies on them are met, sorted.
    pub provided: Vec<PackageName>,
    /// Whether Recommends count as Depends.
    pub recommends: bool,
}

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// The suites that make the release: itself, its updates, its security fixes.
    ///
    /// Each with the archive it belongs to: `debian` or `debian-security`.
    #[must_use]
    pub const fn suites(self) -> [(&'static str, &'static str); 3] {
        match self {
            Self::Trixie => {
                [("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security")]
            }
        }
    }
}

/// A vendor's signed archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// What errors and the lock call it.
    pub name: Name,
    /// Where it is.
    pub uri: Url,
    /// The suite below `dists/`.
    pub suite: SuiteName,
    /// Components, in order.
    pub components: Vec<SuiteName>,
    /// The key that must have signed it.
    pub key: ArchiveKey,
    /// The packages it may provide, and no other.
    pub allow: Vec<PackagePattern>,
}

/// The key of a vendor's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveKey {
    /// Where the certificate is.
    pub source: KeySource,
    /// The fingerprint it must have.
    pub fingerprint: Fingerprint,
}

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// In the project, from its root.
    File(ProjectPath),
    /// On the network; the fingerprint decides.
    Url(Url),
}

/// A program laid into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// Its place in the image.
    pub path: ImagePath,
    /// Where its bytes come from.
    pub source: PayloadSource,
}

/// Where the bytes of a payload come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadSource {
    /// The recipe does not say: the command line does, or the overlay's stand-in is used.
    Open,
    /// A file of the project, from its root.
    File(ProjectPath),
    /// A download.
    Url {
        /// Its address.
        url: Url,
        /// What it must digest to.
        sha256: Sha256Digest,
    },
}

/// The EFI system partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Esp {
    /// Its size, 512 MiB or more.
    pub size: ByteCount,
}

/// The root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Root {
    /// Its format.
    pub filesystem: RootFilesystem,
    /// How its files are packed.
    pub compression: Compression,
    /// The size of its partition, into which it must fit.
    pub size: ByteCount,
    /// Whether dm-verity protects it.
    pub verity: bool,
}

/// A format of the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootFilesystem {
    /// EROFS.
    Erofs,
}

/// How the files of the root file system are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard.
    Zstd,
    /// Not at all.
    None,
}

/// The partition that keeps what must outlive an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its size when built; it grows to fill the disk on first boot.
    pub size: ByteCount,
    /// How it is encrypted.
    pub encryption: StateEncryption,
}

/// How the state partition is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateEncryption {
    /// Not at all.
    None,
}

/// Swap space. There is no plaintext kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swap {
    /// No partition, no swap.
    None,
    /// A partition, encrypted with a new random key at each boot.
    RandomKey {
        /// The size of the partition.
        size: ByteCount,
    },
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Words added to the command line, behind the target's.
    pub command_line: Vec<KernelWord>,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Formats, sorted, at least one.
    pub formats: Vec<OutputFormat>,
    /// How clusters of a qcow2 file are packed.
    pub qcow2_compression: Qcow2Compression,
}

/// A container format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// The disk itself, sparse.
    Raw,
    /// QEMU's copy-on-write format, version 3.
    Qcow2,
}

/// How clusters of a qcow2 file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Qcow2Compression {
    /// Zstandard: QEMU 5.1 and later.
    Zstd,
    /// Deflate: every QEMU.
    Zlib,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fault::Faults;

    /// Checks a recipe given from the extending file to the extended one.
    fn checked(texts: &[&str]) -> Result<(Recipe, Origins), String> {
        let mut sources = Sources::new();
        let names = ["upper.toml", "lower.toml"];
        let chain: Vec<FileId> =
            texts.iter().zip(names).map(|(text, name)| sources.add(name, text.as_bytes()).0).collect();
        let known = Known { targets: ["board".to_owned()].into(), overlays: BTreeSet::new() };
        check(&sources, &chain, &known).map_err(|faults| Faults::new(sources, faults).to_string())
    }

    const HEAD: &str = "schema = 1\nname = \"a\"\nversion = \"1\"\ntarget = \"board\"\n";

    #[test]
    fn the_least_recipe_has_every_default() {
        let (recipe, origins) = checked(&[HEAD]).unwrap();
        assert_eq!(recipe.esp.size, ByteCount::from_mib(512));
        assert_eq!(recipe.root.size, ByteCount::from_mib(1024));
        assert!(recipe.root.verity);
        assert_eq!(recipe.swap, Swap::None);
        assert_eq!(recipe.output.formats, [OutputFormat::Raw]);
        assert_eq!(recipe.debian.components[0].as_str(), "main");
        assert_eq!(origins["root.size"], Effective { value: "\"1GiB\"".to_owned(), origin: Origin::Default });
    }

    #[test]
    fn tables_merge_lists_replace_and_rest_adds() {
        let lower = "schema = 1\nname = \"lower\"\n[debian]\npackages = [\"nano\", \"vim\"]\nexclude = [\"ed\"]\n\
                     [root]\nsize = \"2GiB\"\nverity = false\n";
        let upper = format!(
            "{HEAD}extends = \"lower.toml\"\n[debian]\npackages = [\"curl\", \"...\", \"nano\"]\nexclude = [\"at\"]\n\
             [root]\nverity = true\n"
        );
        let (recipe, origins) = checked(&[&upper, lower]).unwrap();
        let names = |list: &[PackageName]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(recipe.name.as_str(), "a");
        assert_eq!(names(&recipe.debian.packages), ["curl", "nano", "vim"]);
        assert_eq!(names(&recipe.debian.exclude), ["at"]);
        assert_eq!((recipe.root.size, recipe.root.verity), (ByteCount::from_mib(2048), true));
        assert_eq!(origins["root.size"].origin.to_string(), "lower.toml:7:8");
        assert_eq!(origins["debian.packages[nano]"].origin.to_string(), "upper.toml:7:28");
        assert_eq!(origins["debian.packages[vim]"].origin.to_string(), "lower.toml:4:21");
    }

    #[test]
    fn archives_merge_by_name_and_sources_are_replaced_whole() {
        let digest = "0".repeat(64);
        let lower = format!(
            "schema = 1\n[payload.p]\npath = \"/p\"\nsource = {{ url = \"https://e.org/p\", sha256 = \"{digest}\" }}\n\
             [[archive]]\nname = \"v\"\nuri = \"https://e.org/a\"\nsuite = \"s\"\ncomponents = [\"main\"]\nallow = [\"v-*\"]\n\
             key = {{ url = \"https://e.org/k\", fingerprint = \"{}\" }}\n",
            "A".repeat(40)
        );
        let upper = format!(
            "{HEAD}extends = \"lower.toml\"\n[payload.p]\nsource = {{ file = \"p\" }}\n\
             [[archive]]\nname = \"v\"\nsuite = \"t\"\nallow = [\"...\", \"w\"]\n"
        );
        let (recipe, origins) = checked(&[&upper, &lower]).unwrap();
        let payload = &recipe.payloads[&"p".parse().unwrap()];
        assert_eq!(payload.path.as_str(), "/p");
        assert_eq!(payload.source, PayloadSource::File("p".parse().unwrap()));
        let [archive] = &recipe.archives[..] else { panic!("{:?}", recipe.archives) };
        assert_eq!((archive.uri.as_str(), archive.suite.as_str()), ("https://e.org/a", "t"));
        assert_eq!(archive.allow.iter().map(ToString::to_string).collect::<Vec<_>>(), ["v-*", "w"]);
        assert_eq!(origins["archive[v].uri"].origin.to_string(), "lower.toml:7:7");
        assert_eq!(origins["archive[v].suite"].origin.to_string(), "upper.toml:10:9");
    }

    #[test]
    fn all_faults_are_told_at_once_in_the_order_of_the_file() {
        let recipe = HEAD.replace("\"a\"", "\"A\"").replace("board", "bord");
        assert_eq!(
            checked(&[&recipe]).unwrap_err(),
            "upper.toml:2:8: `A` is not a name: use a-z, 0-9, `.`, `_` and `-`, begin with a letter or digit, 64 at \
             most; upper.toml:4:10: unknown target `bord`"
        );
    }

    #[test]
    fn no_text_makes_checking_panic() {
        let pieces =
            ["[", "]", "=", "\"", "a", ".", "{", "}", "\n", "#", "'", "schema = 1\n", "é", "1", ",", "[["];
        let mut state: u32 = 1;
        for _ in 0..3000 {
            let mut text = String::from(HEAD);
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(pieces[crate::number::to_usize(u64::from(state >> 16)) % pieces.len()]);
            }
            // Any answer is good; a panic is not.
            drop(checked(&[&text]));
        }
    }

    #[test]
    fn every_word_the_schema_offers_is_a_word_that_checks() {
        let schema = schema();
        let words = |table: &str, key: &str| -> Vec<String> {
            let path = format!("/$defs/{table}/properties/{key}/enum");
            let words = schema.as_value().pointer(&path).and_then(|words| words.as_array()).unwrap();
            words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        for (table, doc, key) in [
            ("debian", "DebianDoc", "suite"),
            ("root", "RootDoc", "filesystem"),
            ("root", "RootDoc", "compression"),
            ("output", "OutputDoc", "qcow2-compression"),
        ] {
            for word in words(doc, key) {
                let recipe = format!("{HEAD}[{table}]\n{key} = \"{word}\"\n");
                assert!(checked(&[&recipe]).is_ok(), "{recipe}");
            }
        }
    }
}
