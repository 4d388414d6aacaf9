//! What checks look at: every part of the image, opened once.

mod accounts;
mod app;
mod booted;
mod initrd;
mod root;
mod state;
mod system_partition;

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom};
use std::sync::OnceLock;

use goni_disk::gpt::{self, Partition, Table};
use goni_disk::verity::{self, RootHash};
use goni_model::arch::Arch;
use goni_model::layout::Role;
use goni_model::size::ByteCount;
use goni_model::target::BootMethod;

pub(super) use accounts::{Account, Accounts};
pub(super) use app::App;
pub(super) use booted::{Booted, BootedAs};
pub(super) use root::{Node, NodeKind, Root};
pub(super) use state::{State, StateKind, Superblock};
pub(super) use system_partition::{BootProfile, Contents, SystemFile, SystemPartition};

use super::board;
use super::leaks::Leaks;
use super::meant::Meant;
use super::objection::Objection;
use crate::host::image::{Image, ImageError, Window};

/// What came of reading a part of the image.
#[derive(Debug)]
pub(super) enum Reading<T> {
    /// It.
    Read(T),
    /// It is there and cannot be read.
    Unreadable(String),
    /// It is not there.
    Absent(String),
}

impl<T> Reading<T> {
    fn of<E: std::error::Error + 'static>(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Read(value),
            Err(error) => Self::Unreadable(chain(&error)),
        }
    }

    /// It, for the check whose object it is: unreadable is wrong.
    pub(super) fn object(&self) -> Result<&T, Objection> {
        match self {
            Self::Unreadable(problem) => Err(Objection::differs("it can be read", problem)),
            _ => self.aid(),
        }
    }

    /// It, for every other check, which cannot look if it is not to be had.
    pub(super) fn aid(&self) -> Result<&T, Objection> {
        match self {
            Self::Read(value) => Ok(value),
            Self::Unreadable(_) => {
                Err(Objection::unseen("what it looks at cannot be read, as another check tells"))
            }
            Self::Absent(reason) => Err(Objection::unseen(reason)),
        }
    }

    /// It, if it was read.
    pub(super) const fn found(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            _ => None,
        }
    }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The image, opened.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// The image.
    pub(super) image: &'a Image,
    /// Its size.
    pub(super) size: ByteCount,
    /// Name of the machine that this runs on, whose traces must not be in the image.
    pub(super) builder: &'a str,
    /// The partition table, both copies.
    pub(super) table: Reading<Table>,
    /// What the image is for, by the type of its root partition.
    pub(super) arch: Option<Arch>,
    /// How it boots, as the image says of its board.
    pub(super) boot: BootMethod,
    /// The EFI system partition.
    pub(super) esp: Reading<SystemPartition>,
    /// The partition that a loader reads `extlinux.conf` from.
    pub(super) app: Reading<App<'a>>,
    /// The paths of the initrd, once somebody read it.
    initrd: OnceLock<Result<BTreeSet<String>, Objection>>,
    /// The root.
    pub(super) root: Reading<Root<'a>>,
    /// The hash at the top of the root's hash tree.
    pub(super) root_hash: Reading<RootHash>,
    /// The state partition.
    pub(super) state: Reading<State>,
    /// What the build knows of it, if it was just built.
    pub(super) meant: Option<&'a Meant<'a>>,
    /// What was found in the bytes of its files.
    pub(super) leaks: Leaks,
}

/// What is mounted as the state where it is encrypted: the device makes it at its first boot.
pub(super) const STATE_MAPPING: &str = "/dev/mapper/state";

impl<'a> Evidence<'a> {
    /// Opens everything.
    ///
    /// # Errors
    /// The file is not readable. What is wrong inside is evidence.
    pub(super) fn gather(image: &'a Image, builder: &'a str) -> Result<Self, ImageError> {
        let io = |source| ImageError::Io { path: image.path().display().to_string(), source };
        let size = image.size();
        let mut whole = image.whole();
        let sector_size = gpt::sector_size(&mut whole).map_err(io)?;
        whole.seek(SeekFrom::Start(0)).map_err(io)?;
        let table = gpt::read(&mut whole, size, sector_size);
        let mut evidence = Self {
            image,
            size,
            builder,
            arch: None,
            boot: BootMethod::SystemdBoot,
            app: Reading::Absent("there is no app partition".to_owned()),
            esp: Reading::Absent("there is no EFI system partition".to_owned()),
            initrd: OnceLock::new(),
            root: Reading::Absent("there is no root partition".to_owned()),
            root_hash: Reading::Absent("the root has no hash tree".to_owned()),
            state: Reading::Absent("there is no state partition".to_owned()),
            meant: None,
            leaks: Leaks::default(),
            table: Reading::of(table),
        };
        let types: Vec<_> = evidence.partitions().iter().map(|partition| partition.type_guid).collect();
        evidence.arch = [Arch::Amd64, Arch::Arm64].into_iter().find(|arch| types.contains(&arch.root_type()));
        evidence.open();
        Ok(evidence)
    }

    fn open(&mut self) {
        if let Some(window) = self.window(Role::Esp) {
            self.esp = Reading::of(SystemPartition::read(window));
        }
        if let Some((offset, size)) = self.extent(Role::App) {
            self.app = Reading::of(App::read(self.image, offset, size));
        }
        if let Some((offset, size)) = self.extent(Role::Root) {
            self.root = Reading::of(Root::open(self.image, offset, size));
        }
        // What is wrong with what it says of its board, the check of the board tells.
        let board = self.root.found().and_then(|root| board::board(root).ok()?);
        self.boot = board.map_or(BootMethod::SystemdBoot, |board| board.boot);
        if let (Some(data), Some(tree)) = (self.window(Role::Root), self.window(Role::RootVerity)) {
            self.root_hash = Reading::of(verity::claimed_root(data, tree));
        }
        if self.state_is_encrypted() {
            self.state = Reading::Absent("the device makes its encrypted state itself".to_owned());
        } else if let Some((offset, size)) = self.extent(Role::State) {
            self.state = Reading::of(State::read(self.image, offset, size));
        }
    }

    /// Passes for images that boot so; a check of another boot method has nothing to look at.
    pub(super) fn boots_by(&self, method: BootMethod) -> Result<(), Objection> {
        if self.boot == method {
            return Ok(());
        }
        Err(Objection::unseen(format!("the image boots by {}", self.boot.name())))
    }

    /// Whether the state is encrypted, by what is mounted.
    pub(super) fn state_is_encrypted(&self) -> bool {
        let fstab = self.root.found().and_then(|root| root.text("etc/fstab").ok());
        let mounted = |line: &str| line.split_whitespace().next() == Some(STATE_MAPPING);
        fstab.is_some_and(|fstab| fstab.lines().any(mounted))
    }

    /// The partitions, if the table can be read.
    pub(super) fn partitions(&self) -> &[Partition] {
        self.table.found().map_or(&[], |table| &table.partitions)
    }

    /// What a partition is for, by its type.
    pub(super) fn role(&self, partition: &Partition) -> Option<Role> {
        // Without a root there is no architecture; the types of the other roles do not depend on it.
        let arch = self.arch.unwrap_or(Arch::Amd64);
        ROLES.into_iter().find(|role| role.type_guid(arch) == partition.type_guid)
    }

    /// The partition of a role.
    pub(super) fn partition(&self, role: Role) -> Option<&Partition> {
        self.partitions().iter().find(|partition| self.role(partition) == Some(role))
    }

    /// The bytes of the files of the EFI system partition, which was read.
    pub(super) fn system_contents(&self) -> Result<Contents<'a>, Objection> {
        self.esp.aid()?;
        let window = self.window(Role::Esp);
        let window = window.ok_or_else(|| Objection::unseen("there is no EFI system partition"))?;
        let unreadable =
            |error| Objection::differs("an EFI system partition that can be read", chain(&error));
        Contents::open(window).map_err(unreadable)
    }

    /// The bytes of a file of the EFI system partition, which was read.
    pub(super) fn system_file(&self, place: &str) -> Result<Vec<u8>, Objection> {
        let unreadable =
            |error| Objection::differs(format!("a file `{place}` that can be read"), chain(&error));
        self.system_contents()?.bytes(place).map_err(unreadable)
    }

    /// Offset and size of the partition of a role.
    pub(super) fn extent(&self, role: Role) -> Option<(ByteCount, ByteCount)> {
        let sector_size = self.table.found()?.sector_size;
        let partition = self.partition(role)?;
        Some((partition.first.offset(sector_size)?, partition.size(sector_size)?))
    }

    /// The bytes of the partition of a role.
    pub(super) fn window(&self, role: Role) -> Option<Window<'a>> {
        let (offset, size) = self.extent(role)?;
        Some(self.image.window(offset, size))
    }
}

/// Every role, in the order of the disk.
pub(super) const ROLES: [Role; 6] =
    [Role::Esp, Role::App, Role::Root, Role::RootVerity, Role::Swap, Role::State];
