//! Extended attributes, as an image holds them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// The largest list and the largest value the kernel gives. Source: xattr(7), 64 KiB each.
const MAXIMUM: usize = 64 << 10;

/// What a writer of images takes over; the rest is the host's own, such as its SELinux labels.
fn wanted(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

/// The attributes of an open directory.
pub(super) fn of_directory(directory: impl AsFd) -> io::Result<Attributes> {
    let directory = directory.as_fd();
    collect(|list| flistxattr(directory, list), |name, value| fgetxattr(directory, name, value))
}

/// The attributes of an entry of an open directory; a symbolic link is not followed.
pub(super) fn of_entry(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Attributes> {
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    collect(|list| llistxattr(&path, list), |name, value| lgetxattr(&path, name, value))
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Attributes> {
    // Nearly no file has any, and a list is short: 4 KiB hold it without an allocation.
    let mut short = [0; 4096];
    let (mut all, mut long) = (Vec::new(), Vec::new());
    let names = match list(&mut short) {
        Ok(length) => &short[..length],
        Err(Errno::RANGE) => {
            all.resize(MAXIMUM, 0);
            let length = list(&mut all)?;
            &all[..length]
        }
        Err(Errno::OPNOTSUPP) => return Ok(Attributes::new()),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Attributes::new();
    for name in names.split(|byte| *byte == 0).filter(|name| wanted(name)) {
        long.resize(MAXIMUM, 0);
        let length = get(name, &mut long)?;
        let value = &long[..length];
        let value = if name == b"security.capability" { without_namespace(value) } else { value.to_vec() };
        attributes.insert(name.to_vec(), value);
    }
    Ok(attributes)
}

/// Version 3 of a file capability names the namespace it is for; within an image there is only one.
///
/// Source: linux/capability.h, `VFS_CAP_REVISION_2` and `_3`: a little-endian word of revision and
/// flags, two pairs of words and, in version 3, the root user of the namespace.
fn without_namespace(value: &[u8]) -> Vec<u8> {
    match value {
        [flags, 0, 0, 3, sets @ ..] if sets.len() == 20 => [&[*flags, 0, 0, 2], &sets[..16]].concat(),
        _ => value.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespaced_capability_becomes_a_plain_one() {
        let sets: Vec<u8> = (1..=16).collect();
        let plain = [&[1, 0, 0, 2], &sets[..]].concat();
        let namespaced = [&[1, 0, 0, 3], &sets[..], &[0xa0, 0x86, 1, 0]].concat();
        assert_eq!(without_namespace(&namespaced), plain);
        assert_eq!(without_namespace(&plain), plain);
    }
}
