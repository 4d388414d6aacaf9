//! Directory entries.
//!
//! Source: the specification, sections 6 and 7.

use goni_model::number::to_u64;
use goni_model::time::Timestamp;

use super::catalog::{Catalog, Held, Named, Placement};
use super::name::{self, Short};
use super::time::Moment;
use super::{cluster_number, put};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
/// Units of UTF-16 in a long entry, and where they are.
const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// `LAST_LONG_ENTRY`: marks the entry with the end of the name, which comes first.
const LAST: u8 = 0x40;

const READ_ONLY_HIDDEN_SYSTEM_LABEL: u8 = 0x0F;
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;

/// How many entries a directory has, never none.
pub(super) fn entry_count(entries: &[Named<'_>], is_root: bool) -> u64 {
    let own = if is_root { 1 } else { 2 };
    entries.iter().map(|entry| 1 + if entry.is_exact { 0 } else { long_count(entry.name) }).sum::<u64>() + own
}

fn long_count(name: &str) -> u64 {
    to_u64(name.encode_utf16().count().div_ceil(UNITS.len()))
}

/// All entries of a directory: label or dots, then what is in it.
pub(super) fn encode(
    catalog: &Catalog<'_>,
    index: usize,
    placement: &Placement,
    label: &Short,
    build_time: Timestamp,
) -> Vec<u8> {
    let node = catalog.node(index);
    let Held::Directory(entries) = &node.held else { return Vec::new() };
    let moment = |index: usize| Moment::of(catalog.node(index).mtime.clamp_to(build_time));
    let mut bytes = Vec::new();
    if node.path.is_root() {
        bytes.extend(short_entry(label, LABEL, None, 0, Moment::of(build_time)));
    } else {
        // A parent that is the root is named by zero. Section 6.5.
        let parent = if node.parent == 0 { None } else { placement.first[node.parent] };
        let own = moment(index);
        bytes.extend(short_entry(b".          ", DIRECTORY, placement.first[index], 0, own));
        bytes.extend(short_entry(b"..         ", DIRECTORY, parent, 0, own));
    }
    for entry in entries {
        if !entry.is_exact {
            push_long(&mut bytes, entry);
        }
        let (kind, size) = match &catalog.node(entry.index).held {
            Held::Directory(_) => (DIRECTORY, 0),
            Held::File(content) => (ARCHIVE, u32::try_from(content.size()).expect("checked by the catalog")),
        };
        bytes.extend(short_entry(
            &entry.short,
            kind,
            placement.first[entry.index],
            size,
            moment(entry.index),
        ));
    }
    bytes
}

fn short_entry(name: &Short, attributes: u8, first: Option<u64>, size: u32, moment: Moment) -> [u8; ENTRY] {
    let [a, b, c, d] = first.map_or(0, cluster_number).to_le_bytes();
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, *name); // DIR_Name
    entry[11] = attributes; // DIR_Attr
    entry[13] = moment.hundredths; // DIR_CrtTimeTenth
    put(&mut entry, 14, moment.time.to_le_bytes()); // DIR_CrtTime
    put(&mut entry, 16, moment.date.to_le_bytes()); // DIR_CrtDate
    put(&mut entry, 18, moment.date.to_le_bytes()); // DIR_LstAccDate
    put(&mut entry, 20, [c, d]); // DIR_FstClusHI
    put(&mut entry, 22, moment.time.to_le_bytes()); // DIR_WrtTime
    put(&mut entry, 24, moment.date.to_le_bytes()); // DIR_WrtDate
    put(&mut entry, 26, [a, b]); // DIR_FstClusLO
    put(&mut entry, 28, size.to_le_bytes()); // DIR_FileSize
    entry
}

/// Long entries, the end of the name first; a name that leaves room ends with NUL, then ones.
fn push_long(bytes: &mut Vec<u8>, entry: &Named<'_>) {
    let units: Vec<u16> = entry.name.encode_utf16().collect();
    let parts: Vec<&[u16]> = units.chunks(UNITS.len()).collect();
    for (place, part) in parts.iter().enumerate().rev() {
        let order = u8::try_from(place + 1).expect("a name has at most 20 parts");
        let mut long = [0; ENTRY];
        long[0] = if place + 1 == parts.len() { order | LAST } else { order }; // LDIR_Ord
        long[11] = READ_ONLY_HIDDEN_SYSTEM_LABEL; // LDIR_Attr
        long[13] = name::sum(&entry.short); // LDIR_Chksum
        let padded = part.iter().copied().chain(std::iter::once(0)).chain(std::iter::repeat(u16::MAX));
        for (offset, unit) in UNITS.into_iter().zip(padded) {
            put(&mut long, offset, unit.to_le_bytes());
        }
        bytes.extend(long);
    }
}
