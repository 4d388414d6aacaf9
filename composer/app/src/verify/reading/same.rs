//! Whether two images, or two partitions, hold the same bytes.
//!
//! Bytes are compared, no digest is trusted: neither of an image has to be right. Where both files have a
//! hole, nothing is read.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use goni_model::layout::Role;
use goni_model::number::{to_u64, to_usize};
use goni_model::size::ByteCount;

use crate::host::image::{Image, ImageError};
use crate::verify::evidence::{Evidence, ROLES};

/// Bytes of each image that are compared together.
const PIECE: u64 = 2 << 20;

/// Whether the disks of two images are the same, byte for byte.
///
/// # Errors
/// One cannot be read.
pub fn same_bytes(before: &Image, after: &Image) -> Result<bool, ImageError> {
    let (one, two) = (before.size(), after.size());
    if one != two {
        return Ok(false);
    }
    let part = |image| Part { image, offset: 0, size: one.get() };
    same(&part(before), &part(after))
        .map_err(|source| ImageError::Io { path: before.path().display().to_string(), source })
}

/// The partitions of two images that hold the same bytes.
pub(super) fn partitions(before: &Evidence<'_>, after: &Evidence<'_>) -> io::Result<BTreeSet<Role>> {
    let mut found = BTreeSet::new();
    for role in ROLES {
        if let (Some((one, size)), Some((two, other))) = (before.extent(role), after.extent(role))
            && size == other
            && same(
                &Part { image: before.image, offset: one.get(), size: size.get() },
                &Part { image: after.image, offset: two.get(), size: size.get() },
            )?
        {
            found.insert(role);
        }
    }
    Ok(found)
}

/// A part of an image.
struct Part<'a> {
    image: &'a Image,
    offset: u64,
    size: u64,
}

impl Part<'_> {
    /// Where there are bytes, counted from its beginning.
    fn extents(&self) -> io::Result<Vec<Range<u64>>> {
        let end = self.offset.saturating_add(self.size);
        let within = self.image.extents()?.into_iter().filter_map(|extent| {
            let (start, end) = (extent.start.max(self.offset), extent.end.min(end));
            (start < end).then(|| start - self.offset..end - self.offset)
        });
        Ok(within.collect())
    }

    fn read(&self, range: &Range<u64>, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut window = self.image.window(ByteCount::new(self.offset), ByteCount::new(self.size));
        window.seek(SeekFrom::Start(range.start))?;
        buffer.clear();
        let length = range.end - range.start;
        if window.take(length).read_to_end(buffer)? == to_usize(length) {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Whether two parts of one size hold the same bytes.
fn same(one: &Part<'_>, two: &Part<'_>) -> io::Result<bool> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for extent in union(one.extents()?, two.extents()?) {
        let mut start = extent.start;
        while start < extent.end {
            let piece = start..extent.end.min(start.saturating_add(PIECE));
            let (read, other) =
                rayon::join(|| one.read(&piece, &mut first), || two.read(&piece, &mut second));
            read?;
            other?;
            if first != second {
                return Ok(false);
            }
            start += to_u64(first.len());
        }
    }
    Ok(true)
}

/// What is in one list of extents or in another, in order.
fn union(one: Vec<Range<u64>>, other: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = one.into_iter().chain(other).collect();
    all.sort_by_key(|extent| extent.start);
    let mut united: Vec<Range<u64>> = Vec::new();
    for extent in all {
        match united.last_mut() {
            Some(last) if extent.start <= last.end => last.end = last.end.max(extent.end),
            _ => united.push(extent),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_of_both_are_looked_at_once() {
        let united = union(vec![0..2, 8..10, 20..30], vec![1..3, 10..11, 22..25]);
        assert_eq!(united, [0..3, 8..11, 20..30]);
        assert_eq!(union(Vec::new(), Vec::new()), Vec::<Range<u64>>::new());
    }
}
