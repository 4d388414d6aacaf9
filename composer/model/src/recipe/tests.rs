//! Merging and checking, by what comes out.

use super::*;
use crate::document::fault::Faults;
use crate::name::{ImagePath, PackageName};

/// Checks a recipe given from the extending file to the extended one.
fn checked(texts: &[&str]) -> Result<(Recipe, Origins), String> {
    let mut sources = Sources::new();
    let names = ["upper.toml", "lower.toml"];
    let chain: Vec<FileId> =
        texts.iter().zip(names).map(|(text, name)| sources.add(name, text.as_bytes()).0).collect();
    let known = Known { targets: ["board".to_owned()].into(), ..Known::default() };
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
fn promises_are_typed_and_have_defaults() {
    let (recipe, origins) = checked(&[HEAD]).unwrap();
    assert_eq!((recipe.kernel.iommu, recipe.state.encryption), (Iommu::Lazy, StateEncryption::None));
    assert_eq!((recipe.network.open.len(), recipe.service.lock_memory), (0, LockMemory::Unlimited));
    assert_eq!(recipe.output.sector_sizes, [SectorSize::B512]);
    assert_eq!(origins["hardening.no-smt"].value, "false");
    let text = format!(
        "{HEAD}[kernel]\niommu = 'strict'\n[state]\nencryption = 'tpm2'\nwithout-tpm = 'plaintext'\n\
         persist = ['/var/lib/b', '/var/lib/a']\n[network]\nopen = ['7000/tcp']\n[service]\nlock-memory = '8GiB'\n\
         [hardening]\nno-smt = true\nlockdown = 'integrity'\n[output]\nsector-size = [4096, 512]\n"
    );
    let (recipe, _) = checked(&[&text]).unwrap();
    assert_eq!(recipe.kernel.iommu, Iommu::Strict);
    assert_eq!(recipe.state.encryption, StateEncryption::Tpm2 { without_tpm: WithoutTpm::Plaintext });
    let persist: Vec<&str> = recipe.state.persist.iter().map(ImagePath::as_str).collect();
    assert_eq!(persist, ["/var/lib/a", "/var/lib/b"]);
    assert_eq!(recipe.network.open[0].to_string(), "7000/tcp");
    assert_eq!(recipe.service.lock_memory, LockMemory::Most(ByteCount::new(8 << 30)));
    assert_eq!((recipe.hardening.no_smt, recipe.hardening.lockdown), (true, Lockdown::Integrity));
    assert_eq!(recipe.output.sector_sizes, [SectorSize::B512, SectorSize::B4096]);
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
        ("kernel", "KernelDoc", "iommu"),
        ("state", "StateDoc", "encryption"),
        ("hardening", "HardeningDoc", "lockdown"),
    ] {
        for word in words(doc, key) {
            let recipe = format!("{HEAD}[{table}]\n{key} = \"{word}\"\n");
            assert!(checked(&[&recipe]).is_ok(), "{recipe}");
        }
    }
}
