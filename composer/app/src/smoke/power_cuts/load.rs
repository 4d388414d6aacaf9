//! The load that a guest works under while its writes are recorded, and the promises it was given:
//! what a file must hold once fsync has said so.
//!
//! The guest's half is `qemu/guest/load.sh` and `load.pl`; the two agree on lines and names. What was
//! told with a log of N entries is promised at every cut of N entries or more.

use std::path::Path;

use goni_model::document::fault::Faults;
use goni_model::document::source::Sources;

use crate::project::Files;
use crate::smoke::handover::credential;
use crate::smoke::load::LoadError;
use crate::smoke::scenario::{self, Scenario};

/// The unit, which the unit of the checks wants.
const UNIT: &str = "goni-load.service";
/// The boots that are recorded. No scenario like others: it has no checks.
const SCENARIO: &str = "qemu/power-cuts.toml";
/// More than any of the files has.
const MOST_BYTES: usize = 1 << 20;
/// How often a replaced file repeats its line.
const LINES: usize = 100;
/// The directories with a writer, by their names on the state partition.
pub const NAMES: [&str; 3] = ["data", "models", "config"];

/// What is recorded: a scenario without checks, and the guest's side of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLoad {
    /// The boots; those of the first machine are recorded.
    pub scenario: Scenario,
    unit: String,
    script: String,
    writer: String,
}

impl GuestLoad {
    /// Reads it from the project at `root`.
    ///
    /// # Errors
    /// A file cannot be read, or the scenario is not one.
    pub fn read(files: &dyn Files, root: &Path) -> Result<Self, LoadError> {
        let text = |place: &str| {
            let bytes = files.read(&root.join(place), MOST_BYTES);
            let bytes = bytes.map_err(|source| LoadError::Read { path: place.to_owned(), source })?;
            Ok::<_, LoadError>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let mut sources = Sources::new();
        let (file, _) = sources.add(SCENARIO, text(SCENARIO)?.as_bytes());
        let scenario = scenario::check(&sources, file, "power-cuts".parse()?);
        Ok(Self {
            scenario: scenario.map_err(|faults| Faults::new(sources, faults))?,
            unit: text("qemu/guest/load.service")?,
            script: text("qemu/guest/load.sh")?,
            writer: text("qemu/guest/load.pl")?,
        })
    }

    /// The SMBIOS strings that hand it over.
    #[must_use]
    pub fn strings(&self, nonce: &str) -> Vec<String> {
        vec![
            credential(&format!("systemd.extra-unit.{UNIT}"), &self.unit),
            credential("systemd.unit-dropin.goni-smoke.service", &format!("[Unit]\nWants={UNIT}\n")),
            credential("goni.load.script", &self.script),
            credential("goni.load.writer", &self.writer),
            credential("goni.load.values", &format!("nonce={nonce}\n")),
        ]
    }
}

/// One of the two ways in which a writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Lines at the end of a file.
    Record,
    /// A file that another takes the place of.
    Settings,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Record, Self::Settings];

    /// The word the guest uses.
    const fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Settings => "settings",
        }
    }

    /// Its file on the state partition.
    #[must_use]
    pub fn file(self, name: &str) -> String {
        match self {
            Self::Record => format!("/{name}/.goni-load-records"),
            Self::Settings => format!("/{name}/.goni-load-settings"),
        }
    }
}

/// A number that fsync promised, told when the log had so many entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Promise {
    name: &'static str,
    way: Way,
    number: u64,
    entries: u64,
}

/// All that was promised in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    nonce: String,
    promises: Vec<Promise>,
}

impl Ledger {
    /// Of no run.
    pub const EMPTY: Self = Self { nonce: String::new(), promises: Vec::new() };

    /// Nothing is promised yet.
    #[must_use]
    pub fn new(nonce: &str) -> Self {
        Self { nonce: nonce.to_owned(), promises: Vec::new() }
    }

    /// Notes a line that came when the log had so many entries. What is no line of this run is no
    /// promise: then `false`.
    pub fn hear(&mut self, line: &[u8], entries: u64) -> bool {
        let promise = || {
            let text = std::str::from_utf8(line).ok()?;
            let mut words = text.split(' ');
            let (nonce, name, way) = (words.next()?, words.next()?, words.next()?);
            let number = words.next()?.parse().ok()?;
            if nonce != self.nonce || words.next().is_some() {
                return None;
            }
            Some(Promise {
                name: NAMES.into_iter().find(|known| *known == name)?,
                way: Way::ALL.into_iter().find(|known| known.word() == way)?,
                number,
                entries,
            })
        };
        let promise = promise();
        self.promises.extend(promise);
        promise.is_some()
    }

    /// How many promises were given while the log grew from one number of entries to another.
    #[must_use]
    pub fn count(&self, after: u64, until: u64) -> u64 {
        let within = |promise: &&Promise| promise.entries > after && promise.entries <= until;
        goni_model::number::to_u64(self.promises.iter().filter(within).count())
    }

    /// The highest number promised for a file by the time of a cut; 0: none.
    #[must_use]
    pub fn promised(&self, name: &str, way: Way, cut: u64) -> u64 {
        let of_file = |promise: &&Promise| promise.name == name && promise.way == way;
        let told = self.promises.iter().filter(of_file).filter(|promise| promise.entries <= cut);
        told.map(|promise| promise.number).max().unwrap_or(0)
    }

    /// The number that every writer has reached in both ways.
    #[must_use]
    pub fn reached(&self) -> u64 {
        let all = NAMES.into_iter().flat_map(|name| Way::ALL.map(|way| self.promised(name, way, u64::MAX)));
        all.min().unwrap_or(0)
    }

    /// What a file that was found after a cut breaks of the promises, in words; `None`: nothing.
    #[must_use]
    pub fn broken(&self, name: &str, way: Way, cut: u64, found: Option<&[u8]>) -> Option<String> {
        let promised = self.promised(name, way, cut);
        let file = way.file(name);
        match (way, found) {
            (_, None) if promised == 0 => None,
            (_, None) => Some(format!("`{file}` is gone, though {promised} was acknowledged")),
            (Way::Record, Some(found)) => {
                let kept = (1..=promised).take_while(|number| {
                    // Numbers differ in length: the place of a line is the sum of those before.
                    let before: usize = (1..*number).map(|number| self.line(name, number).len()).sum();
                    found
                        .get(before..)
                        .is_some_and(|rest| rest.starts_with(self.line(name, *number).as_bytes()))
                });
                let kept = goni_model::number::to_u64(kept.count());
                (kept < promised).then(|| {
                    format!("`{file}` has the lines up to {kept}, though {promised} was acknowledged")
                })
            }
            (Way::Settings, Some([])) => Some(format!("`{file}` is empty, which it never was")),
            (Way::Settings, Some(found)) => {
                let first = found.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let words = std::str::from_utf8(first).unwrap_or_default();
                let number = words.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
                let whole = number.filter(|n| self.line(name, *n).repeat(LINES).as_bytes() == found);
                match whole {
                    None => Some(format!("`{file}` is neither an old nor a new one: {} bytes", found.len())),
                    Some(number) if number < promised => {
                        Some(format!("`{file}` is number {number}, though {promised} was acknowledged"))
                    }
                    Some(_) => None,
                }
            }
        }
    }

    /// A line as the guest writes it.
    fn line(&self, name: &str, number: u64) -> String {
        format!("{} {name} {number}\n", self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new("n0");
        for (line, entries) in [
            ("n0 data record 1", 10),
            ("n0 data settings 1", 12),
            ("n0 data record 2", 20),
            ("n0 data settings 2", 22),
        ] {
            assert!(ledger.hear(line.as_bytes(), entries), "{line}");
        }
        ledger
    }

    #[test]
    fn what_is_not_of_this_run_is_no_promise() {
        let mut ledger = Ledger::new("n0");
        for line in [
            "n1 data record 1",
            "n0 etc record 1",
            "n0 data reads 1",
            "n0 data record x",
            "n0 data record 1 2",
            "",
            "n0",
        ] {
            assert!(!ledger.hear(line.as_bytes(), 1), "{line}");
        }
        assert!(!ledger.hear(b"n0 data record \xff", 1));
        assert_eq!(ledger, Ledger::new("n0"));
    }

    #[test]
    fn a_promise_holds_from_the_entry_on_that_it_was_told_at() {
        let ledger = ledger();
        let promised: Vec<u64> =
            [9, 10, 19, 20, 99].map(|cut| ledger.promised("data", Way::Record, cut)).to_vec();
        assert_eq!(promised, [0, 1, 1, 2, 2]);
        assert_eq!((ledger.count(0, 99), ledger.count(10, 20), ledger.reached()), (4, 2, 0));
    }

    #[test]
    fn lines_that_were_acknowledged_must_be_there_and_others_may() {
        let broken = |cut, found: Option<&[u8]>| ledger().broken("data", Way::Record, cut, found);
        assert_eq!(broken(9, None), None);
        assert_eq!(broken(9, Some(b"")), None);
        assert_eq!(broken(9, Some(b"n0 data 1\nn0 da")), None);
        assert_eq!(broken(20, Some(b"n0 data 1\nn0 data 2\nn0 data 3\n")), None);
        assert_eq!(
            broken(20, Some(b"n0 data 1\nn0 da")).unwrap(),
            "`/data/.goni-load-records` has the lines up to 1, though 2 was acknowledged"
        );
        assert_eq!(
            broken(20, Some(&[0; 20])).unwrap(),
            "`/data/.goni-load-records` has the lines up to 0, though 2 was acknowledged"
        );
        assert_eq!(
            broken(10, None).unwrap(),
            "`/data/.goni-load-records` is gone, though 1 was acknowledged"
        );
    }

    #[test]
    fn lines_are_found_where_numbers_grow_longer() {
        let mut ledger = Ledger::new("n0");
        ledger.hear(b"n0 models record 12", 1);
        let text: String = (1..=12).map(|number| format!("n0 models {number}\n")).collect();
        assert_eq!(ledger.broken("models", Way::Record, 1, Some(text.as_bytes())), None);
        assert!(ledger.broken("models", Way::Record, 1, Some(&text.as_bytes()[..text.len() - 1])).is_some());
    }

    #[test]
    fn a_replaced_file_is_the_old_or_a_newer_one_and_whole() {
        let broken = |cut, found: Option<&[u8]>| ledger().broken("data", Way::Settings, cut, found);
        let whole = |number: u64| format!("n0 data {number}\n").repeat(LINES);
        assert_eq!(broken(11, None), None);
        assert_eq!(broken(12, Some(whole(1).as_bytes())), None);
        assert_eq!(broken(12, Some(whole(3).as_bytes())), None);
        assert_eq!(
            broken(22, Some(whole(1).as_bytes())).unwrap(),
            "`/data/.goni-load-settings` is number 1, though 2 was acknowledged"
        );
        assert_eq!(broken(1, Some(b"")).unwrap(), "`/data/.goni-load-settings` is empty, which it never was");
        let mixed = format!("{}{}", &whole(2)[..500], &whole(1)[500..]);
        for torn in [&whole(2)[..500], &mixed, "\0\0\0\0"] {
            let said = broken(1, Some(torn.as_bytes())).unwrap();
            assert!(said.contains("is neither an old nor a new one"), "{said}");
        }
    }

    #[test]
    fn the_guests_half_is_in_the_project_and_says_the_same_names() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let load = GuestLoad::read(&crate::host::project::ProjectFiles, root).unwrap();
        for name in NAMES {
            assert!(load.script.contains(&format!(" {name} ")), "{name}");
        }
        assert!(load.writer.contains("$line x 100"), "{LINES} lines");
        assert!(Way::ALL.iter().all(|way| load.writer.contains(way.word())));
        assert_eq!(load.strings("n0").len(), 5);
        let recorded: Vec<String> =
            load.scenario.machines(9)[0].boots.iter().map(|b| b.name.to_string()).collect();
        assert_eq!(recorded, ["first", "rebooted"]);
    }
}
