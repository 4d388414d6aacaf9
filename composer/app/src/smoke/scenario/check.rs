//! From a scenario as typed to a scenario as meant.

use goni_model::document::checker::{Checker, Text};
use goni_model::document::fault::Fault;
use goni_model::document::source::{FileId, Sources, Span};
use goni_model::document::{self, shape};
use goni_model::name::Name;
use goni_model::size::SectorSize;
use toml::Spanned;

use crate::smoke::feature::Feature;
use crate::smoke::preparation::Preparation;
use crate::smoke::scenario::doc::{BootDoc, ScenarioDoc, TypedDoc, schema};
use crate::smoke::scenario::{
    Arrival, Boot, Ending, Expect, Network, Restart, Scenario, Setting, Tpm, Typed,
};

/// Checks the scenario that a file describes.
///
/// # Errors
/// Every fault found.
pub fn check(sources: &Sources, file: FileId, name: Name) -> Result<Scenario, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: ScenarioDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let scenario = scenario(&doc, name, &mut checker);
    checker.finish(scenario).map(|(scenario, _)| scenario)
}

fn scenario(doc: &ScenarioDoc, name: Name, checker: &mut Checker) -> Option<Scenario> {
    let summary = checker.sentence(doc.summary.as_ref(), "summary");
    let needs = Feature::choices(doc.needs.as_ref(), checker);
    let docs = doc.boot.as_deref().unwrap_or_default();
    if docs.is_empty() {
        checker.missing("boot", "at least one [[boot]] with a name");
    }
    let mut boots: Vec<Boot> = Vec::new();
    for (index, doc) in docs.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| docs.get(before));
        let Some(boot) = boot(doc, before, checker) else { continue };
        if let Some(text) = doc.name.as_ref().filter(|_| boots.iter().any(|other| other.name == boot.name)) {
            checker.fault_at(text, format!("two boots are called `{}`", boot.name));
        }
        boots.push(boot);
    }
    Some(Scenario { name, summary: summary?, default: doc.default.unwrap_or(false), needs, boots })
}

fn boot(doc: &BootDoc, before: Option<&BootDoc>, checker: &mut Checker) -> Option<Boot> {
    let name = checker.parse_required(doc.name.as_ref(), "boot.name", "such as \"first\"");
    let arrival = match (&doc.by, before) {
        (None, None) => {
            Some(Arrival::PowerOn { after: Ending::Nothing, setting: setting(doc, true, checker) })
        }
        (Some(by), None) => {
            checker.fault_at(by, "the first boot comes of itself: leave `by` out");
            None
        }
        (None, Some(_)) => {
            checker.missing("boot.by", "reboot, reset, power-cut or power-off: all but the first say it");
            None
        }
        (Some(by), Some(before)) => arrival(by, doc, before, checker),
    };
    let outcomes = [
        ("healthy", Expect::Healthy),
        ("healthy-restarting", Expect::HealthyRestarting),
        ("down", Expect::Down),
    ];
    let expect = word(doc.expect.as_ref(), "expect", outcomes, checker);
    let console: Vec<Option<String>> =
        doc.console.iter().flatten().map(|text| checker.sentence(Some(text), "console")).collect();
    let typed: Vec<Option<Typed>> = doc.typed.iter().flatten().map(|doc| typed(doc, checker)).collect();
    Some(Boot {
        name: name?,
        arrival: arrival?,
        expect,
        console: console.into_iter().collect::<Option<_>>()?,
        typed: typed.into_iter().collect::<Option<_>>()?,
    })
}

fn arrival(by: &Text, doc: &BootDoc, before: &BootDoc, checker: &mut Checker) -> Option<Arrival> {
    let restart = |restart: Restart| (restart.name(), Err(restart));
    let by_words = [
        restart(Restart::Reboot),
        restart(Restart::Reset),
        ("power-cut", Ok(Ending::PowerCut)),
        ("power-off", Ok(Ending::PowerOff)),
    ];
    let choice = checker.choice(by, "by", &by_words)?;
    let was_down = before.expect.as_ref().is_some_and(|text| text.get_ref() == "down");
    if was_down && matches!(choice, Err(Restart::Reboot) | Ok(Ending::PowerOff)) {
        let fault = Fault::new(Span::from(by.span()), "a guest that is down cannot be asked to do this");
        checker.fault(fault.hint("use `power-cut` or `reset`"));
    }
    match choice {
        Ok(after) => Some(Arrival::PowerOn { after, setting: setting(doc, false, checker) }),
        Err(restart) => {
            refuse_setting(doc, restart, checker);
            Some(Arrival::Restart(restart))
        }
    }
}

/// A machine that starts again is the one it was.
fn refuse_setting(doc: &BootDoc, restart: Restart, checker: &mut Checker) {
    fn place<T>(value: Option<&Spanned<T>>) -> Option<Span> {
        value.map(|value| Span::from(value.span()))
    }
    let keys = [
        ("network", place(doc.network.as_ref())),
        ("iommu", place(doc.iommu.as_ref())),
        ("disk", place(doc.disk.as_ref())),
        ("sector-size", place(doc.sector_size.as_ref())),
        ("tpm", place(doc.tpm.as_ref())),
        ("fresh", place(doc.fresh.as_ref())),
        ("prepare", doc.prepare.as_ref().and_then(|list| place(list.first()))),
    ];
    for (key, span) in keys {
        if let Some(span) = span {
            let message = format!("`{key}` cannot change at a {}", restart.name());
            checker.fault(Fault::new(span, message).hint("a `power-cut` or `power-off` changes machines"));
        }
    }
}

fn setting(doc: &BootDoc, first: bool, checker: &mut Checker) -> Setting {
    let networks = [("none", Network::None), ("restricted", Network::Restricted)];
    let network = word(doc.network.as_ref(), "network", networks, checker);
    let tpms = [("none", Tpm::None), ("own", Tpm::Own), ("replaced", Tpm::Replaced)];
    let tpm = doc.tpm.as_ref().and_then(|text| checker.choice(text, "tpm", &tpms));
    let fresh = flag(doc.fresh.as_ref());
    let sector_size = doc.sector_size.as_ref().and_then(|size| sector_size(size, first || fresh, checker));
    let preparations = Preparation::ALL.map(|preparation| (preparation.name(), preparation));
    Setting {
        fresh,
        network,
        iommu: flag(doc.iommu.as_ref()),
        disk: doc.disk.as_ref().and_then(|text| checker.parse(text)),
        sector_size,
        tpm,
        prepare: doc
            .prepare
            .iter()
            .flatten()
            .filter_map(|text| checker.choice(text, "prepare", &preparations))
            .collect(),
    }
}

/// One of a closed set of words, the first being meant where nothing is typed.
fn word<T: Copy, const N: usize>(
    text: Option<&Text>,
    key: &str,
    words: [(&'static str, T); N],
    checker: &mut Checker,
) -> T {
    text.and_then(|text| checker.choice(text, key, &words)).unwrap_or(words[0].1)
}

fn flag(value: Option<&Spanned<bool>>) -> bool {
    value.is_some_and(|value| *value.get_ref())
}

/// The size of the sectors of a disk, which is decided when it is new.
fn sector_size(size: &Spanned<u64>, new: bool, checker: &mut Checker) -> Option<SectorSize> {
    if !new {
        checker.fault_at(size, "the disk has its sectors already; another one is `fresh`");
    }
    let sizes = [SectorSize::B512, SectorSize::B4096];
    let found = sizes.into_iter().find(|known| known.get() == *size.get_ref());
    if found.is_none() {
        checker.fault_at(size, "disks have sectors of 512 or 4096 bytes");
    }
    found
}

fn typed(doc: &TypedDoc, checker: &mut Checker) -> Option<Typed> {
    let after = checker.sentence(doc.after.as_ref(), "type.after");
    let send = checker.sentence(doc.send.as_ref(), "type.send");
    Some(Typed { after: after?, send: send? })
}

#[cfg(test)]
mod tests {
    use goni_model::size::ByteCount;

    use super::*;

    fn read(text: &str) -> Result<Scenario, Vec<String>> {
        let mut sources = Sources::new();
        let (file, _) = sources.add("x.toml", text.as_bytes());
        check(&sources, file, "x".parse().unwrap())
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    const LIFE: &str = "summary = 's'\ndefault = true\n[[boot]]\nname = 'first'\nnetwork = 'restricted'\niommu = true\n\
                        sector-size = 4096\n[[boot]]\nname = 'rebooted'\nby = 'reboot'\n[[boot]]\nname = 'cut'\n\
                        by = 'power-cut'\ndisk = '64GiB'\nprepare = ['flip-root']\nexpect = 'down'\n";

    #[test]
    fn a_scenario_is_read_as_its_machines_and_their_boots() {
        let scenario = read(LIFE).unwrap();
        let machines = scenario.machines(3);
        let short: Vec<(Ending, Vec<&str>)> = machines
            .iter()
            .map(|machine| (machine.ending, machine.boots.iter().map(|boot| boot.name.as_str()).collect()))
            .collect();
        assert_eq!(short, [(Ending::PowerCut, vec!["first", "rebooted"]), (Ending::Nothing, vec!["cut"])]);
        let first = machines[0].setting;
        assert_eq!((first.network, first.iommu, first.disk), (Network::Restricted, true, None));
        assert_eq!(first.sector_size, Some(SectorSize::B4096));
        let second = machines[1].setting;
        assert_eq!((second.network, second.iommu, second.tpm), (Network::None, false, None));
        assert_eq!(second.disk, Some("64GiB".parse::<ByteCount>().unwrap()));
        assert_eq!(second.prepare, [Preparation::FlipRoot]);
        assert_eq!(scenario.boots[2].expect, Expect::Down);
    }

    #[test]
    fn a_scenario_that_is_cut_short_needs_fewer_machines() {
        let scenario = read(LIFE).unwrap();
        for (count, boots) in [(1, vec![1]), (2, vec![2]), (3, vec![2, 1]), (9, vec![2, 1])] {
            let found: Vec<usize> = scenario.machines(count).iter().map(|m| m.boots.len()).collect();
            assert_eq!(found, boots, "{count}");
        }
        assert_eq!(scenario.machines(1)[0].ending, Ending::Nothing);
    }

    #[test]
    fn every_fault_of_a_scenario_is_named() {
        let first = "summary = 's'\n[[boot]]\nname = 'a'\n";
        for (text, faults) in [
            (String::new(), &["missing key `summary`", "missing key `boot`"][..]),
            (format!("{first}by = 'reboot'\n"), &["the first boot comes of itself: leave `by` out"]),
            (format!("{first}[[boot]]\nname = 'b'\n"), &["missing key `boot.by`"]),
            (format!("{first}[[boot]]\nname = 'a'\nby = 'reset'\n"), &["two boots are called `a`"]),
            (format!("{first}[[boot]]\nname = 'b'\nby = 'rest'\n"), &["`rest` is no value of `by`"]),
            (
                format!(
                    "{first}[[boot]]\nname = 'b'\nby = 'reboot'\niommu = true\nprepare = ['flip-root']\n"
                ),
                &["`iommu` cannot change at a reboot", "`prepare` cannot change at a reboot"],
            ),
            (
                format!("{first}expect = 'down'\n[[boot]]\nname = 'b'\nby = 'power-off'\n"),
                &["a guest that is down cannot be asked to do this"],
            ),
            (format!("{first}sector-size = 520\n"), &["disks have sectors of 512 or 4096 bytes"]),
            (
                format!("{first}[[boot]]\nname = 'b'\nby = 'power-cut'\nsector-size = 4096\n"),
                &["the disk has its sectors already; another one is `fresh`"],
            ),
            (
                format!("{first}expect = 'dwn'\nnetwork = 'wan'\ntpm = 'new'\nconsole = ['']\n"),
                &[
                    "`wan` is no value of `network`",
                    "`new` is no value of `tpm`",
                    "`dwn` is no value of `expect`",
                    "`console` wants one line of text",
                ],
            ),
            (format!("{first}type = [{{ after = 'x' }}]\n"), &["missing key `type.send`"]),
        ] {
            assert_eq!(read(&text).unwrap_err(), faults, "{text}");
        }
    }
}
