//! What is true of an image if it is the one that was meant: what its recipe promises, and what its
//! partition table says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use goni_disk::gpt::{self, GptError, Table};
use goni_model::arch::Arch;
use goni_model::digest::Sha256Digest;
use goni_model::layout::Role;
use goni_model::modules::Modules;
use goni_model::name::{DeviceGroup, ImagePath, ModuleName};
use goni_model::port::Port;
use goni_model::recipe::{Iommu, LockMemory, StateEncryption, Swap};
use goni_model::size::SectorSize;
use uuid::Uuid;

use crate::failure::{Class, Classify};
use crate::host::disk_file::DiskFile;
use crate::host::files::FileError;
use crate::project::Project;
use crate::smoke::feature::Feature;

/// What is true of the image if it is the one that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectations {
    /// The root hash of its verity tree; `None`: it has none.
    pub root_hash: Option<Sha256Digest>,
    /// The unique identifier of its state partition.
    pub state: Option<Uuid>,
    /// What its recipe promises.
    pub promises: Promises,
}

/// What a recipe promises of its image, as far as checks ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promises {
    /// The architecture.
    pub arch: Arch,
    /// Whether there is to be swap.
    pub swap: bool,
    /// Whether it brings goni-http.
    pub goni_http: bool,
    /// How an IOMMU fences devices.
    pub iommu: Iommu,
    /// The sockets that its units listen at, sorted.
    pub listens: Vec<Port>,
    /// The devices that goni-http may use, sorted.
    pub devices: Vec<DeviceGroup>,
    /// The ports that are open to the network, sorted.
    pub open: Vec<Port>,
    /// How much memory the service may lock.
    pub lock_memory: LockMemory,
    /// Directories that are kept beside goni's own.
    pub persist: Vec<ImagePath>,
    /// Kernel modules that are loaded, denied, and their options.
    pub modules: Modules,
    /// Paths below `/var` whose loss at a reboot is meant, sorted.
    pub volatile: Vec<ImagePath>,
    /// How the state is encrypted.
    pub encryption: StateEncryption,
    /// The sectors it has images for.
    pub sector_sizes: Vec<SectorSize>,
    /// Whether another machine stands in for its target's.
    pub shadow: bool,
}

impl Promises {
    /// What a project's recipe and overlays promise.
    #[must_use]
    pub fn of(project: &Project) -> Self {
        let recipe = &project.recipe;
        let overlays = project.overlays.iter().map(|loaded| &loaded.overlay);
        let volatile: BTreeSet<&ImagePath> = overlays.clone().flat_map(|overlay| &overlay.volatile).collect();
        let listens: BTreeSet<Port> =
            overlays.clone().flat_map(|overlay| overlay.listens.iter().copied()).collect();
        let devices: BTreeSet<&DeviceGroup> = overlays.flat_map(|overlay| &overlay.devices).collect();
        Self {
            arch: project.target.arch,
            swap: !matches!(recipe.swap, Swap::None),
            goni_http: recipe.payloads.keys().any(|name| name.as_str() == "goni-http"),
            iommu: recipe.kernel.iommu,
            listens: listens.into_iter().collect(),
            devices: devices.into_iter().cloned().collect(),
            open: recipe.network.open.clone(),
            lock_memory: recipe.service.lock_memory,
            persist: recipe.state.persist.clone(),
            modules: recipe.kernel.modules.over(&project.target.modules),
            volatile: volatile.into_iter().cloned().collect(),
            encryption: recipe.state.encryption,
            sector_sizes: recipe.output.sector_sizes.clone(),
            shadow: project.shadow.is_some(),
        }
    }
}

/// Why nothing can be expected of an image.
#[derive(Debug, thiserror::Error)]
pub enum ExpectationsError {
    /// The image cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image's partition table cannot be read.
    #[error("reading the partition table of `{}`", image.display())]
    Table {
        /// The image.
        image: PathBuf,
        /// What is wrong.
        source: GptError,
    },
}

impl Classify for ExpectationsError {
    fn class(&self) -> Class {
        match self {
            Self::File(error) => error.class(),
            Self::Table { .. } => Class::Content,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Table { .. } => None,
        }
    }
}

impl Expectations {
    /// What a recipe promises of an image, with what the image's partition table says. The root hash is
    /// in it, too: the identifiers of root and hash tree are its halves. Source: Discoverable Partitions
    /// Specification.
    ///
    /// # Errors
    /// The image cannot be read, or has no good table.
    pub fn of_image(image: &Path, promises: Promises) -> Result<Self, ExpectationsError> {
        let error = |source| ExpectationsError::Table { image: image.to_owned(), source };
        let disk = DiskFile::open(image).map_err(FileError::io("opening", image))?;
        let size = disk.size().map_err(FileError::io("reading", image))?;
        let mut whole = disk.whole().map_err(FileError::io("reading", image))?;
        let sector_size = gpt::sector_size(&mut whole).map_err(FileError::io("reading", image))?;
        Ok(Self::of_table(&gpt::read(&mut whole, size, sector_size).map_err(error)?, promises))
    }

    /// As [`Expectations::of_image`], from the table itself.
    #[must_use]
    pub fn of_table(table: &Table, promises: Promises) -> Self {
        let arch = promises.arch;
        let find = |role: Role| table.partitions.iter().find(|found| found.type_guid == role.type_guid(arch));
        let state = table.partitions.iter().find(|found| {
            found.type_guid == Role::State.type_guid(arch) && found.name == Role::State.label()
        });
        let root_hash = find(Role::Root).zip(find(Role::RootVerity)).and_then(|(root, verity)| {
            format!("{}{}", root.guid.simple(), verity.guid.simple()).parse().ok()
        });
        Self { root_hash, state: state.map(|found| found.guid), promises }
    }

    /// Whether the image has it.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        let Promises { swap, goni_http, open, persist, encryption, sector_sizes, modules, shadow, .. } =
            &self.promises;
        match feature {
            Feature::Verity => self.root_hash.is_some(),
            Feature::Swap => *swap,
            Feature::State => self.state.is_some(),
            Feature::GoniHttp => *goni_http,
            Feature::Tpm2 => matches!(encryption, StateEncryption::Tpm2 { .. }),
            Feature::PlainState => self.state.is_some() && *encryption == StateEncryption::None,
            Feature::Persist => !persist.is_empty(),
            Feature::KernelModules => *modules != Modules::default(),
            Feature::OpenPorts => !open.is_empty(),
            Feature::OwnKernel | Feature::OwnBootPath => !*shadow,
            Feature::Sectors4096 => sector_sizes.contains(&SectorSize::B4096),
        }
    }

    /// Why something that needs all this cannot be, if so.
    #[must_use]
    pub fn lacking(&self, needs: &[Feature]) -> Option<&'static str> {
        needs.iter().find(|need| !self.has(**need)).map(|need| need.lacking())
    }

    /// The values that every script is given, as lines of sh.
    #[must_use]
    pub fn values(&self) -> String {
        let promises = &self.promises;
        let words = |ports: &[Port]| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(" ");
        let paths = |paths: &[ImagePath]| paths.iter().map(ImagePath::as_str).collect::<Vec<_>>().join(" ");
        let names =
            |modules: &[ModuleName]| modules.iter().map(ModuleName::as_str).collect::<Vec<_>>().join(" ");
        let devices: Vec<&str> = promises.devices.iter().map(DeviceGroup::as_str).collect();
        let options = promises
            .modules
            .options
            .iter()
            .flat_map(|(module, words)| words.iter().map(move |word| format!("{module}.{word}")));
        let options: Vec<String> = options.collect();
        let values = [
            ("root_hash", self.root_hash.map(|hash| hash.to_string()).unwrap_or_default()),
            ("state_uuid", self.state.map(|uuid| uuid.hyphenated().to_string()).unwrap_or_default()),
            ("swap", u8::from(promises.swap).to_string()),
            ("iommu", promises.iommu.name().to_owned()),
            ("listens", words(&promises.listens)),
            ("devices", devices.join(" ")),
            ("open", words(&promises.open)),
            (
                "lock_memory",
                match promises.lock_memory {
                    LockMemory::Unlimited => "unlimited".to_owned(),
                    LockMemory::Most(most) => most.get().to_string(),
                },
            ),
            ("persist", paths(&promises.persist)),
            ("volatile", paths(&promises.volatile)),
            ("modules_load", names(&promises.modules.load)),
            ("modules_deny", names(&promises.modules.deny)),
            ("modules_options", options.join(" ")),
            (
                "encryption",
                match promises.encryption {
                    StateEncryption::None => "none".to_owned(),
                    StateEncryption::Tpm2 { .. } => "tpm2".to_owned(),
                },
            ),
        ];
        values.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
    }
}

/// Text as one word of sh. Source: POSIX.1-2024, Shell Command Language, 2.2.2.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use goni_disk::gpt::{Attributes, Partition};
    use goni_model::size::Lba;

    use super::*;

    fn promises() -> Promises {
        Promises {
            iommu: Iommu::Strict,
            listens: vec!["53/udp".parse().unwrap(), "7000/tcp".parse().unwrap()],
            devices: vec!["char-accel".parse().unwrap(), "char-drm".parse().unwrap()],
            lock_memory: LockMemory::Most("1MiB".parse().unwrap()),
            persist: vec!["/var/lib/it's".parse().unwrap()],
            volatile: vec!["/var/cache".parse().unwrap(), "/var/tmp".parse().unwrap()],
            ..crate::smoke::testing::promises()
        }
    }

    #[test]
    fn the_partition_table_tells_what_to_expect() {
        let partition = |role: Role, guid: u128| Partition {
            name: role.label().into(),
            type_guid: role.type_guid(Arch::Amd64),
            guid: Uuid::from_u128(guid),
            first: Lba::new(0),
            last: Lba::new(0),
            attributes: Attributes::default(),
        };
        let mut table = Table {
            disk_guid: Uuid::nil(),
            sector_size: SectorSize::B512,
            partitions: vec![
                partition(Role::Root, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
                partition(Role::RootVerity, 0xfedc_ba98_7654_3210_fedc_ba98_7654_3210),
                partition(Role::Swap, 4),
                partition(Role::State, 5),
            ],
            in_mbr: None,
        };
        let found = Expectations::of_table(&table, promises());
        assert_eq!(
            found.root_hash.unwrap().to_string(),
            "0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210"
        );
        assert_eq!(found.state, Some(Uuid::from_u128(5)));
        table.partitions.clear();
        let found = Expectations::of_table(&table, promises());
        let has: Vec<Feature> = Feature::ALL.into_iter().filter(|feature| found.has(*feature)).collect();
        assert_eq!(has, [Feature::Persist, Feature::OwnKernel, Feature::OwnBootPath]);
        assert_eq!(
            found.lacking(&[Feature::Persist, Feature::State]),
            Some("the image has no state partition")
        );
    }

    #[test]
    fn a_script_is_given_what_the_recipe_says() {
        let expectations = Expectations { root_hash: None, state: None, promises: promises() };
        assert_eq!(
            expectations.values(),
            "root_hash=''\nstate_uuid=''\nswap='0'\niommu='strict'\nlistens='53/udp 7000/tcp'\n\
             devices='char-accel char-drm'\nopen=''\nlock_memory='1048576'\npersist='/var/lib/it'\\''s'\nvolatile='/var/cache /var/tmp'\nmodules_load=''\nmodules_deny=''\n\
             modules_options=''\nencryption='none'\n"
        );
    }
}
