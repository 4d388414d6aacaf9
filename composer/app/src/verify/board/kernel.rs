//! The modules of a kernel, as depmod and the modules themselves describe them.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::modinfo::Modinfo;
use crate::verify::evidence::{Root, chain};
use crate::verify::objection::Objection;

/// The largest module, unpacked.
const LARGEST: u64 = 256 << 20;

/// The modules of a kernel.
pub(super) struct Kernel {
    release: String,
    /// Pattern and module.
    aliases: Vec<(String, String)>,
    /// Of each module its file and those of what it depends on, below the release's directory.
    files: BTreeMap<String, Vec<String>>,
    /// Modules that are built in, with the firmware they name.
    built_in: BTreeMap<String, Vec<String>>,
}

/// A module.
pub(super) struct Module {
    /// Its name.
    pub(super) name: String,
    /// Its file, then those of what it depends on; none if it is built in.
    pub(super) files: Vec<String>,
}

impl Kernel {
    /// Reads the indexes of a release's modules.
    pub(super) fn read(root: &Root<'_>, release: &str) -> Result<Self, Objection> {
        let text = |name: &str| root.text(&format!("usr/lib/modules/{release}/{name}"));
        let alias = |line: &str| {
            let (pattern, module) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
            Some((pattern.to_owned(), module_name(module)))
        };
        let mut aliases: Vec<_> = text("modules.alias")?.lines().filter_map(alias).collect();
        let mut files = BTreeMap::new();
        for (file, needs) in text("modules.dep")?.lines().filter_map(|line| line.split_once(':')) {
            let all = std::iter::once(file).chain(needs.split_whitespace()).map(str::to_owned).collect();
            files.insert(module_name(file), all);
        }
        let mut built_in: BTreeMap<String, Vec<String>> =
            text("modules.builtin")?.lines().map(|file| (module_name(file), Vec::new())).collect();
        for entry in text("modules.builtin.modinfo")?.split('\0') {
            let Some(((module, key), value)) =
                entry.split_once('=').and_then(|(left, value)| Some((left.split_once('.')?, value)))
            else {
                continue;
            };
            match key {
                "alias" => {
                    aliases.push((value.to_owned(), module_name(module)));
                    // What can be no module is not in `modules.builtin`, though it is a driver.
                    built_in.entry(module_name(module)).or_default();
                }
                "firmware" => built_in.entry(module_name(module)).or_default().push(value.to_owned()),
                _ => {}
            }
        }
        Ok(Self { release: release.to_owned(), aliases, files, built_in })
    }

    /// The release of the kernel.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// A module by its name.
    pub(super) fn module(&self, name: &str) -> Option<Module> {
        let name = module_name(name);
        match self.files.get(&name) {
            Some(files) => Some(Module { name, files: files.clone() }),
            None => self.built_in.contains_key(&name).then(|| Module { name, files: Vec::new() }),
        }
    }

    /// The modules that a device of this modalias asks for.
    pub(super) fn drivers(&self, modalias: &str) -> Vec<Module> {
        let matching = self.aliases.iter().filter(|(pattern, _)| glob(pattern, modalias));
        let mut names: Vec<&String> = matching.map(|(_, module)| module).collect();
        names.sort();
        names.dedup();
        names.into_iter().filter_map(|name| self.module(name)).collect()
    }

    /// The firmware that a module names which is built in.
    pub(super) fn built_in_firmware(&self, module: &str) -> Vec<String> {
        self.built_in.get(module).cloned().unwrap_or_default()
    }
}

/// What a module's file says, packed or not.
pub(super) fn modinfo(place: &str, bytes: Vec<u8>) -> Result<Modinfo, Objection> {
    let broken = |error: &(dyn std::error::Error + 'static)| {
        Objection::differs(format!("`/{place}` is a kernel module"), chain(error))
    };
    let mut unpacked = Vec::new();
    let read = if place.ends_with(".xz") {
        liblzma::read::XzDecoder::new(&bytes[..]).take(LARGEST).read_to_end(&mut unpacked)
    } else if place.ends_with(".zst") {
        zstd::Decoder::new(&bytes[..]).and_then(|it| it.take(LARGEST).read_to_end(&mut unpacked))
    } else {
        unpacked = bytes;
        Ok(unpacked.len())
    };
    read.map_err(|error| broken(&error))?;
    Modinfo::parse(&unpacked).map_err(|error| broken(&error))
}

/// The name of a module from its file or a word; `-` and `_` are one.
fn module_name(text: &str) -> String {
    let file = text.rsplit('/').next().unwrap_or(text);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// Whether a text fits a pattern of `*`, `?` and `[…]`. Source: fnmatch(3), as libkmod calls it.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where to go on after the last star if what follows it does not fit here.
    let mut again: Option<(usize, usize)> = None;
    while seen < text.len() {
        let step = pattern.get(at).and_then(|byte| match byte {
            b'*' => None,
            b'?' => Some(1),
            b'[' => class(&pattern[at..], text[seen]),
            byte => (*byte == text[seen]).then_some(1),
        });
        if pattern.get(at) == Some(&b'*') {
            again = Some((at + 1, seen));
            at += 1;
        } else if let Some(length) = step {
            at += length;
            seen += 1;
        } else if let Some((star, from)) = again {
            (at, seen) = (star, from + 1);
            again = Some((star, from + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The length of a class of characters, if the byte is of it.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = pattern.iter().position(|it| *it == b']')?;
    let inside = &pattern[1..end];
    let mut index = 0;
    while index < inside.len() {
        let (low, high, length) = match inside[index..] {
            [low, b'-', high, ..] => (low, high, 3),
            _ => (inside[index], inside[index], 1),
        };
        if (low..=high).contains(&byte) {
            return Some(end + 1);
        }
        index += length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_modprobe_has_them() {
        for (pattern, text, fits) in [
            ("pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d0000A102sv1sd2bc01sc06i01", true),
            ("pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d0000A102sv1sd2bc01sc08i02", false),
            ("of:N*T*Cacme,npuC*", "of:NxTxCacme,npu", false),
            ("of:N*T*Cacme,npu", "of:NxTxCacme,npu", true),
            ("usb:v1d[0-3]p?", "usb:v1d2px", true),
            ("usb:v1d[0-3]p?", "usb:v1d4px", false),
            ("a*b*c", "axbxbxc", true),
            ("*", "", true),
            ("a", "", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
