//! What is looked into beside the root: the files of the initrd, of the state, and of the partitions that
//! firmware and loaders read.
//!
//! Wherever such a file is, it is public if it is what a package lists, byte for byte. Left out: kernels, and
//! the initrd as it is packed. What cannot be read of the initrd or of a partition is told by the checks whose
//! objects they are.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use goni_disk::uki;
use goni_model::number::to_u64;
use goni_model::target::BootMethod;

use super::look::Look;
use super::shapes::Shapes;
use super::{Leaks, Sums};
use crate::verify::evidence::{Booted, Evidence, StateKind, SystemFile, chain};
use crate::verify::objection::Objection;

/// Bytes that are read together.
const PIECE: u64 = 256 << 10;

/// Sections of a kernel image that are left out.
const CARRIED: [&str; 2] = [".initrd", ".linux"];

/// Looks into what is not of the root.
pub(super) struct Beside<'s> {
    shapes: &'s Shapes,
    /// The sums of what packages brought.
    public: BTreeSet<&'s str>,
    leaks: Leaks,
}

impl<'s> Beside<'s> {
    pub(super) fn new(shapes: &'s Shapes, sums: &'s Sums) -> Self {
        Self { shapes, public: sums.values().map(String::as_str).collect(), leaks: Leaks::default() }
    }

    /// Looks into all of it.
    pub(super) fn look(mut self, evidence: &Evidence<'_>) -> Leaks {
        // An initrd that cannot be read is the fault of another check.
        let _ = evidence.read_initrd(&mut |path, content| self.file(&format!("initrd:/{path}"), content));
        let booted = evidence.booted();
        self.system_partition(evidence, booted.as_ref());
        self.app(evidence, booted.as_ref());
        for (path, node) in evidence.state.found().iter().flat_map(|state| &state.nodes) {
            if let StateKind::File(Some(content)) = &node.kind {
                self.bytes(&format!("state:{path}"), content);
            }
        }
        self.leaks
    }

    fn system_partition(&mut self, evidence: &Evidence<'_>, booted: Option<&Booted>) {
        let (Some(esp), Ok(contents)) = (evidence.esp.found(), evidence.system_contents()) else { return };
        let booted = booted.filter(|_| evidence.boot == BootMethod::RaspberryPi);
        for (path, file) in esp.files.iter().filter(|(path, _)| !carries(booted, path)) {
            let place = format!("esp:/{path}");
            let looked = contents.file(path).and_then(|mut content| match file {
                SystemFile::Program(program) => {
                    self.file(&place, &mut Gaps::new(&mut content, &program.image))
                }
                SystemFile::Broken(_) | SystemFile::Other(_) => self.file(&place, &mut content),
            });
            if let Err(error) = looked {
                self.leaks.unread.push(Objection::differs(format!("content of `{place}`"), chain(&error)));
            }
        }
    }

    fn app(&mut self, evidence: &Evidence<'_>, booted: Option<&Booted>) {
        let Some(app) = evidence.app.found() else { return };
        let booted = booted.filter(|_| evidence.boot == BootMethod::Extlinux);
        let files = app.files.iter().filter(|(_, file)| file.regular).map(|(path, _)| path);
        for path in files.filter(|path| !carries(booted, path)) {
            match app.bytes(path) {
                Ok(bytes) => self.bytes(&format!("app:/{path}"), &bytes),
                Err(objection) => self.leaks.unread.push(objection),
            }
        }
    }

    /// A file whose bytes are here.
    fn bytes(&mut self, place: &str, bytes: &[u8]) {
        let mut look = Look::new(self.shapes, true);
        look.take(bytes);
        self.end(look, place);
    }

    /// A file that is read.
    fn file(&mut self, place: &str, content: &mut dyn Read) -> io::Result<()> {
        let (mut look, mut piece) = (Look::new(self.shapes, true), Vec::new());
        // Whole pieces, whatever single reads bring.
        while content.take(PIECE).read_to_end(&mut piece)? > 0 {
            look.take(&piece);
            piece.clear();
        }
        self.end(look, place);
        Ok(())
    }

    fn end(&mut self, mut look: Look<'_>, place: &str) {
        if !look.sum().is_some_and(|sum| self.public.contains(sum.as_str())) {
            self.leaks.found.extend(look.leaks(&format!("`{place}`")));
        }
    }
}

/// Whether a file is the kernel or the initrd.
fn carries(booted: Option<&Booted>, path: &str) -> bool {
    booted.is_some_and(|booted| booted.kernel == path || booted.initrd.as_deref() == Some(path))
}

/// A program without what it carries: what is around that, one after another.
struct Gaps<'f, F> {
    file: &'f mut F,
    /// What is left to be read, the next last.
    left: Vec<Range<u64>>,
    /// Whether the file is at the beginning of that.
    there: bool,
}

impl<'f, F: Read + Seek> Gaps<'f, F> {
    fn new(file: &'f mut F, image: &uki::Image) -> Self {
        let carried = image.sections.iter().filter(|section| CARRIED.contains(&section.name.as_str()));
        let carried = carried.map(|section| section.offset..section.offset.saturating_add(section.size));
        Self { file, left: gaps(carried.collect()), there: false }
    }
}

/// What is between ranges, and before and behind them, the first last.
fn gaps(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let (mut gaps, mut at) = (Vec::new(), 0);
    for range in ranges {
        gaps.push(at..range.start);
        at = at.max(range.end);
    }
    gaps.push(at..u64::MAX);
    gaps.retain(|gap| !gap.is_empty());
    gaps.reverse();
    gaps
}

impl<F: Read + Seek> Read for Gaps<'_, F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while let Some(gap) = self.left.last_mut() {
            if !self.there {
                self.file.seek(SeekFrom::Start(gap.start))?;
                self.there = true;
            }
            let count = (&mut self.file).take(gap.end - gap.start).read(bytes)?;
            gap.start += to_u64(count);
            if count > 0 {
                return Ok(count);
            }
            self.left.pop();
            self.there = false;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::verify::leaks::Kind;

    #[test]
    fn what_a_program_carries_is_left_out() {
        assert_eq!(gaps(vec![7..9, 0..2]), [9..u64::MAX, 2..7]);
        // Sections that overlap, and one that claims to be larger than any file.
        assert_eq!(gaps(vec![2..8, 4..6, 10..u64::MAX]), [8..10, 0..2]);
        let mut file = Cursor::new(b"0123456789");
        let mut read = Vec::new();
        Gaps { file: &mut file, left: gaps(vec![7..9, 2..4]), there: false }.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"014569");
    }

    #[test]
    fn what_a_package_lists_is_public_wherever_it_lies() {
        let shapes = Shapes::new(std::iter::empty());
        let key = b"-----BEGIN PRIVATE KEY-----\n";
        let path = goni_disk::tree::TreePath::parse(b"usr/share/x").unwrap();
        // md5sum of the line.
        for (sum, found) in [("4afdb7ee235ba5b66c66e7189ffcbf42", 0), ("00000000000000000000000000000000", 1)]
        {
            let sums = Sums::from([(path.clone(), sum.to_owned())]);
            let mut beside = Beside::new(&shapes, &sums);
            beside.bytes("esp:/x", key);
            assert_eq!(beside.leaks.of(Kind::Key).count(), found);
        }
    }
}
