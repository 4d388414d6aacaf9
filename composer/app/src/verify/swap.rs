//! The swap partition is empty: its key is made at boot, so whatever is there came from elsewhere.

use std::io::{self, Read, Seek as _, SeekFrom};

use goni_model::layout::Role;
use goni_model::number::to_u64;

use super::evidence::Evidence;
use super::objection::{Objection, Verdict};

/// Bytes looked at together.
const PIECE: usize = 1 << 20;

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    evidence.table.aid()?;
    if evidence.partition(Role::Swap).is_none() {
        return Err(Objection::unseen("there is no swap partition"));
    }
    match first_byte(evidence, Role::Swap) {
        Ok(None) => Ok(()),
        Ok(Some(offset)) => Err(Objection::differs("zeros", format!("something at offset {offset}"))),
        Err(error) => Err(Objection::differs("it can be read", error)),
    }
}

/// Offset of the first byte of a partition that is not zero. Holes of the file are not read.
pub(super) fn first_byte(evidence: &Evidence<'_>, role: Role) -> io::Result<Option<u64>> {
    let Some((start, size)) = evidence.extent(role) else { return Ok(None) };
    let (start, end) = (start.get(), start.get() + size.get());
    let mut piece = vec![0; PIECE];
    for extent in evidence.image.extents()? {
        let (from, to) = (extent.start.max(start), extent.end.min(end));
        if from >= to {
            continue;
        }
        let mut window = evidence.image.whole();
        window.seek(SeekFrom::Start(from))?;
        let mut rest = window.take(to - from);
        let mut position = from;
        loop {
            let count = rest.read(&mut piece)?;
            if count == 0 {
                break;
            }
            if let Some(at) = piece[..count].iter().position(|byte| *byte != 0) {
                return Ok(Some(position - start + to_u64(at)));
            }
            position += to_u64(count);
        }
    }
    Ok(None)
}
