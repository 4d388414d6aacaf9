//! Changes to finished disks, and looks at them.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use goni_model::layout::{Layout, Role};
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use super::root::noise;
use crate::host::disk_file::DiskFile;

/// Inverts a byte at an offset of a partition.
pub(in crate::verify) fn flip(disk: &DiskFile, layout: &Layout, role: Role, offset: u64) {
    let slot = layout.slot(role).unwrap();
    let mut window = disk.window(slot.offset, slot.size);
    let mut byte = [0];
    window.seek(SeekFrom::Start(offset)).unwrap();
    window.read_exact(&mut byte).unwrap();
    window.seek(SeekFrom::Start(offset)).unwrap();
    window.write_all(&[!byte[0]]).unwrap();
}

/// Where in the root the bytes of its largest file are: they do not compress.
pub(in crate::verify) fn place_of_noise(disk: &DiskFile, layout: &Layout) -> u64 {
    let slot = layout.slot(Role::Root).unwrap();
    let mut bytes = Vec::new();
    disk.window(slot.offset, slot.size).read_to_end(&mut bytes).unwrap();
    let wanted = &noise()[4096..4096 + 64];
    to_u64(memchr::memmem::find(&bytes, wanted).expect("it is stored as it is"))
}

/// Writes over the disk.
pub(in crate::verify) fn write_at(disk: &DiskFile, offset: u64, bytes: &[u8]) {
    let mut whole = disk.whole().unwrap();
    whole.seek(SeekFrom::Start(offset)).unwrap();
    whole.write_all(bytes).unwrap();
}

/// A byte of the disk.
pub(in crate::verify) fn byte(disk: &DiskFile, offset: u64) -> u8 {
    let mut window = disk.window(ByteCount::new(offset), ByteCount::new(1));
    let mut byte = [0];
    window.read_exact(&mut byte).unwrap();
    byte[0]
}

/// So many bytes of the end of the disk.
pub(in crate::verify) fn tail(disk: &DiskFile, length: u64) -> Vec<u8> {
    let mut whole = disk.whole().unwrap();
    whole.seek(SeekFrom::Start(disk.size().unwrap().get() - length)).unwrap();
    let mut bytes = vec![0; to_usize(length)];
    whole.read_exact(&mut bytes).unwrap();
    bytes
}

/// Cuts a file, or makes it longer.
#[expect(clippy::disallowed_methods, reason = "a test cuts its own file")]
pub(super) fn set_length(path: &Path, length: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}
