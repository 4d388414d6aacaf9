//! A recipe as typed: every key optional, every text with its place. The JSON Schema is made of
//! these types, descriptions included, so what is said here is what an editor shows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::document::checker::Text;
use crate::gpu::doc::GpuDoc;
use crate::modules::ModulesDoc;
use crate::policy::PolicyDoc;

/// A recipe for goni-compose.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "goni-compose recipe")]
pub struct RecipeDoc {
    /// The version of this format: 1. Every file says it.
    #[schemars(with = "Option<i64>", extend("const" = 1))]
    pub schema: Option<Spanned<i64>>,
    /// The first part of the image's file name.
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// The version of the image: in file names and in the name of its kernel image.
    #[schemars(with = "Option<String>")]
    pub version: Option<Text>,
    /// A recipe that this one builds on, relative to this file. Keys given here win.
    #[schemars(with = "Option<String>")]
    pub extends: Option<Text>,
    /// The board: a folder below `firmware/`.
    #[schemars(with = "Option<String>")]
    pub target: Option<Text>,
    /// Folders below `overlays/`, laid over the tree in this order.
    #[schemars(with = "Option<Vec<String>>")]
    pub overlays: Option<Vec<Text>>,
    /// What comes from Debian.
    pub debian: Option<DebianDoc>,
    /// Vendors' signed archives, each with its own name.
    pub archive: Option<Vec<ArchiveDoc>>,
    /// Programs laid into the image as they are, by name.
    #[schemars(with = "Option<BTreeMap<String, PayloadDoc>>")]
    pub payload: Option<BTreeMap<Text, PayloadDoc>>,
    /// The EFI system partition.
    pub esp: Option<EspDoc>,
    /// The root file system.
    pub root: Option<RootDoc>,
    /// Swap; none without this table.
    pub swap: Option<SwapDoc>,
    /// The partition that keeps what must outlive an update.
    pub state: Option<StateDoc>,
    /// The kernel.
    pub kernel: Option<KernelDoc>,
    /// The graphics processor.
    pub gpu: Option<GpuDoc>,
    /// What the network reaches.
    pub network: Option<NetworkDoc>,
    /// What the goni service may use.
    pub service: Option<ServiceDoc>,
    /// Hardening that costs something.
    pub hardening: Option<HardeningDoc>,
    /// Rules of compatibility.
    pub rules: Option<RulesDoc>,
    /// What the owner allows in the image.
    pub policy: Option<PolicyDoc>,
    /// What is written.
    pub output: Option<OutputDoc>,
}

/// What comes from Debian.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DebianDoc {
    /// The release; its updates and security fixes come with it.
    #[schemars(with = "Option<String>", extend("enum" = ["trixie"]))]
    pub suite: Option<Text>,
    /// Components of the archive. Default: main.
    #[schemars(with = "Option<Vec<String>>")]
    pub components: Option<Vec<Text>>,
    /// Packages that must be there, besides the essential ones and what they all need.
    #[schemars(with = "Option<Vec<String>>")]
    pub packages: Option<Vec<Text>>,
    /// Packages that must not be there.
    #[schemars(with = "Option<Vec<String>>")]
    pub exclude: Option<Vec<Text>>,
    /// Packages whose job something else in the image does; dependencies on them count as met.
    #[schemars(with = "Option<Vec<String>>")]
    pub provided: Option<Vec<Text>>,
    /// Whether Recommends count as Depends. Default: false.
    pub recommends: Option<bool>,
    /// Loose packages of the project, all of which come in; `*` stands for any characters of a file name.
    #[schemars(with = "Option<Vec<String>>")]
    pub local: Option<Vec<Text>>,
}

/// A vendor's signed archive.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArchiveDoc {
    /// What errors and the lock call it; archives of extended recipes merge by it.
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// Its address, up to what comes before `dists/`: http, https, or file: with a folder.
    #[schemars(with = "Option<String>")]
    pub uri: Option<Text>,
    /// The suite below `dists/`.
    #[schemars(with = "Option<String>")]
    pub suite: Option<Text>,
    /// Its components.
    #[schemars(with = "Option<Vec<String>>")]
    pub components: Option<Vec<Text>>,
    /// The key that must have signed it.
    #[schemars(with = "Option<KeyDoc>")]
    pub key: Option<Spanned<KeyDoc>>,
    /// The packages it may provide, and no other; `*` stands for any characters.
    #[schemars(with = "Option<Vec<String>>")]
    pub allow: Option<Vec<Text>>,
    /// The architecture it is for. Default: whatever it says itself.
    #[schemars(with = "Option<String>", extend("enum" = ["amd64", "arm64"]))]
    pub architecture: Option<Text>,
    /// Packages that it may provide although Debian has them too.
    #[schemars(with = "Option<Vec<String>>")]
    pub replace: Option<Vec<Text>>,
    /// How many days ago it may have been signed at most. Default: 180.
    #[schemars(with = "Option<i64>")]
    pub max_age: Option<Spanned<i64>>,
    /// What is accepted of its key although it is weak.
    #[schemars(with = "Option<WeakKeyDoc>")]
    pub weak_key: Option<Spanned<WeakKeyDoc>>,
    /// Dependencies in the place of those that a package names, by package.
    #[serde(rename = "override")]
    #[schemars(with = "Option<BTreeMap<String, OverrideDoc>>")]
    pub overrides: Option<BTreeMap<Text, OverrideDoc>>,
}

/// A waiver for a weak key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WeakKeyDoc {
    /// What is accepted: "sha1" for signatures upon itself, "1024-bit" for fewer than 2048 bits.
    #[schemars(with = "Option<Vec<String>>", extend("items" = {"enum": ["sha1", "1024-bit"], "type": "string"}))]
    pub accept: Option<Vec<Text>>,
    /// Why, in one line.
    #[schemars(with = "Option<String>")]
    pub reason: Option<Text>,
}

/// Dependencies in the place of those that a package names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OverrideDoc {
    /// What it depends on instead, one relation an entry, such as "libffi8 (>= 3.4)".
    #[schemars(with = "Option<Vec<String>>")]
    pub depends: Option<Vec<Text>>,
    /// Why, in one line.
    #[schemars(with = "Option<String>")]
    pub reason: Option<Text>,
}

/// The key of an archive: its fingerprint, and a file or an address to get it from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyDoc {
    /// A file of the project, from its root.
    #[schemars(with = "Option<String>")]
    pub file: Option<Text>,
    /// An address.
    #[schemars(with = "Option<String>")]
    pub url: Option<Text>,
    /// The fingerprint of the certificate, 40 or 64 uppercase hexadecimal digits.
    #[schemars(with = "Option<String>")]
    pub fingerprint: Option<Text>,
}

/// A program laid into the image as it is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PayloadDoc {
    /// Its place in the image.
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    /// Where its bytes come from; without it, the command line's `--payload NAME=FILE` says so.
    #[schemars(with = "Option<SourceDoc>")]
    pub source: Option<Spanned<SourceDoc>>,
    /// The overlay that is laid where neither the recipe nor the command line gives the program.
    #[schemars(with = "Option<String>")]
    pub stand_in: Option<Text>,
}

/// A file, or an address with a digest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceDoc {
    /// A file of the project, from its root.
    #[schemars(with = "Option<String>")]
    pub file: Option<Text>,
    /// An address.
    #[schemars(with = "Option<String>")]
    pub url: Option<Text>,
    /// What the download must digest to, 64 lowercase hexadecimal digits.
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Text>,
}

/// The EFI system partition.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EspDoc {
    /// Its size, 512MiB or more. Default: 512MiB.
    #[schemars(with = "Option<String>")]
    pub size: Option<Text>,
}

/// The root file system: read-only.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RootDoc {
    /// Its format. Default: erofs.
    #[schemars(with = "Option<String>", extend("enum" = ["erofs"]))]
    pub filesystem: Option<Text>,
    /// How its files are packed. Default: zstd.
    #[schemars(with = "Option<String>", extend("enum" = ["zstd", "none"]))]
    pub compression: Option<Text>,
    /// The size of its partition, a whole number of MiB. Default: 1GiB.
    #[schemars(with = "Option<String>")]
    pub size: Option<Text>,
    /// How large the file system in it may become before a build fails. Default: none, as large as it fits.
    #[schemars(with = "Option<String>")]
    pub budget: Option<Text>,
    /// Whether dm-verity protects it. Default: true.
    pub verity: Option<bool>,
}

/// Swap: never plaintext.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwapDoc {
    /// The size of its partition, a whole number of MiB; "none" for no swap at all.
    #[schemars(with = "Option<String>")]
    pub size: Option<Text>,
    /// How it is encrypted. Default: random-key, a new one at each boot.
    #[schemars(with = "Option<String>", extend("enum" = ["random-key"]))]
    pub encryption: Option<Text>,
}

/// The partition that keeps what must outlive an update.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StateDoc {
    /// Its size when built, a whole number of MiB. Default: 512MiB.
    #[schemars(with = "Option<String>")]
    pub size: Option<Text>,
    /// How it is encrypted: "tpm2" with a key held by the device's TPM. Default: none.
    #[schemars(with = "Option<String>", extend("enum" = ["none", "tpm2"]))]
    pub encryption: Option<Text>,
    /// What a device without a TPM does, where the encryption is "tpm2". Default: stop.
    #[schemars(with = "Option<String>", extend("enum" = ["stop", "plaintext"]))]
    pub without_tpm: Option<Text>,
    /// Directories below /var or /etc that are kept, beside goni's own.
    #[schemars(with = "Option<Vec<String>>")]
    pub persist: Option<Vec<Text>>,
}

/// The kernel.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelDoc {
    /// Words added to its command line, one an entry, behind the target's.
    #[schemars(with = "Option<Vec<String>>")]
    pub command_line: Option<Vec<Text>>,
    /// How an IOMMU fences the memory that devices reach. Default: lazy.
    #[schemars(with = "Option<String>", extend("enum" = ["lazy", "strict", "passthrough"]))]
    pub iommu: Option<Text>,
    /// Modules that are loaded, denied, and their options; over what the target says.
    pub modules: Option<ModulesDoc>,
    /// Packages with sources of modules that DKMS builds for the kernel; never in the image themselves.
    #[schemars(with = "Option<Vec<String>>")]
    pub dkms: Option<Vec<Text>>,
    /// Patches of these sources by package, each a file of the project, applied with `patch -p1`.
    #[schemars(with = "Option<BTreeMap<String, Vec<String>>>")]
    pub dkms_patches: Option<BTreeMap<Text, Vec<Text>>>,
    /// Modules of the project that are built already: files that end in .ko.
    #[schemars(with = "Option<Vec<String>>")]
    pub extra_modules: Option<Vec<Text>>,
    /// Folders of the project with the source of modules, built by kbuild.
    #[schemars(with = "Option<Vec<String>>")]
    pub module_sources: Option<Vec<Text>>,
    /// The file with private key and certificate that signs the modules built here. Default: none.
    #[schemars(with = "Option<String>")]
    pub module_key: Option<Text>,
}

/// What the network reaches.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkDoc {
    /// Ports that are open to everybody, such as "7000/tcp". Default: none.
    #[schemars(with = "Option<Vec<String>>")]
    pub open: Option<Vec<Text>>,
}

/// What the goni service may use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceDoc {
    /// How much memory it may lock: a size, or "unlimited". Default: unlimited.
    #[schemars(with = "Option<String>")]
    pub lock_memory: Option<Text>,
}

/// Hardening that costs something.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HardeningDoc {
    /// Whether memory is wiped when it is freed. Default: false.
    pub init_on_free: Option<bool>,
    /// Whether each core runs one thread alone. Default: false.
    pub no_smt: Option<bool>,
    /// Whether only signed kernel modules are loaded. Default: false.
    pub signed_modules: Option<bool>,
    /// Whether there are no user namespaces. Default: false.
    pub no_user_namespaces: Option<bool>,
    /// What root may not do to the kernel. Default: none.
    #[schemars(with = "Option<String>", extend("enum" = ["none", "integrity", "confidentiality"]))]
    pub lockdown: Option<Text>,
}

/// What the recipe says of the rules of compatibility in firmware/rules.toml.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RulesDoc {
    /// Rules that do not count for this image, by name: why, in one line.
    #[serde(rename = "override")]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub overrides: Option<BTreeMap<Text, Text>>,
}

/// What is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutputDoc {
    /// Formats. Default: raw.
    #[schemars(with = "Option<Vec<String>>", extend("items" = {"enum": ["raw", "qcow2", "..."], "type": "string"}))]
    pub formats: Option<Spanned<Vec<Text>>>,
    /// Sector sizes of the disks it is for: an image for each. Default: 512.
    #[schemars(with = "Option<Vec<i64>>", extend("items" = {"enum": [512, 4096], "type": "integer"}))]
    pub sector_size: Option<Spanned<Vec<Spanned<i64>>>>,
    /// How clusters of a qcow2 file are packed; zlib for QEMU before 5.1. Default: zstd.
    #[schemars(with = "Option<String>", extend("enum" = ["zstd", "zlib"]))]
    pub qcow2_compression: Option<Text>,
}
