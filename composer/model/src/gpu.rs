//! Graphics processors that compute: what a recipe asks for, what a target can have, and what a driver brings.
//!
//! A driver is a file, `firmware/_gpu/<driver>.toml`; no driver is known here by name. What a driver brings is
//! merged into the target, below what the target itself says, so that nothing else has to know of drivers.

pub mod doc;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::{FileId, Sources, Span};
use crate::document::{self, shape};
use crate::gpu::doc::{DriverDoc, GpuDoc};
use crate::modules::extra::{self, ExtraDoc, ExtraModules};
use crate::modules::{self, Modules};
use crate::name::{FirmwarePattern, KernelWord, ModuleName, Name, PackageName, SuiteName};
use crate::recipe::{self, Recipe};
use crate::size::ByteCount;
use crate::target::Target;

/// The word for no driver at all.
pub const NONE: &str = "none";

/// What a model runtime needs unless a recipe says otherwise, where the driver has it.
const USUAL: &str = "vulkan";

/// Bytes of a page of memory, in which drivers count. Source: PAGE_SIZE of the kernels of Debian.
const PAGE: u64 = 4096;

/// What a recipe asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// The driver; `None`: the target's first.
    pub driver: Option<Name>,
    /// How much of the machine's memory graphics may take.
    pub memory: Option<ByteCount>,
    /// The interfaces that programs compute through; `None`: the usual one.
    pub compute: Option<Vec<Name>>,
}

/// The driver of an image, and how to see that it is there. It goes into the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driven {
    /// The driver.
    pub driver: String,
    /// The modules that it is, each of which must be there.
    pub modules: Vec<String>,
    /// Files of its user space, as patterns, each of which some file must fit.
    pub files: Vec<String>,
}

/// What a driver brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    name: Name,
    arch: Vec<Arch>,
    components: Vec<SuiteName>,
    packages: Vec<PackageName>,
    overlays: Vec<Name>,
    command_line: Vec<KernelWord>,
    firmware: Vec<PackageName>,
    modules: Modules,
    extra_modules: ExtraModules,
    is: Vec<ModuleName>,
    memory: BTreeMap<ModuleName, Vec<String>>,
    compute: BTreeMap<Name, Compute>,
}

/// An interface that programs compute through.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Compute {
    packages: Vec<PackageName>,
    files: Vec<FirmwarePattern>,
}

/// The JSON Schema of a driver.
#[must_use]
pub fn schema() -> schemars::Schema {
    shape::of::<DriverDoc>()
}

/// Checks what a recipe says.
pub(crate) fn check(doc: Option<&GpuDoc>, known: &BTreeSet<String>, checker: &mut Checker) -> Gpu {
    let Some(doc) = doc else { return Gpu::default() };
    let driver = doc.driver.as_ref().and_then(|text| {
        checker.known(text, "driver", known.iter().map(String::as_str).chain([NONE]));
        checker.parse(text)
    });
    let memory = doc.memory.as_ref().and_then(|text| {
        let memory: ByteCount = checker.parse(text)?;
        if memory == ByteCount::ZERO || !memory.get().is_multiple_of(PAGE) {
            checker.fault_at(
                text,
                format!("`gpu.memory` is {memory}, which is no whole number of pages of 4KiB"),
            );
        }
        Some(memory)
    });
    Gpu { driver, memory, compute: doc.compute.as_ref().map(|list| checker.set(Some(list))) }
}

/// Checks the file of a driver.
///
/// # Errors
/// Every fault found.
pub fn check_driver(sources: &Sources, file: FileId, name: Name) -> Result<Driver, Vec<Fault>> {
    let table = document::parse(sources, file)?;
    let faults = shape::check(&table, &schema());
    if !faults.is_empty() {
        return Err(faults);
    }
    let doc: DriverDoc = document::read(table, file).map_err(|fault| vec![fault])?;
    let mut checker = Checker::new(file);
    let driver = check_doc(&doc, name, &mut checker);
    checker.finish(Some(driver)).map(|(driver, _)| driver)
}

fn check_doc(doc: &DriverDoc, name: Name, checker: &mut Checker) -> Driver {
    let _ = checker.sentence(doc.summary.as_ref(), "summary");
    let kernel = doc.kernel.as_ref();
    let extra = ExtraDoc {
        dkms: kernel.and_then(|kernel| kernel.dkms.as_ref()),
        patches: kernel.and_then(|kernel| kernel.dkms_patches.as_ref()),
        files: None,
        sources: None,
    };
    let mut memory = BTreeMap::new();
    for (module, options) in doc.memory.iter().flatten() {
        let Some(module) = checker.parse::<ModuleName>(module) else { continue };
        for option in options {
            if !option.get_ref().contains("{pages}") && !option.get_ref().contains("{mebibytes}") {
                let message = format!("`{}` says nothing of how much", option.get_ref().escape_debug());
                let fault = Fault::new(Span::from(option.span()), message);
                checker.fault(fault.hint("`{pages}` or `{mebibytes}` stands for the amount"));
            }
            // What it becomes must be a word.
            let _: Option<KernelWord> =
                checker.parse(&Text::new(option.span(), filled(option.get_ref(), PAGE)));
        }
        memory.insert(module, options.iter().map(|option| option.get_ref().clone()).collect());
    }
    let mut compute = BTreeMap::new();
    for (text, doc) in doc.compute.iter().flatten() {
        let Some(name) = checker.parse(text) else { continue };
        let (packages, files) = (checker.set(doc.packages.as_ref()), checker.set(doc.files.as_ref()));
        compute.insert(name, Compute { packages, files });
    }
    Driver {
        name,
        arch: checker.set(doc.arch.as_ref()),
        components: checker.set(doc.components.as_ref()),
        packages: checker.set(doc.packages.as_ref()),
        overlays: checker.list(doc.overlays.as_deref().unwrap_or_default()),
        command_line: recipe::command_line(doc.command_line.as_deref().unwrap_or_default(), checker),
        firmware: checker.set(doc.firmware.as_ref().and_then(|firmware| firmware.packages.as_ref())),
        modules: modules::check(kernel.and_then(|kernel| kernel.modules.as_ref()), checker),
        extra_modules: extra::check(extra, checker),
        is: checker.list(doc.is.as_deref().unwrap_or_default()),
        memory,
        compute,
    }
}

/// An option with the amount in it.
fn filled(option: &str, bytes: u64) -> String {
    option.replace("{pages}", &(bytes / PAGE).to_string()).replace("{mebibytes}", &(bytes >> 20).to_string())
}

/// What stands between a recipe and the driver it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// What is wrong.
    pub message: String,
    /// A way out.
    pub hint: String,
}

/// The name of the driver that an image has, if it has one.
///
/// # Errors
/// The target cannot have it.
pub fn chosen(target: &Target, gpu: &Gpu) -> Result<Option<Name>, Objection> {
    let driver = gpu.driver.as_ref().or_else(|| target.gpu_drivers.first());
    let Some(driver) = driver.filter(|driver| driver.as_str() != NONE) else {
        let asked = gpu.memory.map(|_| "memory").or_else(|| gpu.compute.as_ref().map(|_| "compute"));
        return asked.map_or(Ok(None), |key| {
            let message = format!("`gpu.{key}` says nothing where there is no `gpu.driver`");
            Err(Objection { message, hint: "name a driver, or leave it out".to_owned() })
        });
    };
    if target.gpu_drivers.contains(driver) {
        return Ok(Some(driver.clone()));
    }
    let can: Vec<&str> = target.gpu_drivers.iter().map(Name::as_str).collect();
    let hint = match can.is_empty() {
        true => "no driver is listed in its `gpu.drivers`".to_owned(),
        false => format!("its `gpu.drivers` lists {}", can.join(", ")),
    };
    let message = format!("target `{}` cannot have the graphics driver `{driver}`", target.name);
    Err(Objection { message, hint })
}

impl Driver {
    /// The overlays that it brings.
    #[must_use]
    pub fn overlays(&self) -> &[Name] {
        &self.overlays
    }

    /// Merges what it brings into a target, for a recipe.
    ///
    /// # Errors
    /// What the driver cannot do, or the recipe does not allow.
    pub fn merge(&self, target: &mut Target, recipe: &Recipe) -> Result<(), Objection> {
        let (driver, gpu) = (&self.name, &recipe.gpu);
        let object = |message: String, hint: String| Err(Objection { message, hint });
        if !self.arch.is_empty() && !self.arch.contains(&target.arch) {
            let message = format!("the graphics driver `{driver}` is not for {}", target.arch);
            return object(message, "name another as `gpu.driver`".to_owned());
        }
        let allowed = &recipe.debian.components;
        if let Some(missing) = self.components.iter().find(|component| !allowed.contains(component)) {
            let words: BTreeSet<&SuiteName> = allowed.iter().chain(&self.components).collect();
            let words: Vec<String> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
            return object(
                format!("the graphics driver `{driver}` needs component `{missing}` of Debian"),
                format!("write components = [{}] to `[debian]`", words.join(", ")),
            );
        }
        let mut options = BTreeMap::new();
        if let Some(memory) = gpu.memory {
            if self.memory.is_empty() {
                let message = format!("the graphics driver `{driver}` does not take the machine's memory");
                return object(message, "leave out `gpu.memory`".to_owned());
            }
            for (module, words) in &self.memory {
                let words = words.iter().filter_map(|word| filled(word, memory.get()).parse().ok()).collect();
                options.insert(module.clone(), words);
            }
        }
        let usual =
            || USUAL.parse().ok().filter(|name| self.compute.contains_key(name)).into_iter().collect();
        let compute: Vec<Name> = gpu.compute.clone().unwrap_or_else(usual);
        let mut driven = Driven {
            driver: driver.to_string(),
            modules: self.is.iter().map(ToString::to_string).collect(),
            files: Vec::new(),
        };
        for name in &compute {
            let Some(found) = self.compute.get(name) else {
                let known: Vec<&str> = self.compute.keys().map(Name::as_str).collect();
                let message = format!("the graphics driver `{driver}` has no `{name}`");
                return object(message, format!("`gpu.compute` may list {}", known.join(", ")));
            };
            merge(&mut target.packages, &found.packages);
            driven.files.extend(found.files.iter().map(ToString::to_string));
        }
        merge(&mut target.packages, &self.packages);
        merge(&mut target.firmware, &self.firmware);
        target.command_line.extend(self.command_line.iter().cloned());
        let amount = Modules { options, ..Modules::default() };
        target.modules = target.modules.over(&amount.over(&self.modules));
        target.extra_modules = target.extra_modules.and(&self.extra_modules);
        target.gpu = Some(driven);
        Ok(())
    }
}

/// Adds what is not there yet, and sorts.
fn merge<T: Ord + Clone>(list: &mut Vec<T>, more: &[T]) {
    list.extend(more.iter().cloned());
    list.sort();
    list.dedup();
}

#[cfg(test)]
mod tests;
