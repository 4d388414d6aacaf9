//! A single file, looked at for what must not be in it, packed or not.

use std::io::Read;

use goni_debian::deb::Md5;

use super::Leak;
use super::shapes::{self, Kind, LONGEST, Shapes};

/// Bytes that are looked at together.
const STRETCH: usize = 1 << 20;

/// Most bytes that are unpacked of a file.
const UNPACKED_LIMIT: u64 = 64 << 20;

/// A file that is looked at, stretch by stretch.
pub(super) struct Look<'s> {
    shapes: &'s Shapes,
    /// The end of what was seen, in which something may begin, and what came since.
    window: Vec<u8>,
    begun: bool,
    found: Vec<(Kind, &'static str)>,
    sum: Option<Md5>,
    /// The bytes, as long as they are to be unpacked.
    packed: Option<Vec<u8>>,
}

impl<'s> Look<'s> {
    /// Begins; `summed`: its sum is asked for in the end.
    pub(super) fn new(shapes: &'s Shapes, summed: bool) -> Self {
        let sum = summed.then(Md5::default);
        Self { shapes, window: Vec::new(), begun: false, found: Vec::new(), sum, packed: None }
    }

    /// Takes in what comes next.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if let Some(sum) = &mut self.sum {
            sum.update(bytes);
        }
        if !self.begun {
            self.begun = true;
            self.found.extend(shapes::by_magic(bytes));
            self.packed = packing(bytes).map(|_| Vec::new());
        }
        if let Some(packed) = &mut self.packed {
            packed.extend_from_slice(bytes);
            if goni_model::number::to_u64(packed.len()) > UNPACKED_LIMIT {
                self.packed = None;
            }
        }
        self.search(bytes);
    }

    fn search(&mut self, bytes: &[u8]) {
        for stretch in bytes.chunks(STRETCH) {
            self.window.extend_from_slice(stretch);
            self.shapes.find(&self.window, &mut self.found);
            let seen = self.window.len().saturating_sub(LONGEST);
            self.window.drain(..seen);
        }
    }

    /// The sum of all that was taken, where it was asked for.
    pub(super) fn sum(&mut self) -> Option<String> {
        self.sum.take().and_then(Md5::finish)
    }

    /// What was found, packed or not, each once.
    pub(super) fn leaks(mut self, place: &str) -> Vec<Leak> {
        if let Some(packed) = self.packed.take() {
            self.window.clear();
            let mut unpacked = Vec::new();
            // What came before an error counts: whoever unpacks it sees that, too.
            if let Some(reader) = packing(&packed).and_then(|packing| packing.open(&packed)) {
                drop(reader.take(UNPACKED_LIMIT).read_to_end(&mut unpacked));
                self.search(&unpacked);
            }
        }
        self.found.sort();
        self.found.dedup();
        let what =
            |(kind, name): &(Kind, &'static str)| Leak { kind: *kind, what: format!("{name} in {place}") };
        self.found.iter().map(what).collect()
    }
}

/// How a file is packed.
#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    fn open<'p>(self, packed: &'p [u8]) -> Option<Box<dyn Read + 'p>> {
        Some(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Self::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(packed)),
            Self::Zstd => Box::new(zstd::Decoder::new(packed).ok()?),
        })
    }
}

fn packing(head: &[u8]) -> Option<Packing> {
    let magics: [(&[u8], Packing); 3] = [
        (b"\x1f\x8b\x08", Packing::Gzip),
        (b"\xfd7zXZ\0", Packing::Xz),
        (b"\x28\xb5\x2f\xfd", Packing::Zstd),
    ];
    magics.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, packing)| packing)
}
