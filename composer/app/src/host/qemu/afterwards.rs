//! A disk when its machine is off: what was written, all of it, and its parts.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use ext4_view::{Ext4Error, Ext4Read};
use goni_disk::gpt::{self, Table};
use goni_model::arch::Arch;
use goni_model::layout::Role;
use goni_model::report::Outcome;
use goni_model::size::{ByteCount, SectorSize};

use crate::host::command::{CommandSpec, Output, Run as _, System};
use crate::host::disk_file::{DiskFile, Window};
use crate::host::files::FileError;
use crate::host::qemu::directory::TOOL_LIMIT;
use crate::host::qemu::{INSIDE, QemuError, RunDirectory};
use crate::host::toolbox::Toolbox;
use crate::smoke::evidence::canary::{self, Canary, Traces, files::Bounds};
use crate::smoke::evidence::capture;
use crate::smoke::evidence::filesystems::Verdict;
use crate::smoke::preparation::Planted;

/// How an encrypted state begins. Source: LUKS2 On-Disk Format Specification, §2.1.
const LUKS: &[u8] = b"LUKS\xba\xbe";

/// A device's disk after its machine is off.
#[derive(Debug)]
pub struct Afterwards<'r> {
    run: &'r RunDirectory,
    device: usize,
    /// The overlay's own bytes.
    overlay: DiskFile,
    /// What the guest saw, as a sparse file of its own.
    disk: DiskFile,
    /// The parts that the image was made with. They stay where they are; only the last one grows.
    table: Table,
    arch: Arch,
}

/// How canaries came out, by canary, in the order they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canaries {
    /// Of all bytes that were written.
    pub disk: Vec<Outcome>,
    /// Of the files of the state; skipped where they cannot be read.
    pub files: Vec<Outcome>,
}

impl RunDirectory {
    /// Looks at the disk of a device, whose machine has to be off.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn afterwards(
        &self,
        device: usize,
        sectors: SectorSize,
        arch: Arch,
        toolbox: &Toolbox,
        system: &System,
    ) -> Result<Afterwards<'_>, QemuError> {
        let view = Path::new(INSIDE).join(format!("view-{device}.raw"));
        let overlay = Self::disk_of(device);
        let convert = self
            .command_of(device, toolbox, "qemu-img")?
            .args(["convert", "-f", "qcow2", "-O", "raw"])
            .args([&overlay, &view])
            .timeout(TOOL_LIMIT);
        system.run(&convert)?.success(&convert)?;
        let open = |inside: &Path| {
            let path = self.outside(inside);
            DiskFile::open(&path).map_err(FileError::io("opening", &path))
        };
        let table = self.table(device, sectors)?;
        Ok(Afterwards { run: self, device, overlay: open(&overlay)?, disk: open(&view)?, table, arch })
    }

    /// The partition table of a device's image.
    pub(super) fn table(&self, device: usize, sectors: SectorSize) -> Result<Table, QemuError> {
        let image = self.image(device);
        let disk = DiskFile::open(image).map_err(FileError::io("opening", image))?;
        let size = disk.size().map_err(FileError::io("reading", image))?;
        let mut whole = disk.whole().map_err(FileError::io("reading", image))?;
        gpt::read(&mut whole, size, sectors)
            .map_err(|source| QemuError::Table { image: image.to_owned(), source })
    }

    /// Judges what a guest sent.
    ///
    /// # Errors
    /// There is no such capture. One that is damaged is the guest's doing, and a failure.
    pub fn judge_capture(&self, capture: &Path) -> Result<Outcome, QemuError> {
        let path = self.outside(capture);
        let file = File::open(&path).map_err(FileError::io("opening", &path))?;
        Ok(capture::judge(io::BufReader::new(file)).unwrap_or_else(|error| Outcome::Failed {
            expected: "a whole capture".into(),
            observed: error.to_string(),
        }))
    }
}

/// Where a partition is on a disk: from, and how long.
pub(super) fn place(table: &Table, role: Role, arch: Arch) -> Option<(ByteCount, ByteCount)> {
    let is = |found: &&gpt::Partition| {
        // Another may have the state's type, which is that of all Linux data.
        found.type_guid == role.type_guid(arch) && (role != Role::State || found.name == role.label())
    };
    let found = table.partitions.iter().find(is)?;
    Some((found.first.offset(table.sector_size)?, found.size(table.sector_size)?))
}

impl Afterwards<'_> {
    /// Where a partition is; the last reaches to the end of the disk, for it grows.
    fn place(&self, role: Role) -> io::Result<Option<(ByteCount, ByteCount)>> {
        let Some((offset, size)) = place(&self.table, role, self.arch) else { return Ok(None) };
        let rest = ByteCount::new(self.disk.size()?.get().saturating_sub(offset.get()));
        Ok(Some((offset, if role == Role::State { rest } else { size })))
    }

    fn error(&self) -> impl FnOnce(io::Error) -> FileError {
        FileError::io("reading", self.disk.path())
    }

    /// Searches for canaries: in all that was written, and in the files of the state.
    ///
    /// # Errors
    /// The run's own files cannot be read.
    pub fn canaries(&self, canaries: &[Canary]) -> Result<Canaries, QemuError> {
        let each = |outcome: &dyn Fn(usize) -> Outcome| (0..canaries.len()).map(outcome).collect();
        let extents = self.overlay.extents().map_err(self.error())?;
        let parts = extents.into_iter().map(|extent| {
            let length = ByteCount::new(extent.end - extent.start);
            (extent.start, self.overlay.window(ByteCount::new(extent.start), length))
        });
        let written = canary::overlay(parts, canaries).map_err(self.error())?;
        let skipped = |reason: &str| Outcome::Skipped { reason: reason.into() };
        let files = match self.state_files(canaries).map_err(self.error())? {
            State::None => each(&|_| skipped("the image has no state")),
            State::Encrypted => {
                each(&|_| skipped("the state is encrypted: its files cannot be read from outside"))
            }
            State::Searched(traces) => each(&|canary| traces.outcome(canary)),
            State::Damaged(error) => each(&|_| Outcome::Failed {
                expected: "a state whose files can be read".into(),
                observed: error.to_string(),
            }),
        };
        Ok(Canaries { disk: each(&|canary| written.outcome(canary)), files })
    }

    fn state_files(&self, canaries: &[Canary]) -> io::Result<State> {
        let Some((offset, size)) = self.place(Role::State)? else { return Ok(State::None) };
        if self.is_encrypted(offset, size)? {
            return Ok(State::Encrypted);
        }
        let volume = Volume { disk: self.disk.duplicate()?, offset, size };
        Ok(match canary::files::search(Box::new(volume), canaries, Bounds::default()) {
            Ok(traces) => State::Searched(traces),
            Err(error) => State::Damaged(error),
        })
    }

    fn is_encrypted(&self, offset: ByteCount, size: ByteCount) -> io::Result<bool> {
        let mut start = [0; LUKS.len()];
        self.disk.window(offset, size).read_exact(&mut start)?;
        Ok(start == LUKS)
    }

    /// Has the file systems judged: the state, unless it is encrypted, and the EFI system partition.
    ///
    /// # Errors
    /// A judge cannot be run.
    pub fn filesystems(&self, toolbox: &Toolbox, system: &System) -> Result<Outcome, QemuError> {
        let mut verdicts = Vec::new();
        let judge = |program: &str, arguments: &[&str], copy: &Path| -> Result<Output, QemuError> {
            let command: CommandSpec = self.run.command_of(self.device, toolbox, program)?;
            Ok(system.run(&command.args(arguments).arg(copy).timeout(TOOL_LIMIT))?)
        };
        if let Some((offset, size)) = self.place(Role::State).map_err(self.error())?
            && !self.is_encrypted(offset, size).map_err(self.error())?
        {
            let copy = self.copy(Role::State, offset, size)?;
            verdicts.push(Verdict::of_replay("state", &judge("e2fsck", &["-p"], &copy)?));
            verdicts.push(Verdict::of_judge("state", "e2fsck -fn", &judge("e2fsck", &["-fn"], &copy)?));
        }
        if let Some((offset, size)) = self.place(Role::Esp).map_err(self.error())? {
            let copy = self.copy(Role::Esp, offset, size)?;
            verdicts.push(Verdict::of_judge("esp", "fsck.fat -n", &judge("fsck.fat", &["-n"], &copy)?));
        }
        Ok(Verdict::outcome(&verdicts))
    }

    /// Compares what a preparation planted with what is there now.
    ///
    /// # Errors
    /// The run's own files cannot be read.
    pub fn judge_planted(&self, planted: &Planted) -> Result<Outcome, QemuError> {
        let second = match &planted.second_disk {
            None => None,
            Some(inside) => {
                let path = self.run.outside(inside);
                Some(DiskFile::open(&path).map_err(FileError::io("opening", &path))?)
            }
        };
        let disk = second.as_ref().unwrap_or(&self.disk);
        let judged = planted.judge(disk.window(planted.offset, planted.size));
        Ok(judged.map_err(FileError::io("reading", disk.path()))?)
    }

    /// A copy of a partition for a judge, sparse as the disk is; as tools see it.
    fn copy(&self, role: Role, offset: ByteCount, size: ByteCount) -> Result<PathBuf, QemuError> {
        let inside = Path::new(INSIDE).join(format!("{}-{}.raw", role.name(), self.device));
        let path = self.run.outside(&inside);
        // An earlier look at the same disk left its copy; that there is none is as good.
        drop(std::fs::remove_file(&path));
        let copied = || -> io::Result<()> {
            let copy = DiskFile::create(&path, size)?;
            let end = offset.get().saturating_add(size.get());
            for extent in self.disk.extents()? {
                let (start, end) = (extent.start.max(offset.get()), extent.end.min(end));
                let Some(length) = end.checked_sub(start) else { continue };
                let mut from = self.disk.window(ByteCount::new(start), ByteCount::new(length));
                let place = ByteCount::new(start - offset.get());
                io::copy(&mut from, &mut copy.window(place, ByteCount::new(length)))?;
            }
            copy.whole()?.flush()
        };
        copied().map_err(FileError::io("writing", &path))?;
        Ok(inside)
    }

    /// A part of what the guest saw.
    #[must_use]
    pub const fn window(&self, offset: ByteCount, size: ByteCount) -> Window<'_> {
        self.disk.window(offset, size)
    }
}

/// What became of the state's files.
enum State {
    None,
    Encrypted,
    Damaged(Ext4Error),
    Searched(Traces),
}

/// A part of a disk, as `ext4-view` wants it: its own.
struct Volume {
    disk: DiskFile,
    offset: ByteCount,
    size: ByteCount,
}

impl Ext4Read for Volume {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let mut window = self.disk.window(self.offset, self.size);
        window.seek(SeekFrom::Start(start))?;
        window.read_exact(buffer)?;
        Ok(())
    }
}
