//! The first pass: packages are read, their files' bytes become blobs, the rest is noted.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use goni_debian::deb::{Control, Deb, DebError, Md5, Member, MemberKind, MemberPath};
use goni_disk::tree::ContentKey;
use goni_model::digest::Sha256Digest;
use goni_model::number::to_u64;
use sha2::{Digest as _, Sha256};

use super::{DebFile, Part, UnpackError};
use crate::host::plant::{BlobError, Blobs, open_package};
use crate::progress::{Progress, Unit};

/// From this size on, several threads decode one package: kernels and firmware, whose streams have
/// several blocks. Below, packages beside each other keep the cores busy at less memory.
const THREADED_FROM: u64 = 16 << 20;
/// More would need more memory than is allowed, and wait for the disk.
const THREADS_MAX: usize = 8;

/// A package that has been read.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) control: Control,
    pub(super) members: Vec<Stored>,
    pub(super) bytes: u64,
}

/// A member, and where its bytes are if it is a file.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) member: Member,
    pub(super) blob: Option<ContentKey>,
}

/// Reads all packages, the largest first, and returns them ordered by name.
pub(super) fn take_in(
    packages: &[DebFile],
    part: Part<'_>,
    blobs: &Blobs,
    progress: &dyn Progress,
) -> Result<Vec<Intake>, UnpackError> {
    let total = packages.iter().map(|package| package.locked.size).fold(0, u64::saturating_add);
    progress.begin(part.stage, Some(total), Unit::Bytes);
    let mut order: Vec<(usize, &DebFile)> = packages.iter().enumerate().collect();
    order.sort_by_key(|(_, package)| std::cmp::Reverse(package.locked.size));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let next = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let results = Mutex::new(Vec::new());
    let work = || {
        while !is_over.load(Ordering::Relaxed)
            && let Some((number, package)) = order.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let result = read(package, part, *number, blobs, threads, progress);
            if result.is_err() {
                is_over.store(true, Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((*number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.min(packages.len()) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    let mut intakes: Vec<Intake> = results.into_iter().map(|(_, result)| result).collect::<Result<_, _>>()?;
    intakes.sort_by(|left, right| left.name().cmp(&right.name()));
    Ok(intakes)
}

impl Intake {
    fn name(&self) -> (&str, &str) {
        (self.control.package(), self.control.arch())
    }
}

fn read(
    package: &DebFile,
    part: Part<'_>,
    number: usize,
    blobs: &Blobs,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Intake, UnpackError> {
    let locked = &package.locked;
    let label = || format!("{}={}", locked.name, locked.version);
    let wrong = |source| UnpackError::Package { package: label(), source };
    let file = open_package(&package.path).map_err(|error| wrong(DebError::Io(error)))?;
    let mut watched = Watched { input: file, hasher: Sha256::new(), stage: part.stage, progress };
    let deb = Deb::open(&mut watched, locked.size).map_err(wrong)?;
    deb.control().check_identity(&locked.name, &locked.version, &locked.arch).map_err(wrong)?;
    let cap = deb.data_cap();
    let threads = if locked.size < THREADED_FROM { 1 } else { u32::try_from(threads).unwrap_or(1) };
    let mut members: Vec<Stored> = Vec::new();
    let mut bytes = 0_u64;
    // Few packages ship no sums; dpkg finds fault with a database that lacks them.
    let lacks_sums = deb.control().lacks_md5sums();
    let mut sums: Vec<(MemberPath, String)> = Vec::new();
    let read = deb.read_data(cap, threads, |member, content| {
        if !(part.wanted)(&member) {
            return Ok(());
        }
        let blob = match &member.kind {
            MemberKind::File { size } => {
                let name = format!("{number}-{}", members.len());
                let mut summed = Summed { input: content, sum: lacks_sums.then(Md5::default) };
                let written = blobs.write(&name, &mut summed).map_err(|error| match error {
                    BlobError::Read(error) => Interruption::Package(DebError::from_read(error)),
                    BlobError::Write(error) => Interruption::Store(error),
                })?;
                debug_assert_eq!(written, *size, "the reader hands out exactly what it announced");
                bytes = bytes.saturating_add(written);
                if let Some(sum) = summed.sum.and_then(Md5::finish) {
                    sums.push((member.path.clone(), sum));
                }
                Some(ContentKey::new(name.into_bytes()))
            }
            _ => None,
        };
        members.push(Stored { member, blob });
        Ok(())
    });
    let mut control = read.map_err(|interruption| match interruption {
        Interruption::Package(source) => wrong(source),
        Interruption::Store(source) => UnpackError::Store { package: label(), source },
    })?;
    let found = Sha256Digest::finish(watched.hasher);
    if found != locked.sha256 {
        return Err(UnpackError::Digest { package: label(), expected: locked.sha256, found });
    }
    if lacks_sums {
        control.set_md5sums(&sums);
    }
    if let Some(depends) = &package.depends {
        control.override_depends(depends);
    }
    Ok(Intake { control, members, bytes })
}

/// What ends the reading of a package early.
enum Interruption {
    Package(DebError),
    Store(io::Error),
}

impl From<DebError> for Interruption {
    fn from(error: DebError) -> Self {
        Self::Package(error)
    }
}

/// Sums up what is read, where that is wanted.
struct Summed<'a> {
    input: &'a mut dyn Read,
    sum: Option<Md5>,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if let Some(sum) = &mut self.sum {
            sum.update(&buffer[..count]);
        }
        Ok(count)
    }
}

/// Digests and counts what is read: the bytes used are the bytes that were locked.
struct Watched<'a, R> {
    input: R,
    hasher: Sha256,
    stage: &'static str,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.progress.advance(self.stage, to_u64(count));
        Ok(count)
    }
}
