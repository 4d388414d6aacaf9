//! Drafts of targets: a file to begin with, commented, or one that tells what a machine has.

use std::collections::BTreeMap;

use goni_model::arch::Arch;
use goni_model::name::Name;

/// A new target, with `@FROM@` for the target that it extends and `@NAME@` for its own name.
const TEMPLATE: &str = include_str!("draft/template.toml");

/// A machine that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The architecture of its programs.
    pub arch: Arch,
    /// What its maker calls it.
    pub model: Option<String>,
    /// Its serial console, without a speed: `ttyS0`.
    pub console: Option<String>,
    /// Its devices, sorted.
    pub devices: Vec<Device>,
    /// The modules that were loaded, sorted.
    pub modules: Vec<String>,
}

/// A device of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// By what a driver is found for it.
    pub identity: Identity,
    /// The driver that has it.
    pub driver: Option<String>,
    /// The module of that driver; `None`: it is built in.
    pub module: Option<String>,
    /// Whether the root file system is reached through it.
    pub root: bool,
}

/// By what a driver is found for a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// Its file `modalias`.
    Modalias(String),
    /// Its first `compatible` in the device tree.
    Compatible(String),
}

/// A new target that is like another: every key there is, commented out.
#[must_use]
pub fn new(name: &Name, from: &Name) -> String {
    TEMPLATE.replace("@NAME@", name.as_str()).replace("@FROM@", from.as_str())
}

/// A target for a machine that was looked at: to be read and corrected by who knows it.
#[must_use]
pub fn of(machine: &Machine) -> String {
    let model = machine.model.as_deref().unwrap_or("a machine that does not say what it is");
    let from = match machine.arch {
        Arch::Amd64 => "generic-x86_64",
        Arch::Arm64 => "generic-aarch64",
    };
    let mut text = format!(
        "# Drafted from a running machine. Keep what the board is expected to have, delete the rest, give the\n\
         # devices names, and see that root = true is where the disk of the board is.\n\
         extends = \"{from}\"\nsummary = \"{model}\"\n"
    );
    match &machine.console {
        Some(console) => text.push_str(&format!("console = \"{console},115200\"\n")),
        None => {
            text.push_str("# No serial console is in use. If the board has one: console = \"ttyS0,115200\"\n")
        }
    }
    let leading: Vec<&str> =
        machine.devices.iter().filter(|it| it.root).filter_map(|it| it.module.as_deref()).collect();
    if !leading.is_empty() {
        text.push_str(&format!(
            "\n# The root was reached through: {}. Name here what `{from}` does not have.\n\
             # [initrd]\n# modules = [\"...\"]\n",
            leading.join(", ")
        ));
    }
    let mut of_drivers: BTreeMap<&str, Vec<&Device>> = BTreeMap::new();
    for device in &machine.devices {
        of_drivers.entry(device.driver.as_deref().unwrap_or_default()).or_default().push(device);
    }
    let without = of_drivers.remove("").unwrap_or_default();
    for (driver, devices) in of_drivers {
        text.push_str(&expectation(driver, &devices));
    }
    if !without.is_empty() {
        text.push_str("\n# Nothing drove these. Expect them if the image is to:\n");
        for device in without {
            let (Identity::Modalias(it) | Identity::Compatible(it)) = &device.identity;
            text.push_str(&format!("#   {it}\n"));
        }
    }
    text.push_str(if machine.modules.is_empty() { "" } else { "\n# Modules that were loaded:\n" });
    for words in machine.modules.chunks(8) {
        text.push_str(&format!("#   {}\n", words.join(" ")));
    }
    text.push_str("# The firmware they loaded: `journalctl -k -b | grep -i firmware`.\n");
    text
}

/// The table of the devices that one driver has.
fn expectation(driver: &str, devices: &[&Device]) -> String {
    let module = devices.iter().find_map(|device| device.module.as_deref());
    let by = module.map_or_else(|| "built into the kernel".to_owned(), |module| format!("module {module}"));
    let name: String = driver
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' })
        .collect();
    let mut text =
        format!("\n# Driver {driver}, {by}.\n[[expect]]\nname = \"{}\"\n", name.trim_matches(['.', '-']));
    let mut modaliases = Vec::new();
    let mut compatibles = Vec::new();
    for device in devices {
        match &device.identity {
            Identity::Modalias(it) => modaliases.push(format!("    \"{it}\",\n")),
            Identity::Compatible(it) => compatibles.push(format!("    \"{it}\",\n")),
        }
    }
    for (key, mut values) in [("modalias", modaliases), ("compatible", compatibles)] {
        values.dedup();
        if !values.is_empty() {
            text.push_str(&format!("{key} = [\n{}]\n", values.concat()));
        }
    }
    if devices.iter().any(|device| device.root) {
        text.push_str("root = true\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use goni_model::document::source::Sources;
    use goni_model::target;

    use super::*;

    /// The lower target of every draft here.
    const LOWER: &str = "summary = \"a board\"\narch = \"amd64\"\nkernel.package = \"linux-image-amd64\"\n\
        packages = [\"kmod\"]\nfirmware.packages = [\"firmware-realtek\"]\ninitrd.modules = [\"nvme\"]\n";

    fn loaded(text: &str) -> target::Target {
        let mut sources = Sources::new();
        let (upper, _) = sources.add("upper.toml", text.as_bytes());
        let (lower, _) = sources.add("lower.toml", LOWER.as_bytes());
        target::check(&sources, &[upper, lower], "board".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_new_target_is_one_and_names_every_key_there_is() {
        let text = new(&"desk".parse().unwrap(), &"pc".parse().unwrap());
        assert_eq!(loaded(&text).summary, "desk: what it is, in one line");
        let schema = target::schema();
        let keys = schema.as_value()["properties"].as_object().unwrap().keys();
        let tables = ["kernel", "firmware", "gpu", "initrd", "qemu", "expect"];
        for key in keys {
            let said = |form: &str| {
                text.lines().any(|line| line.trim_start_matches(['#', ':', ' ']).starts_with(form))
            };
            let table = tables.contains(&key.as_str());
            let forms = if table {
                [format!("[{key}"), format!("[[{key}")]
            } else {
                [format!("{key} ="), format!("[{key}]")]
            };
            assert!(forms.iter().any(|form| said(form)), "{key} in\n{text}");
        }
        // What is commented out is right, too.
        let keys = text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect::<Vec<_>>();
        let target = loaded(&keys.join("\n"));
        assert_eq!((target.screen, target.expect.len()), (true, 1));
    }

    #[test]
    fn a_machine_becomes_a_target() {
        let device = |identity, driver: &str, module: Option<&str>, root| Device {
            identity,
            driver: (!driver.is_empty()).then(|| driver.to_owned()),
            module: module.map(str::to_owned),
            root,
        };
        let pci = |tail: &str| Identity::Modalias(format!("pci:v00008086d0000{tail}"));
        let machine = Machine {
            arch: Arch::Amd64,
            model: Some("Acme Desk".to_owned()),
            console: Some("ttyS1".to_owned()),
            devices: vec![
                device(pci("0001"), "nvme", Some("nvme"), true),
                device(pci("0002"), "snd_hda_intel", Some("snd_hda_intel"), false),
                device(pci("0003"), "snd_hda_intel", Some("snd_hda_intel"), false),
                device(pci("0004"), "", None, false),
                device(Identity::Compatible("acme,npu".to_owned()), "acme-npu", None, false),
            ],
            modules: vec!["nvme".to_owned()],
        };
        let text = of(&machine);
        let target = loaded(&text);
        assert_eq!(target.summary, "Acme Desk");
        assert_eq!(target.console.unwrap().as_str(), "ttyS1,115200");
        let expected: Vec<_> =
            target.expect.iter().map(|it| (it.name.as_str(), it.modaliases.len(), it.root)).collect();
        assert_eq!(expected, [("acme-npu", 1, false), ("nvme", 1, true), ("snd-hda-intel", 2, false)]);
        assert!(
            text.contains("Nothing drove these") && text.contains("#   pci:v00008086d00000004"),
            "{text}"
        );
    }
}
