//! The plan of a build: what will be done, in order, and what each step depends on.
//!
//! A value without a host path or a clock in it: it can be printed, compared and kept. The
//! identifier of a stage is the digest of everything that its result depends on, so two stages with
//! one identifier have one result: that is the cache, and the answer to “why was this rebuilt”.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::arch::Arch;
use crate::digest::Sha256Digest;
use crate::layout::{Layout, Role};
use crate::recipe::OutputFormat;
use crate::size::SectorSize;

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// Packages come into the store.
    Fetch,
    /// Kernel modules are built.
    Modules,
    /// Packages become a directory.
    Unpack,
    /// Maintainer scripts run.
    Configure,
    /// Overlays and payloads are laid, units enabled.
    Overlay,
    /// Initrd, kernel image, file systems and partition table are written.
    Image,
    /// The finished bytes are read back.
    Verify,
    /// Output formats are written and named.
    Export,
}

impl StageKind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Modules => "modules",
            Self::Unpack => "unpack",
            Self::Configure => "configure",
            Self::Overlay => "overlay",
            Self::Image => "image",
            Self::Verify => "verify",
            Self::Export => "export",
        }
    }
}

/// Digest of everything a stage's result depends on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct StageId(Sha256Digest);

impl StageId {
    /// The identifier of a stage: its kind, the version of the code, its parameters, the identifier
    /// of the stage before it, and the source date. Each part is preceded by its length.
    #[must_use]
    pub fn of(kind: StageKind, code: &str, parameters: &str, before: Option<Self>, source_date: u64) -> Self {
        let mut hasher = Sha256::new_with_prefix("goni-compose stage\n");
        let before = before.map(|id| id.0.to_string()).unwrap_or_default();
        for part in [kind.name(), code, parameters, &before, &source_date.to_string()] {
            hasher.update(crate::number::to_u64(part.len()).to_le_bytes());
            hasher.update(part);
        }
        Self(Sha256Digest::finish(hasher))
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> &Sha256Digest {
        &self.0
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StageId({self})")
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStage {
    /// What it does.
    pub kind: StageKind,
    /// What its result depends on, digested.
    pub id: StageId,
    /// What it works with, in words: a count of packages, names of overlays.
    pub note: String,
}

/// What will be built, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Name of the image.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: Arch,
    /// The latest time of anything in it, in seconds since 1970.
    pub source_date: u64,
    /// The steps, in order.
    pub stages: Vec<PlannedStage>,
    /// The disk, for the first of the sector sizes.
    pub layout: Layout,
    /// The same disk for each further sector size.
    pub further_layouts: Vec<Layout>,
    /// Identifiers of the partitions that do not depend on the root's hash.
    pub partitions: BTreeMap<Role, Uuid>,
}

impl Plan {
    /// The file name of the image, without the ending of its format.
    #[must_use]
    pub fn stem(&self) -> String {
        format!("{}_{}_{}", self.name, self.version, self.arch)
    }

    /// The file name of the image for disks of a sector size, without the ending of its format.
    #[must_use]
    pub fn stem_for(&self, sector_size: SectorSize) -> String {
        match sector_size {
            SectorSize::B512 => self.stem(),
            SectorSize::B4096 => format!("{}.4k", self.stem()),
        }
    }

    /// The file name of the image for disks of a sector size.
    #[must_use]
    pub fn file_name(&self, sector_size: SectorSize, format: OutputFormat) -> String {
        format!("{}.{}", self.stem_for(sector_size), format.name())
    }

    /// The disk, once for each sector size, the first foremost.
    pub fn layouts(&self) -> impl Iterator<Item = &Layout> {
        std::iter::once(&self.layout).chain(&self.further_layouts)
    }

    /// The identifier of a stage.
    #[must_use]
    pub fn id(&self, kind: StageKind) -> Option<StageId> {
        self.stages.iter().find(|stage| stage.kind == kind).map(|stage| stage.id)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} for {}, source date {}", self.name, self.version, self.arch, self.source_date)?;
        writeln!(f)?;
        for stage in &self.stages {
            let id = stage.id.to_string();
            writeln!(f, "{:<10} {}  {}", stage.kind.name(), id.get(..12).unwrap_or(&id), stage.note)?;
        }
        for layout in self.layouts() {
            writeln!(f)?;
            let sector_size = layout.sector_size;
            let stem = self.stem_for(sector_size);
            writeln!(f, "{stem}: disk of {}, sectors of {} bytes", layout.disk_size, sector_size.get())?;
            for slot in layout.slots() {
                let uuid =
                    self.partitions.get(&slot.role).map_or("from the root hash".to_owned(), Uuid::to_string);
                writeln!(
                    f,
                    "{:<12} {:>9}..{:<9} {:>8}  {uuid}",
                    slot.role.name(),
                    slot.first.get(),
                    slot.last.get(),
                    slot.size.to_string()
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_stage_changes_its_identifier() {
        let base = StageId::of(StageKind::Unpack, "1", "p", None, 7);
        assert_eq!(base, StageId::of(StageKind::Unpack, "1", "p", None, 7));
        for other in [
            StageId::of(StageKind::Configure, "1", "p", None, 7),
            StageId::of(StageKind::Unpack, "1p", "", None, 7),
            StageId::of(StageKind::Unpack, "1", "p", Some(base), 7),
            StageId::of(StageKind::Unpack, "1", "p", None, 8),
        ] {
            assert_ne!(other, base);
        }
    }
}
