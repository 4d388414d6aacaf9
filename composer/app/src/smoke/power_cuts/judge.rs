//! Whether a disk recovers: its partition table, its EFI system partition, its state.
//!
//! - The table: the primary copy or the backup is whole, and names the partitions of the image.
//! - The EFI system partition: every file of the image can be read and is the same. The kernel images
//!   may bear any name that systemd-boot would boot, for it and systemd-bless-boot count in the name.
//!   After `fsck.fat -a` that is still so, and `fsck.fat -n` finds nothing.
//! - The state: `e2fsck -p` ends with 0 or 1, which is what a boot does and what needs nobody; then
//!   `e2fsck -fn` finds nothing; and every file holds what the guest was promised.
//! - The root and its hash tree are never written to.
//!
//! The judges are those of the toolbox. They judge copies, several in one sandbox.

mod esp;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ext4_view::{Ext4, Ext4Error, Ext4Read};
use goni_disk::gpt::{self, Table};
use goni_model::arch::Arch;
use goni_model::layout::Role;
use goni_model::size::{ByteCount, SectorSize};

use crate::host::command::{Run as _, last_lines};
use crate::host::disk_file::DiskFile;
use crate::host::files::{self, FileError};
use crate::smoke::Bench;
use crate::smoke::power_cuts::PowerCutError;
use crate::smoke::power_cuts::load::{Ledger, NAMES, Way};
use crate::smoke::power_cuts::points::Point;

pub use esp::Files;

/// Where a batch is, as the judges see it.
const INSIDE: &str = "/batch";
/// How long a batch may take.
const LIMIT: Duration = Duration::from_secs(300);
/// What a judge says of a copy is cut to its last lines.
const LINES: usize = 6;
/// A larger file has no promise in it.
const MOST_BYTES: u64 = 16 << 20;

/// Judges every copy in the batch: a line for each, `NAME WORD CODE`; what was said is beside it.
const SCRIPT: &str = r#"cd /batch
judge() { word=$1 image=$2; shift 2; "$@" "$image" > "$image.$word" 2>&1; echo "$image $word $?"; }
for image in *.state; do
    [ -e "$image" ] || continue
    judge preen "$image" e2fsck -p
    judge check "$image" e2fsck -fn
done
for image in *.esp; do
    [ -e "$image" ] || continue
    judge repair "$image" fsck.fat -a
    judge check "$image" fsck.fat -n
done
"#;

/// The parts of a disk that are judged, or must stay as they are, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The EFI system partition.
    pub esp: Range<u64>,
    /// The state partition.
    pub state: Range<u64>,
    /// Root and hash tree.
    pub fixed: Vec<Range<u64>>,
    /// Every partition: what is outside of all is the table's.
    pub partitions: Vec<Range<u64>>,
}

/// What a write touched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touched {
    /// A copy of the table, or what is between partitions.
    pub table: bool,
    /// The EFI system partition.
    pub esp: bool,
    /// The state partition.
    pub state: bool,
    /// The root, or its hash tree.
    pub fixed: bool,
}

impl Touched {
    /// Everything that is judged.
    pub const ALL: Self = Self { table: true, esp: true, state: true, fixed: false };

    /// What either touched.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            table: self.table || other.table,
            esp: self.esp || other.esp,
            state: self.state || other.state,
            fixed: self.fixed || other.fixed,
        }
    }

    /// Whether there is anything to judge.
    #[must_use]
    pub const fn anything(self) -> bool {
        self.table || self.esp || self.state || self.fixed
    }
}

impl Places {
    /// Where the partitions of a table are; `None` without an EFI system partition or a state.
    #[must_use]
    pub fn of(table: &Table, arch: Arch) -> Option<Self> {
        let bytes = |partition: &gpt::Partition| {
            let start = partition.first.offset(table.sector_size)?.get();
            Some(start..start.checked_add(partition.size(table.sector_size)?.get())?)
        };
        let find = |role: Role| {
            let of_role = |found: &&gpt::Partition| {
                found.type_guid == role.type_guid(arch) && (role != Role::State || found.name == role.label())
            };
            table.partitions.iter().find(of_role).and_then(bytes)
        };
        Some(Self {
            esp: find(Role::Esp)?,
            state: find(Role::State)?,
            fixed: [Role::Root, Role::RootVerity].into_iter().filter_map(find).collect(),
            partitions: table.partitions.iter().filter_map(bytes).collect(),
        })
    }

    /// What has to be there of a disk of a size for what was touched to be judged.
    #[must_use]
    pub fn judged(&self, touched: Touched, size: u64) -> Vec<Range<u64>> {
        let end = self.partitions.iter().map(|part| part.end).max().unwrap_or(0).min(size);
        let begin = self.partitions.iter().map(|part| part.start).min().unwrap_or(size);
        let mut parts = vec![0..begin, end..size, self.state.clone()];
        parts.extend(touched.esp.then(|| self.esp.clone()));
        parts
    }

    /// What a change of these bytes touches.
    #[must_use]
    pub fn touched(&self, range: &Range<u64>) -> Touched {
        let meets = |part: &Range<u64>| range.start < part.end && part.start < range.end;
        let mut inside = 0;
        for part in self.partitions.iter().filter(|part| meets(part)) {
            inside += range.end.min(part.end) - range.start.max(part.start);
        }
        Touched {
            table: !range.is_empty() && inside < range.end - range.start,
            esp: meets(&self.esp),
            state: meets(&self.state),
            fixed: self.fixed.iter().any(meets),
        }
    }
}

/// What is wrong with a disk after a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The cut.
    pub point: Point,
    /// What is wrong.
    pub what: String,
}

/// What everything is judged against.
#[derive(Debug)]
pub struct Law<'a> {
    /// The partition table of the image.
    pub table: Table,
    /// The files of its EFI system partition.
    pub files: Files,
    /// What the guest was promised.
    pub ledger: &'a Ledger,
    /// The architecture of the image.
    pub arch: Arch,
    /// The sectors of the disk.
    pub sectors: SectorSize,
}

/// Copies that wait to be judged together.
#[derive(Debug)]
pub struct Batch<'a> {
    law: &'a Law<'a>,
    bench: &'a Bench<'a>,
    directory: PathBuf,
    waiting: BTreeMap<String, Point>,
    /// What was wrong so far.
    pub faults: Vec<Fault>,
}

impl<'a> Batch<'a> {
    /// An empty batch in a new directory.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn begin(law: &'a Law<'a>, bench: &'a Bench<'a>, directory: PathBuf) -> Result<Self, FileError> {
        files::create_directories(&directory)?;
        Ok(Self { law, bench, directory, waiting: BTreeMap::new(), faults: Vec::new() })
    }

    /// How many disks wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes copies of what was touched on a disk; says where its partitions are, if its table can be
    /// read.
    ///
    /// # Errors
    /// What copying raises.
    pub fn take(
        &mut self,
        point: Point,
        disk: &DiskFile,
        touched: Touched,
    ) -> Result<Option<Places>, PowerCutError> {
        let reading = |source| FileError::io("copying", disk.path())(source);
        let places = match self.law.places(disk) {
            Ok(places) => places,
            Err(what) => {
                self.faults.push(Fault { point, what });
                return Ok(None);
            }
        };
        if touched.fixed {
            let what = "the root or its hash tree was written to".to_owned();
            self.faults.push(Fault { point, what });
        }
        let number = self.waiting.len();
        let mut copy = |part: &Range<u64>, word: &str| {
            let name = format!("{number}.{word}");
            disk.copy_part(part.clone(), &self.directory.join(&name)).map_err(reading)?;
            self.waiting.insert(name, point);
            Ok::<_, PowerCutError>(())
        };
        if touched.state {
            copy(&places.state, "state")?;
        }
        if touched.esp {
            copy(&places.esp, "esp")?;
            let window = disk.window(ByteCount::new(places.esp.start), size(&places.esp));
            if let Err(what) = self.law.files.check(window) {
                self.faults.push(Fault { point, what: format!("the EFI system partition: {what}") });
            }
        }
        Ok(Some(places))
    }

    /// Judges what waits, and forgets it.
    ///
    /// # Errors
    /// The judges could not run.
    pub fn judge(&mut self) -> Result<(), PowerCutError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let toolbox = self.bench.toolbox;
        let sandbox = toolbox.sandbox().bind_writable(&self.directory, INSIDE);
        let command = toolbox.command_in("dash", sandbox)?.args(["-c", SCRIPT]).timeout(LIMIT);
        let output = self.bench.system.run(&command)?.success(&command)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut verdicts = 0;
        for line in said.lines() {
            let mut words = line.split(' ');
            let (Some(name), Some(word), Some(code)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Some(point) = self.waiting.get(name).copied() else { continue };
            verdicts += 1;
            if let Some(problem) = verdict(name, word, code) {
                let bytes = files::read_capped(&self.directory.join(format!("{name}.{word}")), MOST_BYTES)?;
                let what = format!("{problem}: {}", last_lines(&bytes, LINES));
                self.faults.push(Fault { point, what });
            }
        }
        if verdicts != 2 * self.waiting.len() {
            let what = format!("{verdicts} verdicts on {} copies", self.waiting.len());
            return Err(PowerCutError::Judges(what));
        }
        for (name, point) in std::mem::take(&mut self.waiting) {
            let found = match name.ends_with(".state") {
                true => self.law.promises(&self.directory.join(&name), point),
                false => self.repaired(&name),
            };
            self.faults.extend(found.into_iter().map(|what| Fault { point, what }));
        }
        files::remove_tree(&self.directory)?;
        files::create_directories(&self.directory)?;
        Ok(())
    }

    /// What is wrong with the files of an EFI system partition that was repaired.
    fn repaired(&self, name: &str) -> Vec<String> {
        let open = || {
            let disk = DiskFile::open(&self.directory.join(name)).map_err(|error| error.to_string())?;
            self.law.files.check(disk.whole().map_err(|error| error.to_string())?)
        };
        open().err().map(|what| format!("the EFI system partition, repaired: {what}")).into_iter().collect()
    }
}

/// What a judge's exit code says against a copy.
///
/// Sources: e2fsck(8), exit codes: 0 and 1 need nobody; fsck.fat(8): 1 is what could be repaired.
fn verdict(name: &str, word: &str, code: &str) -> Option<&'static str> {
    match (name.ends_with(".state"), word, code) {
        (_, _, "0") | (true, "preen", "1") | (false, "repair", "1") => None,
        (true, "preen", _) => Some("the state does not recover by itself, e2fsck -p"),
        (true, _, _) => Some("the state is damaged after its recovery, e2fsck -fn"),
        (false, "repair", _) => Some("the EFI system partition cannot be repaired, fsck.fat -a"),
        (false, _, _) => Some("the EFI system partition is damaged after its repair, fsck.fat -n"),
    }
}

impl Law<'_> {
    /// Where a disk's partitions are; in words what is wrong with its table.
    fn places(&self, disk: &DiskFile) -> Result<Places, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let size = disk.size().map_err(|error| text(&error))?;
        let mut whole = disk.whole().map_err(|error| text(&error))?;
        let (table, _) = gpt::read_either(&mut whole, size, self.sectors)
            .map_err(|error| format!("neither copy of the partition table is whole: {error}"))?;
        for wanted in &self.table.partitions {
            if !table.partitions.iter().any(|found| found.guid == wanted.guid) {
                return Err(format!("the partition table has lost `{}`", wanted.name));
            }
        }
        Places::of(&table, self.arch).ok_or_else(|| "the partition table has lost its roles".to_owned())
    }

    /// What a recovered state breaks of what the guest was promised.
    fn promises(&self, path: &Path, point: Point) -> Vec<String> {
        let state = match open(path) {
            Ok(state) => state,
            Err(error) => return vec![format!("the recovered state cannot be read: {error}")],
        };
        let mut broken = Vec::new();
        for (name, way) in NAMES.into_iter().flat_map(|name| Way::ALL.map(|way| (name, way))) {
            let file = way.file(name);
            let found = match state.read(file.as_str()) {
                Ok(bytes) => Some(bytes),
                Err(Ext4Error::NotFound) => None,
                Err(error) => {
                    broken.push(format!("reading `{file}`: {error}"));
                    continue;
                }
            };
            broken.extend(self.ledger.broken(name, way, point.at, found.as_deref()));
        }
        broken
    }
}

/// A file with an ext4 file system in it.
struct Volume(DiskFile);

impl Ext4Read for Volume {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let size = ByteCount::new(goni_model::number::to_u64(buffer.len()));
        io::Read::read_exact(&mut self.0.window(ByteCount::new(start), size), buffer)?;
        Ok(())
    }
}

fn open(path: &Path) -> Result<Ext4, Ext4Error> {
    let disk = DiskFile::open(path).map_err(|error| Ext4Error::Io(Box::new(error)))?;
    Ext4::load(Box::new(Volume(disk)))
}

fn size(range: &Range<u64>) -> ByteCount {
    ByteCount::new(range.end.saturating_sub(range.start))
}
