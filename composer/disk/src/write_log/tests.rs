use std::fmt::Write as _;
use std::io::Cursor;

use goni_model::number::to_u64;

use super::*;

/// A log in the making, as the driver writes it.
struct Log {
    bytes: Vec<u8>,
    sector_size: usize,
    count: u64,
}

impl Log {
    fn new(sector_size: usize) -> Self {
        Self { bytes: vec![0; sector_size], sector_size, count: 0 }.counted()
    }

    fn counted(mut self) -> Self {
        let fields = [MAGIC, VERSION, self.count];
        let words = fields.iter().flat_map(|field| field.to_le_bytes());
        let size = u32::try_from(self.sector_size).unwrap().to_le_bytes();
        for (place, byte) in words.chain(size).enumerate() {
            self.bytes[place] = byte;
        }
        self
    }

    fn add(mut self, sector: u64, sectors: u64, flags: u64, mark: u64, bytes: &[u8]) -> Self {
        let start = self.bytes.len();
        for field in [sector, sectors, flags, mark] {
            self.bytes.extend(field.to_le_bytes());
        }
        self.bytes.resize(start + self.sector_size, 0);
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(self.sector_size), 0);
        self.count += 1;
        self.counted()
    }

    fn read(&self) -> Result<WriteLog, WriteLogError> {
        read(&mut Cursor::new(&self.bytes))
    }

    fn problem(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

/// What the reader sees, a line an entry.
fn disassembly(log: &WriteLog) -> String {
    let mut text = format!("sectors of {}\n", log.sector_size);
    for entry in &log.entries {
        match entry.action {
            Action::Write { offset, length, from } => {
                write!(text, "write {length} at {offset} from {from}")
            }
            Action::Discard { offset, length } => write!(text, "discard {length} at {offset}"),
            Action::None => write!(text, "nothing"),
        }
        .unwrap();
        let said = [(entry.flush, " flush"), (entry.forced, " forced")];
        text.extend(said.into_iter().filter(|(set, _)| *set).map(|(_, word)| word));
        text.push('\n');
    }
    text
}

#[test]
fn every_kind_of_entry_is_read() {
    let log = Log::new(512)
        .add(34, 2, 0, 0, &[1; 1024])
        .add(0, 0, FLUSH, 0, &[])
        .add(1, 1, FLUSH | FUA | METADATA, 0, &[2; 512])
        .add(100, 4000, DISCARD, 0, &[])
        .add(0, 0, MARK, 600, &[3; 600])
        .add(7, 1, 0, 0, &[4; 512]);
    let expected = "\
sectors of 512
write 1024 at 17408 from 1024
nothing flush
write 512 at 512 from 3072 flush forced
discard 2048000 at 51200
nothing
write 512 at 3584 from 6144
";
    let found = log.read().unwrap();
    assert_eq!(disassembly(&found), expected);
    let last = found.entries.last().unwrap();
    assert_eq!(last.range(), 3584..4096);
    assert_eq!(bytes(&mut Cursor::new(&log.bytes), 6144, 512).unwrap(), [4; 512]);
    assert_eq!(count(&mut Cursor::new(&log.bytes)).unwrap(), 6);
}

#[test]
fn a_log_of_a_disk_with_large_sectors_counts_in_them() {
    let log = Log::new(4096).add(6, 1, 0, 0, &[1; 4096]);
    assert_eq!(disassembly(&log.read().unwrap()), "sectors of 4096\nwrite 4096 at 24576 from 8192\n");
}

/// Made by QEMU 10.0: `blklogwrites` below qemu-io, `write -P 0x11 1024 1024`, `flush`,
/// `write -z 4096 512`, `discard 8192 4096`, `flush`.
#[test]
fn a_log_of_qemu_is_read() {
    let log = include_bytes!("qemu.log");
    assert_eq!(disassembly(&read(&mut Cursor::new(log)).unwrap()), include_str!("qemu.txt"));
}

#[test]
fn what_the_superblock_does_not_count_is_not_looked_at() {
    let mut log = Log::new(512).add(1, 1, 0, 0, &[1; 512]).add(2, 1, 0, 0, &[2; 512]);
    log.count = 1;
    let mut log = log.counted();
    log.bytes.truncate(512 * 3 + 7);
    assert_eq!(log.read().unwrap().entries.len(), 1);
}

#[test]
fn a_log_that_is_not_begun_has_no_entries_and_no_descriptions() {
    assert_eq!(count(&mut Cursor::new([])).unwrap(), 0);
    let error = read(&mut Cursor::new([])).unwrap_err().to_string();
    assert_eq!(error, "the write log is corrupt at offset 0: the log ends here");
}

#[test]
fn a_log_cut_off_anywhere_is_refused() {
    let log = Log::new(512).add(0, 1, 0, 0, &[1; 512]).add(0, 0, FLUSH, 0, &[]);
    for end in 0..1536 {
        let cut = read(&mut Cursor::new(&log.bytes[..end]));
        assert!(matches!(cut, Err(WriteLogError::Corrupt { .. })), "{end}");
    }
}

#[test]
fn what_a_log_says_and_its_length_contradicts_is_refused() {
    let many = {
        let mut log = Log::new(512);
        log.count = u64::MAX;
        log.counted()
    };
    assert_eq!(
        many.problem(),
        "the write log is corrupt at offset 16: more entries than the log has sectors"
    );
    let long = Log::new(512).add(0, 1 << 50, 0, 0, &[]);
    assert_eq!(long.problem(), "the write log is corrupt at offset 520: more bytes than the log has");
    let mark = Log::new(512).add(0, 0, MARK, u64::MAX, &[]);
    assert_eq!(mark.problem(), "the write log is corrupt at offset 520: more bytes than the log has");
    for (sector, sectors) in [(u64::MAX, 1), (u64::MAX / 512, 1), (1, u64::MAX), (0, u64::MAX / 512 + 1)] {
        let far = Log::new(512).add(sector, sectors, DISCARD, 0, &[]);
        assert_eq!(far.problem(), "the write log is corrupt at offset 512: a write past 2^64 bytes");
    }
}

#[test]
fn a_log_of_another_kind_is_refused() {
    let patched = |place: usize, value: u8| {
        let mut log = Log::new(512).add(0, 0, FLUSH, 0, &[]);
        log.bytes[place] = value;
        log.problem()
    };
    assert_eq!(patched(0, 0), "the write log is corrupt at offset 0: no magic of a write log");
    assert_eq!(patched(8, 2), "the write log has version 2, expected 1");
    assert_eq!(patched(25, 1), "the write log has sectors of 256, expected 512 or 4096");
    assert_eq!(patched(512 + 16, 0x21), "the write log has flags 33, expected the five known");
}

#[test]
fn no_byte_of_a_log_makes_the_reader_panic() {
    let log = Log::new(512).add(3, 1, 0, 0, &[1; 512]).add(9, 2, DISCARD | FLUSH, 0, &[]);
    for place in (0..SUPERBLOCK).chain(512..512 + DESCRIPTION).chain(1536..1536 + DESCRIPTION) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut log = log.bytes.clone();
            log[place] = value;
            if let Ok(found) = read(&mut Cursor::new(&log)) {
                assert!(to_u64(found.entries.len()) <= to_u64(log.len()) / 512);
                assert!(found.entries.iter().all(|entry| entry.range().start <= entry.range().end));
            }
        }
    }
}
